#pragma once

#include <cluster/export.hpp>
#include <cluster/log_level.hpp>
#include <cluster/peer.hpp>
#include <cluster/runtime.hpp>
#include <cluster/secret.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cluster {

/// What `broadcast` and `send` do when an outbox stays full for `send_timeout`.
enum class WhenFull : std::uint8_t {
    /// The call fails with `errc::timed_out`; nothing was queued for anyone.
    fail,
    /// The message goes to the peers with room. A peer without room sees a gap in its place, and the sender gets a
    /// `GivenUp`.
    ///
    /// - The call waits for an outbox that has filled up until it has drained by half.
    /// - If that takes `send_timeout`, the peer is slow. Calls then pass it over at once until its outbox has drained
    ///   by half.
    /// - A peer that was slow is passed over at once, too, when its outbox fills up again. That ends when the outbox
    ///   has drained by half within `send_timeout`, or completely.
    give_up,
};

/// How a node behaves. A plain value: fill in what matters, leave the rest.
///
///     cluster::Node node({.listen = "0.0.0.0:7000", .seeds = {"ann:7000", "bob:7000"}});
///
/// `Node` checks the options as a whole. If they contradict each other or leave their range, it throws
/// `errc::invalid_options`, and the text names them.
struct CLUSTER_EXPORT Options {
    // Names and addresses.

    /// `host:port` to listen on; port 0 lets the system pick. `0.0.0.0` and `[::]` listen on all interfaces. Other
    /// machines cannot reach a node on a loopback address. Such a node logs a warning when it dials another machine. A
    /// name is looked up before the constructor returns. That may take some ten seconds if name servers are silent.
    std::string listen = "127.0.0.1:0";
    /// The addresses that others are to dial, at most 8. Set it behind address translation that changes ports. Each
    /// node that dials a name looks it up itself.
    ///
    /// Empty: the node publishes its listening address. If that is a wildcard, it publishes the addresses of this
    /// machine's interfaces:
    /// - First come those at which peers see this node. Bridges and loopback come last.
    /// - The node looks at its interfaces every 5 s and withdraws an address that has gone.
    /// - Two peers on different hosts may see another host in place of these. The node then publishes that host, too,
    ///   with the listening port.
    std::vector<std::string> advertise = {};
    /// Nodes of different clusters never link. At most 64 bytes.
    std::string cluster = "cluster";
    /// Makes the cluster private: each link is TLS 1.3, and both ends prove that they know this secret. Nobody else can
    /// read, change or join. Without a secret all is plain text, and whoever reaches the network can do all of that.
    ///
    /// - All nodes of a cluster have the same one. It must be random: `make_secret` makes one. What can be guessed is
    ///   refused, because one greeting that was overheard is enough to try millions of secrets a second.
    /// - Each node that has it may claim to be any other. It protects the cluster from outsiders, not from members.
    /// - If the library was built without TLS, `Node` throws `errc::unsupported`.
    std::string secret = {};
    /// Further secrets that are accepted from others, at most 15. To change the secret without a break, give all nodes
    /// the new one here, then make it `secret` and keep the old one here, then withdraw that. `Node::set_secrets` does
    /// each step while the node runs.
    std::vector<std::string> more_secrets = {};
    /// Secrets for guests, at most 16: they are accepted from clients, but let nobody into the cluster as a peer. Who
    /// has one of them can pose as a node towards other guests with the same one.
    std::vector<std::string> guest_secrets = {};
    /// What people call this node, at most 64 bytes. Give each node a different name, and the same one after a restart.
    /// Empty: the process id and the first four bytes of the id.
    std::string name = {};
    /// Published to all peers; `Node::set_tags` changes them.
    Tags tags = {};
    /// Addresses that are dialled from the start and for ever, at most 64. None of them has to answer.
    ///
    /// - A seed may lead to many nodes: it may be a name that stands for all of them, or the address of a load
    ///   balancer.
    /// - The node dials all addresses behind a name, but at most 1024 of them.
    /// - It looks each seed up and dials it again and again. While one of its addresses is silent, that happens at
    ///   least once in `reconnect_max`. When each address leads to a peer, refuses, or is this node itself, it happens
    ///   at least once in ten times `reconnect_max`.
    /// - An address may lead to one peer alone, which publishes it. It is then not dialled while that peer is linked.
    std::vector<std::string> seeds = {};
    /// A file in which the node remembers where its peers are. After a restart it finds them again even if no seed
    /// lives. Empty: none.
    ///
    /// - The node reads the file at the start. A peer that was in view within `forget_after` is dialled like a seed,
    ///   after all others. That ends when the peer is found or `forget_after` is over. Peers that left or were removed
    ///   are not in the file.
    /// - The callback thread writes it at most once a second; `close` writes it, too. If a callback takes long, it is
    ///   written later.
    /// - A new file of mode 0600 replaces the old one as a whole. So the folder must exist and be writable, else `Node`
    ///   throws.
    /// - A missing or damaged file is not an error, nor is one that cannot be written later. The log says so.
    /// - It holds the newest 1024 peers and 256 KiB at most. The format is text; lines may be deleted, not changed.
    /// - Give each node a file of its own. If several nodes use the same one, the last to write wins.
    std::string peers_file = {};
    /// For a program that only sends requests and looks on, and need not read its inbox. The node is in view like any
    /// other. It broadcasts and sends requests; others send it messages and requests. But no broadcast comes to it or
    /// counts it. A peer of an older version does not know observers and sends it broadcasts, too.
    bool observer = false;
    /// The threads to run on; without it the node has its own.
    std::optional<Runtime> runtime = {};

