#include "fuzz/input.hpp"
#include "wire/codec.hpp"

#include <algorithm>
#include <variant>
#include <vector>

// The bodies of control frames: the first byte is the kind. What decodes has one form, and takes little memory.

namespace cluster::control_fuzz {

namespace {

/// A list that claims as many peers as it has bytes gets memory for them, before it is found out.
constexpr std::size_t memory_factor = sizeof(core::Facts) + 64;

/// Of others only the beginning is read, and more may stand behind.
bool of_this_version(const core::Control& control) {
    const auto* const hello = std::get_if<core::Hello>(&control);
    return hello == nullptr ||
           (hello->version_min <= core::protocol_version && hello->version_max == core::protocol_version);
}

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return;
    const auto kind = static_cast<core::FrameKind>(data[0] % 20);
    const auto body = std::as_bytes(std::span(data, size).subspan(1));
    const core::FrameHeader header{static_cast<std::uint32_t>(body.size()), kind, 0, 0};
    if (kind == core::FrameKind::data || wire::check(header, true)) return;
    core::Control control;
    {
        const fuzz::MemoryLimit limit(memory_factor * size + 4096);
        if (wire::decode(header, body, control)) return;
    }
    if (!of_this_version(control)) return;
    std::vector<std::byte> again;
    wire::encode(control, again);
    const std::span<const std::byte> written = std::span(again).subspan(core::FrameHeader::size);
    fuzz::require(std::ranges::equal(written, body));
}

}  // namespace cluster::control_fuzz
