#pragma once

#include "group/command.hpp"
#include "group/sessions.hpp"

#include <cstdint>
#include <variant>

namespace cluster::group {

// What has become of clients' wishes, in the order of the log.

/// What every replica knows of an open session beside its state.
struct SessionFacts {
    std::uint64_t session = 0;
    std::uint64_t timeout_ms = 0;
    friend bool operator==(const SessionFacts&, const SessionFacts&) = default;
};
/// The session with that key is open, perhaps for long; none: there is no room for it.
struct SessionOpened {
    SessionKey key{};
    SessionFacts facts;
};
/// It is over, perhaps for long.
struct SessionClosed {
    std::uint64_t session = 0;
    CloseReason reason{};
};
using SessionChange = std::variant<SessionOpened, SessionClosed>;

struct SessionReplied {
    std::uint64_t session = 0;
    Kept reply;
};
struct SessionPushed {
    std::uint64_t session = 0;
    Kept push;
};
using Outcome = std::variant<SessionChange, SessionReplied, SessionPushed>;

}  // namespace cluster::group
