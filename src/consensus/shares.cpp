#include "consensus/shares.hpp"

#include <algorithm>
#include <limits>

namespace cluster::consensus {

std::size_t Shares::room(const DiskId& who, Time now) {
    askers_[who].asked = now;
    const auto recent = [&](const Asker& asker) { return now - asker.asked < memory; };
    std::erase_if(askers_, [&](const auto& each) { return each.second.bytes == 0 && !recent(each.second); });
    if (bytes_ == 0) return std::numeric_limits<std::size_t>::max();
    const auto many =
        std::count_if(askers_.begin(), askers_.end(), [&](const auto& each) { return recent(each.second); });
    const std::size_t share = most_ / static_cast<std::size_t>(many);
    std::size_t kept = 0;  // for the others
    for (const auto& [disk, asker] : askers_) {
        if (disk != who && recent(asker)) kept += share - std::min(share, asker.bytes);
    }
    return most_ - std::min(most_, bytes_ + kept);
}

void Shares::took(const DiskId& who, Index last, std::size_t cost) {
    askers_[who].bytes += cost;
    bytes_ += cost;
    parts_.push_back({last, who, cost});
}

void Shares::committed(Index index) {
    for (; !parts_.empty() && parts_.front().last <= index; parts_.pop_front()) {
        askers_[parts_.front().who].bytes -= parts_.front().cost;
        bytes_ -= parts_.front().cost;
    }
}

void Shares::clear() {
    askers_.clear();
    parts_.clear();
    bytes_ = 0;
}

}  // namespace cluster::consensus
