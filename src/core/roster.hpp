#pragma once

#include "base/time.hpp"
#include "core/frame.hpp"
#include "core/graves.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace cluster::core {

/// The nodes that belong: what each has said about itself, which ids have departed, and from whom this node has
/// parted. It knows nothing of links. Not thread-safe.
///
/// 1. A fact changes only to a higher version, which its owner alone writes.
/// 2. A departed id never becomes known again.
class Roster {
public:
    /// How many departed ids are remembered; beyond that the oldest is forgotten first.
    static constexpr std::size_t max_departed = std::size_t{1} << 16;
    /// And how many ids of guests.
    static constexpr std::size_t max_departed_guests = std::size_t{1} << 14;

    explicit Roster(Facts self) : self_(std::move(self)) {}

    const Facts& self() const noexcept { return self_; }
    void publish(Tags tags);
    void publish(std::vector<Address> addresses);

    enum class News : std::uint8_t { none, changed, unknown };
    /// Takes over what its owner wrote. The caller has checked that `facts.id` is neither departed nor this node.
    News learn(const Facts& facts);
    /// The owner itself states this: it replaces what others have said. True if it differs from what was known.
    bool state(const Facts& facts);
    const Facts* find(const PeerId& id) const;
    void forget(const PeerId& id);

    void bury(const PeerId& id, Time until);
    /// The same for a guest. However many guests come and go, they do not take the place of peers.
    void bury_guest(const PeerId& id, Time until) { departed_guests_.add(id, until); }
    bool departed(const PeerId& id) const { return departed_.contains(id) || departed_guests_.contains(id); }
    void expire(Time now);
    Time next_expiry() const noexcept;

    /// What this node remembers of a peer it parted from, until it is added again.
    struct Parted {
        /// What it said of itself; anybody may have said that.
        std::vector<Address> said;
        /// Where this node found it by dialling.
        std::vector<Address> found;
        /// Of the session that ended: proves to the peer that this node ended it.
        std::optional<Token> token;
        /// The peer has heard the goodbye.
        bool told = false;
        Time token_until = never;
        std::string name = {};
    };
    Parted& part(const PeerId& id, Parted parted) { return parted_[id] = std::move(parted); }
    Parted* parted(const PeerId& id);
    const std::map<PeerId, Parted>& all_parted() const noexcept { return parted_; }
    // A block concerns an id. It concerns addresses only if nothing else is known of the node there. So the caller does
    // not ask about a peer that it has met under its own id.
    /// Whether a parted peer was found at `address`.
    bool blocked(const Address& address) const;
    /// Whether these are the addresses of a parted peer that has started anew: it was found at one of them and has
    /// named all others. Machines may share some, such as that of a bridge for containers, and anybody may name any.
    bool blocked(const std::vector<Address>& addresses) const;
    /// Lifts the block of the peer that was found at `address`. With `or_said` also that of a peer that has named it.
    void unblock(const Address& address, bool or_said);
    void unblock(const std::vector<Address>& addresses);
    void unblock(const PeerId& id) { parted_.erase(id); }

    /// One node's part of the digest: the digest of a view is the sum over all of it.
    static std::uint64_t digest(const Facts& facts) noexcept;
    /// Grows whenever what is known changes.
    std::uint64_t changes() const noexcept { return changes_; }

private:
    Facts self_;
    std::uint64_t changes_ = 0;
    // Peers choose their ids, so nothing here is hashed by them.
    std::map<PeerId, Facts> known_;
    Graves departed_{max_departed};
    Graves departed_guests_{max_departed_guests};
    std::map<PeerId, Parted> parted_;
};

}  // namespace cluster::core
