#include "net/sockets.hpp"

#include "net/listener.hpp"
#include "net/support.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <chrono>
#include <system_error>

using namespace cluster;
using asio::ip::tcp;

namespace {

int option(int descriptor, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    CHECK(::getsockopt(descriptor, IPPROTO_TCP, name, &value, &size) == 0);
    return value;
}

void check_options(int descriptor) {
    CHECK((::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0);
    CHECK(option(descriptor, TCP_NODELAY) != 0);
    CHECK(option(descriptor, TCP_NOTSENT_LOWAT) == 256 << 10);
}

/// Goes on until `socket` is connected to `to`, or cannot be.
std::error_code connected(tcp::socket& socket, const tcp::endpoint& to) {
    for (;;) {
        const std::error_code error = net::connect(socket, to);
        if (error != asio::error::in_progress) return error;
        pollfd wait{socket.native_handle(), POLLOUT, 0};
        const auto most = std::chrono::milliseconds(support::patience).count();
        if (::poll(&wait, 1, static_cast<int>(most)) <= 0) return error;
    }
}

}  // namespace

TEST_CASE("sockets: both ends of a connection have the same options") {
    for (const char* host : {"127.0.0.1", "::1"}) {
        INFO(host);
        asio::io_context io;
        tcp::acceptor acceptor = net::listen(io, {host, 0});
        const tcp::endpoint where = acceptor.local_endpoint();
        std::error_code error;
        tcp::socket accepted(io);
        net::accept(acceptor, accepted, error);
        CHECK(error == asio::error::would_block);
        CHECK_FALSE(accepted.is_open());

        tcp::socket dialled(io);
        net::open(dialled, where.protocol(), error);
        REQUIRE_FALSE(error);
        CHECK_FALSE(connected(dialled, where));
        tcp::endpoint from;
        const auto accepts = [&] {
            from = net::accept(acceptor, accepted, error);
            return !error;
        };
        REQUIRE(support::wait_for(accepts, support::patience));
        CHECK(from == dialled.local_endpoint());
        check_options(dialled.native_handle());
        check_options(accepted.native_handle());

        acceptor.close();
        tcp::socket late(io);
        net::open(late, where.protocol(), error);
        CHECK(connected(late, where) == asio::error::connection_refused);
    }
}

TEST_CASE("sockets: a connection for which there is no room yet is made later") {
    const support::Socket listener;
    const Address address = listener.bind();
    listener.listen(0);  // there is room for one
    const tcp::endpoint where(asio::ip::make_address(address.host), address.port);
    asio::io_context io;
    std::error_code error;
    tcp::socket first(io);
    net::open(first, where.protocol(), error);
    REQUIRE_FALSE(connected(first, where));
    tcp::socket second(io);
    net::open(second, where.protocol(), error);
    CHECK(net::connect(second, where) == asio::error::in_progress);
    CHECK(net::connect(second, where) == asio::error::in_progress);
    const support::Socket accepted = listener.accept();
    CHECK_FALSE(connected(second, where));
}
