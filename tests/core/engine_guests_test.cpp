#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Guests: programs outside of the cluster, each with a link to a node, and in nobody's view.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

using Texts = std::vector<std::string>;

/// Two nodes, and a guest of the first. Whether the guest has the smaller id, and so decides about links, is chosen by
/// the test.
struct Hosting : Lab {
    Node& ann;
    Node& bob;
    Node& gus;

    explicit Hosting(std::uint8_t guest) : ann(start(3)), bob(start(4)), gus(start_guest(guest)) {
        join(ann, bob);
        gus.add(ann.address);
    }
    Wire& wire() { return *wires(&gus, &ann).at(0); }
};

std::vector<std::byte> on_channel(std::uint16_t channel, std::string_view payload, bool more = false) {
    std::vector<std::byte> bytes = data_frame(payload, more);
    FrameHeader header = FrameHeader::read(bytes.data());
    header.channel = channel;
    header.write(bytes.data());
    return bytes;
}

Puppet& guest_of(Lab& lab, Node& node, std::uint8_t first) {
    Puppet& guest = lab.puppet(node, first);
    guest.be_guest();
    return guest;
}

/// As the smaller or the larger id, whichever it is.
void attach(Puppet& guest) {
    if (guest.id < guest.node.id) {
        guest.lead({guest.id.bytes[0]});
    } else {
        guest.join();
        guest.say(Ack{});
    }
}

constexpr std::uint8_t sides[] = {1, 9};

}  // namespace

TEST_CASE("guests: one comes, has its node in view, and is itself in nobody's view, list or number") {
    for (const std::uint8_t side : sides) {
        CAPTURE(side);
        Hosting lab(side);
        CHECK(lab.gus.news == Texts{"added 3"});
        CHECK(lab.ann.news == Texts{"added 4", "guest " + std::to_string(side)});
        REQUIRE(lab.ann.guests.size() == 1);
        CHECK(lab.ann.guests[0].name == "node " + std::to_string(side));
        CHECK(lab.ann.guests[0].address == Address{lab.gus.address.host, 50000});
        CHECK(lab.ann->guest_count() == 1);
        lab.advance(20s);
        CHECK(lab.ann->peer_count() == 1);
        CHECK(lab.ann->everybody().size() == 1);
        CHECK_FALSE(lab.ann.sees(lab.gus.id));
        CHECK(lab.ann->audience().size() == 1);
        CHECK(lab.ann->gauges().size() == 1);
        CHECK(lab.ann->whereabouts()->size() == 1);
        CHECK(lab.bob.news == Texts{"added 3"});
        CHECK(lab.bob->everybody().size() == 1);
        // It knows the node that it was told of, and no other.
        CHECK(lab.gus->everybody().size() == 1);
        CHECK(lab.gus->link_count() == 1);
        CHECK(lab.gus->settled());
        for (const int from : {0, 1}) {
            for (const char* frame : {"PEERS", "MEMBERS", "MEMBERS_SEEN", "INQUIRY", "FINDING"}) {
                CAPTURE(frame);
                CHECK(lab.wire().count(from, frame) == 0);
            }
        }
        CHECK(lab.ann->counters().protocol_errors == 0);
        CHECK(lab.gus->counters().protocol_errors == 0);
        // What is said about a node that a guest has listed would be answered by a list.
        CHECK(lab.ann->counters().lists_sent <= 2);
    }
}

TEST_CASE("guests: over a link that takes guests only, no peer comes, and the others are as before") {
    Lab lab;
    Node& ann = lab.start(3);
    Puppet& peer = lab.puppet(ann, 5);
    ann->takes_guests_only(peer.link);
    peer.say_hello();
    CHECK(peer.last<Refuse>().reason == Refusal::secret);
    CHECK(peer.finished());
    CHECK(ann->peer_count() == 0);
    for (const std::uint8_t side : sides) {
        Puppet& guest = guest_of(lab, ann, side);
        ann->takes_guests_only(guest.link);
        attach(guest);
    }
    CHECK(ann->guest_count() == 2);
    Puppet& other = lab.puppet(ann, 6);
    other.join();
    other.say(Ack{});
    CHECK(ann->peer_count() == 1);
}

