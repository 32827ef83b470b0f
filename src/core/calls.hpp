#pragma once

#include "base/time.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::core {

/// The requests of one node that wait for their replies. Each has a waiter that learns how it ended. Not thread-safe.
///
/// Each ends once: the caller that takes its waiter has to tell it.
template <class Waiter>
class Calls {
public:
    static constexpr std::size_t most = 65536;

    /// Its number, which is never used again; 0 if `most` wait, and then nothing has begun.
    std::uint64_t begin(const PeerId& to, Time deadline, Waiter waiter) {
        if (waiting_.size() == most) return 0;
        const std::uint64_t number = ++last_;
        waiting_.emplace(number, Waiting{to, deadline, std::move(waiter)});
        by_deadline_.emplace(deadline, number);
        return number;
    }

    /// A reply has come. Returns nothing if no request waits for it, or if the request went to another peer.
    std::optional<Waiter> answered(std::uint64_t number, const PeerId& from) {
        const auto found = waiting_.find(number);
        if (found == waiting_.end() || found->second.to != from) return std::nullopt;
        return take(found);
    }
    /// Whether a reply of `from` would end the request.
    bool waits(std::uint64_t number, const PeerId& from) const {
        const auto found = waiting_.find(number);
        return found != waiting_.end() && found->second.to == from;
    }
    std::optional<Waiter> end(std::uint64_t number) {
        const auto found = waiting_.find(number);
        if (found == waiting_.end()) return std::nullopt;
        return take(found);
    }
    /// All to one peer, in the order in which they were begun.
    std::vector<Waiter> end_all(const PeerId& to) {
        std::set<std::uint64_t> numbers;
        for (const auto& [number, waiting] : waiting_) {
            if (waiting.to == to) numbers.insert(number);
        }
        std::vector<Waiter> ended;
        for (const std::uint64_t number : numbers) ended.push_back(*end(number));
        return ended;
    }
    std::vector<Waiter> end_all() { return expire(never); }
    /// Those whose time is over, in the order of their deadlines.
    std::vector<Waiter> expire(Time now) {
        std::vector<Waiter> ended;
        while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
            ended.push_back(*end(by_deadline_.begin()->second));
        }
        return ended;
    }

    /// When the next one is to be ended; `never` if none waits.
    Time deadline() const { return by_deadline_.empty() ? never : by_deadline_.begin()->first; }
    std::size_t size() const noexcept { return waiting_.size(); }

private:
    struct Waiting {
        PeerId to;
        Time deadline;
        Waiter waiter;
    };
    using Map = std::unordered_map<std::uint64_t, Waiting>;

    Waiter take(typename Map::iterator found) {
        by_deadline_.erase({found->second.deadline, found->first});
        Waiter waiter = std::move(found->second.waiter);
        waiting_.erase(found);
        return waiter;
    }

    std::uint64_t last_ = 0;
    Map waiting_;
    std::set<std::pair<Time, std::uint64_t>> by_deadline_;
};

}  // namespace cluster::core
