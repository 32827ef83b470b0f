#pragma once

#include "net/addresses.hpp"
#include "net/asio.hpp"

#include <cluster/address.hpp>

#include <optional>

namespace cluster::net {

/// A socket that listens on `where`. A name stands for the first of its addresses on which it can listen. `[::]` takes
/// IPv4 connections, too. Throws `std::system_error` with an `errc`.
asio::ip::tcp::acceptor listen(asio::io_context& io, const Address& where);

/// Where `acceptor` listens. If it listens on all interfaces, this changes with them. Empty if the system does not
/// answer.
std::optional<Interfaces> listening(const asio::ip::tcp::acceptor& acceptor);

}  // namespace cluster::net
