#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

// Locks that clang checks when it compiles (-Wthread-safety): code that uses a variable must hold its lock, on each
// path through each function. Other compilers do not check. The order of all locks is in src/README.md.

#if defined(__clang__)
#define CLUSTER_THREAD_SAFETY(x) __attribute__((x))
#else
#define CLUSTER_THREAD_SAFETY(x)
#endif

/// Of a class: it is a lock.
#define CAPABILITY(name) CLUSTER_THREAD_SAFETY(capability(name))
/// Of a class: it holds a lock as long as it lives.
#define SCOPED_CAPABILITY CLUSTER_THREAD_SAFETY(scoped_lockable)
/// Of a variable: it is used under this lock.
#define GUARDED_BY(mutex) CLUSTER_THREAD_SAFETY(guarded_by(mutex))
/// Of a function: its caller holds this lock.
#define REQUIRES(...) CLUSTER_THREAD_SAFETY(requires_capability(__VA_ARGS__))
/// Of a function: it returns with this lock.
#define ACQUIRE(...) CLUSTER_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
/// Of a function: it releases this lock.
#define RELEASE(...) CLUSTER_THREAD_SAFETY(release_capability(__VA_ARGS__))
/// Of a function: it asserts that this lock is held.
#define ASSERT_CAPABILITY(mutex) CLUSTER_THREAD_SAFETY(assert_capability(mutex))

namespace cluster::detail {

/// `std::mutex`, checked.
class CAPABILITY("mutex") Mutex {
public:
    void lock() ACQUIRE() { mutex_.lock(); }
    void unlock() RELEASE() { mutex_.unlock(); }
    /// For a lambda: the compiler does not know that it runs under the lock of the function around it.
    void assert_held() const ASSERT_CAPABILITY(this) {}

private:
    friend class Condition;
    std::mutex mutex_;
};

/// Holds a lock as long as it lives, or until `unlock`.
template <class M = Mutex>
class SCOPED_CAPABILITY Lock {
public:
    explicit Lock(M& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() RELEASE() {
        if (held_) mutex_.unlock();
    }
    void unlock() RELEASE() {
        held_ = false;
        mutex_.unlock();
    }

private:
    M& mutex_;
    bool held_ = true;
};

/// `std::condition_variable`, checked. A thread that waits holds the lock, checks its condition, and checks it again
/// each time this returns.
class Condition {
public:
    void wait(Mutex& mutex) REQUIRES(mutex) {
        std::unique_lock lock(mutex.mutex_, std::adopt_lock);
        condition_.wait(lock);
        lock.release();
    }
    /// False if time is over.
    bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point deadline) REQUIRES(mutex) {
        std::unique_lock lock(mutex.mutex_, std::adopt_lock);
        const bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
        lock.release();
        return in_time;
    }
    void notify_one() noexcept { condition_.notify_one(); }
    void notify_all() noexcept { condition_.notify_all(); }

private:
    std::condition_variable condition_;
};

}  // namespace cluster::detail
