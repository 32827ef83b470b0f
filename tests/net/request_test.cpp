#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// Two nodes that have each other in view.
struct Pair {
    Node ann;
    Node bob;

    explicit Pair(Options options = quick()) : ann(options), bob(options) {
        bob.add(ann.address());
        REQUIRE(ann.wait_for_peers(1, patience));
    }
};

/// A thread that replies to each request in the inbox of `node` with its text and "!".
class Echo {
public:
    explicit Echo(Node& node)
        : node_(node), thread_([inbox = node.inbox()]() mutable {
              for (const Message& message : inbox) {
                  std::error_code ignored;
                  if (message.wants_reply()) message.reply(std::string(message.text()) + "!", ignored);
              }
          }) {}
    ~Echo() {
        node_.close();
        thread_.join();
    }

private:
    Node& node_;
    std::thread thread_;
};

using Result = std::pair<std::error_code, std::string>;

auto into(Events<Result>& results) {
    return [&results](std::error_code error, const Message& reply) {
        results.put({error, std::string(reply.text())});
    };
}

}  // namespace

TEST_CASE("request: the reply comes back to the one who asked, from the peer it asked") {
    Pair nodes;
    Echo echo(nodes.bob);
    const Message reply = nodes.ann.request(nodes.bob.id(), "hello", patience);
    CHECK(reply.text() == "hello!");
    CHECK(reply.from() == nodes.bob.id());
    CHECK_FALSE(reply.wants_reply());
    CHECK(nodes.ann.request(nodes.bob.id(), "", patience).text() == "!");
    CHECK_FALSE(nodes.ann.inbox().try_receive());
}

TEST_CASE("request: any length up to 8 bytes less than the longest message, both ways") {
    Options options = quick();
    options.max_message = std::size_t{1} << 20;
    Pair nodes(options);
    nodes.bob.on_message([](const Message& message) { message.reply(message.bytes()); });
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65527}, std::size_t{65528},
                                   std::size_t{65529}, std::size_t{200000}, options.max_message - 8}) {
        CAPTURE(size);
        std::string text(size, 'x');
        if (size > 2) text[size / 2] = 'y', text[size - 1] = 'z';
        CHECK(nodes.ann.request(nodes.bob.id(), text, patience).text() == text);
        CHECK(nodes.ann.request(nodes.bob.id(), std::string(text), patience).text() == text);
    }
    std::error_code error;
    nodes.ann.request(nodes.bob.id(), std::string(options.max_message - 7, 'x'), patience, error);
    CHECK(error == errc::message_too_large);
}

TEST_CASE("request: many from many threads each get their own reply") {
    Pair nodes;
    nodes.bob.on_message([](const Message& message) { message.reply(message.bytes()); });
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&, thread] {
            for (int i = 0; i < 200; ++i) {
                const std::string text = std::to_string(thread) + " " + std::to_string(i);
                if (nodes.ann.request(nodes.bob.id(), text, patience).text() == text) ++right;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 800);
}

TEST_CASE("request: it comes in order with other messages, and is one that wants a reply") {
    Pair nodes;
    Events<Result> results;
    nodes.ann.send(nodes.bob.id(), "first");
    nodes.ann.request(nodes.bob.id(), "second", patience, into(results));
    nodes.ann.broadcast("third");
    Inbox inbox = nodes.bob.inbox();
    std::vector<std::pair<std::string, bool>> seen;
    std::optional<Message> kept;
    for (int i = 0; i < 3; ++i) {
        std::optional<Message> message = inbox.receive_for(patience);
        REQUIRE(message);
        seen.emplace_back(message->text(), message->wants_reply());
        if (message->wants_reply()) kept = *message;
    }
    CHECK(seen == std::vector<std::pair<std::string, bool>>{{"first", false}, {"second", true}, {"third", false}});
    REQUIRE(kept);
    Message moved = std::move(*kept);
    CHECK_FALSE(kept->wants_reply());
    moved.reply("reply");
    CHECK(results.take() == Result({}, "reply"));
}

