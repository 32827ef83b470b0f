#pragma once

#include <cluster/export.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace cluster {

/// A client of a replicated service, as the service sees it. The same on every replica.
struct ClientSession {
    std::uint64_t id = 0;  ///< no other session of the group ever has it
    std::string name;      ///< `ClientOptions::name`
    /// Who the client is: what `ReplicaOptions::authenticate` has found out. Empty if nobody looked.
    std::string principal;
    /// When it was opened, in the time of the log.
    std::chrono::nanoseconds opened{};
};

/// Why a session is over.
enum class CloseReason : std::uint8_t {
    client = 1,     ///< the client closed it
    service = 2,    ///< the service did: `Context::close`
    timed_out = 3,  ///< nothing came from the client for its session timeout
    slow = 4,       ///< the client did not take what was sent to it, and the room for that is full
};

CLUSTER_EXPORT std::string_view to_string(CloseReason reason) noexcept;

}  // namespace cluster
