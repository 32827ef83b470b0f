#pragma once

#include "base/time.hpp"
#include "core/outbox.hpp"
#include "core/part.hpp"

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <span>
#include <string>
#include <vector>

namespace cluster::core {

/// Decides what others learn about whom: lists of all in view, news of peers met first-hand, and where this node can be
/// dialled. Not thread-safe; lives in its engine.
class Gossip : private Part {
public:
    explicit Gossip(Shared& shared) noexcept : Part(shared) {}

    /// Tells all others of `id`: this node itself, or a peer it met before they could tell.
    void announce(const PeerId& id, Time now);
    void tell_news();
    /// The interfaces of this machine have changed.
    void listening(std::vector<Address> addresses, std::vector<std::string> zones, Time now);
    /// Tells the others, if this node can be dialled elsewhere than before.
    void publish_own(Time now);
    /// If the digests differ, a list is due, but at most once in a heartbeat.
    void on(Link& link, const Ping& ping, Time now);
    /// If the first list is still due, it leaves out what `list` has told.
    static void on(Link& link, const PeerList& list);

    /// What the other end of `link` may learn of `facts`: only addresses of a scope that it shares, without zones.
    static Facts visible(const Facts& facts, const Link& link);
    void write_list(Link& link, OutputSink& sink, Time now);
    void write_news(const Link& link, const std::vector<PeerId>& ids, OutputSink& sink);

private:
    void write(std::span<const Facts* const> facts, const Link& link, OutputSink& sink);

    std::vector<PeerId> news_;
};

}  // namespace cluster::core
