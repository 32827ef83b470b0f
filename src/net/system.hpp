#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// What the library asks of the operating system apart from sockets.

namespace cluster::net {

/// Fills `out` with random bytes that nobody can predict. Throws `std::system_error` if the system has none.
void fill_random(std::span<std::uint8_t> out);

std::uint64_t process_id() noexcept;

/// A descriptor from which something can be read at any time. Throws `std::system_error` if there is none left.
int open_always_readable();

/// Raises the soft limit of open descriptors to the hard one; where that is refused, things stay as they are.
void raise_descriptor_limit() noexcept;

}  // namespace cluster::net
