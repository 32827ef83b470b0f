#pragma once

#include "base/mutex.hpp"

#include <algorithm>
#include <thread>
#include <vector>

namespace cluster::detail {

/// Those who are inside of something, mostly a call of a function of the application. Others can wait until nobody is.
/// Not thread-safe: it is guarded by its owner's lock.
class Visits {
public:
    /// Of a thread, or of nobody in particular.
    void enter(std::thread::id who = std::this_thread::get_id()) { inside_.push_back(who); }
    void leave(std::thread::id who = std::this_thread::get_id()) {
        inside_.erase(std::find(inside_.begin(), inside_.end(), who));
        left_.notify_all();
    }
    /// Whether somebody else than this thread is inside.
    bool others() const {
        return std::any_of(inside_.begin(), inside_.end(),
                           [self = std::this_thread::get_id()](std::thread::id who) { return who != self; });
    }
    /// Waits until nobody else than this thread is inside. Gives back the owner's lock meanwhile.
    void wait(Mutex& mutex) REQUIRES(mutex) {
        while (others()) left_.wait(mutex);
    }

private:
    std::vector<std::thread::id> inside_;
    Condition left_;
};

}  // namespace cluster::detail
