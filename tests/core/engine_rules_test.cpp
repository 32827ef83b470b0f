#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

// The rules of wire/PROTOCOL.md, one by one, where a test of their parts does not show them.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

int side_of(const Wire& wire, const Node& node) {
    return wire.end[0] == &node ? 0 : 1;
}

Token token_of(std::uint8_t byte) {
    Token token;
    token.fill(byte);
    return token;
}

/// Nobody answers where the puppets of this id listen.
void mute(Lab& lab, std::uint8_t first) {
    lab.silent.insert("10.0.0." + std::to_string(first) + ":7000");
}

}  // namespace

// R2, R3.
TEST_CASE("the larger id offers and the smaller id attaches, whoever dialled") {
    for (const bool smaller_dials : {true, false}) {
        CAPTURE(smaller_dials);
        Lab lab;
        Node& ann = lab.start(1);
        Node& bob = lab.start(2);
        smaller_dials ? lab.join(ann, bob) : lab.join(bob, ann);
        REQUIRE(lab.wires().size() == 1);
        const Wire& wire = *lab.wires().front();
        CHECK(wire.end[0] == (smaller_dials ? &ann : &bob));
        const int smaller = side_of(wire, ann);
        CHECK(wire.count(smaller, "OFFER") == 0);
        CHECK(wire.count(smaller, "ATTACH") == 1);
        CHECK(wire.count(smaller, "ATTACHED") == 0);
        CHECK(wire.count(1 - smaller, "OFFER") == 1);
        CHECK(wire.count(1 - smaller, "ATTACH") == 0);
        CHECK(wire.count(1 - smaller, "ATTACHED") == 1);
    }
}

// R3, R13.
TEST_CASE("two nodes that dial each other at once keep one link, and both dials succeed") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.hold_dials = true;
    const std::uint64_t there = ann.add(bob.address);
    const std::uint64_t back = bob.add(ann.address);
    const auto dials = lab.take_dials();
    REQUIRE(dials.size() == 2);
    SUBCASE("in one order") {
        lab.complete(dials[0]);
        lab.complete(dials[1]);
    }
    SUBCASE("in the other") {
        lab.complete(dials[1]);
        lab.complete(dials[0]);
    }
    lab.settle();
    CHECK(lab.wires().size() == 1);
    REQUIRE(ann.answers.contains(there));
    REQUIRE(bob.answers.contains(back));
    CHECK(ann.answers[there].error == errc{});
    CHECK(bob.answers[back].error == errc{});
    CHECK(ann->counters().refusals_sent == 1);
    CHECK(bob->counters().refusals_sent == 0);
    ann.broadcast("there");
    bob.broadcast("back");
    CHECK(bob.inbox == std::vector<std::string>{"there"});
    CHECK(ann.inbox == std::vector<std::string>{"back"});
}

// R4e.
TEST_CASE("a duplicate is refused and the first link stays in use") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& first = lab.puppet(node, 2);
    first.join();
    Puppet& second = lab.puppet(node, 2);
    second.say_hello();
    SUBCASE("the peer uses the first link") {
        second.say(Offer{second.proof(first.token, ProofUse::offer), 1, true, true});
    }
    SUBCASE("the peer spoke before it knew of the first link") {
        second.say(Offer{second.proof(first.token, ProofUse::offer), 0, false, true});
    }
    CHECK(second.last<Refuse>().reason == Refusal::duplicate);
    CHECK(second.count<Attach>() == 0);
    CHECK_FALSE(first.closed());
    node.broadcast("still here");
    CHECK(first.payloads() == std::vector<std::string>{"still here"});
}

// R4e, R6.
TEST_CASE("a peer that lost the link which this side still believes in is attached anew") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& first = lab.puppet(node, 2);
    first.join();
    node.broadcast("twice");
    Puppet& second = lab.puppet(node, 2);
    second.say_hello();
    second.say(Offer{second.proof(first.token, ProofUse::offer), 1, false, true});
    CHECK(first.closed());
    CHECK(second.last<Attach>().epoch == 2);
    CHECK_FALSE(second.last<Attach>().first);
    second.say(Attached{2, {{user_channel, 0, 1 << 20}}, 0});
    CHECK(second.payloads() == std::vector<std::string>{"twice"});
}

