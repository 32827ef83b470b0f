#pragma once

#include "support/deadline.hpp"

#include <condition_variable>
#include <mutex>

namespace cluster::detail {

/// An operation that a thread waits for.
template <class Base>
class Waited final : public Base {
public:
    void wake() noexcept override {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        changed_.notify_all();  // under the lock: the one who waits may destroy this next
    }
    /// False if it takes longer.
    bool wait(Deadline deadline) {
        std::unique_lock lock(mutex_);
        const auto woken = [this] { return woken_; };
        if (deadline != Deadline::max()) return changed_.wait_until(lock, deadline, woken);
        changed_.wait(lock, woken);
        return true;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

}  // namespace cluster::detail
