#pragma once

#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstdint>

namespace cluster {

/// Messages to one peer that this node gives up sending. When a session ends, what was never sent and what was not
/// acknowledged are reported one after the other. While a report waits for its callback, further messages given up for
/// the same reason join it.
struct GivenUp {
    Peer peer;
    /// How many, and their bytes on the wire. The last of them may have arrived all the same, if their acknowledgement
    /// was lost.
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    /// `timed_out`: out of reach for `resume_for`. `outbox_full`: see `WhenFull::give_up`. `removed`, `leaving`,
    /// `id_in_use`: the session ended first, by `remove`, by a goodbye, or by being replaced.
    errc reason = errc::timed_out;
};

/// What `Node::close` could not see acknowledged: it may or may not have arrived. All zero after a clean close.
struct Unacknowledged {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t peers = 0;

    explicit operator bool() const noexcept { return peers != 0; }
};

}  // namespace cluster
