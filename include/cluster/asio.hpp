#pragma once

#include <cluster/client.hpp>
#include <cluster/inbox.hpp>
#include <cluster/membership.hpp>
#include <cluster/node.hpp>
#include <cluster/operation.hpp>
#include <cluster/replica.hpp>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/steady_timer.hpp>
#include <asio/system_executor.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

// What a node, its inbox, its members and its replicas, and a client offer to programs that use Asio (without Boost),
// for any completion token: `async_receive`, `async_receive_for`, `async_next`, `async_add`, `async_wait_for_peers`,
// `async_wait_until_settled`, `async_send`, `async_broadcast`, `async_request`, `async_request_all`, `async_submit`,
// `async_call`, `async_read` and `async_close`.
//
//     inbox.async_receive([](std::error_code error, cluster::Message message) { ... });        // a callback
//     std::future<cluster::Message> next = inbox.async_receive(asio::use_future);              // a future
//     cluster::Message message = co_await inbox.async_receive(asio::use_awaitable);            // a coroutine
//     inbox.async_receive(asio::bind_executor(strand, handler));                               // your own executor
//
// Where handlers run: each is posted to its associated executor. It is never called from within the function that
// starts the operation. A handler without an executor is called on the callback thread of the runtime, one at a time
// with all callbacks. After that thread has ended, it is called on `asio::system_executor`. An operation counts as work
// of its executor.
//
// Cancelling: every operation honours total, partial and terminal cancellation through the handler's slot. It then
// completes with `asio::error::operation_aborted`. It has either its whole effect and its result, or neither: no
// message and no update is lost, none is half sent. The exceptions are:
// - `async_add` may have linked the nodes although it was cancelled.
// - A request may be carried out although `async_request` was cancelled, and so may what was submitted or called.
// - `async_close` cannot be cancelled.
//
// Lifetimes:
// - Node, inbox, watch, replica, client and payload may go while an operation waits. A closed node, replica or client
//   completes it with `errc::closed`.
// - ~Node waits until handlers without an executor have run, except on the callback thread and on an I/O thread.
// - If the execution context of the handler goes first, the operation is cancelled. The handler is destroyed and not
//   called, as Asio does it with operations of its own. A message that it might have got goes to the next reader.
//
// This header is compiled with the application's Asio. The library has another one inside, in a namespace of its own.
// The two need not be of the same version. Tested from 1.22 on. With clang 14 and Asio before 1.28, coroutines need
// -DASIO_HAS_CO_AWAIT=1.

namespace cluster {

namespace detail {

/// Stands for the executor of a handler that has none.
struct NoExecutor {};

template <class Token>
inline constexpr bool makes_future = false;
template <class Allocator>
inline constexpr bool makes_future<asio::use_future_t<Allocator>> = true;

/// An operation that may wait longer than the execution context of its handler lives.
class Abandonable {
public:
    /// The context ends: lets go of the handler and of everything else that belongs to it.
    virtual void abandon() noexcept = 0;

protected:
    ~Abandonable() = default;
};

/// The operations that wait on behalf of one execution context. Thread-safe.
class Waiters {
public:
    void add(Abandonable* operation, std::weak_ptr<void> owner) {
        const std::lock_guard lock(mutex_);
        all_.emplace(operation, std::move(owner));
    }
    void remove(Abandonable* operation) noexcept {
        const std::lock_guard lock(mutex_);
        all_.erase(operation);
    }
    void abandon_all() noexcept {
        std::unordered_map<Abandonable*, std::weak_ptr<void>> all;
        {
            const std::lock_guard lock(mutex_);
            all.swap(all_);
        }
        for (const auto& [operation, owner] : all) {
            if (const auto alive = owner.lock()) operation->abandon();
        }
    }

private:
    std::mutex mutex_;
    std::unordered_map<Abandonable*, std::weak_ptr<void>> all_;
};

/// Reports the end of an execution context to the operations that wait on its behalf.
class WaitersService : public asio::execution_context::service {
public:
    using key_type = WaitersService;
    inline static asio::execution_context::id id;

