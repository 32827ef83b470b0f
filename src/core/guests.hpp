#pragma once

#include "base/time.hpp"
#include "core/part.hpp"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace cluster::core {

/// The guests of this node: who is here, who has lost its link, whose silence is too long. Not thread-safe; lives in
/// its engine.
///
/// 1. A guest is in nobody's view. It takes no place of a peer, and nobody else is told of it.
/// 2. What happens to one guest costs no look at the others, but when there is no room.
class Guests : private Part {
public:
    explicit Guests(Shared& shared) noexcept : Part(shared) {}

    /// Those that are here: they came and have not gone.
    std::size_t count() const noexcept { return here_; }
    /// Whether one more would be too many. Those that only greet count as well.
    bool full() const noexcept { return peers_.guests.size() >= options_.max_guests; }
    /// The one that has had no link for longest; null if each has one.
    Pair* longest_away() const;

    /// The guest is attached on `link`.
    void attached(Pair& pair, const Hello& hello, const Link& link, Time now);
    /// Its session has no link any more.
    void lost_link(Pair& pair, Time now);
    /// Its session has ended.
    void ended(Pair& pair);

    /// What its silence means now. To be asked when its timer says so.
    enum class Silence : std::uint8_t { heard, probed, too_long };
    Silence silence(Pair& pair, Time now);

    /// Something has come from the guest. Whether all guests together have sent more in unfinished messages than this
    /// node keeps: a quarter of `inbox_bytes`, in which one longest message fits.
    bool hold_too_much(Pair& pair);
    /// The guest of whose message most has come.
    Pair* largest() const;

private:
    void count_unfinished(Pair& pair, std::uint64_t bytes);

    std::size_t here_ = 0;
    std::set<std::pair<Time, std::uint64_t>> away_;  ///< numbers of pairs that have a session and no link
    std::uint64_t unfinished_ = 0;
};

}  // namespace cluster::core
