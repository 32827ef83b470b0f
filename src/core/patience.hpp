#pragma once

#include "base/time.hpp"
#include "core/joins.hpp"
#include "core/part.hpp"

#include <algorithm>

namespace cluster::core {

/// How long this node waits for others: for a link in each of its states. It waits longer for everybody if it is late
/// itself. Not thread-safe; lives in its engine.
class Patience : private Part {
public:
    Patience(Shared& shared, const Joins& joins) noexcept : Part(shared), joins_(joins) {}

    /// How long a link may stay in its state.
    Duration with(const Link& link) const;

    /// Whether this node has not run for a while. It has not yet read what others said meanwhile, so for a moment it
    /// judges nobody.
    bool holds_back(Time now);
    /// All timers that were due have fired.
    void caught_up() noexcept { held_back_ = false; }
    /// When the first timer may fire.
    Time deadline() const { return std::max(held_back_until_, timers_.next()); }

private:
    void was_late(Duration lag, Time now);

    const Joins& joins_;
    Time held_back_until_{};
    bool held_back_ = false;  ///< since timers fired last
};

}  // namespace cluster::core
