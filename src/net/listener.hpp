#pragma once

#include "net/addresses.hpp"
#include "net/asio.hpp"

#include <cluster/address.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <system_error>

namespace cluster::net {

/// A socket that listens on `where`. A name stands for the first of its addresses on which it can listen. `[::]` takes
/// IPv4 connections, too. Throws `std::system_error` with an `errc`.
asio::ip::tcp::acceptor listen(asio::io_context& io, const Address& where);

/// Where `acceptor` listens. If it listens on all interfaces, this changes with them. Empty if the system does not
/// answer.
std::optional<Interfaces> listening(const asio::ip::tcp::acceptor& acceptor);

/// Accepts connections, and watches where others can reach this machine. Used on the I/O thread only. A part of its
/// owner, which its waits keep alive from `start` to `end`.
class Listener {
public:
    using Accepted = std::function<void(asio::ip::tcp::socket, const asio::ip::tcp::endpoint& remote)>;
    using Moved = std::function<void(const Interfaces&)>;
    using Failed = std::function<void(const std::error_code&)>;

    /// With an acceptor that is not open it does nothing. `moved`: the interfaces are now these. `failed`: nothing can
    /// be accepted. That is tried again all the time, and reported once until it succeeds.
    Listener(asio::ip::tcp::acceptor acceptor, Accepted accepted, Moved moved, Failed failed);

    void start(std::weak_ptr<const void> owner);
    void end();

private:
    void wait();
    void accept();
    void pause(const std::error_code& error);
    void watch_interfaces();

    asio::ip::tcp::acceptor acceptor_;
    const Accepted accepted_;
    const Moved moved_;
    const Failed failed_;
    std::weak_ptr<const void> owner_;
    asio::steady_timer pause_;
    asio::steady_timer interfaces_timer_;
    bool failing_ = false;
    std::optional<Interfaces> interfaces_;  ///< that were seen last
};

}  // namespace cluster::net
