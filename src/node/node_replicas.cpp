#include "node/node_replicas.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <cstddef>

namespace cluster::detail {

bool NodeReplicas::add(Host host) {
    {
        const Lock lock(mutex_);
        const bool there = !host->group().empty() && std::any_of(hosts_.begin(), hosts_.end(), [&](const Host& each) {
            return each->group() == host->group();
        });
        if (ended_ || there) return false;
        hosts_.push_back(host);
    }
    loop_->post([weak = weak_from_this(), host = std::move(host)] {
        if (const auto self = weak.lock()) self->introduce(host);
    });
    return true;
}

bool NodeReplicas::ended() {
    const Lock lock(mutex_);
    return ended_;
}

void NodeReplicas::remove(const ReplicaHost& host) {
    Host removed;  // its last reference may be the one that is given up here, which needs no lock
    const Lock lock(mutex_);
    const auto found =
        std::find_if(hosts_.begin(), hosts_.end(), [&](const Host& each) { return each.get() == &host; });
    if (found == hosts_.end()) return;
    removed = std::move(*found);
    hosts_.erase(found);
}

bool NodeReplicas::is_registered(const ReplicaHost& host) {
    const Lock lock(mutex_);
    return std::any_of(hosts_.begin(), hosts_.end(), [&](const Host& each) { return each.get() == &host; });
}

/// From here on the replica learns what happens, so it is told what has happened before.
void NodeReplicas::introduce(const Host& host) {
    if (is_registered(*host)) host->begin();
    for (const auto& [id, peer] : view_) {
        if (!is_registered(*host)) return;
        host->came(peer);
    }
    if (is_registered(*host)) introduced_.push_back(host);
}

template <class Call>
void NodeReplicas::tell(const Call& call) {
    std::erase_if(introduced_, [this](const Host& host) { return !is_registered(*host); });
    for (const Host& host : introduced_) {
        if (is_registered(*host)) call(*host);  // one that was called before may have removed it
    }
}

void NodeReplicas::peer_added(const Peer& peer) {
    view_.insert_or_assign(peer.id, peer);
    tell([&](ReplicaHost& host) { host.came(peer); });
}

void NodeReplicas::peer_removed(const Peer& peer, RemovalReason reason) {
    view_.erase(peer.id);
    tell([&](ReplicaHost& host) { host.went(peer, reason); });
}

void NodeReplicas::deliver(const core::Batch& batch) {
    if (introduced_.empty() || !view_.contains(batch.from)) return;
    std::vector<Bytes> messages;
    messages.reserve(static_cast<std::size_t>(batch.messages));
    for (auto frames = batch.frames; !frames.empty();) {
        const core::FrameHeader header = core::FrameHeader::read(frames.data());
        messages.emplace_back(batch.block, frames.subspan(core::FrameHeader::size, header.length));
        frames = frames.subspan(core::FrameHeader::size + header.length);
    }
    tell([&](ReplicaHost& host) { host.received(batch.from, messages); });
}

/// One that is about to be told that the node has left. Null if all have been.
NodeReplicas::Host NodeReplicas::take_one() {
    const Lock lock(mutex_);
    ended_ = true;
    if (hosts_.empty()) return nullptr;
    Host host = std::move(hosts_.back());
    hosts_.pop_back();
    return host;
}

void NodeReplicas::end() {
    while (const Host host = take_one()) host->node_left();
    introduced_.clear();
    view_.clear();
}

}  // namespace cluster::detail
