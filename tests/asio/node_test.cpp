#include "asio/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

TEST_CASE("async_add: as callback, future, coroutine and on a strand") {
    Node ann(quick());
    Node bob(quick());
    SUBCASE("callback") {
        Events<Peer> peers;
        ann.async_add(bob.address(), [&](std::error_code error, const Peer& peer) {
            CHECK_FALSE(error);
            peers.put(peer);
        });
        CHECK(peers.take().value_or(Peer{}).id == bob.id());
    }
    SUBCASE("future, from text") {
        CHECK(get(ann.async_add(bob.address().to_string(), asio::use_future)).id == bob.id());
    }
    SUBCASE("coroutine") {
        asio::io_context io;
        PeerId id;
        const auto add = [](Node& node, Address address, PeerId& found) -> asio::awaitable<void> {
            found = (co_await node.async_add(address, asio::use_awaitable)).id;
        };
        asio::co_spawn(io, add(ann, bob.address(), id), asio::detached);
        CHECK(run(io));
        CHECK(id == bob.id());
    }
    SUBCASE("strand") {
        asio::io_context io;
        const auto strand = asio::make_strand(io);
        bool inside = false;
        ann.async_add(bob.address(), asio::bind_executor(strand, [&](std::error_code, const Peer&) {
            inside = strand.running_in_this_thread();
        }));
        CHECK(run(io));
        CHECK(inside);
    }
    CHECK(ann.peer(bob.id()).has_value());
    CHECK(bob.wait_for_peers(1, patience));
}

TEST_CASE("async_add: what fails says why, as add does") {
    Node ann(quick());
    CHECK(error_of(ann.async_add("nonsense", asio::use_future)) == errc::invalid_address);
    CHECK(error_of(ann.async_add("127.0.0.1:0", asio::use_future)) == errc::invalid_address);
    CHECK(error_of(ann.async_add(ann.address(), asio::use_future)) == errc::self);
    Socket nobody;
    CHECK(error_of(ann.async_add(nobody.bind(), asio::use_future)) == errc::connection_refused);
    ann.close();
    CHECK(error_of(ann.async_add("127.0.0.1:1", asio::use_future)) == errc::closed);
}

TEST_CASE("async_add: closing and cancelling end it") {
    Socket silent;  // accepts in the system's queue, and never answers
    const Address address = silent.bind();
    silent.listen();
    Options patient = quick();
    patient.connect_timeout = patience * 2;
    patient.handshake_timeout = patience * 2;
    Node ann(patient);
    asio::io_context io;
    std::error_code result;
    asio::cancellation_signal signal;
    ann.async_add(address, asio::bind_cancellation_slot(
                               signal.slot(), asio::bind_executor(io, [&](std::error_code error, const Peer&) {
                                   result = error;
                               })));
    SUBCASE("cancelling") {
        signal.emit(asio::cancellation_type::total);
        CHECK(run(io));
        CHECK(result == asio::error::operation_aborted);
    }
    SUBCASE("closing") {
        std::jthread closing([&] { ann.close(); });
        CHECK(run(io));
        CHECK(result == errc::closed);
    }
}

TEST_CASE("async_add: what has failed can still be cancelled, which changes nothing") {
    Node ann(quick());
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code result;
    const auto handler = [&] {
        return asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(io, [&](std::error_code error, const Peer&) { result = error; }));
    };
    ann.async_add("nonsense", handler());
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(result == errc::invalid_address);
    ann.close();
    ann.async_add("127.0.0.1:1", handler());
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(result == errc::closed);
}

TEST_CASE("async_wait_for_peers: completes when they are there, at once if they are") {
    Node ann(quick());
    Node bob(quick());
    auto one = ann.async_wait_for_peers(1, asio::use_future);
    auto two = ann.async_wait_for_peers(2, asio::use_future);
    CHECK(waits(one));
    bob.add(ann.address());
    get(std::move(one));
    get(ann.async_wait_for_peers(1, asio::use_future));
    CHECK(waits(two));
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code result;
    ann.async_wait_for_peers(
        3, asio::bind_cancellation_slot(signal.slot(),
                                        asio::bind_executor(io, [&](std::error_code error) { result = error; })));
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(result == asio::error::operation_aborted);
    ann.close();
    CHECK(error_of(std::move(two)) == errc::closed);
    CHECK(error_of(ann.async_wait_for_peers(1, asio::use_future)) == errc::closed);
}