TEST_CASE("guests: who speaks TLS to a node without a secret is answered in words that it can read") {
    Lab lab;
    Node& ann = lab.start(3);
    Puppet& stranger = lab.puppet(ann, 5);
    ann->violated(stranger.link, Rule::encrypted, lab.now);
    lab.advance(1ms);
    CHECK(stranger.count<Hello>() == 1);
    CHECK(stranger.last<Refuse>().reason == Refusal::secret);
    CHECK(stranger.finished());
}

TEST_CASE("guests: they and their node speak on the client channel, and so do nodes with each other") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        const std::string g = std::to_string(side);
        CHECK(lab.gus.tell_client(lab.ann.id, "ask").error == errc{});
        CHECK(lab.ann.client_messages == Texts{"ask"});
        CHECK(lab.ann.tell_client(lab.gus.id, "reply").error == errc{});
        CHECK(lab.gus.client_messages == Texts{"reply"});
        const std::string longest(lab.options.max_message, 'l');
        CHECK(lab.gus.tell_client(lab.ann.id, longest).error == errc{});
        CHECK(lab.ann.client_messages.back() == longest);
        CHECK(lab.gus.tell_client(lab.ann.id, longest + "l").error == errc::message_too_large);
        CHECK(lab.ann.tell_client(lab.bob.id, "from inside").error == errc{});
        CHECK(lab.bob.client_messages == Texts{"from inside"});
        CHECK(lab.bob.tell_client(lab.gus.id, "not mine").error == errc::not_in_view);
        CHECK(lab.gus.tell_client(lab.bob.id, "unknown").error == errc::not_in_view);
        // No number of messages contains them.
        CHECK(lab.ann->counters().messages_received == 0);
        CHECK(lab.ann->counters().messages_sent == 0);
    }
}

TEST_CASE("guests: nothing but the client channel leads to them or to their node") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        CHECK(lab.ann.send(lab.gus.id, "message").error == errc::not_in_view);
        CHECK(lab.ann.ask(lab.gus.id, 7, "question").error == errc::not_in_view);
        CHECK(lab.ann.tell_replica(lab.gus.id, "vote").error == errc::not_in_view);
        CHECK(lab.gus.send(lab.ann.id, "message").error == errc::unsupported);
        CHECK(lab.gus.ask(lab.ann.id, 7, "question").error == errc::unsupported);
        CHECK(lab.gus.reply(lab.ann.id, 7, "reply").error == errc::unsupported);
        CHECK(lab.gus.tell_replica(lab.ann.id, "vote").error == errc::unsupported);
        CHECK(lab.ann.broadcast("to all").count == 1);
        CHECK(lab.gus.broadcast("to all").count == 0);
        lab.ann.enroll(MemberId{1}, "member");
        lab.gus.enroll(MemberId{2}, "member");
        lab.advance(5s);
        CHECK(lab.gus.inbox.empty());
        CHECK(lab.gus.members.empty());
        CHECK(lab.ann.members.empty());
        CHECK(lab.ann->members_seen(lab.ann->members_version()));
        CHECK(lab.ann->counters().protocol_errors == 0);
    }
}

TEST_CASE("guests: a link that breaks costs nothing, in either direction, and nobody is told") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        const Texts before = lab.ann.news;
        for (int round = 0; round < 3; ++round) {
            Wire& wire = lab.wire();
            wire.held[0] = wire.held[1] = true;
            CHECK(lab.gus.tell_client(lab.ann.id, "ask " + std::to_string(round)).error == errc{});
            CHECK(lab.ann.tell_client(lab.gus.id, "say " + std::to_string(round)).error == errc{});
            lab.cut(wire);
            CHECK(lab.ann.tell_client(lab.gus.id, "while cut").error == errc{});
            REQUIRE(lab.wait([&] { return !lab.wires(&lab.gus, &lab.ann).empty(); }));
            lab.settle();
        }
        CHECK(lab.ann.client_messages == Texts{"ask 0", "ask 1", "ask 2"});
        CHECK(lab.gus.client_messages == Texts{"say 0", "while cut", "say 1", "while cut", "say 2", "while cut"});
        CHECK(lab.ann.news == before);
        CHECK(lab.gus.news == Texts{"added 3"});
        CHECK(lab.ann.said("level=warning") == 0);
    }
}

