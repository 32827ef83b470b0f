#include "consensus/progress.hpp"

#include <algorithm>

namespace cluster::consensus {

bool Progress::may_send(std::size_t most_bytes) const noexcept {
    switch (mode_) {
        case Mode::probe: return !waits_;
        case Mode::replicate: return bytes_ < most_bytes && in_flight_.size() < most_messages;
        case Mode::snapshot: return false;
    }
    return false;
}

void Progress::sent(Index last, std::size_t cost) {
    asks_ = false;
    if (mode_ == Mode::probe) {
        waits_ = true;
        probed_ = last;
    } else if (last >= next_) {
        next_ = last + 1;
        in_flight_.push_back({last, cost});
        bytes_ += cost;
    }
}

bool Progress::acknowledge(Index matched) {
    answered_ = true;
    while (!in_flight_.empty() && in_flight_.front().last <= matched) {
        bytes_ -= in_flight_.front().cost;
        in_flight_.pop_front();
    }
    const bool news = matched > matched_;
    matched_ = std::max(matched_, matched);
    next_ = std::max(next_, matched_ + 1);
    if (mode_ == Mode::probe) {
        // An answer to something older says nothing about whether messages arrive in their order again.
        if (!news && matched < probed_) return false;
        mode_ = Mode::replicate;
        next_ = matched_ + 1;
        waits_ = false;
        return true;
    }
    if (mode_ == Mode::snapshot && matched_ >= snapshot_.index) probe();
    return news;
}

bool Progress::reject(Index rejected, Index hint) {
    answered_ = true;
    const bool current = mode_ == Mode::replicate ? rejected > matched_ : mode_ == Mode::probe && rejected == next_ - 1;
    if (!current) return false;
    probe();
    next_ = std::max(std::min(rejected, hint + 1), matched_ + 1);
    return true;
}

void Progress::probe() {
    mode_ = Mode::probe;
    next_ = matched_ + 1;
    waits_ = false;
    in_flight_.clear();
    bytes_ = 0;
}

void Progress::begin_snapshot(const LogId& snapshot) {
    probe();
    mode_ = Mode::snapshot;
    snapshot_ = snapshot;
    offset_ = 0;
}

void Progress::chunk_answered(std::uint64_t next) {
    answered_ = true;
    offset_ = next;
}

void Progress::installed() {
    matched_ = std::max(matched_, snapshot_.index);
    probe();
}

void Progress::alive(Time now) {
    heard_ = now;
    if (!answered_) {
        waits_ = false;
        asks_ = true;
    }
    answered_ = mode_ == Mode::replicate && in_flight_.empty();
}

}  // namespace cluster::consensus
