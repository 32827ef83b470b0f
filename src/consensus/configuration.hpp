#pragma once

#include "consensus/entry.hpp"

#include <cstddef>
#include <optional>
#include <set>
#include <span>

namespace cluster::consensus {

/// The members of a group. It is in force from the moment when its entry is in the log, committed or not. While the
/// voters change from one set to another, both sets must agree (joint consensus; Raft, section 6).
struct Configuration {
    std::set<DiskId> voters;
    std::set<DiskId> voters_before;  ///< those that are being left; empty unless joint
    std::set<DiskId> learners;       ///< get the log, and are not counted

    /// In each of the three sets.
    static constexpr std::size_t most = 64;

    bool joint() const noexcept { return !voters_before.empty(); }
    bool votes(const DiskId& disk) const { return voters.contains(disk) || voters_before.contains(disk); }
    /// All that get the log.
    std::set<DiskId> members() const;

    /// As the body of an entry.
    Bytes encode() const;
    /// Nothing if these bytes are not what `encode` makes, or name no voter.
    static std::optional<Configuration> decode(std::span<const std::byte> bytes);

    friend bool operator==(const Configuration&, const Configuration&) = default;
};

}  // namespace cluster::consensus
