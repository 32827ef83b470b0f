#pragma once

#include <cluster/address.hpp>

#include <string>
#include <string_view>

// What the library needs of addresses beyond what applications need.

namespace cluster::detail {

/// Reads `host:port` into `address`. Returns what is wrong with the text and what to write instead; empty if it is
/// right. On failure `address` is unchanged.
std::string read_address(std::string_view text, Address& address);

/// `0.0.0.0` or `::` in any spelling: for a listener all interfaces, for a dialler nobody.
bool is_wildcard(std::string_view host) noexcept;

}  // namespace cluster::detail

namespace cluster {

/// `host:port` as a token of a log line: other nodes may publish what is no address.
std::string token(const Address& address);

}  // namespace cluster
