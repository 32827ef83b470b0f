#include "lab.hpp"

#include <doctest/doctest.h>

// What is broadcast while a peer is out of view is not for it. If its session goes on, a gap stands in that place.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

const Token token{1, 2, 3};
const std::string address = "10.0.0.2:7000";

/// A node and its peer 2, which says nothing and notices nothing of what becomes of it.
struct Absence {
    explicit Absence(std::uint8_t first) : node(lab.start(first)) {
        lab.silent.insert(address);
        Puppet& peer = lab.puppet(node, 2);
        if (node.id < peer.id) {
            peer.join();
        } else {
            peer.lead(token);
        }
        known = peer.token;
        REQUIRE(node.broadcast("first").count == 1);
        REQUIRE(peer.payloads() == std::vector<std::string>{"first"});
        peer.say(Ack{{{user_channel, FrameHeader::size + 5, 1 << 20}}});
    }
    void lose_sight() {
        REQUIRE(lab.wait([&] { return !node.sees(id_of(2)); }));
    }
    /// The peer comes back on another link, with its session.
    Puppet& come_back(std::uint64_t received) {
        Puppet& peer = lab.puppet(node, 2);
        const std::vector<Offset> offsets{{user_channel, received, 1 << 20}};
        if (node.id < peer.id) {
            peer.resume(known, offsets);
        } else {
            peer.say_hello();
            peer.say(Attach{peer.proof(known, ProofUse::attach), false, ++epoch, offsets, 0});
            peer.say(Ack{});
        }
        REQUIRE(node.sees(peer.id));
        return peer;
    }
    /// What `peer` has read on the user channel, gaps as in `Node::inbox`.
    static std::vector<std::string> stream(const Puppet& peer) {
        std::vector<std::string> read;
        for (const Packet& packet : peer.heard) {
            if (const auto* control = std::get_if<Control>(&packet)) {
                const auto* gap = std::get_if<Gap>(control);
                if (gap != nullptr) read.push_back("gap " + std::to_string(gap->messages));
            } else {
                const auto& bytes = std::get<std::vector<std::byte>>(packet);
                for (std::size_t at = 0; at < bytes.size();) {
                    const FrameHeader header = FrameHeader::read(bytes.data() + at);
                    at += FrameHeader::size;
                    read.emplace_back(reinterpret_cast<const char*>(bytes.data() + at), header.length);
                    at += header.length;
                }
            }
        }
        return read;
    }

    Lab lab;
    Node& node;
    Token known{};
    std::uint64_t epoch = 1;
};

constexpr std::uint64_t framed(std::string_view text) {
    return FrameHeader::size + text.size();
}

}  // namespace

TEST_CASE("what is broadcast while a peer is out of view is a gap in its place when its session goes on") {
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(us);
        Absence absence(us);
        Node& node = absence.node;
        // Accepted for a peer in view, and never read: it comes before the gap.
        REQUIRE(node.broadcast("second").count == 1);
        absence.lose_sight();
        for (int i = 0; i < 3; ++i) CHECK(node.broadcast("unseen").count == 0);
        CHECK(node.send(id_of(2), "refused").error == errc::not_in_view);
        const Puppet& peer = absence.come_back(framed("first"));
        node.broadcast("last");
        CHECK(Absence::stream(peer) == std::vector<std::string>{"second", "gap 3", "last"});
        CHECK(peer.last<Gap>().to == framed("first") + framed("second") + 3 * framed("unseen"));
        CHECK(node.surrendered.empty());
        CHECK(node->counters().messages_given_up == 0);
    }
}

TEST_CASE("each absence has a gap of its own, and one in which nothing was broadcast has none") {
    Absence absence(1);
    Node& node = absence.node;
    absence.lose_sight();
    CHECK(Absence::stream(absence.come_back(framed("first"))).empty());
    absence.lose_sight();
    node.broadcast("a");
    CHECK(Absence::stream(absence.come_back(framed("first"))) == std::vector<std::string>{"gap 1"});
    absence.lose_sight();
    node.broadcast("b");
    node.broadcast("c");
    const std::uint64_t behind = framed("first") + framed("a");
    SUBCASE("the first gap was read") {
        const Puppet& peer = absence.come_back(behind);
        node.broadcast("last");
        CHECK(Absence::stream(peer) == std::vector<std::string>{"gap 2", "last"});
    }
    SUBCASE("the first gap was not read") {
        const Puppet& peer = absence.come_back(framed("first"));
        node.broadcast("last");
        CHECK(Absence::stream(peer) == std::vector<std::string>{"gap 3", "last"});
    }
}

TEST_CASE("a gap for an absence stands behind what was given up meanwhile") {
    Absence absence(1);
    Node& node = absence.node;
    node.broadcast("given up");
    absence.lose_sight();
    node.broadcast("unseen");
    REQUIRE(absence.lab.wait([&] { return !node.surrendered.empty(); }));
    node.broadcast("unseen, too");
    const Puppet& peer = absence.come_back(framed("first"));
    node.broadcast("last");
    CHECK(Absence::stream(peer) == std::vector<std::string>{"gap 3", "last"});
    REQUIRE(node.surrendered.size() == 1);
    CHECK(node.surrendered[0].messages == 1);
}

TEST_CASE("a peer that begins a session hears nothing of what was broadcast before") {
    Absence absence(3);
    Node& node = absence.node;
    absence.lose_sight();
    node.broadcast("unseen");
    absence.lab.advance(absence.lab.options.resume_for);
    Puppet& peer = absence.lab.puppet(node, 2);
    peer.lead(Token{9});
    REQUIRE(node.sees(peer.id));
    node.broadcast("last");
    CHECK(Absence::stream(peer) == std::vector<std::string>{"last"});
}

TEST_CASE("an observer reads no gap for what was broadcast while it was out of view") {
    Lab lab;
    lab.silent.insert(address);
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.hello.features |= feature_observer;
    peer.join();
    REQUIRE(lab.wait([&] { return !node.sees(peer.id); }));
    node.broadcast("for others");
    Puppet& again = lab.puppet(node, 2);
    again.hello.features |= feature_observer;
    again.resume(peer.token, {{user_channel, 0, 1 << 20}});
    REQUIRE(node.send(again.id, "for it").error == errc{});
    CHECK(Absence::stream(again) == std::vector<std::string>{"for it"});
}
