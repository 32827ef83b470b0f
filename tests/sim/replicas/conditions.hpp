#pragma once

#include "consensus/raft.hpp"
#include "sim/replicas/chance.hpp"
#include "sim/replicas/plan.hpp"
#include "storage/log.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cluster::sim::replicas {

enum class Fault : std::uint8_t {
    crash,
    crash_all,
    pause,
    cut,
    cut_one_way,
    bridge,
    isolate_leader,
    lose_disk,
    hang_disk,
    slow_disk,
    fail_disk,
    harm_disk,
    step_clock,
    transfer,
    false_gone,
    false_unreachable,
    snapshot,
};

/// What the world of one seed is like. Probabilities are in millionths. Each seed has only some of the faults, so that
/// those it has come together often.
struct Conditions {
    Conditions(Chance chance, const Plan& plan);

    std::size_t voters = 3;
    std::size_t learners = 0;
    bool joint = false;          ///< the voters change from one set to another all the time
    bool one_appointed = false;  ///< only one of them stands for election by itself
    std::size_t no_vote = 0;     ///< so many never vote

    consensus::RaftOptions options;
    Duration timeout{};

    // The network.
    Duration delay{};  ///< the mean one
    std::uint64_t loss = 0;
    std::uint64_t doubled = 0;
    std::uint64_t late = 0;       ///< delays fifty times as long; of what is doubled, the second comes that late
    bool in_order = false;        ///< between any two
    bool cuts_at_once = true;     ///< a cut takes what is on the way, too
    std::uint64_t told_lost = 0;  ///< a sender hears that it may be lost

    // Processes and disks.
    Duration write{};  ///< the mean of one group
    Duration read{};
    Duration apply{};
    storage::LogOptions log;
    bool os_buffers = false;  ///< nothing is synced, and no machine loses its power
    std::uint64_t crash_at_event = 0;
    std::uint64_t crash_when_elected = 0;
    std::uint64_t cut_when_elected = 0;
    std::uint64_t cut_when_candidate = 0;  ///< before it asks for votes
    std::uint64_t told_gone = 0;           ///< after a crash each other one hears of it

    // Clocks.
    std::int64_t drift = 0;  ///< at most so many millionths
    Duration skew{};
    Duration late_tick{};  ///< a timer may be that late

    std::size_t snapshot_every = 0;  ///< entries; 0: never by itself
    bool keeps_log = false;          ///< behind the older of two snapshots

    std::size_t submitters = 3;
    Duration thinks{};
    std::size_t padding = 0;
    std::uint64_t reads = 0;
    bool only_reads_at_last = false;  ///< after the healing

    std::vector<Fault> faults;
    Duration between_faults{};
};

}  // namespace cluster::sim::replicas
