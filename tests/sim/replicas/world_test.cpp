#include "sim/replicas/world.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using sim::replicas::Plan;
using sim::replicas::Result;
using sim::replicas::World;

TEST_CASE("replicas: without faults each number of voters elects one leader and commits what is proposed") {
    for (std::size_t voters = 1; voters <= 7; ++voters) {
        Plan plan;
        plan.seed = voters;
        plan.least_voters = plan.most_voters = voters;
        plan.faults = false;
        const Result result = World(plan).run();
        CHECK(result.why == "");
        CHECK(result.voters == voters);
        CHECK(result.commands > 50);
    }
}

TEST_CASE("replicas: the simulator does the same whenever a seed is run, and a trace changes nothing") {
    Plan plan;
    plan.seed = 3;
    const Result first = World(plan).run();
    plan.lines = 50;
    const Result second = World(plan).run();
    CHECK(first.why == "");
    CHECK(first.hash == second.hash);
    CHECK(second.trace.size() == 50);
    plan.seed = 4;
    CHECK(World(plan).run().hash != first.hash);
}

TEST_CASE("replicas: the simulator meets all that it is to meet") {
    Result sum;
    Plan plan;
    for (plan.seed = 1; plan.seed <= 40; ++plan.seed) {
        const Result result = World(plan).run();
        CHECK(result.why == "");
        sum.add(result);
    }
    CHECK(sum.crashes > 100);
    CHECK(sum.leaders > 100);
    CHECK(sum.snapshots > 100);
    CHECK(sum.installs > 10);
    CHECK(sum.transfers > 5);
    CHECK(sum.disks_lost > 1);
    CHECK(sum.disks_failed > 10);
    CHECK(sum.disks_damaged > 3);
    CHECK(sum.unknown > 10);
}