TEST_CASE("guests: a message that came in part is finished over the next link") {
    Lab lab;
    Node& ann = lab.start(3);
    Puppet& gus = guest_of(lab, ann, 9);
    attach(gus);
    gus.say_data(on_channel(client_channel, std::string(1000, 'x'), true));
    gus.hang_up();
    Puppet& again = guest_of(lab, ann, 9);
    again.resume(gus.token, {{client_channel, 0, 1 << 20}});
    REQUIRE_FALSE(again.closed());
    CHECK(again.last<Attach>().offsets ==
          std::vector<Offset>{{client_channel, 1000 + FrameHeader::size, 1000 + FrameHeader::size + client_window}});
    again.say_data(on_channel(client_channel, "end"));
    CHECK(ann.client_messages == Texts{std::string(1000, 'x') + "end"});
}

TEST_CASE("guests: one that leaves is gone at once, is answered, and does not come back under its id") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        lab.gus.tell_client(lab.ann.id, "last words");
        lab.gus->leave(lab.now);
        lab.settle();
        REQUIRE(lab.gus.left.has_value());
        CHECK(lab.ann.client_messages == Texts{"last words"});
        CHECK(lab.ann.news.back() == "gone " + std::to_string(side));
        CHECK(lab.ann->guest_count() == 0);
        CHECK(lab.ann->link_count() == 1);
        CHECK(lab.ann.tell_client(lab.gus.id, "late").error == errc::not_in_view);
        Puppet& late = guest_of(lab, lab.ann, side);
        late.say_hello();
        CHECK(late.last<Refuse>().reason == Refusal::over);
        lab.advance(lab.options.resume_for + 1s);
        Puppet& later = guest_of(lab, lab.ann, side);
        attach(later);
        CHECK(lab.ann->guest_count() == 1);
    }
}

TEST_CASE("guests: who leaves the cluster says goodbye to its guests, which are refused from then on") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        lab.ann->leave(lab.now);
        lab.settle();
        CHECK(lab.gus.news == Texts{"added 3", "left 3"});
        CHECK(lab.ann.left.has_value());
        CHECK(lab.ann.left->peers == 0);
        CHECK(lab.ann->link_count() == 0);
    }
    Lab lab;
    lab.options.linger = 20s;
    Node& ann = lab.start(3);
    Node& bob = lab.start(4);
    lab.join(ann, bob);
    lab.wires(&ann, &bob).at(0)->held[1] = true;  // so that the node is still leaving
    ann->leave(lab.now);
    Puppet& late = guest_of(lab, ann, 9);
    late.say_hello();
    CHECK(late.last<Refuse>().reason == Refusal::leaving);
}

TEST_CASE("guests: one whose process ends is kept for as long as its session could be resumed, and then gone") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        lab.kill(lab.gus);
        lab.advance(lab.options.resume_for - 1s);
        CHECK(lab.ann->guest_count() == 1);
        CHECK(lab.ann.tell_client(lab.gus.id, "come back").error == errc{});
        lab.advance(2s);
        CHECK(lab.ann->guest_count() == 0);
        CHECK(lab.ann.news.back() == "gone " + std::to_string(side));
        CHECK(lab.ann->pinned() == 0);
        // Nobody was asked about it, and nobody dialled it.
        CHECK(lab.ann->counters().suspicions == 0);
        CHECK(lab.dials_of(lab.gus.address) == 0);
    }
}

TEST_CASE("guests: the silence of one is probed, ends its link and, later, its session") {
    Lab lab;
    Node& ann = lab.start(3);
    Puppet& gus = guest_of(lab, ann, 9);
    attach(gus);
    CHECK(gus.count<Ping>() == 0);
    lab.advance(lab.options.suspicion + 100ms);
    REQUIRE(gus.count<Ping>() == 1);
    CHECK(gus.last<Ping>().digest == 0);
    gus.say(Pong{gus.last<Ping>().sequence});
    lab.advance(lab.options.suspicion + 100ms);
    CHECK(gus.count<Ping>() == 2);
    CHECK_FALSE(gus.closed());
    lab.advance(lab.options.suspicion + 100ms);
    CHECK(gus.closed());
    CHECK(ann->guest_count() == 1);
    CHECK(ann.said("link_closed") == 1);
    CHECK(ann.said("why=silence") == 1);
    lab.advance(lab.options.resume_for + 1s);
    CHECK(ann->guest_count() == 0);
}

