#pragma once

#include <cluster/replica.hpp>

#include <cstddef>
#include <string>

namespace cluster::replica {

/// Throws `errc::invalid_options` with a text that names the option, what is wrong with it and what to change.
/// `node`: the name of this one; `max_message`: its longest message.
void check(const ReplicaOptions& options, const std::string& node, std::size_t max_message);

}  // namespace cluster::replica
