#include <cluster/node.hpp>

#include "base/origin.hpp"
#include "node/node_state.hpp"

#include <optional>
#include <string>
#include <utility>

namespace cluster {

detail::Operation::~Operation() = default;

namespace {

void throw_if(const std::error_code& error, std::string_view doing) {
    if (error) throw std::system_error(error, std::string(doing));
}

/// What was tried, and which peers had no room, if that is known.
std::string describe(std::string doing, const std::string& full) {
    return full.empty() ? doing : std::move(doing) + ": " + full;
}

Options listening_on(std::string_view listen) {
    Options options;
    options.listen = listen;
    return options;
}

}  // namespace

Node::Node(std::string_view listen) : Node(listening_on(listen)) {}

Node::Node(Options options) : state_(detail::NodeState::start(std::move(options))) {}

Node::~Node() {
    if (!state_->is_here()) {
        detail::keep_for_ever(std::move(state_));
        return;
    }
    const std::shared_ptr<net::Context> context = state_->shut_down();
    state_.reset();
}

const PeerId& Node::id() const noexcept {
    return state_->id();
}

const std::string& Node::name() const noexcept {
    return state_->name();
}

Address Node::address() const {
    return state_->addresses().front();
}

std::vector<Address> Node::addresses() const {
    return state_->addresses();
}

Peer Node::add(const Address& address) {
    std::error_code error;
    Peer peer = add(address, error);
    if (error) throw_if(error, "adding " + address.to_string());
    return peer;
}

Peer Node::add(std::string_view address) {
    return add(Address::parse(address));
}

Peer Node::add(const Address& address, std::error_code& error) {
    return state_->add(address, error);
}

Peer Node::add(std::string_view address, std::error_code& error) {
    const Address parsed = Address::parse(address, error);
    return error ? Peer() : add(parsed, error);
}

bool Node::wait_for_peers(std::size_t count, std::chrono::nanoseconds timeout) {
    return state_->wait_for_peers(count, timeout);
}

bool Node::wait_until_settled(std::chrono::nanoseconds timeout) {
    return state_->wait_until_settled(timeout);
}

std::vector<Peer> Node::peers() const {
    return state_->peers();
}

std::vector<Peer> Node::peers(Everybody) const {
    return state_->everybody();
}

std::optional<Peer> Node::peer(const PeerId& id) const {
    return state_->peer(id);
}

std::size_t Node::broadcast(Payload payload) {
    std::error_code error;
    std::string full;
    const std::size_t count = state_->queue(std::nullopt, payload, error, &full);
    if (error) throw_if(error, describe("broadcasting", full));
    return count;
}

std::size_t Node::broadcast(Payload payload, std::error_code& error) {
    return state_->queue(std::nullopt, payload, error);
}

void Node::send(const PeerId& to, Payload payload) {
    std::error_code error;
    std::string full;
    state_->queue(std::span(&to, 1), payload, error, &full);
    if (error) throw_if(error, describe("sending to " + to.to_string(), full));
}

void Node::send(const PeerId& to, Payload payload, std::error_code& error) {
    state_->queue(std::span(&to, 1), payload, error);
}

void Node::send_to_all_of(std::span<const PeerId> to, Payload& payload) {
    std::error_code error;
    std::string full;
    state_->queue(to, payload, error, &full);
    if (error) throw_if(error, describe("sending to " + std::to_string(to.size()) + " peers", full));
}

void Node::send(std::span<const PeerId> to, Payload payload) {
    send_to_all_of(to, payload);
}

void Node::send(std::span<const PeerId> to, Payload payload, std::error_code& error) {
    state_->queue(to, payload, error);
}

void Node::send(std::initializer_list<PeerId> to, Payload payload) {
    send_to_all_of({to.begin(), to.size()}, payload);
}

void Node::send(std::initializer_list<PeerId> to, Payload payload, std::error_code& error) {
    state_->queue(std::span(to.begin(), to.size()), payload, error);
}

TryResult Node::try_broadcast(Payload payload) {
    return state_->try_queue(std::nullopt, payload);
}

TryResult Node::try_send(const PeerId& to, Payload payload) {
    return state_->try_queue(std::span(&to, 1), payload);
}

TryResult Node::try_send(std::span<const PeerId> to, Payload payload) {
    return state_->try_queue(to, payload);
}

Message Node::request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout) {
    std::error_code error;
    Message reply = state_->request(to, payload, timeout, error);
    if (reply.size() != 0 && error) throw_if(error, reply.text());
    if (error) throw_if(error, "asking " + to.to_string());
    return reply;
}

