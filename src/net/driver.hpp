#pragma once

#include "core/action.hpp"
#include "core/engine.hpp"
#include "net/addresses.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"
#include "net/resolver.hpp"
#include "net/spinning_mutex.hpp"

#include <cluster/error.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::net {

class Connection;

/// Carries out the actions that do not concern the network.
class Observer {
public:
    virtual ~Observer() = default;
    /// On the I/O thread, under no lock, in the engine's order. LeaveDone is the last.
    virtual void carry_out(core::NodeAction&& action) = 0;
};

/// One node's engine and what carries out its actions: the listener, the connections, the resolver and one timer.
///
/// `with_engine` and `enqueue` may be called from any thread, everything else on the I/O thread only. Kept alive by
/// work under way; keeps the observer alive from `start` to LeaveDone.
///
/// 1. The engine is used only under the mutex, and actions are carried out under no lock.
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

    /// Calls `use(engine, now)` and has the results carried out.
    template <class Use>
    auto with_engine(Use&& use) {
        return locked(
            [&] {
                mutex_.assert_held();
                return use(engine_, now());
            },
            [this] {
                mutex_.assert_held();
                return engine_.deadline() < armed_;
            });
    }
    /// Calls `use(engine)`, which can produce output but needs no time and sets no timer. For `broadcast` and `send`,
    /// because they are called very often.
    template <class Use>
    auto enqueue(Use&& use) {
        return locked(
            [&] {
                mutex_.assert_held();
                return use(engine_);
            },
            [] { return false; });
    }

    // For the connections, on the I/O thread.

    /// The same as `with_engine`, but the results have been carried out when it returns. Not from within an action.
    template <class Use>
    void serve(Use&& use) {
        {
            const detail::Lock lock(mutex_);
            use(engine_, now());
        }
        work();
    }
    void connection_ended(core::LinkId link);
    Loop& loop() noexcept { return *loop_; }

private:
    template <class Use, class AlsoDue>
    auto locked(Use&& use, AlsoDue&& also_due) {
        detail::Lock lock(mutex_);
        if constexpr (std::is_void_v<decltype(use())>) {
            use();
            if (!wakes(also_due)) return;
            lock.unlock();
            post_work();
        } else {
            auto result = use();
            if (!wakes(also_due)) return result;
            lock.unlock();
            post_work();
            return result;
        }
    }
    /// Whether the caller must wake the I/O thread.
    template <class AlsoDue>
    bool wakes(AlsoDue&& also_due) REQUIRES(mutex_) {
        if (awake_ || !(engine_.has_actions() || engine_.has_ready() || also_due())) return false;
        awake_ = true;
        return true;
    }

    void post_work();
    void work();
    bool may_judge() REQUIRES(mutex_);
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
    void accepted(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote);
    void pause_accepting(const std::error_code& error);
    /// Warnings with the same `cause` repeat each other. `stranger`: it may concern a peer that others invented.
    void warn(std::string text, std::string cause, bool stranger = false);

    const std::shared_ptr<Loop> loop_;
    const std::chrono::seconds keep_warm_;
    SpinningMutex mutex_;
    core::Engine engine_ GUARDED_BY(mutex_);
    bool awake_ GUARDED_BY(mutex_) = true;   ///< true until `start` has been carried out
    Time armed_ GUARDED_BY(mutex_) = never;  ///< the next time at which the timer looks

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
