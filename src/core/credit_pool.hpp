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
/// What a session may still send plus what it sent and nobody took is its window. The windows together stay within the
/// inbox's size, which is cut in three:
/// 1. `base_window` for each of `max_peers`, so that nobody is shut out by others; who returns beyond that gets it from
///    the rest;
/// 2. a reserve for finishing messages longer than a window, one permit for each that fits in; two at least, so that
///    one who does not finish does not stop all others. The second may need more than the inbox's size;
/// 3. the rest goes to those whose messages are being taken, to each at most a third of what remains free, so that it
///    never runs out and active sessions end with equal parts.
/// Credit that was given cannot be taken back; an idle session keeps its part until it uses it. What a session leaves
/// unread stays charged when it ends. Only a peer that failed and returns may use credit that was dealt out again
/// meanwhile; the inbox then holds more than its size by as much as that peer had been given. The same holds for who
/// has begun a long message and lost its permit, because its link was lost or it let others wait.
class CreditPool {
public:
    /// Readers report what they have taken of a session from so much on; less may stay unreported until another
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

    /// Raises the limit of `intake` as far as may be: call it when a session starts or comes back, when the application
    /// has taken messages, and when a part of a message has come.
    void grow(Share& share, Intake& intake, bool active);
    /// The session's link is lost: the permit goes to others.
    void lend_permit(Share& share);
    /// To be called once in a heartbeat for each session. True if it had a permit and finishes nothing with it: in
    /// `most_idle` heartbeats not even one longest frame has come. Then the permit is free for whoever waits.
    bool overdue(Share& share, const Intake& intake);
    static constexpr unsigned most_idle = 2;
    /// The session's peer has failed: what its unread messages do not need goes to others.
    void lend(Share& share, const Intake& intake);
    /// The session is gone; what it left unread is reported to `taken`.
    void release(Share& share, const Intake& intake);
    /// The application has taken messages of a session that is gone.
    void taken(std::uint64_t session, std::uint64_t bytes);
    /// A session that waits for what is free now, to call `grow` for; 0 if there is none. It waits no longer.
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
