#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

using Texts = std::vector<std::string>;

struct Group : Lab {
    Node& ann = start(1);
    Node& bob = start(2);

    Group() { join(ann, bob); }
    Wire& wire() { return *wires(&ann, &bob).at(0); }
    void hold(bool held) {
        for (Wire* each : wires(&ann, &bob)) each->held[0] = each->held[1] = held;
    }
};

std::vector<std::byte> on_channel(std::uint16_t channel, std::string_view payload, bool more = false) {
    std::vector<std::byte> bytes = data_frame(payload, more);
    FrameHeader header = FrameHeader::read(bytes.data());
    header.channel = channel;
    header.write(bytes.data());
    return bytes;
}

/// Fills the outbox of channel 3 at `from`, and returns how many messages fitted.
std::size_t fill(Node& from, Node& to, const std::string& text) {
    std::size_t count = 0;
    while (from.tell_replica(to.id, text).error == errc{}) ++count;
    return count;
}

}  // namespace

TEST_CASE("replicas: what they say comes in order and whole, apart from messages and replies") {
    Group lab;
    Texts expected;
    const std::size_t sizes[] = {0, 1, max_chunk, max_chunk + 1, 3 * max_chunk, lab.options.max_message};
    for (const std::size_t size : sizes) {
        for (const char letter : {'a', 'b'}) {
            expected.emplace_back(size, letter);
            CHECK(lab.ann.tell_replica(lab.bob.id, expected.back()).count == 1);
            lab.ann.send(lab.bob.id, "between");
        }
    }
    CHECK((lab.bob.replica_messages == expected));
    CHECK(lab.bob.inbox == Texts(expected.size(), "between"));
    CHECK(lab.bob.replies.empty());
    const std::string longer(lab.options.max_message + 1, 'x');
    CHECK(lab.ann.tell_replica(lab.bob.id, longer).error == errc::message_too_large);
    CHECK(lab.ann.tell_replica(PeerId{}, "").error == errc::not_in_view);
    CHECK(lab.wait([&] { return lab.ann->gauges().at(0).outbox_bytes == 0; }, 1s));
    CHECK(lab.ann->pinned() == 0);
}

TEST_CASE("replicas: credit is given as their messages come, so that any number of bytes gets through") {
    Group lab;
    const std::string text(lab.options.max_message, 'x');
    const std::size_t count = 3 * replica_window / text.size();
    for (std::size_t i = 0; i < count; ++i) {
        CHECK(lab.ann.tell_replica(lab.bob.id, text).error == errc{});
        lab.advance(10ms);
    }
    CHECK(lab.bob.replica_messages.size() == count);
}

TEST_CASE("replicas: what was queued for them when a link ended is not sent again, and nobody is told") {
    Group lab;
    lab.ann.tell_replica(lab.bob.id, "arrives");
    lab.hold(true);
    lab.ann.send(lab.bob.id, "message");
    lab.ann.tell_replica(lab.bob.id, "out of date");
    lab.ann.tell_replica(lab.bob.id, std::string(3 * max_chunk, 'x'));
    lab.cut(lab.wire());
    REQUIRE(lab.wait([&] { return lab.bob.inbox.size() == 1; }));
    lab.ann.tell_replica(lab.bob.id, "anew");
    CHECK(lab.bob.replica_messages == Texts{"arrives", "anew"});
    CHECK(lab.bob.inbox == Texts{"message"});
    CHECK(lab.ann.surrendered.empty());
    CHECK(lab.bob->counters().messages_lost == 0);
    CHECK(lab.bob->counters().protocol_errors == 0);
    CHECK(lab.wait([&] { return lab.ann->gauges().at(0).outbox_bytes == 0; }, 1s));
}

