#include "net/listener.hpp"

#include "net/resolver.hpp"
#include "net/sockets.hpp"

#include <system_error>

namespace cluster::net {

namespace {

using asio::ip::tcp;

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

}  // namespace cluster::net
