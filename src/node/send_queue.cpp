#include "node/send_queue.hpp"

#include <algorithm>
#include <utility>

namespace cluster::detail {

namespace {

void wake(const std::vector<std::shared_ptr<SendOperation>>& operations) {
    for (const auto& operation : operations) operation->wake();
}

}  // namespace

void SendQueue::start(Receivers to, std::shared_ptr<const Outgoing> payload, std::shared_ptr<SendOperation> operation) {
    bool sooner = false;
    Outcomes in_vain;
    {
        const std::lock_guard lock(mutex_);
        const Deadline armed = next();
        const std::size_t size = payload->body().bytes.size();
        const bool may_wait = send_timeout_ > std::chrono::nanoseconds(0);
        Awaited& awaited = awaited_[payload->body().reply ? 1 : 0];
        if (awaited.overlaps(to) || !settle(*operation, to, *payload, !may_wait, in_vain)) {
            if (waiting_.size() == most_waiting || bytes_ + size > most_bytes_) {
                operation->error = errc::outbox_full;
            } else {
                bytes_ += size;
                operation->cancel = [weak = weak_from_this(), raw = operation.get()] {
                    if (const auto self = weak.lock()) self->cancel(*raw);
                };
                awaited.add(to);
                waiting_.push_back(
                    {std::move(operation), std::move(to), std::move(payload), deadline_after(send_timeout_)});
                sooner = next() < armed;
            }
        }
    }
    report(in_vain);
    if (operation) {
        operation->wake();
    } else if (sooner) {
        asio::post(loop_->io(), [self = shared_from_this()] { self->arm(); });
    }
}

/// False if there is no room yet; else `operation` has its result.
bool SendQueue::settle(SendOperation& operation, const Receivers& to, const Outgoing& payload, bool last,
                       Outcomes& in_vain) {
    core::Engine::Outcome outcome = attempt_(to, payload.body(), last);
    if (outcome.error == errc::outbox_full) {
        again_ = std::min(again_, Deadline(outcome.again));
        return false;
    }
    if (outcome.error != errc{}) operation.error = outcome.error;
    operation.result = outcome.count;
    if (outcome.error == errc::timed_out) in_vain.push_back(std::move(outcome));
    return true;
}

void SendQueue::report(const Outcomes& in_vain) const {
    for (const core::Engine::Outcome& each : in_vain) no_room_(each);
}

void SendQueue::serve() {
    std::vector<std::shared_ptr<SendOperation>> done;
    Outcomes in_vain;
    {
        const std::lock_guard lock(mutex_);
        const Deadline now = std::chrono::steady_clock::now();
        awaited_ = {};
        again_ = Deadline::max();
        for (Waiting& each : std::exchange(waiting_, {})) {
            const bool last = each.deadline <= now;
            Awaited& awaited = awaited_[each.payload->body().reply ? 1 : 0];
            if (!awaited.overlaps(each.to) && settle(*each.operation, each.to, *each.payload, last, in_vain)) {
                bytes_ -= each.payload->body().bytes.size();
                done.push_back(std::move(each.operation));
            } else {
                awaited.add(each.to);
                waiting_.push_back(std::move(each));
            }
        }
    }
    report(in_vain);
    wake(done);
}

void SendQueue::cancel(const SendOperation& operation) {
    std::shared_ptr<SendOperation> cancelled;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                        [&](const Waiting& each) { return each.operation.get() == &operation; });
        if (found == waiting_.end()) return;
        bytes_ -= found->payload->body().bytes.size();
        cancelled = std::move(found->operation);
        waiting_.erase(found);
    }
    cancelled->error = errc::cancelled;
    cancelled->wake();
    asio::post(loop_->io(), [self = shared_from_this()] { self->serve(); });  // for what waited behind it
}

void SendQueue::end() {
    std::vector<std::shared_ptr<SendOperation>> done;
    {
        const std::lock_guard lock(mutex_);
        for (Waiting& each : waiting_) {
            each.operation->error = errc::closed;
            done.push_back(std::move(each.operation));
        }
        waiting_.clear();
        awaited_ = {};
        again_ = Deadline::max();
        bytes_ = 0;
    }
    timer_.cancel();
    wake(done);
}

/// All wait equally long, so the first in the queue is the first whose time is over.
Deadline SendQueue::next() const {
    return waiting_.empty() ? Deadline::max() : std::min(waiting_.front().deadline, again_);
}

/// On the I/O thread.
void SendQueue::arm() {
    {
        const std::lock_guard lock(mutex_);
        if (next() == Deadline::max()) return;
        timer_.expires_at(next());
    }
    timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
        if (error) return;
        self->serve();
        self->arm();
    });
}

}  // namespace cluster::detail
