#include "net/listener.hpp"

#include "net/resolver.hpp"
#include "net/sockets.hpp"

#include <chrono>
#include <system_error>
#include <utility>

namespace cluster::net {

using asio::ip::tcp;

namespace {

/// How many connections a wake-up accepts at most before other sockets have their turn.
constexpr int most_accepts = 64;
constexpr auto accept_pause = std::chrono::milliseconds(100);
/// How often a node that others may reach looks at the interfaces of its machine, which may change.
constexpr auto interfaces_interval = std::chrono::seconds(5);

Resolver::Endpoints endpoints_of(const Address& where) {
    if (const auto numeric = to_endpoint(where)) return {*numeric};
    std::error_code error;
    const Resolver::Endpoints found = Resolver::look_up_now(where, error);
    if (error) throw std::system_error(error);
    return found;
}

tcp::acceptor listen_on(asio::io_context& io, const tcp::endpoint& endpoint) {
    tcp::acceptor acceptor(io);
    std::error_code error;
    open(acceptor, endpoint.protocol(), error);
    if (error) throw std::system_error(error);
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    if (endpoint.address().is_v6() && endpoint.address().is_unspecified()) {
        acceptor.set_option(asio::ip::v6_only(false));
    }
    acceptor.bind(endpoint);
    acceptor.listen();
    return acceptor;
}

}  // namespace

tcp::acceptor listen(asio::io_context& io, const Address& where) {
    std::error_code error = make_error_code(errc::unresolvable_host);
    try {
        for (const tcp::endpoint& endpoint : endpoints_of(where)) {
            try {
                return listen_on(io, endpoint);
            } catch (const std::system_error& failure) {
                error = failure.code();
            }
        }
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
    throw std::system_error(make_error_code(to_errc(error)),
                            "listening on " + where.to_string() + " (" + error.message() + ")");
}

std::optional<Interfaces> listening(const tcp::acceptor& acceptor) {
    const tcp::endpoint local = acceptor.local_endpoint();
    std::optional<Interfaces> all = interfaces(local.port(), local.address().is_v4());
    if (all && !local.address().is_unspecified()) all->addresses = {to_address(local)};
    return all;
}

Listener::Listener(tcp::acceptor acceptor, Accepted accepted, Moved moved, Failed failed)
    : acceptor_(std::move(acceptor)),
      accepted_(std::move(accepted)),
      moved_(std::move(moved)),
      failed_(std::move(failed)),
      pause_(acceptor_.get_executor()),
      interfaces_timer_(acceptor_.get_executor()) {}

void Listener::start(std::weak_ptr<const void> owner) {
    if (!acceptor_.is_open()) return;
    owner_ = std::move(owner);
    wait();
    watch_interfaces();
}

void Listener::end() {
    std::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    interfaces_timer_.cancel();
}

void Listener::wait() {
    acceptor_.async_wait(tcp::acceptor::wait_read, [this, owner = owner_.lock()](const std::error_code& error) {
        if (!error) accept();
    });
}

void Listener::accept() {
    for (int i = 0; i < most_accepts && acceptor_.is_open(); ++i) {
        tcp::socket socket(acceptor_.get_executor());
        std::error_code error;
        const tcp::endpoint remote = net::accept(acceptor_, socket, error);
        if (error == asio::error::would_block || error == asio::error::try_again) break;
        if (error == asio::error::connection_aborted || error == asio::error::interrupted) continue;
        if (error) return pause(error);
        failing_ = false;
        accepted_(std::move(socket), remote);
    }
    if (acceptor_.is_open()) wait();
}

/// Without a descriptor a connection cannot even be refused: it waits in the system's queue.
void Listener::pause(const std::error_code& error) {
    if (!std::exchange(failing_, true)) failed_(error);
    pause_.expires_after(accept_pause);
    pause_.async_wait([this, owner = owner_.lock()](const std::error_code& cancelled) {
        if (!cancelled) accept();
    });
}

void Listener::watch_interfaces() {
    std::error_code error;
    if (acceptor_.local_endpoint(error).address().is_loopback() || error) return;
    interfaces_timer_.expires_after(interfaces_interval);
    interfaces_timer_.async_wait([this, owner = owner_.lock()](const std::error_code& cancelled) {
        if (cancelled || !acceptor_.is_open()) return;
        std::optional<Interfaces> now = listening(acceptor_);
        if (now && now != interfaces_) {
            interfaces_ = std::move(now);
            moved_(*interfaces_);
        }
        watch_interfaces();
    });
}

}  // namespace cluster::net
