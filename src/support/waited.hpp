#pragma once

#include "base/mutex.hpp"
#include "support/deadline.hpp"
#include "support/may_wait.hpp"

#include <memory>
#include <system_error>
#include <utility>

namespace cluster::detail {

/// An operation that a thread waits for.
template <class Base>
class Waited final : public Base {
public:
    void wake() noexcept override {
        {
            const Lock lock(mutex_);
            woken_ = true;
        }
        changed_.notify_one();
    }

    /// Waits until it is woken; then it may be handed over again. False if that takes longer than until `deadline`.
    bool wait(Deadline deadline = for_ever) {
        const Lock lock(mutex_);
        while (!woken_) {
            if (deadline == for_ever) {
                changed_.wait(mutex_);
            } else if (!changed_.wait_until(mutex_, deadline) && !woken_) {
                return false;
            }
        }
        woken_ = false;
        return true;
    }
    /// The same, but when time is over `stop` has it woken, unless it is woken otherwise.
    template <class Stop>
    bool wait(Deadline deadline, Stop&& stop) {
        if (wait(deadline)) return true;
        stop();
        wait();
        return false;
    }

private:
    Mutex mutex_;
    Condition changed_;
    bool woken_ GUARDED_BY(mutex_) = false;
};

/// A call that waits for its result as long as that takes. `start` gets the operation, and wakes it. Fails with
/// `errc::would_block` on a thread that may not wait.
template <class Base, class Start>
auto wait_for_result(std::error_code& error, Start&& start) {
    const auto operation = std::make_shared<Waited<Base>>();
    if (may_wait()) {
        start(operation);
        operation->wait();
    } else {
        operation->error = errc::would_block;
    }
    error = operation->error;
    return std::move(operation->result);
}

}  // namespace cluster::detail
