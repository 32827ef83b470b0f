#include "storage/segment.hpp"

#include "storage/crc32c.hpp"
#include "base/packing.hpp"

namespace cluster::storage {

namespace {

constexpr std::string_view segment_magic = "CLUSTLOG";
constexpr std::uint32_t segment_version = 1;
constexpr std::size_t segment_checksum_at = SegmentHead::size - 4;

}  // namespace

std::array<std::byte, SegmentHead::size> pack(const SegmentHead& head) {
    Packer out;
    out.raw(std::as_bytes(std::span(segment_magic))).number(segment_version).number(std::uint32_t{0});
    out.number(head.serial).number(head.bytes).raw(head.disk.bytes);
    std::array<std::byte, SegmentHead::size> bytes{};
    std::ranges::copy(out.bytes(), bytes.begin());
    store(bytes.data() + segment_checksum_at, crc32c(std::span(bytes).first(segment_checksum_at)));
    return bytes;
}

std::optional<SegmentHead> unpack_segment_head(std::span<const std::byte> bytes) {
    if (bytes.size() < SegmentHead::size) return std::nullopt;
    Unpacker in(bytes.subspan(segment_magic.size() + 8));
    SegmentHead head;
    head.serial = in.number<std::uint64_t>();
    head.bytes = in.number<std::uint64_t>();
    head.disk.bytes = in.raw<16>();
    if (!std::ranges::equal(pack(head), bytes.first(SegmentHead::size))) return std::nullopt;
    return head;
}

std::uint32_t seed_of(const SegmentHead& head) {
    return load<std::uint32_t>(pack(head).data() + segment_checksum_at);
}

std::string segment_name(std::uint64_t serial) {
    std::string name(16, '0');
    for (std::size_t i = 16; i-- > 0; serial >>= 4) name[i] = "0123456789abcdef"[serial & 15];
    return name;
}

std::optional<std::uint64_t> serial_of(std::string_view name) {
    std::uint64_t serial = 0;
    for (const char c : name) {
        const std::size_t digit = std::string_view("0123456789abcdef").find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        serial = serial << 4 | digit;
    }
    if (name.size() != 16) return std::nullopt;
    return serial;
}

}  // namespace cluster::storage
