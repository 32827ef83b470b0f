#pragma once

#include <cluster/export.hpp>

#include <cstdint>
#include <string>

namespace cluster {

/// A new secret for `Options::secret`: 32 hexadecimal digits, which are 128 random bits. Nobody can guess it. Make it
/// once, and give it to all nodes of the cluster in a way that others cannot read.
CLUSTER_EXPORT std::string make_secret();

/// What becomes of links that were made with a secret that is withdrawn.
enum class WithdrawnLinks : std::uint8_t {
    keep,  ///< they stay until they end by themselves
    drop,  ///< they are closed at once. Sessions go on over new links, which are made with another secret
};

}  // namespace cluster
