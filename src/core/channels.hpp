#pragma once

#include "base/time.hpp"
#include "core/frame.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cluster::core {

/// The receiver of what comes on a channel.
enum class Receiver : std::uint8_t {
    inbox,
    calls,     ///< the request that waits for this reply
    replicas,  ///< the replicas of this node
    clients,   ///< what serves clients here, or the client that is here
};

/// Where what is queued lies until it is acknowledged. Each has its own limits, so none takes room from another.
enum class Store : std::uint8_t {
    application,
    replicas,
    clients,
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
    /// reported, and a receiver throws away what it has of an unfinished message.
    bool outlives_link = true;
    /// Whether its messages are the application's. If not, they are the library's own:
    ///
    /// - No number of messages contains them, and nobody is told if they are given up.
    /// - Nobody waits for them, nor for room for them. A node that leaves does not wait for their acknowledgement.
    /// - They take nothing of the application's room; see `store`.
    /// - Of each peer one unfinished message is kept, of at most `max_message`, whether anybody receives it or not.
    bool counted = true;
    /// - `application`: each outbox may hold `outbox_bytes`, and all together `total_outbox_bytes`.
    /// - `replicas`: each outbox may hold `outbox_bytes`, and at least `window`.
    /// - `clients`: each outbox may hold `window`, or one longer message and nothing else. All together may hold
    ///   `total_outbox_bytes`, beside those of the application.
    Store store = Store::application;
    /// What has come is acknowledged after this time at the latest; earlier with whatever goes to that peer.
    Duration acknowledged_within = std::chrono::milliseconds(5);
};

/// How many bytes of replies a peer may send before it hears from us.
inline constexpr std::uint64_t reply_window = std::uint64_t{1} << 20;

/// How many bytes a replica may send to another node before it hears from it.
inline constexpr std::uint64_t replica_window = std::uint64_t{4} << 20;

/// How many bytes a client may send to a node, or a node to a client, before it hears from the other.
inline constexpr std::uint64_t client_window = std::uint64_t{1} << 20;

/// Each channel, ordered by id. The first is that of the application's messages.
inline constexpr std::array channel_table{
    ChannelRow{.id = user_channel},
    ChannelRow{.id = reply_channel,
               .feature = feature_calls,
               .window = reply_window,
               .receiver = Receiver::calls,
               .gaps = false},
    // What has not been sent when a link ends is out of date when the next one comes: a replica says it anew.
    ChannelRow{.id = replica_channel,
               .feature = feature_replicas,
               .window = replica_window,
               .receiver = Receiver::replicas,
               .gaps = false,
               .outlives_link = false,
               .counted = false,
               .store = Store::replicas,
               // Nobody waits for it, and replicas usually have something for each other before that.
               .acknowledged_within = std::chrono::milliseconds(500)},
    // In order and without a gap while the session lives, since a client counts on what it was sent.
    ChannelRow{.id = client_channel,
               .feature = feature_clients,
               .window = client_window,
               .receiver = Receiver::clients,
               .gaps = false,
               .counted = false,
               .store = Store::clients,
               // An answer usually goes back before that, and takes the acknowledgement along.
               .acknowledged_within = std::chrono::milliseconds(500)},
};
static_assert(channel_table.front().id == user_channel);

/// The channels between a node and a guest.
inline constexpr std::span guest_channels = std::span(channel_table).last<1>();
static_assert(guest_channels.front().id == client_channel);

/// The row of a channel, which must exist.
constexpr const ChannelRow& row_of(std::uint16_t channel) noexcept {
    std::size_t at = 0;
    while (channel_table[at].id != channel) ++at;
    return channel_table[at];
}

}  // namespace cluster::core
