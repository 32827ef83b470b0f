#include <cluster/member.hpp>

#include <ostream>

namespace cluster {

namespace {

constexpr std::string_view digits = "0123456789abcdef";

/// Whether the text has a dash before this byte.
constexpr bool dash_before(std::size_t index) {
    return index == 4 || index == 6 || index == 8 || index == 10;
}

/// The value of a hexadecimal digit, or 16.
unsigned value_of(char c) noexcept {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    const std::size_t at = digits.find(c);
    return at == std::string_view::npos ? 16U : static_cast<unsigned>(at);
}

}  // namespace

std::string MemberId::to_string() const {
    std::string text;
    text.reserve(2 * bytes.size() + 4);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (dash_before(i)) text += '-';
        text += digits[bytes[i] >> 4];
        text += digits[bytes[i] & 0xf];
    }
    return text;
}

std::optional<MemberId> MemberId::parse(std::string_view text) noexcept {
    MemberId id;
    if (text.size() != 2 * id.bytes.size() + 4) return std::nullopt;
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        if (dash_before(i) && text[at++] != '-') return std::nullopt;
        const unsigned high = value_of(text[at++]);
        const unsigned low = value_of(text[at++]);
        if (high > 15 || low > 15) return std::nullopt;
        id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return id;
}

std::ostream& operator<<(std::ostream& out, const MemberId& id) {
    return out << id.to_string();
}

}  // namespace cluster
