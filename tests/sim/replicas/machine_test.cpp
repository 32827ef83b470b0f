#include "sim/replicas/engine_world.hpp"
#include "sim/replicas/machine_world.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using sim::replicas::EngineWorld;
using sim::replicas::MachineWorld;
using sim::replicas::Plan;
using sim::replicas::Result;

TEST_CASE("machines: whatever is lost or ends, a submission takes effect once, or its caller is told") {
    Result sum;
    Plan plan;
    for (plan.seed = 1; plan.seed <= 100; ++plan.seed) {
        INFO("seed " << plan.seed);
        const Result result = MachineWorld(plan).run();
        CHECK(result.why == "");
        sum.add(result);
    }
    MESSAGE(sum.commands << " acknowledged, " << sum.refused << " never taken, " << sum.unknown << " unknown");
    CHECK(sum.commands > 20000);
    CHECK(sum.refused > 100);
    CHECK(sum.unknown < sum.commands / 5);
    CHECK(sum.installs > 10);
    CHECK(sum.transfers > 10);
    CHECK(sum.disks_failed > 10);
    MESSAGE(sum.calls << " calls of clients, " << sum.pushes << " pushes, " << sum.expiries << " sessions expired");
    CHECK(sum.calls > 10000);
    CHECK(sum.retries > 1000);
    CHECK(sum.queries > 1000);
    CHECK(sum.pushes > 10000);
    CHECK(sum.expiries > 50);
    CHECK(sum.timers > 1000);
    CHECK(sum.letters > 1000);
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
