#include "net/addresses.hpp"

#include <algorithm>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

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
        case std::errc::invalid_argument:  // a zone that this host does not have, or none if one is needed
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

namespace {

struct Found {
    asio::ip::address host;  ///< without a zone
    std::string interface;
    int rank = 0;  ///< how unlikely it is that others can reach it
};

bool is_bridge(const char* interface) {
    return ::access(("/sys/class/net/" + std::string(interface) + "/bridge").c_str(), F_OK) == 0;
}

std::optional<asio::ip::address> address_of(const sockaddr* socket_address) {
    if (socket_address == nullptr) return std::nullopt;
    if (socket_address->sa_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, socket_address, sizeof in);
        return asio::ip::address_v4(ntohl(in.sin_addr.s_addr));
    }
    if (socket_address->sa_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, socket_address, sizeof in);
        asio::ip::address_v6::bytes_type bytes;
        std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
        return asio::ip::address_v6(bytes);
    }
    return std::nullopt;
}

}  // namespace

std::optional<Interfaces> interfaces(std::uint16_t port, bool v4_only) {
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return std::nullopt;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
    std::vector<Found> found;
    for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
        const auto host = (each->ifa_flags & IFF_UP) == 0 ? std::nullopt : address_of(each->ifa_addr);
        if (!host) continue;
        found.push_back({*host, each->ifa_name, host->is_loopback() ? 2 : is_bridge(each->ifa_name) ? 1 : 0});
    }
    std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.rank < b.rank; });
    Interfaces result;
    for (const Found& each : found) {
        const bool has_zone = each.host.is_v6() && each.host.to_v6().is_link_local();
        if (has_zone && result.zones.size() < Interfaces::most_zones) result.zones.push_back(each.interface);
        if (each.host.is_v4() || !v4_only) result.addresses.push_back({each.host.to_string(), port});
    }
    if (result.addresses.empty()) result.addresses.push_back({"127.0.0.1", port});
    return result;
}

}  // namespace cluster::net
