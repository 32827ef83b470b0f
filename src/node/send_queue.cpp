#include "node/send_queue.hpp"

#include <algorithm>
#include <utility>

namespace cluster::detail {

void SendQueue::start(Receivers to, std::shared_ptr<const Outgoing> payload, std::shared_ptr<SendOperation> operation) {
    Outcomes in_vain;
    Woken woken;
    {
        const Lock lock(mutex_);
        const core::Engine::Body& body = payload->body();
        const std::size_t size = body.bytes.size();
        const bool last = send_timeout_ <= std::chrono::nanoseconds(0);
        Awaited& awaited = awaited_[body.is_reply() ? 1 : 0];
        if (!awaited.overlaps(to) && settle(*operation, to, body, last, in_vain)) {
            woken.add(std::move(operation));
        } else if (waits_.size() == most_waiting || bytes_ + size > most_bytes_) {
            operation->error = errc::outbox_full;
            woken.add(std::move(operation));
        } else {
            bytes_ += size;
            awaited.add(to);
            set_cancel(*operation);
            waits_.add(std::move(operation), {std::move(to), std::move(payload), deadline_after(send_timeout_)});
            set_alarm();
        }
    }
    report(in_vain);
}

void SendQueue::start_for_thread(Receivers to, core::Engine::Body body, std::shared_ptr<SendOperation> operation) {
    Outcomes in_vain;  // stays empty: this is not the last attempt
    Woken woken;
    const Lock lock(mutex_);
    if (settle(*operation, to, body, false, in_vain)) return woken.add(std::move(operation));
    set_cancel(*operation);
    threads_.add(std::move(operation), {std::move(to), std::move(body)});
    set_alarm();
}

void SendQueue::set_cancel(SendOperation& operation) {
    operation.cancel = [weak = weak_from_this(), raw = &operation] {
        if (const auto self = weak.lock()) self->cancel(*raw);
    };
}

/// False if there is no room yet; else `operation` has its result.
bool SendQueue::settle(SendOperation& operation, const Receivers& to, const core::Engine::Body& body, bool last,
                       Outcomes& in_vain) {
    core::Engine::Outcome outcome = attempt_(to, body, last);
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
    Outcomes in_vain;
    Woken woken;
    {
        const Lock lock(mutex_);
        const Deadline now = std::chrono::steady_clock::now();
        awaited_ = {};
        again_ = for_ever;
        woken.add(waits_.take_if([&](const Queued& each, SendOperation& operation) {
            mutex_.assert_held();
            const core::Engine::Body& body = each.payload->body();
            Awaited& awaited = awaited_[body.is_reply() ? 1 : 0];
            if (awaited.overlaps(each.to) || !settle(operation, each.to, body, each.deadline <= now, in_vain)) {
                awaited.add(each.to);
                return false;
            }
            bytes_ -= body.bytes.size();
            return true;
        }));
        woken.add(threads_.take_if([&](const OfThread& each, SendOperation& operation) {
            mutex_.assert_held();
            return settle(operation, each.to, each.body, false, in_vain);
        }));
        set_alarm();
    }
    report(in_vain);
}

void SendQueue::cancel(const SendOperation& operation) {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(threads_.end(operation, errc::cancelled));
    const Queued* queued = waits_.find(operation);
    if (queued == nullptr) return;
    bytes_ -= queued->payload->body().bytes.size();
    woken.add(waits_.end(operation, errc::cancelled));
    asio::post(loop_->io(), [self = shared_from_this()] { self->serve(); });  // for operations that waited after it
}

void SendQueue::end() {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(waits_.end_all(errc::closed));
    woken.add(threads_.end_all(errc::closed));
    awaited_ = {};
    bytes_ = 0;
    again_ = for_ever;
    alarm_.end();
}

/// All operations wait equally long, so the first one is the first to time out.
void SendQueue::set_alarm() {
    const Deadline next = waits_.empty() ? again_ : std::min(waits_.first().deadline, again_);
    alarm_.set(next.time_since_epoch(), weak_from_this());
}

}  // namespace cluster::detail
