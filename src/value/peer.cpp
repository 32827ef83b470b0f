#include <cluster/peer.hpp>

#include <ostream>

namespace cluster {

std::string PeerId::to_string() const {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

std::ostream& operator<<(std::ostream& out, const PeerId& id) {
    return out << id.to_string();
}

std::string_view to_string(PeerState state) noexcept {
    switch (state) {
        case PeerState::alive: return "alive";
        case PeerState::suspect: return "suspect";
        case PeerState::unreachable: return "unreachable";
        case PeerState::failed: return "failed";
        case PeerState::left: return "left";
        case PeerState::removed: return "removed";
    }
    return "unknown";
}

std::string_view to_string(RemovalReason reason) noexcept {
    switch (reason) {
        case RemovalReason::left: return "left";
        case RemovalReason::failed: return "failed";
        case RemovalReason::replaced: return "replaced";
        case RemovalReason::removed: return "removed";
        case RemovalReason::refused: return "refused";
        case RemovalReason::unreachable: return "unreachable";
    }
    return "unknown";
}

std::ostream& operator<<(std::ostream& out, PeerState state) {
    return out << to_string(state);
}

std::ostream& operator<<(std::ostream& out, RemovalReason reason) {
    return out << to_string(reason);
}

}  // namespace cluster
