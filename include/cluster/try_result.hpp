#pragma once

#include <cluster/peer.hpp>

#include <cstddef>
#include <system_error>
#include <vector>

namespace cluster {

/// The result of a call that never waits.
struct TryResult {
    /// Empty on success, else `outbox_full`, `not_in_view`, `message_too_large` or `closed`.
    std::error_code error;
    /// For how many peers it was queued.
    std::size_t count = 0;
    /// With `outbox_full`: the peers whose outbox has no room. Empty if the node's `total_outbox_bytes` has none.
    std::vector<PeerId> full;

    explicit operator bool() const noexcept { return !error; }
};

}  // namespace cluster
