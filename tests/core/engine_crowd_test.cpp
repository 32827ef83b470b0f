#include "lab.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
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
