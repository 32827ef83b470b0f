#pragma once

#include "net/asio.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
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

/// Where others may reach a socket that listens on all interfaces: the addresses of those that are up, at most `most`,
/// global ones first and loopback last. Without IPv6 if `v4_only`. Link-local addresses mean nothing elsewhere and are
/// left out.
std::vector<Address> interface_addresses(std::uint16_t port, bool v4_only, std::size_t most);

}  // namespace cluster::net
