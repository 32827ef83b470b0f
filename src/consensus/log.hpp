#pragma once

#include "consensus/entry.hpp"
#include "consensus/write.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace cluster::consensus {

/// All entries from `index` to the next start have this term.
struct TermStart {
    Index index = 0;
    Term term = 0;
    friend bool operator==(const TermStart&, const TermStart&) = default;
};

/// What a replica knows of its own log: the terms of all entries, the newest entries themselves, and how much of it is
/// durable. Older entries are on disk only. Not thread-safe.
class Log {
public:
    /// Everything named here is on disk: a log behind `base`, whose terms begin at `terms`, up to the entry `last`,
    /// which an empty log does not have.
    Log(SnapshotId base, std::vector<TermStart> terms, std::optional<Entry> last);

    /// The log begins behind it. It may be an entry that is still there: the one where the newest snapshot stands.
    const SnapshotId& base() const noexcept { return base_; }
    LogId last() const noexcept { return {term_of_last(), last_}; }
    /// That of the last entry, which is in memory, except between `truncate` and `append`.
    Duration last_time() const noexcept { return entries_.empty() ? base_.time : entries_.back().time; }
    Index durable() const noexcept { return durable_; }
    /// The first one that is in memory; one more than `last` if none is.
    Index first_in_memory() const noexcept { return last_ + 1 - entries_.size(); }
    std::size_t bytes() const noexcept { return bytes_; }

    /// Nothing if the log does not reach there, or no longer does.
    std::optional<Term> term_at(Index index) const;
    bool contains(const LogId& id) const { return term_at(id.index) == id.term; }
    /// The last entry up to `hint` whose term is at most that of `hint`: what two logs can have in common at most.
    LogId common(const LogId& hint) const;
    /// Null if it is not in memory.
    const Entry* find(Index index) const;
    /// Neighbours from `from` on, in memory; at least one of them, and more while their cost stays within `most`. Empty
    /// if the first is not in memory.
    std::vector<Entry> copy(Index from, Index end, std::size_t most) const;

    void append(Entry entry);
    /// Removes the entries from `index` on.
    void truncate(Index index);
    /// A snapshot holds everything up to there, so older entries may be forgotten.
    void rebase(SnapshotId base);
    /// Drops all of it, to begin behind a snapshot.
    void reset(SnapshotId base);
    /// Forgets durable entries, the oldest first, but not the last, as long as more than `keep` bytes are in memory.
    void forget(std::size_t keep);

    /// A write with that number, which contains all entries up to now, was ordered.
    void ordered(std::uint64_t number) { orders_.push_back({number, last_}); }
    /// All writes up to that number are durable.
    void written(std::uint64_t number);

private:
    struct Order {
        std::uint64_t number;
        Index last;  ///< of the entries in it, those that have not been replaced since
    };

    /// The first start behind that index.
    std::vector<TermStart>::const_iterator start_behind(Index index) const;
    Term term_of_last() const noexcept { return terms_.empty() ? base_.last.term : terms_.back().term; }

    SnapshotId base_;
    std::vector<TermStart> terms_;  ///< of the entries behind `base_`
    Index last_;
    Index durable_;
    std::deque<Entry> entries_;  ///< the newest, up to `last_`
    std::size_t bytes_ = 0;      ///< what they cost
    std::deque<Order> orders_;
};

}  // namespace cluster::consensus
