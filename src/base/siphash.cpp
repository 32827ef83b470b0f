#include "base/siphash.hpp"

#include <bit>
#include <cstddef>

namespace cluster {

namespace {

struct State {
    std::uint64_t v0, v1, v2, v3;

    void round() noexcept {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void absorb(std::uint64_t word) noexcept {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
    std::uint64_t squeeze() noexcept {
        for (int i = 0; i < 4; ++i) round();
        return v0 ^ v1 ^ v2 ^ v3;
    }
};

std::uint64_t load(const std::uint8_t* from, std::size_t count = 8) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{from[i]} << (8 * i);
    return value;
}

}  // namespace

std::array<std::uint8_t, 16> siphash128(const std::array<std::uint8_t, 16>& key,
                                        std::span<const std::uint8_t> message) noexcept {
    const std::uint64_t k0 = load(key.data());
    const std::uint64_t k1 = load(key.data() + 8);
    State state{0x736f6d6570736575 ^ k0, 0x646f72616e646f6d ^ k1 ^ 0xee, 0x6c7967656e657261 ^ k0,
                0x7465646279746573 ^ k1};
    const std::size_t whole = message.size() / 8 * 8;
    for (std::size_t at = 0; at < whole; at += 8) state.absorb(load(message.data() + at));
    state.absorb(load(message.data() + whole, message.size() - whole) | std::uint64_t{message.size() & 0xff} << 56);

    std::array<std::uint8_t, 16> out{};
    const auto store = [&](std::size_t at, std::uint64_t word) {
        for (std::size_t i = 0; i < 8; ++i) out[at + i] = static_cast<std::uint8_t>(word >> (8 * i));
    };
    state.v2 ^= 0xee;
    store(0, state.squeeze());
    state.v1 ^= 0xdd;
    store(8, state.squeeze());
    return out;
}

}  // namespace cluster
