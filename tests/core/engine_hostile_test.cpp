#include "lab.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

// A peer, or a stranger, that speaks the protocol and means harm.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

/// `count` facts of nodes that do not exist, none of them told before.
PeerList fakes(std::size_t count, std::uint64_t salt) {
    PeerList list;
    for (std::size_t i = 0; i < count; ++i) {
        Facts facts;
        facts.id = id_of(200);
        for (std::size_t at = 0; at < 8; ++at) {
            facts.id.bytes[4 + at] = static_cast<std::uint8_t>((salt * 1024 + i) >> (8 * at));
        }
        facts.version = 1;
        facts.addresses = {{"10.9.0.1", static_cast<std::uint16_t>(1 + i)}};
        list.peers.push_back(facts);
    }
    return list;
}

}  // namespace

TEST_CASE("a stranger who claims a known id changes nothing of what is known about it") {
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(us);
        Lab lab;
        Node& node = lab.start(us);
        Node& peer = lab.start(2);
        lab.join(node, peer);
        const Peer before = node->peer(peer.id).value();

        Puppet& stranger = lab.puppet(node, 2);
        stranger.hello.self.version = huge;
        stranger.hello.self.name = "forged";
        stranger.hello.self.addresses = {{"10.6.6.6", 666}};
        stranger.hello.max_message = 0;
        stranger.hello.resume_for_ms = 0;
        stranger.say_hello();
        if (us < 2) {
            stranger.say(Offer{});
        } else {
            stranger.say(Attach{{}, true, 7, {}, 0});
        }
        CHECK(stranger.last<Refuse>().reason == Refusal::id_in_use);
        CHECK(node->peer(peer.id).value() == before);
        CHECK(node.broadcast("as before").error == errc{});
        CHECK(peer.inbox == std::vector<std::string>{"as before"});
        CHECK(lab.wires(&node, &peer).size() == 1);
    }
}

TEST_CASE("a stranger who claims a known id does not shorten how long its outbox is kept") {
    Lab lab;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    lab.join(node, peer);
    Puppet& stranger = lab.puppet(node, 2);
    stranger.hello.resume_for_ms = 0;
    stranger.say_hello();
    stranger.say(Offer{});
    lab.silent.insert(peer.address.to_string());
    lab.silent.insert(node.address.to_string());
    lab.cut(*lab.wires().front());
    REQUIRE(node.send(peer.id, "kept").error == errc{});
    lab.advance(1s);
    CHECK(node.surrendered.empty());
}

TEST_CASE("what a peer says about another never replaces what that one says about itself") {
    Lab lab;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    lab.join(node, peer);
    Puppet& liar = lab.puppet(node, 3);
    liar.join();
    REQUIRE(node.sees(liar.id));
    Facts forged = peer->self();
    forged.version = huge;
    forged.name = "forged";
    forged.tags = {{"role", "traitor"}};
    liar.say(PeerList{{forged}});
    CHECK(node->peer(peer.id).value().name == "node 2");
    peer->set_tags({{"role", "friend"}}, lab.now);
    lab.advance(3s);
    CHECK(node->peer(peer.id).value().tags == Tags{{"role", "friend"}});
}

TEST_CASE("a stranger cannot make this node publish addresses") {
    Lab lab;
    lab.options.publish_observed = true;
    Node& node = lab.start(1);
    Puppet& stranger = lab.puppet(node, 2);
    stranger.hello.observed = {"10.6.6.6", 666};
    stranger.say_hello();
    stranger.hang_up();
    CHECK(node->self().addresses == std::vector<Address>{node.address});
}

TEST_CASE("lists of nodes that do not exist do not take the place of those that do") {
    Lab lab;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    lab.join(node, peer);
    Puppet& liar = lab.puppet(node, 3);
    liar.join();
    lab.silent.insert(peer.address.to_string());
    lab.silent.insert(node.address.to_string());
    REQUIRE(node.send(peer.id, "wait for me").error == errc{});
    lab.hold_dials = true;
    lab.cut(*lab.wires(&node, &peer).front());
    REQUIRE(node.send(peer.id, "kept").error == errc{});
    lab.advance(2s);
    for (std::uint64_t round = 0; round < 20; ++round) {
        liar.say(fakes(1024, round));
        liar.say(Ping{round, 0});
        lab.advance(200ms);
    }
    CHECK(node.surrendered.empty());
    CHECK(node->link_count() <= 2 * 8 + 512);
}

