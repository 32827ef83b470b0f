#include "node/inbox_state.hpp"

#include "core/frame.hpp"
#include "node/replier.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <memory>
#include <utility>

namespace cluster::detail {

using core::Batch;
using core::FrameHeader;

namespace {

/// Batches up to this size are put together in blocks of this size.
constexpr std::size_t small = std::size_t{4} << 10;

/// Adds `batch` to `before`, the last one of the same sender, if that can take it. `has_room`: its block was made here.
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
    Woken woken;
    const Lock lock(mutex_);
    if (ended_) return false;
    std::uint64_t messages = 0;
    for (Batch& batch : batches) {
        assert((batch.lost != 0) == batch.frames.empty());
        messages += batch.lost != 0 ? 1 : batch.messages;
        bytes_ += batch.charge;
        put(std::move(batch));
    }
    for (; messages > 0 && !waits_.empty(); --messages) woken.add(waits_.take_first());
    return true;
}

void InboxState::end() {
    Woken woken;
    const Lock lock(mutex_);
    ended_ = true;
    woken.add(waits_.take_all());
}

void InboxState::wait(std::shared_ptr<Operation> operation) {
    Woken woken;
    const Lock lock(mutex_);
    if (ended_ || has_unclaimed()) {
        woken.add(std::move(operation));
    } else {
        waits_.add(std::move(operation));
    }
}

bool InboxState::stop_waiting(const Operation& operation) {
    if (!origin_.is_here()) return false;
    std::shared_ptr<Operation> stopped;  // dies outside the lock
    const Lock lock(mutex_);
    stopped = waits_.take(operation);
    return stopped != nullptr;
}

void InboxState::pass_on() {
    if (!origin_.is_here()) return;
    Woken woken;
    const Lock lock(mutex_);
    if (has_unclaimed()) woken.add(waits_.take_first());
}

bool InboxState::has_unclaimed() const {
    if (!turns_.empty()) return true;
    return open_ != nullptr && (open_->position.load(std::memory_order_relaxed) < open_->end ||
                                !turn_.sender->queue.empty());
}

void InboxState::taken(std::vector<Taken>& out) {
    out.clear();
    const Lock lock(mutex_);
    for (const auto& [session, bytes] : taken_) out.push_back({session, bytes});
    taken_.clear();
    told_ = false;
}

std::uint64_t InboxState::bytes() const {
    const Lock lock(mutex_);
    return bytes_;
}

std::size_t InboxState::waiting() const {
    const Lock lock(mutex_);
    return waits_.size();
}

void InboxState::detach() {
    std::function<void()> callback;  // dies outside the lock
    const Lock lock(mutex_);
    detached_ = true;
    reporting_.wait(mutex_);
    callback.swap(on_taken_);
}

void InboxState::put(Batch&& batch) {
    Sender& sender = senders_[batch.from];
    if (!sender.queue.empty() && put_together(sender.queue.back(), sender.has_room, batch)) return;
    sender.id = batch.from;
    sender.queue.push_back(std::move(batch));
    sender.has_room = false;
    if (!sender.waits) wait_for_turn(sender, turn_.given);
}

void InboxState::wait_for_turn(Sender& sender, std::uint64_t given) {
    sender.waits = true;
    turns_.push_back({given, ++last_turn_, &sender});
    std::push_heap(turns_.begin(), turns_.end());
}

/// All that was open has been claimed.
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

/// If there is a batch with messages that may be claimed, makes it `open_`.
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
    std::shared_ptr<Waited<Operation>> thread;
    for (;;) {
        {
            const Lock lock(mutex_);
            if (open_next()) return open_;
            if (ended_ || deadline == no_wait) return nullptr;
            require_may_wait("a message");
            if (!thread) thread = std::make_shared<Waited<Operation>>();
            waits_.add(thread);
        }
        const bool in_time = thread->wait(deadline, [&] {
            if (stop_waiting(*thread)) thread->wake();
        });
        if (!in_time) deadline = no_wait;  // looks once more: a message may have come at the last moment
    }
}

void InboxState::finish(const std::shared_ptr<SharedBatch>& batch) {
    {
        const Lock lock(mutex_);
        if (open_ == batch) end_turn();
        const std::uint64_t charge = batch->batch.charge;
        if (charge == 0) return;
        bytes_ -= charge;
        const std::uint64_t unreported = taken_[batch->batch.session] += charge;
        if (unreported < report_from || told_ || detached_ || !on_taken_) return;
        told_ = true;
        reporting_.enter();
    }
    report();
}

void InboxState::report() noexcept {
    on_taken_();
    const Lock lock(mutex_);
    reporting_.leave();
}

bool InboxState::at_end() const {
    const Lock lock(mutex_);
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
        // What was read is released before a wait, which may take long.
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
