#include "net/addresses.hpp"

#include <algorithm>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>

namespace cluster::net {

errc to_errc(const std::error_code& error) noexcept {
    if (error.category() == error_category()) return static_cast<errc>(error.value());
    if (error.category() == asio::error::get_netdb_category() ||
        error.category() == asio::error::get_addrinfo_category()) {
        return errc::unresolvable_host;
    }
    if (error.category() == asio::error::get_misc_category()) return errc::connection_lost;  // end of stream
    if (error.category() != asio::error::get_system_category() && error.category() != std::generic_category() &&
        error.category() != std::system_category()) {
        return errc::system_failure;
    }
    switch (static_cast<std::errc>(error.value())) {  // both are what `errno` says
        case std::errc::connection_refused: return errc::connection_refused;
        case std::errc::host_unreachable:
        case std::errc::network_unreachable:
        case std::errc::network_down:
        case std::errc::address_family_not_supported: return errc::host_unreachable;
        case std::errc::timed_out: return errc::timed_out;
        case std::errc::address_in_use: return errc::address_in_use;
        case std::errc::address_not_available: return errc::address_not_available;
        case std::errc::permission_denied:
        case std::errc::operation_not_permitted: return errc::permission_denied;
        case std::errc::too_many_files_open:
        case std::errc::too_many_files_open_in_system:
        case std::errc::no_buffer_space:
        case std::errc::not_enough_memory: return errc::out_of_descriptors;
        case std::errc::connection_reset:
        case std::errc::connection_aborted:
        case std::errc::broken_pipe:
        case std::errc::not_connected: return errc::connection_lost;
        default: return errc::system_failure;
    }
}

Address to_address(const asio::ip::tcp::endpoint& endpoint) {
    asio::ip::address host = endpoint.address();
    if (host.is_v6() && host.to_v6().is_v4_mapped()) {
        host = asio::ip::make_address_v4(asio::ip::v4_mapped, host.to_v6());
    }
    return {host.to_string(), endpoint.port()};
}

std::optional<asio::ip::tcp::endpoint> to_endpoint(const Address& address) {
    std::error_code error;
    const asio::ip::address host = asio::ip::make_address(address.host, error);
    if (error) return std::nullopt;
    return asio::ip::tcp::endpoint(host, address.port);
}

std::vector<Address> interface_addresses(std::uint16_t port, bool v4_only, std::size_t most) {
    ifaddrs* first = nullptr;
    std::vector<asio::ip::address> found;
    if (::getifaddrs(&first) == 0) {
        const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
        for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
            if (each->ifa_addr == nullptr || (each->ifa_flags & IFF_UP) == 0) continue;
            if (each->ifa_addr->sa_family == AF_INET) {
                sockaddr_in in{};
                std::memcpy(&in, each->ifa_addr, sizeof in);
                found.push_back(asio::ip::address_v4(ntohl(in.sin_addr.s_addr)));
            } else if (each->ifa_addr->sa_family == AF_INET6 && !v4_only) {
                sockaddr_in6 in{};
                std::memcpy(&in, each->ifa_addr, sizeof in);
                asio::ip::address_v6::bytes_type bytes;
                std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
                const asio::ip::address_v6 address(bytes);
                if (!address.is_link_local()) found.push_back(address);
            }
        }
    }
    if (found.empty()) found.push_back(asio::ip::address_v4::loopback());
    std::stable_partition(found.begin(), found.end(), [](const auto& address) { return !address.is_loopback(); });
    found.resize(std::min(found.size(), most));
    std::vector<Address> addresses;
    for (const asio::ip::address& each : found) addresses.push_back({each.to_string(), port});
    return addresses;
}

}  // namespace cluster::net