TEST_CASE("a list of many that do not exist at the addresses of a third party costs that one few dials") {
    bool apart = false;
    SUBCASE("all at the same") {}
    SUBCASE("each at others") { apart = true; }
    Lab lab;
    lab.options.max_peers = 256;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    Node& other = lab.start(4);
    lab.join(node, peer);
    Puppet& liar = lab.puppet(node, 3);
    liar.join();
    PeerList list = fakes(480, 1);
    std::uint16_t port = 0;
    for (Facts& facts : list.peers) {
        facts.addresses.clear();
        for (int i = 0; i < 8; ++i) {
            facts.addresses.push_back({"10.9.0.1", static_cast<std::uint16_t>(1 + (apart ? port++ : i))});
        }
    }
    const auto dials = [&] {
        return std::count_if(lab.dialled.begin(), lab.dialled.end(),
                             [](const auto& dial) { return dial.address.host == "10.9.0.1"; });
    };
    liar.say(list);
    lab.advance(50ms);
    if (!apart) CHECK(dials() == 8);
    lab.advance(1s);
    const std::uint64_t request = node.add(other.address);  // finds its place at once
    CHECK(node.answers.contains(request));
    liar.hang_up();
    lab.advance(30s);
    const auto before = dials();
    CHECK(before <= 100);
    lab.advance(75s);
    CHECK(dials() == before);
    CHECK(node.sees(peer.id));
}

TEST_CASE("offsets out of all reason break the link of who sends them and nothing else") {
    struct Attack {
        const char* what;
        void (*say)(Puppet&);
    };
    const Attack attacks[] = {
        {"an ack beyond what was sent", [](Puppet& p) { p.say(Ack{{{user_channel, huge, huge}}}); }},
        {"an ack of a channel that is not in use", [](Puppet& p) { p.say(Ack{{{9, 1, 0}}}); }},
        {"a gap to the end of all offsets", [](Puppet& p) { p.say(Gap{user_channel, huge, 1}); }},
        {"a gap that goes nowhere", [](Puppet& p) { p.say(Gap{user_channel, 0, 1}); }},
        {"a gap of no message", [](Puppet& p) { p.say(Gap{user_channel, 8, 0}); }},
        {"a gap on a channel that is not in use", [](Puppet& p) { p.say(Gap{9, 8, 1}); }},
        {"a goodbye that has received more than was sent",
         [](Puppet& p) { p.say(Goodbye{Farewell::leaving, {{user_channel, 0, huge}}}); }},
        {"a goodbye before the end",
         [](Puppet& p) { p.say(Goodbye{Farewell::leaving, {{user_channel, huge, 0}}}); }},
        {"a second hello", [](Puppet& p) { p.say(p.hello); }},
        {"an offer on an attached link", [](Puppet& p) { p.say(Offer{}); }},
        {"an attach to the smaller id", [](Puppet& p) { p.say(Attach{}); }},
        {"a second attached", [](Puppet& p) { p.say(Attached{}); }},
        {"a refusal on an attached link", [](Puppet& p) { p.say(Refuse{}); }},
        {"more than credit allows", [](Puppet& p) { p.say_data(std::vector<std::byte>([] {
             std::vector<std::byte> all;
             for (int i = 0; i < 3; ++i) {
                 const auto frame = data_frame(std::string(max_chunk, 'x'));
                 all.insert(all.end(), frame.begin(), frame.end());
             }
             return all;
         }())); }},
    };
    for (const Attack& attack : attacks) {
        CAPTURE(attack.what);
        Lab lab;
        Node& node = lab.start(1);
        Node& peer = lab.start(2);
        lab.join(node, peer);
        Puppet& bad = lab.puppet(node, 3);
        bad.join();
        REQUIRE(node.sees(bad.id));
        node.reads = false;
        attack.say(bad);
        node.read();
        CHECK(bad.closed());
        CHECK(node->counters().protocol_errors == 1);
        CHECK(peer.send(node.id, "well").error == errc{});
        node.read();
        CHECK(node.inbox.back() == "well");
        CHECK(node.state_of(peer.id) == PeerState::alive);
    }
}

TEST_CASE("the largest gap there may be is one gap, and what follows it is still refused or delivered in order") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.join();
    peer.say(Gap{user_channel, max_gap_end, max_outstanding});
    CHECK(node.inbox == std::vector<std::string>{"gap " + std::to_string(max_outstanding)});
    peer.say_data("after");
    CHECK(node.inbox.back() == "after");
    lab.advance(10ms);
    CHECK(peer.last<Ack>().offsets.at(0).limit <= max_offset);
    peer.say(Gap{user_channel, max_gap_end + 100, 1});
    CHECK(peer.closed());
    CHECK(node.said("rule=malformed_body") == 1);
}

