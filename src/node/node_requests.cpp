#include "node/node_requests.hpp"

#include "core/frame.hpp"
#include "support/deadline.hpp"

#include <cluster/error.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace cluster::detail {

/// A request whose handler waits on the I/O thread.
class NodeRequests::Handled final : public RequestOperation, public std::enable_shared_from_this<Handled> {
public:
    Handled(Handler handler, std::shared_ptr<NodeRequests> requests)
        : handler_(std::move(handler)), requests_(std::move(requests)) {}

    /// Calls the handler on the I/O thread, after the call that started the request has returned.
    void wake() noexcept override {
        if (at_.exchange(At::ended) == At::waits) call();
    }
    /// The call that starts it is about to return.
    void started() {
        if (at_.exchange(At::waits) != At::ended) return;
        requests_->handler_calls_->begin();
        asio::post(requests_->loop_->io(), [self = shared_from_this()] {
            self->call();
            self->requests_->handler_calls_->end();
        });
    }

private:
    void call() {
        call_guarded(requests_->on_throw_, std::exchange(handler_, nullptr), error, result);
    }

    enum class At { starts, waits, ended };
    std::atomic<At> at_{At::starts};
    Handler handler_;
    const std::shared_ptr<NodeRequests> requests_;
};

/// A request on its way to the outbox. If it is queued, that means nothing yet. If it is not, or if a gap took its
/// place, the request ends.
class NodeRequests::Sending final : public SendOperation {
public:
    explicit Sending(std::weak_ptr<NodeRequests> requests) : requests_(std::move(requests)) {}

    void wake() noexcept override {
        if (!error && result == 0) error = errc::timed_out;
        if (!error) return;
        if (const auto requests = requests_.lock()) requests->fail(call, error);
    }

    std::uint64_t call = 0;          ///< set before anybody else knows this object
    std::atomic<bool> ended{false};  ///< the request has ended: if it still waits for room, it is not sent

private:
    const std::weak_ptr<NodeRequests> requests_;
};

void NodeRequests::start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                         std::shared_ptr<RequestOperation> operation) {
    const Time deadline = deadline_after(timeout).time_since_epoch();
    const auto sending = std::make_shared<Sending>(weak_from_this());
    errc error{};
    {
        const Lock lock(mutex_);
        if (ended_) error = errc::closed;
        if (!ended_) sending->call = calls_.begin(to, deadline, {operation, sending});
        if (!ended_ && sending->call == 0) error = errc::too_many_requests;
        if (error == errc{}) {
            operation->cancel = [weak = weak_from_this(), call = sending->call] {
                if (const auto self = weak.lock()) self->fail(call, errc::cancelled);
            };
            alarm_.set(deadline, weak_from_this());
        }
    }
    if (error != errc{}) {
        operation->error = error;
        return operation->wake();
    }
    sends_->start({{to}}, payload.as_request(sending->call), sending);
    if (sending->ended) sends_->cancel(*sending);
}

void NodeRequests::start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                         Handler handler) {
    const auto handled = std::make_shared<Handled>(std::move(handler), shared_from_this());
    start(to, payload, timeout, std::static_pointer_cast<RequestOperation>(handled));
    handled->started();
}

/// The answers of several peers. Thread-safe. The last answer wakes the operation.
class NodeRequests::Gathered {
public:
    Gathered(std::vector<Peer> peers, std::shared_ptr<RequestAllOperation> operation)
        : operation_(std::move(operation)), missing_(peers.size()), answers_(peers.size()) {
        for (std::size_t i = 0; i < peers.size(); ++i) answers_[i].peer = std::move(peers[i]);
    }

    const PeerId& peer(std::size_t at) const noexcept { return answers_[at].peer.id; }
    /// Each answer has a place of its own, so they need no lock.
    void put(std::size_t at, std::error_code error, Message&& message) {
        answers_[at].error = error;
        answers_[at].message = std::move(message);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
        if (cancelled_) operation_->error = errc::cancelled;
        if (!cancelled_) operation_->result = std::move(answers_);
        operation_->wake();
    }
    void cancel() noexcept { cancelled_ = true; }

private:
    const std::shared_ptr<RequestAllOperation> operation_;
    std::atomic<std::size_t> missing_;
    std::atomic<bool> cancelled_{false};
    std::vector<Answer> answers_;
};

