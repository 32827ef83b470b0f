#pragma once

#include <chrono>

namespace cluster {

/// A moment on the steady clock that the driver of the core has chosen. Only differences mean anything.
using Time = std::chrono::nanoseconds;
using Duration = std::chrono::nanoseconds;

inline constexpr Time never = Time::max();

/// One moment on two clocks. The wall clock gives the time in a text; it may jump, so ages grow by the other one.
struct Moment {
    Time steady{};
    Duration wall{};  ///< since 1970
};

}  // namespace cluster
