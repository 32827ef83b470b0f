#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

MemberId member(std::uint8_t first) {
    MemberId id;
    id.bytes[0] = first;
    return id;
}

using News = std::vector<std::string>;

struct Three : Lab {
    Node& ann = start(1);
    Node& bob = start(2);
    Node& eve = start(3);

    Three() {
        options.suspicion = 2s;
        join(ann, bob);
        join(ann, eve);
        REQUIRE(wait([&] { return bob.sees(eve.id) && eve.sees(bob.id); }));
        advance(50ms);
    }
    /// All of one node's members, as another knows them.
    static std::string at(Node& node, const Node& owner) {
        std::string text;
        for (const auto& [id, data] : node.members[owner.id]) text += data + ' ';
        return text;
    }
};

}  // namespace

TEST_CASE("members: what a node enrols, changes and withdraws is known to all at once") {
    Three lab;
    CHECK(lab.ann.enroll(member(1), "a") == errc{});
    lab.ann.enroll(member(2), "b");
    for (Node* node : {&lab.bob, &lab.eve}) CHECK(lab.at(*node, lab.ann) == "a b ");
    lab.ann.enroll(member(1), "c");
    lab.ann.withdraw(member(2));
    lab.ann.withdraw(member(2));
    for (Node* node : {&lab.bob, &lab.eve}) {
        CHECK(lab.at(*node, lab.ann) == "c ");
        CHECK(node->member_news == News{"has a", "has b", "has c", "left b"});
    }
    CHECK(lab.ann.member_news.empty());
}

TEST_CASE("members: a node that joins late is told by each owner itself, and knows when it knows all") {
    Three lab;
    lab.ann.enroll(member(1), "a");
    lab.bob.enroll(member(2), "b");
    lab.hold_wires = true;
    Node& zoe = lab.start(4);
    zoe.add(lab.ann.address);
    CHECK(zoe.members_complete);  // alone it knows all there is
    for (Wire* wire : lab.wires(&zoe, &lab.ann)) wire->held[0] = wire->held[1] = false;
    lab.settle();
    REQUIRE(zoe.sees(lab.ann.id));
    CHECK(lab.at(zoe, lab.ann) == "a ");
    CHECK(lab.at(zoe, lab.bob).empty());  // nobody speaks for another
    lab.hold_wires = false;
    for (Wire* wire : lab.wires(&zoe)) wire->held[0] = wire->held[1] = false;
    REQUIRE(lab.wait([&] { return zoe->peer_count() == 3; }));
    CHECK(lab.at(zoe, lab.bob) == "b ");
    CHECK(zoe.members_complete);
}

TEST_CASE("members: they leave with an owner that leaves, and expire with one that fails") {
    Three lab;
    lab.ann.enroll(member(1), "a");
    lab.bob.enroll(member(2), "b");
    lab.ann->leave(lab.now);
    REQUIRE(lab.wait([&] { return !lab.eve.sees(lab.ann.id); }));
    CHECK(lab.eve.member_news.back() == "left a");
    lab.advance(5s);
    lab.kill(lab.bob);
    REQUIRE(lab.wait([&] { return !lab.eve.sees(lab.bob.id); }));
    CHECK(lab.eve.member_news == News{"has a", "has b", "left a", "doubts 2", "expired b"});
    CHECK(lab.at(lab.eve, lab.bob).empty());
}

TEST_CASE("members: they return with their owner, with the newest data") {
    Three lab;
    lab.ann.enroll(member(1), "old");
    lab.ann.enroll(member(2), "withdrawn meanwhile");
    for (Wire* wire : lab.wires(&lab.ann, &lab.bob)) wire->held[0] = wire->held[1] = true;
    lab.silent.insert(lab.ann.address.to_string());
    lab.silent.insert(lab.bob.address.to_string());
    REQUIRE(lab.wait([&] { return !lab.bob.sees(lab.ann.id); }));
    CHECK(lab.at(lab.bob, lab.ann).empty());
    lab.ann.enroll(member(1), "new");
    lab.ann.withdraw(member(2));
    lab.silent.clear();
    REQUIRE(lab.wait([&] { return lab.bob.sees(lab.ann.id); }));
    lab.advance(100ms);
    CHECK(lab.at(lab.bob, lab.ann) == "new ");
    CHECK(std::count(lab.bob.member_news.begin(), lab.bob.member_news.end(), "has old") == 1);
}

