#include "wire/parser.hpp"

#include "wire/codec.hpp"

#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace cluster::wire {

namespace {

using core::FrameHeader;

std::uint64_t read_header(const std::byte* from) {
    std::uint64_t header;
    std::memcpy(&header, from, sizeof header);
    return header;
}

/// How many bytes of `bytes` are complete frames with the header of the first, except for the length. Nothing else is
/// done for each small message on its own, so the header is compared as one number.
std::size_t length_of_run(std::span<const std::byte> bytes, std::uint64_t& messages) {
    const std::uint64_t alike = read_header(bytes.data()) >> 32;
    std::size_t at = 0;
    while (bytes.size() - at >= FrameHeader::size) {
        const std::uint64_t header = read_header(bytes.data() + at);
        const std::uint64_t length = header & 0xffffffff;
        if (header >> 32 != alike || length > core::max_chunk) break;
        if (length > bytes.size() - at - FrameHeader::size) break;
        at += FrameHeader::size + static_cast<std::size_t>(length);
        ++messages;
    }
    return at;
}

}  // namespace

Parser::Item Parser::next(const detail::BlockRef& block, std::size_t& begin, std::size_t end) {
    const std::byte* const data = block->data();
    while (end - begin >= FrameHeader::size) {
        const FrameHeader header = FrameHeader::read(data + begin);
        if (const auto rule = check(header, greeted_)) return *rule;
        const std::size_t size = FrameHeader::size + header.length;
        if (end - begin < size) return Incomplete{size - (end - begin)};

        if (header.kind == core::FrameKind::data) {
            core::DataRun run{.block = block, .frames = {data + begin, size}, .messages = 1, .channel = header.channel};
            run.more = (header.flags & core::flag_more) != 0;
            if (!run.more && greeted_) {
                run.messages = 0;
                run.frames = {data + begin, length_of_run({data + begin, end - begin}, run.messages)};
            }
            begin += run.frames.size();
            return run;
        }
        if (known(header.kind)) {
            Item item(std::in_place_type<core::Control>);
            const std::span body(data + begin + FrameHeader::size, header.length);
            if (const auto rule = decode(header, body, std::get<core::Control>(item))) return *rule;
            if (header.kind == core::FrameKind::hello) greeted_ = true;
            begin += size;
            return item;
        }
        begin += size;
    }
    return Incomplete{};
}

}  // namespace cluster::wire
