#pragma once

#include "net/asio.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

// Between the words of the system and ours.

namespace cluster::net {

/// What an error of the system is called here; one that is called so already stays as it is.
errc to_errc(const std::error_code& error) noexcept;

/// An IPv4 address in the clothes of IPv6 becomes IPv4; a link-local one keeps its zone.
Address to_address(const asio::ip::tcp::endpoint& endpoint);

/// Empty if the host is a name.
std::optional<asio::ip::tcp::endpoint> to_endpoint(const Address& address);

/// The interfaces of this machine that are up.
struct Interfaces {
    /// One dials link-local IPv6 addresses over at most so many interfaces.
    static constexpr std::size_t most_zones = 8;

    /// Where a socket that listens on all of them is reached: bridges, behind which only containers may be, behind the
    /// others, loopback last. Link-local IPv6 addresses have no zone.
    std::vector<Address> addresses;
    /// The names of those with a link-local IPv6 address, bridges last.
    std::vector<std::string> zones;

    friend bool operator==(const Interfaces&, const Interfaces&) = default;
};

/// Empty if the system does not say, as without descriptors. Without IPv6 addresses if `v4_only`.
std::optional<Interfaces> interfaces(std::uint16_t port, bool v4_only);

}  // namespace cluster::net
