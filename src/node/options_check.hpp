#pragma once

#include "value/secret.hpp"

#include <cluster/options.hpp>
#include <cluster/peer.hpp>

namespace cluster::detail {

/// Throws `std::system_error` with a text that names the option, what it contradicts and what to change. The error is
/// `errc::invalid_address` for a text in `listen`, `advertise` or `seeds`, else `errc::invalid_options`.
void check(const Options& options);

/// Throws `errc::invalid_options` if the tags exceed their limits.
void check(const Tags& tags);

/// With the one that dials first.
Secrets secrets_of(const Options& options);

/// Throws `errc::invalid_options` if one of them is not to be used.
void check(const Secrets& secrets);

}  // namespace cluster::detail
