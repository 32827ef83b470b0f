#include "sim/lifeguard.hpp"

#include <doctest/doctest.h>

using namespace cluster;

TEST_CASE("lifeguard: nodes that are stopped again and again make no healthy node fail, and are themselves found out") {
    for (const std::size_t stalled : {std::size_t{1}, std::size_t{8}}) {
        const sim::Lifeguard lifeguard = sim::run_lifeguard(1, 24, stalled, std::chrono::minutes(3));
        CHECK(lifeguard.result.why == "");
        CHECK(lifeguard.holds());
        CHECK(lifeguard.result.stalls.long_stalls >= stalled);
        CHECK(lifeguard.result.stalls.detected == lifeguard.result.stalls.long_stalls);
    }
}

TEST_CASE("the simulator does the same whenever a seed is run") {
    sim::Plan plan;
    plan.seed = 7;
    const sim::Result first = sim::World(plan).run();
    CHECK(first.events > 1000);
    CHECK(first.hash == sim::World(plan).run().hash);
    plan.seed = 8;
    CHECK(first.hash != sim::World(plan).run().hash);
}
