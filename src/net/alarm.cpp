#include "net/alarm.hpp"

#include <chrono>
#include <system_error>

namespace cluster::net {

bool Alarm::set(Time at, std::weak_ptr<const void> owner) {
    const detail::Lock lock(mutex_);
    if (ended_) return false;
    if (at >= at_) return true;
    at_ = at;
    asio::post(loop_->io(), [this, owner = std::move(owner)] {
        if (const auto alive = owner.lock()) wait(owner);
    });
    return true;
}

void Alarm::end() {
    {
        const detail::Lock lock(mutex_);
        ended_ = true;
    }
    timer_.cancel();
}

void Alarm::wait(std::weak_ptr<const void> owner) {
    {
        const detail::Lock lock(mutex_);
        if (ended_ || at_ == never) return;
        timer_.expires_at(std::chrono::steady_clock::time_point(at_));
    }
    timer_.async_wait([this, owner = std::move(owner)](const std::error_code& cancelled) {
        const auto alive = owner.lock();
        if (!cancelled && alive) ring();
    });
}

void Alarm::ring() {
    {
        const detail::Lock lock(mutex_);
        if (ended_) return;
        at_ = never;
    }
    ring_();
}

}  // namespace cluster::net