TEST_CASE("replicas: a message that came in part when its link ended is thrown away, and costs no session") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& peer = lab.puppet(ann, 2);
    peer.join();
    peer.say_data(on_channel(replica_channel, std::string(1000, 'x'), true));
    const std::uint64_t begun = 1000 + FrameHeader::size;
    peer.hang_up();
    // As long as a half message of the application would keep the session waiting, and longer.
    lab.advance(lab.options.resume_for + lab.options.suspicion);
    Puppet& again = lab.puppet(ann, 2);
    again.resume(peer.token, {{user_channel, 0, 1 << 20}});
    REQUIRE(ann.sees(again.id));
    const std::vector<Offset>& offsets = again.last<Attach>().offsets;
    REQUIRE(offsets.size() == channel_table.size());
    CHECK(offsets[2] == Offset{replica_channel, begun, begun + replica_window});
    again.say(Gap{replica_channel, begun + 500, 1});
    again.say_data(on_channel(replica_channel, "anew"));
    CHECK(ann.replica_messages == Texts{"anew"});
    CHECK(ann.inbox.empty());
    CHECK_FALSE(again.closed());
}

TEST_CASE("replicas: no number of messages contains what they say") {
    Group lab;
    for (int i = 0; i < 10; ++i) lab.ann.tell_replica(lab.bob.id, "said");
    CHECK(lab.ann->counters().messages_sent == 0);
    CHECK(lab.bob->counters().messages_received == 0);
    lab.hold(true);
    lab.ann.tell_replica(lab.bob.id, "never read");
    lab.kill(lab.bob);
    REQUIRE(lab.wait([&] { return !lab.ann.sees(lab.bob.id); }));
    lab.advance(lab.options.forget_after + 60s);
    CHECK(lab.ann.surrendered.empty());
    CHECK(lab.ann->counters().messages_given_up == 0);
    CHECK(lab.ann.said("messages_given_up") == 0);
    CHECK(lab.ann->pinned() == 0);
}

TEST_CASE("replicas: a peer that was parted from, or whose session is forgotten, has lost nothing of the application") {
    Group lab;
    lab.hold(true);
    lab.ann.tell_replica(lab.bob.id, "never read");
    CHECK(lab.ann->remove(lab.bob.id, lab.now));
    lab.settle();
    CHECK(lab.ann.surrendered.empty());
    lab.hold(false);
    lab.advance(1s);
    CHECK(lab.bob->counters().messages_lost == 0);
    CHECK(lab.bob.inbox.empty());
}

TEST_CASE("replicas: messages that fill outbox and total leave them room") {
    Lab lab;
    lab.options.outbox_bytes = 1 << 20;
    lab.options.total_outbox_bytes = 1 << 20;
    lab.options.max_message = 1 << 16;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    bob.reads = false;
    const std::string text(60000, 'm');
    while (ann.send(bob.id, text).error == errc{}) {
    }
    CHECK(ann.reply(bob.id, 1, text).error == errc{});
    for (std::size_t i = 0; i < 100; ++i) {
        REQUIRE(ann.tell_replica(bob.id, text).error == errc{});
        lab.advance(10ms);
    }
    CHECK(bob.replica_messages.size() == 100);
}

TEST_CASE("replicas: their full outbox is full for them alone, and nobody waits for its room") {
    Lab lab;
    lab.options.outbox_bytes = 1 << 20;
    lab.options.total_outbox_bytes = 1 << 20;
    lab.options.max_message = 1 << 16;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    Node& eve = lab.start(3);
    lab.join(ann, bob);
    lab.join(ann, eve);
    Wire& wire = *lab.wires(&ann, &bob).at(0);
    wire.held[0] = wire.held[1] = true;
    const std::string text(60000, 'r');
    const std::size_t count = fill(ann, bob, text);
    // The outbox holds at least a window, whatever `outbox_bytes` says.
    CHECK(count == replica_window / (text.size() + FrameHeader::size));
    const Engine::Outcome refused = ann.tell_replica(bob.id, text);
    CHECK(refused.error == errc::outbox_full);
    CHECK(refused.full == std::vector<PeerId>{bob.id});
    CHECK(ann.tell_replica(eve.id, text).error == errc{});
    // All of that takes nothing from the application.
    std::size_t messages = 0;
    while (ann.send(bob.id, text).error == errc{}) ++messages;
    CHECK(messages == lab.options.outbox_bytes / (text.size() + FrameHeader::size));
    lab.advance(10ms);
    ann.room_freed = 0;
    CHECK(ann.tell_replica(bob.id, text).error == errc::outbox_full);
    CHECK(ann.surrendered.empty());
    CHECK(ann->gauges().at(0).outbox_bytes >= (count + messages) * text.size());
    wire.held[0] = wire.held[1] = false;
    lab.settle();
    CHECK(lab.wait([&] { return bob.replica_messages.size() == count; }));
    CHECK(bob.inbox.size() == messages);
    CHECK(lab.wait([&] { return ann.tell_replica(bob.id, text).error == errc{}; }));
}

