#include "consensus/reads.hpp"

#include "consensus/quorum.hpp"

#include <algorithm>

namespace cluster::consensus {

void Reads::answered(const DiskId& voter, std::uint64_t round) {
    if (round > asked_) return;
    std::uint64_t& newest = answered_[voter];
    newest = std::max(newest, round);
}

std::vector<Reads::Read> Reads::take(const Configuration& configuration, const DiskId& self) {
    const std::uint64_t round = agreed(configuration, [&](const DiskId& voter) {
        if (voter == self) return asked_;
        const auto found = answered_.find(voter);
        return found == answered_.end() ? 0 : found->second;
    });
    std::vector<Read> ready;
    while (!waiting_.empty() && waiting_.front().round <= round) {
        ready.push_back(waiting_.front());
        waiting_.pop_front();
    }
    return ready;
}

std::vector<Reads::Read> Reads::take_all() {
    const std::vector<Read> all(waiting_.begin(), waiting_.end());
    waiting_.clear();
    return all;
}

}  // namespace cluster::consensus
