#pragma once

#include "consensus/entry.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cluster::storage {

/// What stands at the beginning of each segment of the log; FORMAT.md draws it. No two segments of one disk have the
/// same serial, so none of what a file held before passes for a record of the segment that it holds now.
struct SegmentHead {
    std::uint64_t serial = 0;  ///< one more than that of the segment before
    std::uint64_t bytes = 0;   ///< of the file
    consensus::DiskId disk;

    static constexpr std::size_t size = 64;
    friend bool operator==(const SegmentHead&, const SegmentHead&) = default;
};

std::array<std::byte, SegmentHead::size> pack(const SegmentHead& head);
std::optional<SegmentHead> unpack_segment_head(std::span<const std::byte> bytes);
/// The checksum of the head, with which those of its records begin.
std::uint32_t seed_of(const SegmentHead& head);

/// Such as `00000000000000a1`.
std::string segment_name(std::uint64_t serial);
std::optional<std::uint64_t> serial_of(std::string_view name);

}  // namespace cluster::storage