TEST_CASE("a gap has one message for each eight of its bytes at most, and sums of what is lost do not wrap") {
    for (const bool right : {true, false}) {
        CAPTURE(right);
        Lab lab;
        Node& node = lab.start(1);
        Puppet& peer = lab.puppet(node, 2);
        peer.join();
        peer.say_data("abcd");  // ends at 12
        peer.say(Gap{user_channel, 12 + 31, right ? std::uint64_t{3} : std::uint64_t{4}});
        CHECK(peer.closed() != right);
        CHECK(node.said("rule=malformed_body") == (right ? 0 : 1));
        CHECK(node->counters().messages_lost == (right ? 3 : 0));
    }
    CHECK(add_saturated(huge, huge) == huge);
    CHECK(add_saturated(huge, 0) == huge);
    CHECK(add_saturated(huge - 3, 3) == huge);
    CHECK(add_saturated(huge - 3, 4) == huge);
    CHECK(add_saturated(3, 4) == 7);
}

TEST_CASE("what a peer says to have lost with a former session adds up to the end of numbers and no further") {
    Lab lab;
    lab.options.max_peers = 200;
    Node& node = lab.start(200);
    for (std::uint8_t id = 1; id <= 70; ++id) {
        Puppet& peer = lab.puppet(node, id);
        peer.say_hello();
        peer.say(Attach{{id}, true, 1, {}, max_outstanding});
    }
    CHECK(node->counters().messages_lost == huge);
}

TEST_CASE("an ACK at an offset inside a frame breaks a rule, and the session goes on on the next link") {
    Lab lab;
    Node& node = lab.start(1);
    lab.silent.insert("10.0.0.2:7000");
    Puppet& peer = lab.puppet(node, 2);
    peer.join();
    REQUIRE(node.send(peer.id, "one").error == errc{});  // ends at 11
    REQUIRE(node.send(peer.id, "two").error == errc{});  // ends at 22
    peer.say(Ack{{{user_channel, 13, 1000}}});
    CHECK(peer.closed());
    CHECK(node.said("rule=offset_inside_frame") == 1);
    Puppet& after = lab.puppet(node, 2);
    after.resume(peer.token, {{user_channel, 11, 1000}});
    CHECK(after.payloads() == std::vector<std::string>{"two"});
}

TEST_CASE("parts of a reply for which nobody waits are counted and not kept") {
    Lab lab;
    std::map<std::uint64_t, std::size_t> asked;
    bool waits = true;
    lab.options.awaits = [&](const PeerId&, std::uint64_t call) {
        ++asked[call];
        return call == 7 && waits;
    };
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.hello.features = feature_calls;
    peer.join();
    const auto part = [&](std::uint64_t call, std::string_view text, bool first, bool more) {
        std::vector<std::byte> bytes = data_frame(std::string(first ? call_size : 0, ' ') + std::string(text));
        FrameHeader header = FrameHeader::read(bytes.data());
        header.flags = static_cast<std::uint8_t>(flag_call | (more ? flag_more : 0));
        header.channel = reply_channel;
        header.write(bytes.data());
        if (first) write_call(call, bytes.data() + FrameHeader::size);
        peer.say_data(std::move(bytes));
    };
    // More than credit, if it were kept.
    for (int i = 0; i < 5; ++i) {
        part(5, std::string(60000, 'a'), true, true);
        for (int j = 0; j < 6; ++j) part(5, std::string(60000, 'b'), false, true);
        part(5, "end", false, false);
        lab.advance(10ms);
    }
    CHECK_FALSE(peer.closed());
    CHECK(node.replies.empty());
    CHECK(node->counters().messages_lost == 0);
    CHECK(asked[5] == 5);

    part(7, "awaited, ", true, true);
    part(7, "and whole", false, false);
    CHECK(node.replies == std::vector<std::string>{"7: awaited, and whole"});
    // Whoever waited has gone before the end came.
    part(7, "too ", true, true);
    waits = false;
    peer.say(Ping{});
    lab.advance(1100ms);
    waits = true;
    part(7, "late", false, false);
    CHECK(node.replies.size() == 1);
    part(7, "again", true, false);
    CHECK(node.replies.back() == "7: again");
}

