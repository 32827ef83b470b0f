#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace cluster {

/// SipHash-2-4 with 128 bits of output: a keyed hash that only the holders of `key` can compute (J.-P. Aumasson and
/// D. J. Bernstein, "SipHash: a fast short-input PRF", 2012, section 2; the 128-bit variant of its reference).
std::array<std::uint8_t, 16> siphash128(const std::array<std::uint8_t, 16>& key,
                                        std::span<const std::uint8_t> message) noexcept;

}  // namespace cluster
