#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

std::vector<PeerId> ids_in(const PeerList& list) {
    std::vector<PeerId> ids;
    for (const Facts& each : list.peers) ids.push_back(each.id);
    std::sort(ids.begin(), ids.end());
    return ids;
}

}  // namespace

TEST_CASE("a first list leaves out whom the other end has just listed, unless more is known of them") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    Node& cid = lab.start(3);
    lab.join(bob, ann);
    lab.join(cid, ann);
    cid->set_tags({{"role", "worker"}}, lab.now);
    lab.advance(100ms);

    Puppet& eve = lab.puppet(ann, 9);
    eve.say_hello();
    eve.say(Offer{});
    PeerList told;
    for (const Node* each : {&bob, &cid}) told.peers.push_back({each->id, 1, "a node", "", {each->address}, {}});
    // Both come in one piece.
    ann->received(eve.link, Attached{eve.last<Attach>().epoch, {{user_channel, 0, 1 << 20}}, 0}, lab.now);
    ann->received(eve.link, told, lab.now);
    lab.settle();
    REQUIRE(eve.count<PeerList>() == 1);
    CHECK(ids_in(eve.last<PeerList>()) == std::vector{ann.id, cid.id});

    lab.advance(2s);
    // The answer to a digest is complete, even if a list comes with it.
    ann->received(eve.link, Ping{1, 0}, lab.now);
    ann->received(eve.link, told, lab.now);
    lab.settle();
    REQUIRE(eve.count<PeerList>() == 2);
    CHECK(ids_in(eve.last<PeerList>()) == std::vector{ann.id, bob.id, cid.id});
}
