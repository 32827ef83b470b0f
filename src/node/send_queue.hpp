#pragma once

#include "core/engine.hpp"
#include "net/context.hpp"
#include "support/deadline.hpp"

#include <cluster/operation.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace cluster::detail {

/// What an asynchronous send or broadcast carries.
class Outgoing {
public:
    /// `kept` holds the bytes where `body` has no owner: small ones are copied once more when they are queued.
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

/// The asynchronous sends and broadcasts that wait for room. Thread-safe. Kept alive by its timer.
///
/// 1. Of two messages, or two replies, that have a receiver in common, the one that was started first is queued first.
/// 2. At most `most_waiting` wait, and together they hold at most `most_bytes`; what would exceed that fails with
///    `errc::outbox_full`.
/// 3. Its lock may be held while the engine's is taken, never the other way round.
class SendQueue : public std::enable_shared_from_this<SendQueue> {
public:
    using Receivers = std::optional<std::vector<PeerId>>;  ///< nothing: whom a broadcast reaches
    static constexpr std::size_t most_waiting = 4096;

    /// Tries to queue. The last time, nothing is worth waiting for: the outcome is never `errc::outbox_full`.
    using Attempt = std::function<core::Engine::Outcome(const Receivers& to, const core::Engine::Body&, bool last)>;

    /// Hears of each last attempt that found no room, under no lock: it runs code of the application.
    using NoRoom = std::function<void(const core::Engine::Outcome&)>;

    SendQueue(std::shared_ptr<net::Loop> loop, Attempt attempt, NoRoom no_room, std::chrono::nanoseconds send_timeout,
              std::size_t most_bytes)
        : loop_(std::move(loop)),
          attempt_(std::move(attempt)),
          no_room_(std::move(no_room)),
          send_timeout_(send_timeout),
          most_bytes_(most_bytes),
          timer_(loop_->io()) {}

    void start(Receivers to, std::shared_ptr<const Outgoing> payload, std::shared_ptr<SendOperation> operation);
    /// It ends with `errc::cancelled`, unless it has a result or was not started.
    void cancel(const SendOperation& operation);
    /// On the I/O thread: there may be room.
    void serve();
    /// On the I/O thread: the node has left.
    void end();

private:
    struct Waiting {
        std::shared_ptr<SendOperation> operation;
        Receivers to;
        std::shared_ptr<const Outgoing> payload;
        Deadline deadline;
    };
    /// Whom those that stay in the queue want to reach.
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

    bool settle(SendOperation& operation, const Receivers& to, const Outgoing& payload, bool last, Outcomes& in_vain);
    Deadline next() const;
    void report(const Outcomes& in_vain) const;
    void arm();

    const std::shared_ptr<net::Loop> loop_;
    const Attempt attempt_;
    const NoRoom no_room_;
    const std::chrono::nanoseconds send_timeout_;
    const std::size_t most_bytes_;

    std::mutex mutex_;
    std::deque<Waiting> waiting_;
    std::size_t bytes_ = 0;
    std::array<Awaited, 2> awaited_;  ///< by those in `waiting_`; replies, which are the second, have room of their own
    Deadline again_ = Deadline::max();  ///< when it is worth trying again although no room was freed

    asio::steady_timer timer_;  ///< of the I/O thread
};

}  // namespace cluster::detail
