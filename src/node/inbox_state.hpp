#pragma once

#include "core/batch.hpp"
#include "core/credit_pool.hpp"
#include "net/system.hpp"
#include "support/deadline.hpp"

#include <cluster/message.hpp>
#include <cluster/operation.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::detail {

class Question;
class Replier;

/// A batch that several readers share; each claims the next message by moving `position`, without a lock.
///
/// Thread-safe. Readers hold it, and with it its block, for as long as they look at a message of it.
struct SharedBatch {
    explicit SharedBatch(core::Batch&& from) noexcept
        : batch(std::move(from)), end(batch.lost != 0 ? 1 : batch.frames.size()) {}

    /// Nothing may be claimed before its sender has another turn.
    bool turn_over() const noexcept {
        return position.load(std::memory_order_relaxed) >= limit.load(std::memory_order_relaxed);
    }

    const core::Batch batch;
    /// A gap has no frames; its one claim moves `position` from 0 to 1.
    const std::size_t end;
    /// Orders nothing but itself: what is claimed by it never changes.
    std::atomic<std::size_t> position{0};
    /// Messages that begin before it may be claimed. Raised under the inbox's lock, when all those have been.
    std::atomic<std::size_t> limit{0};
};

/// What an `Inbox` handle shares with its node: batches that the I/O thread pushes and readers take.
///
/// Thread-safe. Outlives the node as long as a handle does.
///
/// 1. The messages of one sender are claimed one at a time, in the order in which they were pushed.
/// 2. Senders take turns. A turn is `quantum` bytes and the rest of the message that they end in, or less when the
///    sender's batch ends. The next turn is that of whoever has been given the fewest bytes since it began to wait;
///    who begins counts as having been given as much as the one whose turn it is. So nobody waits for more than one
///    turn of each other sender, and those who always have something unread are given equal parts.
/// 3. At most one batch is open to claims. Whoever claims the last of its messages accounts for all of it.
/// 4. While they wait, small batches of one session are put together, and so are gaps that follow each other: what an
///    unread message costs beyond its own bytes stays small.
/// 5. An operation waits only while nothing is unclaimed, or while at least as many others as there are unclaimed
///    messages have been woken and not yet tried to claim.
class InboxState {
public:
    static constexpr Deadline no_wait = detail::no_wait;
    static constexpr Deadline for_ever = detail::for_ever;

    /// Credit that readers have freed is worth reporting from so many bytes per session on.
    static constexpr std::uint64_t report_from = core::CreditPool::report_from;

    /// Less would be fairer to who sends small messages, more costs fewer locks.
    static constexpr std::size_t quantum = std::size_t{8} << 10;

    /// What readers have taken of one session since it was last asked for.
    struct Taken {
        std::uint64_t session = 0;
        std::uint64_t bytes = 0;
    };

    /// `on_taken` is called on the reader's thread, under no lock, when some session has `report_from` bytes to report,
    /// and then not again before `taken`. It must not throw, nor call `detach`.
    /// `call_back` calls a function on the callback thread; false if that has ended.
    using CallBack = std::function<bool(std::function<void()>)>;
    /// `replier` may be null where no requests come; one reference to it is taken over.
    explicit InboxState(std::function<void()> on_taken, CallBack call_back = {}, Replier* replier = nullptr)
        : call_back_(std::move(call_back)), on_taken_(std::move(on_taken)), replier_(replier) {}
    InboxState(const InboxState&) = delete;
    InboxState& operator=(const InboxState&) = delete;
    ~InboxState();

    // For the node.

    /// Appends the batches, each with at least one message or gap, and wakes readers if some wait. False after `end`:
    /// nothing was taken over.
    bool push(std::span<core::Batch> batches);
    /// No more will come: readers take what is left, then are at the end.
    void end();
    /// Replaces `out` by what was taken since the last call.
    void taken(std::vector<Taken>& out);
    /// Credit of what has not been taken.
    std::uint64_t bytes() const;
    /// How many readers wait just now.
    std::size_t waiting() const;
    /// `on_taken` is not running when this returns, and will not run again.
    void detach();

    // For readers.

    /// A batch with unclaimed messages; waits for one until `deadline`. Null at the end, or when time is over. Throws
    /// `errc::would_block` where it would have to wait on an I/O thread.
    std::shared_ptr<SharedBatch> next(Deadline deadline);
    /// To be called by whoever claimed the last message of `batch`.
    void finish(const std::shared_ptr<SharedBatch>& batch);
    bool at_end() const;

    // For readers that wait without a thread.

