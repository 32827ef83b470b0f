#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

// More links, or more peers, than there is room for: who is let in, and whom others keep out.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

TEST_CASE("links that greet and never attach keep nobody out, neither newcomers nor those who return") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& early = lab.puppet(node, 2);
    early.join();
    early.hang_up();
    REQUIRE(lab.wait([&] { return !node.sees(early.id); }));
    std::vector<Puppet*> strangers;
    for (std::size_t i = 0; i < 270; ++i) {
        Puppet& stranger = lab.puppet(node, 200);
        stranger.id.bytes[1] = stranger.hello.self.id.bytes[1] = static_cast<std::uint8_t>(i);
        stranger.id.bytes[2] = stranger.hello.self.id.bytes[2] = static_cast<std::uint8_t>(i >> 8);
        stranger.say_hello();
        strangers.push_back(&stranger);
    }
    const std::size_t most = (lab.options.max_peers + 64) / 2;
    CHECK(node->link_count() <= most + 8);  // and dials
    CHECK(strangers.front()->closed());
    CHECK_FALSE(strangers.back()->finished());
    Puppet& fresh = lab.puppet(node, 3);
    fresh.join();
    CHECK(node.sees(fresh.id));
    Puppet& back = lab.puppet(node, 2);
    back.resume(early.token, {});
    CHECK(node.sees(back.id));
    CHECK(back.count<Refuse>() + fresh.count<Refuse>() == 0);
}

TEST_CASE("links of many hosts that never attach leave room for one more") {
    Lab lab;
    Node& node = lab.start(1);
    for (std::uint8_t i = 2; i < 200; ++i) {
        lab.puppet(node, i);
        if (i % 3 == 0) lab.puppet(node, 250);
    }
    CHECK(node->link_count() == lab.options.max_peers + 64);
    Puppet& fresh = lab.puppet(node, 251);
    fresh.join();
    CHECK(node.sees(fresh.id));
}

TEST_CASE("no newcomer comes into view beyond max_peers, but who has a session does") {
    Lab lab;
    lab.options.max_peers = 2;
    Node& node = lab.start(1);
    Puppet& early = lab.puppet(node, 2);
    early.join();
    early.hang_up();
    REQUIRE(lab.wait([&] { return !node.sees(early.id); }));
    lab.puppet(node, 3).join();
    lab.puppet(node, 4).join();
    REQUIRE(node->peer_count() == 2);
    Puppet& fresh = lab.puppet(node, 5);
    fresh.say_hello();
    CHECK(fresh.last<Refuse>().reason == Refusal::full);
    Puppet& back = lab.puppet(node, 2);
    back.resume(early.token, {});
    CHECK(node->peer_count() == 3);
    back.say_data("served, too");
    CHECK(node.inbox == std::vector<std::string>{"served, too"});
}

TEST_CASE("of those who greet at the same time no more than max_peers are attached") {
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{100}}) {
        CAPTURE(us);
        Lab lab;
        lab.options.max_peers = 2;
        Node& node = lab.start(us);
        std::vector<Puppet*> all;
        for (const std::uint8_t id : {std::uint8_t{11}, std::uint8_t{12}, std::uint8_t{13}, std::uint8_t{14}}) {
            all.push_back(&lab.puppet(node, id));
            all.back()->say_hello();
        }
        for (Puppet* each : all) {
            if (us < each->id.bytes[0]) {
                each->say(Offer{});
            } else {
                each->say(Attach{{each->id.bytes[0]}, true, 1, {}, 0});
            }
        }
        CHECK(all[1]->count<Refuse>() == 0);
        for (std::size_t i = 2; i < 4; ++i) CHECK(all[i]->last<Refuse>().reason == Refusal::full);
    }
}

TEST_CASE("of links that greet from many hosts the oldest goes first, whatever its host is called") {
    Lab lab;
    lab.options.max_peers = 4;
    Node& node = lab.start(1);
    const auto connect = [&](const std::string& host) { return node->accepted({host, 50000}, lab.now); };
    std::vector<LinkId> links;
    const std::size_t most = lab.options.max_peers + 64;
    for (std::size_t i = 0; i < most; ++i) links.push_back(connect("2001:db8::" + std::to_string(i)));
    for (std::size_t round = 0; round < 20; ++round) {
        links.push_back(connect("10.0.0." + std::to_string(round)));
        std::vector<Action> actions;
        node->take_actions(actions);
        std::vector<LinkId> closed;
        for (const Action& action : actions) {
            if (const auto* close = std::get_if<Close>(&action)) closed.push_back(close->link);
        }
        CHECK(closed == std::vector<LinkId>{links[round]});
    }
}

