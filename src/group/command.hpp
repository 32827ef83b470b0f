#pragma once

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <cluster/session.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace cluster::group {

// What an entry of kind `command` says. The first byte of its body is the number of the command, then its fields follow
// in their order, little-endian; a text or key with its length before it, as `u16`; the message last.

/// A message that a replica has submitted. It knows the reply for its caller by these.
struct Submitted {
    static constexpr std::size_t head = 33;

    consensus::DiskId disk;
    std::uint64_t life = 0;    ///< of the process
    std::uint64_t number = 0;  ///< of the call there
    std::span<const std::byte> message;

    friend bool operator==(const Submitted& a, const Submitted& b);
};

/// Drawn by a client for each session. Whoever knows it may use the session, so it is told to nobody else.
using SessionKey = std::array<std::uint8_t, 16>;

/// A client comes. If there is a session with that key, nothing happens: it asked twice.
struct OpenSession {
    SessionKey key{};
    std::uint64_t timeout_ms = 0;  ///< see `CloseReason::timed_out`
    std::uint64_t most = 0;        ///< sessions; if there are so many, this one is refused
    std::string name;
    std::string principal;

    friend bool operator==(const OpenSession&, const OpenSession&) = default;
};

/// If it is open, it is closed.
struct CloseSession {
    std::uint64_t session = 0;
    CloseReason reason{};

    friend bool operator==(const CloseSession&, const CloseSession&) = default;
};

/// What the client of a session has received: the replies to all commands up to one, and all pushes up to one.
struct Received {
    std::uint64_t replies = 0;
    std::uint64_t pushes = 0;

    friend bool operator==(const Received&, const Received&) = default;
};

/// A client asks for something. Its numbers begin with 1. One that is not the next one has no effect: it came twice, or
/// one before it is missing and will be sent again.
struct SessionCommand {
    static constexpr std::size_t head = 33;

    std::uint64_t session = 0;
    std::uint64_t number = 0;
    Received received;
    std::span<const std::byte> message;

    friend bool operator==(const SessionCommand& a, const SessionCommand& b);
};

/// What a client has received need not be kept any more.
struct Acknowledge {
    std::uint64_t session = 0;
    Received received;

    friend bool operator==(const Acknowledge&, const Acknowledge&) = default;
};

using Command = std::variant<Submitted, OpenSession, CloseSession, SessionCommand, Acknowledge>;

/// The most bytes that a principal may have.
inline constexpr std::size_t max_principal = 4096;

Bytes pack(const Command& command);
/// Messages lie in `body`. Nothing if these bytes are no command.
std::optional<Command> unpack(std::span<const std::byte> body);

}  // namespace cluster::group
