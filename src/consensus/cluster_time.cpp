#include "consensus/cluster_time.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace cluster::consensus {

Duration ClusterTime::next(const std::set<DiskId>& voters, Time now, Duration least) {
    const Duration passed = std::max(now - at_, Duration());
    at_ = now;
    value_ += passed;
    if (const auto late = behind(voters)) {
        const Duration most = passed / slowest_correction;
        const bool jumps = std::exchange(may_jump_, false) && *late > jump;
        value_ += jumps ? *late : std::clamp(*late, -most, most);
    }
    last_ = std::max({last_, value_, least});
    return last_;
}

std::optional<Duration> ClusterTime::behind(const std::set<DiskId>& voters) const {
    std::vector<Duration> clocks;
    for (const auto& [voter, ahead] : ahead_) {
        if (voters.contains(voter)) clocks.push_back(ahead);
    }
    if (clocks.empty() || clocks.size() <= voters.size() / 2) return std::nullopt;
    // Of an even number the lower one: it takes two to go too far ahead.
    const auto middle = clocks.begin() + static_cast<std::ptrdiff_t>((clocks.size() - 1) / 2);
    std::nth_element(clocks.begin(), middle, clocks.end());
    return *middle + at_ - value_;
}

}  // namespace cluster::consensus
