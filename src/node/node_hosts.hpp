#pragma once

#include "base/bytes.hpp"
#include "base/mutex.hpp"
#include "core/batch.hpp"
#include "core/frame.hpp"
#include "net/context.hpp"

#include <cluster/peer.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace cluster::detail {

/// What on this node learns what happens on one channel, and who is in view. Thread-safe. Keeps a host alive until it
/// is removed, or the node has left.
///
/// 1. For each host, `came` and `went` of one peer alternate, and what is received stands between them. This holds
///    however late the host was added.
/// 2. While this node leaves, nobody comes or goes any more. So nothing is handed on of who attaches then.
template <class Host>
class NodeHosts : public std::enable_shared_from_this<NodeHosts<Host>> {
public:
    explicit NodeHosts(std::shared_ptr<net::Loop> loop) : loop_(std::move(loop)) {}
    virtual ~NodeHosts() = default;

    /// `came` will be called for all that are in view, and then what happens from then on. False if the node has left,
    /// or has a host that excludes this one. A host is added once.
    bool add(std::shared_ptr<Host> host) {
        {
            const Lock lock(mutex_);
            const bool excluded =
                std::any_of(hosts_.begin(), hosts_.end(), [&](const Ref& each) { return excludes(*each, *host); });
            if (ended_ || excluded) return false;
            hosts_.push_back(host);
        }
        loop_->post([weak = this->weak_from_this(), host = std::move(host)] {
            if (const auto self = weak.lock()) self->introduce(host);
        });
        return true;
    }
    /// Whether the node has left.
    bool ended() {
        const Lock lock(mutex_);
        return ended_;
    }
    /// Nothing is called any more, after a call that is under way on the I/O thread. That call is not waited for.
    void remove(const Host& host) {
        Ref removed;  // its last reference may be the one that is given up here, which needs no lock
        const Lock lock(mutex_);
        const auto found =
            std::find_if(hosts_.begin(), hosts_.end(), [&](const Ref& each) { return each.get() == &host; });
        if (found == hosts_.end()) return;
        removed = std::move(*found);
        hosts_.erase(found);
    }

    // On the I/O thread, as the engine wants it.
    void peer_added(const Peer& peer) {
        view_.insert_or_assign(peer.id, peer);
        tell([&](Host& host) { host.came(peer); });
    }
    void peer_removed(const Peer& peer, RemovalReason reason) {
        view_.erase(peer.id);
        tell([&](Host& host) { host.went(peer, reason); });
    }
    /// The node has left.
    void end() {
        while (const Ref host = take_one()) host->node_left();
        introduced_.clear();
        view_.clear();
    }

protected:
    using Ref = std::shared_ptr<Host>;

    const std::shared_ptr<net::Loop>& loop() const noexcept { return loop_; }
    bool has_in_view(const PeerId& id) const { return view_.contains(id); }
    bool is_registered(const Host& host) {
        const Lock lock(mutex_);
        return std::any_of(hosts_.begin(), hosts_.end(), [&](const Ref& each) { return each.get() == &host; });
    }
    /// Calls `call` for each host that is introduced.
    template <class Call>
    void tell(const Call& call) {
        std::erase_if(introduced_, [this](const Ref& host) { return !is_registered(*host); });
        for (const Ref& host : introduced_) {
            if (is_registered(*host)) call(*host);  // one that was called before may have removed it
        }
    }
    /// Whoever keeps one of these keeps the block that all of them lie in.
    static std::vector<Bytes> messages_of(const core::Batch& batch) {
        std::vector<Bytes> messages;
        messages.reserve(static_cast<std::size_t>(batch.messages));
        for (auto frames = batch.frames; !frames.empty();) {
            const core::FrameHeader header = core::FrameHeader::read(frames.data());
            messages.emplace_back(batch.block, frames.subspan(core::FrameHeader::size, header.length));
            frames = frames.subspan(core::FrameHeader::size + header.length);
        }
        return messages;
    }
    /// Calls `call(host, messages)` for each host.
    template <class Call>
    void tell_messages(const core::Batch& batch, const Call& call) {
        if (introduced_.empty()) return;
        const std::vector<Bytes> messages = messages_of(batch);
        tell([&](Host& host) { call(host, std::span<const Bytes>(messages)); });
    }

private:
    /// Whether `another` cannot be here beside `one`.
    virtual bool excludes(const Host& /*one*/, const Host& /*another*/) const { return false; }
    /// Tells the host what else has happened before it came; those in view it knows. It may be removed meanwhile.
    virtual void tell_more(Host& /*host*/) {}

    /// From here on the host learns what happens, so it is told what has happened before.
    void introduce(const Ref& host) {
        if (is_registered(*host)) host->begin();
        for (const auto& [id, peer] : view_) {
            if (!is_registered(*host)) return;
            host->came(peer);
        }
        tell_more(*host);
        if (is_registered(*host)) introduced_.push_back(host);
    }
    /// One that is about to be told that the node has left. Null if all have been.
    Ref take_one() {
        const Lock lock(mutex_);
        ended_ = true;
        if (hosts_.empty()) return nullptr;
        Ref host = std::move(hosts_.back());
        hosts_.pop_back();
        return host;
    }

    const std::shared_ptr<net::Loop> loop_;

    Mutex mutex_;
    std::vector<Ref> hosts_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;

    // Of the I/O thread.
    std::vector<Ref> introduced_;  ///< they know who is in view. Some may have been removed
    std::map<PeerId, Peer> view_;  ///< as `introduced_` know it
};

}  // namespace cluster::detail
