#include "asio/support.hpp"

#include <doctest/doctest.h>

#if ASIO_VERSION >= 102400
#include <asio/as_tuple.hpp>
#include <asio/deferred.hpp>
#else
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/deferred.hpp>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

namespace {

#if ASIO_VERSION >= 102400
constexpr auto deferred = asio::deferred;
constexpr auto as_tuple = [](const auto& token) { return asio::as_tuple(token); };
#else
constexpr auto deferred = asio::experimental::deferred;
constexpr auto as_tuple = [](const auto& token) { return asio::experimental::as_tuple(token); };
#endif

/// What bob replies: the text of the request and "!".
void answer(const Message& request) {
    std::error_code ignored;
    if (request.wants_reply()) request.reply(std::string(request.text()) + "!", ignored);
}

/// Bob replies at once.
struct Answering : Pair {
    Answering() { bob.on_message(answer); }
};

/// Bob replies when the test says so.
struct Asked : Pair {
    Message next() {
        std::optional<Message> message = bob.inbox().receive_for(patience);
        if (!message) throw std::runtime_error("nobody asked");
        return std::move(*message);
    }
};

}  // namespace

TEST_CASE("async_request: a callback without an executor is called on the callback thread, once") {
    Answering nodes;
    Events<std::thread::id> callback_thread;
    const Subscription subscription =
        nodes.ann.on_peer_added([&](const Peer&) { callback_thread.put(std::this_thread::get_id()); });
    Events<std::thread::id> threads;
    Events<Result> results;
    nodes.ann.async_request(nodes.bob.id(), "callback", patience, [&](std::error_code error, const Message& reply) {
        CHECK(reply.from() == nodes.bob.id());
        CHECK_FALSE(reply.wants_reply());
        threads.put(std::this_thread::get_id());
        into(results)(error, reply);
    });
    CHECK(results.take() == Result({}, "callback!"));
    CHECK(threads.take() == callback_thread.take());
    nodes.ann.close();
    CHECK(results.size() == 0);
}

TEST_CASE("async_request: a future, also one that is waited for inside a callback of the node") {
    Answering nodes;
    CHECK(get(nodes.ann.async_request(nodes.bob.id(), "future", patience, asio::use_future)).text() == "future!");
    const std::string body(long_size, 'y');
    auto moved = nodes.ann.async_request(nodes.bob.id(), std::string(body), patience, asio::use_future);
    CHECK((get(std::move(moved)).text() == body + "!"));
    Events<std::string> texts;
    const Subscription subscription = nodes.ann.on_peer_added([&](const Peer& peer) {
        texts.put(std::string(get(nodes.ann.async_request(peer.id, "inside", patience, asio::use_future)).text()));
    });
    CHECK(texts.take() == "inside!");
}

TEST_CASE("async_request: a coroutine asks again and again, with payloads that are gone while it waits") {
    Answering nodes;
    asio::io_context io;
    int right = 0;
    const auto ask = [](Pair& both, int& count) -> asio::awaitable<void> {
        for (int i = 0; i < 100; ++i) {
            auto text = std::make_unique<std::string>(std::to_string(i));
            auto operation = both.ann.async_request(both.bob.id(), *text, patience, asio::use_awaitable);
            text.reset();
            const Message reply = co_await std::move(operation);
            if (reply.text() == std::to_string(i) + "!") ++count;
        }
    };
    asio::co_spawn(io, ask(nodes, right), asio::detached);
    asio::co_spawn(io, ask(nodes, right), asio::detached);
    CHECK(run(io));
    CHECK(right == 200);
}

TEST_CASE("async_request: a handler runs on its own executor, and not before that runs") {
    Answering nodes;
    asio::io_context io;
    const auto strand = asio::make_strand(io);
    bool inside = false;
    Events<Result> results;
    nodes.ann.async_request(nodes.bob.id(), "strand", patience,
                            asio::bind_executor(strand, [&](std::error_code error, const Message& reply) {
                                inside = strand.running_in_this_thread();
                                into(results)(error, reply);
                            }));
    // Replies come in the order of the requests, so the first one is there when the second is.
    get(nodes.ann.async_request(nodes.bob.id(), "", patience, asio::use_future));
    CHECK(results.size() == 0);
    CHECK(run(io));
    CHECK(results.take() == Result({}, "strand!"));
    CHECK(inside);
}

