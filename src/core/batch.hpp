#pragma once

#include "base/block.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace cluster::core {

/// A peer may send large numbers: a sum that would overflow becomes the largest number.
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
    /// Complete messages one after the other, each a FrameHeader and its payload. Of the header `length`, `flag_call`
    /// and `flag_error` matter. For a message that came in chunks the header is made here, and `length` is that of the
    /// whole message.
    std::span<const std::byte> frames;
    std::uint64_t messages = 0;
    /// Credit to return when the last of them has been taken.
    std::uint64_t charge = 0;
    /// If not 0, the batch is a gap of at most this many messages.
    std::uint64_t lost = 0;
};

}  // namespace cluster::core
