#pragma once

#include <cluster/export.hpp>
#include <cluster/peer.hpp>
#include <cluster/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cluster {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// What `broadcast` and `send` do when an outbox stays full for `send_timeout`.
enum class WhenFull : std::uint8_t {
    /// The call fails with `errc::timed_out`; nothing was queued for anyone.
    fail,
    /// The message goes to those with room. The full ones see a gap in its place, and the sender a `GivenUp`. An outbox
    /// that has filled up is waited for until it has drained by half. Its peer is slow if that takes `send_timeout`,
    /// and is then passed over at once until it has. A peer that was slow is not waited for again before its outbox
    /// has drained by half in that time, or altogether.
    give_up,
};

/// How a node behaves. A plain value: fill in what matters, leave the rest.
///
///     cluster::Node node({.listen = "0.0.0.0:7000", .seeds = {"ann:7000", "bob:7000"}});
///
/// `Node` checks the whole and throws `errc::invalid_options` with a text that names what contradicts what.
struct CLUSTER_EXPORT Options {
    // Who and where.

    /// `host:port` to listen on; port 0 lets the system pick. `0.0.0.0` and `[::]` listen on all interfaces. A node on
    /// a loopback address is reached from its own machine only; it warns when it dials another. A name is looked up
    /// before the constructor returns, which may take some ten seconds if name servers are silent.
    std::string listen = "127.0.0.1:0";
    /// The addresses others are told to dial, at most 8. Empty: the listening address, or for a wildcard the addresses
    /// of this machine's interfaces: first those at which peers see this node, bridges and loopback last. Interfaces
    /// are looked at every 5 s, so that an address that goes is withdrawn. What two peers on different hosts see in
    /// place of them is published, too, with the listening port. Set it behind address translation with other ports. A
    /// name is looked up by whoever dials.
    std::vector<std::string> advertise = {};
    /// Nodes of different clusters never link. At most 64 bytes.
    std::string cluster = "cluster";
    /// What people call this node, at most 64 bytes. Give each node another one, and the same after a restart. Empty:
    /// the process id and the first four bytes of the id.
    std::string name = {};
    /// Published to all peers; `Node::set_tags` changes them.
    Tags tags = {};
    /// Addresses dialled from the start and for ever, at most 64. None of them has to answer. Each is a way to many: a
    /// name that stands for all nodes, or the address of a load balancer, will do. All addresses behind it are dialled
    /// (1024 of a name at most), and it is looked up and dialled anew: while one is silent, at least once in
    /// `reconnect_max`; when each leads to a peer, refuses, or is this node itself, at least once in ten times that. An
    /// address that leads to one peer alone, which publishes it, is not dialled while that peer is linked.
    std::vector<std::string> seeds = {};
    /// A file in which the node remembers where its peers are, so that it finds them again after a restart, although no
    /// seed lives. Empty: none. It is read at the start; who was in view within `forget_after` is dialled like a seed,
    /// behind all others, until it is found or `forget_after` is over. Who left or was removed is not in it.
    ///
    /// It is written by the callback thread, at most once a second, and by `close`: later where a callback takes long.
    /// The old file is replaced as a whole by a new one of mode 0600, so the folder must exist and be writable, else
    /// `Node` throws. A missing or damaged file is not an error, nor is one that cannot be written later: the log says
    /// so. At most 1024 peers, the newest, and 256 KiB. The format is text; lines may be deleted, not changed. Of
    /// several nodes with the same file the last one to write wins, so give each its own.
    std::string peers_file = {};
    /// For a program that only asks and looks on, and need not read its inbox: the node is in view, broadcasts, asks,
    /// is asked and sent to as any other, but no broadcast comes to it, nor counts it. A peer of an older version does
    /// not know that and sends it broadcasts, too.
    bool observer = false;
    /// The threads to run on; without it the node has its own.
    std::optional<Runtime> runtime = {};

    // When things happen. All are at least a millisecond unless said otherwise.