TEST_CASE("async_request: may be started on an I/O thread, where request would not work") {
    Answering nodes;
    Events<Result> results;
    nodes.ann.on_message([&](const Message& message) {
        std::error_code error;
        nodes.ann.request(message.from(), "", patience, error);
        CHECK(error == errc::would_block);
        nodes.ann.async_request(message.from(), message.bytes(), patience, into(results));
    });
    nodes.bob.send(nodes.ann.id(), "ask me");
    CHECK(results.take() == Result({}, "ask me!"));
}

TEST_CASE("async_request: a deferred one asks each time it is started") {
    Asked nodes;
    auto operation = nodes.ann.async_request(nodes.bob.id(), "deferred", patience, deferred);
    CHECK_FALSE(nodes.bob.inbox().try_receive());
    auto first = operation(asio::use_future);
    auto second = std::move(operation)(asio::use_future);
    const Message one = nodes.next();
    const Message two = nodes.next();
    CHECK(one.text() == "deferred");
    CHECK(two.text() == "deferred");
    two.reply("second");
    one.reply("first");
    CHECK(get(std::move(second)).text() == "second");
    CHECK(get(std::move(first)).text() == "first");
}

TEST_CASE("async_request: what fails says why, as request does") {
    Pair nodes(tight(), tight());
    Node& ann = nodes.ann;
    const PeerId bob = nodes.bob.id();
    CHECK(error_of(ann.async_request(PeerId{}, "", patience, asio::use_future)) == errc::not_in_view);
    CHECK(error_of(ann.async_request(ann.id(), "", patience, asio::use_future)) == errc::not_in_view);
    const std::string large((std::size_t{256} << 10) - 7, 'x');
    CHECK(error_of(ann.async_request(bob, large, patience, asio::use_future)) == errc::message_too_large);
    CHECK(error_of(ann.async_request(bob, "nobody replies", 20ms, asio::use_future)) == errc::timed_out);
    CHECK(error_of(ann.async_request(bob, "no time", -1s, asio::use_future)) == errc::timed_out);
    ann.close();
    CHECK(error_of(ann.async_request(bob, "", patience, asio::use_future)) == errc::closed);
}

TEST_CASE("async_request: what has failed can still be cancelled, which changes nothing") {
    Pair nodes;
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<Result> results;
    const auto handler = [&] {
        return asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(results)));
    };
    nodes.ann.async_request(PeerId{}, "", patience, handler());
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(results.take() == Result(errc::not_in_view, ""));
    nodes.ann.close();
    nodes.ann.async_request(nodes.bob.id(), "", patience, handler());
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(results.take() == Result(errc::closed, ""));
}

TEST_CASE("async_request: cancelled it ends at once, and a late reply bothers nobody") {
    Asked nodes;
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<Result> results;
    asio::cancellation_type type{};
    SUBCASE("total") { type = asio::cancellation_type::total; }
    SUBCASE("partial") { type = asio::cancellation_type::partial; }
    SUBCASE("terminal") { type = asio::cancellation_type::terminal; }
    nodes.ann.async_request(nodes.bob.id(), "cancelled", 1h,
                            asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(results))));
    auto next = nodes.ann.async_request(nodes.bob.id(), "next", patience, asio::use_future);
    const Message cancelled = nodes.next();
    signal.emit(type);
    CHECK(run(io));
    CHECK(results.take() == Result(asio::error::operation_aborted, ""));
    cancelled.reply("late");
    nodes.next().reply("in time");
    CHECK(get(std::move(next)).text() == "in time");
    signal.emit(type);
    CHECK(run(io));
    CHECK(results.size() == 0);
}

TEST_CASE("async_request: cancelled after its reply has come it still has its reply") {
    Answering nodes;
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<Result> results;
    nodes.ann.async_request(nodes.bob.id(), "first", patience,
                            asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(results))));
    get(nodes.ann.async_request(nodes.bob.id(), "second", patience, asio::use_future));
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(results.take() == Result({}, "first!"));
}

TEST_CASE("async_request: cancelled while it waits for room it is never sent, and what waited behind it goes on") {
    Stuck stuck;
    Node& ann = stuck.pair.ann;
    const PeerId bob = stuck.pair.bob.id();
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<Result> results;
    ann.async_request(bob, std::string(long_size, 'y'), patience,
                      asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(results))));
    auto behind = ann.async_send(bob, "behind", asio::use_future);
    CHECK(waits(behind));
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(results.take() == Result(asio::error::operation_aborted, ""));
    get(std::move(behind));
    CHECK(stuck.let_go());
    CHECK(stuck.received.take() == "behind");
}

