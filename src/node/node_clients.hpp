#pragma once

#include "node/node_hosts.hpp"
#include "wire/client_codec.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace cluster::detail {

/// What serves clients on this node, or a client that is here. All is called on the I/O thread, under no lock.
class ClientHost {
public:
    virtual ~ClientHost() = default;

    /// First of all, unless the node leaves before.
    virtual void begin() {}
    /// A peer is in view. On the node of a guest: its session with this host has begun.
    virtual void came(const Peer& peer) = 0;
    /// It is not any more.
    virtual void went(const Peer& peer, RemovalReason reason) = 0;
    /// A guest of this node has a session. Its address is the one from which it dials.
    virtual void guest_came(const Peer& guest) = 0;
    /// Its session has ended. What was sent to it since it came, and what it has sent, may not have arrived.
    virtual void guest_went(const PeerId& guest) = 0;
    /// Whole messages of the client channel that came together, in their order and not decoded. Who keeps one of them
    /// keeps the block that all of them lie in. `from` is a peer in view, or a guest that is here.
    virtual void client_received(const PeerId& from, std::span<const Bytes> messages) = 0;
    /// The node has left. Nothing is called after this.
    virtual void node_left() = 0;
    /// Whether it answers clients of the group with that tag.
    virtual bool serves(std::uint64_t /*tag*/) const { return false; }
};

/// Who learns what happens on the client channel of one node. For each host `guest_came` and `guest_went` of one guest
/// alternate, as `came` and `went` do.
class NodeClients final : public NodeHosts<ClientHost> {
public:
    /// Tells a client of that node that no replica of its group is here.
    using Refuse = std::function<void(const PeerId& to, std::uint64_t client)>;

    NodeClients(std::shared_ptr<net::Loop> loop, Refuse refuse)
        : NodeHosts(std::move(loop)), refuse_(std::move(refuse)) {}

    /// A message of this node to itself: a client is here, and so is who serves it. False if the node has left.
    bool loop_back(const PeerId& self, Bytes message) {
        if (ended()) return false;
        loop()->post([weak = weak_from_this(), self, message = std::move(message)] {
            const auto hosts = std::static_pointer_cast<NodeClients>(weak.lock());
            if (hosts) hosts->received(self, std::span(&message, 1));
        });
        return true;
    }

    // On the I/O thread, as the engine wants it.
    void guest_came(const Peer& guest) {
        guests_.insert_or_assign(guest.id, guest);
        tell([&](ClientHost& host) { host.guest_came(guest); });
    }
    void guest_went(const PeerId& guest) {
        guests_.erase(guest);
        tell([&](ClientHost& host) { host.guest_went(guest); });
    }
    void deliver(const core::Batch& batch) {
        if (!has_in_view(batch.from) && !guests_.contains(batch.from)) return;
        received(batch.from, messages_of(batch));
    }

private:
    void received(const PeerId& from, std::span<const Bytes> messages) {
        tell([&](ClientHost& host) { host.client_received(from, messages); });
        // Who gets no answer waits for one: a replica that is about to start, or has ended, costs its clients no time.
        for (const Bytes& each : messages) {
            const auto asked = wire::asks_to_be_served(each);
            if (!asked) continue;
            bool served = false;
            tell([&](const ClientHost& host) { served = served || host.serves(asked->group); });
            if (!served) refuse_(from, asked->client);
        }
    }
    void tell_more(ClientHost& host) override {
        for (const auto& [id, guest] : guests_) {
            if (!is_registered(host)) return;
            host.guest_came(guest);
        }
    }

    const Refuse refuse_;
    std::map<PeerId, Peer> guests_;  ///< of the I/O thread
};

}  // namespace cluster::detail