TEST_CASE("request: two nodes whose readers wait for each other's replies, while neither reads") {
    Options options = quick();
    options.linger = 0ns;  // what lies unread would be waited for
    Pair nodes(options);
    // Each fills what the other may receive, so that nothing more of the user's gets through.
    const std::string filler(60000, 'f');
    for (int i = 0; i < 4; ++i) {
        nodes.ann.send(nodes.bob.id(), filler);
        nodes.bob.send(nodes.ann.id(), filler);
    }
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "for bob", patience, into(results));
    Inbox inbox = nodes.bob.inbox();
    std::optional<Message> request;
    while (!request || !request->wants_reply()) {
        request = inbox.receive_for(patience);
        REQUIRE(request);
    }
    TryResult full;
    while ((full = nodes.bob.try_send(nodes.ann.id(), filler))) {
    }
    CHECK(full.error == errc::outbox_full);
    request->reply("in spite of that");
    CHECK(results.take() == Result({}, "in spite of that"));
    CHECK(nodes.ann.inbox().try_receive());
}

TEST_CASE("request: the thread that reads the inbox may ask, and its handler may, too") {
    Pair nodes;
    Echo echo(nodes.bob);
    std::string text;
    std::thread reader([&] {
        for (const Message& message : nodes.ann.inbox()) {
            text = nodes.ann.request(message.from(), message.bytes(), patience).text();
            nodes.ann.close();
        }
    });
    nodes.bob.send(nodes.ann.id(), "ask me");
    reader.join();
    CHECK(text == "ask me!");

    Pair others;
    Events<Result> results;
    Echo other_echo(others.bob);
    others.ann.on_message([&](const Message& message) {
        std::error_code error;
        others.ann.request(message.from(), "", patience, error);
        results.put({error, ""});
        others.ann.request(message.from(), message.bytes(), patience, into(results));
    });
    others.bob.send(others.ann.id(), "ask me");
    CHECK(results.take() == Result(errc::would_block, ""));
    CHECK(results.take() == Result({}, "ask me!"));
}

TEST_CASE("request: without a reply it ends with its time, and a late reply bothers nobody") {
    Pair nodes;
    std::error_code error;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(nodes.ann.request(nodes.bob.id(), "nobody reads this", 50ms, error).size() == 0);
    CHECK(error == errc::timed_out);
    CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "long", 10min, into(results));
    nodes.ann.request(nodes.bob.id(), "short", 1ms, into(results));
    CHECK(results.take() == Result(errc::timed_out, ""));

    Inbox inbox = nodes.bob.inbox();
    for (int i = 0; i < 3; ++i) {
        const std::optional<Message> message = inbox.receive_for(patience);
        REQUIRE(message);
        message->reply(message->text());
    }
    CHECK(results.take() == Result({}, "long"));
    CHECK(results.size() == 0);
    CHECK_THROWS_AS(nodes.ann.request(nodes.bob.id(), "", -1s), std::system_error);
}

TEST_CASE("request: of several replies the first one counts") {
    Pair nodes;
    nodes.bob.on_message([](const Message& message) {
        message.reply("one");
        message.reply("two");
    });
    Events<Result> results;
    for (int i = 0; i < 10; ++i) nodes.ann.request(nodes.bob.id(), "", patience, into(results));
    for (int i = 0; i < 10; ++i) CHECK(results.take() == Result({}, "one"));
    CHECK(nodes.ann.request(nodes.bob.id(), "", patience).text() == "one");
    CHECK(results.size() == 0);
}

