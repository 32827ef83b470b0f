#pragma once

#include "base/time.hpp"
#include "core/part.hpp"

#include <cluster/peer.hpp>

#include <cstdint>
#include <deque>

namespace cluster::core {

/// Which peers that dialled us are dialled back once, and when: should one die, its refusal will mean something. Not
/// thread-safe; lives in its engine.
class Checks : private Part {
public:
    explicit Checks(Shared& shared) noexcept : Part(shared) {}

    /// Nobody knows where the peer can be dialled. Newcomers come first, but they do not keep us from checking for
    /// longer than a death would go unnoticed without it.
    void add(const Pair& pair, Time now);
    /// Checks one of them. While a mesh forms, links that are still missing come first.
    void next(Time now);

private:
    Duration pause() const;

    std::deque<PeerId> unproven_;
    Time unproven_since_{};       ///< since when there are any
    Time last_newcomer_{};        ///< when one was last attached by its own dial
    std::int64_t newcomers_ = 0;  ///< of those, how many came less than a heartbeat after the one before
};

}  // namespace cluster::core
