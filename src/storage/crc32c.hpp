#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cluster::storage {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4). `before` is the checksum of what comes before: that of two parts is
/// `crc32c(second, crc32c(first))`. For bytes of one length, different values of `before` give different checksums.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

/// The same by tables, for every processor.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

/// Whether `crc32c` uses an instruction of this processor.
bool crc32c_has_instruction() noexcept;

}  // namespace cluster::storage
