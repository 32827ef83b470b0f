#pragma once

#include <cluster/export.hpp>

#include <cstdint>

namespace cluster {

/// How much a line of the log matters; see `Options::log`.
enum class LogLevel : std::uint8_t { debug, info, warning, error };

}  // namespace cluster
