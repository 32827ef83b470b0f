#include "node/inbox_state.hpp"

#include "core/frame.hpp"
#include "net/io_thread.hpp"
#include "node/replier.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

namespace cluster::detail {

using core::Batch;
using core::FrameHeader;

namespace {

/// Batches up to this size are put together in blocks of this size.
constexpr std::size_t small = std::size_t{4} << 10;

/// Adds `batch` to `before`, which came before it from the same sender, if it can take it. `has_room`: its block has.
bool put_together(Batch& before, bool& has_room, const Batch& batch) {
    if (batch.session != before.session || (batch.lost == 0) != (before.lost == 0)) return false;
    if (batch.lost == 0) {
        const std::size_t size = before.frames.size();
        if (size + batch.frames.size() > small) return false;
        if (!has_room) {
            BlockRef block = Block::allocate(small);
            std::memcpy(block->data(), before.frames.data(), size);
            before.block = std::move(block);
            has_room = true;
        }
        std::memcpy(before.block->data() + size, batch.frames.data(), batch.frames.size());
        before.frames = {before.block->data(), size + batch.frames.size()};
    }
    before.lost = core::add_saturated(before.lost, batch.lost);
    before.messages += batch.messages;
    before.charge += batch.charge;
    return true;
}

}  // namespace

InboxState::~InboxState() {
    if (replier_ != nullptr) replier_->release();
}

bool InboxState::push(std::span<Batch> batches) {
    std::uint64_t messages = 0;
    std::size_t waiting = 0;
    std::vector<std::shared_ptr<Operation>> woken;
    {
        const std::lock_guard lock(mutex_);
        if (ended_) return false;
        for (Batch& batch : batches) {
            assert((batch.lost != 0) == batch.frames.empty());
            messages += batch.lost != 0 ? 1 : batch.messages;
            bytes_ += batch.charge;
            put(std::move(batch));
        }
        waiting = waiting_;
        for (std::uint64_t i = 0; i < messages && !operations_.empty(); ++i) woken.push_back(take_operation());
    }
    for (const auto& operation : woken) operation->wake();
    if (waiting == 0 || messages == 0) return true;
    if (messages == 1) {
        pushed_.notify_one();
    } else {
        pushed_.notify_all();
    }
    return true;
}

void InboxState::end() {
    std::list<std::shared_ptr<Operation>> woken;
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        woken.swap(operations_);
        places_.clear();
    }
    for (const auto& operation : woken) operation->wake();
    pushed_.notify_all();
}

void InboxState::wait(std::shared_ptr<Operation> operation) {
    {
        const std::lock_guard lock(mutex_);
        if (!ended_ && !has_unclaimed()) {
            const Operation* const key = operation.get();
            places_[key] = operations_.insert(operations_.end(), std::move(operation));
            return;
        }
    }
    operation->wake();
}

bool InboxState::stop_waiting(const Operation& operation) {
    if (!origin_.is_here()) return false;
    std::shared_ptr<Operation> found;  // dies outside the lock
    const std::lock_guard lock(mutex_);
    const auto place = places_.find(&operation);
    if (place == places_.end()) return false;
    found = std::move(*place->second);
    operations_.erase(place->second);
    places_.erase(place);
    return true;
}

/// Under the lock: the one that has waited longest.
std::shared_ptr<Operation> InboxState::take_operation() {
    std::shared_ptr<Operation> first = std::move(operations_.front());
    operations_.pop_front();
    places_.erase(first.get());
    return first;
}

void InboxState::pass_on() {
    if (!origin_.is_here()) return;
    std::shared_ptr<Operation> next;
    {
        const std::lock_guard lock(mutex_);
        if (operations_.empty() || !has_unclaimed()) return;
        next = take_operation();
    }
    next->wake();
}

/// Under the lock.
bool InboxState::has_unclaimed() const {
    if (!turns_.empty()) return true;
    return open_ != nullptr && (open_->position.load(std::memory_order_relaxed) < open_->end ||
                                !turn_.sender->queue.empty());
}

void InboxState::taken(std::vector<Taken>& out) {
    out.clear();
    const std::lock_guard lock(mutex_);
    for (const auto& [session, bytes] : taken_) out.push_back({session, bytes});
    taken_.clear();
    told_ = false;
}

std::uint64_t InboxState::bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
}

std::size_t InboxState::waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_;
}

void InboxState::detach() {
    std::function<void()> callback;
    std::unique_lock lock(mutex_);
    detached_ = true;
    reported_.wait(lock, [this] { return reporting_ == 0; });
    callback.swap(on_taken_);
    lock.unlock();
}

/// Under the lock.
void InboxState::put(Batch&& batch) {
    Sender& sender = senders_[batch.from];
    if (!sender.queue.empty() && put_together(sender.queue.back(), sender.has_room, batch)) return;
    sender.id = batch.from;
    sender.queue.push_back(std::move(batch));
    sender.has_room = false;
    if (!sender.waits) wait_for_turn(sender, turn_.given);
}

