#pragma once

#include <cluster/export.hpp>

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <system_error>

namespace cluster {

/// Where a node can be dialled: a host and a TCP port. A value; copy it freely.
///
/// The host is an IPv4 address, an IPv6 address or a name of at most 253 characters. Names are resolved when they are
/// dialled, each time anew. A link-local IPv6 address may have a zone, `fe80::1%eth0`, which means something on this
/// host only. Without a zone it is dialled over each interface that has such an address, 8 at most.
struct CLUSTER_EXPORT Address {
    std::string host;
    std::uint16_t port = 0;

    /// Reads `127.0.0.1:7000`, `[::1]:7000` or `example.org:7000`. Port 0 is allowed and only makes sense for
    /// listening: the system then picks one. Throws `std::system_error` with `errc::invalid_address`.
    static Address parse(std::string_view text);

    /// The same without throwing; on failure `error` is `errc::invalid_address` and the result is empty.
    static Address parse(std::string_view text, std::error_code& error);

    /// The text that `parse` reads.
    std::string to_string() const;

    friend bool operator==(const Address&, const Address&) = default;
    friend auto operator<=>(const Address&, const Address&) = default;
};

inline std::string to_string(const Address& address) {
    return address.to_string();
}

CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, const Address& address);

}  // namespace cluster