TEST_CASE("async_request: it waits for room among those that were started before and after it") {
    Stuck stuck;
    Node& ann = stuck.pair.ann;
    const PeerId bob = stuck.pair.bob.id();
    const std::string body(long_size, 'y');
    auto before = ann.async_send(bob, "1" + body, asio::use_future);
    auto late = ann.async_request(bob, "2", 20ms, asio::use_future);
    auto request = ann.async_request(bob, "3", patience, asio::use_future);
    auto behind = ann.async_send(bob, "4", asio::use_future);
    CHECK(error_of(std::move(late)) == errc::timed_out);
    CHECK(waits(before));
    CHECK(waits(request));
    CHECK(waits(behind));
    CHECK(stuck.let_go());
    CHECK((stuck.received.take() == "1" + body));
    CHECK(stuck.received.take() == "3");
    CHECK(stuck.received.take() == "4");
    get(std::move(before));
    get(std::move(behind));
    CHECK(error_of(std::move(request)) == errc::unanswered);
}

TEST_CASE("async_request: one that is given up for want of room does not wait for a reply") {
    Options options = tight();
    options.send_timeout = 50ms;
    options.when_full = WhenFull::give_up;
    Stuck stuck(options);
    auto given_up =
        stuck.pair.ann.async_request(stuck.pair.bob.id(), std::string(long_size, 'y'), 1h, asio::use_future);
    CHECK(error_of(std::move(given_up)) == errc::timed_out);
    CHECK(stuck.let_go());
    CHECK(stuck.received.take() == "gap");
}

TEST_CASE("async_request: those that wait for room have a limit, and closing ends them all") {
    Options options = tight();
    options.linger = 0ns;
    Stuck stuck(options);
    Node& ann = stuck.pair.ann;
    const PeerId bob = stuck.pair.bob.id();
    const std::string body((std::size_t{256} << 10) - 8, 'y');
    std::vector<std::future<Message>> waiting;
    for (int i = 0; i < 4; ++i) waiting.push_back(ann.async_request(bob, body, patience, asio::use_future));
    CHECK(error_of(ann.async_request(bob, body, patience, asio::use_future)) == errc::outbox_full);
    CHECK(std::all_of(waiting.begin(), waiting.end(), [](const auto& each) { return waits(each); }));
    ann.close();
    for (auto& each : waiting) CHECK(error_of(std::move(each)) == errc::closed);
    stuck.gate.set_value();
}

TEST_CASE("async_request: the peer goes, or the node that asks closes") {
    Asked nodes;
    asio::io_context io;
    Events<Result> on_context;
    Events<Result> on_callback_thread;
    nodes.ann.async_request(nodes.bob.id(), "", 1h, asio::bind_executor(io, into(on_context)));
    nodes.ann.async_request(nodes.bob.id(), "", 1h, into(on_callback_thread));
    auto future = nodes.ann.async_request(nodes.bob.id(), "", 1h, asio::use_future);
    const Message kept[] = {nodes.next(), nodes.next(), nodes.next()};
    errc expected{};
    SUBCASE("the peer goes") {
        expected = errc::connection_lost;
        nodes.bob.close();
    }
    SUBCASE("the peer is removed") {
        expected = errc::connection_lost;
        CHECK(nodes.ann.remove(nodes.bob.id()));
    }
    SUBCASE("the node closes") {
        expected = errc::closed;
        nodes.ann.close();
    }
    CHECK(error_of(std::move(future)) == expected);
    CHECK(on_callback_thread.take() == Result(expected, ""));
    CHECK(run(io));
    CHECK(on_context.take() == Result(expected, ""));
}

TEST_CASE("async_request: its node may be destroyed while it waits") {
    asio::io_context io;
    Events<Result> on_context;
    Events<Result> on_callback_thread;
    std::future<Message> future;
    asio::cancellation_signal signal;
    Node bob(quick());
    {
        Node ann(quick());
        ann.add(bob.address());
        const auto handler = asio::bind_executor(io, into(on_context));
        ann.async_request(bob.id(), "", 1h, asio::bind_cancellation_slot(signal.slot(), handler));
        ann.async_request(bob.id(), "", 1h, into(on_callback_thread));
        future = ann.async_request(bob.id(), "", 1h, asio::use_future);
    }
    // Handlers without an executor have run by now.
    CHECK(on_callback_thread.size() == 1);
    CHECK(on_callback_thread.take() == Result(errc::closed, ""));
    CHECK_FALSE(waits(future));
    CHECK(error_of(std::move(future)) == errc::closed);
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(on_context.take() == Result(errc::closed, ""));
}

