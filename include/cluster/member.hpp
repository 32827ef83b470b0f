#pragma once

#include <cluster/export.hpp>
#include <cluster/peer.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cluster {

/// Names one membership: a random UUID (version 4), drawn when it is created. It stays the same however often it is
/// withdrawn and enrolled. Ordered by its bytes from the first to the last.
struct CLUSTER_EXPORT MemberId {
    std::array<std::uint8_t, 16> bytes{};

    /// In the usual form, such as 123e4567-e89b-42d3-a456-426614174000.
    std::string to_string() const;
    /// Reads that form, in either case and of any version. Empty if the text is anything else.
    static std::optional<MemberId> parse(std::string_view text) noexcept;

    friend bool operator==(const MemberId&, const MemberId&) = default;
    friend std::strong_ordering operator<=>(const MemberId& a, const MemberId& b) noexcept {
        return std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) <=> 0;
    }
};

inline std::string to_string(const MemberId& id) {
    return id.to_string();
}

CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, const MemberId& id);

namespace detail {

/// What an owner has written about one of its members. Never changed once it is shared.
struct MemberRecord {
    MemberId id;
    PeerId owner;
    std::vector<std::byte> data;
};

}  // namespace detail

}  // namespace cluster

template <>
struct std::hash<cluster::MemberId> {
    std::size_t operator()(const cluster::MemberId& id) const noexcept {
        std::size_t value;  // the first bytes are random already
        std::memcpy(&value, id.bytes.data(), sizeof value);
        return value;
    }
};
