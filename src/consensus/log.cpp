#include "consensus/log.hpp"

#include "consensus/invariant.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

Log::Log(SnapshotId base, std::vector<TermStart> terms, std::optional<Entry> last)
    : base_(std::move(base)),
      terms_(std::move(terms)),
      last_(last ? last->id.index : base_.last.index),
      durable_(last_) {
    if (last) {
        bytes_ = last->cost();
        entries_.push_back(*last);
    }
    const bool from_base = terms_.empty() ? !last : terms_.front().index == base_.last.index + 1;
    require(from_base && (!last || (last_ > base_.last.index && term_at(last_) == last->id.term)),
            "the terms of the log do not lead from its base to its last entry");
}

std::optional<Term> Log::term_at(Index index) const {
    if (index == base_.last.index) return base_.last.term;
    if (index < base_.last.index || index > last_) return std::nullopt;
    return std::prev(start_behind(index))->term;
}

std::vector<TermStart>::const_iterator Log::start_behind(Index index) const {
    return std::upper_bound(terms_.begin(), terms_.end(), index,
                            [](Index at, const TermStart& start) { return at < start.index; });
}

LogId Log::common(const LogId& hint) const {
    if (hint.index < base_.last.index) return hint;  // where this log cannot look: the other one must say
    Index index = std::min(hint.index, last_);
    for (auto start = terms_.rbegin(); start != terms_.rend(); ++start) {
        if (start->index > index) continue;
        if (start->term <= hint.term) return {start->term, index};
        index = start->index - 1;
    }
    return base_.last;
}

const Entry* Log::find(Index index) const {
    const Index first = first_in_memory();
    return index < first || index > last_ ? nullptr : &entries_[static_cast<std::size_t>(index - first)];
}

std::vector<Entry> Log::copy(Index from, Index end, std::size_t most) const {
    Index behind = from;
    std::size_t cost = 0;
    for (const Entry* entry; behind < end && (entry = find(behind)) != nullptr; ++behind) {
        cost += entry->cost();
        if (behind != from && cost > most) break;
    }
    std::vector<Entry> copied;
    copied.reserve(behind - from);
    for (; from < behind; ++from) copied.push_back(*find(from));
    return copied;
}

void Log::append(Entry entry) {
    require(entry.id.index == last_ + 1, "an entry leaves a gap in the log");
    require(entry.id.term >= term_of_last(), "terms go backwards in the log");
    if (terms_.empty() || terms_.back().term != entry.id.term) terms_.push_back({entry.id.index, entry.id.term});
    bytes_ += entry.cost();
    last_ = entry.id.index;
    entries_.push_back(std::move(entry));
}

void Log::truncate(Index index) {
    require(index > base_.last.index, "what a snapshot holds was to be truncated");
    while (!entries_.empty() && last_ >= index) {
        bytes_ -= entries_.back().cost();
        entries_.pop_back();
        --last_;
    }
    last_ = std::min(last_, index - 1);
    while (!terms_.empty() && terms_.back().index > last_) terms_.pop_back();
    durable_ = std::min(durable_, last_);
    for (Order& order : orders_) order.last = std::min(order.last, last_);
}

void Log::rebase(SnapshotId base) {
    if (base.last.index <= base_.last.index) return;
    require(contains(base.last), "a snapshot stands at an entry that the log does not have");
    if (base.last.index < last_) {
        const auto first = terms_.erase(terms_.begin(), std::prev(start_behind(base.last.index + 1)));
        first->index = base.last.index + 1;
    } else {
        terms_.clear();
    }
    base_ = std::move(base);
}

void Log::reset(SnapshotId base) {
    base_ = std::move(base);
    terms_.clear();
    entries_.clear();
    bytes_ = 0;
    last_ = base_.last.index;
    durable_ = last_;
    for (Order& order : orders_) order.last = 0;  // what they wrote is gone
}

void Log::forget(std::size_t keep) {
    while (bytes_ > keep && entries_.size() > 1 && entries_.front().id.index <= durable_) {
        bytes_ -= entries_.front().cost();
        entries_.pop_front();
    }
}

void Log::written(std::uint64_t number) {
    while (!orders_.empty() && orders_.front().number <= number) {
        durable_ = std::max(durable_, orders_.front().last);
        orders_.pop_front();
    }
}

}  // namespace cluster::consensus
