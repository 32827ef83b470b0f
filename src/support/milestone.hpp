#pragma once

#include "base/mutex.hpp"

namespace cluster::detail {

/// Something that happens once, and the threads that wait for it. Thread-safe.
class Milestone {
public:
    void reach() {
        const Lock lock(mutex_);
        reached_ = true;
        changed_.notify_all();
    }
    void wait() {
        const Lock lock(mutex_);
        while (!reached_) changed_.wait(mutex_);
    }

private:
    Mutex mutex_;
    Condition changed_;
    bool reached_ GUARDED_BY(mutex_) = false;
};

}  // namespace cluster::detail