Message Node::request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout, std::error_code& error) {
    return state_->request(to, payload, timeout, error);
}

void Node::request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout,
                   std::function<void(std::error_code, const Message&)> handler) {
    state_->request(to, payload, timeout, std::move(handler));
}

std::vector<Answer> Node::request_all(Payload payload, std::chrono::nanoseconds timeout) {
    std::error_code error;
    std::vector<Answer> answers = state_->request_all(payload, timeout, error);
    throw_if(error, "asking all peers");
    return answers;
}

std::vector<Answer> Node::request_all(Payload payload, std::chrono::nanoseconds timeout, std::error_code& error) {
    return state_->request_all(payload, timeout, error);
}

Inbox Node::inbox() const {
    return Inbox(state_->inbox());
}

void Node::on_message(std::function<void(const Message&)> handler) {
    state_->on_message(std::move(handler));
}

Subscription Node::on_peer_added(std::function<void(const Peer&)> callback) {
    return state_->callbacks().on_peer_added(std::move(callback));
}

Subscription Node::on_peer_removed(std::function<void(const Peer&, RemovalReason)> callback) {
    return state_->callbacks().on_peer_removed(std::move(callback));
}

Subscription Node::on_peers_changed(std::function<void(const std::vector<Peer>&)> callback) {
    return state_->callbacks().on_peers_changed(std::move(callback));
}

Subscription Node::on_given_up(std::function<void(const GivenUp&)> callback) {
    return state_->callbacks().on_given_up(std::move(callback));
}

bool Node::remove(const PeerId& id) {
    return state_->remove(id);
}

void Node::set_tags(Tags tags) {
    state_->set_tags(std::move(tags));
}

void Node::set_secrets(std::vector<std::string> secrets, WithdrawnLinks withdrawn) {
    state_->set_secrets(std::move(secrets), std::nullopt, withdrawn);
}

void Node::set_guest_secrets(std::vector<std::string> secrets, WithdrawnLinks withdrawn) {
    state_->set_secrets(std::nullopt, std::move(secrets), withdrawn);
}

Membership Node::create_membership() {
    return Membership(state_->members());
}

Members Node::members() const {
    return Members(state_->members()->state());
}

Unacknowledged Node::close() {
    return state_->close();
}

Node::Outgoing Node::hand_over(Payload& payload) const {
    return state_->hand_over(payload);
}

void Node::start_add(const State& state, const Address& address, std::shared_ptr<detail::AddOperation> operation) {
    state->start_add(address, std::move(operation));
}

void Node::start_wait(const State& state, std::optional<std::size_t> count,
                      std::shared_ptr<detail::WaitOperation> operation) {
    state->start_wait(count, std::move(operation));
}

void Node::start_send(const State& state, std::optional<std::vector<PeerId>> to, const Outgoing& payload,
                      std::shared_ptr<detail::SendOperation> operation) {
    state->start_send(std::move(to), payload, std::move(operation));
}

void Node::start_request_all(const State& state, const Outgoing& payload, std::chrono::nanoseconds timeout,
                             std::shared_ptr<detail::RequestAllOperation> operation) {
    state->start_request_all(*payload, timeout, std::move(operation));
}

void Node::start_request(const State& state, const PeerId& to, const Outgoing& payload,
                         std::chrono::nanoseconds timeout, std::shared_ptr<detail::RequestOperation> operation) {
    state->start_request(to, *payload, timeout, std::move(operation));
}

void Node::start_close(const State& state, std::shared_ptr<detail::CloseOperation> operation) {
    state->start_close(std::move(operation));
}

Stats Node::stats() const {
    return state_->stats();
}

}  // namespace cluster
