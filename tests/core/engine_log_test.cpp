#include "lab.hpp"

#include "value/log_gate.hpp"

#include <doctest/doctest.h>

#include <algorithm>

// What the engine says, and of whom.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

/// The last line that contains `text`.
std::string line_with(const Node& node, std::string_view text) {
    for (auto line = node.lines.rbegin(); line != node.lines.rend(); ++line) {
        if (line->find(text) != std::string::npos) return *line;
    }
    return {};
}

}  // namespace

TEST_CASE("log: who is of another cluster is told apart by both names, on both sides") {
    Lab lab;
    lab.options.cluster = "lab";
    Node& ann = lab.start(1);
    lab.options.cluster = "other \"one\"";
    Node& bob = lab.start(2);
    ann.add(bob.address);
    lab.settle();
    const std::string by_ann = line_with(ann, "reason=cluster");
    const std::string by_bob = line_with(bob, "reason=cluster");
    CAPTURE(by_ann);
    CAPTURE(by_bob);
    CHECK(by_ann.find(R"( theirs="other \"one\"")") != std::string::npos);
    CHECK(by_ann.find(" ours=\"lab\"") != std::string::npos);
    CHECK(by_bob.find(R"( ours="other \"one\"")") != std::string::npos);
    CHECK(by_ann.find(" name=") != std::string::npos);
}

TEST_CASE("log: peer_added shows where a peer is reached, whoever dialled") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    CHECK(line_with(ann, "peer_added").ends_with(" address=" + bob.address.to_string()));
    const std::string accepted = line_with(bob, "peer_added");
    CAPTURE(accepted);
    CHECK(accepted.find(" address=" + ann.address.to_string() + " from=") != std::string::npos);
}

TEST_CASE("log: a link that is closed because there is a better one is not called lost") {
    Lab lab;
    lab.hold_dials = true;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    ann.add(bob.address);
    bob.add(ann.address);
    for (const Lab::Pending& dial : lab.take_dials()) lab.complete(dial);
    lab.hold_dials = false;
    lab.settle();
    lab.advance(10s);  // each has dialled the other back, too
    REQUIRE(ann.sees(bob.id));
    CHECK(ann.said("why=lost") == 0);
    CHECK(bob.said("why=lost") == 0);
    lab.cut(*lab.wires(&ann, &bob).front());
    lab.settle();
    CHECK(ann.said("link_closed") >= 1);
    CHECK(line_with(ann, "why=lost").find(" name=") != std::string::npos);
}

TEST_CASE("log: what a stranger says cannot end a line or pass for another key") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& stranger = lab.puppet(node, 2);
    stranger.hello.self.name = "x\" why=none\nforged \x1b[2J\xff";
    stranger.hello.cluster = "y\" ours=\"\n";
    stranger.say_hello();
    REQUIRE(node.said("link_refused") == 1);
    Puppet& peer = lab.puppet(node, 3);
    peer.hello.self.name = stranger.hello.self.name;
    peer.hello.self.addresses = {{"host\n\x7f", 1}};
    peer.join();
    REQUIRE(node.sees(peer.id));
    peer.hang_up();
    lab.advance(1s);
    for (const std::string& line : node.lines) {
        CAPTURE(line);
        CHECK(std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
    }
    CHECK(line_with(node, "link_refused").find(R"( theirs="y\" ours=\"\x0a")") != std::string::npos);
    CHECK(line_with(node, "peer_added").find(R"( name="x\" why=none\x0aforged \x1b[2J\xff")") != std::string::npos);
}

TEST_CASE("log: a storm of strangers, who claim to be peers, does not keep the end of a peer from being told") {
    Lab lab;
    Node& node = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(node, bob);
    LogGate gate;
    std::size_t strangers = 0;
    bool failed = false;
    std::size_t seen = node.log.size();
    const auto pass = [&] {
        for (; seen < node.log.size(); ++seen) {
            const auto line = gate.pass(node.log[seen], lab.now);
            if (line && line->stranger) ++strangers;
            if (line && line->text.starts_with("peer_failed")) failed = true;
        }
    };
    for (int i = 0; i < 1000; ++i) {
        Puppet& stranger = lab.puppet(node, i % 2 == 0 ? 2 : 3);
        if (i % 3 == 0) stranger.hello.cluster = std::to_string(i);
        stranger.say_hello();
        stranger.say(Ping{1, 1});
        stranger.hang_up();
        pass();
    }
    lab.kill(bob);
    CHECK(lab.wait([&] {
        pass();
        return failed;
    }));
    CHECK(strangers <= 41);
}

TEST_CASE("log: messages count as sent when somebody is to get them, and replies are none") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    CHECK(ann.broadcast("to nobody").count == 0);
    CHECK(ann->counters().messages_sent == 0);
    lab.join(ann, bob);
    ann.broadcast("one");
    ann.send(bob.id, "two");
    ann.ask(bob.id, 7, "three");
    CHECK(ann->counters().messages_sent == 3);
    bob.reply(ann.id, 7, "an answer");
    CHECK(bob->counters().messages_sent == 0);
    bob.reads = false;
    const std::string much(60000, 'x');
    while (ann.send(bob.id, much).error == errc{}) {
    }
    const std::uint64_t before = ann->counters().messages_sent;
    CHECK(ann.send(bob.id, much, true).count == 0);  // a gap in its place
    CHECK(ann->counters().messages_sent == before);
}
