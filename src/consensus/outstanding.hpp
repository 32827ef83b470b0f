#pragma once

#include "consensus/entry.hpp"

#include <cstddef>
#include <deque>
#include <utility>

namespace cluster::consensus {

/// What neighbouring entries cost that are on some way and have not arrived.
class Outstanding {
public:
    void add(const Entry& entry) {
        entries_.emplace_back(entry.id.index, entry.cost());
        bytes_ += entry.cost();
    }
    /// Those up to `index` have arrived.
    void remove(Index index) {
        for (; !entries_.empty() && entries_.front().first <= index; entries_.pop_front()) {
            bytes_ -= entries_.front().second;
        }
    }
    std::size_t bytes() const noexcept { return bytes_; }

private:
    std::deque<std::pair<Index, std::size_t>> entries_;
    std::size_t bytes_ = 0;
};

}  // namespace cluster::consensus
