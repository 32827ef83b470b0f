#include "net/support.hpp"

#include <doctest/doctest.h>
#include <cluster/cluster.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

// Messages and questions to several peers, and peers that get no broadcasts.

namespace {

Options named(const char* name) {
    Options options = quick();
    options.name = name;
    return options;
}

Options observing(const char* name) {
    Options options = named(name);
    options.observer = true;
    options.linger = 0ns;
    return options;
}

/// Little room, and little patience.
Options narrow_and_named(const char* name) {
    Options options = named(name);
    options.outbox_bytes = 1 << 20;
    options.max_message = 1 << 18;
    options.send_timeout = 50ms;
    options.linger = 0ns;
    return options;
}

/// Three that have each other in view.
struct Three {
    Node ann;
    Node bob;
    Node eve;

    Three(Options of_ann, Options of_bob, Options of_eve)
        : ann(std::move(of_ann)), bob(std::move(of_bob)), eve(std::move(of_eve)) {
        bob.add(ann.address());
        eve.add(ann.address());
        for (Node* node : {&ann, &bob, &eve}) REQUIRE(node->wait_for_peers(2, patience));
    }
};

}  // namespace

TEST_CASE("observer: one that only asks and reads nothing stops nobody's broadcast") {
    Three nodes(narrow_and_named("ann"), named("bob"), observing("top"));
    Events<std::string> received;
    nodes.bob.on_message([&](const Message& message) {
        if (message.wants_reply()) return message.reply("figures");
        received.put(std::string(message.text()));
    });
    const std::string large(60000, 'x');
    for (int i = 0; i < 100; ++i) {
        CHECK(nodes.ann.broadcast(large) == 1);
        REQUIRE(received.take() == large);
        if (i % 10 == 0) CHECK(nodes.eve.request(nodes.bob.id(), "", patience).text() == "figures");
    }
    CHECK_FALSE(nodes.eve.inbox().try_receive());
    CHECK(nodes.ann.peer(nodes.eve.id())->observer);
    nodes.ann.send(nodes.eve.id(), "to you alone");
    CHECK(nodes.eve.inbox().receive_for(patience)->text() == "to you alone");
}

TEST_CASE("observer: who has no room is named by the exception and by the log") {
    Lines lines;
    Options options = narrow_and_named("ann");
    options.log = lines.sink();
    Three nodes(options, named("bob"), narrow_and_named("full of \"it\""));
    nodes.bob.on_message([](const Message&) {});
    const std::string large(200000, 'x');
    const std::string id = nodes.eve.id().to_string();
    // However slow it is, it does not count as full.
    const auto bob_has_read_all = [&] {
        const Stats stats = nodes.ann.stats();
        return std::all_of(stats.by_peer.begin(), stats.by_peer.end(), [&](const PeerStats& each) {
            return each.id != nodes.bob.id() || each.outbox_bytes == 0;
        });
    };
    const auto thrown_by = [&](auto send) {
        for (;;) {
            REQUIRE(wait_for(bob_has_read_all, patience));
            try {
                send();
            } catch (const std::system_error& error) {
                CHECK(error.code() == errc::timed_out);
                return std::string(error.what());
            }
        }
    };
    for (const std::string& text : {thrown_by([&] { nodes.ann.broadcast(large); }),
                                    thrown_by([&] { nodes.ann.send(nodes.eve.id(), large); }), thrown_by([&] {
                                        nodes.ann.send({nodes.bob.id(), nodes.eve.id()}, large);
                                    })}) {
        CAPTURE(text);
        CHECK(text.find(id + " name=\"full of ") != std::string::npos);
        CHECK(text.find(nodes.bob.id().to_string()) == std::string::npos);
    }
    CHECK(lines.wait_for("no_room peer=" + id + " name=\"full of "));
}

