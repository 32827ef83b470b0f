#pragma once

#include "base/time.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <map>
#include <utility>

namespace cluster::core {

/// Ids of those that have departed, each until its time is over. Not thread-safe.
class Graves {
public:
    /// `most`: how many are remembered; beyond that the one whose time is over first is forgotten.
    explicit Graves(std::size_t most) noexcept : most_(most) {}

    /// Changes nothing if it is there already.
    void add(const PeerId& id, Time until) {
        if (!departed_.try_emplace(id, until).second) return;
        by_time_.emplace(until, id);
        if (by_time_.size() > most_) forget_first();
    }
    bool contains(const PeerId& id) const { return departed_.contains(id); }
    void expire(Time now) {
        while (next_expiry() <= now && !by_time_.empty()) forget_first();
    }
    /// `never` if there is none.
    Time next_expiry() const noexcept { return by_time_.empty() ? never : by_time_.begin()->first; }

private:
    void forget_first() {
        departed_.erase(by_time_.begin()->second);
        by_time_.erase(by_time_.begin());
    }

    std::size_t most_;
    std::map<PeerId, Time> departed_;  // peers choose their ids, so nothing is hashed by them
    std::multimap<Time, PeerId> by_time_;
};

}  // namespace cluster::core