TEST_CASE("guests: one that comes back after its session was given up begins anew at once") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        lab.silent.insert(lab.ann.address.to_string());
        lab.cut(lab.wire());
        lab.advance(lab.options.resume_for + 1s);
        CHECK(lab.ann->guest_count() == 0);
        CHECK(lab.gus.tell_client(lab.ann.id, "lost").error == errc::not_in_view);
        lab.silent.clear();
        REQUIRE(lab.wait([&] { return lab.ann->guest_count() == 1; }, 20s));
        lab.settle();
        CHECK(lab.gus.tell_client(lab.ann.id, "anew").error == errc{});
        CHECK(lab.ann.client_messages == Texts{"anew"});
    }
}

TEST_CASE("guests: a node that is killed is known to be gone at once by its guest, and sought on") {
    for (const std::uint8_t side : sides) {
        Hosting lab(side);
        lab.kill(lab.ann);
        REQUIRE(lab.wait([&] { return !lab.gus.sees(lab.ann.id); }, 1s));
        CHECK(lab.gus.news == Texts{"added 3", "failed 3"});
        // A process that starts anew at its place is another peer.
        Node& anew = lab.start(5);
        anew.address = lab.ann.address;
        REQUIRE(lab.wait([&] { return lab.gus.sees(anew.id); }, 20s));
        CHECK(anew.news == Texts{"guest " + std::to_string(side)});
    }
}

TEST_CASE("guests: a guest takes no link, and two guests do not link") {
    Lab lab;
    Node& gus = lab.start_guest(2);
    CHECK(gus->accepted({"10.0.0.7", 50000}, lab.now) == 0);
    lab.play({"10.0.0.9", 7000}, 9);
    const std::uint64_t number = gus.add({"10.0.0.9", 7000});
    Puppet& other = lab.last_puppet();
    CHECK(other.last<Hello>().features == (feature_clients | feature_guest));
    CHECK(other.last<Hello>().self.addresses.empty());
    other.be_guest();
    other.say_hello();
    CHECK(other.last<Refuse>().reason == Refusal::unsupported);
    CHECK(other.last<Refuse>().text == "a guest does not link with a guest");
    CHECK(gus.answers.at(number).error == errc::unsupported);
}

TEST_CASE("guests: a guest refuses a node that does not take guests, and says why") {
    Lab lab;
    Node& gus = lab.start_guest(2);
    lab.play({"10.0.0.9", 7000}, 9);
    const std::uint64_t number = gus.add({"10.0.0.9", 7000});
    Puppet& old = lab.last_puppet();
    old.hello.features = feature_members | feature_calls | feature_errors | feature_replicas;
    old.say_hello();
    CHECK(old.last<Refuse>().reason == Refusal::unsupported);
    CHECK(old.last<Refuse>().text.find("does not take guests") != std::string::npos);
    CHECK(gus.answers.at(number).error == errc::unsupported);
    CHECK_FALSE(gus.sees(old.id));
}

TEST_CASE("guests: a node that dials is not answered by a guest") {
    Lab lab;
    Node& ann = lab.start(3);
    lab.play({"10.0.0.9", 7000}, 9);
    const std::uint64_t number = ann.add({"10.0.0.9", 7000});
    Puppet& odd = lab.last_puppet();
    odd.be_guest();
    odd.say_hello();
    CHECK(odd.last<Refuse>().reason == Refusal::unsupported);
    CHECK(ann.answers.at(number).error == errc::unsupported);
    CHECK(ann->guest_count() == 0);
}

TEST_CASE("guests: those beyond max_guests are refused as full, with words, and no peer is in their way") {
    Lab lab;
    lab.options.max_peers = 2;
    Node& ann = lab.start(30);
    for (std::uint8_t first = 1; first <= 2; ++first) lab.puppet(ann, first).lead({first});
    CHECK(ann->peer_count() == 2);
    for (std::uint8_t first = 10; first <= 13; ++first) attach(guest_of(lab, ann, first));
    CHECK(ann->guest_count() == 4);
    Puppet& fifth = guest_of(lab, ann, 14);
    fifth.say_hello();
    CHECK(fifth.last<Refuse>().reason == Refusal::full);
    CHECK(fifth.last<Refuse>().text.find("max_guests") != std::string::npos);
    CHECK(ann->guest_count() == 4);
    // Nor are guests in the way of peers.
    Puppet& third = lab.puppet(ann, 3);
    third.say_hello();
    CHECK(third.last<Refuse>().reason == Refusal::full);
    CHECK(third.last<Refuse>().text.empty());
}

