#pragma once

#include "base/timers.hpp"

#include <cstdint>

namespace cluster::core {

/// What the parts of an engine wait for.
enum class Timer : std::uint8_t {
    link,     ///< of a link: handshake, attaching or draining takes too long
    ack,      ///< of a pair
    watch,    ///< of a pair: judge its silence
    inquiry,  ///< of a pair: the peers that were asked about it have had their time
    resume,   ///< of a pair
    forget,   ///< of a pair
    guest,    ///< of a guest: look whether it is silent
    reach,    ///< of a pair: say that it is out of reach, if it is
    join,     ///< of a pending add
    news,     ///< tell others which peers we met
    beat,     ///< probe a peer
    check,    ///< see whether a peer that dialled us can be dialled
    expiry,   ///< of what the roster remembers
    linger,
};
using EngineTimers = Timers<Timer>;

}  // namespace cluster::core
