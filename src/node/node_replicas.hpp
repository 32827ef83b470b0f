#pragma once

#include "base/bytes.hpp"
#include "base/mutex.hpp"
#include "core/batch.hpp"
#include "net/context.hpp"

#include <cluster/peer.hpp>

#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

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

/// The replicas of one node: who of them learns what happens on the replica channel, and who is in view. Each learns
/// everything, because only a replica can tell what is for its group. Thread-safe. Keeps a replica alive until it is
/// removed, or the node has left.
///
/// 1. For each replica, `came` and `went` of one peer alternate, and `received` stands between them. This holds however
///    late the replica was added.
/// 2. While this node leaves, nobody comes or goes any more. So nothing is handed on of who attaches then.
class NodeReplicas : public std::enable_shared_from_this<NodeReplicas> {
public:
    explicit NodeReplicas(std::shared_ptr<net::Loop> loop) : loop_(std::move(loop)) {}

    /// `came` will be called for all that are in view, and then what happens from then on. False if the node has left,
    /// or has a replica of that group. A replica is added once.
    bool add(std::shared_ptr<ReplicaHost> host);
    /// Whether the node has left.
    bool ended();
    /// Nothing is called any more, after a call that is under way on the I/O thread. That call is not waited for.
    void remove(const ReplicaHost& host);

    // On the I/O thread, as the engine wants it.
    void peer_added(const Peer& peer);
    void peer_removed(const Peer& peer, RemovalReason reason);
    void deliver(const core::Batch& batch);
    /// The node has left.
    void end();

private:
    using Host = std::shared_ptr<ReplicaHost>;

    void introduce(const Host& host);
    bool is_registered(const ReplicaHost& host);
    template <class Call>
    void tell(const Call& call);
    Host take_one();

    const std::shared_ptr<net::Loop> loop_;

    Mutex mutex_;
    std::vector<Host> hosts_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;

    // Of the I/O thread.
    std::vector<Host> introduced_;  ///< they know who is in view. Some may have been removed
    std::map<PeerId, Peer> view_;   ///< as `introduced_` know it
};

}  // namespace cluster::detail