TEST_CASE("guests: with max_guests 0 there are none") {
    Lab lab;
    lab.options.max_guests = 0;
    Node& ann = lab.start(3);
    Puppet& gus = guest_of(lab, ann, 9);
    gus.say_hello();
    CHECK(gus.last<Refuse>().reason == Refusal::full);
    CHECK(gus.last<Refuse>().text == "this node takes no guests (max_guests)");
}

TEST_CASE("guests: where there is no room, the one that has been away for longest goes, and begins anew") {
    for (const std::uint8_t base : {std::uint8_t{10}, std::uint8_t{40}}) {
        CAPTURE(base);
        Lab lab;
        Node& ann = lab.start(30);
        std::vector<Puppet*> all;
        for (std::uint8_t i = 0; i < 4; ++i) {
            all.push_back(&guest_of(lab, ann, static_cast<std::uint8_t>(base + i)));
            attach(*all.back());
        }
        all[2]->hang_up();
        lab.advance(1s);
        all[1]->hang_up();
        Puppet& next = guest_of(lab, ann, static_cast<std::uint8_t>(base + 4));
        attach(next);
        CHECK(ann->guest_count() == 4);
        CHECK(ann.news.at(4) == "gone " + std::to_string(base + 2));
        CHECK(ann.news.at(5) == "guest " + std::to_string(base + 4));
        // The one that is away for a shorter time still has its session.
        Puppet& second = guest_of(lab, ann, static_cast<std::uint8_t>(base + 1));
        second.say_hello();
        CHECK(second.count<Refuse>() == 0);
        second.hang_up();
        all[3]->say(Goodbye{Farewell::leaving, {}});
        all[3]->hang_up();
        // The one that went proves its session, and reads that it is forgotten.
        Puppet& back = guest_of(lab, ann, static_cast<std::uint8_t>(base + 2));
        back.say_hello();
        if (base > 30) {
            back.say(Offer{back.proof(all[2]->token, ProofUse::offer), 1, false, true});
            CHECK(back.last<Refuse>().reason == Refusal::unknown_session);
            CHECK(back.last<Refuse>().proof ==
                  prove(all[2]->token, back.last<Hello>().nonce, back.hello.nonce, ProofUse::forgotten));
        } else {
            CHECK(back.last<Offer>().epoch == 0);
            CHECK(back.last<Offer>().proof ==
                  prove(all[2]->token, back.last<Hello>().nonce, back.hello.nonce, ProofUse::offer));
        }
    }
}

TEST_CASE("guests: what is not for them breaks a rule, and costs them the link alone") {
    const PeerId other = id_of(200);
    std::vector<Control> offences;
    offences.emplace_back(PeerList{{Facts{other, 1, "nobody", "", {{"10.0.0.200", 7000}}, {}}}});
    offences.emplace_back(Inquiry{other, true});
    offences.emplace_back(Finding{other, true});
    offences.emplace_back(MemberList{true, true, 0, 2, {}});
    offences.emplace_back(MembersSeen{1});
    offences.emplace_back(Gap{user_channel, 100, 1});
    for (const std::uint8_t side : sides) {
        for (const Control& offence : offences) {
            CAPTURE(name_of(offence));
            Lab lab;
            Node& ann = lab.start(3);
            Puppet& gus = guest_of(lab, ann, side);
            gus.hello.features |= feature_members | feature_calls | feature_replicas;  // which it may not
            attach(gus);
            REQUIRE(ann->guest_count() == 1);
            CHECK(gus.count<MemberList>() == 0);
            gus.say(offence);
            CHECK(gus.closed());
            CHECK(ann.said("protocol_error") == 1);
            CHECK(ann.said(std::holds_alternative<Gap>(offence) ? "rule=unknown_channel" : "rule=unexpected_frame") ==
                  1);
            CHECK(ann->counters().protocol_errors == 1);
            CHECK(ann->everybody().empty());
            CHECK(ann->guest_count() == 1);
        }
        for (const std::uint16_t channel : {user_channel, reply_channel, replica_channel, std::uint16_t{5}}) {
            Lab lab;
            Node& ann = lab.start(3);
            Puppet& gus = guest_of(lab, ann, side);
            attach(gus);
            gus.say_data(on_channel(channel, "0123456789"));
            CHECK(gus.closed());
            CHECK(ann.said("rule=unknown_channel") == 1);
            CHECK(ann.inbox.empty());
            CHECK(ann.replica_messages.empty());
        }
    }
}

