#pragma once

#include "core/batch.hpp"
#include "core/channels.hpp"
#include "core/registry.hpp"
#include "core/session.hpp"
#include "value/log_line.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <variant>
#include <vector>

// What the engine wants done, in this order. The driver carries the actions out before it pulls output, so that a
// message is in the inbox before it is acknowledged. Actions are visited with an `Overloaded` that has one function for
// each kind and none for all. So an action that nobody carries out does not compile.

namespace cluster::core {

/// Connect to an address. A name, which a peer may publish, can stand for several addresses: connect to the first that
/// answers. The dial is refused only if all refuse. Answer with `connected` or `dial_failed` under `link`.
struct Dial {
    LinkId link = 0;
    Address address;
};

/// Find the numeric addresses of a host name; answer with `resolved`.
struct Resolve {
    std::uint64_t target = 0;
    Address name;
};

/// Stop using a link.
/// - Without `drain`: at once. What is unread and unsent is thrown away, and nothing more is reported of the link.
/// - With `drain`: write what can still be pulled, shut down writing, go on reading. What comes, and the end, is
///   reported.
struct Close {
    LinkId link = 0;
    bool drain = false;
};

/// Messages of one channel, or a gap.
struct Deliver {
    Receiver receiver = Receiver::inbox;
    Batch batch;
};

struct PeerAdded {
    Peer peer;
};

struct PeerRemoved {
    Peer peer;
    RemovalReason reason;
};

/// A guest has a session here. Its address is the one from which it dials.
struct GuestCame {
    Peer guest;
};

/// Its session has ended, and what was queued for it is given up. If it comes again, its session is another one.
struct GuestWent {
    PeerId guest;
};

/// The state or the tags of a peer have changed, or the set of peers.
struct PeersChanged {};

/// Messages accepted earlier that this node gives up.
struct Surrender {
    Peer peer;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    errc reason{};
};

/// `add` has an answer. On success `error` is zero and each side lists the other; otherwise `error` is the reason.
struct AddDone {
    std::uint64_t number = 0;  ///< that `Engine::add` returned
    errc error{};
    Peer peer;
};

/// An outbox that had refused a message has room again.
struct RoomFreed {};

/// `Engine::settled` has returned false, and would now return true.
struct Settled {};

/// Members of others joined, changed, or are gone. `complete`: all peers in view have reported all their members.
struct MembersChanged {
    std::vector<MemberChange> changes;
    bool complete = true;
};

/// The owner of members became suspect, or is no longer suspect.
struct MembersInDoubt {
    PeerId owner;
    bool suspect = false;
};

/// `Engine::members_seen` may have another answer.
struct MembersSeenByMore {};

/// The node has left: no link is open any more.
struct LeaveDone {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t peers = 0;
};

/// What the node carries out.
using NodeAction =
    std::variant<Deliver, PeerAdded, PeerRemoved, GuestCame, GuestWent, PeersChanged, Surrender, AddDone, RoomFreed,
                 Settled, MembersChanged, MembersInDoubt, MembersSeenByMore, LeaveDone, LogLine>;
/// What the network carries out, and what it hands on to the node.
using Action = std::variant<Dial, Resolve, Close, NodeAction>;

}  // namespace cluster::core