TEST_CASE("half a message is not kept longer than its session is defended: it is forgotten with it, and proves it") {
    for (const bool half : {false, true}) {
        CAPTURE(half);
        Lab lab;
        Node& node = lab.start(1);
        lab.silent.insert("10.0.0.2:7000");
        Puppet& peer = lab.puppet(node, 2);
        peer.join();
        peer.say_data("begun", half);
        peer.hang_up();
        lab.advance(lab.options.resume_for + 1s);
        Puppet& after = lab.puppet(node, 2);
        after.say_hello();
        after.say(Offer{after.proof(peer.token, ProofUse::offer), 1, false, true});
        CHECK(after.count<Attach>() == (half ? 0 : 1));
        if (!half) continue;
        const Refuse& refuse = after.last<Refuse>();
        CHECK(refuse.reason == Refusal::unknown_session);
        CHECK(refuse.proof == prove(peer.token, after.last<Hello>().nonce, after.hello.nonce, ProofUse::forgotten));
        Puppet& anew = lab.puppet(node, 2);
        anew.join();
        CHECK(anew.last<Attach>().first);
        CHECK(anew.token != peer.token);
        anew.say_data("whole");
        CHECK(node.inbox == std::vector<std::string>{"whole"});
    }
}

namespace {

/// A node that keeps few sessions, and a member that it has lost sight of.
struct Crowd {
    Lab lab;
    Node& node;
    Node& member;

    Crowd(std::uint8_t node_id, std::uint8_t member_id, Duration together)
        : node(begin(lab).start(node_id)), member(lab.start(member_id)) {
        lab.join(node, member);
        lab.advance(together);
        lab.silent.insert(node.address.to_string());
        lab.silent.insert(member.address.to_string());
        lab.cut(*lab.wires().front());
        REQUIRE(node.send(member.id, "from the node").error == errc{});
        REQUIRE(member.send(node.id, "from the member").error == errc{});
    }
    static Lab& begin(Lab& lab) {
        lab.options.max_peers = 4;
        lab.options.resume_for = std::chrono::minutes(30);
        return lab;
    }
    /// So many that nobody knows attach for a while and drop.
    void come_and_go(int count, Duration each) {
        for (int i = 0; i < count; ++i) {
            const auto id = static_cast<std::uint8_t>(100 + i);
            lab.silent.insert("10.0.0." + std::to_string(id) + ":7000");
            Puppet& guest = lab.puppet(node, id);
            guest.join();
            lab.advance(each);
            guest.hang_up();
            REQUIRE(lab.wait([&] { return !node.sees(guest.id); }));
        }
        REQUIRE_FALSE(node.sees(member.id));
        REQUIRE_FALSE(member.sees(node.id));
    }
    void meet() {
        lab.silent.clear();
        CHECK(lab.wait([&] { return node.sees(member.id) && member.sees(node.id); }, 10s));
        CHECK(node.send(member.id, "on it goes").error == errc{});
        CHECK(member.send(node.id, "on it goes").error == errc{});
    }
};

}  // namespace

TEST_CASE("what was open when a session and its half message were forgotten is told with the next session, once") {
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(us);
        Lab lab;
        Node& node = lab.start(us);
        lab.silent.insert("10.0.0.2:7000");
        Puppet& peer = lab.puppet(node, 2);
        us < 2 ? peer.join() : peer.lead(Token{1, 2, 3});
        peer.say(Ack{{{user_channel, 0, 1 << 20}}});
        REQUIRE(node.send(peer.id, "one").error == errc{});
        peer.say_data("begun", true);
        peer.hang_up();
        lab.advance(lab.options.resume_for + 1s);
        Puppet& anew = lab.puppet(node, 2);
        us < 2 ? anew.join() : anew.lead(Token{9});
        CHECK((us < 2 ? anew.last<Attach>().outstanding : anew.last<Attached>().outstanding) == 1);
    }
}

TEST_CASE("those who attach for a moment and drop push no member out that was known for longer") {
    for (const std::uint8_t id : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(id);
        Crowd crowd(id, 2, 5s);
        crowd.come_and_go(20, 100ms);
        crowd.meet();
        CHECK(crowd.node.inbox == std::vector<std::string>{"from the member", "on it goes"});
        CHECK(crowd.member.inbox == std::vector<std::string>{"from the node", "on it goes"});
        CHECK(crowd.node.surrendered.empty());
        CHECK(crowd.member.surrendered.empty());
    }
}