TEST_CASE("replicas: room is not announced to who was refused room for what replicas say") {
    Group lab;
    lab.hold(true);
    fill(lab.ann, lab.bob, std::string(60000, 'r'));
    lab.hold(false);
    lab.settle();
    CHECK(lab.wait([&] { return lab.ann->gauges().at(0).outbox_bytes == 0; }, 1s));
    CHECK(lab.ann.room_freed == 0);
}

TEST_CASE("replicas: a full outbox of theirs says nothing about whether a peer is slow") {
    Group lab;
    lab.hold(true);
    const std::string text(60000, 'r');
    fill(lab.ann, lab.bob, text);
    const Engine::Body body{.bytes = std::as_bytes(std::span(text)), .owner = {}, .channel = replica_channel};
    for (const auto skip : {Engine::Skip::slow, Engine::Skip::full}) {
        CHECK(lab.ann->send(lab.bob.id, body, skip, lab.now).error == errc::outbox_full);
    }
    CHECK(lab.ann->counters().messages_given_up == 0);
    CHECK(lab.ann.surrendered.empty());
}

TEST_CASE("replicas: what takes much memory and is little needed is moved together") {
    Lab lab;
    lab.options.max_message = 4 << 20;
    lab.options.outbox_bytes = 8 << 20;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    Node& eve = lab.start(3);
    lab.join(ann, bob);
    lab.join(ann, eve);
    lab.wires(&ann, &eve).at(0)->held[0] = true;
    // Each segment keeps a few bytes for eve when all others have been acknowledged.
    const std::string text(60000, 'r');
    for (int i = 0; i < 200; ++i) {
        REQUIRE(ann.tell_replica(bob.id, text).error == errc{});
        if (i % 4 == 0) REQUIRE(ann.tell_replica(eve.id, "few").error == errc{});
    }
    CHECK(bob.replica_messages.size() == 200);
    CHECK(ann->pinned() <= 4 << 20);
    lab.wires(&ann, &eve).at(0)->held[0] = false;
    lab.settle();
    CHECK(eve.replica_messages == Texts(50, "few"));
}

TEST_CASE("replicas: a peer of an older version is told nothing, and what is stated of the channel does it no harm") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& old = lab.puppet(ann, 2);
    old.hello.features = feature_members | feature_calls | feature_errors;
    old.join();
    CHECK((old.last<Hello>().features & feature_replicas) != 0);
    CHECK(ann.tell_replica(old.id, "text").error == errc::unsupported);
    CHECK(ann.send(old.id, "message").error == errc{});
    CHECK(old.payloads() == Texts{"message"});
    // Of a channel that it does not have, `received` must be 0.
    const std::vector<Offset>& offsets = old.last<Attach>().offsets;
    REQUIRE(offsets.size() == channel_table.size());
    CHECK(offsets[2] == Offset{replica_channel, 0, replica_window});
    CHECK(std::is_sorted(offsets.begin(), offsets.end(),
                         [](const Offset& a, const Offset& b) { return a.channel < b.channel; }));
    old.say_data("one");
    lab.advance(100ms);
    for (const Offset& offset : old.last<Ack>().offsets) CHECK(offset.channel == user_channel);
    old.say(Ack{{{user_channel, FrameHeader::size + 7, 1 << 20}}});
    ann->leave(lab.now);
    lab.settle();
    const std::vector<FinalOffset>& ends = old.last<Goodbye>().offsets;
    REQUIRE(ends.size() == channel_table.size());
    CHECK(ends[2] == FinalOffset{replica_channel, 0, 0});
}