TEST_CASE("guests: a node that tells its guest of others breaks a rule") {
    Lab lab;
    Node& gus = lab.start_guest(2);
    lab.play({"10.0.0.9", 7000}, 9);
    gus.add({"10.0.0.9", 7000});
    Puppet& host = lab.last_puppet();
    host.hello.features = feature_members | feature_calls | feature_errors | feature_replicas | feature_clients;
    host.join();
    REQUIRE(gus.sees(host.id));
    host.say(PeerList{{Facts{id_of(200), 1, "nobody", "", {{"10.0.0.200", 7000}}, {}}}});
    CHECK(host.closed());
    CHECK(gus.said("rule=unexpected_frame") == 1);
    CHECK(lab.dials_of({"10.0.0.200", 7000}) == 0);
}

TEST_CASE("guests: an id is that of a guest or of a node, whichever has a session") {
    for (const std::uint8_t side : sides) {
        CAPTURE(side);
        Lab lab;
        Node& ann = lab.start(3);
        Puppet& peer = lab.puppet(ann, side);
        attach(peer);
        REQUIRE(ann.sees(peer.id));
        Puppet& forged = guest_of(lab, ann, side);
        forged.say_hello();
        if (side < 3) {
            forged.say(Attach{{7}, true, 1, {}, 0});
        } else {
            forged.say(Offer{});
        }
        CHECK(forged.last<Refuse>().reason == Refusal::id_in_use);
        CHECK(ann->guest_count() == 0);
        CHECK(ann.sees(peer.id));

        Puppet& gus = guest_of(lab, ann, side == 1 ? 2 : 10);
        attach(gus);
        REQUIRE(ann->guest_count() == 1);
        Puppet& node = lab.puppet(ann, side == 1 ? 2 : 10);
        node.say_hello();
        if (side < 3) {
            node.say(Attach{{7}, true, 1, {}, 0});
        } else {
            node.say(Offer{});
        }
        CHECK(node.last<Refuse>().reason == Refusal::id_in_use);
        CHECK_FALSE(ann.sees(node.id));
        CHECK(ann->guest_count() == 1);
    }
}

TEST_CASE("guests: an outbox that is full is full for that guest alone, until it reads again") {
    Hosting lab(9);
    Wire& wire = lab.wire();
    wire.held[0] = wire.held[1] = true;
    const std::string text(60000, 'c');
    std::size_t count = 0;
    while (lab.ann.tell_client(lab.gus.id, text).error == errc{}) ++count;
    CHECK(count == client_window / (text.size() + FrameHeader::size));
    CHECK(lab.ann.tell_client(lab.gus.id, text).full == std::vector<PeerId>{lab.gus.id});
    // Nobody else has less room for that.
    CHECK(lab.ann.tell_client(lab.bob.id, text).error == errc{});
    CHECK(lab.ann.send(lab.bob.id, text).error == errc{});
    CHECK(lab.ann.room_freed == 0);
    wire.held[0] = wire.held[1] = false;
    lab.settle();
    CHECK(lab.wait([&] { return lab.gus.client_messages.size() == count; }));
    lab.advance(1s);
    CHECK(lab.ann.tell_client(lab.gus.id, text).error == errc{});
    CHECK(lab.ann.room_freed == 0);
    CHECK(lab.ann.surrendered.empty());
}

