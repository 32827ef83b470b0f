#pragma once

#include "base/time.hpp"
#include "consensus/cluster_time.hpp"
#include "consensus/entry.hpp"
#include "consensus/outstanding.hpp"
#include "consensus/progress.hpp"
#include "consensus/reads.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace cluster::consensus {

// The roles that a replica takes, one at a time. Whatever belongs to a role alone begins and ends with it.

/// It does what a leader says, or waits for one.
struct Following {
    DiskId leader;  ///< none if nobody in this term is known to lead
    Time heard{};   ///< when it spoke last
    Time deadline{};
};
/// It stands for election.
struct Candidacy {
    std::uint64_t trial = 0;  ///< its number; 0: it is not a trial
    std::map<DiskId, bool> votes;
    std::uint64_t own_vote = 0;  ///< the write that must be durable before it counts
    Time deadline{};
};
/// Somebody else is to lead.
struct Transfer {
    DiskId to;
    Time deadline{};
    bool appointed = false;  ///< it was told
};
/// It leads.
struct Leadership {
    Leadership(Term begun, Moment now, Duration last_time) : term(begun), time(now, last_time) {}
    Term term;
    std::map<DiskId, Progress> members;  ///< all but this one
    Index begin = 0;                     ///< the first entry of this term
    Outstanding uncommitted;             ///< what was proposed in this term
    Reads reads;
    std::vector<std::uint64_t> early_reads;  ///< that came before an entry of this term was committed
    std::optional<Transfer> transfer;
    ClusterTime time;
    Time next_heartbeat{};
    Time next_check{};  ///< whether a majority still answers
};

}  // namespace cluster::consensus
