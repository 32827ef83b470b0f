#include "value/address.hpp"

#include "value/log_line.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <ostream>

namespace cluster {

namespace {

constexpr std::size_t max_host_length = 253;
constexpr std::size_t max_quoted = 80;

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

bool is_name_character(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

bool is_name(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_name_character);
}

bool only_digits_and_dots(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; });
}

/// The text as part of an error message: invisible characters become visible, and a long text is cut.
std::string shortened(std::string_view text) {
    std::string result = "\"" + std::string(text.substr(0, max_quoted));
    for (char& c : result) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return result + (text.size() > max_quoted ? "...\"" : "\"");
}

/// A number of at most `max`, with nothing else around it.
std::optional<std::uint32_t> read_number(std::string_view text, std::uint32_t max, int base = 10) noexcept {
    std::uint32_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, failure] = std::from_chars(text.data(), end, value, base);
    if (failure != std::errc{} || stop != end || value > max) return std::nullopt;
    return value;
}

/// Four decimal numbers. Leading zeros are refused, because some systems read them as octal.
std::optional<std::uint32_t> read_ipv4(std::string_view text) noexcept {
    std::uint32_t value = 0;
    for (int part = 0; part < 4; ++part) {
        const std::size_t dot = part < 3 ? text.find('.') : text.size();
        if (dot == std::string_view::npos) return std::nullopt;
        const std::string_view digits = text.substr(0, dot);
        const auto number = read_number(digits, 255);
        if (!number || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
        value = value << 8 | *number;
        text.remove_prefix(part < 3 ? dot + 1 : dot);
    }
    return value;
}

using Groups = std::array<std::uint16_t, 8>;

/// Groups with colons between them, the last two perhaps written as IPv4. Returns how many there are.
std::optional<std::size_t> read_groups(std::string_view text, Groups& groups) noexcept {
    std::size_t count = 0;
    while (!text.empty()) {
        const std::size_t colon = text.find(':');
        const std::string_view part = text.substr(0, colon);
        if (part.find('.') != std::string_view::npos) {
            const auto ipv4 = read_ipv4(text);
            if (!ipv4 || count + 2 > groups.size()) return std::nullopt;
            groups[count++] = static_cast<std::uint16_t>(*ipv4 >> 16);
            groups[count++] = static_cast<std::uint16_t>(*ipv4 & 0xffff);
            return count;
        }
        const auto group = part.size() <= 4 ? read_number(part, 0xffff, 16) : std::nullopt;
        if (!group || count == groups.size()) return std::nullopt;
        groups[count++] = static_cast<std::uint16_t>(*group);
        if (colon == std::string_view::npos) return count;
        text.remove_prefix(colon + 1);
        if (text.empty()) return std::nullopt;  // ends with a colon
    }
    return count;
}

/// An IPv6 address without a zone.
std::optional<Groups> read_ipv6(std::string_view text) noexcept {
    Groups result{};
    const std::size_t gap = text.find("::");
    if (gap == std::string_view::npos) {
        if (read_groups(text, result) != result.size()) return std::nullopt;
        return result;
    }
    const std::string_view before = text.substr(0, gap);
    Groups end{};
    const auto head = before.find('.') == std::string_view::npos ? read_groups(before, result) : std::nullopt;
    const auto tail = read_groups(text.substr(gap + 2), end);
    if (!head || !tail || *head + *tail >= result.size()) return std::nullopt;  // "::" stands for one group at least
    std::copy_n(end.begin(), *tail, result.end() - static_cast<std::ptrdiff_t>(*tail));
    return result;
}

bool is_ipv6_with_zone(std::string_view text) noexcept {
    const std::size_t percent = text.find('%');
    return read_ipv6(text.substr(0, percent)).has_value() &&
           (percent == std::string_view::npos || is_name(text.substr(percent + 1)));
}

/// What is wrong with the text; empty if it is right.
std::string_view problem_of(std::string_view text, Address& address) {
    const bool bracketed = text.starts_with('[');
    const std::size_t bracket = text.find(']');
    if (bracketed && bracket == std::string_view::npos) return "has no closing bracket; write [ipv6]:port";
    const std::size_t host_end = bracketed ? bracket + 1 : text.find(':');
    if (!bracketed && host_end != text.rfind(':')) {
        return "has several colons; write host:port, with brackets around an IPv6 address, as in [::1]:7000";
    }
    std::string_view host = text.substr(0, host_end);
    if (host.empty()) return "has no host; write host:port, as in 127.0.0.1:7000";
    if (host_end >= text.size()) return "has no port; write host:port, as in 127.0.0.1:7000";
    if (text[host_end] != ':') return "has no colon after the bracket; write [ipv6]:port";

    const std::string_view digits = text.substr(host_end + 1);
    const auto port = read_number(digits, 65535);
    if (digits.empty()) return "has no port after the colon; write a number from 0 to 65535";
    if (!port) return "has a wrong port; write a number from 0 to 65535, digits only";

    if (bracketed) {
        host = host.substr(1, host.size() - 2);
        if (!is_ipv6_with_zone(host)) {
            return "has no IPv6 address between the brackets; write [ipv6]:port, and all else without brackets";
        }
    } else if (!is_name(host)) {
        return "has a wrong host; write an IPv4 address or a name of letters, digits, '-', '.' and '_'";
    } else if (only_digits_and_dots(host) && !read_ipv4(host)) {
        return "has a wrong IPv4 address; write four numbers from 0 to 255 without leading zeros";
    }
    if (host.size() > max_host_length) return "has a host of more than 253 characters; write a shorter one";
    address.host = host;
    address.port = static_cast<std::uint16_t>(*port);
    return {};
}

}  // namespace

namespace detail {

std::string read_address(std::string_view text, Address& address) {
    const std::string_view problem = problem_of(text, address);
    return problem.empty() ? std::string() : shortened(text) + " " + std::string(problem);
}

bool is_wildcard(std::string_view host) noexcept {
    if (const auto ipv4 = read_ipv4(host)) return *ipv4 == 0;
    const auto ipv6 = read_ipv6(host.substr(0, host.find('%')));
    return ipv6 == Groups{};
}

}  // namespace detail

Address Address::parse(std::string_view text) {
    Address address;
    const std::string problem = detail::read_address(text, address);
    if (!problem.empty()) throw std::system_error(make_error_code(errc::invalid_address), "the address " + problem);
    return address;
}

Address Address::parse(std::string_view text, std::error_code& error) {
    Address address;
    error = problem_of(text, address).empty() ? std::error_code() : make_error_code(errc::invalid_address);
    return address;
}

std::string Address::to_string() const {
    const std::string number = std::to_string(port);
    return host.find(':') == std::string::npos ? host + ":" + number : "[" + host + "]:" + number;
}

std::string token(const Address& address) {
    return token(address.to_string());
}

std::ostream& operator<<(std::ostream& out, const Address& address) {
    return out << address.to_string();
}

}  // namespace cluster
