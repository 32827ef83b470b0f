#include "storage/record.hpp"

#include "storage/crc32c.hpp"
#include "base/packing.hpp"

namespace cluster::storage {

namespace {

constexpr std::size_t record_checksum_at = 48;

}  // namespace

void append_record(std::vector<std::byte>& out, RecordHead& head, std::span<const std::byte> body, std::uint32_t seed) {
    head.length = static_cast<std::uint32_t>(body.size());
    head.body_checksum = crc32c(body, seed);
    const std::size_t begin = out.size();
    out.resize(begin + head.whole());
    std::byte* const at = out.data() + begin;
    store(at, head.length);
    store(at + 4, static_cast<std::uint8_t>(head.type));
    store(at + 5, static_cast<std::uint8_t>(head.last ? 1 : 0));
    store(at + 6, head.kind);
    store(at + 8, head.group);
    store(at + 16, head.id.index);
    store(at + 24, head.id.term);
    store(at + 32, static_cast<std::uint64_t>(head.time.count()));
    store(at + 40, head.previous);
    store(at + 44, head.body_checksum);
    head.checksum = crc32c({at, record_checksum_at}, seed);
    store(at + record_checksum_at, head.checksum);
    std::ranges::copy(body, at + RecordHead::size);
}

std::optional<RecordHead> read_head(std::span<const std::byte> bytes, std::uint32_t seed) {
    if (bytes.size() < RecordHead::size) return std::nullopt;
    const std::byte* const at = bytes.data();
    RecordHead head;
    head.length = load<std::uint32_t>(at);
    const auto type = load<std::uint8_t>(at + 4);
    const auto flags = load<std::uint8_t>(at + 5);
    if (type < 1 || type > static_cast<std::uint8_t>(RecordType::seal) || flags > 1) return std::nullopt;
    if (head.length > bytes.size() - RecordHead::size || head.whole() > bytes.size()) return std::nullopt;
    head.checksum = load<std::uint32_t>(at + record_checksum_at);
    if (load<std::uint32_t>(at + 52) != 0 || crc32c({at, record_checksum_at}, seed) != head.checksum)
        return std::nullopt;
    head.type = static_cast<RecordType>(type);
    head.last = flags == 1;
    head.kind = load<std::uint8_t>(at + 6);
    head.group = load<std::uint64_t>(at + 8);
    head.id = {load<std::uint64_t>(at + 24), load<std::uint64_t>(at + 16)};
    head.time = Duration(static_cast<std::int64_t>(load<std::uint64_t>(at + 32)));
    head.previous = load<std::uint32_t>(at + 40);
    head.body_checksum = load<std::uint32_t>(at + 44);
    return head;
}

std::optional<std::span<const std::byte>> read_body(const RecordHead& head, std::span<const std::byte> bytes,
                                                    std::uint32_t seed) {
    if (bytes.size() < head.whole()) return std::nullopt;
    const std::span<const std::byte> body = bytes.subspan(RecordHead::size, head.length);
    if (crc32c(body, seed) != head.body_checksum) return std::nullopt;
    return body;
}

std::vector<std::byte> pack_state(const consensus::HardState& state) {
    return std::move(Packer().number(state.term).raw(state.vote.bytes).number(state.commit).bytes());
}

std::optional<consensus::HardState> unpack_state(std::span<const std::byte> body) {
    Unpacker in(body);
    consensus::HardState state;
    state.term = in.number<std::uint64_t>();
    state.vote.bytes = in.raw<16>();
    state.commit = in.number<std::uint64_t>();
    if (!in.good() || !in.at_end()) return std::nullopt;
    return state;
}

}  // namespace cluster::storage
