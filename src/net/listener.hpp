#pragma once

#include "net/asio.hpp"

#include <cluster/address.hpp>

#include <vector>

namespace cluster::net {

/// A socket that listens on `where`; a name stands for the first of its addresses that can be listened on. `[::]` takes
/// IPv4 connections, too. Throws `std::system_error` with an `errc`.
asio::ip::tcp::acceptor listen(asio::io_context& io, const Address& where);

/// Where others reach `acceptor`, at most `core::max_addresses`.
std::vector<Address> addresses_of(const asio::ip::tcp::acceptor& acceptor);

}  // namespace cluster::net
