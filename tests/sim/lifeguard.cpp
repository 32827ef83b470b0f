#include "lifeguard.hpp"

namespace cluster::sim {

Lifeguard run_lifeguard(std::uint64_t seed, std::size_t nodes, std::size_t stalled, Duration lasts) {
    Lifeguard lifeguard;
    lifeguard.nodes = nodes;
    lifeguard.stalled = stalled;
    Plan plan;
    plan.seed = seed;
    plan.nodes = nodes;
    plan.stalled = stalled;
    plan.faults = lasts;
    lifeguard.result = World(plan).run();
    const double minutes = std::chrono::duration<double, std::ratio<60>>(lasts).count();
    lifeguard.result.stalls.healthy_minutes = static_cast<double>(nodes - stalled) * minutes;
    return lifeguard;
}

}  // namespace cluster::sim
