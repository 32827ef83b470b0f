#include "net/sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace cluster::net {

namespace {

using asio::ip::tcp;

/// Bytes that the kernel has not sent delay a control frame.
constexpr int unsent_limit = 256 << 10;

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
    if (error) {
        ::close(made);
        return;
    }
    socket.non_blocking(true, error);  // before anything else, so that Asio asks the system for it only once
}

void set(int made, int option, int value) {
    ::setsockopt(made, IPPROTO_TCP, option, &value, sizeof value);
}

/// A connection that is accepted has the options of the socket that listens.
int make(const tcp& protocol) {
    const int made = ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol());
    if (made < 0) return made;
    set(made, TCP_NODELAY, 1);
#ifdef TCP_NOTSENT_LOWAT
    set(made, TCP_NOTSENT_LOWAT, unsent_limit);
#endif
    return made;
}

}  // namespace

void open(tcp::socket& socket, const tcp& protocol, std::error_code& error) {
    take_over(socket, protocol, make(protocol), error);
}

void open(tcp::acceptor& acceptor, const tcp& protocol, std::error_code& error) {
    take_over(acceptor, protocol, make(protocol), error);
}

std::error_code connect(tcp::socket& socket, const tcp::endpoint& to) {
    // If `to` is on this machine, the second call finds that the first one has succeeded or was refused.
    for (int i = 0; i < 2; ++i) {
        if (::connect(socket.native_handle(), to.data(), static_cast<socklen_t>(to.size())) == 0) return {};
        if (errno != EINPROGRESS && errno != EALREADY) return {errno, asio::error::get_system_category()};
    }
    return asio::error::in_progress;
}

tcp::endpoint accept(tcp::acceptor& acceptor, tcp::socket& socket, std::error_code& error) {
    tcp::endpoint from;
    auto size = static_cast<socklen_t>(from.capacity());
    const int made = ::accept4(acceptor.native_handle(), from.data(), &size, SOCK_CLOEXEC);
    take_over(socket, from.protocol(), made, error);
    return from;
}

}  // namespace cluster::net
