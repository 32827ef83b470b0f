#pragma once

#include "base/mutex.hpp"

#include <deque>
#include <functional>
#include <thread>
#include <utility>

namespace cluster::replica {

/// A thread that does one thing after the other. Thread-safe. In a child made by `fork` it must be kept for ever.
class Worker {
public:
    Worker() : thread_([this] { run(); }) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() { finish(); }

    /// False after `finish`: it will not be done.
    bool post(std::function<void()> work);
    /// Has done all that was posted when it returns. Not on its own thread.
    void finish();

private:
    void run();

    detail::Mutex mutex_;
    detail::Condition changed_;
    std::deque<std::function<void()>> queue_ GUARDED_BY(mutex_);
    bool finished_ GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace cluster::replica
