#include "storage/log_index.hpp"

#include <algorithm>
#include <iterator>

namespace cluster::storage {

using consensus::EntryKind;
using consensus::Index;
using consensus::LogId;
using consensus::Term;

bool LogIndex::apply(const RecordHead& head, std::span<const std::byte> body, Place place) {
    switch (head.type) {
        case RecordType::opening: {
            const auto state = unpack_state(body);
            if (!state) return false;
            if (opened_) return head.id == last_ && *state == state_ && head.time == time_;
            opened_ = true;
            base_ = last_ = head.id;
            base_time_ = time_ = head.time;
            state_ = *state;
            return true;
        }
        case RecordType::state: {
            const auto state = unpack_state(body);
            if (state) state_ = *state;
            return state.has_value();
        }
        case RecordType::begin:
            places_.clear();
            terms_.clear();
            configurations_.clear();
            base_ = last_ = head.id;
            base_time_ = time_ = head.time;
            return true;
        case RecordType::truncate:
            if (head.id.index > last_.index) return false;
            if (head.id.index >= base_.index && term(head.id.index) != head.id.term) return false;
            truncate(head.id, head.time);
            return true;
        case RecordType::entry:
            if (head.id.index != last_.index + 1 || head.id.term < last_.term || head.time < time_) return false;
            if (head.kind < 1 || head.kind > static_cast<std::uint8_t>(EntryKind::configuration)) return false;
            if (terms_.empty() || terms_.back().term != head.id.term) terms_.push_back(head.id);
            if (head.kind == static_cast<std::uint8_t>(EntryKind::configuration)) {
                configurations_.push_back({head.id, EntryKind::configuration, head.time, Bytes(body)});
            }
            places_.push_back(place);
            last_ = head.id;
            time_ = head.time;
            return true;
        case RecordType::mark:
        case RecordType::seal: return true;
    }
    return false;
}

void LogIndex::truncate(const LogId& last, Duration time) {
    if (last.index < base_.index) {
        base_ = last;
        base_time_ = time;
    }
    last_ = last;
    time_ = time;
    places_.resize(last.index - base_.index);
    while (!terms_.empty() && terms_.back().index > last.index) terms_.pop_back();
    while (!configurations_.empty() && configurations_.back().id.index > last.index) configurations_.pop_back();
}

Index LogIndex::last_before(std::uint64_t serial) const {
    const auto first = std::ranges::partition_point(places_, [&](const Place& each) { return each.serial < serial; });
    return base_.index + static_cast<Index>(std::distance(places_.begin(), first));
}

void LogIndex::forget(Index index, Duration time) {
    if (index <= base_.index) return;
    places_.erase(places_.begin(), places_.begin() + static_cast<std::ptrdiff_t>(index - base_.index));
    base_ = {term(index), index};
    base_time_ = time;
    const auto next = std::ranges::upper_bound(terms_, index, {}, &LogId::index);
    const Term running = next == terms_.begin() ? 0 : std::prev(next)->term;
    terms_.erase(terms_.begin(), next);
    // The run goes on behind what was cut off.
    if (last_.index > index && (terms_.empty() || terms_.front().index > index + 1)) {
        terms_.insert(terms_.begin(), LogId{running, index + 1});
    }
    std::erase_if(configurations_, [&](const consensus::Entry& each) { return each.id.index <= index; });
}

Term LogIndex::term(Index index) const {
    const auto next = std::ranges::upper_bound(terms_, index, {}, &LogId::index);
    return next == terms_.begin() ? base_.term : std::prev(next)->term;
}

}  // namespace cluster::storage