TEST_CASE("async_request: where its context ends first, its handler is destroyed and not called") {
    Asked nodes;
    Events<Result> results;
    auto context = std::make_unique<asio::io_context>();
    auto kept = std::make_shared<int>(0);
    const std::weak_ptr<int> handler = kept;
    nodes.ann.async_request(
        nodes.bob.id(), "asked", patience,
        asio::bind_executor(*context, [&results, held = kept](std::error_code error, const Message& reply) {
            into(results)(error, reply);
        }));
    const Message asked = nodes.next();
    SUBCASE("before the reply") {
        kept.reset();
        context.reset();
        CHECK(handler.expired());
        asked.reply("nobody waits");
    }
    SUBCASE("after the reply, which was posted there") {
        asked.reply("in vain");
        auto later = nodes.ann.async_request(nodes.bob.id(), "", patience, asio::use_future);
        nodes.next().reply("");
        get(std::move(later));
        kept.reset();
        CHECK_FALSE(handler.expired());
        context.reset();
        CHECK(handler.expired());
    }
    auto next = nodes.ann.async_request(nodes.bob.id(), "", patience, asio::use_future);
    nodes.next().reply("still works");
    CHECK(get(std::move(next)).text() == "still works");
    CHECK(results.size() == 0);
}

TEST_CASE("async_request: those whose context has ended wait no longer") {
    std::vector<Message> kept;
    Asked nodes;
    nodes.bob.on_message([&](const Message& message) { kept.push_back(message); });
    {
        asio::io_context context;
        for (int i = 0; i < 65536; ++i) {
            nodes.ann.async_request(nodes.bob.id(), "", 1h,
                                    asio::bind_executor(context, [](std::error_code, const Message&) {}));
        }
        CHECK(error_of(nodes.ann.async_request(nodes.bob.id(), "", 1ms, asio::use_future)) == errc::too_many_requests);
    }
    CHECK(error_of(nodes.ann.async_request(nodes.bob.id(), "", 1ms, asio::use_future)) == errc::timed_out);
}

TEST_CASE("async_request: its context and its peer end while replies come") {
    for (int i = 0; i < 20; ++i) {
        Node ann(quick());
        auto bob = std::make_unique<Node>(quick());
        bob->on_message(answer);
        ann.add(bob->address());
        std::atomic<int> handled{0};
        std::vector<std::future<Message>> futures;
        {
            asio::io_context io;
            std::jthread runs([&] { io.run_for(std::chrono::microseconds(i * 50)); });
            for (int k = 0; k < 50; ++k) {
                ann.async_request(bob->id(), "x", patience,
                                  asio::bind_executor(io, [&](std::error_code, const Message&) { ++handled; }));
                futures.push_back(ann.async_request(bob->id(), "x", patience, asio::use_future));
            }
        }
        bob.reset();
        for (std::future<Message>& each : futures) {
            const std::error_code error = error_of(std::move(each));
            CHECK((!error || error == errc::connection_lost));
        }
        CHECK(handled <= 50);
    }
}

TEST_CASE("async_request: cancelling that races with replies gives either, and each reply to its own request") {
    constexpr int count = 2000;
    Answering nodes;
    asio::io_context io;
    int replied = 0;
    int cancelled = 0;
    const auto ask = [&](Node& node, PeerId to) -> asio::awaitable<void> {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        for (int i = 0; i < count || replied == 0 || cancelled == 0; ++i) {
            const std::string text = std::to_string(i);
            timer.expires_after(std::chrono::microseconds(i % 100 * 5));
            const auto result = co_await (node.async_request(to, text, patience, asio::use_awaitable) ||
                                          timer.async_wait(asio::use_awaitable));
            if (result.index() == 1) {
                ++cancelled;
            } else {
                ++replied;
                if (std::get<0>(result).text() != text + "!") throw std::runtime_error("the reply to another request");
            }
        }
    };
    std::exception_ptr thrown;
    asio::co_spawn(io, ask(nodes.ann, nodes.bob.id()), [&](std::exception_ptr what) { thrown = what; });
    CHECK(run(io));
    CHECK_FALSE(thrown);
    CHECK(replied > 0);
    CHECK(cancelled > 0);
    get(nodes.ann.async_request(nodes.bob.id(), "", patience, asio::use_future));
}