TEST_CASE("several: a message to some peers goes to those and to nobody else, or to none") {
    Three nodes(named("ann"), named("bob"), named("eve"));
    Node other(named("other"));
    other.add(nodes.ann.address());
    REQUIRE(nodes.ann.wait_for_peers(3, patience));
    const std::vector<PeerId> both = {nodes.bob.id(), nodes.eve.id()};
    nodes.ann.send(both, "a vector");
    nodes.ann.send({nodes.bob.id(), nodes.eve.id()}, "a list");
    nodes.ann.send(std::array{nodes.bob.id(), nodes.eve.id(), nodes.eve.id()}, std::string(20000, 'm'));
    CHECK(nodes.ann.try_send(both, "at once").count == 2);
    std::error_code error;
    nodes.ann.send({nodes.bob.id(), PeerId{}}, "to nobody", error);
    CHECK(error == errc::not_in_view);
    CHECK_THROWS_AS(nodes.ann.send({nodes.bob.id(), nodes.ann.id()}, "to nobody"), std::system_error);
    nodes.ann.send(std::vector<PeerId>(), "to nobody", error);
    CHECK_FALSE(error);
    nodes.ann.broadcast("last");
    for (Node* node : {&nodes.bob, &nodes.eve}) {
        for (const std::string& text : {std::string("a vector"), std::string("a list"), std::string(20000, 'm'),
                                        std::string("at once"), std::string("last")}) {
            const auto message = node->inbox().receive_for(patience);
            REQUIRE(message);
            CHECK(message->text() == text);
        }
    }
    CHECK(other.inbox().receive_for(patience)->text() == "last");
}

TEST_CASE("several: all peers are asked, and each gives a result of its own") {
    Three nodes(named("ann"), named("bob"), named("eve"));
    Node mute(named("mute"));
    Node top(observing("top"));
    mute.add(nodes.ann.address());
    top.add(nodes.ann.address());
    REQUIRE(nodes.ann.wait_for_peers(4, patience));
    nodes.bob.on_message([](const Message& message) { message.reply(std::string(message.text()) + " bob"); });
    nodes.eve.on_message([](const Message& message) { message.reply_error(5, "not today"); });
    mute.on_message([](const Message&) {});
    const std::vector<Answer> answers = nodes.ann.request_all("hello", patience);
    REQUIRE(answers.size() == 3);
    CHECK(std::is_sorted(answers.begin(), answers.end(),
                         [](const Answer& a, const Answer& b) { return a.peer.id < b.peer.id; }));
    for (const Answer& answer : answers) {
        if (answer.peer.name == "bob") {
            CHECK_FALSE(answer.error);
            CHECK(answer.message.text() == "hello bob");
            CHECK(answer.message.from() == nodes.bob.id());
        } else if (answer.peer.name == "eve") {
            CHECK(answer.error == std::error_code(5, reply_category()));
            CHECK(answer.message.text() == "not today");
        } else {
            CHECK(answer.peer.name == "mute");
            CHECK(answer.error == errc::unanswered);
        }
    }
}

TEST_CASE("several: who does not answer in time costs the others nothing, and nobody in view is no error") {
    Three nodes(named("ann"), named("bob"), named("eve"));
    nodes.bob.on_message([](const Message& message) { message.reply("here"); });
    const std::vector<Answer> answers = nodes.ann.request_all("", 50ms);
    REQUIRE(answers.size() == 2);
    for (const Answer& answer : answers) {
        if (answer.peer.name == "eve") CHECK(answer.error == errc::timed_out);
    }
    Node alone(named("alone"));
    CHECK(alone.request_all("", patience).empty());
    alone.close();
    std::error_code error;
    CHECK(alone.request_all("", patience, error).empty());
    CHECK(error == errc::closed);
    CHECK_THROWS_AS(alone.request_all("", patience), std::system_error);
    Events<std::error_code> inside;
    nodes.eve.on_message([&](const Message&) {
        std::error_code blocked;
        nodes.eve.request_all("", patience, blocked);
        inside.put(blocked);
    });
    CHECK(inside.take() == errc::would_block);
}

TEST_CASE("settled: whoever starts as the first, the second or the fifth knows when it has found all there are") {
    const Address first = Socket().bind();  // free again
    Options options = quick();
    options.seeds = {first.to_string(), Socket().bind().to_string()};
    options.listen = first.to_string();
    std::vector<std::unique_ptr<Node>> nodes;
    for (std::size_t i = 0; i < 5; ++i) {
        nodes.push_back(std::make_unique<Node>(options));
        CHECK(nodes[i]->wait_until_settled(patience));
        CHECK(nodes[i]->peers().size() == i);
        options.listen = "127.0.0.1:0";
    }
    CHECK(nodes[0]->wait_until_settled(0ns));
    nodes[0]->close();
    CHECK_FALSE(nodes[0]->wait_until_settled(patience));
}

TEST_CASE("settled: a seed that accepts and says nothing is waited for") {
    Socket mute;
    Options options = quick();
    options.seeds = {mute.bind().to_string()};
    mute.listen();
    Node node(options);
    CHECK_FALSE(node.wait_until_settled(10ms));
    Events<bool> ended;
    std::thread waits([&] { ended.put(node.wait_until_settled(patience)); });
    const Socket link = mute.accept();
    CHECK(ended.take(patience * 2) == true);
    waits.join();
}