/// The request to one of them.
class NodeRequests::Part final : public RequestOperation {
public:
    Part(std::shared_ptr<Gathered> whole, std::size_t at) : whole_(std::move(whole)), at_(at) {}
    void wake() noexcept override { whole_->put(at_, error, std::move(result)); }

private:
    const std::shared_ptr<Gathered> whole_;
    const std::size_t at_;
};

void NodeRequests::start_all(std::vector<Peer> peers, const Outgoing& payload, std::chrono::nanoseconds timeout,
                             std::shared_ptr<RequestAllOperation> operation) {
    if (peers.empty()) return operation->wake();
    const std::size_t count = peers.size();
    RequestAllOperation& started = *operation;
    const auto whole = std::make_shared<Gathered>(std::move(peers), std::move(operation));
    std::vector<std::shared_ptr<Part>> parts;
    for (std::size_t i = 0; i < count; ++i) parts.push_back(std::make_shared<Part>(whole, i));
    started.cancel = [whole = std::weak_ptr(whole),
                      weak = std::vector<std::weak_ptr<Part>>(parts.begin(), parts.end())] {
        if (const auto alive = whole.lock()) alive->cancel();
        for (const auto& each : weak) {
            if (const auto part = each.lock(); part && part->cancel) part->cancel();
        }
    };
    for (std::size_t i = 0; i < count; ++i) {
        const PeerId to = whole->peer(i);  // a copy: with the last answer all of them are handed over
        start(to, payload, timeout, parts[i]);
    }
}

bool NodeRequests::awaits(const PeerId& from, std::uint64_t call) {
    const Lock lock(mutex_);
    return calls_.waits(call, from);
}

void NodeRequests::replied(const core::Batch& batch) {
    for (std::size_t at = 0; at < batch.frames.size();) {
        const std::byte* const frame = batch.frames.data() + at;
        const core::FrameHeader header = core::FrameHeader::read(frame);
        const std::span body(frame + core::FrameHeader::size, header.length);
        at += core::FrameHeader::size + header.length;
        std::optional<Pending> pending;
        {
            const Lock lock(mutex_);
            pending = calls_.answered(core::read_call(body.data()), batch.from);
        }
        if (!pending) continue;  // its time was over, or it has had a reply
        auto payload = body.subspan(core::call_size);
        if ((header.flags & core::flag_error) != 0) {
            const int code = core::read_code(payload.data());
            pending->operation->error =
                code == 0 ? make_error_code(errc::unanswered) : std::error_code(code, reply_category());
            payload = payload.subspan(core::code_size);
        }
        BlockRef block = payload.empty() ? BlockRef() : batch.block;
        Message message(batch.from, block.detach(), payload, 0);
        // A short message that is kept must not keep all that came with it.
        pending->operation->result = batch.messages == 1 ? std::move(message) : Message(message);
        pending->operation->wake();
    }
}

/// The request may be just about to wait for room.
void NodeRequests::keep_back(Sending& sending) {
    sending.ended = true;
    sends_->cancel(sending);
}

void NodeRequests::fail(const std::vector<Pending>& ended, std::error_code error) {
    for (const Pending& each : ended) {
        each.operation->error = error;
        each.operation->wake();
    }
}

void NodeRequests::fail(std::uint64_t call, std::error_code error) {
    std::optional<Pending> pending;
    {
        const Lock lock(mutex_);
        pending = calls_.end(call);
    }
    if (!pending) return;
    keep_back(*pending->sending);
    fail({*pending}, error);
}

void NodeRequests::peer_gone(const PeerId& peer) {
    std::vector<Pending> gone;
    {
        const Lock lock(mutex_);
        gone = calls_.end_all(peer);
    }
    fail(gone, errc::connection_lost);
}

void NodeRequests::end() {
    std::vector<Pending> left;
    {
        const Lock lock(mutex_);
        ended_ = true;
        left = calls_.end_all();
    }
    alarm_.end();
    fail(left, errc::closed);
}

void NodeRequests::look_at_time() {
    const Time now = net::Loop::now();
    loop_->catch_up([self = shared_from_this(), now] { self->expire(now); });  // a reply may have come in time
}

void NodeRequests::expire(Time now) {
    std::vector<Pending> over;
    {
        const Lock lock(mutex_);
        over = calls_.expire(now);
        alarm_.set(calls_.deadline(), weak_from_this());
    }
    for (const Pending& each : over) keep_back(*each.sending);
    fail(over, errc::timed_out);
}

}  // namespace cluster::detail
