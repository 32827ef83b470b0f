#pragma once

#include <cluster/address.hpp>

#include <string>
#include <string_view>

// What the library asks of addresses beyond what applications do.

namespace cluster::detail {

/// Reads `host:port` into `address`. Returns what is wrong with the text and what to write instead; empty if it is
/// right. On failure `address` is untouched.
std::string read_address(std::string_view text, Address& address);

/// `0.0.0.0` or `::` in any spelling: all interfaces to a listener, nobody to a dialler.
bool is_wildcard(std::string_view host) noexcept;

}  // namespace cluster::detail

namespace cluster {

/// `host:port` as a token of a log line: what others publish need not be an address.
std::string token(const Address& address);

}  // namespace cluster
