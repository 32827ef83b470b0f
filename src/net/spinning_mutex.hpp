#pragma once

#include "base/mutex.hpp"
#include "base/thread_kind.hpp"

#include <atomic>
#include <chrono>
#include <mutex>

namespace cluster::net {

/// A mutex for short critical sections. It tries for about a microsecond before it sleeps, because waking a thread
/// costs more than most of these sections last.
///
/// An I/O thread that has slept for `patience` goes first. Threads that take the mutex again and again, as senders do,
/// would otherwise keep it from its work until its peers take it for dead. Letting it go first at once would cost a
/// quarter of the sending rate.
class CAPABILITY("mutex") SpinningMutex {
public:
    void lock() ACQUIRE() {
        const bool io = detail::kind_of_this_thread() == detail::ThreadKind::io;
        if (!io) let_io_pass();
        for (int i = 0; i < 64; ++i) {
            if (mutex_.try_lock()) return;
            for (int k = 0; k < 8; ++k) pause();
        }
        if (io) io_sleeps_since_.store(now());
        mutex_.lock();
        if (io) {
            io_sleeps_since_.store(0);
            io_sleeps_since_.notify_all();
        }
    }
    void unlock() RELEASE() { mutex_.unlock(); }
    /// See `detail::Mutex`.
    void assert_held() const ASSERT_CAPABILITY(this) {}

private:
    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }

    static constexpr std::chrono::steady_clock::rep patience =
        std::chrono::steady_clock::duration(std::chrono::milliseconds(1)).count();

    static std::chrono::steady_clock::rep now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch().count();
    }
    void let_io_pass() const noexcept {
        const auto since = io_sleeps_since_.load(std::memory_order_relaxed);
        if (since != 0 && now() - since > patience) io_sleeps_since_.wait(since);
    }

    std::mutex mutex_;
    std::atomic<std::chrono::steady_clock::rep> io_sleeps_since_{0};  ///< 0: it does not sleep
};

}  // namespace cluster::net