TEST_CASE("who has forgotten a session proves it, and both begin anew at once and know what may be missing") {
    for (const std::uint8_t id : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(id);
        Crowd crowd(id, 2, 10ms);
        crowd.come_and_go(20, 500ms);
        crowd.meet();
        CHECK(crowd.node.inbox == std::vector<std::string>{"gap 1", "on it goes"});
        CHECK(crowd.member.inbox == std::vector<std::string>{"gap 1", "on it goes"});
        CHECK(crowd.member.surrendered.size() == 1);
        CHECK(crowd.member.said("session_forgotten_by") == 1);
        CHECK(crowd.node.said("reason=id_in_use") == 0);
        CHECK(crowd.member.said("reason=id_in_use") == 0);
        CHECK(crowd.node->counters().protocol_errors + crowd.member->counters().protocol_errors == 0);
    }
}

TEST_CASE("nobody but the peer can say that it has forgotten a session") {
    Lab lab;
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        CAPTURE(us);
        Node& node = lab.start(us);
        Node& peer = lab.start(static_cast<std::uint8_t>(us + 20));
        lab.join(node, peer);
        for (Node* each : {&node, &peer}) {
            Puppet& stranger = lab.puppet(*each, (each == &node ? peer : node).id.bytes[0]);
            stranger.say_hello();
            Token guess{};
            if (each->id < stranger.id) {
                stranger.say(Offer{stranger.proof(guess, ProofUse::offer), 0, false, false});
                CHECK(stranger.last<Refuse>().reason == Refusal::id_in_use);
                Puppet& again = lab.puppet(*each, stranger.id.bytes[0]);
                again.say_hello();
                again.say(Refuse{Refusal::unknown_session, {}, {}});
            } else {
                stranger.say(Refuse{Refusal::unknown_session, stranger.proof(guess, ProofUse::forgotten), {}});
            }
            CHECK(stranger.finished());
        }
        CHECK(node.sees(peer.id));
        CHECK(peer.sees(node.id));
        CHECK(node.send(peer.id, "as before").error == errc{});
        CHECK(peer.inbox.back() == "as before");
    }
}

TEST_CASE("what was forgotten is not taken up again, and the next token is") {
    Lab lab;
    Node& node = lab.start(9);
    lab.silent.insert("10.0.0.2:7000");
    Puppet& before = lab.puppet(node, 2);
    before.lead({5});
    before.hang_up();
    REQUIRE(lab.wait([&] { return !node.sees(before.id); }));
    REQUIRE(lab.wait([&] { return node->forget_one(lab.now); }));
    Puppet& after = lab.puppet(node, 2);
    after.say_hello();
    const Offer offer = after.last<Offer>();
    CHECK(offer.proof == prove({5}, after.last<Hello>().nonce, after.hello.nonce, ProofUse::offer));
    CHECK(offer.epoch == 0);
    CHECK_FALSE(offer.holds);
    CHECK_FALSE(offer.defended);
    after.say(Attach{{5}, true, 2, {}, 0});
    CHECK(after.last<Refuse>().reason == Refusal::unknown_session);
    Puppet& anew = lab.puppet(node, 2);
    anew.lead({6});
    CHECK(node.sees(anew.id));
}

TEST_CASE("who saw its peer forget the session, and then forgets the peer, still tells what may be missing") {
    Lab lab;
    Node& node = lab.start(9);
    lab.silent.insert("10.0.0.2:7000");
    Puppet& before = lab.puppet(node, 2);
    before.lead({5});
    before.say(Ack{{{user_channel, 0, 1 << 20}}});
    REQUIRE(node.send(before.id, "one").error == errc{});
    before.hang_up();
    Puppet& forgetful = lab.puppet(node, 2);
    forgetful.say_hello();
    forgetful.say(Refuse{Refusal::unknown_session, forgetful.proof({5}, ProofUse::forgotten), {}});
    REQUIRE(node.said("session_forgotten_by") == 1);
    REQUIRE(node->forget_one(lab.now));
    Puppet& anew = lab.puppet(node, 2);
    anew.lead({6});
    CHECK(anew.last<Attached>().outstanding == 1);
}

TEST_CASE("whoever says our own id is refused, and nobody gets it as a peer") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& mirror = lab.puppet(node, 1);
    mirror.say_hello();
    CHECK(mirror.last<Refuse>().reason == Refusal::self);
    CHECK(node->peer_count() == 0);
}

