#pragma once

#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>

namespace cluster::core::test {

/// The id whose first eight bytes are `number`, the lowest first. The others are zero.
inline PeerId numbered(std::uint64_t number) {
    PeerId id;
    for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
    return id;
}

namespace people {

inline const PeerId bob = numbered(2);
inline const PeerId eve = numbered(3);

}  // namespace people

}  // namespace cluster::core::test
