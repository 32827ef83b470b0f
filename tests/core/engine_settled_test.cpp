#include "lab.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

/// Asks until it is so.
bool settles(Lab& lab, Node& node, Duration most = 60s) {
    if (node->settled()) return true;
    return lab.wait([&] { return node.settled == 1; }, most) && node->settled();
}

Node& start(Lab& lab, std::uint8_t first, std::vector<Address> seeds) {
    lab.options.seeds = std::move(seeds);
    Node& node = lab.start(first);
    lab.advance(1ms);
    return node;
}

const Address nobody{"10.0.0.99", 7000};

}  // namespace

TEST_CASE("without seeds and peers it is settled from the start") {
    Lab lab;
    CHECK(start(lab, 1, {})->settled());
}

TEST_CASE("it is settled when its last seed has been tried, and says so once") {
    Lab lab;
    lab.hold_dials = true;
    Node& ann = start(lab, 1, {nobody, {"10.0.0.98", 7000}});
    CHECK_FALSE(ann->settled());
    REQUIRE(lab.dials.size() == 2);
    const auto dials = lab.take_dials();
    lab.refuse(dials[0]);
    lab.settle();
    CHECK(ann.settled == 0);
    CHECK_FALSE(ann->settled());
    lab.refuse(dials[1]);
    lab.settle();
    CHECK(ann.settled == 1);
    CHECK(ann->settled());
    lab.advance(10s);
    CHECK(ann.settled == 1);
}

TEST_CASE("a seed that never answers, one without an address and the node itself have been tried, too") {
    Lab lab;
    lab.silent.insert(nobody.to_string());
    CHECK(settles(lab, start(lab, 1, {nobody}), 3s));
    CHECK(settles(lab, start(lab, 2, {{"10.0.0.2", 7000}})));
    lab.hold_resolving = true;
    Node& ann = start(lab, 3, {{"somewhere", 7000}});
    REQUIRE(lab.resolving.size() == 1);
    lab.advance(1s);
    CHECK_FALSE(ann->settled());
    ann->resolved(lab.resolving[0].first, {}, errc::unresolvable_host, lab.now);
    CHECK(settles(lab, ann));
}

TEST_CASE("seeds that lead to one who is linked have been tried, too") {
    Lab lab;
    Node& bob = lab.start(2);
    Node& ann = start(lab, 1, {bob.address, bob.address, nobody});
    CHECK(settles(lab, ann, lab.options.heartbeat / 4));
    CHECK(ann->peer_count() == 1);
}

TEST_CASE("the fifth is settled when it has all four in view, of whom it was given one and a dead one") {
    for (const std::uint8_t fifth : {std::uint8_t{1}, std::uint8_t{6}}) {
        CAPTURE(fifth);
        Lab lab;
        std::vector<Node*> four;
        for (std::uint8_t first = 2; first <= 5; ++first) four.push_back(&lab.start(first));
        for (std::size_t i = 1; i < four.size(); ++i) lab.join(*four[i], *four[0]);
        REQUIRE(lab.wait([&] { return four[3]->engine->peer_count() == 3; }));
        lab.hold_dials = true;
        Node& last = start(lab, fifth, {nobody, four[2]->address});
        std::size_t at_last = 0;
        for (int i = 0; i < 1000 && !last->settled(); ++i) {
            for (const Lab::Pending& dial : lab.take_dials()) {
                if (dial.address == nobody) {
                    lab.refuse(dial);
                } else {
                    lab.complete(dial);
                }
            }
            lab.advance(1ms);
            at_last = last->peer_count();
        }
        CHECK(last->settled());
        CHECK(at_last == 4);
    }
}

TEST_CASE("whom others name and nobody reaches has been tried, and the lists of those who tell none are not awaited") {
    Lab lab;
    Node& ann = start(lab, 1, {});
    Puppet& peer = lab.puppet(ann, 2);
    peer.join();
    CHECK_FALSE(ann->settled());
    SUBCASE("no list") {
        lab.advance(lab.options.heartbeat);
        CHECK(ann.settled == 0);
        CHECK(lab.wait([&] { return ann.settled == 1; }, 3 * lab.options.heartbeat));
    }
    SUBCASE("a list of one who is not there") {
        lab.hold_dials = true;
        Facts facts;
        facts.id = id_of(7);
        facts.version = 1;
        facts.addresses = {nobody};
        peer.say(PeerList{{facts}});
        CHECK_FALSE(ann->settled());
        REQUIRE(lab.wait([&] { return !lab.dials.empty(); }));
        CHECK(ann.settled == 0);
        lab.refuse(lab.take_dials()[0]);
        lab.settle();
        CHECK(ann.settled == 1);
    }
}
