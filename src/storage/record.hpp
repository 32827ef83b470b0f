#pragma once

#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cluster::storage {

enum class RecordType : std::uint8_t {
    opening = 1,   ///< the first of each segment: what the segments before it say in sum
    state = 2,     ///< a hard state
    begin = 3,     ///< the log begins anew behind a snapshot
    truncate = 4,  ///< all entries behind this id are gone
    entry = 5,
    mark = 6,  ///< the group before is on disk
    seal = 7,  ///< the last of a segment that is full
};

/// What stands before the body of each record; FORMAT.md draws it.
struct RecordHead {
    std::uint32_t length = 0;  ///< of the body
    RecordType type = RecordType::entry;
    bool last = false;      ///< of its group
    std::uint8_t kind = 0;  ///< of an entry
    std::uint64_t group = 0;
    consensus::LogId id;
    Duration time{};
    std::uint32_t previous = 0;  ///< `checksum` of the record before, be it in the segment before
    std::uint32_t body_checksum = 0;
    std::uint32_t checksum = 0;  ///< of this head

    static constexpr std::size_t size = 56;
    static constexpr std::size_t alignment = 8;
    /// With its body, and zeros up to where the next one begins.
    std::size_t whole() const noexcept { return whole(length); }
    static std::size_t whole(std::size_t body) noexcept {
        return (size + body + alignment - 1) / alignment * alignment;
    }

    friend bool operator==(const RecordHead&, const RecordHead&) = default;
};

/// Appends a record; `length` and both checksums of `head` are filled in. `seed` is the checksum of the segment's head.
void append_record(std::vector<std::byte>& out, RecordHead& head, std::span<const std::byte> body, std::uint32_t seed);

/// The head at the beginning of `bytes`, if it was written into the segment with that seed and ends within `bytes`.
std::optional<RecordHead> read_head(std::span<const std::byte> bytes, std::uint32_t seed);

/// The body of the record at the beginning of `bytes`, if it is the one that was written.
std::optional<std::span<const std::byte>> read_body(const RecordHead& head, std::span<const std::byte> bytes,
                                                    std::uint32_t seed);

/// The body of a state, and of an opening, which has the id of the last entry before it in its head.
std::vector<std::byte> pack_state(const consensus::HardState& state);
std::optional<consensus::HardState> unpack_state(std::span<const std::byte> body);

}  // namespace cluster::storage
