#pragma once

#include <chrono>

namespace cluster {

/// A moment on the steady clock that the driver of the core has chosen. Only differences mean anything.
using Time = std::chrono::nanoseconds;
using Duration = std::chrono::nanoseconds;

inline constexpr Time never = Time::max();

}  // namespace cluster
