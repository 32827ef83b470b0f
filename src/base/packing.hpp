#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Numbers as bytes, little endian.

namespace cluster {

template <std::unsigned_integral T>
void store(std::byte* at, T value) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

template <std::unsigned_integral T>
T load(const std::byte* at) noexcept {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value | static_cast<T>(static_cast<T>(std::to_integer<T>(at[i])) << (8 * i)));
    }
    return value;
}

/// Appends to bytes.
class Packer {
public:
    template <std::unsigned_integral T>
    Packer& number(T value) {
        bytes_.resize(bytes_.size() + sizeof(T));
        store(bytes_.data() + bytes_.size() - sizeof(T), value);
        return *this;
    }
    Packer& raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    template <std::size_t N>
    Packer& raw(const std::array<std::uint8_t, N>& bytes) {
        return raw(std::as_bytes(std::span(bytes)));
    }
    /// With its length before it, which is at most 65535.
    Packer& text(std::string_view text) {
        number(static_cast<std::uint16_t>(text.size()));
        return raw(std::as_bytes(std::span(text)));
    }
    std::vector<std::byte>& bytes() noexcept { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

/// Takes from bytes. What is not there reads as 0 or nothing, and `good` is false from then on.
class Unpacker {
public:
    explicit Unpacker(std::span<const std::byte> bytes) : rest_(bytes) {}

    template <std::unsigned_integral T>
    T number() {
        const std::span<const std::byte> bytes = take(sizeof(T));
        return good_ ? load<T>(bytes.data()) : T{0};
    }
    template <std::size_t N>
    std::array<std::uint8_t, N> raw() {
        std::array<std::uint8_t, N> out{};
        const std::span<const std::byte> bytes = take(N);
        std::ranges::transform(bytes, out.begin(), [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
        return out;
    }
    std::string text() {
        const std::span<const std::byte> bytes = take(number<std::uint16_t>());
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    std::span<const std::byte> take(std::size_t count) {
        good_ = good_ && count <= rest_.size();
        if (!good_) return {};
        const std::span<const std::byte> bytes = rest_.first(count);
        rest_ = rest_.subspan(count);
        return bytes;
    }
    std::span<const std::byte> rest() { return take(rest_.size()); }
    bool good() const noexcept { return good_; }
    bool at_end() const noexcept { return rest_.empty(); }

private:
    std::span<const std::byte> rest_;
    bool good_ = true;
};

}  // namespace cluster