    explicit WaitersService(asio::execution_context& owner) : service(owner) {}
    const std::shared_ptr<Waiters>& waiters() const noexcept { return waiters_; }

private:
    void shutdown() noexcept override { waiters_->abandon_all(); }

    const std::shared_ptr<Waiters> waiters_ = std::make_shared<Waiters>();
};

/// An operation with its handler, and the way to where that runs. `in_place` means that it runs wherever the result is
/// found; that is for handlers that run no code of the application. `Source`, such as an `Inbox`, knows the callback
/// thread.
template <class Base, class Source, class Handler, bool in_place>
class Bound : public Base,
              public Abandonable,
              public std::enable_shared_from_this<Bound<Base, Source, Handler, in_place>> {
public:
    Bound(Source source, Handler&& handler) : source_(std::move(source)), call_(std::in_place, std::move(handler)) {}

    ~Bound() override {
        if (waiters_) waiters_->remove(this);
    }

    void wake() noexcept final {
        if constexpr (in_place) {
            go_on();
        } else if constexpr (!posts) {
            const auto turn = std::make_shared<Turn>(this->shared_from_this());
            if (!source_.call_back([turn] { (*turn)(); })) asio::post(asio::system_executor(), [turn] { (*turn)(); });
        } else {
            // Before the context ends it waits for this lock, to abandon what still waits.
            std::unique_lock lock(mutex_);
            if (call_) return asio::post(call_->work.get_executor(), Turn(this->shared_from_this()));
            lock.unlock();
            dropped();
        }
    }

    void abandon() noexcept override {
        take();  // and lets go of it, under no lock
    }

protected:
    /// Called where the handler is to run: completes, or waits for the next time.
    virtual void go_on() = 0;
    /// It was woken, but will not go on.
    virtual void dropped() noexcept {}
    /// The application cancels.
    virtual void stop() = 0;

    /// To be called once, before anything can wake it.
    void prepare() {
        if constexpr (posts) {
            if constexpr (asio::can_query<Executor, asio::execution::context_t>::value) {
                auto& context = asio::query(call_->work.get_executor(), asio::execution::context);
                waiters_ = asio::use_service<WaitersService>(context).waiters();
                waiters_->add(this, this->weak_from_this());
            }
        }
        auto slot = asio::get_associated_cancellation_slot(call_->handler);
        if (!slot.is_connected()) return;
        slot.assign([weak = this->weak_from_this()](asio::cancellation_type_t) {
            if (const auto self = weak.lock()) self->stop();
        });
    }

    template <class... Results>
    void complete(std::error_code code, Results&&... results) {
        std::optional<Call> call = take();
        if (!call) return;
        if (code == errc::cancelled) code = asio::error::operation_aborted;
        std::move(call->handler)(code, std::forward<Results>(results)...);
    }

    using Executor = typename asio::associated_executor<Handler, NoExecutor>::type;
    static constexpr bool posts = !in_place && !std::is_same_v<Executor, NoExecutor>;
    using TimerExecutor = std::conditional_t<posts, Executor, asio::system_executor>;

    /// Before it completes or is abandoned.
    TimerExecutor timer_executor() const {
        if constexpr (posts) {
            return call_->work.get_executor();
        } else {
            return {};
        }
    }

    Source source_;

private:
    struct Call {
        using Work = std::conditional_t<posts, asio::executor_work_guard<Executor>, NoExecutor>;

        explicit Call(Handler&& from) : handler(std::move(from)), work(work_of(handler)) {}
        static Work work_of([[maybe_unused]] const Handler& handler) {
            if constexpr (posts) {
                return Work(asio::associated_executor<Handler, NoExecutor>::get(handler, NoExecutor()));
            } else {
                return {};
            }
        }

        Handler handler;
        Work work;
    };
    std::optional<Call> take() {
        const std::lock_guard lock(mutex_);
        std::optional<Call> call(std::move(call_));
        call_.reset();
        return call;
    }

    /// What is posted. If it is destroyed without having been called, the operation will not go on.
    class Turn {
    public:
        explicit Turn(std::shared_ptr<Bound> operation) noexcept : operation_(std::move(operation)) {}
        Turn(Turn&&) noexcept = default;
        Turn& operator=(Turn&&) = delete;
        ~Turn() {
            if (operation_) operation_->dropped();
        }
        void operator()() { std::exchange(operation_, nullptr)->go_on(); }

    private:
        std::shared_ptr<Bound> operation_;
    };

    std::shared_ptr<Waiters> waiters_;
    std::mutex mutex_;
    std::optional<Call> call_;
};

/// Waits for a message, or for an update. It claims one only where its handler runs, immediately before it is called.
/// So an operation that is cancelled or destroyed after it was woken has nothing to give back. It wakes another
/// operation instead.
template <class Source, class Handler, bool in_place>
class Receiving final : public Bound<Operation, Source, Handler, in_place> {
public:
    using Bound<Operation, Source, Handler, in_place>::Bound;

