#pragma once

#include <cluster/options.hpp>
#include <cluster/peer.hpp>

namespace cluster::detail {

/// Throws `std::system_error` with a text that names the option, what it contradicts and what to change. The error is
/// `errc::invalid_address` for a text in `listen`, `advertise` or `seeds`, else `errc::invalid_options`.
void check(const Options& options);

/// Throws `errc::invalid_options` if the tags exceed their limits.
void check(const Tags& tags);

}  // namespace cluster::detail
