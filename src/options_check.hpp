#pragma once

#include <cluster/address.hpp>
#include <cluster/options.hpp>
#include <cluster/peer.hpp>

#include <string>
#include <string_view>

namespace cluster::detail {

/// Throws `std::system_error` with a text that names the option, what it contradicts and what to change. The error is
/// `errc::invalid_address` for a text in `listen`, `advertise` or `seeds`, else `errc::invalid_options`.
void check(const Options& options);

/// Throws `errc::invalid_options` where the tags exceed their limits.
void check(const Tags& tags);

/// Reads `host:port` into `address`. Returns what is wrong with the text and what to write instead; empty where it is
/// right. On failure `address` is untouched.
std::string read_address(std::string_view text, Address& address);

/// `0.0.0.0` or `::` in any spelling: all interfaces to a listener, nobody to a dialler.
bool is_wildcard(std::string_view host) noexcept;

}  // namespace cluster::detail
