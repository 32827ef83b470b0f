#pragma once

#include "consensus/entry.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace cluster::consensus {

/// What must be put on disk, in the order of the numbers. What depends on it names the number, and waits until all
/// writes up to that one are durable.
struct Write {
    std::uint64_t number = 0;  ///< one more than that of the write before
    std::optional<HardState> state;
    /// The log is dropped, and begins anew behind this snapshot, which is on disk already.
    std::optional<SnapshotId> begin_after;
    /// If there are any, they replace all entries from the first one's index on.
    std::vector<Entry> entries;
};

}  // namespace cluster::consensus