TEST_CASE("request: it fails at once where the peer is not in view, and when it goes") {
    Pair nodes;
    std::error_code error;
    nodes.ann.request(nodes.ann.id(), "", patience, error);
    CHECK(error == errc::not_in_view);
    nodes.ann.request(PeerId{}, "", patience, error);
    CHECK(error == errc::not_in_view);

    Events<Result> results;
    nodes.ann.request(PeerId{}, "", patience, into(results));
    CHECK(results.take() == Result(errc::not_in_view, ""));
    nodes.ann.request(nodes.bob.id(), "asked", patience, into(results));
    const std::optional<Message> asked = nodes.bob.inbox().receive_for(patience);
    REQUIRE(asked);
    nodes.bob.close();
    CHECK(results.take() == Result(errc::connection_lost, ""));
    asked->reply("too late", error);
    CHECK(error == errc::closed);
}

TEST_CASE("request: the node that asks closes") {
    Pair nodes;
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "asked", patience, into(results));
    std::thread waits([&] {
        std::error_code error;
        nodes.ann.request(nodes.bob.id(), "asked", patience, error);
        results.put({error, "sync"});
    });
    Inbox inbox = nodes.bob.inbox();
    const std::optional<Message> asked = inbox.receive_for(patience);
    REQUIRE(asked);
    const std::optional<Message> also_asked = inbox.receive_for(patience);
    REQUIRE(also_asked);
    nodes.ann.close();
    std::vector<std::string> ended;
    for (int i = 0; i < 2; ++i) {
        const std::optional<Result> result = results.take();
        REQUIRE(result);
        CHECK(result->first == errc::closed);
    }
    waits.join();
    std::error_code error;
    nodes.ann.request(nodes.bob.id(), "", patience, error);
    CHECK(error == errc::closed);
    nodes.ann.request(nodes.bob.id(), "", patience, into(results));
    CHECK(results.take() == Result(errc::closed, ""));
    asked->reply("nobody is there", error);
    CHECK((error == errc::not_in_view || !error));
}

TEST_CASE("request: a message may be replied to after its node and its inbox are gone, in vain") {
    std::optional<Message> kept;
    Node ann(quick());
    {
        Node bob(quick());
        bob.add(ann.address());
        REQUIRE(ann.wait_for_peers(1, patience));
        Events<Result> results;
        ann.request(bob.id(), "asked", 10ms, into(results));
        kept = bob.inbox().receive_for(patience);
        results.take();
    }
    REQUIRE(kept);
    CHECK(kept->wants_reply());
    std::error_code error;
    kept->reply("in vain", error);
    CHECK(error == errc::closed);
    CHECK_THROWS_AS(kept->reply("in vain"), std::system_error);
}

TEST_CASE("request: what is no request cannot be replied to") {
    Pair nodes;
    nodes.ann.send(nodes.bob.id(), "just so");
    const std::optional<Message> message = nodes.bob.inbox().receive_for(patience);
    REQUIRE(message);
    std::error_code error;
    CHECK_FALSE(message->wants_reply());
    message->reply("why", error);
    CHECK(error == errc::not_a_request);
    CHECK_THROWS_AS(Message().reply("why"), std::system_error);
}

TEST_CASE("request: so many may wait, and one more is refused") {
    std::vector<Message> kept;
    Pair nodes;
    nodes.bob.on_message([&](const Message& message) { kept.push_back(message); });
    constexpr int most = 65536;
    std::atomic<int> ended{0};
    for (int i = 0; i < most; ++i) {
        nodes.ann.request(nodes.bob.id(), "", 1h, [&](std::error_code, const Message&) { ++ended; });
    }
    std::error_code error;
    nodes.ann.request(nodes.bob.id(), "", 1h, error);
    CHECK(error == errc::too_many_requests);
    nodes.ann.close();
    CHECK(ended == most);
}

