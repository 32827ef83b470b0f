#pragma once

#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>

namespace cluster::consensus {

/// Divides the room for entries that are not committed among the replicas that submit, so that none of them takes all.
///
/// A replica that has asked within `memory` is sure of an equal part. The rest is for anybody: if one asks alone, it
/// may have all of it. Not thread-safe; no clock of its own.
class Shares {
public:
    static constexpr Duration memory = std::chrono::seconds(1);

    /// `most`: bytes, of entries as they cost.
    explicit Shares(std::size_t most) : most_(most) {}

    /// How many bytes it may take now. If nobody has anything, anybody may take what it brings at once, however much.
    std::size_t room(const DiskId& who, Time now);
    /// It has taken so much, up to that entry.
    void took(const DiskId& who, Index last, std::size_t cost);
    /// Entries up to that one are committed.
    void committed(Index index);
    /// A term begins.
    void clear();

private:
    struct Asker {
        std::size_t bytes = 0;
        Time asked{};
    };
    struct Part {
        Index last;
        DiskId who;
        std::size_t cost;
    };

    const std::size_t most_;
    std::map<DiskId, Asker> askers_;  ///< those who have something, or have asked lately
    std::deque<Part> parts_;
    std::size_t bytes_ = 0;
};

}  // namespace cluster::consensus
