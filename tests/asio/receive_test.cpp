#include "asio/support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

TEST_CASE("async_receive: a callback without an executor is called on the callback thread, once for each call") {
    Pair pair;
    Events<std::thread::id> callback_thread;
    const Subscription subscription =
        pair.bob.on_peer_added([&](const Peer&) { callback_thread.put(std::this_thread::get_id()); });
    Events<std::thread::id> threads;
    Events<Result> results;
    for (int i = 0; i < 2; ++i) {
        pair.bob.inbox().async_receive([&](std::error_code error, const Message& message) {
            threads.put(std::this_thread::get_id());
            results.put({error, std::string(message.text())});
        });
    }
    pair.ann.broadcast("one");
    pair.ann.broadcast("two");
    pair.ann.broadcast("three");
    const auto expected = callback_thread.take();
    REQUIRE(expected.has_value());
    CHECK(threads.take() == *expected);
    CHECK(threads.take() == *expected);
    CHECK(results.take() == Result({}, "one"));
    CHECK(results.take() == Result({}, "two"));
    CHECK(pair.bob.inbox().receive()->text() == "three");
    CHECK(results.size() == 0);
}

TEST_CASE("async_receive: a future, also one that is waited for inside a callback of the node") {
    Pair pair;
    auto first = pair.bob.inbox().async_receive(asio::use_future);
    pair.ann.broadcast("one");
    CHECK(get(std::move(first)).text() == "one");
    Events<std::string> texts;
    const Subscription subscription = pair.bob.on_peer_added(
        [&](const Peer&) { texts.put(std::string(get(pair.bob.inbox().async_receive(asio::use_future)).text())); });
    pair.ann.broadcast("two");
    CHECK(texts.take() == "two");
}

TEST_CASE("async_receive: a coroutine reads until the node closes") {
    Pair pair;
    asio::io_context io;
    std::vector<std::string> texts;
    std::error_code end;
    const auto read = [](Inbox inbox, std::vector<std::string>& into, std::error_code& error) -> asio::awaitable<void> {
        try {
            for (;;) {
                const Message message = co_await inbox.async_receive(asio::use_awaitable);
                into.emplace_back(message.text());
            }
        } catch (const std::system_error& thrown) {
            error = thrown.code();
        }
    };
    asio::co_spawn(io, read(pair.bob.inbox(), texts, end), asio::detached);
    for (int i = 0; i < 100; ++i) pair.ann.broadcast(std::to_string(i));
    CHECK_FALSE(pair.ann.close());
    std::jthread closing([&] { pair.bob.close(); });
    CHECK(run(io));
    CHECK(end == errc::closed);
    REQUIRE(texts.size() == 100);
    for (std::size_t i = 0; i < texts.size(); ++i) CHECK(texts[i] == std::to_string(i));
}

TEST_CASE("async_receive: a handler runs on its own executor, in its own strand") {
    Pair pair;
    asio::thread_pool pool(2);
    const auto strand = asio::make_strand(pool);
    std::promise<bool> in_strand;
    pair.bob.inbox().async_receive(asio::bind_executor(strand, [&](std::error_code, const Message&) {
        in_strand.set_value(strand.running_in_this_thread());
    }));
    pair.ann.broadcast("hello");
    CHECK(get(in_strand.get_future()));
    pool.join();
}

TEST_CASE("async_receive: without a running context nothing is taken, and the operation is work of that context") {
    Pair pair;
    asio::io_context io;
    Events<Result> results;
    pair.bob.inbox().async_receive(asio::bind_executor(io, into(results)));
    pair.ann.broadcast("hello");
    pair.await_inbox_bytes(5);
    CHECK(results.size() == 0);
    SUBCASE("a message that waits goes to whoever runs first") {
        CHECK(pair.bob.inbox().try_receive()->text() == "hello");
        std::jthread later([&] { pair.ann.broadcast("again"); });
        CHECK(run(io));
        CHECK(results.take() == Result({}, "again"));
    }
    SUBCASE("when it runs, the handler is called") {
        CHECK(run(io));
        CHECK(results.take() == Result({}, "hello"));
    }
}

TEST_CASE("async_receive: one message, two waiting operations, one cancelled: the other gets it") {
    Pair pair;
    asio::io_context io;
    Events<Result> first;
    Events<Result> second;
    asio::cancellation_signal signal;
    const auto slot = signal.slot();
    pair.bob.inbox().async_receive(asio::bind_cancellation_slot(slot, asio::bind_executor(io, into(first))));
    pair.bob.inbox().async_receive(asio::bind_executor(io, into(second)));
    SUBCASE("before the message comes") {
        signal.emit(asio::cancellation_type::total);
        pair.ann.broadcast("hello");
    }
    SUBCASE("when it has been woken and its handler not yet called") {
        pair.ann.broadcast("hello");
        pair.await_inbox_bytes(5);
        signal.emit(asio::cancellation_type::terminal);
    }
    CHECK(run(io));
    CHECK(first.take() == Result(asio::error::operation_aborted, ""));
    CHECK(second.take() == Result({}, "hello"));
    signal.emit(asio::cancellation_type::total);  // too late, and harmless
}

