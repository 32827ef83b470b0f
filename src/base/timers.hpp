#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster {

/// Many deadlines; each key has at most one. Not thread-safe.
template <class Kind>
class Timers {
public:
    struct Key {
        Kind kind;
        std::uint64_t id;
        friend bool operator==(const Key&, const Key&) = default;
    };

    /// Replaces the key's deadline.
    void set(Key key, Time at) {
        cancel(key);
        current_[key] = queue_.emplace(at, key);
    }
    /// Sets the deadline unless an earlier one is set.
    void set_no_later(Key key, Time at) {
        const auto found = current_.find(key);
        if (found == current_.end() || found->second->first > at) set(key, at);
    }
    void cancel(Key key) {
        const auto found = current_.find(key);
        if (found == current_.end()) return;
        queue_.erase(found->second);
        current_.erase(found);
    }
    /// Gives more time: `later(key, at)` returns the new deadline of a key that was due `at`. An earlier one changes
    /// nothing.
    template <class Later>
    void postpone(Later&& later) {
        std::vector<std::pair<Key, Time>> moved;
        for (const auto& [at, key] : queue_) {
            const Time other = later(key, at);
            if (other > at) moved.emplace_back(key, other);
        }
        for (const auto& [key, at] : moved) set(key, at);
    }
    bool pending(Key key) const { return current_.contains(key); }

    /// The earliest deadline, or `never`.
    Time next() const { return queue_.empty() ? never : queue_.begin()->first; }
    /// Removes and returns one key whose time has come.
    std::optional<Key> pop(Time now) {
        if (next() > now || queue_.empty()) return std::nullopt;
        const Key key = queue_.begin()->second;
        cancel(key);
        return key;
    }

private:
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<std::uint64_t>{}(key.id * 64 + static_cast<std::uint64_t>(key.kind));
        }
    };
    using Queue = std::multimap<Time, Key>;  // equal times fire in the order in which they were set

    Queue queue_;
    std::unordered_map<Key, typename Queue::iterator, Hash> current_;
};

}  // namespace cluster
