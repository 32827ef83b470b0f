#pragma once

#include "core/frame.hpp"
#include "core/intake.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace cluster::core {

/// Deals out the memory of the inbox: how far each session may send on the user channel. Not thread-safe.
///
/// What a session may still send plus what it sent and nobody took is its window. The windows together stay within the
/// inbox's size, which is cut in three:
/// 1. `base_window` for each of `max_peers`, so that nobody is shut out by others;
/// 2. a reserve for finishing messages longer than a window, one permit for each that fits in;
/// 3. the rest goes to those whose messages are being taken, to each at most a third of what remains free, so that it
///    never runs out and active sessions end with equal parts.
/// Credit that was given cannot be taken back; an idle session keeps its part until it uses it.
class CreditPool {
public:
    /// More than one largest frame plus what readers leave unreported (see `InboxState::report_from`).
    static constexpr std::uint64_t base_window = std::uint64_t{128} << 10;
    /// Readers may have taken so much without a word yet: `InboxState::report_from`.
    static constexpr std::uint64_t unreported = std::uint64_t{32} << 10;

    /// A session's part. Give it back with `release`.
    struct Share {
        std::uint64_t session = 0;
        std::uint64_t extra = 0;
        bool permit = false;
        bool waits = false;
    };

    CreditPool(std::uint64_t inbox_bytes, std::uint64_t max_peers, std::uint64_t max_message) noexcept
        : permit_size_(max_message + 2 * max_data_frame) {
        const std::uint64_t reserve = inbox_bytes / 4;
        permits_ = std::max<std::uint64_t>(1, reserve / permit_size_);
        const std::uint64_t taken = base_window * max_peers + permits_ * permit_size_;
        free_ = inbox_bytes > taken ? inbox_bytes - taken : 0;
    }

    /// Raises the limit of `intake` as far as may be: call it when a session starts, when the application has taken
    /// messages, and when a part of a message has come.
    void grow(Share& share, Intake& intake, bool active);
    /// The session is gone: everything of it is free again.
    void release(Share& share);
    /// The session's link is lost: the permit goes to others. Should it come back and finish its message meanwhile, the
    /// inbox holds that message more than its size.
    void lend(Share& share);
    /// A session to call `grow` for, because a permit is free and it waits for one; 0 if there is none.
    std::uint64_t next_waiting();

private:
    void give_back_permit(Share& share);

    std::uint64_t permit_size_;
    std::uint64_t permits_ = 0;
    std::uint64_t free_ = 0;
    std::deque<std::uint64_t> waiting_;
};

}  // namespace cluster::core
