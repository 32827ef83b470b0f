#pragma once

#include "net/asio.hpp"

#include <system_error>

// Every socket of the library is made here.
//
// 1. It is closed on exec from the moment it exists. A program that the application starts must not keep connections
//    open, nor the port taken, after this process has died.
// 2. Its number is above those of the standard streams. They may be closed, and what is written to standard error must
//    not go to a peer.

namespace cluster::net {

void open(asio::ip::tcp::socket& socket, const asio::ip::tcp& protocol, std::error_code& error);
void open(asio::ip::tcp::acceptor& acceptor, const asio::ip::tcp& protocol, std::error_code& error);

/// Puts the next connection into `socket`, which is closed. Does not wait: if there is none, it fails with
/// `would_block`.
void accept(asio::ip::tcp::acceptor& acceptor, asio::ip::tcp::socket& socket, std::error_code& error);

}  // namespace cluster::net
