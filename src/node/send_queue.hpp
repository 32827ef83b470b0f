#pragma once

#include "base/mutex.hpp"
#include "core/engine.hpp"
#include "net/alarm.hpp"
#include "net/context.hpp"
#include "support/deadline.hpp"
#include "support/wait_list.hpp"

#include <cluster/operation.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace cluster::detail {

/// What an asynchronous send or broadcast carries.
class Outgoing {
public:
    /// `kept` holds the bytes if `body` has no owner. Small ones are copied once more when they are queued.
    Outgoing(core::Engine::Body body, BlockRef kept) : body_(std::move(body)), kept_(std::move(kept)) {}
    const core::Engine::Body& body() const noexcept { return body_; }

    /// The same bytes as a request.
    std::shared_ptr<const Outgoing> as_request(std::uint64_t call) const {
        auto request = std::make_shared<Outgoing>(*this);
        request->body_.call = call;
        return request;
    }

private:
    core::Engine::Body body_;
    BlockRef kept_;
};

/// The sends and broadcasts that wait for room: those of operations, and those of threads. Thread-safe.
///
/// 1. Two messages, or two replies, that have a receiver in common are queued in the order in which their operations
///    were started. Threads have no order: each message of a thread already delays its own caller.
/// 2. At most `most_waiting` operations wait, and together they hold at most `most_bytes`. A further one fails with
///    `errc::outbox_full`.
/// 3. What waits for an operation fails, or is given up, after `send_timeout`. A thread watches its own time, and
///    cancels.
class SendQueue : public std::enable_shared_from_this<SendQueue> {
public:
    using Receivers = std::optional<std::vector<PeerId>>;  ///< `nullopt`: those that a broadcast reaches
    static constexpr std::size_t most_waiting = 4096;

    /// Tries to queue. If `last`, waiting is over: the outcome is never `errc::outbox_full`.
    using Attempt = std::function<core::Engine::Outcome(const Receivers& to, const core::Engine::Body&, bool last)>;

    /// Called after each last attempt that found no room, under no lock, because it runs code of the application.
    using NoRoom = std::function<void(const core::Engine::Outcome&)>;

    SendQueue(std::shared_ptr<net::Loop> loop, Attempt attempt, NoRoom no_room, std::chrono::nanoseconds send_timeout,
              std::size_t most_bytes)
        : loop_(std::move(loop)),
          attempt_(std::move(attempt)),
          no_room_(std::move(no_room)),
          send_timeout_(send_timeout),
          most_bytes_(most_bytes),
          alarm_(loop_, [this] { serve(); }) {}

    void start(Receivers to, std::shared_ptr<const Outgoing> payload, std::shared_ptr<SendOperation> operation);
    /// For a thread, which keeps the bytes of `body` until it is woken.
    void start_for_thread(Receivers to, core::Engine::Body body, std::shared_ptr<SendOperation> operation);
    /// The operation ends with `errc::cancelled`, unless it has a result or was not started.
    void cancel(const SendOperation& operation);
    /// On the I/O thread: there may be room.
    void serve();
    /// On the I/O thread: the node has left.
    void end();

private:
    struct Queued {
        Receivers to;
        std::shared_ptr<const Outgoing> payload;
        Deadline deadline;
    };
    struct OfThread {
        Receivers to;
        core::Engine::Body body;
    };
    /// The receivers of all that stays in the queue.
    struct Awaited {
        bool all = false;
        std::set<PeerId> some;

        bool overlaps(const Receivers& to) const {
            if (all || !to) return all || !some.empty();
            return std::any_of(to->begin(), to->end(), [this](const PeerId& id) { return some.contains(id); });
        }
        void add(const Receivers& to) {
            all = all || !to;
            if (to) some.insert(to->begin(), to->end());
        }
    };

    using Outcomes = std::vector<core::Engine::Outcome>;

    bool settle(SendOperation& operation, const Receivers& to, const core::Engine::Body& body, bool last,
                Outcomes& in_vain) REQUIRES(mutex_);
    void set_cancel(SendOperation& operation);
    void report(const Outcomes& in_vain) const;
    void set_alarm() REQUIRES(mutex_);

    const std::shared_ptr<net::Loop> loop_;
    const Attempt attempt_;
    const NoRoom no_room_;
    const std::chrono::nanoseconds send_timeout_;
    const std::size_t most_bytes_;

    Mutex mutex_;
    WaitList<SendOperation, Queued> waits_ GUARDED_BY(mutex_);
    WaitList<SendOperation, OfThread> threads_ GUARDED_BY(mutex_);
    std::size_t bytes_ GUARDED_BY(mutex_) = 0;  ///< of those in `waits_`
    /// The receivers that the operations in `waits_` wait for: of messages, and of replies, which have room of their
    /// own.
    std::array<Awaited, 2> awaited_ GUARDED_BY(mutex_);
    Deadline again_ GUARDED_BY(mutex_) = for_ever;  ///< when it is worth trying again even if no room was freed

    net::Alarm alarm_;
};

}  // namespace cluster::detail
