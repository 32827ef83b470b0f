#pragma once

#include "core/frame.hpp"
#include "core/intake.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>

namespace cluster::core {

/// Deals out the memory of the inbox: how far each session may send on the user channel. Not thread-safe.
///
/// The flow-control window of a session is what it may still send, plus what it has sent and nobody has taken. The
/// windows together stay within the size of the inbox, which has three parts:
/// 1. `base_window` for each of `max_peers`, so that no peer is shut out by others. A peer that returns beyond
///    `max_peers` gets its window from the rest.
/// 2. A reserve for finishing messages that are longer than a window: one permit for each that fits in, and at least
///    two. So one sender that does not finish cannot stop all others. The second permit may need more than the inbox's
///    size.
/// 3. The rest goes to sessions whose messages are being taken. Each gets at most a third of what is still free, so it
///    never runs out and active sessions end with equal parts.
///
/// Credit that was given cannot be taken back; an idle session keeps its part until it uses it. What a session leaves
/// unread stays charged when it ends.
///
/// The inbox can hold more than its size in two cases, in which credit was dealt out again and is used all the same:
/// - A peer that failed returns: it may use as much more as it had been given.
/// - A sender has begun a long message and lost its permit, because its link was lost or it let others wait.
class CreditPool {
public:
    /// Readers report what they have taken of a session from this many bytes on. Less may stay unreported until another
    /// session reports, or a peer goes.
    static constexpr std::uint64_t report_from = std::uint64_t{32} << 10;
    static constexpr std::uint64_t base_window = std::uint64_t{128} << 10;
    static_assert(base_window > max_data_frame + report_from, "a sender would starve on what was not reported");

    /// A session's part. Give it back with `release`.
    struct Share {
        std::uint64_t session = 0;
        std::uint64_t base = 0;
        std::uint64_t extra = 0;
        bool permit = false;
        bool waits_for_base = false;
        bool waits_for_permit = false;
        std::uint64_t permit_mark = 0;  ///< what had been received when the permit last brought a frame
        unsigned permit_idle = 0;       ///< calls of `overdue` since then
    };

    CreditPool(std::uint64_t inbox_bytes, std::uint64_t max_peers, std::uint64_t max_message) noexcept;

    /// Raises the limit of `intake` as far as possible. To be called when a session starts or comes back, when the
    /// application has taken messages, and when a part of a message has come.
    void grow(Share& share, Intake& intake, bool active);
    /// The session's link is lost: the permit goes to others.
    void lend_permit(Share& share);
    /// To be called once in a heartbeat for each session. True if the session had a permit and has not used it: in
    /// `most_idle` heartbeats less than one longest frame has come. The permit is then free for others that wait.
    bool overdue(Share& share, const Intake& intake);
    static constexpr unsigned most_idle = 2;
    /// The peer of the session has failed: what its unread messages do not need goes to others.
    void lend(Share& share, const Intake& intake);
    /// The session is gone; what the application takes of its unread messages is reported to `taken`.
    void release(Share& share, const Intake& intake);
    /// The application has taken messages of a session that is gone.
    void taken(std::uint64_t session, std::uint64_t bytes);
    /// A session that waits for what is free now; call `grow` for it. 0 if there is none. It no longer waits.
    std::uint64_t next_waiting();

private:
    struct Part {
        std::uint64_t base = 0;
        std::uint64_t extra = 0;
        bool permit = false;
    };
    void give_back(Part& part);
    void level() noexcept;
    void charge(Part& part, std::uint64_t unread);

    std::uint64_t permit_size_;
    std::uint64_t permits_ = 0;  ///< free
    std::uint64_t all_base_;   ///< of `max_peers`
    std::uint64_t base_ = 0;   ///< free
    std::uint64_t extra_ = 0;  ///< free
    std::deque<std::uint64_t> waiting_for_base_;
    std::deque<std::uint64_t> waiting_for_permit_;
    struct Orphan {
        Part part;
        std::uint64_t unread = 0;
    };
    std::unordered_map<std::uint64_t, Orphan> orphans_;
};

}  // namespace cluster::core
