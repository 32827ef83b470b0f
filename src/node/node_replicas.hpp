#pragma once

#include "node/node_hosts.hpp"

#include <span>
#include <string_view>

namespace cluster::detail {

/// A replica of one group on this node. All is called on the I/O thread, under no lock.
class ReplicaHost {
public:
    virtual ~ReplicaHost() = default;

    /// The name of its group. Of each there is at most one on a node, unless it is empty.
    virtual std::string_view group() const noexcept { return {}; }

    /// First of all, unless the node leaves before.
    virtual void begin() {}
    /// A peer is in view.
    virtual void came(const Peer& peer) = 0;
    /// It is not any more.
    virtual void went(const Peer& peer, RemovalReason reason) = 0;
    /// Whole messages of the replica channel that came together, in their order and not decoded. They may be for
    /// another group. Who keeps one of them keeps the block that all of them lie in. `from` is in view.
    virtual void received(const PeerId& from, std::span<const Bytes> messages) = 0;
    /// The node has left. Nothing is called after this.
    virtual void node_left() = 0;
};

/// The replicas of one node: who of them learns what happens on the replica channel. Each learns everything, because
/// only a replica can tell what is for its group.
class NodeReplicas final : public NodeHosts<ReplicaHost> {
public:
    using NodeHosts::NodeHosts;

    /// On the I/O thread.
    void deliver(const core::Batch& batch) {
        if (!has_in_view(batch.from)) return;
        tell_messages(batch,
                      [&](ReplicaHost& host, std::span<const Bytes> messages) { host.received(batch.from, messages); });
    }

private:
    bool excludes(const ReplicaHost& one, const ReplicaHost& another) const override {
        return !another.group().empty() && one.group() == another.group();
    }
};

}  // namespace cluster::detail
