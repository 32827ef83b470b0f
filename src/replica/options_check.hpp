#pragma once

#include <cluster/replica.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace cluster::replica {

/// Throws `errc::invalid_options` with a text that names the option, what is wrong with it and what to change.
/// `node`: the name of this one; `max_message`: its longest message.
void check(const ReplicaOptions& options, const std::string& node, std::size_t max_message);
/// The same for the services of a replica.
void check(const std::vector<NamedService>& services);

}  // namespace cluster::replica