    // When things happen. Each is at least a millisecond unless said otherwise.

    /// In each heartbeat a node probes one peer, and each peer is probed by one node. A peer that has not answered
    /// after half a heartbeat is suspected. All others hear of the suspicion and check it for themselves. A link that
    /// stays silent for a whole heartbeat is replaced. Longer: less idle traffic, later detection.
    std::chrono::nanoseconds heartbeat = std::chrono::seconds(1);
    /// How long a peer may go without answering; at least two heartbeats. After that it is failed, or unreachable if
    /// others hear from it. Longer: slow peers are not taken for dead.
    ///
    /// - A silent host is known to all after at most 1.5 x `heartbeat` + `suspicion`. If several hosts fall silent
    ///   together, it is 2 x `heartbeat` + `suspicion`.
    /// - The end of a process is known to all immediately.
    /// - If a node is slow itself, it takes up to nine times as long.
    std::chrono::nanoseconds suspicion = std::chrono::seconds(2);
    /// How long nothing may come on a link before the system asks the other side for a sign (TCP keep-alive). Only the
    /// node that dialled asks. That costs two packets without content, and keeps firewalls in between from forgetting
    /// the link. In whole seconds, rounded down; 1 s to 9 hours, or 0: never. Links within one machine are not asked.
    /// Longer: less idle traffic.
    std::chrono::nanoseconds keep_warm = std::chrono::seconds(5);
    /// The first and the longest pause between two rounds of dialling. The pause doubles in between, with jitter. Raise
    /// the longest for large clusters; lower it to find returning peers sooner.
    std::chrono::nanoseconds reconnect_min = std::chrono::milliseconds(100);
    std::chrono::nanoseconds reconnect_max = std::chrono::seconds(30);
    /// How long the outbox of a peer without a link is kept. After that its messages are given up. The smaller value of
    /// both sides counts. More than `handshake_timeout`.
    std::chrono::nanoseconds resume_for = std::chrono::minutes(5);
    /// How long a failed peer is dialled, and an added address at which nobody answers any more. A departed peer is
    /// remembered for the same time. More than `resume_for`. Seeds are never forgotten. Peers known only from others,
    /// which this node never met, get few attempts.
    std::chrono::nanoseconds forget_after = std::chrono::hours(24);
    /// How long `Node::add` waits for the peer, and how long a connection attempt waits for an answer.
    std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
    /// How long a connection may stay open if it neither becomes a session nor waits for one. After that it is closed.
    /// More than twice `attach_timeout`.
    std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(5);
    /// How long one attempt to attach a session may take; a few round trips.
    std::chrono::nanoseconds attach_timeout = std::chrono::seconds(2);
    /// How long `broadcast` and `send` wait for room. 0: not at all.
    std::chrono::nanoseconds send_timeout = std::chrono::seconds(30);
    /// How long `close` waits for acknowledgements of what was sent. After that it waits for answers to its goodbyes:
    /// as long again, but at least 100 ms and at most 1 s.
    std::chrono::nanoseconds linger = std::chrono::seconds(5);
    WhenFull when_full = WhenFull::fail;

    // How much memory may be held.

