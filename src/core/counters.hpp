#pragma once

#include <cstdint>

namespace cluster::core {

/// What the engine counts; see `cluster::Stats` for the meaning.
struct Counters {
    std::uint64_t messages_sent = 0;
    std::uint64_t messages_received = 0;
    std::uint64_t messages_given_up = 0;
    std::uint64_t messages_lost = 0;
    std::uint64_t dials = 0;
    std::uint64_t dials_failed = 0;
    std::uint64_t links_accepted = 0;
    std::uint64_t links_lost = 0;
    std::uint64_t sessions_resumed = 0;
    std::uint64_t lists_sent = 0;
    std::uint64_t lists_received = 0;
    std::uint64_t protocol_errors = 0;
    std::uint64_t probes_sent = 0;
    std::uint64_t suspicions = 0;
    std::uint64_t failures = 0;
    std::uint64_t refusals_sent = 0;
    std::uint64_t refusals_received = 0;
};

}  // namespace cluster::core
