#pragma once

#include "base/bytes.hpp"
#include "consensus/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cluster::replica {

/// The body of an entry that is a command: who submitted it, so that its replica knows the reply for its caller.
///
///     0      1          17       25         33
///     | kind | disk     | life   | number   | the message for the service
///     | 1    | 16 bytes | u64    | u64      |
///
/// All little-endian. `life` and `number` say which call of which process it was.
struct Command {
    static constexpr std::size_t head = 33;
    static constexpr std::byte kind{1};

    consensus::DiskId disk;
    std::uint64_t life = 0;
    std::uint64_t number = 0;
    std::span<const std::byte> message;

    Bytes pack() const;
    /// `message` lies in `body`. Nothing if these bytes are no command.
    static std::optional<Command> unpack(std::span<const std::byte> body);
};

}  // namespace cluster::replica
