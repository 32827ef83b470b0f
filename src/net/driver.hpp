#pragma once

#include "core/action.hpp"
#include "core/engine.hpp"
#include "net/addresses.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"
#include "net/io_thread.hpp"
#include "net/resolver.hpp"

#include <cluster/error.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::net {

class Connection;

/// A mutex for short critical sections: tries for about a microsecond before it sleeps, because to wake a thread costs
/// more than most of them last. An I/O thread that has slept for `patience` goes first: threads that take the mutex
/// again and again, as those who send do, would otherwise keep it from its work until its peers take it for dead. To
/// let it go first at once would cost a quarter of what can be sent.
class SpinningMutex {
public:
    void lock() {
        const bool io = on_io_thread();
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
    void unlock() { mutex_.unlock(); }

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
    std::atomic<std::chrono::steady_clock::rep> io_sleeps_since_{0};  ///< 0: it does not
};

/// Whom the driver hands the engine's actions that do not concern the network.
class Observer {
public:
    virtual ~Observer() = default;
    /// On the I/O thread, under no lock, in the engine's order. LeaveDone is the last.
    virtual void carry_out(core::Action&& action) = 0;
};

/// One node's engine and what carries out its actions: the listener, the connections, the resolver and one timer.
///
/// `with_engine` and `enqueue` may be called from any thread, everything else on the I/O thread only. Kept alive by
/// what is under way; keeps the observer alive from `start` to LeaveDone.
///
/// 1. The engine is used under the mutex only, and actions are carried out under none.
/// 2. Actions are carried out before anything that the engine produced with them is written: a message is in the inbox
///    before its acknowledgement leaves.
/// 3. While `awake_`, the I/O thread will look at the engine again before it sleeps, so nobody needs to wake it.
class Driver : public std::enable_shared_from_this<Driver> {
public:
    static Time now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }

    /// `keep_warm`: see `Options`.
    Driver(std::shared_ptr<Loop> loop, asio::ip::tcp::acceptor acceptor, core::EngineOptions options,
           std::chrono::nanoseconds keep_warm);
    ~Driver();

    /// From any thread, once.
    void start(std::shared_ptr<Observer> observer);

    /// Calls `use(engine, now)` and sees to it that what follows from it happens.
    template <class Use>
    auto with_engine(Use&& use) {
        return locked([&] { return use(engine_, now()); }, [this] { return engine_.deadline() < armed_; });
    }
    /// Calls `use(engine)`, which can produce output but needs no time and sets no timer: `broadcast` and `send`, of
    /// which there are many.
    template <class Use>
    auto enqueue(Use&& use) {
        return locked([&] { return use(engine_); }, [] { return false; });
    }

    // For the connections, on the I/O thread.

    /// The same as `with_engine`, and what follows has happened when it returns. Not from within an action.
    template <class Use>
    void serve(Use&& use) {
        {
            const std::lock_guard lock(mutex_);
            use(engine_, now());
        }
        work();
    }
    void connection_ended(core::LinkId link);
    Loop& loop() noexcept { return *loop_; }

private:
    template <class Use, class AlsoDue>
    auto locked(Use&& use, AlsoDue&& also_due) {
        std::unique_lock lock(mutex_);
        const auto wake = [&] {
            if (awake_ || !(engine_.has_actions() || engine_.has_ready() || also_due())) return;
            awake_ = true;
            lock.unlock();
            post_work();
        };
        if constexpr (std::is_void_v<decltype(use())>) {
            use();
            wake();
        } else {
            auto result = use();
            wake();
            return result;
        }
    }

    void post_work();
    void work();
    bool may_judge();
    void arm(Time deadline);

    void carry_out(core::Action&& action);
    void dial(core::Dial&& dial);
    void connect(const core::Dial& dial, Resolver::Endpoints endpoints);
    void dialled(core::LinkId link, const Address& address, const std::error_code& error);
    void resolve(core::Resolve&& resolve);
    void resolved(std::uint64_t target, const Resolver::Endpoints& endpoints);
    void close(const core::Close& close);
    void finish();

    void watch_interfaces(std::optional<Interfaces> last);
    void wait_for_accept();
    void accept();
    void accepted(asio::ip::tcp::socket socket);
    void pause_accepting(const std::error_code& error);
    /// Where `cause` is the same, it is the same again. `stranger`: it may concern somebody that others invented.
    void warn(std::string text, std::string cause, bool stranger = false);

    const std::shared_ptr<Loop> loop_;
    const std::chrono::seconds keep_warm_;
    SpinningMutex mutex_;
    core::Engine engine_;
    bool awake_ = true;               ///< under the mutex; true until `start` has been carried out
    Time armed_ = never;  ///< under the mutex: when the timer will look

    // Of the I/O thread.
    std::shared_ptr<Observer> observer_;
    asio::ip::tcp::acceptor acceptor_;
    asio::steady_timer timer_;
    asio::steady_timer accept_pause_;
    asio::steady_timer interfaces_timer_;
    bool accepting_failed_ = false;
    bool catching_up_ = false;
    std::unordered_map<core::LinkId, std::shared_ptr<Connection>> connections_;
    std::vector<core::Action> actions_;
    std::vector<core::LinkId> ready_;
};

}  // namespace cluster::net