    /// Wakes `operation`, now or later, once there may be a message to claim or the inbox is at its end.
    void wait(std::shared_ptr<Operation> operation);
    /// False if `operation` is not waiting: it has been woken, or this is a child made by `fork`.
    bool stop_waiting(const Operation& operation);
    /// To be called by an operation that was woken and has not tried to claim: wakes another one in its place.
    void pass_on();
    /// Of requests.
    Replier* replier() const noexcept { return replier_; }
    bool call_back(std::function<void()> work) const { return call_back_ && call_back_(std::move(work)); }

private:
    /// What one peer has sent, in order: the rest of `begun`, then `queue`.
    struct Sender {
        PeerId id;
        std::shared_ptr<SharedBatch> begun;  ///< by an earlier turn, if any
        std::list<core::Batch> queue;
        bool has_room = false;  ///< the block of the last batch in `queue` was made here and may be filled
        bool waits = false;     ///< it is its turn, or it waits for it in `turns_`
    };
    struct Turn {
        std::uint64_t given = 0;   ///< what its sender has been given when it begins, as rule 2 counts it
        std::uint64_t number = 0;  ///< of two that have been given as much, the one that waits longer is the next
        Sender* sender = nullptr;

        /// The next one is the first of a heap.
        bool operator<(const Turn& other) const noexcept {
            return given != other.given ? given > other.given : number > other.number;
        }
    };
    /// Senders of whom nothing is unread are kept up to this number of senders, so that a message finds its place made.
    static constexpr std::size_t most_kept = 256;

    bool has_unclaimed() const;
    std::shared_ptr<Operation> take_operation();
    bool open_next();
    void end_turn();
    void wait_for_turn(Sender& sender, std::uint64_t given);
    void put(core::Batch&& batch);
    void report() noexcept;

    const net::Origin origin_;
    mutable std::mutex mutex_;
    std::condition_variable pushed_;
    std::condition_variable reported_;
    std::unordered_map<PeerId, Sender> senders_;
    std::vector<Turn> turns_;            ///< a heap
    std::uint64_t last_turn_ = 0;        ///< the highest number given
    Turn turn_;                          ///< the present one if `open_` is not null, else the last one
    std::shared_ptr<SharedBatch> open_;  ///< what the sender of `turn_` has open
    std::size_t opened_at_ = 0;          ///< its position when the turn began
    std::unordered_map<std::uint64_t, std::uint64_t> taken_;
    std::uint64_t bytes_ = 0;
    std::size_t waiting_ = 0;
    bool ended_ = false;
    std::list<std::shared_ptr<Operation>> operations_;
    std::unordered_map<const Operation*, std::list<std::shared_ptr<Operation>>::iterator> places_;  ///< of them

    const CallBack call_back_;
    std::function<void()> on_taken_;
    Replier* const replier_;
    std::size_t reporting_ = 0;  ///< readers inside `on_taken_`, which stays as it is until they have left
    bool told_ = false;          ///< `on_taken_` was called since the last `taken`
    bool detached_ = false;
};

/// One pass over an inbox. Used by one thread at a time; keeps the state alive.
class InboxReader {
public:
    explicit InboxReader(std::shared_ptr<InboxState> state) noexcept : state_(std::move(state)), message_() {}
    InboxReader(const InboxReader&) = delete;
    InboxReader& operator=(const InboxReader&) = delete;
    ~InboxReader() { let_go(); }

    /// Claims the next message, waiting for it until `deadline`; false as `InboxState::next` returns null.
    bool next(Deadline deadline) {
        let_go();
        if (batch_ != nullptr && claim()) return true;
        return next_batch(deadline);
    }

    /// What was claimed last, valid until the next call.
    const Message& message() const noexcept { return message_; }
    /// The same with a reference of its own.
    Message take() const noexcept;

private:
    /// What was claimed last is gone for this reader: whoever asked it learns at once if nobody has replied.
    void let_go() noexcept {
        if (question_ != nullptr) drop_question();
    }
    void drop_question() noexcept;
    bool claim();
    bool next_batch(Deadline deadline);

    std::shared_ptr<InboxState> state_;
    std::shared_ptr<SharedBatch> batch_;
    Question* question_ = nullptr;  ///< of `message_`, if it is a request
    /// Borrows the references that `batch_` has to the block, which saves two atomic operations per message, and that
    /// this reader has to the question. It may therefore never be destroyed or assigned, only be replaced by
    /// constructing another in its place.
    union {
        Message message_;
    };
};

}  // namespace cluster::detail
