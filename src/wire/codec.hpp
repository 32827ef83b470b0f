#pragma once

#include "core/frame.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

// Control frames as bytes. The layout of each is its `serialize` in core/frame.hpp, which the archive turns into bytes.
// PROTOCOL.md describes it for other implementations.

namespace cluster::wire {

/// Appends the whole frame. It must obey the limits in core/frame.hpp, or `decode` would refuse it on the other side.
void encode(const core::Control& frame, std::vector<std::byte>& out);

/// Which rule a header breaks, whatever its body is. `greeted`: the HELLO of the other side was read before. An unknown
/// kind that may be skipped breaks none.
std::optional<core::Rule> check(const core::FrameHeader& header, bool greeted) noexcept;

/// Whether `kind` is one of this version of the protocol.
constexpr bool known(core::FrameKind kind) noexcept {
    return kind >= core::FrameKind::hello && kind <= core::FrameKind::members_seen;
}

/// Reads a control frame into `out`, or returns the rule that it breaks; `out` is then unspecified. `body` is as long
/// as the header says. Of a HELLO whose versions exclude ours only magic and versions are read: enough to refuse it.
std::optional<core::Rule> decode(const core::FrameHeader& header, std::span<const std::byte> body,
                                 core::Control& out) noexcept;

}  // namespace cluster::wire