TEST_CASE("of many from one host at once, those that got through to HELLO are not pushed out by those behind") {
    Lab lab;
    lab.options.max_peers = 4;
    Node& node = lab.start(1);
    const std::size_t room = (lab.options.max_peers + 64) / 2;
    std::uint16_t port = 0;
    const auto connect = [&] { return node->accepted({"10.9.9.9", ++port}, lab.now); };
    std::uint8_t id = 100;
    const auto greet = [&](LinkId link) {
        Hello hello;
        hello.cluster = lab.options.cluster;
        hello.max_message = hello.resume_for_ms = 1 << 16;
        hello.self.id = id_of(++id);
        hello.self.version = 1;
        return node->received(link, hello, lab.now);
    };
    const auto open = [&](LinkId link) { return node->received(link, Offer{}, lab.now); };
    std::vector<LinkId> greeted;
    for (std::size_t i = 0; i < room / 2; ++i) {
        greeted.push_back(connect());
        CHECK(greet(greeted.back()));
    }
    for (int i = 0; i < 500; ++i) connect();
    CHECK(node->link_count() == room);
    CHECK(open(greeted[0]));
    CHECK(open(greeted[1]));

    // But whoever says HELLO, and nothing more, does not keep others out.
    for (std::size_t i = 0; i < room; ++i) CHECK(greet(connect()));
    const LinkId late = connect();
    CHECK(greet(late));
    CHECK(open(late));
    CHECK_FALSE(open(greeted[2]));
}

TEST_CASE("newcomers that cannot be dialled back, however many come, do not make this node take itself for late") {
    Lab lab;
    lab.options.max_peers = 100;
    lab.options.inbox_bytes = std::size_t{64} << 20;
    Node& node = lab.start(1);
    for (std::uint8_t id = 10; id < 70; ++id) {
        lab.silent.insert("10.0.0." + std::to_string(id) + ":7000");
        lab.puppet(node, id).join();
        lab.advance(lab.options.heartbeat / 10);
    }
    CHECK(node->slowness() == 0);
    CHECK(node.said("late ") == 0);
}

TEST_CASE("a peer that forgets its session while another of its links waits takes no credit along") {
    Lab lab;
    lab.options.max_peers = 4;
    Node& node = lab.start(1);
    lab.silent.insert("10.0.0.2:7000");
    Puppet* last = &lab.puppet(node, 2);
    last->join();
    Token token = last->token;
    for (int i = 0; i < 70; ++i) {
        for (int k = 0; k < 2; ++k) {  // one attaches, the next waits for it
            Puppet& resuming = lab.puppet(node, 2);
            resuming.say_hello();
            resuming.say(Offer{resuming.proof(token, ProofUse::offer), 1, false, true});
        }
        Puppet& anew = lab.puppet(node, 2);
        anew.say_hello();
        anew.say(Offer{anew.proof(token, ProofUse::offer), 0, false, false});
        REQUIRE(anew.count<Attach>() == 1);
        const Attach attach = anew.last<Attach>();
        token = anew.token = attach.token;
        anew.say(Attached{attach.epoch, {{user_channel, 0, 0}, {reply_channel, 0, 0}}, 0});
        last = &anew;
    }
    Puppet& honest = lab.puppet(node, 7);
    honest.join();
    const std::vector<Offset> offsets = honest.last<Attach>().offsets;
    const auto user = std::find_if(offsets.begin(), offsets.end(),
                                   [](const Offset& each) { return each.channel == user_channel; });
    REQUIRE(user != offsets.end());
    CHECK(user->limit == CreditPool::base_window);
    last->say(Goodbye{Farewell::leaving, {}});
    last->hang_up();
    lab.advance(3s);
    honest.hang_up();
    lab.advance(30s);
    CHECK_FALSE(node.sees(last->id));
}
