#pragma once

#include "base/mutex.hpp"
#include "base/time.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"

#include <functional>
#include <memory>
#include <utility>

namespace cluster::net {

/// Calls a function on the I/O thread at the earliest of the times for which it was set. Thread-safe. A part of its
/// owner, which may be destroyed while it is set.
class Alarm {
public:
    Alarm(std::shared_ptr<Loop> loop, std::function<void()> ring)
        : loop_(std::move(loop)), ring_(std::move(ring)), timer_(loop_->io()) {}

    /// Rings once, at `at` or earlier; then it must be set again. False after `end`.
    bool set(Time at, std::weak_ptr<const void> owner);
    /// On the I/O thread: does not ring any more.
    void end();

private:
    void wait(std::weak_ptr<const void> owner);
    void ring();

    const std::shared_ptr<Loop> loop_;
    const std::function<void()> ring_;

    detail::Mutex mutex_;
    Time at_ GUARDED_BY(mutex_) = never;
    bool ended_ GUARDED_BY(mutex_) = false;

    asio::steady_timer timer_;  ///< of the I/O thread
};

}  // namespace cluster::net
