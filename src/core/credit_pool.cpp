#include "core/credit_pool.hpp"

#include <utility>

namespace cluster::core {

CreditPool::CreditPool(std::uint64_t inbox_bytes, std::uint64_t max_peers, std::uint64_t max_message) noexcept
    : permit_size_(max_message + 2 * max_data_frame), all_base_(base_window * max_peers) {
    const std::uint64_t fit = std::max<std::uint64_t>(1, inbox_bytes / 4 / permit_size_);
    permits_ = std::max<std::uint64_t>(2, fit);
    base_ = all_base_;
    const std::uint64_t reserved = base_ + fit * permit_size_;
    extra_ = inbox_bytes > reserved ? inbox_bytes - reserved : 0;
}

void CreditPool::grow(Share& share, Intake& intake, bool active) {
    if (share.base == 0) {
        if (base_ >= base_window) {
            base_ -= base_window;
            share.base = base_window;
        } else if (extra_ >= base_window) {
            extra_ -= base_window;
            share.base = base_window;
        } else if (!std::exchange(share.waits_for_base, true)) {
            waiting_for_base_.push_back(share.session);
        }
    }
    const std::uint64_t consumed = intake.consumed();
    const std::uint64_t window = intake.limit() > consumed ? intake.limit() - consumed : 0;
    const std::uint64_t covered = share.base + (share.permit ? permit_size_ : 0);
    const std::uint64_t in_use = window > covered ? window - covered : 0;

    extra_ += share.extra;
    share.extra = std::min(std::max(in_use, active ? extra_ / 4 : std::uint64_t{0}), extra_);
    extra_ -= share.extra;
    intake.allow(consumed + share.base + share.extra);

    // As far as readers have reported, only a message that exceeds the session's window waits to be taken.
    const bool stuck = intake.partial() && intake.received() - consumed < intake.partial_charge() + report_from &&
                       intake.limit() - intake.received() < max_data_frame;
    if (stuck && !share.permit) {
        if (permits_ > 0) {
            --permits_;
            share.permit = true;
            share.permit_mark = intake.received();
            share.permit_idle = 0;
        } else if (!std::exchange(share.waits_for_permit, true)) {
            waiting_for_permit_.push_back(share.session);
        }
    }
    if (stuck && share.permit) intake.allow(intake.received() + 2 * max_data_frame);
    if (share.permit && !intake.partial() && intake.limit() - consumed <= share.base + share.extra) lend_permit(share);
}

void CreditPool::lend_permit(Share& share) {
    if (std::exchange(share.permit, false)) ++permits_;
}

bool CreditPool::overdue(Share& share, const Intake& intake) {
    // A session that has sent all of its message waits for readers.
    if (!share.permit || !intake.partial()) return false;
    if (intake.received() - share.permit_mark >= max_data_frame) {
        share.permit_mark = intake.received();
        share.permit_idle = 0;
        return false;
    }
    if (++share.permit_idle <= most_idle || waiting_for_permit_.empty()) return false;
    lend_permit(share);
    return true;
}

void CreditPool::give_back(Part& part) {
    base_ += part.base;
    extra_ += part.extra;
    if (part.permit) ++permits_;
    part = {};
    level();
}

/// What was taken from the rest as a base window goes back to the rest.
void CreditPool::level() noexcept {
    if (base_ <= all_base_) return;
    extra_ += base_ - all_base_;
    base_ = all_base_;
}

/// Takes what `unread` bytes need: first from the rest, to which no newcomer is entitled.
void CreditPool::charge(Part& part, std::uint64_t unread) {
    part.extra = std::min(extra_, unread);
    part.base = std::min(base_, unread - part.extra);
    part.permit = permits_ > 0 && unread > part.extra + part.base;
    extra_ -= part.extra;
    base_ -= part.base;
    if (part.permit) --permits_;
}

void CreditPool::lend(Share& share, const Intake& intake) {
    // The base window is taken back as a whole or not at all: while messages are unread, it stays.
    const std::uint64_t unread = intake.received() - intake.consumed();
    if (unread == 0) base_ += std::exchange(share.base, 0);
    const std::uint64_t extra = std::min(share.extra, unread > share.base ? unread - share.base : 0);
    extra_ += std::exchange(share.extra, extra) - extra;
    level();
    lend_permit(share);
}

void CreditPool::release(Share& share, const Intake& intake) {
    Orphan orphan;
    orphan.part = {share.base, share.extra, share.permit};
    give_back(orphan.part);
    // A message of which only a part has come is thrown away with its session.
    orphan.unread = intake.received() - intake.consumed() - intake.partial_charge();
    charge(orphan.part, orphan.unread);
    if (orphan.unread != 0) orphans_[share.session] = orphan;
    share = {.session = share.session};
}

void CreditPool::taken(std::uint64_t session, std::uint64_t bytes) {
    const auto found = orphans_.find(session);
    if (found == orphans_.end()) return;
    Orphan& orphan = found->second;
    give_back(orphan.part);
    orphan.unread -= std::min(bytes, orphan.unread);
    charge(orphan.part, orphan.unread);
    if (orphan.unread == 0) orphans_.erase(found);
}

std::uint64_t CreditPool::next_waiting() {
    const auto take = [](std::deque<std::uint64_t>& queue) {
        const std::uint64_t session = queue.front();
        queue.pop_front();
        return session;
    };
    if (base_ >= base_window && !waiting_for_base_.empty()) return take(waiting_for_base_);
    if (permits_ > 0 && !waiting_for_permit_.empty()) return take(waiting_for_permit_);
    return 0;
}

}  // namespace cluster::core
