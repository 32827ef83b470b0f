#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <optional>

namespace cluster::core {

/// How full one outbox is over time: whether it is worth waiting for room in it. Not thread-safe.
///
/// 1. An outbox that has filled up is waited for until half of it has drained. So a peer that is only a little behind
///    is not taken for a slow one.
/// 2. The peer is slow if that takes `patience` or longer, even if a little room appears now and then. It stays slow
///    until half of the outbox has drained.
/// 3. A peer that was slow is waited for again only when its outbox has drained by half in time, or altogether. So a
///    slow peer delays others once, and not each time its outbox fills.
class Backlog {
public:
    enum class Verdict {
        room,
        wait,  ///< the time was not given: ask again with it
        slow,
    };

    /// About a message of `size` bytes for an outbox that holds `held` of at most `most`. Without the time, nothing new
    /// is learnt about the peer.
    Verdict judge(std::size_t held, std::size_t size, std::size_t most, std::optional<Time> now,
                  Duration patience) noexcept {
        const bool fits = held + size <= most;
        if (fits && (!filled_ || held <= most / 2)) {
            if (slow_ && !now) return Verdict::wait;
            if (slow_) doubted_ = *now - *filled_ >= patience;
            if (held == 0) doubted_ = false;
            filled_.reset();
            slow_ = false;
            return Verdict::room;
        }
        if (now) {
            if (!filled_) filled_ = now;
            slow_ = slow_ || doubted_ || *now - *filled_ >= patience;
        }
        return slow_ ? Verdict::slow : Verdict::wait;
    }

    /// After `Verdict::wait` with the time: since when the outbox has been waiting to drain by half.
    Time filled() const noexcept { return filled_.value_or(never); }

private:
    std::optional<Time> filled_;
    bool slow_ = false;     ///< since it filled up; it has not drained by half
    bool doubted_ = false;  ///< it was slow before that
};

}  // namespace cluster::core
