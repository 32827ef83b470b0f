#include "node_requests.hpp"

#include "core/frame.hpp"
#include "deadline.hpp"

#include <cluster/error.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace cluster::detail {

/// A request that its handler waits for on the I/O thread.
class NodeRequests::Handled final : public RequestOperation, public std::enable_shared_from_this<Handled> {
public:
    Handled(Handler handler, const NodeRequests& from)
        : handler_(std::move(handler)),
          loop_(from.loop_),
          handler_calls_(from.handler_calls_),
          on_throw_(from.on_throw_) {}

    /// On the I/O thread once the call that started it has returned.
    void wake() noexcept override {
        if (at_.exchange(At::ended) == At::waits) call();
    }
    /// The call that starts it is about to return.
    void started() {
        if (at_.exchange(At::waits) != At::ended) return;
        handler_calls_->begin();
        asio::post(loop_->io(), [self = shared_from_this()] {
            self->call();
            self->handler_calls_->end();
        });
    }

private:
    void call() {
        call_guarded(on_throw_, std::exchange(handler_, nullptr), error, result);
    }

    enum class At { starts, waits, ended };
    std::atomic<At> at_{At::starts};
    Handler handler_;
    const std::shared_ptr<net::Loop> loop_;
    const std::shared_ptr<HandlerCalls> handler_calls_;
    const OnThrow on_throw_;
};

/// A request on its way to the outbox. That it is queued means nothing yet; that it is not ends it.
class NodeRequests::Sending final : public SendOperation {
public:
    explicit Sending(std::weak_ptr<NodeRequests> requests) : requests_(std::move(requests)) {}

    void wake() noexcept override {
        if (!error) return;
        if (const auto requests = requests_.lock()) requests->fail(call, error);
    }

    std::uint64_t call = 0;  ///< set before anybody else knows of it

private:
    const std::weak_ptr<NodeRequests> requests_;
};

void NodeRequests::start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                         std::shared_ptr<RequestOperation> operation) {
    const core::Time deadline = deadline_after(timeout).time_since_epoch();
    const auto sending = std::make_shared<Sending>(weak_from_this());
    errc error{};
    bool sooner = false;
    {
        const std::lock_guard lock(mutex_);
        if (ended_) error = errc::closed;
        if (!ended_) sending->call = calls_.begin(to, deadline, {operation, sending});
        if (!ended_ && sending->call == 0) error = errc::too_many_requests;
        if (error == errc{}) {
            operation->cancel = [weak = weak_from_this(), call = sending->call] {
                if (const auto self = weak.lock()) self->fail(call, errc::cancelled);
            };
            sooner = deadline < armed_;
            if (sooner) armed_ = deadline;
        }
    }
    if (error != errc{}) {
        operation->error = error;
        return operation->wake();
    }
    if (sooner) asio::post(loop_->io(), [self = shared_from_this()] { self->arm(); });
    sends_->start(to, payload.as_request(sending->call), sending);
}

void NodeRequests::start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                         Handler handler) {
    const auto handled = std::make_shared<Handled>(std::move(handler), *this);
    start(to, payload, timeout, std::static_pointer_cast<RequestOperation>(handled));
    handled->started();
}

void NodeRequests::replied(const core::Batch& batch) {
    for (std::size_t at = 0; at < batch.frames.size();) {
        const std::byte* const frame = batch.frames.data() + at;
        const std::size_t length = core::FrameHeader::read(frame).length;
        const std::span body(frame + core::FrameHeader::size, length);
        at += core::FrameHeader::size + length;
        std::optional<Waiter> waiter;
        {
            const std::lock_guard lock(mutex_);
            waiter = calls_.answered(core::read_call(body.data()), batch.from);
        }
        if (!waiter) continue;  // its time was over, or it has had a reply
        const auto payload = body.subspan(core::call_size);
        core::BlockRef block = payload.empty() ? core::BlockRef() : batch.block;
        Message message(batch.from, block.detach(), payload, 0);
        // A short one that is kept must not keep all that came with it.
        waiter->operation->result = batch.messages == 1 ? std::move(message) : Message(message);
        waiter->operation->wake();
    }
}

void NodeRequests::fail(const std::vector<Waiter>& waiters, std::error_code error) {
    for (const Waiter& each : waiters) {
        each.operation->error = error;
        each.operation->wake();
    }
}

void NodeRequests::fail(std::uint64_t call, std::error_code error) {
    std::optional<Waiter> waiter;
    {
        const std::lock_guard lock(mutex_);
        waiter = calls_.end(call);
    }
    if (!waiter) return;
    sends_->cancel(*waiter->sending);
    fail({*waiter}, error);
}

void NodeRequests::peer_gone(const PeerId& peer) {
    std::vector<Waiter> gone;
    {
        const std::lock_guard lock(mutex_);
        gone = calls_.end_all(peer);
    }
    fail(gone, errc::connection_lost);
}

void NodeRequests::end() {
    std::vector<Waiter> left;
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        left = calls_.end_all();
    }
    timer_.cancel();
    fail(left, errc::closed);
}

void NodeRequests::arm() {
    {
        const std::lock_guard lock(mutex_);
        if (ended_ || armed_ == core::never) return;
        timer_.expires_at(Deadline(armed_));
    }
    timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
        if (!error) self->expire();
    });
}

void NodeRequests::expire() {
    std::vector<Waiter> over;
    {
        const std::lock_guard lock(mutex_);
        over = calls_.expire(std::chrono::steady_clock::now().time_since_epoch());
        armed_ = calls_.deadline();
    }
    for (const Waiter& each : over) sends_->cancel(*each.sending);
    fail(over, errc::timed_out);
    arm();
}

}  // namespace cluster::detail