TEST_CASE("async_send and async_broadcast: as callback, future, coroutine and on a strand") {
    Pair pair;
    Events<std::size_t> counts;
    pair.ann.async_broadcast("callback", [&](std::error_code error, std::size_t count) {
        CHECK_FALSE(error);
        counts.put(count);
    });
    CHECK(counts.take() == 1);
    CHECK(get(pair.ann.async_broadcast("future", asio::use_future)) == 1);
    get(pair.ann.async_send(pair.bob.id(), std::string(100'000, 'x'), asio::use_future));
    asio::io_context io;
    const auto send = [](Pair& both) -> asio::awaitable<void> {
        std::size_t count = 0;
        {
            // Started here, awaited where the text is gone.
            auto text = std::make_unique<std::string>("coroutine");
            auto operation = both.ann.async_broadcast(*text, asio::use_awaitable);
            text.reset();
            count = co_await std::move(operation);
        }
        CHECK(count == 1);
        co_await both.ann.async_send(both.bob.id(), "", asio::use_awaitable);
    };
    asio::co_spawn(io, send(pair), asio::detached);
    CHECK(run(io));
    const auto strand = asio::make_strand(io);
    bool inside = false;
    pair.ann.async_send(pair.bob.id(), "strand", asio::bind_executor(strand, [&](std::error_code) {
        inside = strand.running_in_this_thread();
    }));
    CHECK(run(io));
    CHECK(inside);
    Inbox inbox = pair.bob.inbox();
    CHECK(inbox.receive()->text() == "callback");
    CHECK(inbox.receive()->text() == "future");
    CHECK(inbox.receive()->size() == 100'000);
    CHECK(inbox.receive()->text() == "coroutine");
    CHECK(inbox.receive()->text() == "");
    CHECK(inbox.receive()->text() == "strand");
}

TEST_CASE("async_send: what fails says why, as send does") {
    Pair pair(tight(), tight());
    CHECK(error_of(pair.ann.async_send(PeerId{}, "hello", asio::use_future)) == errc::not_in_view);
    CHECK(error_of(pair.ann.async_broadcast(std::string(300'000, 'x'), asio::use_future)) == errc::message_too_large);
    CHECK(error_of(pair.ann.async_send(pair.bob.id(), std::vector<std::byte>(300'000), asio::use_future)) ==
          errc::message_too_large);
    pair.ann.close();
    CHECK(error_of(pair.ann.async_send(pair.bob.id(), "hello", asio::use_future)) == errc::closed);
    CHECK(error_of(pair.ann.async_broadcast("hello", asio::use_future)) == errc::closed);
}

TEST_CASE("async_send: waits for room, in the order in which it was started, and holds up nobody else") {
    Stuck stuck;
    Node& ann = stuck.pair.ann;
    Node& bob = stuck.pair.bob;
    Node eve(tight());
    eve.add(ann.address());
    const std::string body(long_size, 'y');
    auto first = ann.async_send(bob.id(), "1" + body, asio::use_future);
    auto second = ann.async_send(bob.id(), "2", asio::use_future);
    get(ann.async_send(eve.id(), "to eve", asio::use_future));
    CHECK(eve.inbox().receive_for(patience)->text() == "to eve");
    auto both = ann.async_broadcast("3", asio::use_future);
    auto behind = ann.async_send(eve.id(), "4", asio::use_future);
    CHECK(waits(first));
    CHECK(waits(second));
    CHECK(waits(both));
    CHECK(waits(behind));
    CHECK(stuck.let_go());
    get(std::move(first));
    get(std::move(second));
    CHECK(get(std::move(both)) == 2);
    get(std::move(behind));
    CHECK((stuck.received.take() == "1" + body));
    CHECK(stuck.received.take() == "2");
    CHECK(stuck.received.take() == "3");
    CHECK(eve.inbox().receive_for(patience)->text() == "3");
    CHECK(eve.inbox().receive_for(patience)->text() == "4");
}

TEST_CASE("async_send: cancelled while it waits it is not sent, and what waited behind it goes on") {
    Stuck stuck;
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code result;
    const auto keep = [&](std::error_code error, std::size_t) { result = error; };
    stuck.pair.ann.async_broadcast(std::string(long_size, 'y'),
                                   asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, keep)));
    auto behind = stuck.pair.ann.async_send(stuck.pair.bob.id(), "behind", asio::use_future);
    CHECK(waits(behind));
    signal.emit(asio::cancellation_type::partial);
    CHECK(run(io));
    CHECK(result == asio::error::operation_aborted);
    get(std::move(behind));
    CHECK(stuck.let_go());
    CHECK(stuck.received.take() == "behind");
}

TEST_CASE("async_send: after send_timeout it fails, or with give_up leaves a gap") {
    Options options = tight();
    options.send_timeout = 50ms;
    SUBCASE("fail") {
        Stuck stuck(options);
        auto late = stuck.pair.ann.async_broadcast(std::string(long_size, 'y'), asio::use_future);
        auto later = stuck.pair.ann.async_send(stuck.pair.bob.id(), std::string(long_size, 'z'), asio::use_future);
        CHECK(error_of(std::move(late)) == errc::timed_out);
        CHECK(error_of(std::move(later)) == errc::timed_out);
        stuck.pair.ann.send(stuck.pair.bob.id(), "end");
        CHECK(stuck.let_go());
        CHECK(stuck.received.take() == "end");
    }
    SUBCASE("give_up") {
        options.when_full = WhenFull::give_up;
        Stuck stuck(options);
        CHECK(get(stuck.pair.ann.async_broadcast(std::string(long_size, 'y'), asio::use_future)) == 0);
        CHECK(stuck.let_go());
        CHECK(stuck.received.take() == "gap");
    }
    SUBCASE("no time at all") {
        options.send_timeout = 0ns;
        Stuck stuck(options);
        auto late = stuck.pair.ann.async_broadcast(std::string(long_size, 'y'), asio::use_future);
        CHECK(error_of(std::move(late)) == errc::timed_out);
        CHECK(stuck.let_go());
    }
}

TEST_CASE("async_send: what the log is told may start the next one") {
    Node* node = nullptr;
    PeerId to;
    Events<std::error_code> ended;
    Options options = tight();
    SUBCASE("at once") { options.send_timeout = 0ns; }
    SUBCASE("after send_timeout") { options.send_timeout = 50ms; }
    options.log = [&](LogLevel, std::string_view line) {
        if (line.starts_with("no_room")) node->async_send(to, "", [&](std::error_code error) { ended.put(error); });
    };
    Stuck stuck(options);
    node = &stuck.pair.ann;
    to = stuck.pair.bob.id();
    node->async_send(to, std::string(long_size, 'y'), [&](std::error_code error) { ended.put(error); });
    std::vector<std::error_code> both{ended.take().value(), ended.take().value()};
    CHECK(std::count(both.begin(), both.end(), errc::timed_out) == 1);
    CHECK(std::count(both.begin(), both.end(), std::error_code()) == 1);
    CHECK(stuck.let_go());
}

TEST_CASE("async_send: those that wait have a limit, and closing ends them all") {
    Options options = tight();
    options.linger = 0ns;
    Stuck stuck(options);
    std::vector<std::future<std::size_t>> waiting;
    for (int i = 0; i < 4; ++i) {
        waiting.push_back(
            stuck.pair.ann.async_broadcast(std::string(std::size_t{256} << 10, 'y'), asio::use_future));
    }
    CHECK(error_of(stuck.pair.ann.async_broadcast("one too much", asio::use_future)) == errc::outbox_full);
    CHECK(std::all_of(waiting.begin(), waiting.end(), [](const auto& each) { return waits(each); }));
    stuck.pair.ann.close();
    for (auto& each : waiting) CHECK(error_of(std::move(each)) == errc::closed);
    stuck.gate.set_value();
}

TEST_CASE("async operations may be started on an I/O thread, where the blocking ones would not work") {
    Pair pair;
    Events<std::string> answers;
    pair.bob.on_message([&](const Message& message) {
        std::error_code error;
        pair.bob.add(pair.ann.address(), error);
        CHECK(error == errc::would_block);
        pair.bob.async_add(pair.ann.address(), asio::detached);
        pair.bob.async_send(message.from(), "answer", asio::detached);
    });
    pair.ann.inbox().async_receive(
        [&](std::error_code, const Message& message) { answers.put(std::string(message.text())); });
    pair.ann.broadcast("question");
    CHECK(answers.take() == "answer");
}

TEST_CASE("async_close: on the application's own executor, while others wait") {
    Pair pair;
    asio::io_context io;
    std::vector<std::string> order;
    const auto read = [](Inbox inbox, std::vector<std::string>& log) -> asio::awaitable<void> {
        std::error_code error;
        while (!error) {
            const Message message = co_await inbox.async_receive(asio::redirect_error(asio::use_awaitable, error));
            log.push_back(error ? error.message() : std::string(message.text()));
        }
    };
    const auto close = [](Pair& both) -> asio::awaitable<void> {
        co_await both.ann.async_broadcast("last", asio::use_awaitable);
        const Unacknowledged rest = co_await both.ann.async_close(asio::use_awaitable);
        CHECK_FALSE(rest);
        const Unacknowledged again = co_await both.ann.async_close(asio::use_awaitable);
        CHECK_FALSE(again);
        co_await both.bob.async_close(asio::use_awaitable);
    };
    asio::co_spawn(io, read(pair.bob.inbox(), order), asio::detached);
    asio::co_spawn(io, close(pair), asio::detached);
    CHECK(run(io));
    CHECK(order == std::vector<std::string>{"last", make_error_code(errc::closed).message()});
}

TEST_CASE("async operations of a node that is destroyed complete on the context that lives on") {
    asio::io_context io;
    std::vector<std::error_code> errors;
    {
        Node ann(quick());
        ann.async_wait_for_peers(1, asio::bind_executor(io, [&](std::error_code error) { errors.push_back(error); }));
        ann.async_close(asio::bind_executor(io, [&](std::error_code error, Unacknowledged) {
            errors.push_back(error);
        }));
    }
    CHECK(run(io));
    CHECK(errors == std::vector<std::error_code>{errc::closed, {}});
}

TEST_CASE("async operations without an executor have run when their node is gone, also on a shared Runtime") {
    const Runtime runtime;
    Options options = quick();
    options.runtime = runtime;
    for (int i = 0; i < 100; ++i) {
        std::atomic<int> called{0};
        {
            Node ann(options);
            for (int k = 0; k < 5; ++k) {
                ann.inbox().async_receive([&](std::error_code error, const Message&) {
                    CHECK(error == errc::closed);
                    ++called;
                });
            }
            ann.async_wait_for_peers(1, [&](std::error_code) { ++called; });
        }
        CHECK(called == 6);
    }
}

TEST_CASE("async_wait_until_settled: completes when all seeds have been tried, at once if they have") {
    Node ann(quick());
    get(ann.async_wait_until_settled(asio::use_future));
    Options options = quick();
    options.seeds = {ann.address().to_string()};
    Node bob(options);
    get(bob.async_wait_until_settled(asio::use_future));
    CHECK(bob.peers().size() == 1);

    const Socket mute;
    options.seeds = {mute.bind().to_string()};
    mute.listen();
    Node eve(options);
    auto waiting = eve.async_wait_until_settled(asio::use_future);
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code result;
    eve.async_wait_until_settled(asio::bind_cancellation_slot(
        signal.slot(), asio::bind_executor(io, [&](std::error_code error) { result = error; })));
    signal.emit(asio::cancellation_type::total);
    CHECK(run(io));
    CHECK(result == asio::error::operation_aborted);
    CHECK(waits(waiting));
    eve.close();
    CHECK(error_of(std::move(waiting)) == errc::closed);
}
