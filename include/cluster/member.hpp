#pragma once

#include <cluster/export.hpp>
#include <cluster/peer.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cluster {

struct CLUSTER_EXPORT MemberId {
    std::array<std::uint8_t, 16> bytes{};

    friend bool operator==(const MemberId&, const MemberId&) = default;
    friend auto operator<=>(const MemberId&, const MemberId&) = default;
};

namespace detail {

struct MemberRecord {
    MemberId id;
    PeerId owner;
    std::vector<std::byte> data;
};

}  // namespace detail

}  // namespace cluster
