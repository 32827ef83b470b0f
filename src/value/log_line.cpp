#include "value/log_line.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace cluster {

namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
    return static_cast<unsigned char>(text[at]);
}

/// A character of UTF-8 at the beginning of `text`: how many bytes it takes, and its number. 0 bytes: there is none.
struct Character {
    std::size_t size = 0;
    char32_t code = 0;
};

Character read_character(std::string_view text) {
    const unsigned first = byte_at(text, 0);
    if (first < 0x80) return {1, first};
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
    if (first < 0xc2 || first > 0xf4 || text.size() < size) return {};
    char32_t code = first & (0x7fU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        const unsigned next = byte_at(text, i);
        if ((next & 0xc0U) != 0x80) return {};
        code = code << 6 | (next & 0x3fU);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < least[size] || code > 0x10ffff || surrogate) return {};
    return {size, code};
}

bool printable(char32_t code) {
    const bool control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
    const bool ends_line = code == 0x2028 || code == 0x2029;
    const bool turns = code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                       (code >= 0x2066 && code <= 0x2069);
    return !control && !ends_line && !turns;
}

void append_escape(std::string& out, unsigned byte) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += "\\x";
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

}  // namespace

std::string escaped(std::string_view text, std::string_view also) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const Character character = read_character(text);
        const std::size_t size = std::max<std::size_t>(character.size, 1);
        if (character.size == 0 || !printable(character.code)) {
            for (std::size_t i = 0; i < size; ++i) append_escape(out, byte_at(text, i));
        } else {
            if (also.find(text[0]) != std::string_view::npos) out += '\\';
            out += text.substr(0, size);
        }
        text.remove_prefix(size);
    }
    return out;
}

std::string quoted(std::string_view text) {
    return '"' + escaped(text, "\"\\") + '"';
}

std::string token(std::string_view text) {
    const bool harmless = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("-_.:%[]/+@").find(c) != std::string_view::npos;
    });
    return harmless ? std::string(text) : quoted(text);
}

}  // namespace cluster
