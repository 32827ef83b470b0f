#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "core/batch.hpp"
#include "core/credit_pool.hpp"
#include "support/callbacks.hpp"
#include "support/deadline.hpp"
#include "support/visits.hpp"
#include "support/wait_list.hpp"

#include <cluster/message.hpp>
#include <cluster/operation.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::detail {

class Question;
class Replier;

/// A batch that several readers share. Each claims the next message by moving `position`, without a lock.
///
/// Thread-safe. A reader holds the batch, and with it the block, while it looks at a message of it.
struct SharedBatch {
    explicit SharedBatch(core::Batch&& from) noexcept
        : batch(std::move(from)), end(batch.lost != 0 ? 1 : batch.frames.size()) {}

    /// Nothing may be claimed before its sender has another turn.
    bool turn_over() const noexcept {
        return position.load(std::memory_order_relaxed) >= limit.load(std::memory_order_relaxed);
    }

    const core::Batch batch;
    /// A gap has no frames; its only claim moves `position` from 0 to 1.
    const std::size_t end;
    /// It orders nothing but itself, because what is claimed with it never changes.
    std::atomic<std::size_t> position{0};
    /// Messages that begin before this may be claimed. Raised under the inbox's lock, when all of those have been
    /// claimed.
    std::atomic<std::size_t> limit{0};
};

/// What an `Inbox` handle shares with its node: batches that the I/O thread pushes and readers take.
///
/// Thread-safe. Outlives the node as long as a handle does.
///
/// 1. The messages of one sender are claimed one at a time, in the order in which they were pushed.
/// 2. Senders take turns.
///    - A turn is `quantum` bytes and the rest of the message in which they end, or less if the sender's batch ends
///      before.
///    - The next turn goes to the sender that has been given the fewest bytes since it began to wait.
///    - A sender that begins counts as having been given as much as the sender whose turn it is.
///    - So no sender waits for more than one turn of each other one, and senders that always have something unread get
///      equal parts.
/// 3. At most one batch is open to claims. The reader that claims the last of its messages accounts for all of it.
/// 4. While they wait, small batches of one session are put together, and so are neighbouring gaps. So the cost of an
///    unread message beyond its own bytes stays small.
/// 5. An operation or thread waits only if one of these holds:
///    - nothing is unclaimed;
///    - at least as many others as there are unclaimed messages have been woken and have not yet tried to claim.
class InboxState {
public:
    /// From this many bytes of one session on, the credit that readers have freed is worth reporting.
    static constexpr std::uint64_t report_from = core::CreditPool::report_from;

    /// A smaller one would be fairer to senders of small messages, a larger one costs fewer locks.
    static constexpr std::size_t quantum = std::size_t{8} << 10;

    /// What readers have taken of one session since the last call of `taken`.
    struct Taken {
        std::uint64_t session = 0;
        std::uint64_t bytes = 0;
    };

    /// `on_taken` is called on the reader's thread, under no lock, when a session has `report_from` bytes to report. It
    /// is called once until `taken` is called. It must not throw, nor call `detach`. `replier` may be null if no
    /// requests come; one reference to it is taken over.
    explicit InboxState(std::function<void()> on_taken, CallBack call_back = {}, Replier* replier = nullptr)
        : call_back_(std::move(call_back)), on_taken_(std::move(on_taken)), replier_(replier) {}
    InboxState(const InboxState&) = delete;
    InboxState& operator=(const InboxState&) = delete;
    ~InboxState();

    // For the node.

    /// Appends the batches, each with at least one message or gap, and wakes readers that wait. False after `end`: then
    /// nothing was taken over.
    bool push(std::span<core::Batch> batches);
    /// No more will come. Readers take what is left, then are at the end.
    void end();
    /// Replaces `out` by what was taken since the last call.
    void taken(std::vector<Taken>& out);
    /// Credit of what has not been taken.
    std::uint64_t bytes() const;
    /// How many readers wait now, threads and operations.
    std::size_t waiting() const;
    /// `on_taken` is not running when this returns, and will not run again.
    void detach();

    // For readers.

    /// A batch with unclaimed messages; waits for one until `deadline`. Null at the end, or when time is over. Throws
    /// `errc::would_block` if it would have to wait on an I/O thread.
    std::shared_ptr<SharedBatch> next(Deadline deadline);
    /// To be called by the reader that claimed the last message of `batch`.
    void finish(const std::shared_ptr<SharedBatch>& batch);
    bool at_end() const;

    // For readers that wait without a thread.

