#pragma once

#include "consensus/entry.hpp"

namespace cluster::support {

/// A disk with that name.
inline consensus::DiskId disk(char name) {
    consensus::DiskId id;
    id.bytes[0] = static_cast<std::uint8_t>(name);
    return id;
}

}  // namespace cluster::support
