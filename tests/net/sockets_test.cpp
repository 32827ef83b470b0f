#include "net/sockets.hpp"

#include "net/listener.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
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
        CHECK_FALSE(net::connect(dialled, where));
        const tcp::endpoint from = net::accept(acceptor, accepted, error);
        REQUIRE_FALSE(error);
        CHECK(from == dialled.local_endpoint());
        check_options(dialled.native_handle());
        check_options(accepted.native_handle());

        acceptor.close();
        tcp::socket late(io);
        net::open(late, where.protocol(), error);
        CHECK(net::connect(late, where) == asio::error::connection_refused);
    }
}
