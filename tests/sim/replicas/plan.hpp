#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cluster::sim::replicas {

/// What one run of the simulator does; everything else follows from the seed.
struct Plan {
    std::uint64_t seed = 1;
    /// How many voters there are is drawn between these, 1 to 7.
    std::size_t least_voters = 1;
    std::size_t most_voters = 7;
    bool faults = true;
    /// Lines of the trace that are kept, the last ones; its hash is made anyway.
    std::size_t lines = 0;
};

struct Result {
    bool failed = false;
    std::string why;
    Time at{};
    std::uint64_t hash = 0;  ///< of the trace
    std::vector<std::string> trace;
    std::size_t voters = 0;
    std::uint64_t events = 0;
    std::uint64_t messages = 0;
    std::uint64_t commands = 0;  ///< that were acknowledged
    std::uint64_t reads = 0;     ///< that were answered
    std::uint64_t refused = 0;   ///< submissions whose caller was told that they are nowhere
    std::uint64_t unknown = 0;   ///< operations of which nobody knows how they ended
    std::uint64_t leaders = 0;   ///< that were elected
    std::uint64_t crashes = 0;
    std::uint64_t cuts = 0;
    std::uint64_t snapshots = 0;  ///< taken
    std::uint64_t installs = 0;   ///< of a snapshot that another replica has sent
    std::uint64_t transfers = 0;  ///< of leadership, that were done
    // Of clients.
    std::uint64_t clients = 0;      ///< that came
    std::uint64_t attachments = 0;  ///< of sessions
    std::uint64_t calls = 0;        ///< that were acknowledged
    std::uint64_t retries = 0;      ///< commands that were sent again
    std::uint64_t queries = 0;      ///< that were answered
    std::uint64_t pushes = 0;       ///< that came to clients
    std::uint64_t expiries = 0;     ///< of sessions
    std::uint64_t timers = 0;       ///< that have fired
    std::uint64_t letters = 0;      ///< from service to service
    std::uint64_t disks_lost = 0;
    std::uint64_t disks_failed = 0;   ///< a replica found out by an error
    std::uint64_t disks_damaged = 0;  ///< and recovery said so

    /// Adds what another run has counted.
    void add(const Result& other) {
        for (const auto count :
             {&Result::events,   &Result::messages,   &Result::commands,     &Result::reads,        &Result::refused,
              &Result::unknown,  &Result::leaders,    &Result::crashes,      &Result::cuts,         &Result::snapshots,
              &Result::installs, &Result::transfers,  &Result::clients,      &Result::attachments,  &Result::calls,
              &Result::retries,  &Result::queries,    &Result::pushes,       &Result::expiries,     &Result::timers,
              &Result::letters,  &Result::disks_lost, &Result::disks_failed, &Result::disks_damaged}) {
            this->*count += other.*count;
        }
    }
};

}  // namespace cluster::sim::replicas
