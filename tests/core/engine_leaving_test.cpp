#include "lab.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

TEST_CASE("leaving ends at once when the only peer with messages to come turns out to be dead") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    lab.kill(bob);
    // It is being dialled while we leave, and everything refuses.
    Node& cid = lab.start(3);
    lab.hold_dials = true;
    ann.add(cid.address);
    lab.hold_dials = false;
    for (const Lab::Pending& dial : lab.take_dials()) lab.complete(dial);
    lab.settle();
    lab.hold_dials = true;
    REQUIRE(ann.sees(cid.id));
    lab.kill(cid);
    REQUIRE(ann.send(cid.id, "too late").error == errc{});
    ann->leave(lab.now);
    lab.settle();
    CHECK_FALSE(ann.left);
    for (const Lab::Pending& dial : lab.take_dials()) lab.refuse(dial);
    lab.settle();
    REQUIRE(ann.left);
    CHECK(ann.left->messages == 1);
    CHECK(ann.left->peers == 1);
    CHECK(ann->link_count() == 0);
}
