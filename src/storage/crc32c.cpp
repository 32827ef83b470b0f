#include "storage/crc32c.hpp"

#include <array>
#include <cstring>

namespace cluster::storage {

namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// `tables[k][b]`: what the byte `b` does to the checksum when `k` bytes follow it.
constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
        tables[0][byte] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t crc = tables[k - 1][byte];
            tables[k][byte] = (crc >> 8) ^ tables[0][crc & 255];
        }
    }
    return tables;
}

constexpr Tables tables = make_tables();

std::uint32_t at(std::span<const std::byte> bytes, std::size_t i) {
    return std::to_integer<std::uint32_t>(bytes[i]);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::span<const std::byte> bytes,
                                                               std::uint32_t before) noexcept {
    unsigned long long crc = ~before;
    std::size_t i = 0;
    for (; bytes.size() - i >= 8; i += 8) {
        unsigned long long word;
        std::memcpy(&word, bytes.data() + i, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    auto rest = static_cast<std::uint32_t>(crc);
    for (; i < bytes.size(); ++i) rest = __builtin_ia32_crc32qi(rest, std::to_integer<unsigned char>(bytes[i]));
    return ~rest;
}
#endif

}  // namespace

bool crc32c_has_instruction() noexcept {
#if defined(__x86_64__)
    static const bool has = __builtin_cpu_supports("sse4.2") != 0;
    return has;
#else
    return false;
#endif
}

std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
    std::uint32_t crc = ~before;
    std::size_t i = 0;
    for (; bytes.size() - i >= 8; i += 8) {
        crc ^= at(bytes, i) | at(bytes, i + 1) << 8 | at(bytes, i + 2) << 16 | at(bytes, i + 3) << 24;
        crc = tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^ tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24] ^
              tables[3][at(bytes, i + 4)] ^ tables[2][at(bytes, i + 5)] ^ tables[1][at(bytes, i + 6)] ^
              tables[0][at(bytes, i + 7)];
    }
    for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ tables[0][(crc ^ at(bytes, i)) & 255];
    return ~crc;
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
#if defined(__x86_64__)
    if (crc32c_has_instruction()) return by_instruction(bytes, before);
#endif
    return crc32c_by_table(bytes, before);
}

}  // namespace cluster::storage