    void start(std::optional<std::chrono::nanoseconds> limit) {
        this->prepare();
        if (limit) {
            timer_.emplace(this->timer_executor(), *limit);
            timer_->async_wait([weak = this->weak_from_this()](const std::error_code& error) {
                const auto self = weak.lock();
                if (!error && self) static_cast<Receiving&>(*self).end(Ending::expired);
            });
        }
        wait();
    }

    void abandon() noexcept override {
        timer_.reset();
        Base::abandon();
        this->source_.stop_waiting(*this);
    }

private:
    using Base = Bound<Operation, Source, Handler, in_place>;
    using Value = typename decltype(std::declval<Source&>().try_take())::value_type;
    using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                             typename Base::TimerExecutor>;
    enum class Ending { none, expired, cancelled };

    void go_on() override {
        Source& source = this->source_;
        const Ending ending = ending_;
        if (ending == Ending::cancelled) {
            source.pass_on();
            finish(errc::cancelled, Value());
        } else if (std::optional<Value> value = source.try_take()) {
            finish(std::error_code(), std::move(*value));
        } else if (source.at_end()) {
            finish(errc::closed, Value());
        } else if (ending == Ending::expired) {
            finish(errc::timed_out, Value());
        } else {
            wait();
        }
    }
    void dropped() noexcept override { this->source_.pass_on(); }
    void stop() override { end(Ending::cancelled); }

    void wait() {
        this->source_.wait(this->shared_from_this());
        // It may have been ended before it waited.
        if (ending_ != Ending::none && this->source_.stop_waiting(*this)) this->wake();
    }
    void end(Ending ending) {
        ending_ = ending;
        if (this->source_.stop_waiting(*this)) this->wake();
    }
    void finish(std::error_code code, Value&& value) {
        timer_.reset();
        this->complete(code, std::move(value));
    }

    std::atomic<Ending> ending_{Ending::none};
    std::optional<Timer> timer_;
};

/// Waits for a result. `Signature` is that of its handler.
template <class Base, class Signature, class Handler, bool in_place>
class Finishing final : public Bound<Base, Inbox, Handler, in_place> {
public:
    using Bound<Base, Inbox, Handler, in_place>::Bound;

    template <class Start>
    void start(Start& start) {
        this->prepare();
        start(std::static_pointer_cast<Base>(this->shared_from_this()));
    }