TEST_CASE("members: while their owner is suspect they stay, and are said to be in doubt") {
    Three lab;
    lab.bob.enroll(member(1), "b");
    Wire& wire = *lab.wires(&lab.ann, &lab.bob).at(0);
    wire.held[0] = wire.held[1] = true;
    // It is ann who probes bob.
    REQUIRE(lab.wait([&] { return lab.ann.state_of(lab.bob.id) == PeerState::suspect; }));
    CHECK(lab.at(lab.ann, lab.bob) == "b ");
    CHECK(lab.ann.member_news == News{"has b", "doubts 2"});
    wire.held[0] = wire.held[1] = false;
    REQUIRE(lab.wait([&] { return lab.ann.state_of(lab.bob.id) == PeerState::alive; }));
    CHECK(lab.ann.member_news == News{"has b", "doubts 2", "trusts 2"});
}

TEST_CASE("members: a lost link is no change, however it goes on") {
    Three lab;
    lab.ann.enroll(member(1), "a");
    for (int i = 0; i < 5; ++i) {
        lab.cut(*lab.wires(&lab.ann, &lab.bob).at(0));
        REQUIRE(lab.wait([&] { return lab.wires(&lab.ann, &lab.bob).size() == 1; }));
        lab.advance(100ms);
    }
    CHECK(std::count(lab.bob.member_news.begin(), lab.bob.member_news.end(), "has a") == 1);
    CHECK(lab.at(lab.bob, lab.ann) == "a ");
}

TEST_CASE("members: the owner learns when all in view have seen a change") {
    Three lab;
    CHECK(lab.ann->members_seen(lab.ann->members_version()));
    for (Wire* wire : lab.wires(&lab.ann)) wire->held[0] = wire->held[1] = true;
    lab.ann.enroll(member(1), "a");
    const std::uint64_t version = lab.ann->members_version();
    CHECK_FALSE(lab.ann->members_seen(version));
    const std::vector<Wire*> to_bob = lab.wires(&lab.ann, &lab.bob);
    to_bob.at(0)->held[0] = to_bob.at(0)->held[1] = false;
    lab.settle();
    CHECK(lab.ann.member_news == News{"seen"});
    CHECK_FALSE(lab.ann->members_seen(version));
    lab.silent.insert(lab.eve.address.to_string());
    lab.kill(lab.eve);  // who is gone is not waited for
    REQUIRE(lab.wait([&] { return !lab.ann.sees(lab.eve.id); }));
    CHECK(lab.ann.member_news == News{"seen", "seen"});
    CHECK(lab.ann->members_seen(version));
}

TEST_CASE("members: nobody is told of them who does not say that it reads them") {
    Lab lab;
    Node& ann = lab.start(1);
    ann.enroll(member(1), "a");
    Puppet& old = lab.puppet(ann, 9);
    old.join();
    REQUIRE(ann.sees(old.id));
    ann.enroll(member(2), "b");
    CHECK(old.count<MemberList>() == 0);
    CHECK(ann.members_complete);
    CHECK(ann->members_seen(ann->members_version()));
}

TEST_CASE("members: what is not acknowledged within a heartbeat is told anew, and nothing more when it is") {
    Lab lab;
    Node& ann = lab.start(1);
    ann.enroll(member(1), "a");
    Puppet& peer = lab.puppet(ann, 9);
    peer.hello.features = feature_members;
    peer.join();
    REQUIRE(peer.count<MemberList>() == 1);
    CHECK(peer.last<MemberList>().whole);
    CHECK(peer.last<MemberList>().complete);
    const auto live = [&](Duration by) {
        for (Duration passed{}; passed < by; passed += 200ms) {
            lab.advance(200ms);
            peer.say(Pong{});
        }
    };
    live(2500ms);
    const std::size_t told = peer.count<MemberList>();
    CHECK(told >= 2);
    CHECK(told <= 4);
    CHECK(peer.last<MemberList>().whole);
    peer.say(MembersSeen{peer.last<MemberList>().to});
    live(5s);
    CHECK(peer.count<MemberList>() == told);
    ann.enroll(member(1), "b");
    CHECK_FALSE(peer.last<MemberList>().whole);
    CHECK(peer.last<MemberList>().members.size() == 1);
}

TEST_CASE("members: a half-open link is found soon when a change on it is not acknowledged") {
    Three lab;
    Node& zoe = lab.start(4);
    lab.join(lab.ann, zoe);
    REQUIRE(lab.wait([&] { return lab.bob.sees(zoe.id) && lab.eve.sees(zoe.id); }));
    lab.advance(50ms);
    // Neither is next to the other on the ring, and a round in which each link is probed takes eight heartbeats: one
    // of two changes in a row would have to wait for it.
    for (const char* data : {"a", "b"}) {
        Wire& wire = *lab.wires(&lab.ann, &lab.eve).at(0);
        wire.held[0] = wire.held[1] = true;
        lab.ann.enroll(member(1), data);
        CHECK(lab.wait([&] { return lab.at(lab.eve, lab.ann) == data + std::string(" "); }, 3500ms));
    }
}