TEST_CASE("async_receive: a context that ends before the node takes no message with it") {
    Pair pair;
    Events<Result> results;
    auto alive = std::make_shared<int>(0);
    {
        asio::io_context io;
        auto handler = [alive, inner = into(results)](std::error_code error, const Message& message) {
            inner(error, message);
        };
        pair.bob.inbox().async_receive(asio::bind_executor(io, handler));
        pair.bob.inbox().async_receive(asio::bind_executor(io, handler));
        SUBCASE("its operations still wait") {}
        SUBCASE("one of them was woken") {
            pair.ann.broadcast("zero");
            pair.await_inbox_bytes(4);
            CHECK(pair.bob.inbox().receive()->text() == "zero");
        }
    }
    CHECK(alive.use_count() == 1);  // the handlers are gone
    auto next = pair.bob.inbox().async_receive(asio::use_future);
    pair.ann.broadcast("hello");
    CHECK(get(std::move(next)).text() == "hello");
    CHECK(results.size() == 0);
}

TEST_CASE("async_receive: a woken operation that dies with its context wakes another in its place") {
    Pair pair;
    std::future<Message> other;
    {
        asio::io_context io;
        Events<Result> results;
        pair.bob.inbox().async_receive(asio::bind_executor(io, into(results)));
        other = pair.bob.inbox().async_receive(asio::use_future);
        pair.ann.broadcast("hello");
        pair.await_inbox_bytes(5);
    }
    CHECK(get(std::move(other)).text() == "hello");
}

TEST_CASE("async_receive: destroying the node ends it, whoever waits and wherever") {
    auto pair = std::make_unique<Pair>();
    asio::io_context io;
    Events<Result> results;
    Inbox inbox = pair->bob.inbox();
    inbox.async_receive(asio::bind_executor(io, into(results)));
    inbox.async_receive(into(results));
    auto future = inbox.async_receive(asio::use_future);
    pair.reset();
    CHECK(run(io));
    CHECK(results.take() == Result(errc::closed, ""));
    CHECK(results.take() == Result(errc::closed, ""));
    CHECK(error_of(std::move(future)) == errc::closed);
    // Its threads are gone, but the handle still answers.
    inbox.async_receive(into(results));
    CHECK(results.take() == Result(errc::closed, ""));
    CHECK(error_of(inbox.async_receive(asio::use_future)) == errc::closed);
}

TEST_CASE("async_receive: a handler that throws on the callback thread is logged and counted") {
    Lines lines;
    Options options = quick();
    options.log = lines.sink();
    Pair pair(quick(), options);
    pair.bob.inbox().async_receive(
        [](std::error_code, const Message&) { throw std::runtime_error("a handler of the test"); });
    pair.ann.broadcast("hello");
    CHECK(lines.wait_for("handler_threw"));
    CHECK(pair.bob.stats().handler_exceptions == 1);
}

#if ASIO_VERSION >= 103200
TEST_CASE("async_receive: cancel_after of a newer Asio gives it a time-out") {
    Pair pair;
    asio::io_context io;
    std::vector<Result> results;
    const auto read = [](Inbox inbox, std::vector<Result>& into) -> asio::awaitable<void> {
        for (const auto limit : std::vector<std::chrono::milliseconds>{20ms, patience}) {
            const auto [error, message] = co_await inbox.async_receive(
                asio::cancel_after(limit, asio::as_tuple(asio::use_awaitable)));
            into.emplace_back(error, message.text());
        }
    };
    asio::co_spawn(io, read(pair.bob.inbox(), results), asio::detached);
    asio::steady_timer later(io, 100ms);
    later.async_wait([&](std::error_code) { pair.ann.broadcast("hello"); });
    CHECK(run(io));
    CHECK(results == std::vector<Result>{{asio::error::operation_aborted, ""}, {{}, "hello"}});
}
#endif

TEST_CASE("async_receive_for: completes when the time is over, and what comes later stays in the inbox") {
    Pair pair;
    Inbox inbox = pair.bob.inbox();
    asio::io_context io;
    Events<Result> results;
    inbox.async_receive_for(1ms, asio::bind_executor(io, into(results)));
    CHECK(run(io));
    CHECK(results.take() == Result(errc::timed_out, ""));
    inbox.async_receive_for(1ms, into(results));
    CHECK(results.take() == Result(errc::timed_out, ""));
    CHECK(error_of(inbox.async_receive_for(0ms, asio::use_future)) == errc::timed_out);
    pair.ann.broadcast("hello");
    CHECK(inbox.receive()->text() == "hello");
}

TEST_CASE("async_receive_for: a message in time, cancelling and closing end it, and its timer does not keep it") {
    Pair pair;
    Inbox inbox = pair.bob.inbox();
    asio::io_context io;
    Events<Result> results;
    asio::cancellation_signal signal;
    inbox.async_receive_for(1h, asio::bind_executor(io, into(results)));
    inbox.async_receive_for(1h, asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(results))));
    signal.emit(asio::cancellation_type::total);
    pair.ann.broadcast("hello");
    CHECK(run(io));
    CHECK(results.take() == Result(asio::error::operation_aborted, ""));
    CHECK(results.take() == Result({}, "hello"));
    auto last = inbox.async_receive_for(1h, asio::use_future);
    pair.bob.close();
    CHECK(error_of(std::move(last)) == errc::closed);
}

