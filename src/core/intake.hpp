#pragma once

#include "base/block_pool.hpp"
#include "core/batch.hpp"
#include "core/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cluster::core {

/// What one session receives on one channel. Not thread-safe.
///
/// 1. `consumed() <= received() <= limit()`; `limit()` only grows.
/// 2. A message that came in part belongs to the session: the rest of it may come over another link.
/// 3. Bytes that are discarded count as received when they come, take no memory and use no credit.
class Intake {
public:
    /// `blocks`, which outlives it, gives the memory for messages that come in parts.
    Intake(std::size_t max_message, detail::BlockPool& blocks) noexcept : blocks_(&blocks), max_message_(max_message) {}

    /// Takes frames that follow what was received so far, and appends what is complete to `out`. If they break a rule,
    /// nothing is taken.
    std::optional<Rule> accept(const DataRun& run, Batch stamp, std::vector<Batch>& out);
    /// The peer has given up what lies between `received()` and `to`. What was begun is thrown away.
    std::optional<Rule> skip(const Gap& gap, Batch stamp, std::vector<Batch>& out);
    /// Throws away the message that has begun, and what is still to come of it. If `tell`, `out` gets a gap of one
    /// message when its end has come.
    void discard(bool tell) noexcept;
    /// The application has taken messages worth `bytes`.
    void consume(std::uint64_t bytes) noexcept { consumed_ += bytes; }
    /// Lets the peer send up to `limit`; a smaller one changes nothing.
    void allow(std::uint64_t limit) noexcept {
        if (limit > limit_) limit_ = limit;
    }

    /// An acknowledgement states `received` and `limit`; `told` remembers what the last one said.
    std::uint64_t received() const noexcept { return received_; }
    std::uint64_t limit() const noexcept { return limit_; }
    std::uint64_t consumed() const noexcept { return consumed_; }
    void told() noexcept {
        told_received_ = received_;
        told_limit_ = limit_;
    }
    bool acknowledgement_due() const noexcept { return received_ != told_received_ || limit_ != told_limit_; }
    bool limit_grew() const noexcept { return limit_ > told_limit_; }
    /// The peer may send no more than this before it hears from us.
    std::uint64_t room_told() const noexcept { return told_limit_ > received_ ? told_limit_ - received_ : 0; }
    std::uint64_t unacknowledged() const noexcept { return received_ - told_received_; }

    /// A message has begun and is not complete.
    bool partial() const noexcept { return parts_size_ != 0; }
    /// It is kept until it is complete.
    bool kept() const noexcept { return partial() && !discards_; }
    /// The number of the call that the begun message carries, if it is kept; 0 if it carries none.
    std::uint64_t partial_call() const noexcept;
    /// Credit that the begun message has used.
    std::uint64_t partial_charge() const noexcept { return parts_charge_; }

private:
    std::optional<Rule> check(const DataRun& run) const;
    void add_part(std::uint8_t flags, std::span<const std::byte> body);
    void finish(Batch& stamp, std::vector<Batch>& out);

    detail::BlockPool* blocks_;
    std::size_t max_message_;
    std::uint64_t received_ = 0;
    std::uint64_t consumed_ = 0;
    std::uint64_t limit_ = 0;
    std::uint64_t told_received_ = 0;
    std::uint64_t told_limit_ = 0;
    detail::BlockRef parts_;              ///< the header to be, then the bodies so far
    std::size_t parts_size_ = 0;  ///< of these; 0: no message has begun
    std::size_t last_size_ = 0;   ///< of the last message that came in parts: the next may be as long
    std::uint64_t parts_charge_ = 0;
    std::uint8_t parts_flags_ = 0;  ///< of its frames, without `flag_more`
    bool discards_ = false;         ///< nothing of it is kept
    bool tells_ = false;            ///< that it is lost
};

}  // namespace cluster::core
