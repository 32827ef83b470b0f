#pragma once

#include <cluster/address.hpp>
#include <cluster/export.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

namespace cluster {

/// Names one run of one node: 128 random bits, drawn when the node starts. A restarted process is a new peer.
/// Ordered by its bytes from the first to the last.
struct CLUSTER_EXPORT PeerId {
    std::array<std::uint8_t, 16> bytes{};

    /// 32 hexadecimal digits.
    std::string to_string() const;

    friend bool operator==(const PeerId&, const PeerId&) = default;
    friend std::strong_ordering operator<=>(const PeerId& a, const PeerId& b) noexcept {
        const auto first = a.word(0) <=> b.word(0);
        return first != 0 ? first : a.word(8) <=> b.word(8);
    }

private:
    /// Eight bytes as a number that is ordered as they are: ids are compared at every turn.
    std::uint64_t word(std::size_t at) const noexcept {
        std::uint64_t value = 0;
        for (std::size_t i = at; i < at + 8; ++i) value = value << 8 | bytes[i];
        return value;
    }
};

inline std::string to_string(const PeerId& id) {
    return id.to_string();
}

CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, const PeerId& id);

/// Small facts a node publishes about itself. At most 32, keys up to 64 bytes, values up to 256.
using Tags = std::map<std::string, std::string, std::less<>>;

/// What this node thinks of a peer. `alive` and `suspect` peers are in view.
enum class PeerState : std::uint8_t {
    /// Linked, and heard from lately.
    alive,
    /// It owes an answer, or its link is lost and is being dialled again. Messages to it are queued.
    suspect,
    /// Others reach it, but this node cannot. It is dialled again, and may return.
    unreachable,
    /// This node has concluded for itself that it is gone. It is dialled again, and may return.
    failed,
    /// It said goodbye. It will not return under this id.
    left,
    /// This node parted from it with `Node::remove`. It stays out until `Node::add`.
    removed,
};

/// Why a peer went out of view.
enum class RemovalReason : std::uint8_t {
    /// It closed gracefully.
    left,
    /// It closed its link and refuses wherever it was reached before, or it was silent for `Options::suspicion`. No
    /// other peer that was asked had heard from it.
    failed,
    /// A new session took the place of the old one, which nobody could resume any more. What the old one still held is
    /// given up.
    replaced,
    /// This node parted from it with `Node::remove`.
    removed,
    /// It parted from this node with `Node::remove`.
    refused,
    /// It was silent for `Options::suspicion`, but others hear from it: the network between us is at fault.
    unreachable,
};

/// One peer as it was at one moment. A value.
struct Peer {
    PeerId id;
    /// `Options::name` of that node. Nothing keeps two nodes from having the same.
    std::string name;
    /// Where we last reached it, or else where it says it can be dialled. If it dialled us and has published no address
    /// that can be dialled from here, the host is empty and the port is 0. A node on a loopback address of another host
    /// is such a peer.
    Address address;
    Tags tags;
    PeerState state = PeerState::alive;
    /// For a peer out of view: how this node's last attempt to reach it ended, or `no_address`. Empty if it is in view,
    /// was removed here, or has not been tried yet.
    std::error_code why;
    /// Broadcasts do not go to it; see `Options::observer`. Known once it has been in view.
    bool observer = false;

    friend bool operator==(const Peer&, const Peer&) = default;
};

/// Asks `Node::peers` for the peers out of view, too.
struct Everybody {};
inline constexpr Everybody everybody{};

CLUSTER_EXPORT std::string_view to_string(PeerState state) noexcept;
CLUSTER_EXPORT std::string_view to_string(RemovalReason reason) noexcept;
CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, PeerState state);
CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, RemovalReason reason);

}  // namespace cluster

template <>
struct std::hash<cluster::PeerId> {
    std::size_t operator()(const cluster::PeerId& id) const noexcept {
        std::size_t value;  // the bytes are random already
        std::memcpy(&value, id.bytes.data(), sizeof value);
        return value;
    }
};