TEST_CASE("replicas: a node that leaves does not wait for what they said to be acknowledged, and does not count it") {
    Group lab;
    Wire& wire = lab.wire();
    wire.held[1] = true;  // what bob says
    lab.ann.tell_replica(lab.bob.id, "said");
    CHECK(lab.bob.replica_messages == Texts{"said"});
    lab.ann->leave(lab.now);
    lab.settle();
    // It has said goodbye already.
    CHECK(wire.count(0, "GOODBYE") == 1);
    wire.held[1] = false;
    lab.settle();
    REQUIRE(lab.ann.left.has_value());
    CHECK(lab.ann.left->messages == 0);
    CHECK(lab.ann.left->peers == 0);
    CHECK(lab.bob.news == Texts{"added 1", "left 1"});
    CHECK(lab.ann.tell_replica(lab.bob.id, "late").error == errc::closed);
}

TEST_CASE("replicas: a node that leaves in vain counts none of what they said") {
    Group lab;
    lab.hold_wires = true;
    lab.hold(true);
    lab.ann.tell_replica(lab.bob.id, "said");
    lab.ann.send(lab.bob.id, "message");
    lab.ann->leave(lab.now);
    REQUIRE(lab.wait([&] { return lab.ann.left.has_value(); }));
    CHECK(lab.ann.left->messages == 1);
    CHECK(lab.ann.left->bytes == FrameHeader::size + 7);
    CHECK(lab.ann.left->peers == 1);
}

TEST_CASE("replicas: what was never sent when a node leaves is a gap of their channel that nobody counts") {
    Lab lab;
    lab.options.outbox_bytes = 2 * replica_window;
    lab.options.total_outbox_bytes = 2 * replica_window;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    Wire& wire = *lab.wires(&ann, &bob).at(0);
    wire.held[0] = wire.held[1] = true;
    const std::string text(60000, 'r');
    const std::size_t count = fill(ann, bob, text);
    const std::size_t sent = replica_window / (text.size() + FrameHeader::size);
    REQUIRE(count > sent);
    ann->leave(lab.now);
    lab.settle();
    CHECK(wire.count(0, "GAP") == 1);
    wire.held[0] = wire.held[1] = false;
    lab.settle();
    REQUIRE(ann.left.has_value());
    CHECK(ann.left->messages == 0);
    CHECK(ann.surrendered.empty());
    CHECK(bob.replica_messages.size() == sent);
    CHECK(bob->counters().messages_lost == 0);
    CHECK(bob->counters().protocol_errors == 0);
    CHECK(bob.news.back() == "left 1");
}

TEST_CASE("replicas: a peer that is silent and owes an acknowledgement for what they said is probed") {
    for (const bool says : {false, true}) {
        Lab lab;
        Node& ann = lab.start(1);
        Node& next = lab.start(2);
        Node& far = lab.start(3);
        lab.join(ann, next);
        lab.join(ann, far);
        lab.advance(10 * lab.options.heartbeat);
        Wire& wire = *lab.wires(&ann, &far).at(0);
        wire.held[0] = wire.held[1] = true;
        if (says) ann.tell_replica(far.id, "said");
        const std::size_t probes = wire.count(0, "PING");
        lab.advance(2 * lab.options.heartbeat);
        CHECK((wire.count(0, "PING") > probes) == says);
    }
}

TEST_CASE("a channel that does not exist breaks a rule, also between those that do") {
    for (const std::uint16_t channel : {std::uint16_t{2}, std::uint16_t{5}, std::uint16_t{0xffff}}) {
        CAPTURE(channel);
        for (const bool gap : {false, true}) {
            Lab lab;
            Node& ann = lab.start(1);
            Puppet& peer = lab.puppet(ann, 2);
            peer.hello.features = feature_calls | feature_replicas;
            peer.join();
            if (gap) {
                peer.say(Gap{channel, 100, 1});
            } else {
                peer.say_data(on_channel(channel, "text"));
            }
            CHECK(peer.closed());
            CHECK(ann.said("rule=unknown_channel") == 1);
            CHECK(ann.inbox.empty());
            CHECK(ann.replica_messages.empty());
        }
    }
}
