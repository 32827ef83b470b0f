#pragma once

#include "sim/replicas/service.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace cluster::sim::replicas {

/// What a submitter did, and what it saw. Moments are numbers that only grow.
struct Operation {
    static constexpr std::uint64_t open = std::numeric_limits<std::uint64_t>::max();

    Command command;
    std::uint64_t called = 0;
    std::uint64_t returned = open;  ///< if it stays open it may have happened at any time since, or may yet happen
    std::optional<std::uint64_t> result;  ///< if it is known
    std::uint64_t hint = 0;  ///< what is tried first: operations in this order
};

/// Whether there is an order of the operations which explains all results, and in which each operation stands at a
/// moment between its call and its return. Each register is looked at alone: that suffices (Herlihy and Wing,
/// "Linearizability: a correctness condition for concurrent objects", 1990). The search is that of Wing and Gong, with
/// Lowe's memory of what was tried ("Testing for linearizability", 2017). If not: what is known of the first register
/// that cannot be explained. Too long a search ends without a verdict, which counts as true.
bool linearizable(const std::vector<Operation>& operations, std::string* why = nullptr);

}  // namespace cluster::sim::replicas
