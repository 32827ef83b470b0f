#include <cluster/replica.hpp>

#include "replica/replica_state.hpp"

#include <string>
#include <utility>

namespace cluster {

namespace {

void throw_if(const std::error_code& error, const std::string& doing) {
    if (error) throw std::system_error(error, doing);
}

}  // namespace

Replica::Replica(Node& node, Service& service, ReplicaOptions options)
    : Replica(node, {{"service", service}}, std::move(options)) {}

Replica::Replica(Node& node, std::vector<NamedService> services, ReplicaOptions options)
    : state_(detail::ReplicaState::start(node.state_, std::move(services), std::move(options))) {}

Replica::~Replica() {
    if (!state_->is_here()) {
        detail::keep_for_ever(std::move(state_));
        return;
    }
    state_->close();
    state_->end_callbacks();
}

Message Replica::submit(Payload message, std::chrono::nanoseconds timeout) {
    std::error_code error;
    Message reply = state_->submit(message, timeout, error);
    throw_if(error, "submitting");
    return reply;
}

Message Replica::submit(Payload message, std::chrono::nanoseconds timeout, std::error_code& error) {
    return state_->submit(message, timeout, error);
}

void Replica::submit(Payload message, std::chrono::nanoseconds timeout,
                     std::function<void(std::error_code, const Message&)> handler) {
    state_->submit(message, timeout, std::move(handler));
}

Message Replica::read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options) {
    std::error_code error;
    Message reply = state_->read(query, timeout, options, error);
    throw_if(error, reply.size() == 0 ? "reading" : std::string(reply.text()));
    return reply;
}

Message Replica::read(Payload query, std::chrono::nanoseconds timeout, std::error_code& error, ReadOptions options) {
    return state_->read(query, timeout, options, error);
}

void Replica::read(Payload query, std::chrono::nanoseconds timeout,
                   std::function<void(std::error_code, const Message&)> handler, ReadOptions options) {
    state_->read(query, timeout, options, std::move(handler));
}

Inbox Replica::node_inbox() const {
    return Inbox(state_->node().inbox());
}

void Replica::start_submit(const State& state, std::span<const std::byte> message, std::chrono::nanoseconds timeout,
                           std::shared_ptr<detail::RequestOperation> operation) {
    Payload payload(message);
    state->submit(payload, timeout, std::move(operation));
}

void Replica::start_read(const State& state, std::span<const std::byte> query, std::chrono::nanoseconds timeout,
                         const ReadOptions& options, std::shared_ptr<detail::RequestOperation> operation) {
    Payload payload(query);
    state->read(payload, timeout, options, std::move(operation));
}

ReplicaStatus Replica::status() const {
    return state_->status();
}

Subscription Replica::on_status(std::function<void(const ReplicaStatus&)> callback) {
    return state_->on_status(std::move(callback));
}

bool Replica::wait_for_leader(std::chrono::nanoseconds timeout) const {
    return state_->wait_for_leader(timeout);
}

void Replica::wait_until_stopped() const {
    state_->wait_until_stopped();
}

std::uint64_t Replica::snapshot() {
    std::error_code error;
    std::string text;
    const std::uint64_t position = state_->snapshot(error, text);
    throw_if(error, text.empty() ? "taking a snapshot" : "taking a snapshot: " + text);
    return position;
}

std::uint64_t Replica::snapshot(std::error_code& error) {
    std::string text;
    return state_->snapshot(error, text);
}

void Replica::transfer(std::string_view to) {
    std::error_code error;
    transfer(to, error);
    throw_if(error, "handing leadership over" + (to.empty() ? std::string() : " to " + std::string(to)));
}

void Replica::transfer(std::string_view to, std::error_code& error) {
    state_->transfer(std::string(to), error);
}

void Replica::close() {
    state_->close();
}

}  // namespace cluster