TEST_CASE("async_request: an error that is replied reaches callbacks, futures and coroutines, as does its absence") {
    Pair nodes;
    Node& ann = nodes.ann;
    const PeerId bob = nodes.bob.id();
    nodes.bob.on_message([](const Message& message) {
        if (message.text() != "dropped") message.reply_error(42, message.text());
    });
    const std::error_code expected(42, reply_category());
    Events<Result> results;
    ann.async_request(bob, "callback", patience, into(results));
    CHECK(results.take() == Result(expected, "callback"));
    ann.async_request(bob, "dropped", 1h, into(results));
    CHECK(results.take() == Result(errc::unanswered, ""));
    CHECK(error_of(ann.async_request(bob, "future", patience, asio::use_future)) == expected);
    CHECK(error_of(ann.async_request(bob, "dropped", 1h, asio::use_future)) == errc::unanswered);

    asio::io_context io;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            try {
                co_await ann.async_request(bob, "coroutine", patience, asio::use_awaitable);
            } catch (const std::system_error& error) {
                results.put({error.code(), "thrown"});
            }
            const auto [error, reply] =
                co_await ann.async_request(bob, "as_tuple", patience, as_tuple(asio::use_awaitable));
            results.put({error, std::string(reply.text())});
        },
        asio::detached);
    CHECK(run(io));
    CHECK(results.take() == Result(expected, "thrown"));
    CHECK(results.take() == Result(expected, "as_tuple"));
}

TEST_CASE("async_request_all: each peer gives a result, also to callbacks and coroutines, and nobody gives none") {
    Answering nodes;
    Node eve(quick());
    eve.add(nodes.ann.address());
    REQUIRE(nodes.ann.wait_for_peers(2, patience));
    eve.on_message([](const Message&) {});
    const auto check = [&](const std::vector<Answer>& answers) {
        REQUIRE(answers.size() == 2);
        for (const Answer& answer : answers) {
            CHECK(answer.error == (answer.peer.id == eve.id() ? make_error_code(errc::unanswered) : std::error_code()));
            CHECK(answer.message.text() == (answer.peer.id == eve.id() ? "" : "all!"));
        }
    };
    check(get(nodes.ann.async_request_all("all", patience, asio::use_future)));
    Events<int> called;
    nodes.ann.async_request_all("all", patience, [&](std::error_code error, const std::vector<Answer>& answers) {
        CHECK_FALSE(error);
        check(answers);
        called.put(1);
    });
    CHECK(called.take() == 1);
    Node alone(quick());
    CHECK(get(alone.async_request_all("all", patience, asio::use_future)).empty());
    alone.close();
    CHECK(error_of(alone.async_request_all("all", patience, asio::use_future)) == errc::closed);
}

TEST_CASE("async_request_all: cancelled it ends at once, and late replies bother nobody") {
    Asked nodes;
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<std::error_code> results;
    nodes.ann.async_request_all(
        "cancelled", 1h,
        asio::bind_cancellation_slot(
            signal.slot(),
            asio::bind_executor(io, [&](std::error_code error, const std::vector<Answer>&) { results.put(error); })));
    const Message asked = nodes.next();
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(results.take() == asio::error::operation_aborted);
    asked.reply("late");
    auto next = nodes.ann.async_request(nodes.bob.id(), "next", patience, asio::use_future);
    nodes.next().reply("in time");
    CHECK(get(std::move(next)).text() == "in time");
}

TEST_CASE("async_send: to several it goes to all or to none") {
    Asked nodes;
    const std::vector<PeerId> both = {nodes.bob.id(), nodes.bob.id()};
    get(nodes.ann.async_send(both, "once", asio::use_future));
    const std::vector<PeerId> wrong = {nodes.bob.id(), nodes.ann.id()};
    CHECK(error_of(nodes.ann.async_send(wrong, "never", asio::use_future)) == errc::not_in_view);
    get(nodes.ann.async_send(nodes.bob.id(), "last", asio::use_future));
    CHECK(nodes.next().text() == "once");
    CHECK(nodes.next().text() == "last");
}