// R5, R7, R15.
TEST_CASE("a link that waits is attached when the ATTACH on another one comes to nothing") {
    Lab lab;
    Node& node = lab.start(1);
    mute(lab, 2);
    Puppet& first = lab.puppet(node, 2);
    first.say_hello();
    first.say(Offer{});
    REQUIRE(first.count<Attach>() == 1);
    Puppet& second = lab.puppet(node, 2);
    second.say_hello();
    second.say(Offer{});
    CHECK(second.count<Attach>() == 0);
    CHECK(second.count<Refuse>() == 0);
    SUBCASE("because its time is over") {
        lab.advance(lab.options.attach_timeout - 1ms);
        CHECK(second.count<Attach>() == 0);
        lab.advance(1ms);
        CHECK(first.closed());
    }
    SUBCASE("because its link ended") { first.hang_up(); }
    SUBCASE("because it was refused") { first.say(Refuse{Refusal::id_in_use, {}, {}}); }
    REQUIRE(second.count<Attach>() == 1);
    CHECK(second.last<Attach>().epoch == 2);
    CHECK(second.last<Attach>().token == first.last<Attach>().token);
    second.say(Attached{2, {{user_channel, 0, 1000}}, 0});
    CHECK(node.sees(second.id));
}

// R4d, R5.
TEST_CASE("a link that waits is refused when the other one is attached") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& first = lab.puppet(node, 2);
    first.say_hello();
    first.say(Offer{});
    Puppet& second = lab.puppet(node, 2);
    second.say_hello();
    second.say(Offer{});
    first.say(Attached{1, {{user_channel, 0, 1000}}, 0});
    CHECK(second.count<Refuse>() == 1);
    CHECK(second.count<Attach>() == 0);
    CHECK_FALSE(first.closed());
    CHECK(node.sees(first.id));
}

// R8, R15.
TEST_CASE("each attempt to attach carries the same token and a new epoch until one is answered") {
    Lab lab;
    Node& node = lab.start(1);
    mute(lab, 2);
    std::optional<Token> token;
    for (std::uint64_t epoch = 1; epoch <= 5; ++epoch) {
        Puppet& puppet = lab.puppet(node, 2);
        puppet.say_hello();
        puppet.say(Offer{});
        const Attach& attach = puppet.last<Attach>();
        CHECK(attach.first);
        CHECK(attach.epoch == epoch);
        if (!token) token = attach.token;
        CHECK(attach.token == *token);
        puppet.hang_up();
        lab.advance(1s);
    }
}

// R17, R20.
TEST_CASE("a token is demanded only after the first ATTACHED, and then only proved") {
    Lab lab;
    Node& node = lab.start(1);
    mute(lab, 2);
    Puppet& unanswered = lab.puppet(node, 2);
    unanswered.say_hello();
    unanswered.say(Offer{});
    unanswered.hang_up();
    Puppet& answered = lab.puppet(node, 2);
    answered.join();
    REQUIRE(node.sees(answered.id));
    answered.hang_up();

    Puppet& stranger = lab.puppet(node, 2);
    stranger.say_hello();
    stranger.say(Offer{});
    CHECK(stranger.last<Refuse>().reason == Refusal::id_in_use);
    Puppet& other = lab.puppet(node, 2);
    other.say_hello();
    other.say(Offer{other.proof(token_of(9), ProofUse::offer), 1, false, true});
    CHECK(other.last<Refuse>().reason == Refusal::unknown_session);

    Puppet& peer = lab.puppet(node, 2);
    peer.resume(answered.token, {{user_channel, 0, 1000}});
    const Attach& attach = peer.last<Attach>();
    CHECK_FALSE(attach.first);
    CHECK(attach.token == prove(answered.token, peer.last<Hello>().nonce, peer.hello.nonce, ProofUse::attach));
    CHECK(node.state_of(peer.id) == PeerState::alive);
    CHECK(node.news == std::vector<std::string>{"added 2"});
}

