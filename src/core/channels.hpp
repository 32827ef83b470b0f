#pragma once

#include "core/frame.hpp"

#include <array>
#include <cstdint>

namespace cluster::core {

/// The receiver of what comes on a channel.
enum class Receiver : std::uint8_t {
    inbox,
    calls,  ///< the request that waits for this reply
};

/// Everything in which one channel differs from the others.
struct ChannelRow {
    std::uint16_t id = 0;
    /// The feature in the HELLO of a peer that has the channel; 0: each peer has it.
    std::uint64_t feature = 0;
    /// Flow-control window: how many bytes the peer may send before it hears from us. 0: the credit pool decides, from
    /// the memory of the inbox. What comes within a fixed window is handed over as it comes, so no reader can use it
    /// up.
    std::uint64_t window = 0;
    Receiver receiver = Receiver::inbox;
    /// Whether the receiver learns of messages that will not come. If not, its own timeout ends the waiting.
    bool gaps = true;
    /// Whether what is queued when a link ends goes out over the next one. If not, it becomes a gap that is not
    /// reported.
    bool outlives_link = true;
};

/// How many bytes of replies a peer may send before it hears from us.
inline constexpr std::uint64_t reply_window = std::uint64_t{1} << 20;

/// Each channel, at the place of its id.
inline constexpr std::array channel_table{
    ChannelRow{.id = user_channel},
    ChannelRow{.id = reply_channel,
               .feature = feature_calls,
               .window = reply_window,
               .receiver = Receiver::calls,
               .gaps = false},
};
static_assert(channel_table[user_channel].id == user_channel && channel_table[reply_channel].id == reply_channel);

}  // namespace cluster::core
