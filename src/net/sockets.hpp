#pragma once

#include "net/asio.hpp"

#include <system_error>

// Every socket of the library is made here.
//
// 1. It is closed on exec from the moment it exists. A program that the application starts must not keep connections
//    open, nor the port taken, after this process has died.
// 2. Its number is above those of the standard streams. They may be closed, and what is written to standard error must
//    not go to a peer.
// 3. It never waits, and it sends at once what it is given.

namespace cluster::net {

void open(asio::ip::tcp::socket& socket, const asio::ip::tcp& protocol, std::error_code& error);
void open(asio::ip::tcp::acceptor& acceptor, const asio::ip::tcp& protocol, std::error_code& error);

/// Begins to connect `socket` to `to`, or goes on with that. If it has to wait, it fails with `in_progress`.
///
/// The function of Asio would wait each time. After Asio has once waited for room in a socket, each later wait for
/// input wakes the thread once in vain.
std::error_code connect(asio::ip::tcp::socket& socket, const asio::ip::tcp::endpoint& to);

/// Puts the next connection into `socket`, which is closed, and returns from where it came. If there is none, it fails
/// with `would_block`.
asio::ip::tcp::endpoint accept(asio::ip::tcp::acceptor& acceptor, asio::ip::tcp::socket& socket,
                               std::error_code& error);

}  // namespace cluster::net
