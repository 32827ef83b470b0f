#include "replica/replica_state.hpp"

#include "support/callbacks.hpp"
#include "value/log_line.hpp"
#include "wire/client_codec.hpp"

#include <exception>
#include <utility>
#include <vector>

// What a replica does for clients: what they say goes to the machine, what has become of it goes back from the service
// thread.

namespace cluster::detail {

/// Hands on what comes on the client channel.
class ReplicaState::Door final : public ClientHost {
public:
    Door(std::weak_ptr<ReplicaState> replica, std::uint64_t tag) : replica_(std::move(replica)), tag_(tag) {}

    void came(const Peer&) override {}
    void went(const Peer& peer, RemovalReason) override { guest_went(peer.id); }
    void guest_came(const Peer&) override {}
    void guest_went(const PeerId& guest) override {
        if (const auto replica = replica_.lock()) replica->client_went(guest);
    }
    void client_received(const PeerId& from, std::span<const Bytes> messages) override {
        if (const auto replica = replica_.lock()) replica->client_received(from, messages);
    }
    void node_left() override {}
    bool serves(std::uint64_t tag) const override { return tag == tag_ && !replica_.expired(); }

private:
    const std::weak_ptr<ReplicaState> replica_;
    const std::uint64_t tag_;
};

void ReplicaState::open_door() {
    door_ = std::make_shared<Door>(weak_from_this(), tag_);
    node_->clients()->add(door_);
}

// On the I/O thread.

void ReplicaState::client_received(const PeerId& from, std::span<const Bytes> messages) {
    std::vector<wire::ClientToNode> decoded;
    for (const Bytes& each : messages) {
        auto message = wire::decode_to_node(each);
        if (message && message->group == tag_) decoded.push_back(std::move(*message));
    }
    if (decoded.empty()) return;
    // Not carried out at once: what other clients have sent meanwhile becomes part of the same write.
    runner_->with([&](replica::Machine& machine, Time now) {
        for (wire::ClientToNode& each : decoded) machine.client_said({from, each.client}, std::move(each.body), now);
    });
}

void ReplicaState::client_went(const PeerId& peer) {
    runner_->serve([&](replica::Machine& machine, Time now) { machine.client_gone(peer, now); });
}

void ReplicaState::tell(replica::TellClient& tell) {
    if (auto* elsewhere = std::get_if<client::NotLeader>(&tell.message)) {
        const auto found = addresses_.find(elsewhere->leader);
        if (found != addresses_.end() && found->second.port != 0) elsewhere->addresses = {found->second};
    }
    if (this->tell(tell.to, std::move(tell.message)) != errc{}) not_told(tell.to);
}

void ReplicaState::not_told(const client::Seat& seat) {
    runner_->with([&](replica::Machine& machine, Time now) { machine.client_not_told(seat, now); });
}

void ReplicaState::authenticate(const replica::Authenticate& asked) {
    const auto ask = [self = shared_from_this(), asked] {
        Authentication said = Authentication::reject("it could not be found out who that is");
        const auto failed = [&](std::string_view what) { self->handler_threw(what); };
        call_guarded(failed, [&] {
            said = self->options_.authenticate({asked.credentials, asked.challenge, asked.response});
        });
        const replica::Verdict verdict{static_cast<replica::Verdict::Kind>(said.kind), std::move(said.text)};
        self->runner_->with(
            [&](replica::Machine& machine, Time now) { machine.authenticated(asked.ticket, verdict, now); });
    };
    loop_->call(ask);
}

/// As if it were read here. The client has a deadline of its own.
void ReplicaState::ask_service(const replica::AskService& asked) {
    constexpr auto longest = std::chrono::seconds(30);
    ReadOptions options;
    options.consistency = asked.query.linearizable ? Consistency::linearizable : Consistency::stale;
    options.at_least = asked.query.at_least;
    Payload query(asked.query.query.view());
    read(query, longest, options,
         [self = shared_from_this(), seat = asked.seat, number = asked.query.number](std::error_code error,
                                                                                     const Message& reply) {
             const auto says = [&](std::error_code code, Bytes bytes) {
                 return self->tell(seat, client::Answer{number, static_cast<std::uint32_t>(code.value()),
                                                        reply.position(), std::move(bytes)});
             };
             errc told = says(error, Bytes(reply.bytes()));
             if (told == errc::message_too_large) told = says(told, {});
             if (told != errc{}) self->not_told(seat);
         });
}

// On any thread.

errc ReplicaState::tell(const client::Seat& seat, client::ToClient message) {
    return node_->send_on_client_channel(
        seat.peer, Block::adopt(wire::encode(wire::NodeToClient{seat.client, std::move(message)})));
}

// On the service thread.

/// Whether that client is still told what becomes of its session.
bool ReplicaState::tell_session(std::uint64_t session, client::ToClient message) {
    const auto found = served_.find(session);
    if (found == served_.end()) return false;
    const errc error = tell(found->second, std::move(message));
    if (error == errc{}) return true;
    // The client attaches again, and is told all that it has not received.
    applier_->detach(session);
    served_.erase(found);
    const bool hopeless = error == errc::message_too_large;
    if (hopeless) log(LogLevel::error, "replica_message_too_large session=" + std::to_string(session));
    runner_->with([&](replica::Machine& machine, Time now) { machine.session_lost(session, hopeless, now); });
    return false;
}

void ReplicaState::attach(const replica::AttachSession& wanted) {
    const auto attached = applier_->attach(wanted.session, wanted.key, wanted.received);
    const auto applied = attached ? std::optional(attached->applied) : std::nullopt;
    const bool accepted = runner_->with([&](replica::Machine& machine, Time now) {
        return machine.session_attached(wanted.seat, wanted.session, applied, now);
    });
    if (!accepted) {
        if (!served_.contains(wanted.session)) applier_->detach(wanted.session);
        return;
    }
    served_[wanted.session] = wanted.seat;
    if (!tell_session(wanted.session, client::Attached{*applied, options_.max_message})) return;
    for (const group::Kept& each : attached->replies) {
        if (!tell_session(wanted.session, client::Reply{each.number, each.position, each.bytes})) return;
    }
    for (const group::Kept& each : attached->pushes) {
        if (!tell_session(wanted.session, client::Push{each.number, each.position, each.bytes})) return;
    }
}

void ReplicaState::detach(const replica::DetachSession& over) {
    if (over.session == 0) {
        served_.clear();
        return applier_->detach_all();
    }
    const auto found = served_.find(over.session);
    if (found == served_.end() || found->second != over.seat) return;
    served_.erase(found);
    applier_->detach(over.session);
}

/// What has become of clients' wishes.
void ReplicaState::pass_outcomes() {
    for (group::Outcome& outcome : applier_->take_outcomes()) {
        if (auto* change = std::get_if<group::SessionChange>(&outcome)) {
            if (const auto* closed = std::get_if<group::SessionClosed>(change)) {
                if (served_.erase(closed->session) == 0) {
                    changes_.push_back(*change);
                    continue;
                }
                log(LogLevel::info, "replica_session_closed session=" + std::to_string(closed->session) +
                                        " why=" + quoted(to_string(closed->reason)));
            }
            changes_.push_back(*change);
        } else if (auto* replied = std::get_if<group::SessionReplied>(&outcome)) {
            group::Kept& reply = replied->reply;
            tell_session(replied->session, client::Reply{reply.number, reply.position, std::move(reply.bytes)});
        } else if (auto* pushed = std::get_if<group::SessionPushed>(&outcome)) {
            group::Kept& push = pushed->push;
            tell_session(pushed->session, client::Push{push.number, push.position, std::move(push.bytes)});
        }
    }
}

}  // namespace cluster::detail
