#pragma once

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace cluster::core {

// What a numeric host means, judged by its text alone.

bool is_loopback(std::string_view host) noexcept;
/// 169.254.0.0/16, or an IPv6 address that needs a zone.
bool is_link_local(std::string_view host) noexcept;
/// An IPv6 address that is reached in a zone: at one of the dialler's own interfaces.
bool needs_zone(std::string_view host) noexcept;
/// The host without `%zone`: a zone means nothing to another host.
std::string without_zone(std::string host);

/// What to do about a node that others cannot dial.
inline constexpr std::string_view loopback_advice =
    "other hosts cannot dial this node: set Options::listen to 0.0.0.0:PORT or to an address of this host, or "
    "Options::advertise to where they reach it";

/// Where this node can be dialled: what the system says and what peers saw. Not thread-safe.
///
/// A peer, here a *witness*, says at which host it sees this node. That orders what the system says: an address at
/// which a peer saw this node works, while that of a bridge between containers may not. A host that the system does not
/// know, such as that of a router in between, is believed only if several witnesses name it.
///
/// 1. At most `max_addresses` are published, each once. One that a witness saw is never left out for one that none saw.
/// 2. It publishes addresses that the system has now. It also publishes a host that two witnesses with different hosts
///    of their own have named, while at least one witness still names it.
/// 3. Only the last word of each witness counts. Without witnesses, only what the system has is published.
class OwnAddresses {
public:
    /// How many of the system's addresses are looked at, at most.
    static constexpr std::size_t most_listening = 256;

    /// `listening`: where this node listens, as the system says, the most likely first.
    explicit OwnAddresses(std::vector<Address> listening) { listen(std::move(listening)); }

    /// The system has other addresses now.
    void listen(std::vector<Address> listening);
    /// Whether a dial to `address` is certain to lead to this node.
    bool listens_on(const Address& address) const;

    /// `witness`, whose own host is `from`, sees this node at `host`.
    void observed(const PeerId& witness, std::string_view from, std::string_view host);
    void forget(const PeerId& witness);

    /// The most likely first, loopback last.
    std::vector<Address> published() const;

private:
    struct Word {
        std::string from;
        std::string host;
    };

    bool is_local(std::string_view host) const;
    bool may_be_translated(std::string_view host) const;
    std::size_t witnesses(std::string_view host) const;
    void weigh(const std::string& host);

    std::vector<Address> listening_;
    std::map<PeerId, Word> words_;
    std::set<std::string> agreed_;  ///< hosts of no interface that are believed
};

}  // namespace cluster::core