TEST_CASE("members: what is not acknowledged is told anew although more is told all the time") {
    Lab lab;
    Node& ann = lab.start(1);
    ann.enroll(member(1), "a");
    Puppet& peer = lab.puppet(ann, 9);
    peer.hello.features = feature_members;
    peer.join();
    for (int i = 0; i < 10; ++i) {
        ann.enroll(member(2), std::to_string(i));
        lab.advance(200ms);
        peer.say(Pong{});
    }
    std::size_t begun = 0;
    for (const Packet& packet : peer.heard) {
        const auto* control = std::get_if<Control>(&packet);
        const auto* list = control == nullptr ? nullptr : std::get_if<MemberList>(control);
        if (list != nullptr && list->whole) ++begun;
    }
    CHECK(begun >= 2);
    CHECK(begun <= 3);
}

TEST_CASE("members: nothing is told anew to a peer that goes on acknowledging") {
    Lab lab;
    Node& ann = lab.start(1);
    for (std::uint8_t i = 1; i <= 8; ++i) ann.enroll(member(i), "a");
    Puppet& peer = lab.puppet(ann, 9);
    peer.hello.features = feature_members;
    peer.join();
    const MemberList all = peer.last<MemberList>();
    REQUIRE(all.complete);
    for (std::uint64_t version = all.to - 7; version <= all.to; ++version) {
        peer.say(MembersSeen{version});
        lab.advance(800ms);
        peer.say(Pong{});
    }
    CHECK(ann->members_seen(all.to));
    CHECK(peer.count<MemberList>() == 1);
}

TEST_CASE("members: who acknowledges what it was never told is not believed") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& liar = lab.puppet(ann, 9);
    liar.hello.features = feature_members;
    liar.join();
    liar.say(MembersSeen{UINT64_MAX});
    ann.enroll(member(1), "a");
    CHECK_FALSE(ann->members_seen(ann->members_version()));
    liar.say(MembersSeen{ann->members_version()});
    CHECK(ann->members_seen(ann->members_version()));
}

TEST_CASE("members: whoever claims more of them than one node may have is disconnected, and its members go") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& greedy = lab.puppet(ann, 9);
    greedy.hello.features = feature_members;
    greedy.join();
    std::uint64_t version = 0;
    const std::vector<std::uint8_t> most(max_member_data);
    const std::size_t first_too_many = (max_member_bytes + max_member_bytes / 8) / max_member_data;
    for (std::size_t i = 0; i <= first_too_many; ++i) {
        REQUIRE_FALSE(greedy.closed());
        MemberId id;
        id.bytes[0] = static_cast<std::uint8_t>(i);
        id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
        greedy.say(MemberList{version == 0, false, version, version + 1, {{id, true, most}}});
        ++version;
    }
    CHECK(greedy.closed());
    CHECK(ann->counters().protocol_errors == 1);
    CHECK(ann.said("rule=too_many_members") == 1);
    CHECK(ann.members[greedy.id].empty());
    REQUIRE(lab.wait([&] { return !ann.sees(greedy.id); }));
    CHECK(ann.members[greedy.id].empty());
}

TEST_CASE("members: at the end of a set the limit of one node is exact") {
    for (const bool too_many : {false, true}) {
        CAPTURE(too_many);
        Lab lab;
        Node& ann = lab.start(1);
        Puppet& owner = lab.puppet(ann, 9);
        owner.hello.features = feature_members;
        owner.join();
        const std::vector<std::uint8_t> most(max_member_data);
        const std::size_t count = max_member_bytes / max_member_data + (too_many ? 1 : 0);
        for (std::uint64_t i = 0; i < count; ++i) {
            MemberId id;
            id.bytes[0] = static_cast<std::uint8_t>(i);
            id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
            owner.say(MemberList{i == 0, i + 1 == count, i, i + 1, {{id, true, most}}});
        }
        CHECK(owner.closed() == too_many);
        CHECK(ann.members[owner.id].size() == (too_many ? 0 : count));
    }
}

