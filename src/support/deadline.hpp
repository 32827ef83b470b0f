#pragma once

#include <chrono>

namespace cluster::detail {

using Deadline = std::chrono::steady_clock::time_point;

inline constexpr Deadline no_wait = Deadline::min();
inline constexpr Deadline for_ever = Deadline::max();

/// `duration` from now, or the end of time if the clock does not reach so far.
inline Deadline deadline_after(std::chrono::nanoseconds duration) {
    const auto now = std::chrono::steady_clock::now();
    return duration >= Deadline::max() - now ? Deadline::max() : now + duration;
}

}  // namespace cluster::detail
