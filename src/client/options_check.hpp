#pragma once

#include <cluster/client.hpp>

namespace cluster::client {

/// Throws `errc::invalid_options` with a text that names the option, what is wrong with it and what to change.
void check(const ClientOptions& options, bool outside);

}  // namespace cluster::client
