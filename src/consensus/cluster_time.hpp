#pragma once

#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

namespace cluster::consensus {

/// The time that a leader writes into its entries. It goes on from the last entry of the leader before, with the steady
/// clock. It is pulled towards the middle one of the voters' wall clocks, so that a clock that is wrong or steps moves
/// nothing. Not thread-safe.
class ClusterTime {
public:
    /// How much faster or slower than the steady clock it may go: 1 %.
    static constexpr int slowest_correction = 100;
    /// If it is further behind, because all were off for a while, it jumps once in each term. It never goes back.
    static constexpr Duration jump{std::chrono::seconds(1)};

    /// `last`: the time of the last entry; 0 if the log is empty, then it begins with the wall clock.
    ClusterTime(Moment now, Duration last)
        : value_(last == Duration() ? now.wall : last), at_(now.steady), last_(last) {}

    /// The wall clock of one voter.
    void sample(const DiskId& voter, Duration wall, Time now) { ahead_[voter] = wall - now; }
    /// The time for the next entry: never less than the one before, nor than `least`.
    Duration next(const std::set<DiskId>& voters, Time now, Duration least = {});
    /// When it will be that time, but for corrections.
    Time when(Duration time) const noexcept { return at_ + std::max(time - value_, Duration()); }

private:
    /// How far behind the voters' clocks it is. Nothing before a majority is known.
    std::optional<Duration> behind(const std::set<DiskId>& voters) const;

    Duration value_;
    Time at_;        ///< when it had that value
    Duration last_;  ///< of the last entry
    bool may_jump_ = true;
    std::map<DiskId, Duration> ahead_;  ///< of each voter, how far its wall clock is ahead of our steady one
};

}  // namespace cluster::consensus