    /// Messages received and not yet taken, over all peers. At least `max_peers` x 256 KiB and 4 x `max_message`.
    ///
    /// - A quarter is kept for finishing long messages. Half is shared out as 128 KiB for each of `max_peers`. The rest
    ///   goes to the peers that send most.
    /// - A message longer than 64 KiB may lie in a block twice its length.
    /// - Long messages of two senders may come at the same time, even if they need more than that quarter. If a sender
    ///   stops within one for two heartbeats, another may begin. What it has sent stays until the message ends or
    ///   `resume_for` is over.
    /// - Replies do not count. Of each peer, one reply that is waited for and comes in parts is kept until it is whole.
    ///   Nor does what replicas say to each other, of which one message of each peer may be kept in the same way.
    std::size_t inbox_bytes = std::size_t{64} << 20;
    /// Messages accepted for one peer and not yet acknowledged. Replies may take as much again. At least `max_message`
    /// plus 64 KiB for headers. No more than this is in flight to a peer, so a small value limits speed. What replicas
    /// say to each other may also take as much again, and at least 4 MiB.
    std::size_t outbox_bytes = std::size_t{32} << 20;
    /// The same over all peers. A message to several peers counts once. Replies may take `outbox_bytes` more. What
    /// replicas say to each other does not count. What is on its way to clients may take as much again. At least
    /// `outbox_bytes`.
    std::size_t total_outbox_bytes = std::size_t{256} << 20;
    /// The longest message, in either direction; 64 KiB to 512 MiB. Every peer learns it.
    std::size_t max_message = std::size_t{16} << 20;
    /// Peers in view plus those being attached; 4096 at most. Newcomers beyond it are refused with
    /// `errc::too_many_peers`. A peer that returns to a remembered session is not refused.
    ///
    /// Connections that have not become a session count apart. There may be 64 more of them than this, at most half of
    /// them from one host. The oldest is closed for the next.
    std::size_t max_peers = 256;
    /// Guests: programs outside of the cluster that use what is served on its nodes, such as clients of replicated
    /// services. At most 100,000; 0: none. Those beyond it are refused, unless another has lost its link: whoever has
    /// been without one for longest then has to begin anew. Guests count against no other limit. An idle one takes
    /// about 4 KiB, and a descriptor (see `raise_descriptor_limit`).
    std::size_t max_guests = 10000;
    /// The longest data of one member that this node enrols (see <cluster/membership.hpp>), at most 64 KiB. A node
    /// keeps the members of other nodes whatever the length of their data.
    std::size_t max_member_data = std::size_t{64} << 10;
    /// Memory for the members of all other nodes: 512 bytes for each, plus its data. If they take more, the node with
    /// most of them is disconnected (`too_many_members`), so that the others stay. At least 64 KiB. One node may have
    /// 65,536 members and 64 MiB of data.
    std::size_t members_bytes = std::size_t{256} << 20;

    /// Where log lines go. It is called on the node's threads or the calling thread, one line at a time, and never on
    /// behalf of a single message. It must not block. Empty: warnings and errors go to standard error, each with the
    /// time of day. A line that standard error has no room for is lost, and the next one says so (`lines_lost=`).
    ///
    /// - Repeated lines: some lines have the same cause, such as a stranger that is refused again and again. The first
    ///   comes at once. Then the newest comes with a count (`times=`): after a minute, and then after pauses that
    ///   double up to an hour. The rest comes when the node closes.
    /// - Limits: at each level, 200 lines may come at once and 20 per second. Of lines that strangers cause, about 40
    ///   may come at once and 1 per second. The next line says how many were left out (`left_out=`).
    /// - Foreign text: names and other texts of others stand in quotes. What cannot be printed is shown as `\xNN`.
    std::function<void(LogLevel, std::string_view)> log = {};

    /// For processes of one machine: quick to conclude, quick to dial again. Silence is known to all after at most
    /// 1.5 x 0.2 + 1 = 1.3 s; stalls of less than a second are forgiven.
    static Options local();
    /// For one data centre: the defaults. Silence is known to all after at most 1.5 x 1 + 2 = 3.5 s; stalls of less
    /// than 2 s are forgiven.
    static Options lan();
    /// For links between continents: slower to conclude, larger windows. An answer may take 1.5 s. Silence is known to
    /// all after at most 1.5 x 3 + 10 = 14.5 s; stalls of less than 10 s are forgiven.
    static Options wan();
};

}  // namespace cluster