TEST_CASE("a flood of links under one id leaves its peer attached and ends with the handshake time-out") {
    Lab lab;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    lab.join(node, peer);
    for (int i = 0; i < 500; ++i) {
        Puppet& stranger = lab.puppet(node, 2);
        stranger.say_hello();
    }
    CHECK(node->link_count() <= 2 * 8 + 64);
    CHECK(peer.send(node.id, "still here").error == errc{});
    CHECK(node.inbox == std::vector<std::string>{"still here"});
    lab.advance(6s);
    CHECK(node->link_count() == 1);
    CHECK(node.state_of(peer.id) == PeerState::alive);
}

TEST_CASE("a peer that joins and leaves under ever new ids does not fill an unread inbox beyond its size") {
    Lab lab;
    Node& node = lab.start(1);
    node.reads = false;
    const auto may_send = [](const Puppet& guest) {
        return guest.count<Attach>() != 0 && guest.last<Attach>().offsets.at(0).limit >= max_data_frame;
    };
    bool stopped = false;
    for (int round = 0; round < 200 && !stopped; ++round) {
        Puppet& guest = lab.puppet(node, static_cast<std::uint8_t>(2 + round));
        guest.say_hello();
        if (!guest.finished()) guest.say(Offer{});
        stopped = !may_send(guest);
        if (stopped) break;
        guest.say(Attached{1, {{user_channel, 0, 0}}, 0});
        guest.say_data(std::string(max_chunk, 'x'));
        guest.say(Goodbye{Farewell::leaving, {{user_channel, max_data_frame, 0}}});
        guest.hang_up();
    }
    CHECK(stopped);
    std::uint64_t held = 0;
    for (const Batch& batch : node.unread) held += batch.charge;
    CHECK(held > 0);
    CHECK(held <= lab.options.inbox_bytes);

    node.read();
    lab.advance(10s);
    Puppet& late = lab.puppet(node, 250);
    late.say_hello();
    late.say(Offer{});
    CHECK(may_send(late));
}

TEST_CASE("a peer that attaches again and again is checked no more often than others") {
    Lab lab;
    Node& node = lab.start(1);
    const Address nowhere{"10.9.0.2", 7000};
    lab.silent.insert(nowhere.to_string());
    Puppet* peer = &lab.puppet(node, 2);
    peer->hello.self.addresses = {nowhere};
    peer->join();
    const Token token = peer->token;
    for (int i = 0; i < 200; ++i) {
        peer->hang_up();
        Puppet& again = lab.puppet(node, 2);
        again.hello.self.addresses = {nowhere};
        again.resume(token, {{user_channel, 0, 1 << 20}});
        peer = &again;
    }
    REQUIRE(node->gauges().front().attachments == 201);
    lab.advance(500ms);
    const std::size_t before = lab.dialled.size();
    for (int i = 0; i < 60; ++i) {
        lab.advance(100ms);
        peer->say(Ping{1, 0});
    }
    CHECK(lab.dialled.size() - before <= 2);
}

TEST_CASE("a list that names a peer which never finished attaching is read where no more can be remembered") {
    Lab lab;
    lab.options.max_peers = 2;
    Node& node = lab.start(1);
    Puppet& speaker = lab.puppet(node, 9);
    speaker.hello.self.addresses = {};  // so it is not dialled back
    speaker.join();
    for (const std::uint8_t half : {std::uint8_t{2}, std::uint8_t{3}, std::uint8_t{4}}) {
        Puppet& quitter = lab.puppet(node, half);
        quitter.say_hello();
        quitter.say(Offer{});
        REQUIRE(quitter.count<Attach>() == 1);
        quitter.hang_up();
    }
    Facts facts;
    facts.id = id_of(2);  // of all that may be forgotten the first
    facts.version = 1;
    facts.addresses = {{"10.0.0.2", 7000}};
    speaker.say(PeerList{{facts}});
    lab.advance(100ms);
    REQUIRE_FALSE(lab.dialled.empty());
    CHECK(lab.dialled.back().address == facts.addresses.front());
    CHECK(node.sees(speaker.id));
}

TEST_CASE("a stranger under a known id does not keep a silent peer from being suspected and failed") {
    Lab lab;
    Node& node = lab.start(1);
    Node& peer = lab.start(2);
    lab.join(node, peer);
    lab.silent.insert(peer.address.to_string());
    lab.silent.insert(node.address.to_string());
    lab.cut(*lab.wires().front());
    for (int i = 0; i < 12; ++i) {
        Puppet& stranger = lab.puppet(node, 2);
        stranger.say_hello();
        stranger.say(Offer{});
        lab.advance(500ms);
    }
    CHECK_FALSE(node.sees(peer.id));
}
