#pragma once

#include "base/bytes.hpp"
#include "base/time.hpp"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace cluster::consensus {

/// A period with at most one leader. 0: none has begun.
using Term = std::uint64_t;
/// A place in the log. The first entry has 1; 0 is before it.
using Index = std::uint64_t;

/// Which entry. Two logs that have an entry with the same id are the same up to there (Raft, section 5.3). The order is
/// that of section 5.4.1: of two logs, the one whose last entry has the greater id is more up to date.
struct LogId {
    Term term = 0;
    Index index = 0;
    friend auto operator<=>(const LogId&, const LogId&) = default;
};

/// A voter or learner: 128 random bits that were drawn when its directory was first used. All zero: nobody.
struct DiskId {
    std::array<std::uint8_t, 16> bytes{};
    explicit operator bool() const noexcept { return *this != DiskId(); }
    friend auto operator<=>(const DiskId&, const DiskId&) = default;
};

enum class EntryKind : std::uint8_t {
    empty = 1,          ///< begins a term, or only carries time
    command = 2,        ///< for the service
    configuration = 3,  ///< who is a voter, who a learner
};

/// One entry of the log. It never changes; copies share its body.
struct Entry {
    LogId id;
    EntryKind kind = EntryKind::empty;
    /// Nanoseconds since 1970, as the group counts them; never less than that of the entry before.
    Duration time{};
    Bytes body;

    /// What it counts for against limits in bytes.
    std::size_t cost() const noexcept { return body.size() + overhead; }
    /// More than what stands beside the body on the wire and on disk.
    static constexpr std::size_t overhead = 64;

    friend bool operator==(const Entry&, const Entry&) = default;
};

/// What a replica must never forget, beside its log.
struct HardState {
    Term term = 0;
    DiskId vote;       ///< to whom its vote of `term` went
    Index commit = 0;  ///< up to where it knew the log to be committed; may lag
    friend bool operator==(const HardState&, const HardState&) = default;
};

/// Where a snapshot stands: it holds all that the entries up to `last` have done.
struct SnapshotId {
    LogId last;
    Duration time{};      ///< that of the entry `last`
    Bytes configuration;  ///< the newest one up to there, as the body of an entry
    friend bool operator==(const SnapshotId&, const SnapshotId&) = default;
};

}  // namespace cluster::consensus