TEST_CASE("guests: all that read nothing hold total_outbox_bytes together, and take none of it from peers") {
    Lab lab;
    lab.options.max_guests = 20;
    Node& ann = lab.start(100);
    Node& bob = lab.start(101);
    lab.join(ann, bob);
    const std::string text(60000, 'c');
    std::size_t held = 0;
    for (std::uint8_t first = 1; first <= 20; ++first) {
        Puppet& gus = guest_of(lab, ann, first);
        attach(gus);
        while (ann.tell_client(gus.id, text).error == errc{}) held += text.size();
    }
    CHECK(held <= lab.options.total_outbox_bytes + Arena::segment_size);
    CHECK(held >= lab.options.total_outbox_bytes * 3 / 4);
    CHECK(ann.send(bob.id, text).error == errc{});
    CHECK(bob.inbox == Texts{text});
}

TEST_CASE("guests: of messages that they do not finish a bounded part is kept, and who has begun most of them goes") {
    Lab lab;
    lab.options.max_message = 1 << 20;
    lab.options.inbox_bytes = 4 << 20;
    Node& ann = lab.start(100);
    const std::string part(60000, 'p');
    std::vector<Puppet*> all;
    for (std::uint8_t first = 1; first <= 4; ++first) {
        all.push_back(&guest_of(lab, ann, first));
        attach(*all.back());
    }
    std::size_t sent = 0;
    for (std::uint8_t i = 0; i < 4; ++i) {
        for (int k = 0; k <= i; ++k) all[i]->say_data(on_channel(client_channel, part, true));
    }
    CHECK(ann->guest_count() == 4);
    while (ann->guest_count() == 4 && sent++ < 40) all[3]->say_data(on_channel(client_channel, part, true));
    CHECK(ann.news.back() == "gone 4");
    CHECK(all[3]->closed());
    // 1 + 2 + 3 + 4 parts were there.
    CHECK(10 + sent == lab.options.inbox_bytes / 4 / (part.size() + FrameHeader::size) + 1);
    // The others finish theirs.
    all[0]->say_data(on_channel(client_channel, "end"));
    CHECK(ann.client_messages == Texts{part + "end"});
}

TEST_CASE("guests: that many come and go does not make a node forget who has left the cluster") {
    Lab lab;
    Node& ann = lab.start(3);
    Node& bob = lab.start(4);
    lab.join(ann, bob);
    bob->leave(lab.now);
    lab.settle();
    for (std::uint32_t i = 0; i < Roster::max_departed_guests + 10; ++i) {
        Puppet& gus = guest_of(lab, ann, 9);
        PeerId id = id_of(9);
        for (std::size_t at = 0; at < 4; ++at) id.bytes[4 + at] = static_cast<std::uint8_t>(i >> (8 * at));
        gus.id = gus.hello.self.id = id;
        attach(gus);
        gus.say(Goodbye{Farewell::leaving, {}});
        gus.hang_up();
    }
    CHECK(ann->guest_count() == 0);
    CHECK(ann->link_count() == 0);
    Puppet& late = lab.puppet(ann, 4);
    late.say_hello();
    CHECK(late.last<Refuse>().reason == Refusal::over);
}

TEST_CASE("guests: one says nothing about a peer that others ask about, and is asked nothing") {
    Hosting lab(9);
    Puppet& curious = lab.puppet(lab.ann, 8);
    curious.join();
    curious.say(Inquiry{lab.gus.id, true});
    CHECK_FALSE(curious.last<Finding>().heard);
    lab.silent.insert(lab.bob.address.to_string());
    lab.wires(&lab.ann, &lab.bob).at(0)->held[0] = lab.wires(&lab.ann, &lab.bob).at(0)->held[1] = true;
    lab.advance(10s);
    CHECK(lab.wire().count(1, "INQUIRY") == 0);
    CHECK(lab.ann->counters().suspicions >= 1);
}

TEST_CASE("guests: that one has left does not end the search for those of a former run") {
    Lab lab;
    const Address former{"10.0.0.2", 7000};
    lab.options.remembered = {former};
    Node& ann = lab.start(3);
    Puppet& gus = guest_of(lab, ann, 9);
    attach(gus);
    gus.say(Goodbye{Farewell::leaving, {}});
    gus.hang_up();
    lab.advance(lab.options.resume_for + 1s);
    const std::size_t before = lab.dials_of(former);
    lab.advance(60s);
    CHECK(lab.dials_of(former) > before);
    lab.advance(lab.options.forget_after);
    const std::size_t after = lab.dials_of(former);
    lab.advance(60s);
    CHECK(lab.dials_of(former) == after);
}
