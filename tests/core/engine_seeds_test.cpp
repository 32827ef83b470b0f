#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

// Ways into a cluster: names that stand for many, load balancers, and addresses that were added.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

const Address all{"all", 7000};
const Address balancer{"10.5.0.1", 7000};

Address place_of(std::uint8_t first) {
    return {"10.0.0." + std::to_string(first), 7000};
}

/// Nodes that all start at once, with the same single seed.
struct Start : Lab {
    std::vector<Node*> nodes;

    void start_all(std::uint8_t count, const Address& seed) {
        options.suspicion = 2s;
        options.seeds = {seed};
        for (std::uint8_t i = 1; i <= count; ++i) nodes.push_back(&start(i));
        REQUIRE(dialled.empty());  // they begin when time does
    }
    bool one_mesh() {
        return std::all_of(nodes.begin(), nodes.end(),
                           [&](Node* node) { return (*node)->peer_count() + 1 == nodes.size(); });
    }
    std::size_t failures() {
        std::size_t sum = 0;
        for (Node* node : nodes) sum += node->said("peer_failed") + node->said("peer_unreachable");
        return sum;
    }
};

}  // namespace

TEST_CASE("one name that stands for all nodes, all started at once, makes one mesh, and then costs no dial") {
    Start lab;
    for (std::uint8_t i = 1; i <= 6; ++i) lab.names["all"].push_back(place_of(i));
    lab.start_all(6, all);
    CHECK(lab.wait([&] { return lab.one_mesh(); }, 5s));
    lab.advance(600s);
    const std::size_t before = lab.dialled.size();
    lab.advance(600s);
    CHECK(lab.dialled.size() == before);
    CHECK(lab.failures() == 0);
}

TEST_CASE("each address behind a name is tried, although the first one answers") {
    Start lab;
    lab.start_all(2, {"10.0.0.99", 7000});
    REQUIRE(lab.nodes[0]->engine->peer_count() == 0);  // they do not know each other
    lab.names["all"] = {place_of(1), place_of(2)};
    lab.options.seeds = {all};
    Node& late = lab.start(3);
    CHECK(lab.wait([&] { return late->peer_count() == 2 && lab.nodes[0]->sees(lab.nodes[1]->id); }, 5s));
}

TEST_CASE("a name is looked up for ever: islands that formed become one when it names them all") {
    Start lab;
    lab.names["all"] = {place_of(1), place_of(2)};
    lab.start_all(2, all);
    REQUIRE(lab.wait([&] { return lab.one_mesh(); }, 5s));
    lab.names["others"] = {place_of(3), place_of(4)};
    lab.options.seeds = {{"others", 7000}};
    for (const std::uint8_t i : {std::uint8_t{3}, std::uint8_t{4}}) lab.nodes.push_back(&lab.start(i));
    lab.advance(1h);
    REQUIRE(lab.nodes[2]->sees(lab.nodes[3]->id));
    REQUIRE_FALSE(lab.nodes[0]->sees(lab.nodes[2]->id));
    for (std::uint8_t i = 3; i <= 4; ++i) lab.names["all"].push_back(place_of(i));
    CHECK(lab.wait([&] { return lab.one_mesh(); }, DialPlan::seed_rest * lab.options.reconnect_max));
}

TEST_CASE("islands that a cut longer than forget_after has made become one when it heals, by their only seed") {
    Start lab;
    lab.options.forget_after = 60s;
    for (std::uint8_t i = 1; i <= 6; ++i) {
        lab.names["all"].push_back(place_of(i));
        lab.balancers[balancer.to_string()].push_back(place_of(i));
    }
    SUBCASE("a name that stands for all") { lab.start_all(6, all); }
    SUBCASE("a load balancer") { lab.start_all(6, balancer); }
    REQUIRE(lab.wait([&] { return lab.one_mesh(); }, 10s));
    const auto island = [&](const Node& node) {
        return std::find(lab.nodes.begin(), lab.nodes.end(), &node) - lab.nodes.begin() < 3;
    };
    lab.severed = [&](const Node& a, const Node& b) { return island(a) != island(b); };
    for (Wire* wire : lab.wires()) {
        if (lab.severed(*wire->end[0], *wire->end[1])) wire->held[0] = wire->held[1] = true;
    }
    lab.advance(600s);
    for (const Node* node : lab.nodes) REQUIRE((*node)->peer_count() == 2);
    lab.severed = nullptr;
    CHECK(lab.wait([&] { return lab.one_mesh(); }, 2 * DialPlan::seed_rest * lab.options.reconnect_max));
}

