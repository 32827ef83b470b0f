#pragma once

#include "world.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cluster::sim {

/// What nodes that are stopped again and again do to the healthy ones (after Dadgar, Phillips, Currey: "Lifeguard:
/// local health awareness for more accurate failure detection", 2018).
struct Lifeguard {
    std::size_t nodes = 0;
    std::size_t stalled = 0;
    Result result;

    /// Failures that healthy nodes report of healthy nodes, for each healthy node and minute.
    double false_failures() const {
        const Result::Stalls& stalls = result.stalls;
        return static_cast<double>(stalls.false_failures) / std::max(stalls.healthy_minutes, 1e-9);
    }
    /// At most one false failure in a thousand node-minutes; and at most one healthy node that a stalled one takes for
    /// failed when it goes on.
    bool holds() const { return !result.failed && false_failures() <= 0.001 && result.stalls.most_subjects <= 1; }
};

/// Virtual minutes in which `stalled` of `nodes` are stopped for spells of up to 32 s, with pauses as long.
Lifeguard run_lifeguard(std::uint64_t seed, std::size_t nodes, std::size_t stalled, Duration lasts);

}  // namespace cluster::sim
