#pragma once

#include "base/time.hpp"
#include "core/due.hpp"
#include "core/frame.hpp"
#include "core/registry.hpp"
#include "core/session.hpp"

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace cluster::core {

struct Pair;

enum class LinkState : std::uint8_t {
    dialling,
    greeting,   ///< no HELLO read
    greeted,    ///< smaller id: no OFFER read
    waiting,    ///< smaller id: an ATTACH of the pair is under way on another link
    attaching,  ///< smaller id: ATTACH sent
    offered,    ///< larger id: OFFER sent
    attached,
    parting,   ///< own GOODBYE said
    refusing,  ///< own REFUSE said
};

/// One connection, dialled or accepted. Not thread-safe; the engine forgets it when it closes it.
struct Link {
    LinkId id = 0;
    LinkState state = LinkState::greeting;
    std::uint64_t target = 0;  ///< the dial plan's, if it was dialled; 0 once the dial has its answer
    std::uint64_t round = 0;   ///< of that target
    Address wanted;            ///< the address that was dialled, if any
    Time begun{};              ///< when
    bool dialled = false;
    bool guests_only = false;  ///< see `Engine::takes_guests_only`
    Address remote;
    Pair* pair = nullptr;
    Nonce our_nonce{};
    Nonce peer_nonce{};
    std::unique_ptr<Hello> hello;  ///< as read, until it is believed
    Offer offer;
    bool completed = false;  ///< the peer is known to list us
    bool goodbye_heard = false;
    Farewell farewell = Farewell::leaving;
    Time list_sent{};
    /// While the first list is due: whom the other end has listed meanwhile, and at which version.
    using Told = std::vector<std::pair<PeerId, std::uint64_t>>;
    std::optional<Told> told;
    Registry::Feed feed;  ///< which of this node's members were sent to the peer
    bool members_seen_due = false;
    Due due;
    bool queued = false;  ///< among those that have something to write
    std::uint64_t ping_sequence = 0;
    Time ping_sent{};
};

}  // namespace cluster::core
