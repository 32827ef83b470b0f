#pragma once

#include <chrono>

namespace cluster {

/// A moment on some steady clock that whoever drives the core chose. Only differences mean anything.
using Time = std::chrono::nanoseconds;
using Duration = std::chrono::nanoseconds;

inline constexpr Time never = Time::max();

}  // namespace cluster
