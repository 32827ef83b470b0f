#include "relay.hpp"

#include <array>
#include <cerrno>
#include <list>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

int check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

sockaddr_in address(const char* host, std::uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    ::inet_pton(AF_INET, host, &result.sin_addr);
    return result;
}

/// One direction of a connection, and what has been read and not yet written.
struct Flow {
    int from = -1;
    int to = -1;
    std::array<char, 16384> bytes;
    std::size_t begin = 0;
    std::size_t end = 0;
    bool over = false;

    /// How many bytes it has moved; -1 when the connection is broken.
    long move() {
        if (begin == end && !over) {
            const ssize_t count = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
            if (count < 0) return errno == EAGAIN ? 0 : -1;
            begin = 0;
            end = static_cast<std::size_t>(count);
            if (count == 0) {
                over = true;
                ::shutdown(to, SHUT_WR);
            }
        }
        if (begin == end) return 0;
        const ssize_t count = ::send(to, bytes.data() + begin, end - begin, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) return errno == EAGAIN ? 0 : -1;
        begin += static_cast<std::size_t>(count);
        return count;
    }
    pollfd wanted() const {
        if (begin != end) return {to, POLLOUT, 0};
        return {over ? -1 : from, POLLIN, 0};
    }
};

/// One connection that was accepted and the one that continues it.
struct Link {
    Flow there;
    Flow back;
    std::size_t carried = 0;

    Link(int accepted, int dialled) {
        there.from = back.to = accepted;
        there.to = back.from = dialled;
    }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link() {
        ::close(there.from);
        ::close(there.to);
    }

    /// False when it is at its end.
    bool move() {
        const long one = there.move();
        const long other = back.move();
        if (one < 0 || other < 0) return false;
        carried += static_cast<std::size_t>(one + other);
        return !(there.over && back.over);
    }
    /// Both ends see a reset.
    void reset() {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(there.from, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        ::setsockopt(there.to, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
};

void no_delay(int socket) {
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void accept(int listener, std::uint16_t port, std::list<Link>& links) {
    const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) return;
    const int dialled = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in target = address("127.0.0.2", port);
    if (::connect(dialled, reinterpret_cast<const sockaddr*>(&target), sizeof target) < 0) {
        ::close(dialled);
        ::close(accepted);
        return;
    }
    no_delay(accepted);
    no_delay(dialled);
    links.emplace_back(accepted, dialled);
}

}  // namespace

Relay::Relay() {
    listener_ = check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
    sockaddr_in own = address("127.0.0.1", 0);
    socklen_t size = sizeof own;
    check(::bind(listener_, reinterpret_cast<const sockaddr*>(&own), size), "bind");
    check(::listen(listener_, 16), "listen");
    check(::getsockname(listener_, reinterpret_cast<sockaddr*>(&own), &size), "getsockname");
    port_ = ntohs(own.sin_port);
    thread_ = std::thread([this] { run(); });
}

Relay::~Relay() {
    stopped_ = true;
    thread_.join();
    ::close(listener_);
}

void Relay::cut_after(std::size_t bytes) {
    cut_after_ = bytes;
}

void Relay::run() {
    constexpr int look_up_milliseconds = 10;  // for `stopped_` and `cut_after_`, which nothing announces
    std::list<Link> links;
    std::size_t cut_after = 0;
    std::vector<pollfd> wanted;
    while (!stopped_) {
        wanted.assign(1, {listener_, POLLIN, 0});
        for (const Link& link : links) {
            wanted.push_back(link.there.wanted());
            wanted.push_back(link.back.wanted());
        }
        ::poll(wanted.data(), wanted.size(), look_up_milliseconds);
        if (const std::size_t asked = cut_after_.exchange(0); asked != 0) {
            cut_after = asked;
            for (Link& link : links) link.carried = 0;
        }
        for (auto link = links.begin(); link != links.end();) {
            bool open = link->move();
            if (open && cut_after != 0 && link->carried >= cut_after) {
                cut_after = 0;
                link->reset();
                cut_at_ = Clock::now();
                open = false;
            }
            link = open ? std::next(link) : links.erase(link);
        }
        accept(listener_, port_, links);
    }
}
