#include "base/siphash.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

using namespace cluster;

namespace {

std::array<std::uint8_t, 16> counting_key(std::uint8_t from) {
    std::array<std::uint8_t, 16> key;
    std::iota(key.begin(), key.end(), from);
    return key;
}

std::vector<std::uint8_t> counting(std::size_t size) {
    std::vector<std::uint8_t> message(size);
    std::iota(message.begin(), message.end(), std::uint8_t{0});
    return message;
}

std::string hex(const std::array<std::uint8_t, 16>& bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

}  // namespace

TEST_CASE("SipHash-2-4-128 gives the known results for messages of all lengths modulo its word") {
    const struct {
        std::size_t size;
        const char* hash;
    } vectors[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},   {1, "da87c1d86b99af44347659119b22fc45"},
        {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},   {8, "3b62a9ba6258f5610f83e264f31497b4"},
        {9, "264499060ad9baabc47f8b02bb6d71ed"},   {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
        {16, "6ee2a4ca67b054bbfd3315bf85230577"},  {33, "77c6077146f01c32b6b69d5f4ea9ffcf"},
        {63, "5150d1772f50834a503e069a973fbd7c"},  {64, "1eaf077dc0d4cd3f8cad4d383658a74b"},
        {255, "1c9bb67528165f8e468248e3799b0eab"}, {256, "67a00304d3834c4612eaee7b5f579acb"},
        {300, "ce005a406d14b36d5386b5f7a7e1b311"},
    };
    for (const auto& vector : vectors) {
        CAPTURE(vector.size);
        CHECK(hex(siphash128(counting_key(0), counting(vector.size))) == vector.hash);
    }
}

TEST_CASE("every byte of the key and of the message changes the hash") {
    const auto key = counting_key(0);
    const auto message = counting(33);
    const auto hash = siphash128(key, message);
    for (std::size_t i = 0; i < key.size(); ++i) {
        CAPTURE(i);
        auto other = key;
        other[i] ^= 0x80;
        CHECK(siphash128(other, message) != hash);
    }
    for (std::size_t i = 0; i < message.size(); ++i) {
        CAPTURE(i);
        auto other = message;
        other[i] ^= 0x80;
        CHECK(siphash128(key, other) != hash);
    }
}
