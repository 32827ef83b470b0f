#include "net/listener.hpp"

#include "core/frame.hpp"
#include "net/addresses.hpp"

#include <string>
#include <system_error>

namespace cluster::net {

namespace {

using asio::ip::tcp;

std::vector<tcp::endpoint> endpoints_of(asio::io_context& io, const Address& where) {
    if (const auto numeric = to_endpoint(where)) return {*numeric};
    tcp::resolver resolver(io);
    std::vector<tcp::endpoint> found;
    for (const auto& entry : resolver.resolve(where.host, std::to_string(where.port), tcp::resolver::numeric_service)) {
        found.push_back(entry.endpoint());
    }
    return found;
}

tcp::acceptor open(asio::io_context& io, const tcp::endpoint& endpoint) {
    tcp::acceptor acceptor(io);
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    if (endpoint.address().is_v6() && endpoint.address().is_unspecified()) {
        acceptor.set_option(asio::ip::v6_only(false));
    }
    acceptor.bind(endpoint);
    acceptor.listen();
    acceptor.non_blocking(true);
    return acceptor;
}

}  // namespace

tcp::acceptor listen(asio::io_context& io, const Address& where) {
    std::error_code error = make_error_code(errc::unresolvable_host);
    try {
        for (const tcp::endpoint& endpoint : endpoints_of(io, where)) {
            try {
                return open(io, endpoint);
            } catch (const std::system_error& failure) {
                error = failure.code();
            }
        }
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
    const std::error_code ours = error.category() == error_category() ? error : make_error_code(to_errc(error));
    throw std::system_error(ours, "listening on " + where.to_string() + " (" + error.message() + ")");
}

std::vector<Address> addresses_of(const tcp::acceptor& acceptor) {
    const tcp::endpoint local = acceptor.local_endpoint();
    if (!local.address().is_unspecified()) return {to_address(local)};
    return interface_addresses(local.port(), local.address().is_v4(), core::max_addresses);
}

}  // namespace cluster::net