    /// Wakes `operation`, now or later, once there may be a message to claim or the inbox is at its end.
    void wait(std::shared_ptr<Operation> operation);
    /// False if `operation` is not waiting: it has been woken, or this is a child made by `fork`.
    bool stop_waiting(const Operation& operation);
    /// To be called by an operation that was woken and has not tried to claim: wakes another one in its place.
    void pass_on();
    /// The replier for requests.
    Replier* replier() const noexcept { return replier_; }
    bool call_back(std::function<void()> work) const { return call_back_ && call_back_(std::move(work)); }

private:
    /// What one peer has sent, in order: the rest of `begun`, then `queue`.
    struct Sender {
        PeerId id;
        std::shared_ptr<SharedBatch> begun;  ///< begun in an earlier turn, if any
        std::list<core::Batch> queue;
        bool has_room = false;  ///< the block of the last batch in `queue` was made here and has room for more
        bool waits = false;     ///< it has the turn, or waits for one in `turns_`
    };
    struct Turn {
        std::uint64_t given = 0;   ///< what its sender has been given when the turn begins, as in rule 2
        std::uint64_t number = 0;  ///< of two with the same `given`, the one that has waited longer is next
        Sender* sender = nullptr;

        /// The next one is the first of a heap.
        bool operator<(const Turn& other) const noexcept {
            return given != other.given ? given > other.given : number > other.number;
        }
    };
    /// While there are at most this many senders, idle ones are kept, so that their next message needs no new entry.
    static constexpr std::size_t most_kept = 256;

    bool has_unclaimed() const REQUIRES(mutex_);
    bool open_next() REQUIRES(mutex_);
    void end_turn() REQUIRES(mutex_);
    void wait_for_turn(Sender& sender, std::uint64_t given) REQUIRES(mutex_);
    void put(core::Batch&& batch) REQUIRES(mutex_);
    void report() noexcept;

    const Origin origin_;
    mutable Mutex mutex_;
    std::unordered_map<PeerId, Sender> senders_ GUARDED_BY(mutex_);
    std::vector<Turn> turns_ GUARDED_BY(mutex_);            ///< a heap
    std::uint64_t last_turn_ GUARDED_BY(mutex_) = 0;        ///< the highest number given
    Turn turn_ GUARDED_BY(mutex_);                          ///< the present one if `open_` is set, else the last one
    std::shared_ptr<SharedBatch> open_ GUARDED_BY(mutex_);  ///< what the sender of `turn_` has open
    std::size_t opened_at_ GUARDED_BY(mutex_) = 0;          ///< its position when the turn began
    std::unordered_map<std::uint64_t, std::uint64_t> taken_ GUARDED_BY(mutex_);
    std::uint64_t bytes_ GUARDED_BY(mutex_) = 0;
    bool ended_ GUARDED_BY(mutex_) = false;
    WaitList<Operation> waits_ GUARDED_BY(mutex_);

    const CallBack call_back_;
    std::function<void()> on_taken_;            ///< does not change while a reader is inside
    Visits reporting_ GUARDED_BY(mutex_);       ///< readers that are inside `on_taken_`
    bool told_ GUARDED_BY(mutex_) = false;      ///< `on_taken_` was called since the last `taken`
    bool detached_ GUARDED_BY(mutex_) = false;  ///< it is not called any more
    Replier* const replier_;
};

/// One pass over an inbox. Used by one thread at a time; keeps the state alive.
class InboxReader {
public:
    explicit InboxReader(std::shared_ptr<InboxState> state) noexcept : state_(std::move(state)), message_() {}
    InboxReader(const InboxReader&) = delete;
    InboxReader& operator=(const InboxReader&) = delete;
    ~InboxReader() { let_go(); }

    /// Claims the next message, and waits for it until `deadline`. False if `InboxState::next` returns null.
    bool next(Deadline deadline) {
        let_go();
        if (batch_ != nullptr && claim()) return true;
        return next_batch(deadline);
    }

    /// What was claimed last, valid until the next call.
    const Message& message() const noexcept { return message_; }
    /// The same message with a reference of its own.
    Message take() const noexcept;

private:
    /// This reader lets go of what it claimed last. If nobody has replied to that request, its sender learns that at
    /// once.
    void let_go() noexcept {
        if (question_ != nullptr) drop_question();
    }
    void drop_question() noexcept;
    bool claim();
    bool next_batch(Deadline deadline);

    std::shared_ptr<InboxState> state_;
    std::shared_ptr<SharedBatch> batch_;
    Question* question_ = nullptr;  ///< of `message_`, if it is a request
    /// Borrows two references: that of `batch_` to the block, and that of this reader to the question. This saves two
    /// atomic operations per message. So it must never be destroyed or assigned, only replaced by constructing another
    /// in its place.
    union {
        Message message_;
    };
};

}  // namespace cluster::detail
