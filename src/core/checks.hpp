#pragma once

#include "base/time.hpp"
#include "core/part.hpp"

#include <cluster/peer.hpp>

#include <cstdint>
#include <deque>

namespace cluster::core {

/// Decides which peers that dialled us are dialled back once, and when. If such a peer dies, its refusal will mean
/// something. Not thread-safe; lives in its engine.
class Checks : private Part {
public:
    explicit Checks(Shared& shared) noexcept : Part(shared) {}

    /// It is not known whether the peer can be dialled. Newcomers come first. They delay checks no longer than a death
    /// would go unnoticed without a check.
    void add(const Pair& pair, Time now);
    /// Checks one of them. While a mesh forms, missing links come first.
    void next(Time now);

private:
    Duration pause() const;

    std::deque<PeerId> unproven_;
    Time unproven_since_{};       ///< since when there are any
    Time last_newcomer_{};        ///< when one was last attached by its own dial
    std::int64_t newcomers_ = 0;  ///< of those, how many came less than a heartbeat after the one before
};

}  // namespace cluster::core
