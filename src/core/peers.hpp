#pragma once

#include "base/time.hpp"
#include "core/engine_options.hpp"
#include "core/link.hpp"
#include "core/own_addresses.hpp"
#include "core/pair.hpp"
#include "core/peers_file.hpp"
#include "core/roster.hpp"
#include "value/log_line.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cluster::core {

/// What the engine measures of one peer; see `cluster::Stats`.
struct PeerGauges {
    PeerId id;
    std::string name;
    std::uint64_t outbox_bytes = 0;
    std::uint64_t inbox_bytes = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    std::uint64_t attachments = 0;
    Duration round_trip{};
};

/// The peers that this node knows, their links, and which are in view. All parts of an engine look at this. Not
/// thread-safe; lives in its engine.
///
/// 1. A pair and a link keep their places until they are erased, so pointers to them stay valid.
/// 2. `view` and `audience` are sorted by id. `view` changes only with `show` and `hide`, `audience` also with
///    `update_audience`.
struct Peers {
    Peers(const EngineOptions& options, const Roster& roster, const OwnAddresses& own)
        : zones(options.zones), options_(options), roster_(roster), own_(own) {}

    std::unordered_map<LinkId, Link> links;
    /// Of these, those that do not carry a session yet, in the order in which they began. There are not many, however
    /// many peers and guests there are.
    std::set<LinkId> strangers;
    std::map<PeerId, Pair> pairs;
    /// Apart from all others: what goes over `pairs` or `view` does not find them.
    std::map<PeerId, Pair> guests;
    std::vector<Pair*> view;
    std::vector<Pair*> audience;     ///< those in view to which broadcasts go
    Time last_shown{};               ///< when a peer last came into view
    std::vector<std::string> zones;  ///< interfaces over which link-local IPv6 addresses can be dialled

    // Finding.
    Link* find(LinkId id);
    Pair* find(const PeerId& id);
    const Pair* find(const PeerId& id) const;
    /// Another pair with the id of this one, of which one is a guest; null if there is none.
    Pair* namesake(const Pair& pair);
    /// To whom a message of `channel` can be queued under this id: a peer in view. On the client channel also a guest
    /// that is here. Null if there is none.
    Pair* receiver(const PeerId& id, std::uint16_t channel);
    /// The pair that has this number; null if it is forgotten. It may be a guest.
    Pair* numbered(std::uint64_t number) const;
    /// The pair whose session has this number, if that has not ended.
    Pair* with_session(std::uint64_t session) const;
    /// The link that carries the pair's session.
    Link* attached_link(const Pair& pair);
    /// The peer whose session `link` carries, if any.
    std::optional<PeerId> attached_to(LinkId link) const;

    // Changing.
    /// Links, pairs, sessions and pending adds share one sequence of numbers; each number is used once.
    std::uint64_t next_number() noexcept { return ++last_number_; }
    /// A new link, with a new nonce.
    Link& open(const Address& remote);
    /// The pair with `id`, which is made if there is none.
    Pair& pair_of(const PeerId& id) { return pair_in(pairs, id, options_.guest ? Relation::host : Relation::peers); }
    /// The same for a guest.
    Pair& guest_of(const PeerId& id) { return pair_in(guests, id, Relation::guest); }
    void forget(Pair& pair);
    /// The link carries a session from here on.
    void attached(Link& link);
    void close(LinkId link);
    void begin_session(Pair& pair, std::unique_ptr<Session> session);
    void end_session(Pair& pair);
    void show(Pair& pair, Time now);
    void hide(Pair& pair);
    /// The peer may have become an observer, or may no longer be one.
    void update_audience(Pair& pair);
    /// `link` has something to write.
    void ready(Link& link);
    void take_ready(std::vector<LinkId>& out);
    bool has_ready() const noexcept { return !ready_.empty(); }

    // What is known of a peer.
    /// Whether this node has had a session with it, and so knows more than its addresses.
    bool met(const PeerId& id) const;
    /// Whether it is in the view of any node, as far as this node knows.
    static bool exists(const Pair& pair) noexcept { return pair.in_view || pair.state == PeerState::unreachable; }
    bool publishes(const PeerId& id, const Address& address) const;
    /// Where to dial a peer: the address where a dial reached it last, then those that it publishes. The first may be a
    /// tunnel that the peer does not know.
    std::vector<Address> addresses_of(const PeerId& id) const;
    /// Each link-local IPv6 address without a zone becomes one for each of this host's own zones.
    std::vector<Address> dialable(const std::vector<Address>& addresses) const;
    /// Whether the peer that is sought at `address` is certainly not there.
    bool occupied(const PeerId& wanted, const Address& address) const;
    /// Whether a dial of `address` finds a linked peer and nobody else. That peer was found there and publishes it, and
    /// nobody else does.
    bool leads_to_linked(const Address& address) const;
    errc why_out_of_view(const Pair& pair) const;
    /// `peer=... name="..."`, as log lines say it; without a name if it is not known.
    std::string who(const PeerId& id) const;
    std::string who(const Pair& pair) const;
    /// A line about a link. Until the link is attached it counts as a stranger's, because anybody can claim to be a
    /// peer. Its cause is the event, the first word of `why` and the host.
    LogLine line(LogLevel level, const Link& link, std::string_view event, const std::string& why) const;
    /// The sum over all that exist and this node itself. Whether this node reaches them does not count: on that two
    /// nodes may differ, and would then exchange lists all the time.
    std::uint64_t digest();
    /// A peer came into existence or left it.
    void existence_changed() noexcept { digest_.reset(); }

    // For the application.
    Peer describe(const Pair& pair) const;
    std::vector<Peer> describe(const std::vector<Pair*>& some) const;
    std::vector<Peer> everybody() const;
    std::vector<Whereabouts> whereabouts() const;
    std::vector<PeerGauges> gauges() const;
    std::size_t suspect_count() const noexcept;
    std::size_t unreachable_count() const noexcept;

private:
    Pair& pair_in(std::map<PeerId, Pair>& some, const PeerId& id, Relation relation);
    std::string who(const Link& link) const;

    const EngineOptions& options_;
    const Roster& roster_;
    const OwnAddresses& own_;
    std::unordered_map<std::uint64_t, Pair*> numbered_;  ///< pairs, and the pairs of sessions
    std::vector<LinkId> ready_;
    std::uint64_t last_number_ = 0;
    std::optional<std::uint64_t> digest_;  ///< until a peer comes into existence or leaves it
    std::uint64_t digest_of_ = 0;          ///< the number of changes of the roster that it includes
};

}  // namespace cluster::core
