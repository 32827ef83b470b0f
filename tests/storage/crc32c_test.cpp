#include "storage/crc32c.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::storage;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

}  // namespace

TEST_CASE("storage: crc32c gives the known results, by tables and by what the processor has") {
    for (const auto function : {&crc32c, &crc32c_by_table}) {
        CHECK(function({}, 0) == 0);
        CHECK(function(bytes_of("123456789"), 0) == 0xe3069283);
        CHECK(function(bytes_of("a"), 0) == 0xc1d04330);
        // RFC 3720, appendix B.4.
        CHECK(function(std::vector<std::byte>(32), 0) == 0x8a9136aa);
        CHECK(function(std::vector<std::byte>(32, std::byte{0xff}), 0) == 0x62a8ab43);
        std::vector<std::byte> counting;
        for (unsigned i = 0; i < 32; ++i) counting.push_back(std::byte(i));
        CHECK(function(counting, 0) == 0x46dd794e);
        std::ranges::reverse(counting);
        CHECK(function(counting, 0) == 0x113fdb5c);
    }
}

TEST_CASE("storage: crc32c is the same by tables and by instruction, for every length and cut") {
    Dice dice(1);
    std::vector<std::byte> bytes(300);
    for (std::byte& each : bytes) each = std::byte(dice.below(256));
    for (std::size_t length = 0; length <= bytes.size(); ++length) {
        const auto part = std::span<const std::byte>(bytes).first(length);
        const std::size_t cut = dice.below(length + 1);
        const std::uint32_t whole = crc32c_by_table(part);
        REQUIRE(crc32c(part) == whole);
        REQUIRE(crc32c(part.subspan(cut), crc32c(part.first(cut))) == whole);
        REQUIRE(crc32c_by_table(part.subspan(cut), crc32c_by_table(part.first(cut))) == whole);
    }
    MESSAGE("by instruction: " << crc32c_has_instruction());
}
