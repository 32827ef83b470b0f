#pragma once

#include "base/mutex.hpp"

#include <algorithm>
#include <thread>
#include <vector>

namespace cluster::detail {

/// The threads that are inside of something, mostly of a call of the application's function. Others can wait until none
/// is inside. Not thread-safe: guarded by the lock of its owner.
class Visits {
public:
    /// Enters for a thread, or for nobody in particular.
    void enter(std::thread::id who = std::this_thread::get_id()) { inside_.push_back(who); }
    void leave(std::thread::id who = std::this_thread::get_id()) {
        inside_.erase(std::find(inside_.begin(), inside_.end(), who));
        left_.notify_all();
    }
    /// Whether anybody but this thread is inside.
    bool others() const {
        return std::any_of(inside_.begin(), inside_.end(),
                           [self = std::this_thread::get_id()](std::thread::id who) { return who != self; });
    }
    /// Waits until nobody but this thread is inside. Releases the owner's lock meanwhile.
    void wait(Mutex& mutex) REQUIRES(mutex) {
        while (others()) left_.wait(mutex);
    }

private:
    std::vector<std::thread::id> inside_;
    Condition left_;
};

}  // namespace cluster::detail