/// Under the lock.
void InboxState::wait_for_turn(Sender& sender, std::uint64_t given) {
    sender.waits = true;
    turns_.push_back({given, ++last_turn_, &sender});
    std::push_heap(turns_.begin(), turns_.end());
}

/// Under the lock: all that was open has been claimed.
void InboxState::end_turn() {
    Sender& sender = *turn_.sender;
    const std::size_t position = open_->position.load(std::memory_order_relaxed);
    const auto batch = std::exchange(open_, nullptr);
    if (position < batch->end) sender.begun = batch;
    if (sender.begun != nullptr || !sender.queue.empty()) {
        wait_for_turn(sender, turn_.given + (position - opened_at_));
    } else {
        sender.waits = false;
        if (senders_.size() > most_kept) senders_.erase(PeerId(sender.id));
    }
}

/// Under the lock: makes `open_` a batch with messages that may be claimed, if there is one.
bool InboxState::open_next() {
    if (open_ != nullptr) {
        if (!open_->turn_over()) return true;
        end_turn();
    }
    if (turns_.empty()) return false;
    std::pop_heap(turns_.begin(), turns_.end());
    turn_ = turns_.back();
    turns_.pop_back();
    Sender& sender = *turn_.sender;
    open_ = std::exchange(sender.begun, nullptr);
    if (open_ == nullptr) {
        open_ = std::make_shared<SharedBatch>(std::move(sender.queue.front()));
        sender.queue.pop_front();
    }
    opened_at_ = open_->position.load(std::memory_order_relaxed);
    open_->limit.store(std::min(opened_at_ + quantum, open_->end), std::memory_order_relaxed);
    return true;
}

std::shared_ptr<SharedBatch> InboxState::next(Deadline deadline) {
    std::unique_lock lock(mutex_);
    while (!open_next()) {
        if (ended_ || deadline == no_wait) return nullptr;
        if (net::on_io_thread()) {
            throw std::system_error(make_error_code(errc::would_block), "waiting for a message on an I/O thread");
        }
        ++waiting_;
        if (deadline == for_ever) {
            pushed_.wait(lock);
        } else if (pushed_.wait_until(lock, deadline) == std::cv_status::timeout) {
            deadline = no_wait;  // looks once more: a message may have come with the last moment
        }
        --waiting_;
    }
    return open_;
}

void InboxState::finish(const std::shared_ptr<SharedBatch>& batch) {
    {
        const std::lock_guard lock(mutex_);
        if (open_ == batch) end_turn();
        const std::uint64_t charge = batch->batch.charge;
        if (charge == 0) return;
        bytes_ -= charge;
        const std::uint64_t unreported = taken_[batch->batch.session] += charge;
        if (unreported < report_from || told_ || detached_ || !on_taken_) return;
        told_ = true;
        ++reporting_;
    }
    report();
}

void InboxState::report() noexcept {
    on_taken_();
    const std::lock_guard lock(mutex_);
    if (--reporting_ == 0) reported_.notify_all();
}

bool InboxState::at_end() const {
    const std::lock_guard lock(mutex_);
    return ended_ && !has_unclaimed();
}

bool InboxReader::claim() {
    SharedBatch& shared = *batch_;
    const Batch& batch = shared.batch;
    std::size_t position = shared.position.load(std::memory_order_relaxed);
    std::size_t after = 0;
    std::span<const std::byte> payload;
    std::uint8_t flags = 0;
    do {
        if (position >= shared.limit.load(std::memory_order_relaxed)) return false;
        if (batch.lost != 0) {
            after = shared.end;
        } else {
            const std::byte* frame = batch.frames.data() + position;
            const FrameHeader header = FrameHeader::read(frame);
            payload = {frame + FrameHeader::size, header.length};
            flags = header.flags;
            after = position + FrameHeader::size + payload.size();
        }
    } while (!shared.position.compare_exchange_weak(position, after, std::memory_order_relaxed));
    if ((flags & core::flag_call) != 0) {
        if (Replier* replier = state_->replier()) {
            question_ = new Question(*replier, batch.from, core::read_call(payload.data()));
        }
        payload = payload.subspan(core::call_size);
    }
    std::construct_at(&message_, batch.from, batch.block.get(), payload, batch.lost, question_);
    if (after == shared.end) state_->finish(batch_);
    return true;
}

bool InboxReader::next_batch(Deadline deadline) {
    do {
        // What was read is let go before waiting for more, which may take long.
        std::construct_at(&message_);
        batch_.reset();
        batch_ = state_->next(deadline);
        if (batch_ == nullptr) return false;
    } while (!claim());
    return true;
}

Message InboxReader::take() const noexcept {
    BlockRef block = message_.size() == 0 ? BlockRef() : batch_->batch.block;
    if (question_ != nullptr) question_->retain();
    return Message(message_.from_, block.detach(), message_.bytes(), message_.lost_, question_);
}

void InboxReader::drop_question() noexcept {
    std::exchange(question_, nullptr)->release();
}

}  // namespace cluster::detail