// R9, R6.
TEST_CASE("the larger id takes only an ATTACH of a newer epoch, and leaves its old link for that") {
    Lab lab;
    Node& node = lab.start(3);
    Puppet& first = lab.puppet(node, 2);
    first.lead(token_of(7), 5);
    for (const std::uint64_t epoch : {std::uint64_t{4}, std::uint64_t{5}}) {
        Puppet& late = lab.puppet(node, 2);
        late.say_hello();
        CHECK(late.last<Offer>().epoch == 5);
        CHECK(late.last<Offer>().holds);
        CHECK(late.last<Offer>().proof == prove(token_of(7), late.last<Hello>().nonce, late.hello.nonce,
                                                ProofUse::offer));
        late.say(Attach{late.proof(token_of(7), ProofUse::attach), false, epoch, {{user_channel, 0, 1000}}, 0});
        CHECK(late.last<Refuse>().reason == Refusal::duplicate);
        CHECK_FALSE(first.closed());
    }
    Puppet& next = lab.puppet(node, 2);
    next.say_hello();
    next.say(Attach{next.proof(token_of(7), ProofUse::attach), false, 6, {{user_channel, 0, 1000}}, 0});
    CHECK(first.closed());
    CHECK(next.last<Attached>().epoch == 6);
    CHECK(node->attached_to(next.link) == next.id);
}

// R11.
TEST_CASE("frames of a session on a link that is not attached break a rule") {
    const std::vector<Control> frames{Gap{user_channel, 10, 1}, Ack{}, Goodbye{}, PeerList{}, Ping{}, Pong{}};
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        for (const Control& frame : frames) {
            CAPTURE(us);
            CAPTURE(name_of(frame));
            Lab lab;
            Node& node = lab.start(us);
            Puppet& puppet = lab.puppet(node, 2);
            puppet.say_hello();
            puppet.say(frame);
            CHECK(puppet.closed());
            CHECK(node->counters().protocol_errors == 1);
            CHECK(node.said("rule=unexpected_frame") == 1);
        }
    }
}

// R12.
TEST_CASE("the smaller id answers ATTACHED at once with an ACK") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& puppet = lab.puppet(node, 2);
    puppet.join();
    CHECK(puppet.count<Ack>() == 1);
}

// R21, R23.
TEST_CASE("after resume_for messages are given up and the session is not") {
    Lab lab;
    Node& node = lab.start(1);
    mute(lab, 2);
    Puppet& before = lab.puppet(node, 2);
    before.join();
    before.hang_up();
    REQUIRE(node.send(before.id, "one").error == errc{});
    REQUIRE(node.send(before.id, "two").error == errc{});
    lab.advance(lab.options.resume_for + 1s);
    CHECK(node->counters().messages_given_up == 2);
    CHECK(node.surrendered.size() == 1);
    Puppet& after = lab.puppet(node, 2);
    after.resume(before.token, {{user_channel, 0, 1000}});
    CHECK_FALSE(after.last<Attach>().first);
    CHECK(after.last<Gap>() == Gap{user_channel, 22, 2});
    REQUIRE(node.send(after.id, "three").error == errc{});
    CHECK(after.payloads() == std::vector<std::string>{"three"});
}

// R25.
TEST_CASE("an ACK is sent when only the limit grew") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& puppet = lab.puppet(node, 2);
    puppet.join();
    node.reads = false;
    puppet.say_data("take me");
    lab.advance(100ms);
    REQUIRE(puppet.last<Ack>().offsets.size() == 1);
    const Offset unread = puppet.last<Ack>().offsets[0];
    CHECK(unread.received == 15);
    const std::size_t acks = puppet.count<Ack>();
    node.read();
    lab.advance(100ms);
    CHECK(puppet.count<Ack>() == acks + 1);
    REQUIRE(puppet.last<Ack>().offsets.size() == 1);
    CHECK(puppet.last<Ack>().offsets[0].received == 15);
    CHECK(puppet.last<Ack>().offsets[0].limit > unread.limit);
}

// R26, R27.
TEST_CASE("a GOODBYE that crosses another one is its answer") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    const Wire& wire = *lab.wires().front();
    ann->leave(lab.now);
    bob->leave(lab.now);
    lab.settle();
    lab.advance(10ms);
    for (Node* node : {&ann, &bob}) {
        REQUIRE(node->left);
        CHECK(node->left->messages == 0);
        CHECK((*node)->counters().protocol_errors == 0);
        CHECK((*node)->link_count() == 0);
        CHECK((*node)->peer_count() == 0);
    }
    CHECK(wire.count(0, "GOODBYE") == 1);
    CHECK(wire.count(1, "GOODBYE") == 1);
}