TEST_CASE("a load balancer as the only seed, all started at once, makes one mesh, at a bounded cost") {
    for (std::uint8_t count = 2; count <= 8; ++count) {
        CAPTURE(count);
        Start lab;
        lab.options.max_peers = 16;
        for (std::uint8_t i = 1; i <= count; ++i) lab.balancers[balancer.to_string()].push_back(place_of(i));
        lab.start_all(count, balancer);  // the first dial of each leads to itself
        CHECK(lab.wait([&] { return lab.one_mesh(); }, 10s));
        lab.advance(600s);
        const std::size_t before = lab.dials_of(balancer);
        lab.advance(600s);
        CHECK(lab.dials_of(balancer) - before <= count * std::size_t{600 / 50 * 4 / 3 + 1});
        CHECK(lab.dials_of(balancer) > before);
        CHECK(lab.failures() == 0);
    }
}

TEST_CASE("links of healthy peers behind a load balancer may break again and again, and nobody is failed") {
    Start lab;
    for (std::uint8_t i = 1; i <= 5; ++i) lab.balancers[balancer.to_string()].push_back(place_of(i));
    lab.start_all(5, balancer);
    REQUIRE(lab.wait([&] { return lab.one_mesh(); }, 10s));
    for (int i = 0; i < 30; ++i) {
        for (Wire* wire : lab.wires()) lab.cut(*wire);
        lab.advance(i % 2 == 0 ? 50ms : 2s);
    }
    CHECK(lab.wait([&] { return lab.one_mesh(); }, 10s));
    CHECK(lab.failures() == 0);
}

TEST_CASE("who joined by add finds the one that was added when that starts anew, and so do all others") {
    Lab lab;
    lab.options.suspicion = 2s;
    Node& first = lab.start(1);
    Node& bob = lab.start(2);
    Node& eve = lab.start(3);
    lab.join(bob, first);
    lab.join(eve, first);
    REQUIRE(lab.wait([&] { return bob.sees(eve.id); }));
    SUBCASE("it left") {
        first->leave(lab.now);
        REQUIRE(lab.wait([&] { return first.left.has_value(); }));
    }
    SUBCASE("it was killed") { lab.kill(first); }
    REQUIRE(lab.wait([&] { return !bob.sees(first.id) && !eve.sees(first.id); }));
    lab.advance(60s);
    lab.options.self.addresses = {first.address};
    Node& again = lab.start(9);
    again.address = first.address;
    CHECK(lab.wait([&] { return again.sees(bob.id) && again.sees(eve.id); }, lab.options.reconnect_max + 1s));
}

TEST_CASE("an added address is dialled no more after its peer was removed, or removed this node") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    SUBCASE("removed") { CHECK(ann->remove(bob.id, lab.now)); }
    SUBCASE("removed after it had left") {
        bob->leave(lab.now);
        lab.settle();
        REQUIRE(lab.wait([&] { return !ann.sees(bob.id); }));
        lab.advance(30s);
        CHECK(lab.dials_of(bob.address) > 3);
        CHECK(ann->remove(bob.id, lab.now));
        CHECK_FALSE(ann->remove(bob.id, lab.now));
    }
    SUBCASE("by the other one") { CHECK(bob->remove(ann.id, lab.now)); }
    lab.settle();
    lab.advance(5s);
    REQUIRE_FALSE(ann.sees(bob.id));
    const std::size_t before = lab.dialled.size();
    lab.advance(120s);
    CHECK(lab.dialled.size() == before);
}

TEST_CASE("an added address where nobody is any more is let go after forget_after") {
    Lab lab;
    lab.options.forget_after = 5min;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    bob->leave(lab.now);
    lab.settle();
    REQUIRE(lab.wait([&] { return !ann.sees(bob.id); }));
    lab.advance(4min);
    const std::size_t before = lab.dialled.size();
    CHECK(before > 20);
    lab.advance(2min);
    const std::size_t after = lab.dialled.size();
    CHECK(after > before);
    lab.advance(10min);
    CHECK(lab.dialled.size() == after);
}
