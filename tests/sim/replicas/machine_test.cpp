#include "sim/replicas/engine_world.hpp"
#include "sim/replicas/machine_world.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string_view>

using namespace cluster;
using sim::replicas::EngineWorld;
using sim::replicas::MachineWorld;
using sim::replicas::Plan;
using sim::replicas::Result;

TEST_CASE("machines: whatever is lost or ends, a submission takes effect once, or its caller is told") {
    Result sum;
    Plan plan;
    constexpr std::uint64_t seeds = std::string_view(CLUSTER_SANITIZE).empty() ? 30 : 8;  // 500 with the long tests
    for (plan.seed = 1; plan.seed <= seeds; ++plan.seed) {
        INFO("seed " << plan.seed);
        const Result result = MachineWorld(plan).run();
        CHECK(result.why == "");
        sum.add(result);
    }
    MESSAGE(sum.commands << " acknowledged, " << sum.refused << " never taken, " << sum.unknown << " unknown");
    CHECK(sum.commands > 200 * seeds);
    CHECK(sum.refused > seeds);
    CHECK(sum.unknown < sum.commands / 5);
    CHECK(sum.installs > seeds / 10);
    CHECK(sum.transfers > seeds / 10);
    CHECK(sum.disks_failed > seeds / 10);
    MESSAGE(sum.calls << " calls of clients, " << sum.pushes << " pushes, " << sum.expiries << " sessions expired");
    CHECK(sum.calls > 100 * seeds);
    CHECK(sum.retries > 10 * seeds);
    CHECK(sum.queries > 10 * seeds);
    CHECK(sum.pushes > 100 * seeds);
    CHECK(sum.expiries > seeds / 2);
    CHECK(sum.timers > 10 * seeds);
    CHECK(sum.letters > 10 * seeds);
}

TEST_CASE("machines: over simulated engines and all that happens to them, each ends with the others") {
    Result sum;
    Plan plan;
    for (plan.seed = 1; plan.seed <= 10; ++plan.seed) {
        INFO("seed " << plan.seed);
        const Result result = EngineWorld(plan).run();
        CHECK(result.why == "");
        sum.add(result);
    }
    CHECK(sum.commands > 1000);
    CHECK(sum.leaders > 10);
    CHECK(sum.crashes > 10);
}
