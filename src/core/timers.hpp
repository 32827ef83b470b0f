#pragma once

#include "core/time.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

namespace cluster::core {

/// Many deadlines, each under a key that has one at most. Not thread-safe.
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
        current_[key] = at;
        queue_.push({at, ++order_, key});
    }
    /// Sets it unless an earlier one is set.
    void set_no_later(Key key, Time at) {
        const auto found = current_.find(key);
        if (found == current_.end() || found->second > at) set(key, at);
    }
    void cancel(Key key) { current_.erase(key); }
    bool pending(Key key) const { return current_.contains(key); }

    /// The earliest deadline, or `never`.
    Time next() {
        discard_stale();
        return queue_.empty() ? never : queue_.top().at;
    }
    /// Removes and returns one key whose time has come.
    std::optional<Key> pop(Time now) {
        discard_stale();
        if (queue_.empty() || queue_.top().at > now) return std::nullopt;
        const Key key = queue_.top().key;
        queue_.pop();
        current_.erase(key);
        return key;
    }

private:
    struct Entry {
        Time at;
        std::uint64_t order;  ///< equal times fire in the order in which they were set
        Key key;
        bool operator>(const Entry& other) const noexcept {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<std::uint64_t>{}(key.id * 64 + static_cast<std::uint64_t>(key.kind));
        }
    };

    void discard_stale() {
        while (!queue_.empty()) {
            const auto found = current_.find(queue_.top().key);
            if (found != current_.end() && found->second == queue_.top().at) return;
            queue_.pop();
        }
    }

    std::unordered_map<Key, Time, Hash> current_;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
    std::uint64_t order_ = 0;
};

}  // namespace cluster::core