TEST_CASE("async_receive_for: its context may end before it does") {
    Pair pair;
    Events<Result> results;
    {
        asio::io_context io;
        pair.bob.inbox().async_receive_for(1h, asio::bind_executor(asio::make_strand(io), into(results)));
    }
    pair.ann.broadcast("hello");
    CHECK(pair.bob.inbox().receive()->text() == "hello");
    CHECK(results.size() == 0);
}

TEST_CASE("async_receive_for: short limits that race with messages lose none of them, on several threads") {
    constexpr int count = 2000;
    Pair pair;
    asio::thread_pool pool(2);
    std::vector<std::string> texts;
    std::atomic<int> timed_out{0};
    std::atomic<int> received{0};
    const auto read = [&received](Inbox inbox, std::vector<std::string>& into,
                                   std::atomic<int>& late) -> asio::awaitable<void> {
        while (into.size() < count) {
            std::error_code error;
            const Message message = co_await inbox.async_receive_for(
                std::chrono::microseconds(into.size() % 50), asio::redirect_error(asio::use_awaitable, error));
            if (error == errc::timed_out) ++late;
            if (error) continue;
            into.emplace_back(message.text());
            ++received;
        }
    };
    auto done = asio::co_spawn(pool, read(pair.bob.inbox(), texts, timed_out), asio::use_future);
    for (int i = 0; i < count; ++i) {
        // Every now and then there is nothing to receive.
        while (i % 10 == 0 && (received < i || timed_out == 0)) std::this_thread::yield();
        pair.ann.broadcast(std::to_string(i));
    }
    get(std::move(done));
    pool.join();
    CHECK(timed_out > 0);
    REQUIRE(texts.size() == count);
    for (std::size_t i = 0; i < texts.size(); ++i) REQUIRE(texts[i] == std::to_string(i));
}

TEST_CASE("async_receive: a timer that races with messages loses none of them") {
    constexpr int count = 2000;
    Pair pair;
    asio::io_context io;
    std::vector<std::string> texts;
    std::atomic<int> timed_out{0};
    std::atomic<int> received{0};
    const auto read = [&received](Inbox inbox, std::vector<std::string>& into,
                                   std::atomic<int>& late) -> asio::awaitable<void> {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        while (into.size() < count) {
            timer.expires_after(std::chrono::microseconds(into.size() % 50));
            const auto result =
                co_await (inbox.async_receive(asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
            if (result.index() == 0) {
                into.emplace_back(std::get<0>(result).text());
                ++received;
            } else {
                ++late;
            }
        }
    };
    asio::co_spawn(io, read(pair.bob.inbox(), texts, timed_out), asio::detached);
    std::jthread sending([&] {
        for (int i = 0; i < count; ++i) {
            // Every now and then there is nothing to receive.
            while (i % 10 == 0 && (received < i || timed_out == 0)) std::this_thread::yield();
            pair.ann.broadcast(std::to_string(i));
        }
    });
    CHECK(run(io));
    CHECK(timed_out > 0);
    REQUIRE(texts.size() == count);
    for (std::size_t i = 0; i < texts.size(); ++i) REQUIRE(texts[i] == std::to_string(i));
}

TEST_CASE("async_receive: all kinds of readers at once get each message once") {
    constexpr int count = 4000;
    Pair pair;
    std::mutex mutex;
    std::set<int> seen;
    std::atomic<int> received{0};
    const auto take = [&](const Message& message) {
        const std::lock_guard lock(mutex);
        CHECK(seen.insert(std::stoi(std::string(message.text()))).second);
        if (++received == count) pair.bob.close();
    };

    asio::thread_pool pool(2);
    Inbox inbox = pair.bob.inbox();
    const auto read = [](Inbox from, const auto& take_one) -> asio::awaitable<void> {
        asio::cancellation_signal signal;
        for (int i = 0;; ++i) {
            std::error_code error;
            Message message;
            if (i % 3 == 0) {
                // Starts one more, and cancels it at once.
                from.async_receive(asio::bind_cancellation_slot(
                    signal.slot(), asio::bind_executor(co_await asio::this_coro::executor,
                                                       [&take_one](std::error_code failure, const Message& other) {
                                                           if (!failure) take_one(other);
                                                       })));
                signal.emit(asio::cancellation_type::total);
            }
            message = co_await from.async_receive(asio::redirect_error(asio::use_awaitable, error));
            if (error) co_return;
            take_one(message);
        }
    };
    for (int i = 0; i < 3; ++i) {
        asio::co_spawn(asio::make_strand(pool), read(inbox, take), asio::detached);
    }
    std::jthread blocking([&] {
        for (const Message& message : pair.bob.inbox()) take(message);
    });
    for (int i = 0; i < count; ++i) pair.ann.broadcast(std::to_string(i));
    blocking.join();
    pool.join();
    CHECK(received == count);
}
