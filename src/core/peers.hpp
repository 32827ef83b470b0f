#pragma once

#include "base/log_line.hpp"
#include "base/time.hpp"
#include "core/engine_options.hpp"
#include "core/link.hpp"
#include "core/own_addresses.hpp"
#include "core/pair.hpp"
#include "core/peers_file.hpp"
#include "core/roster.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
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

/// Whom this node knows, by which links, and who of them is in view: what all parts of an engine look at. Not
/// thread-safe; lives in its engine.
///
/// 1. A pair stays where it is until it is erased, and so does a link: both may be pointed at.
/// 2. `view` and `audience` are sorted by id, and change with `show` and `hide` only.
struct Peers {
    Peers(const EngineOptions& options, const Roster& roster, const OwnAddresses& own)
        : zones(options.zones), options_(options), roster_(roster), own_(own) {}

    std::unordered_map<LinkId, Link> links;
    std::map<PeerId, Pair> pairs;
    std::vector<Pair*> view;
    std::vector<Pair*> audience;     ///< those in view to whom broadcasts go: they are no observers
    Time last_shown{};               ///< when somebody last came into view
    std::vector<std::string> zones;  ///< interfaces over which link-local IPv6 addresses can be dialled

    // Finding.
    Link* find(LinkId id);
    Pair* find(const PeerId& id);
    const Pair* find(const PeerId& id) const;
    /// The pair that has this number; null if it is forgotten.
    Pair* numbered(std::uint64_t number) const;
    /// The pair whose session has this number, if that has not ended.
    Pair* with_session(std::uint64_t session) const;
    /// The link that carries the pair's session.
    Link* attached_link(const Pair& pair);
    /// Whose session `link` carries, if any.
    std::optional<PeerId> attached_to(LinkId link) const;

    // Changing.
    /// Numbers are given to links, pairs, sessions and pending adds alike, each once.
    std::uint64_t next_number() noexcept { return ++last_number_; }
    /// A new link. Its nonce is drawn.
    Link& open(const Address& remote);
    /// The pair with `id`, which is made if there is none.
    Pair& pair_of(const PeerId& id);
    void forget(std::map<PeerId, Pair>::iterator pair);
    void begin_session(Pair& pair, std::unique_ptr<Session> session);
    void end_session(Pair& pair);
    void show(Pair& pair, Time now);
    void hide(Pair& pair);
    /// Whether it is an observer may have changed.
    void update_audience(Pair& pair);
    /// `link` has something to write.
    void ready(Link& link);
    void take_ready(std::vector<LinkId>& out);
    bool has_ready() const noexcept { return !ready_.empty(); }

    // What is known of somebody.
    /// Whether this node has had a session with it, and so knows it by more than its addresses.
    bool met(const PeerId& id) const;
    /// Whether it is in somebody's view, as far as this node knows.
    static bool exists(const Pair& pair) noexcept { return pair.in_view || pair.state == PeerState::unreachable; }
    bool publishes(const PeerId& id, const Address& address) const;
    /// Where to dial a peer: where a dial reached it last, which may be a tunnel that it knows nothing of, and what it
    /// publishes.
    std::vector<Address> addresses_of(const PeerId& id) const;
    /// Each link-local IPv6 address without a zone becomes one for each of this host's own zones.
    std::vector<Address> dialable(const std::vector<Address>& addresses) const;
    /// Whether who is sought at `address` is certainly not there.
    bool occupied(const PeerId& wanted, const Address& address) const;
    /// Whether who dials `address` finds a peer that is linked, and nobody else: it was found there, says that it is
    /// there, and nobody else does.
    bool leads_to_linked(const Address& address) const;
    errc why_out_of_view(const Pair& pair) const;
    /// `peer=... name="..."`, as log lines say it; without a name if it is not known.
    std::string who(const PeerId& id) const;
    std::string who(const Pair& pair) const;
    /// A line about a link, which is a stranger's until it is attached: anybody can claim to be a peer. Its cause is
    /// the event, the first word of `why` and the host.
    LogLine line(Severity severity, const Link& link, std::string_view event, const std::string& why) const;
    /// The sum over all that exist and this node itself. Whether it reaches them is an opinion, which would make lists
    /// go to and fro for as long as two nodes differ.
    std::uint64_t digest();
    /// Somebody came into existence or left it.
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
    std::string who(const Link& link) const;

    const EngineOptions& options_;
    const Roster& roster_;
    const OwnAddresses& own_;
    std::unordered_map<std::uint64_t, Pair*> numbered_;  ///< pairs, and the pairs of sessions
    std::vector<LinkId> ready_;
    std::uint64_t last_number_ = 0;
    std::optional<std::uint64_t> digest_;  ///< until somebody comes into existence or leaves it
    std::uint64_t digest_of_ = 0;          ///< after so many changes of the roster
};

}  // namespace cluster::core