    /// In each heartbeat a node probes one peer, and each peer is probed by one node; half a heartbeat without an
    /// answer is a suspicion, which all others hear of and see to for themselves. A link that stays silent for a
    /// whole one is replaced. Longer: less idle traffic, later detection.
    std::chrono::nanoseconds heartbeat = std::chrono::seconds(1);
    /// A peer that does not answer for so long is failed, or unreachable where others hear from it; at least two
    /// heartbeats. A silent host is thus known to all after at most 1.5 x `heartbeat` + `suspicion`, or 2 x where
    /// several fall silent together; a process that ends at once. Up to nine times as long for a node that is slow
    /// itself. Longer: the slow are not taken for dead.
    std::chrono::nanoseconds suspicion = std::chrono::seconds(2);
    /// A link on which nothing comes for so long is asked by the system for a sign (TCP keep-alive, by the node that
    /// dialled), so that no firewall in between forgets it: two packets without content. In whole seconds, rounded
    /// down; 1 s to 9 hours, or 0: never. Links within one machine are not asked. Longer: less idle traffic.
    std::chrono::nanoseconds keep_warm = std::chrono::seconds(5);
    /// The first and the longest pause between two rounds of dialling; it doubles in between, with jitter. Raise the
    /// longest for large clusters, lower it to find returning peers sooner.
    std::chrono::nanoseconds reconnect_min = std::chrono::milliseconds(100);
    std::chrono::nanoseconds reconnect_max = std::chrono::seconds(30);
    /// So long a peer without a link keeps its outbox; then its messages are given up. The smaller value of both sides
    /// counts. More than `handshake_timeout`.
    std::chrono::nanoseconds resume_for = std::chrono::minutes(5);
    /// So long a failed peer is dialled, an added address where nobody is any more, and so long a departed peer is
    /// remembered. More than `resume_for`. Seeds are never forgotten. Peers that were never met, of which others told,
    /// get few attempts.
    std::chrono::nanoseconds forget_after = std::chrono::hours(24);
    /// How long `Node::add` waits for the peer, and one connection attempt for an answer.
    std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
    /// A connection that has not become a session, nor waits for one, is closed after so long. More than twice
    /// `attach_timeout`.
    std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(5);
    /// How long one attempt to attach a session may take; a few round trips.
    std::chrono::nanoseconds attach_timeout = std::chrono::seconds(2);
    /// How long `broadcast` and `send` wait for room. 0: not at all.
    std::chrono::nanoseconds send_timeout = std::chrono::seconds(30);
    /// How long `close` waits for what was sent to be acknowledged. After that it waits for goodbyes to be answered:
    /// as long again, but at least 100 ms and at most 1 s.
    std::chrono::nanoseconds linger = std::chrono::seconds(5);
    WhenFull when_full = WhenFull::fail;

    // How much memory may be held.

    /// Messages received and not yet taken, over all peers. A quarter is kept for finishing long messages, half is
    /// shared out as 128 KiB for each of `max_peers`, the rest goes to those who send most. At least
    /// `max_peers` x 256 KiB and 4 x `max_message`. A message longer than 64 KiB may lie in a block twice its length.
    /// Long messages of two senders may come at the same time, though they need more than that quarter. A sender that
    /// stops within one for two heartbeats lets another begin; what it has sent stays until its end or `resume_for`.
    /// Replies are not in it: of each peer one that is waited for and comes in parts is kept until it is whole.
    std::size_t inbox_bytes = std::size_t{64} << 20;
    /// Messages accepted for one peer and not yet acknowledged; and, apart from them, as much of replies. At least
    /// `max_message` plus 64 KiB for headers. No more than this is under way to a peer, so a small value limits speed.
    std::size_t outbox_bytes = std::size_t{32} << 20;
    /// The same over all peers; what goes to several peers counts once. Replies may take `outbox_bytes` more. At least
    /// `outbox_bytes`.
    std::size_t total_outbox_bytes = std::size_t{256} << 20;
    /// The longest message, in either direction; 64 KiB to 512 MiB. Every peer learns it.
    std::size_t max_message = std::size_t{16} << 20;
    /// Peers in view plus those being attached; 4096 at most. Newcomers beyond it are refused with
    /// `errc::too_many_peers`; who returns to a session that is remembered is not. Connections that have not become a
    /// session count apart: 64 more than this, half of them from one host; the oldest is closed for the next.
    std::size_t max_peers = 256;
    /// The data of one member that this node enrols (see <cluster/membership.hpp>) may be so long, at most 64 KiB.
    /// Every node keeps the members of all, however long they are.
    std::size_t max_member_data = std::size_t{64} << 10;
    /// The members of all other nodes, with 512 bytes for each beside its data. If there are more, the node with most
    /// of them is disconnected (`too_many_members`), so that the others stay. At least 64 KiB. One node may have 65,536
    /// members and 64 MiB of data.
    std::size_t members_bytes = std::size_t{256} << 20;

    /// Where log lines go: called on the node's threads or the calling thread, one line at a time and never on behalf
    /// of a single message; must not block. Empty: warnings and errors to standard error, each with the time of day. A
    /// line for which nobody makes room there is lost, and the next one says so (`lines_lost=`).
    ///
    /// Of the same cause, such as a stranger that is refused again and again, the first line comes at once, and then
    /// the newest with a count (`times=`): after a minute, and then after pauses that double up to an hour. The rest
    /// comes when the node closes. Of each level, 200 lines may come at once and 20 per second, and of those that
    /// strangers bring about 40 and 1; the next line tells how many were left out (`left_out=`). Names and other texts
    /// of others stand in quotes, and what cannot be printed as `\xNN`.
    std::function<void(LogLevel, std::string_view)> log = {};

    /// For processes of one machine: quick to conclude, quick to dial again. Silence is known to all after at most
    /// 1.5 x 0.2 + 1 = 1.3 s, and a stall of less than a second is forgiven.
    static Options local();
    /// For one data centre: the defaults. Silence is known to all after at most 1.5 x 1 + 2 = 3.5 s; stalls of less
    /// than 2 s are forgiven.
    static Options lan();
    /// For links between continents: slower to conclude, larger windows. An answer may take 1.5 s; silence is known
    /// to all after at most 1.5 x 3 + 10 = 14.5 s, stalls of less than 10 s are forgiven.
    static Options wan();
};

}  // namespace cluster
