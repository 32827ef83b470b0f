#include "net/sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace cluster::net {

namespace {

using asio::ip::tcp;

/// `made`, or a copy of it with a number that no standard stream has. Negative if that fails.
int above_standard_streams(int made) {
    if (made < 0 || made > STDERR_FILENO) return made;
    const int moved = ::fcntl(made, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int why = errno;
    ::close(made);
    errno = why;
    return moved;
}

template <class Socket>
void take_over(Socket& socket, const tcp& protocol, int made, std::error_code& error) {
    made = above_standard_streams(made);
    error = made < 0 ? std::error_code(errno, asio::error::get_system_category()) : std::error_code();
    if (error) return;
    socket.assign(protocol, made, error);
    if (error) ::close(made);
}

int make(const tcp& protocol) {
    return ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol());
}

}  // namespace

void open(tcp::socket& socket, const tcp& protocol, std::error_code& error) {
    take_over(socket, protocol, make(protocol), error);
}

void open(tcp::acceptor& acceptor, const tcp& protocol, std::error_code& error) {
    take_over(acceptor, protocol, make(protocol), error);
}

void accept(tcp::acceptor& acceptor, tcp::socket& socket, std::error_code& error) {
    sockaddr_in6 from{};
    socklen_t size = sizeof from;
    const int made =
        ::accept4(acceptor.native_handle(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    take_over(socket, from.sin6_family == AF_INET6 ? tcp::v6() : tcp::v4(), made, error);
}

}  // namespace cluster::net