// R29.
TEST_CASE("who said goodbye is told that it is over, and hearsay does not bring it back") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(bob, ann);
    bob->leave(lab.now);
    lab.advance(10ms);
    REQUIRE(bob.left);
    const std::size_t dialled = lab.dialled.size();
    Puppet& late = lab.puppet(ann, 2);
    late.say_hello();
    CHECK(late.last<Refuse>().reason == Refusal::over);
    Puppet& gossip = lab.puppet(ann, 3);
    gossip.join();
    Facts news = bob->self();
    news.version = 99;
    gossip.say(PeerList{{news}});
    lab.advance(10s);
    CHECK_FALSE(ann.sees(bob.id));
    CHECK(std::none_of(lab.dialled.begin() + static_cast<std::ptrdiff_t>(dialled), lab.dialled.end(),
                       [&](const Lab::Pending& dial) { return dial.address == bob.address; }));
}

// R28, R29: REFUSE over is as good as the answer.
TEST_CASE("a leaving node that lost its link takes REFUSE over as the answer to its goodbye") {
    Lab lab;
    Node& node = lab.start(1);
    mute(lab, 2);
    Puppet& before = lab.puppet(node, 2);
    before.join();
    before.hang_up();
    node->leave(lab.now);
    lab.settle();
    REQUIRE_FALSE(node.left);
    Puppet& after = lab.puppet(node, 2);
    after.say(Refuse{Refusal::over, {}, {}});
    SUBCASE("said before HELLO it tells nothing about anybody") {
        CHECK_FALSE(node.left);
        return;
    }
    Puppet& last = lab.puppet(node, 2);
    last.say_hello();
    last.say(Refuse{Refusal::over, {}, {}});
    lab.advance(10ms);
    CHECK(node.left);
}

// R32.
TEST_CASE("a removed peer is kept out until it is added again, and then begins anew") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    REQUIRE(ann->remove(bob.id, lab.now));
    lab.advance(10ms);
    CHECK(ann.news == std::vector<std::string>{"added 2", "removed 2"});
    CHECK(bob.news == std::vector<std::string>{"added 1", "refused 1"});
    CHECK(lab.wires().empty());

    const std::uint64_t request = bob.add(ann.address);
    lab.advance(1s);
    REQUIRE(bob.answers.contains(request));
    CHECK(bob.answers[request].error == errc::removed);
    lab.advance(30s);
    CHECK_FALSE(ann.sees(bob.id));
    CHECK_FALSE(bob.sees(ann.id));

    lab.join(ann, bob);
    CHECK(ann->gauges().front().attachments == 1);
    ann.broadcast("welcome back");
    CHECK(bob.inbox == std::vector<std::string>{"welcome back"});
    lab.advance(10s);
    CHECK(lab.wires().size() == 1);
}

// Machines may share addresses that lead nowhere else, such as those of a bridge for containers.
TEST_CASE("who shares one of several addresses with a removed peer is neither kept out nor lets it in") {
    Lab lab;
    Node& ann = lab.start(1);
    const Address shared{"172.17.0.1", 7000};
    const auto come = [&](std::uint8_t first) -> Puppet& {
        Puppet& peer = lab.puppet(ann, first);
        peer.hello.self.addresses = {{"10.0.0." + std::to_string(first), 7000}, shared};
        return peer;
    };
    come(2).join();
    Puppet& eve = come(3);
    eve.join();
    REQUIRE(ann->remove(id_of(2), lab.now));
    eve.hang_up();
    come(3).resume(eve.token, {{user_channel, 0, 1 << 20}});
    CHECK(ann.sees(eve.id));

    const Address dan{"10.0.0.4", 7000};
    lab.play(dan, 4);
    ann.add(dan);
    lab.last_puppet().hello.self.addresses = {dan, shared};
    lab.last_puppet().join();
    CHECK(ann.sees(id_of(4)));
    Puppet& back = come(2);
    back.say_hello();
    CHECK(back.last<Refuse>().reason == Refusal::removed);
}