    void abandon() noexcept override {
        Bound<Base, Inbox, Handler, in_place>::abandon();
        stop();  // nobody waits for what it would do
    }

private:
    void go_on() override {
        if constexpr (std::is_same_v<Signature, void(std::error_code)>) {
            this->complete(this->error);
        } else {
            this->complete(this->error, std::move(this->result));
        }
    }
    void stop() override {
        if (this->cancel) this->cancel();
    }
};

/// What a completion token starts with the handler it has made. Its executor serves `asio::cancel_after` for a timer.
template <class Start>
struct Initiation {
    using executor_type = asio::system_executor;
    executor_type get_executor() const noexcept { return {}; }

    template <class Handler>
    void operator()(Handler&& handler) {
        start(std::forward<Handler>(handler));
    }

    Start start;
};
template <class Start>
Initiation(Start) -> Initiation<Start>;

/// Starts an operation that waits for a result. Handlers without an executor run where those of `inbox` do.
template <class Operation, class Signature, class Start, class Token>
auto initiate(Inbox inbox, Start start, Token& token) {
    constexpr bool in_place = makes_future<std::decay_t<Token>>;
    return asio::async_initiate<Token, Signature>(
        Initiation{[inbox = std::move(inbox), start = std::move(start)](auto&& handler) mutable {
            using Handler = std::decay_t<decltype(handler)>;
            std::make_shared<Finishing<Operation, Signature, Handler, in_place>>(inbox, std::move(handler))
                ->start(start);
        }},
        token);
}

/// Starts an operation that takes the next value of `source`. Without a limit it waits until there is one.
template <class Value, class Source, class Token>
auto initiate_receive(Source source, std::optional<std::chrono::nanoseconds> limit, Token& token) {
    constexpr bool in_place = makes_future<std::decay_t<Token>>;
    return asio::async_initiate<Token, void(std::error_code, Value)>(
        Initiation{[source = std::move(source), limit](auto&& handler) {
            using Handler = std::decay_t<decltype(handler)>;
            std::make_shared<Receiving<Source, Handler, in_place>>(source, std::move(handler))->start(limit);
        }},
        token);
}

}  // namespace detail

template <class Token>
auto Inbox::async_receive(Token&& token) const {
    return detail::initiate_receive<Message>(*this, std::nullopt, token);
}

template <class Token>
auto Inbox::async_receive_for(std::chrono::nanoseconds duration, Token&& token) const {
    return detail::initiate_receive<Message>(*this, duration, token);
}

template <class Token>
auto MemberWatch::async_next(Token&& token) const {
    return detail::initiate_receive<MemberUpdate>(*this, std::nullopt, token);
}

template <class Token>
auto Node::async_add(const Address& address, Token&& token) {
    return detail::initiate<detail::AddOperation, void(std::error_code, Peer)>(
        inbox(), [state = state_, address](auto operation) { start_add(state, address, std::move(operation)); }, token);
}

template <class Token>
auto Node::async_add(std::string_view address, Token&& token) {
    std::error_code error;
    Address parsed = Address::parse(address, error);
    return detail::initiate<detail::AddOperation, void(std::error_code, Peer)>(
        inbox(),
        [state = state_, parsed = std::move(parsed), error](auto operation) {
            operation->error = error;
            start_add(state, parsed, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_wait_for_peers(std::size_t count, Token&& token) {
    return detail::initiate<detail::WaitOperation, void(std::error_code)>(
        inbox(), [state = state_, count](auto operation) { start_wait(state, count, std::move(operation)); }, token);
}

template <class Token>
auto Node::async_wait_until_settled(Token&& token) {
    return detail::initiate<detail::WaitOperation, void(std::error_code)>(
        inbox(), [state = state_](auto operation) { start_wait(state, std::nullopt, std::move(operation)); }, token);
}

template <class Token>
auto Node::async_broadcast(Payload payload, Token&& token) {
    return detail::initiate<detail::SendOperation, void(std::error_code, std::size_t)>(
        inbox(),
        [state = state_, outgoing = hand_over(payload)](auto operation) {
            start_send(state, std::nullopt, outgoing, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_send(const PeerId& to, Payload payload, Token&& token) {
    return detail::initiate<detail::SendOperation, void(std::error_code)>(
        inbox(),
        [state = state_, to, outgoing = hand_over(payload)](auto operation) {
            start_send(state, std::vector{to}, outgoing, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_send(std::span<const PeerId> to, Payload payload, Token&& token) {
    return detail::initiate<detail::SendOperation, void(std::error_code)>(
        inbox(),
        [state = state_, to = std::vector(to.begin(), to.end()), outgoing = hand_over(payload)](auto operation) {
            start_send(state, to, outgoing, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout, Token&& token) {
    return detail::initiate<detail::RequestOperation, void(std::error_code, Message)>(
        inbox(),
        [state = state_, to, timeout, outgoing = hand_over(payload)](auto operation) {
            start_request(state, to, outgoing, timeout, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_request_all(Payload payload, std::chrono::nanoseconds timeout, Token&& token) {
    return detail::initiate<detail::RequestAllOperation, void(std::error_code, std::vector<Answer>)>(
        inbox(),
        [state = state_, timeout, outgoing = hand_over(payload)](auto operation) {
            start_request_all(state, outgoing, timeout, std::move(operation));
        },
        token);
}

template <class Token>
auto Node::async_close(Token&& token) {
    return detail::initiate<detail::CloseOperation, void(std::error_code, Unacknowledged)>(
        inbox(), [state = state_](auto operation) { start_close(state, std::move(operation)); }, token);
}

template <class Token>
auto Replica::async_submit(Payload message, std::chrono::nanoseconds timeout, Token&& token) {
    return detail::initiate<detail::RequestOperation, void(std::error_code, Message)>(
        node_inbox(),
        [state = state_, timeout, bytes = message.to_bytes()](auto operation) {
            start_submit(state, bytes, timeout, std::move(operation));
        },
        token);
}

template <class Token>
auto Replica::async_read(Payload query, std::chrono::nanoseconds timeout, Token&& token) {
    return async_read(query.view(), timeout, ReadOptions(), token);
}

template <class Token>
auto Replica::async_read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options, Token&& token) {
    return detail::initiate<detail::RequestOperation, void(std::error_code, Message)>(
        node_inbox(),
        [state = state_, timeout, options, bytes = query.to_bytes()](auto operation) {
            start_read(state, bytes, timeout, options, std::move(operation));
        },
        token);
}

template <class Token>
auto Client::async_call(Payload command, std::chrono::nanoseconds timeout, Token&& token) {
    return detail::initiate<detail::RequestOperation, void(std::error_code, Message)>(
        node_inbox(),
        [state = state_, timeout, bytes = command.to_bytes()](auto operation) {
            start_call(state, bytes, timeout, std::move(operation));
        },
        token);
}

template <class Token>
auto Client::async_send(Payload command, Token&& token) {
    return detail::initiate<detail::WaitOperation, void(std::error_code)>(
        node_inbox(),
        [state = state_, bytes = command.to_bytes()](auto operation) {
            start_send(state, bytes, std::move(operation));
        },
        token);
}

template <class Token>
auto Client::async_read(Payload query, std::chrono::nanoseconds timeout, Token&& token) {
    return async_read(query.view(), timeout, ReadOptions(), token);
}

template <class Token>
auto Client::async_read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options, Token&& token) {
    return detail::initiate<detail::RequestOperation, void(std::error_code, Message)>(
        node_inbox(),
        [state = state_, timeout, options, bytes = query.to_bytes()](auto operation) {
            start_read(state, bytes, timeout, options, std::move(operation));
        },
        token);
}

template <class Token>
auto Client::async_receive(Token&& token) {
    return detail::initiate_receive<Message>(detail::ClientInbox(state_), std::nullopt, token);
}

template <class Token>
auto Client::async_receive_for(std::chrono::nanoseconds duration, Token&& token) {
    return detail::initiate_receive<Message>(detail::ClientInbox(state_), duration, token);
}

}  // namespace cluster
