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

// Translates between the words of the system and ours.

namespace cluster::net {

/// The `errc` for an error of the system. An `errc` stays as it is.
errc to_errc(const std::error_code& error) noexcept;

/// An IPv4 address that is written as IPv6 becomes IPv4. A link-local one keeps its zone.
Address to_address(const asio::ip::tcp::endpoint& endpoint);

/// Empty if the host is a name.
std::optional<asio::ip::tcp::endpoint> to_endpoint(const Address& address);

/// The interfaces of this machine that are up.
struct Interfaces {
    /// Over how many interfaces link-local IPv6 addresses are dialled, at most.
    static constexpr std::size_t most_zones = 8;

    /// Where a socket that listens on all interfaces can be reached. Bridges come after the others, because only
    /// containers may be behind them; loopback comes last. Link-local IPv6 addresses have no zone.
    std::vector<Address> addresses;
    /// The names of the interfaces with a link-local IPv6 address, bridges last.
    std::vector<std::string> zones;

    friend bool operator==(const Interfaces&, const Interfaces&) = default;
};

/// Empty if the system does not answer, for instance when descriptors have run out. `v4_only`: without IPv6 addresses.
std::optional<Interfaces> interfaces(std::uint16_t port, bool v4_only);

}  // namespace cluster::net
