#pragma once

#include "consensus/configuration.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <vector>

namespace cluster::consensus {

// What a majority of the voters agrees on. In a joint configuration that is a majority of each of its two sets.

/// The greatest value that a majority of `voters` has reached. Without voters nobody has to agree.
template <class Reached>
std::uint64_t agreed(const std::set<DiskId>& voters, Reached&& reached) {
    if (voters.empty()) return std::numeric_limits<std::uint64_t>::max();
    std::vector<std::uint64_t> all;
    for (const DiskId& voter : voters) all.push_back(reached(voter));
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(voters.size() / 2);
    std::nth_element(all.begin(), middle, all.end(), std::greater<>());
    return *middle;
}

template <class Reached>
std::uint64_t agreed(const Configuration& configuration, Reached&& reached) {
    return std::min(agreed(configuration.voters, reached), agreed(configuration.voters_before, reached));
}

/// Whether `has` is true of a majority.
template <class Has>
bool majority(const Configuration& configuration, Has&& has) {
    return agreed(configuration, [&](const DiskId& voter) { return std::uint64_t{has(voter) ? 1u : 0u}; }) > 0;
}

enum class Ballot { open, won, lost };

/// `votes`: what those who have answered said. Others are not counted, whoever answers for them.
inline Ballot ballot(const Configuration& configuration, const std::map<DiskId, bool>& votes) {
    const auto said = [&](const DiskId& voter, bool what) {
        const auto found = votes.find(voter);
        return found != votes.end() && found->second == what;
    };
    if (majority(configuration, [&](const DiskId& voter) { return said(voter, true); })) return Ballot::won;
    // It is lost as soon as those who have not refused are no majority any more.
    if (!majority(configuration, [&](const DiskId& voter) { return !said(voter, false); })) return Ballot::lost;
    return Ballot::open;
}

}  // namespace cluster::consensus
