#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// What the library asks of the operating system, apart from sockets.

namespace cluster::net {

/// Fills `out` with random bytes that nobody can predict. Throws `std::system_error` if the system has none.
void fill_random(std::span<std::uint8_t> out);
/// 64 such bits.
std::uint64_t draw_number();

std::uint64_t process_id() noexcept;

/// A descriptor that is readable at any time. Throws `std::system_error` if there is none left.
int open_always_readable();

/// The soft limit of open descriptors of this process.
std::uint64_t descriptor_limit() noexcept;
/// Raises it to the hard limit, and returns the new one. If the system refuses, it stays as it is.
std::uint64_t raise_descriptor_limit() noexcept;

/// `bytes` have been freed in small blocks. After each 16 MiB of them, the process gives its free memory back to the
/// system; the C library would keep it. That takes milliseconds. Thread-safe.
void freed(std::uint64_t bytes) noexcept;

}  // namespace cluster::net
