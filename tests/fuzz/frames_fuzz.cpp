#include "fuzz/input.hpp"
#include "wire/codec.hpp"
#include "wire/parser.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <variant>
#include <vector>

// What a stranger may send, to parser and decoder: what decodes must encode to what it was decoded from, and the frames
// must be the same when their bytes come one by one.

namespace cluster::frames_fuzz {

using fuzz::require;

namespace {

constexpr std::size_t longest_input = std::size_t{96} << 10;

/// Appends the frames in [begin, end) to `out`, encoded anew; false once a rule is broken.
bool parse(wire::Parser& parser, const detail::BlockRef& block, std::size_t& begin, std::size_t end,
           std::vector<std::byte>& out) {
    for (;;) {
        const std::size_t before = begin;
        wire::Parser::Item item = parser.next(block, begin, end);
        require(before <= begin && begin <= end);
        if (const auto* run = std::get_if<core::DataRun>(&item)) {
            require(run->frames.data() + run->frames.size() == block->data() + begin);
            out.insert(out.end(), run->frames.begin(), run->frames.end());
        } else if (const auto* control = std::get_if<core::Control>(&item)) {
            const std::size_t at = out.size();
            wire::encode(*control, out);
            const auto* hello = std::get_if<core::Hello>(control);
            // Of other versions not all is read.
            if (hello != nullptr &&
                (hello->version_max != core::protocol_version || hello->version_min > core::protocol_version)) {
                continue;
            }
            const std::size_t size = out.size() - at;
            require(size <= begin - before);  // a frame that was skipped may stand before it
            const std::byte* const frame = block->data() + begin - size;
            require(std::equal(out.begin() + static_cast<std::ptrdiff_t>(at) + core::FrameHeader::size, out.end(),
                               frame + core::FrameHeader::size));
        } else {
            return !std::holds_alternative<core::Rule>(item);
        }
    }
}

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    size = std::min(size, longest_input);
    const auto block = detail::Block::allocate(longest_input);
    if (size != 0) std::memcpy(block->data(), data, size);

    std::vector<std::byte> whole;
    wire::Parser at_once;
    std::size_t begin = 0;
    const bool well = parse(at_once, block, begin, size, whole);

    std::vector<std::byte> cut;
    wire::Parser one_by_one;
    std::size_t cut_begin = 0;
    bool cut_well = true;
    for (std::size_t end = 1; end <= size && cut_well; ++end) cut_well = parse(one_by_one, block, cut_begin, end, cut);
    require(cut_well == well && cut_begin == begin && cut == whole);
}

}  // namespace cluster::frames_fuzz
