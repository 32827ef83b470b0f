#include "node/node_state.hpp"

#include "node/replier.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"

#include <algorithm>
#include <utility>

// What a node sends: broadcasts, messages, requests and replies, and how each waits for room.

namespace cluster::detail {

namespace {

using core::Engine;

/// From this size on, a buffer that was handed over is kept: below it, a copy costs less than the bookkeeping.
constexpr std::size_t adopt_from = std::size_t{16} << 10;
/// From this size on, a view is copied before the engine is locked, so that others do not wait for the copy.
constexpr std::size_t copy_from = std::size_t{256} << 10;

/// The body of a reply that says that there is none: a code, and a text that is cut between two characters of UTF-8.
std::vector<std::byte> failure_of(int code, std::span<const std::byte> text) {
    if (text.size() > core::max_error_text) {
        std::size_t size = core::max_error_text;
        while (size > 0 && (text[size] & std::byte{0xc0}) == std::byte{0x80}) --size;
        text = text.first(size);
    }
    std::vector<std::byte> body(core::code_size + text.size());
    core::write_code(code, body.data());
    std::copy(text.begin(), text.end(), body.begin() + core::code_size);
    return body;
}

}  // namespace

Engine::Body NodeState::body_of(Payload& payload) const {
    const std::span<const std::byte> view = payload.view();
    if (view.size() > max_message_) return {view, {}};  // will be refused, so it is not worth a copy
    BlockRef block;
    if (view.size() >= adopt_from && payload.owner() == Payload::Owner::text) {
        block = Block::adopt(payload.take_text());
    } else if (view.size() >= adopt_from && payload.owner() == Payload::Owner::bytes) {
        block = Block::adopt(payload.take_bytes());
    } else if (view.size() >= copy_from) {
        block = Block::copy(view);
    } else {
        return {view, {}};
    }
    const std::span<const std::byte> bytes(block->data(), block->size());
    return {bytes, std::move(block)};
}

Engine::Outcome NodeState::attempt(const To& to, const Engine::Body& body, Engine::Skip skip, std::optional<Time> now) {
    return driver_->enqueue(
        [&](Engine& engine) { return to ? engine.send(*to, body, skip, now) : engine.broadcast(body, skip, now); });
}

std::size_t NodeState::queue(const To& to, const Engine::Body& body, std::error_code& error, std::string* full) {
    Engine::Outcome outcome = attempt(to, body, skip_);
    if (outcome.error == errc::outbox_full && send_timeout_ > std::chrono::nanoseconds(0)) {
        if (may_wait()) {
            const auto operation = std::make_shared<Waited<SendOperation>>();
            const auto receivers = to ? SendQueue::Receivers(std::in_place, to->begin(), to->end()) : std::nullopt;
            sends_->start_for_thread(receivers, body, operation);
            operation->wait(deadline_after(send_timeout_), [&] { operation->cancel(); });
            error = operation->error;
            if (error != errc::cancelled) return operation->result;
        } else {
            outcome = attempt(to, body, skip_, net::Loop::now());
            if (outcome.error == errc::outbox_full) outcome.error = errc::would_block;
        }
    }
    if (outcome.error == errc::outbox_full) outcome = last_attempt(to, body);
    if (outcome.error == errc::timed_out) {
        std::string text = log_no_room(outcome);
        if (full != nullptr) *full = std::move(text);
    }
    error = to_code(outcome.error);
    return outcome.count;
}

/// Time is over: does what `when_full` says.
Engine::Outcome NodeState::last_attempt(const To& to, const Engine::Body& body) {
    const auto skip = skip_ == Engine::Skip::nobody ? skip_ : Engine::Skip::full;
    Engine::Outcome outcome = attempt(to, body, skip, net::Loop::now());
    if (outcome.error == errc::outbox_full) outcome.error = errc::timed_out;
    return outcome;
}

/// Logs the peers for whose room a sender waited in vain, and returns the line.
std::string NodeState::log_no_room(const Engine::Outcome& outcome) {
    std::string line = "no_room";
    driver_->with_engine([&](Engine& engine, Time) {
        for (const PeerId& id : outcome.full) line += ' ' + engine.who(id);
    });
    line += outcome.full.empty() ? " why=\"total_outbox_bytes are in use\"" : " why=\"not acknowledged in time\"";
    log({.level = LogLevel::warning, .text = line, .cause = line});
    return line;
}

std::shared_ptr<const Outgoing> NodeState::hand_over(Payload& payload) const {
    Engine::Body body = body_of(payload);
    BlockRef kept;
    // A message that is too long will be refused unseen, and need not be copied.
    if (!body.owner && body.bytes.size() <= max_message_) {
        kept = Block::copy(body.bytes);
        body.bytes = {kept->data(), kept->size()};
    }
    return std::make_shared<const Outgoing>(std::move(body), std::move(kept));
}

void NodeState::start_send(SendQueue::Receivers to, const std::shared_ptr<const Outgoing>& payload,
                           std::shared_ptr<SendOperation> operation) {
    sends_->start(std::move(to), payload, std::move(operation));
}

void NodeState::start_request(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                              std::shared_ptr<RequestOperation> operation) {
    requests_->start(to, payload, timeout, std::move(operation));
}

Message NodeState::request(const PeerId& to, Payload& payload, std::chrono::nanoseconds timeout,
                           std::error_code& error) {
    return wait_for_result<RequestOperation>(
        error, [&](const auto& operation) { requests_->start(to, *hand_over(payload), timeout, operation); });
}

void NodeState::request(const PeerId& to, Payload& payload, std::chrono::nanoseconds timeout,
                        NodeRequests::Handler handler) {
    requests_->start(to, *hand_over(payload), timeout, std::move(handler));
}

std::vector<Answer> NodeState::request_all(Payload& payload, std::chrono::nanoseconds timeout, std::error_code& error) {
    return wait_for_result<RequestAllOperation>(
        error, [&](const auto& operation) { start_request_all(*hand_over(payload), timeout, operation); });
}

void NodeState::start_request_all(const Outgoing& payload, std::chrono::nanoseconds timeout,
                                  std::shared_ptr<RequestAllOperation> operation) {
    bool closed = false;
    std::vector<Peer> peers = driver_->with_engine([&](Engine& engine, Time) {
        closed = engine.leaving();
        return engine.audience();
    });
    if (closed) {
        operation->error = errc::closed;
        return operation->wake();
    }
    requests_->start_all(std::move(peers), payload, timeout, std::move(operation));
}

void NodeState::reply(const PeerId& to, std::uint64_t call, int code, Payload& payload, std::error_code& error) {
    std::vector<std::byte> failure;
    Engine::Body body;
    if (code == 0) {
        body = body_of(payload);
    } else {
        failure = failure_of(code, payload.view());
        body = {failure, {}};
        body.error = true;
    }
    body.call = call;
    body.channel = core::reply_channel;
    const std::size_t count = queue(std::span(&to, 1), body, error, nullptr);
    if (count == 0 && !error) error = errc::timed_out;  // it was given up
}

/// It does not wait for room, because others wait for it: if there is none, the request runs into its timeout.
void NodeState::dropped(const PeerId& to, std::uint64_t call) {
    const std::vector<std::byte> failure = failure_of(0, {});
    Engine::Body body{failure, {}};
    body.call = call;
    body.channel = core::reply_channel;
    body.error = true;
    attempt(std::span(&to, 1), body, Engine::Skip::nobody);
}

errc NodeState::send_for_library(std::uint16_t channel, const PeerId& to, const BlockRef& block) {
    const Engine::Body body{.bytes = {block->data(), block->size()},
                            .owner = block->size() >= adopt_from ? block : BlockRef(),
                            .channel = channel};
    return driver_->enqueue([&](Engine& engine) { return engine.send(to, body, Engine::Skip::nobody); }).error;
}

TryResult NodeState::try_queue(const To& to, Payload& payload) {
    Engine::Outcome outcome = attempt(to, body_of(payload), Engine::Skip::nobody);
    return {to_code(outcome.error), outcome.count, std::move(outcome.full)};
}

}  // namespace cluster::detail
