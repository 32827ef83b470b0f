#pragma once

#include "base/time.hpp"
#include "core/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace cluster::core {

/// What is left of sessions that this node has forgotten for lack of room. It is enough to prove that to the peer,
/// which still has the session, so that both begin anew at once (R22). Not thread-safe.
///
/// 1. It keeps the last session with each id, and the ids that were attached longest. So peers that come and go do not
///    take their place.
/// 2. What was forgotten is never taken up again, so a proof of it stays true even if it is read late.
class ForgottenSessions {
public:
    static constexpr std::size_t most = 16384;

    struct Entry {
        std::optional<Token> token;     ///< none if only the count is left
        std::uint64_t outstanding = 0;  ///< messages of which nobody knows whether they arrived
        Duration known{};               ///< how long its peer had been attached
    };

    /// An entry without a token leaves that of the last session as it is.
    void remember(const PeerId& id, Entry entry) {
        if (const auto found = entries_.find(id); found != entries_.end()) {
            if (!entry.token) entry.token = found->second.token;
            erase(found);
        }
        entries_.emplace(id, entry);
        by_time_.emplace(entry.known, id);
        if (entries_.size() > most) erase(entries_.find(by_time_.begin()->second));
    }
    /// Null if nothing is remembered. Valid until the next call of `remember`.
    const Entry* find(const PeerId& id) const {
        const auto found = entries_.find(id);
        return found == entries_.end() ? nullptr : &found->second;
    }
    /// Its outstanding messages, which are reported once.
    std::uint64_t take_outstanding(const PeerId& id) {
        const auto found = entries_.find(id);
        return found == entries_.end() ? 0 : std::exchange(found->second.outstanding, 0);
    }
    std::size_t size() const noexcept { return entries_.size(); }

private:
    using Map = std::map<PeerId, Entry>;  // peers choose their ids, so nothing is hashed by them
    void erase(Map::iterator found) {
        by_time_.erase({found->second.known, found->first});
        entries_.erase(found);
    }

    Map entries_;
    std::set<std::pair<Duration, PeerId>> by_time_;
};

}  // namespace cluster::core
