#pragma once

#include "base/mutex.hpp"
#include "base/time.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"
#include "net/spinning_mutex.hpp"

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace cluster::net {

/// What a runner runs. It only decides: what is to be done comes out of it. Need not be thread-safe.
template <class M>
concept StateMachine = requires(M& machine, Time now, typename M::Output& out) {
    { machine.deadline() } -> std::same_as<Time>;  // when `tick` has something to do
    machine.tick(now);
    { machine.has_output() } -> std::same_as<bool>;
    { machine.take_output(out) } -> std::same_as<bool>;  // false if there was none
};

/// Runs one state machine under a lock of its own: has its output carried out on the I/O thread, and ticks it when its
/// deadline has come.
///
/// `with` and `enqueue` may be called from any thread, everything else on the I/O thread only. A part of its owner. Who
/// calls keeps the owner alive, and so does work under way.
///
/// 1. The machine is used only under the mutex, and its output is carried out under no lock.
/// 2. One output is carried out completely before the next is taken.
/// 3. While `awake_`, the I/O thread will look at the machine again before it sleeps, so nobody needs to wake it.
/// 4. The machine is ticked only after all that had come by its deadline was read, however slow the I/O thread is.
template <StateMachine M>
class Runner {
public:
    using Output = typename M::Output;
    using CarryOut = std::function<void(Output&)>;

    /// The machine is made from `args`.
    template <class... Args>
    Runner(std::shared_ptr<Loop> loop, CarryOut carry_out, Args&&... args)
        : loop_(std::move(loop)),
          carry_out_(std::move(carry_out)),
          machine_(std::forward<Args>(args)...),
          timer_(loop_->io()) {}
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    /// Once. Nothing is carried out before.
    void start(std::weak_ptr<const void> owner);
    /// Nothing is carried out any more. The machine may still be used.
    void end();

    /// Calls `use(machine, now)` and has the results carried out.
    template <class Use>
    auto with(Use&& use) {
        return locked(
            [&] {
                mutex_.assert_held();
                return use(machine_, Loop::now());
            },
            [this] {
                mutex_.assert_held();
                return machine_.deadline() < armed_;
            });
    }
    /// Calls `use(machine)`, which can produce output but needs no time and sets no deadline. For what is called very
    /// often.
    template <class Use>
    auto enqueue(Use&& use) {
        return locked(
            [&] {
                mutex_.assert_held();
                return use(machine_);
            },
            [] { return false; });
    }
    /// The same as `with`, but the results have been carried out when it returns. Not while output is carried out.
    template <class Use>
    void serve(Use&& use) {
        {
            const detail::Lock lock(mutex_);
            use(machine_, Loop::now());
        }
        work();
    }

private:
    /// How often the I/O thread looks at one machine, at most, before it turns to other things.
    static constexpr int most_rounds = 16;

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
        if (awake_ || !(machine_.has_output() || also_due())) return false;
        awake_ = true;
        return true;
    }

    void post_work();
    void work();
    bool may_judge() REQUIRES(mutex_);
    void arm(Time deadline);

    const std::shared_ptr<Loop> loop_;
    const CarryOut carry_out_;
    SpinningMutex mutex_;
    M machine_ GUARDED_BY(mutex_);
    bool awake_ GUARDED_BY(mutex_) = true;   ///< before `start` and after `end`, too
    Time armed_ GUARDED_BY(mutex_) = never;  ///< the next time at which the timer looks

    std::weak_ptr<const void> owner_;  ///< as `start` has set it

    // Of the I/O thread.
    asio::steady_timer timer_;
    Output output_;
    bool catching_up_ = false;
    bool ended_ = false;
};

template <StateMachine M>
void Runner<M>::start(std::weak_ptr<const void> owner) {
    owner_ = std::move(owner);
    work();
}

template <StateMachine M>
void Runner<M>::end() {
    ended_ = true;
    timer_.cancel();
    const detail::Lock lock(mutex_);
    awake_ = true;
}

template <StateMachine M>
void Runner<M>::post_work() {
    loop_->post([this, owner = owner_.lock()] { work(); });  // a reply may outlive its node
}

/// Carries out what the machine wants until it wants nothing more.
template <StateMachine M>
void Runner<M>::work() {
    for (int round = 0; round < most_rounds; ++round) {
        if (ended_) return;
        Time deadline = never;
        {
            const detail::Lock lock(mutex_);
            const Time now = Loop::now();
            if (machine_.deadline() <= now && may_judge()) machine_.tick(now);
            awake_ = machine_.take_output(output_);
            if (!awake_) {
                deadline = machine_.deadline();
                if (deadline >= armed_ || (catching_up_ && deadline <= now)) return;
                armed_ = deadline;
            }
        }
        if (deadline != never) return arm(deadline);
        carry_out_(output_);
    }
    post_work();
}

/// Whether all that had come by the machine's deadline has been read. If not, it is looked at again when it has.
template <StateMachine M>
bool Runner<M>::may_judge() {
    if (machine_.deadline() <= loop_->caught_up()) return true;
    if (!std::exchange(catching_up_, true)) {
        loop_->catch_up([this, owner = owner_.lock()] {
            catching_up_ = false;
            work();
        });
    }
    return false;
}

template <StateMachine M>
void Runner<M>::arm(Time deadline) {
    timer_.expires_at(std::chrono::steady_clock::time_point(deadline));
    timer_.async_wait([this, owner = owner_.lock()](const std::error_code& error) {
        if (error) return;
        {
            const detail::Lock lock(mutex_);
            armed_ = never;
        }
        work();
    });
}

}  // namespace cluster::net
