#pragma once

#include <cluster/export.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace cluster {

/// What one node has done with one peer since that peer came into view. Counters only grow; gauges are as of now.
struct PeerStats {
    PeerId id;
    std::string name;
    /// Gauge: bytes accepted for this peer and not yet acknowledged, frame headers included.
    std::uint64_t outbox_bytes = 0;
    /// Gauge: bytes received from this peer that the application has not taken yet.
    std::uint64_t inbox_bytes = 0;
    /// Bytes of messages, frame headers included. What replicas say to each other is among them.
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    /// How often its session was attached to a link: 1 plus the number of resumptions.
    std::uint64_t attachments = 0;
    /// Gauge: the last measured round trip of a probe in seconds; 0 before the first.
    double round_trip_seconds = 0;
};

/// What one node has done since it started. Counters only grow; gauges are as of now. A value.
struct Stats {
    /// Gauges: peers in view, and of them those suspected.
    std::uint64_t peers = 0;
    std::uint64_t suspects = 0;
    /// Gauge: guests that have a session; see `Options::max_guests`. They are no peers.
    std::uint64_t guests = 0;
    /// Gauge: peers out of view from which others still hear.
    std::uint64_t unreachable = 0;
    /// Gauge: 0 to 8, how often this node itself has run late recently. It waits 1 + this times as long for everything.
    std::uint64_t slowness = 0;
    /// Gauge: open connections, attached or greeting.
    std::uint64_t links = 0;
    /// Messages accepted by `broadcast`, `send` and `request` for at least one peer, counted once however many
    /// receivers there are. Replies are not among them.
    std::uint64_t messages_sent = 0;
    /// Messages put into the inbox or handed to `on_message`.
    std::uint64_t messages_received = 0;
    /// Messages given up by this node as sender, once for each receiver.
    std::uint64_t messages_given_up = 0;
    /// Messages that this node saw as gaps: peers gave them up, or broadcast them while they had it out of view.
    std::uint64_t messages_lost = 0;
    std::uint64_t dials = 0;
    std::uint64_t dials_failed = 0;
    std::uint64_t links_accepted = 0;
    std::uint64_t links_lost = 0;
    /// Attachments after the first, over all sessions.
    std::uint64_t sessions_resumed = 0;
    /// Peer lists sent and received: the frames of discovery.
    std::uint64_t lists_sent = 0;
    std::uint64_t lists_received = 0;
    /// Links closed because the other side broke a rule of the protocol.
    std::uint64_t protocol_errors = 0;
    /// Probes sent; peers that became suspect, and peers that this node concluded had failed.
    std::uint64_t probes_sent = 0;
    std::uint64_t suspicions = 0;
    std::uint64_t failures = 0;
    /// Links refused with a reason, by this node and by others.
    std::uint64_t refusals_sent = 0;
    std::uint64_t refusals_received = 0;
    /// Handlers of the application that threw.
    std::uint64_t handler_exceptions = 0;
    /// Gauges: memory held by messages not yet acknowledged, and by messages not yet taken. The first includes what
    /// replicas say to each other and what goes to clients, though no number of messages does.
    std::uint64_t outbox_bytes = 0;
    std::uint64_t inbox_bytes = 0;
    /// By peer in view, sorted by id.
    std::vector<PeerStats> by_peer;
};

/// The stats in the text format that Prometheus reads (version 0.0.4). Samples of a peer have its id (`peer`) and its
/// name (`name`) as labels. Characters of a name that cannot be printed are shown as `\xNN`.
CLUSTER_EXPORT std::string to_prometheus(const Stats& stats);

}  // namespace cluster
