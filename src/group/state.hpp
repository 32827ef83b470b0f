#pragma once

#include "base/bytes.hpp"
#include "group/sessions.hpp"
#include "group/timers.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace cluster::group {

/// From one service to another one of the same group.
struct Letter {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    Bytes bytes;

    friend bool operator==(const Letter&, const Letter&) = default;
};

/// Letters that were not delivered yet, in their order. Not thread-safe.
class Letters {
public:
    static constexpr std::size_t most = 65536;
    static constexpr std::size_t most_bytes = std::size_t{64} << 20;

    /// False if there are too many; then nothing has changed.
    bool add(Letter letter);
    std::optional<Letter> take();

    bool empty() const noexcept { return all_.empty(); }
    const std::deque<Letter>& all() const noexcept { return all_; }

private:
    std::deque<Letter> all_;
    std::size_t bytes_ = 0;
};

/// The part of a group's state that belongs to the library: the same on every replica at the same place in the log,
/// and in every snapshot. Copies share what is kept for clients. Not thread-safe.
struct State {
    Sessions sessions;
    Timers timers;
    Letters letters;
    ApplicationVersion version;  ///< of the leader of the term

    void save(SnapshotWriter& out) const;
    /// Replaces what was there. Throws `std::system_error` as `SnapshotReader` does.
    void load(SnapshotReader& in);
};

}  // namespace cluster::group