TEST_CASE("request: one that waits for room is given up with its time") {
    Options options = quick();
    options.outbox_bytes = 1 << 20;
    options.max_message = 1 << 18;
    options.send_timeout = 100ms;
    Pair nodes(options);
    const std::string filler(100000, 'f');
    std::error_code full;
    while (!full) nodes.ann.send(nodes.bob.id(), filler, full);
    CHECK(full == errc::timed_out);
    const std::string large(200000, 'r');
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), large, 20ms, into(results));
    CHECK(results.take() == Result(errc::timed_out, ""));
    nodes.ann.request(nodes.bob.id(), "has room", patience, into(results));
    Inbox inbox = nodes.bob.inbox();
    for (;;) {
        const std::optional<Message> message = inbox.receive_for(patience);
        REQUIRE(message);
        CHECK(message->size() < large.size());
        if (!message->wants_reply()) continue;
        message->reply("found");
        break;
    }
    CHECK(results.take() == Result({}, "found"));
}

TEST_CASE("request: one whose time is over just when it begins to wait for room is not sent later") {
    Options options = narrow();
    options.heartbeat = 5s;
    options.suspicion = patience * 2;
    Pair nodes(options);
    Events<std::string> received;
    std::promise<void> gate;
    nodes.bob.on_message([&, open = gate.get_future().share()](const Message& message) {
        received.put(std::string(message.text()));
        open.wait();
    });
    nodes.ann.send(nodes.bob.id(), "first");
    REQUIRE(received.take() == "first");
    const std::string large(40000, 'x');
    while (nodes.ann.try_send(nodes.bob.id(), large)) {
    }
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&] {
            const std::string text = "late" + large;
            for (int i = 0; i < 1500; ++i) {
                std::error_code error;
                nodes.ann.request(nodes.bob.id(), text, std::chrono::microseconds(i % 20), error);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    gate.set_value();
    nodes.ann.request(nodes.bob.id(), "last", 1h, [](std::error_code, const Message&) {});
    int late = 0;
    for (std::string text; text != "last";) {
        std::optional<std::string> next = received.take();
        REQUIRE(next);
        text = std::move(*next);
        if (text.starts_with("late")) ++late;
    }
    CHECK(late == 0);
}

TEST_CASE("request: with give_up a reply for which there is no room is known to be given up") {
    Options options = quick();
    options.outbox_bytes = 1 << 20;
    options.max_message = 1 << 18;
    options.send_timeout = 20ms;
    options.linger = 0ms;
    options.when_full = WhenFull::give_up;
    Events<int> go_on;
    Pair nodes(options);
    // The first reply keeps its I/O thread from taking more of them.
    nodes.ann.request(nodes.bob.id(), "", patience, [&](std::error_code, const Message&) { go_on.take(); });
    const std::optional<Message> message = nodes.bob.inbox().receive_for(patience);
    REQUIRE(message);
    const std::string large(200000, 'r');
    std::error_code error;
    for (int i = 0; i < 100 && !error; ++i) message->reply(large, error);
    CHECK(error == errc::timed_out);
    go_on.put(1);
}

TEST_CASE("request: what its handler throws is caught and counted") {
    Pair nodes;
    Echo echo(nodes.bob);
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "", patience, [](std::error_code, const Message&) { throw 1; });
    nodes.ann.request(nodes.bob.id(), "next", patience, into(results));
    CHECK(results.take() == Result({}, "next!"));
    CHECK(nodes.ann.stats().handler_exceptions == 1);
}

TEST_CASE("request: one that is dropped without a reply ends at once") {
    Pair nodes;
    Inbox inbox = nodes.bob.inbox();
    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "", 1h, into(results));
    SUBCASE("received and let go") {
        CHECK(inbox.receive_for(patience));
    }
    SUBCASE("the loop goes on, and waits for the next message") {
        std::thread reader([&] {
            for (const Message& message : inbox) CHECK(message.wants_reply());
        });
        CHECK(results.take() == Result(errc::unanswered, ""));
        nodes.bob.close();
        reader.join();
        return;
    }
    SUBCASE("the loop is left") {
        for (const Message& message : inbox) {
            CHECK(message.wants_reply());
            break;
        }
    }
    SUBCASE("its last copy goes") {
        std::optional<Message> message = inbox.receive_for(patience);
        REQUIRE(message);
        std::optional<Message> copy = *message;
        std::optional<Message> moved = std::move(*message);
        message.reset();
        moved.reset();
        CHECK(copy->wants_reply());
        CHECK(results.size() == 0);
        copy = Message();
    }
    SUBCASE("its handler returns") {
        nodes.bob.on_message([](const Message&) {});
    }
    SUBCASE("its handler throws") {
        nodes.bob.on_message([](const Message&) { throw std::runtime_error("no"); });
    }
    SUBCASE("its reply is longer than allowed") {
        const std::optional<Message> message = inbox.receive_for(patience);
        REQUIRE(message);
        std::error_code error;
        message->reply(std::string(quick().max_message, 'x'), error);
        CHECK(error == errc::message_too_large);
    }
    CHECK(results.take() == Result(errc::unanswered, ""));
}

