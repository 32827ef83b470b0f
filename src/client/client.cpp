#include <cluster/client.hpp>

#include "client/client_state.hpp"

#include <string>
#include <utility>

namespace cluster {

namespace {

void throw_if(const std::error_code& error, const std::string& doing) {
    if (error) throw std::system_error(error, doing);
}

}  // namespace

std::string_view to_string(ClientStatus::Phase phase) noexcept {
    switch (phase) {
        case ClientStatus::Phase::connecting: return "connecting";
        case ClientStatus::Phase::open: return "open";
        case ClientStatus::Phase::seeking: return "seeking";
        case ClientStatus::Phase::ended: return "ended";
    }
    return "unknown";
}

namespace detail {

std::optional<Message> ClientInbox::try_take() const {
    return state_->try_receive();
}

bool ClientInbox::at_end() const {
    return state_->inbox_at_end();
}

void ClientInbox::wait(std::shared_ptr<Operation> operation) const {
    state_->wait(std::move(operation));
}

bool ClientInbox::stop_waiting(const Operation& operation) const {
    return state_->stop_waiting(operation);
}

void ClientInbox::pass_on() const {
    state_->pass_on();
}

bool ClientInbox::call_back(std::function<void()> work) const {
    return state_->node().inbox()->call_back(std::move(work));
}

}  // namespace detail

Client::Client(ClientOptions options) : state_(detail::ClientState::start(nullptr, std::move(options))) {}

Client::Client(Node& node, ClientOptions options)
    : state_(detail::ClientState::start(node.state_, std::move(options))) {}

Client::~Client() {
    if (!state_->is_here()) {
        detail::keep_for_ever(std::move(state_));
        return;
    }
    state_->close();
    state_->end_callbacks();
}

Message Client::call(Payload command, std::chrono::nanoseconds timeout) {
    std::error_code error;
    Message reply = state_->call(command, timeout, error);
    throw_if(error, "calling a service");
    return reply;
}

Message Client::call(Payload command, std::chrono::nanoseconds timeout, std::error_code& error) {
    return state_->call(command, timeout, error);
}

void Client::call(Payload command, std::chrono::nanoseconds timeout,
                  std::function<void(std::error_code, const Message&)> handler) {
    state_->call(command, timeout, std::move(handler));
}

void Client::send(Payload command, std::chrono::nanoseconds timeout) {
    std::error_code error;
    state_->send(command, timeout, error);
    throw_if(error, "sending to a service");
}

void Client::send(Payload command, std::error_code& error) {
    state_->send(command, std::chrono::nanoseconds(0), error);
}

void Client::send(Payload command, std::chrono::nanoseconds timeout, std::error_code& error) {
    state_->send(command, timeout, error);
}

Message Client::read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options) {
    std::error_code error;
    Message reply = state_->read(query, timeout, options, error);
    if (error) throw_if(error, reply.text().empty() ? "reading" : std::string(reply.text()));
    return reply;
}

Message Client::read(Payload query, std::chrono::nanoseconds timeout, std::error_code& error, ReadOptions options) {
    return state_->read(query, timeout, options, error);
}

void Client::read(Payload query, std::chrono::nanoseconds timeout,
                  std::function<void(std::error_code, const Message&)> handler, ReadOptions options) {
    state_->read(query, timeout, options, std::move(handler));
}

std::optional<Message> Client::receive() {
    return state_->receive(std::chrono::nanoseconds::max());
}

std::optional<Message> Client::receive_for(std::chrono::nanoseconds duration) {
    return state_->receive(duration);
}

std::optional<Message> Client::try_receive() {
    return state_->try_receive();
}

Inbox Client::node_inbox() const {
    return Inbox(state_->node().inbox());
}

void Client::start_call(const State& state, std::span<const std::byte> command, std::chrono::nanoseconds timeout,
                        std::shared_ptr<detail::RequestOperation> operation) {
    Payload payload(command);
    state->call(payload, timeout, operation);
}

void Client::start_send(const State& state, std::span<const std::byte> command,
                        std::shared_ptr<detail::WaitOperation> operation) {
    Payload payload(command);
    state->send(payload, std::move(operation));
}

void Client::start_read(const State& state, std::span<const std::byte> query, std::chrono::nanoseconds timeout,
                        const ReadOptions& options, std::shared_ptr<detail::RequestOperation> operation) {
    Payload payload(query);
    state->read(payload, timeout, options, operation);
}

ClientStatus Client::status() const {
    return state_->status();
}

Subscription Client::on_status(std::function<void(const ClientStatus&)> callback) {
    return state_->on_status(std::move(callback));
}

bool Client::wait_until_open(std::chrono::nanoseconds timeout) const {
    return state_->wait_until_open(timeout);
}

void Client::set_secret(std::string secret) {
    state_->set_secret(std::move(secret));
}

void Client::close() {
    state_->close();
}

}  // namespace cluster
