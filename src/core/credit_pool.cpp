#include "core/credit_pool.hpp"

#include <utility>

namespace cluster::core {

void CreditPool::grow(Share& share, Intake& intake, bool active) {
    const std::uint64_t consumed = intake.consumed();
    const std::uint64_t window = intake.limit() > consumed ? intake.limit() - consumed : 0;
    const std::uint64_t covered = base_window + (share.permit ? permit_size_ : 0);
    const std::uint64_t in_use = window > covered ? window - covered : 0;

    free_ += share.extra;
    share.extra = std::min(std::max(in_use, active ? free_ / 4 : std::uint64_t{0}), free_);
    free_ -= share.extra;
    intake.allow(consumed + base_window + share.extra);

    // Nothing of this session waits to be taken, as far as readers have reported, but a message it cannot finish within
    // its window.
    const bool stuck = intake.partial() && intake.received() - consumed < intake.partial_charge() + unreported &&
                       intake.limit() - intake.received() < max_data_frame;
    if (stuck && !share.permit) {
        if (permits_ > 0) {
            --permits_;
            share.permit = true;
            share.waits = false;
        } else if (!share.waits) {
            share.waits = true;
            waiting_.push_back(share.session);
        }
    }
    if (stuck && share.permit) intake.allow(intake.received() + 2 * max_data_frame);
    if (share.permit && !intake.partial() && intake.limit() - consumed <= base_window + share.extra) {
        give_back_permit(share);
    }
}

void CreditPool::release(Share& share) {
    free_ += std::exchange(share.extra, 0);
    lend(share);
    share.waits = false;  // its entry in the queue is skipped when its turn comes
}

void CreditPool::lend(Share& share) {
    if (share.permit) give_back_permit(share);
}

void CreditPool::give_back_permit(Share& share) {
    share.permit = false;
    ++permits_;
}

std::uint64_t CreditPool::next_waiting() {
    if (permits_ == 0 || waiting_.empty()) return 0;
    const std::uint64_t session = waiting_.front();
    waiting_.pop_front();
    return session;
}

}  // namespace cluster::core
