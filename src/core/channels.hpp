#pragma once

#include "core/frame.hpp"

#include <array>
#include <cstdint>

namespace cluster::core {

/// Who gets what comes on a channel.
enum class Receiver : std::uint8_t {
    inbox,
    calls,  ///< who waits for the reply to a request
};

/// Everything in which one channel differs from the others.
struct ChannelRow {
    std::uint16_t id = 0;
    /// What a peer that has the channel says in its HELLO; 0: each has it.
    std::uint64_t feature = 0;
    /// How many bytes the peer may send before it hears from us; 0: what the credit pool gives it of the inbox. What
    /// comes within a window is handed over as it comes, so no reader can use it up.
    std::uint64_t window = 0;
    Receiver receiver = Receiver::inbox;
    /// The receiver is told of what will not come. If not, who waits for it misses it in time.
    bool gaps = true;
    /// What is queued when a link ends goes out over the next one. If not, a gap that nobody hears of takes its place.
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
