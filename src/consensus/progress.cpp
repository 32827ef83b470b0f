#include "consensus/progress.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

bool Progress::may_send(std::size_t most_bytes) const noexcept {
    switch (mode_) {
        case Mode::probe: return !waits_;
        case Mode::replicate: return bytes_ < most_bytes && in_flight_.size() < most_messages;
        case Mode::snapshot: return false;
    }
    return false;
}

void Progress::sent(Index last, std::size_t cost, Time now) {
    asks_ = false;
    touched_ = now;
    if (mode_ == Mode::probe) {
        waits_ = true;
        probed_ = last;
    } else if (last >= next_) {
        next_ = last + 1;
        in_flight_.push_back({last, cost});
        bytes_ += cost;
    }
}

bool Progress::acknowledge(Index matched, Time now) {
    touched_ = now;
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

bool Progress::reject(Index rejected, Index hint, Time now) {
    // A disk that does not count may have lost what it had. One that does has not: that is old news.
    if (!counts_ && rejected <= matched_) matched_ = 0;
    if (rejected <= matched_) return false;
    touched_ = now;
    const bool current = mode_ == Mode::replicate || (mode_ == Mode::probe && rejected == next_ - 1);
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

void Progress::pause(Time now) {
    probe();
    waits_ = true;
    touched_ = now;
}

void Progress::begin_snapshot(const LogId& snapshot) {
    probe();
    mode_ = Mode::snapshot;
    snapshot_ = snapshot;
    offset_ = 0;
}

void Progress::chunk_sent(Time now) {
    asks_ = false;
    touched_ = now;
}

bool Progress::chunk_answered(std::uint64_t next, Time now) {
    if (next == offset_) return false;
    offset_ = next;
    touched_ = now;
    return true;
}

void Progress::installed() {
    matched_ = std::max(matched_, snapshot_.index);
    probe();
}

void Progress::heard(Time now, bool counts) {
    heard_ = now;
    present_ = true;
    if (std::exchange(counts_, counts) && !counts) {
        // What it had, it may have lost: from the end of the log, it is found out.
        const Index next = next_;
        matched_ = 0;
        probe();
        next_ = next;
    }
}

void Progress::alive(Time now, Duration patience, Index commit) {
    if (now - touched_ < patience) return;
    told_commit = std::min(told_commit, commit);
    const bool owes = mode_ == Mode::probe ? waits_ : mode_ == Mode::snapshot || !in_flight_.empty();
    if (!owes) return;
    touched_ = now;
    waits_ = false;
    asks_ = true;
}

}  // namespace cluster::consensus
