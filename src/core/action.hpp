#pragma once

#include "base/log_line.hpp"
#include "core/batch.hpp"
#include "core/registry.hpp"
#include "core/session.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <variant>
#include <vector>

// What the engine wants done, in this order. Whoever drives it carries the actions out before it pulls output, so that
// a message is in the inbox before it is acknowledged.

namespace cluster::core {

/// Connect to an address. Behind a name, which a peer may publish, there may be several: to the first that answers, and
/// that it is refused means that all are. Answer with `connected` or `dial_failed` under `link`.
struct Dial {
    LinkId link = 0;
    Address address;
};

/// Find the numeric addresses of a host name; answer with `resolved`.
struct Resolve {
    std::uint64_t target = 0;
    Address name;
};

/// Stop using a link. Not `drain`: at once, throwing away what is unread and unsent; nothing more is reported of it.
/// `drain`: write what can still be pulled, shut down writing, go on reading; the engine hears of what comes and of the
/// end.
struct Close {
    LinkId link = 0;
    bool drain = false;
};

/// Put into the inbox.
struct Deliver {
    Batch batch;
};

/// Replies, to be handed to whoever waits for them.
struct Replied {
    Batch batch;
};

struct PeerAdded {
    Peer peer;
};

struct PeerRemoved {
    Peer peer;
    RemovalReason reason;
};

/// Somebody's state or tags changed, or the set of peers.
struct PeersChanged {};

/// Messages accepted earlier that this node gives up.
struct Surrender {
    Peer peer;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    errc reason{};
};

/// `add` has an answer: `error` is zero, and `peer` complete on both sides, or the reason.
struct AddDone {
    std::uint64_t request = 0;
    errc error{};
    Peer peer;
};

/// An outbox that had refused a message has room again.
struct RoomFreed {};

/// `Engine::settled` was asked for in vain, and would now be true.
struct Settled {};

/// Members of others joined, changed, or are gone. `complete`: everybody in view has told of all members.
struct MembersChanged {
    std::vector<MemberChange> changes;
    bool complete = true;
};

/// The owner of members became suspect, or is so no more.
struct MembersInDoubt {
    PeerId owner;
    bool suspect = false;
};

/// `Engine::members_seen` may have another answer.
struct MembersSeenByMore {};

/// Nothing is left to be done: no link is open any more.
struct LeaveDone {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t peers = 0;
};

using Action =
    std::variant<Dial, Resolve, Close, Deliver, Replied, PeerAdded, PeerRemoved, PeersChanged, Surrender, AddDone,
                 RoomFreed, Settled, MembersChanged, MembersInDoubt, MembersSeenByMore, LeaveDone, LogLine>;

}  // namespace cluster::core