TEST_CASE("two that publish the same private address: who is not removed goes on linking, and is dialled") {
    Lab lab;
    Node& ann = lab.start(1);
    const Address shared{"192.168.0.7", 7000};
    const auto come = [&](std::uint8_t first) -> Puppet& {
        Puppet& peer = lab.puppet(ann, first);
        peer.hello.self.addresses = {shared};
        return peer;
    };
    lab.play(shared, 2);
    ann.add(shared);
    lab.last_puppet().hello.self.addresses = {shared};
    lab.last_puppet().join();
    Puppet& eve = come(3);
    eve.join();
    REQUIRE(ann->remove(id_of(2), lab.now));
    const std::size_t dials = lab.dialled.size();
    eve.hang_up();
    lab.advance(1s);
    CHECK(ann.sees(eve.id));
    CHECK(lab.dialled.size() > dials);
    come(3).resume(eve.token, {{user_channel, 0, 1 << 20}});
    CHECK(ann.state_of(eve.id) == PeerState::alive);
    Puppet& anew = come(4);
    anew.say_hello();
    CHECK(anew.last<Refuse>().reason == Refusal::removed);
}

TEST_CASE("who is removed after it claimed the addresses of others takes nobody along") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    Puppet& liar = lab.puppet(ann, 9);
    liar.hello.self.addresses = {bob.address, {"10.0.0.3", 7000}};
    liar.join();
    lab.advance(5s);
    REQUIRE(ann->remove(liar.id, lab.now));
    lab.kill(bob);
    lab.advance(1s);
    Puppet& restarted = lab.puppet(ann, 12);
    restarted.hello.self.addresses = {bob.address};
    restarted.join();
    CHECK(ann.sees(restarted.id));
    Node& eve = lab.start(3);
    eve.add(ann.address);
    CHECK(ann.sees(eve.id));
}

TEST_CASE("a former run that is removed takes no later run along that was met at its place") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    ann.add(bob.address);
    REQUIRE(ann.sees(bob.id));
    lab.kill(bob);
    REQUIRE(lab.wait([&] { return !ann.sees(bob.id); }));
    const auto run_again = [&](std::uint8_t first) -> Node& {
        Node& again = lab.start(first);
        again.address = bob.address;
        ann.add(bob.address);
        return again;
    };
    lab.options.self.addresses = {bob.address};
    Node& second = run_again(12);
    REQUIRE(ann.sees(second.id));
    REQUIRE(ann->remove(bob.id, lab.now));
    lab.kill(second);
    REQUIRE(lab.wait([&] { return !ann.sees(second.id); }));
    Puppet& third = lab.puppet(ann, 22);
    third.hello.self.addresses = {bob.address};
    third.join();
    CHECK(ann.sees(third.id));
}

// R32: only a right proof ends the session.
TEST_CASE("a REFUSE removed ends a session only with the proof of its token") {
    for (const bool right : {false, true}) {
        CAPTURE(right);
        Lab lab;
        Node& node = lab.start(1);
        mute(lab, 2);
        Puppet& before = lab.puppet(node, 2);
        before.join();
        before.hang_up();
        Puppet& after = lab.puppet(node, 2);
        after.say_hello();
        after.say(Refuse{Refusal::removed, after.proof(right ? before.token : token_of(9), ProofUse::removed), {}});
        CHECK(node.sees(after.id) != right);
        CHECK(node.news.back() == (right ? "refused 2" : "added 2"));
    }
}

// R8, R9.
TEST_CASE("an OFFER that proves the session and names an epoch that this side never sent breaks a rule") {
    for (const std::uint64_t epoch : {std::uint64_t{1}, std::uint64_t{2}, ~std::uint64_t{0}}) {
        CAPTURE(epoch);
        Lab lab;
        Node& node = lab.start(1);
        mute(lab, 2);
        Puppet& before = lab.puppet(node, 2);
        before.join();
        before.hang_up();
        Puppet& after = lab.puppet(node, 2);
        after.say_hello();
        after.say(Offer{after.proof(before.token, ProofUse::offer), epoch, false, true});
        CHECK(after.closed() == (epoch > 1));
        CHECK(node.said("rule=wrong_epoch") == (epoch > 1 ? 1 : 0));
        if (epoch == 1) CHECK(after.last<Attach>().epoch == 2);
        CHECK(node.sees(after.id));
    }
}