TEST_CASE("request: a copy that is replied to later keeps the request waiting, and only one reply comes") {
    Pair nodes;
    Events<Message> kept;
    nodes.bob.on_message([&](const Message& message) { kept.put(message); });
    Events<Result> results;
    for (int i = 0; i < 3; ++i) nodes.ann.request(nodes.bob.id(), std::to_string(i), 1h, into(results));
    for (int i = 0; i < 3; ++i) {
        const std::optional<Message> message = kept.take();
        REQUIRE(message);
        CHECK(results.size() == 0);
        message->reply(message->text());
        CHECK(results.take() == Result({}, std::to_string(i)));
    }
    CHECK(results.size() == 0);
}

TEST_CASE("request: an error that is replied reaches the one who asked, with its code and its text") {
    Pair nodes;
    nodes.bob.on_message([](const Message& message) {
        if (message.text() == "plain") return message.reply_error(-7);
        message.reply_error(42, message.text());
    });
    std::error_code error;
    const Message reply = nodes.ann.request(nodes.bob.id(), "no such order", patience, error);
    CHECK(error == std::error_code(42, reply_category()));
    CHECK(reply.text() == "no such order");
    CHECK(reply.from() == nodes.bob.id());
    CHECK(nodes.ann.request(nodes.bob.id(), "plain", patience, error).text().empty());
    CHECK(error == std::error_code(-7, reply_category()));

    Events<Result> results;
    nodes.ann.request(nodes.bob.id(), "to a handler", patience, into(results));
    CHECK(results.take() == Result(std::error_code(42, reply_category()), "to a handler"));
    try {
        nodes.ann.request(nodes.bob.id(), "thrown", patience);
        FAIL("nothing was thrown");
    } catch (const std::system_error& thrown) {
        CHECK(thrown.code() == std::error_code(42, reply_category()));
        CHECK(std::string(thrown.what()).starts_with("thrown: "));
    }
}

TEST_CASE("request: the text of an error is cut off between two characters, and its code is not 0") {
    Pair nodes;
    const auto text_of = [&](const std::string& text) {
        Events<Result> results;
        nodes.ann.request(nodes.bob.id(), "", patience, into(results));
        const std::optional<Message> message = nodes.bob.inbox().receive_for(patience);
        REQUIRE(message);
        std::error_code error;
        message->reply_error(0, text, error);
        CHECK(error == errc::malformed_message);
        message->reply_error(1, text);
        const auto result = results.take();
        return result ? result->second : std::string("nothing");
    };
    const std::string longest(1024, 'x');
    CHECK((text_of(longest) == longest));
    CHECK((text_of(longest + "y") == longest));
    CHECK((text_of(longest.substr(1) + "\xc3\xa9") == longest.substr(1)));
    CHECK((text_of(longest.substr(2) + "\xc3\xa9" + "z") == longest.substr(2) + "\xc3\xa9"));
    CHECK(text_of(std::string(2000, '\x80')).empty());
    std::error_code error;
    Message().reply_error(1, "", error);
    CHECK(error == errc::not_a_request);
    CHECK_THROWS_AS(Message().reply_error(1), std::system_error);
}
