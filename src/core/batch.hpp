#pragma once

#include "base/block.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace cluster::core {

/// Numbers that a peer tells may be large: a sum of them stays at its end instead of beginning anew.
constexpr std::uint64_t add_saturated(std::uint64_t a, std::uint64_t b) noexcept {
    return a + b < a ? ~std::uint64_t{0} : a + b;
}

/// What one session hands to the inbox at once: messages in their order, or one gap.
struct Batch {
    PeerId from;
    /// The session's number in its engine; what the application takes is reported back under it.
    std::uint64_t session = 0;
    /// Holds the frames. Empty for a gap.
    detail::BlockRef block;
    /// Complete messages one behind the other, each a FrameHeader, of which `length`, `flag_call` and `flag_error`
    /// matter, and its payload. For a message that came in chunks the header is made here, and `length` is that of the
    /// whole message.
    std::span<const std::byte> frames;
    std::uint64_t messages = 0;
    /// Credit to return when the last of them has been taken.
    std::uint64_t charge = 0;
    /// Not 0: no messages, but a gap of at most so many.
    std::uint64_t lost = 0;
};

}  // namespace cluster::core