// R9.
TEST_CASE("an ATTACH of epoch 0 is refused, and behind the last epoch there is none") {
    Lab lab;
    Node& node = lab.start(9);
    mute(lab, 2);
    Puppet& none = lab.puppet(node, 2);
    none.say_hello();
    none.say(Attach{token_of(1), true, 0, {}, 0});
    CHECK(none.last<Refuse>().reason == Refusal::unknown_session);
    Puppet& last = lab.puppet(node, 2);
    last.lead(token_of(1), ~std::uint64_t{0});
    REQUIRE(node.sees(last.id));
    Puppet& more = lab.puppet(node, 2);
    more.say_hello();
    CHECK(more.last<Offer>().epoch == ~std::uint64_t{0});
    more.say(Attach{more.proof(token_of(1), ProofUse::attach), false, ~std::uint64_t{0}, {}, 0});
    CHECK(more.last<Refuse>().reason == Refusal::duplicate);
    CHECK_FALSE(last.closed());
}

TEST_CASE("a HELLO with an empty range of versions is refused for its version") {
    for (const auto& range : {std::pair<std::uint16_t, std::uint16_t>{2, 0}, {1, 0}, {2, 1}}) {
        CAPTURE(range.first);
        CAPTURE(range.second);
        Lab lab;
        Node& node = lab.start(1);
        Puppet& odd = lab.puppet(node, 2);
        odd.hello.version_min = range.first;
        odd.hello.version_max = range.second;
        odd.say_hello();
        CHECK(odd.last<Refuse>().reason == Refusal::version);
    }
}

TEST_CASE("a channel that GOODBYE leaves out stands where its listener knew it, and nothing of it is checked") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.join();
    peer.say_data("one");
    REQUIRE(node.send(peer.id, "never acknowledged").error == errc{});
    peer.say(Goodbye{Farewell::leaving, {}});
    CHECK(peer.count<Goodbye>() == 1);
    CHECK(node->counters().protocol_errors == 0);
    REQUIRE(node.surrendered.size() == 1);
    CHECK(node.surrendered[0].messages == 1);
}

TEST_CASE("the time for a greeting begins anew with HELLO and with nothing else until the link is attached") {
    Lab lab;
    Node& node = lab.start(9);
    Puppet& slow = lab.puppet(node, 2);
    lab.advance(4s);
    CHECK_FALSE(slow.closed());
    slow.say_hello();
    lab.advance(4s);
    CHECK_FALSE(slow.closed());
    lab.advance(1100ms);
    CHECK(slow.closed());

    // A link that waits for another one has had its time, too.
    Node& smaller = lab.start(1);
    lab.options.attach_timeout = 2s;
    Puppet& silent = lab.puppet(smaller, 2);
    silent.say_hello();
    lab.advance(4s);
    silent.say(Offer{});  // an ATTACH has a time of its own
    REQUIRE(silent.count<Attach>() == 1);
    lab.advance(1500ms);
    CHECK_FALSE(silent.closed());
    lab.advance(600ms);
    CHECK(silent.closed());
}

TEST_CASE("a refusal for a reason of a later version costs the link and not the session") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& before = lab.puppet(node, 2);
    before.join();
    before.hang_up();
    Puppet& after = lab.puppet(node, 2);
    after.say_hello();
    after.say(Refuse{Refusal{200}, {}, {}});
    CHECK(after.closed());
    CHECK(node.sees(after.id));
    CHECK(node.said("reason=unknown") == 1);
    CHECK(node.said("protocol_error") == 0);
}

// R33, R23.
TEST_CASE("messages that a full outbox skips arrive as one gap in their place") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    Wire& wire = *lab.wires().front();
    wire.held[0] = wire.held[1] = true;
    const std::string large(100000, 'x');
    std::size_t skipped = 0;
    for (int i = 0; i < 20; ++i) {
        const auto outcome = ann.broadcast(large, true);
        CHECK(outcome.error == errc{});
        skipped += outcome.full.size();
    }
    REQUIRE(skipped > 1);
    REQUIRE(skipped < 20);
    CHECK(ann.broadcast(large).error == errc::outbox_full);
    wire.held[0] = wire.held[1] = false;
    lab.advance(100ms);
    ann.broadcast("behind it");
    std::vector<std::string> expected(20 - skipped, large);
    expected.push_back("gap " + std::to_string(skipped));
    expected.push_back("behind it");
    CHECK((bob.inbox == expected));
}