TEST_CASE("members: where all together are too many, those of the largest owner go, whoever spoke last") {
    Lab lab;
    lab.options.members_bytes = 64 << 10;
    Node& ann = lab.start(1);
    Puppet& small = lab.puppet(ann, 8);
    Puppet& large = lab.puppet(ann, 9);
    const auto tell = [](Puppet& owner, std::uint8_t first, std::uint8_t count, bool whole) {
        MemberList list{whole, true, whole ? 0u : 1u, whole ? 1u : 2u, {}};
        for (std::uint8_t i = 0; i < count; ++i) {
            MemberId id;
            id.bytes[0] = static_cast<std::uint8_t>(first + i);
            list.members.push_back({id, true, {}});
        }
        owner.say(std::move(list));
    };
    for (Puppet* each : {&small, &large}) {
        each->hello.features = feature_members;
        each->join();
    }
    tell(large, 0, 120, true);
    tell(small, 0, 8, true);  // 128 of 512 bytes each: all that there may be
    CHECK(ann.members[large.id].size() == 120);
    CHECK(ann.members[small.id].size() == 8);
    tell(small, 100, 1, false);
    CHECK(large.closed());
    CHECK_FALSE(small.closed());
    CHECK(ann.members[large.id].empty());
    CHECK(ann.members[small.id].size() == 9);
    CHECK(ann.said("rule=too_many_members") == 1);
    tell(small, 10, 200, true);
    CHECK(small.closed());
    CHECK(ann.members[small.id].empty());
}

TEST_CASE("members: of one id that comes twice in a frame the later entry counts") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& owner = lab.puppet(ann, 9);
    owner.hello.features = feature_members;
    owner.join();
    MemberId id;
    id.bytes[0] = 'a';
    MemberId other;
    other.bytes[0] = 'b';
    const std::vector<MemberEntry> entries{{id, true, {'1'}}, {id, true, {'2'}}, {other, true, {}}, {other, false, {}}};
    owner.say(MemberList{true, true, 0, 2, entries});
    CHECK_FALSE(owner.closed());
    CHECK(ann.members[owner.id] == std::map<MemberId, std::string>{{id, "2"}});
}

TEST_CASE("members: what was withdrawn before a complete set has gone when that set has been told, not before") {
    Lab lab;
    Node& ann = lab.start(1);
    for (std::uint8_t i = 1; i <= 3; ++i) ann.enroll(member(i), std::string(60000, static_cast<char>('a' + i)));
    ann.withdraw(member(1));
    const std::uint64_t withdrawn = ann->members_version();
    for (std::uint8_t i = 2; i <= 3; ++i) ann.enroll(member(i), std::string(60000, static_cast<char>('k' + i)));
    Puppet& peer = lab.puppet(ann, 9);
    peer.hello.features = feature_members;
    peer.join();
    REQUIRE(peer.count<MemberList>() == 2);
    CHECK(peer.last<MemberList>().complete);
    peer.say(MembersSeen{withdrawn + 1});
    CHECK_FALSE(ann->members_seen(withdrawn));
    peer.say(MembersSeen{withdrawn + 2});
    CHECK(ann->members_seen(withdrawn));
}

TEST_CASE("members: a peer that comes back on a new link has acknowledged nothing yet") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    ann.enroll(member(1), "a");
    const std::uint64_t version = ann->members_version();
    CHECK(ann->members_seen(version));
    lab.hold_wires = true;
    lab.cut(*lab.wires(&ann, &bob).at(0));
    REQUIRE(lab.wait([&] { return !lab.wires(&ann, &bob).empty(); }));
    for (Wire* wire : lab.wires(&ann, &bob)) wire->held[0] = wire->held[1] = false;
    REQUIRE(lab.wait([&] { return ann->members_seen(version); }));
    CHECK(Three::at(bob, ann) == "a ");
}

TEST_CASE("members: one that two nodes claim belongs to each of them, and neither touches the other's") {
    Three lab;
    lab.ann.enroll(member(7), "ann's");
    lab.bob.enroll(member(7), "bob's");
    CHECK(lab.at(lab.eve, lab.ann) == "ann's ");
    CHECK(lab.at(lab.eve, lab.bob) == "bob's ");
    lab.bob.withdraw(member(7));
    CHECK(lab.at(lab.eve, lab.ann) == "ann's ");
    CHECK(lab.at(lab.eve, lab.bob).empty());
}

TEST_CASE("members: a hundred thousand changes cost a slow link one frame") {
    Three lab;
    Wire& wire = *lab.wires(&lab.ann, &lab.bob).at(0);
    const int side = wire.end[0] == &lab.ann ? 0 : 1;
    for (int i = 0; i < 100000; ++i) {
        detail::MemberRecord record{member(1), lab.ann.id, std::vector<std::byte>(100)};
        lab.ann->put_member(std::make_shared<const detail::MemberRecord>(std::move(record)));
    }
    const std::size_t before = wire.count(side, "MEMBERS");
    lab.settle();
    CHECK(wire.count(side, "MEMBERS") - before == 1);
}

TEST_CASE("members: a node that leaves enrols nobody any more") {
    Three lab;
    lab.ann.enroll(member(1), "a");
    lab.ann->leave(lab.now);
    CHECK(lab.ann.enroll(member(2), "b") == errc::closed);
    lab.ann.withdraw(member(1));
    REQUIRE(lab.wait([&] { return lab.ann.left.has_value(); }));
}
