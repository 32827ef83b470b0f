#pragma once

#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>

namespace cluster::consensus {

/// What a leader knows of the log of one other member, and what is on its way there (Raft, section 5.3; the modes are
/// those of etcd). Not thread-safe.
class Progress {
public:
    enum class Mode {
        probe,      ///< it is not known what the member has: one message at a time
        replicate,  ///< what was sent is taken for received, so messages follow each other without waiting
        snapshot,   ///< it needs what the log no longer has
    };
    /// Messages on their way in `replicate`. How many bytes is an option.
    static constexpr std::size_t most_messages = 256;

    Progress(Index next, Time now) : next_(next), heard_(now), touched_(now) {}

    Mode mode() const noexcept { return mode_; }
    Index matched() const noexcept { return matched_; }  ///< durable there, and the same
    Index next() const noexcept { return next_; }        ///< the next entry to be sent

    /// Whether entries may be sent now, `most_bytes` being the limit of what is on its way.
    bool may_send(std::size_t most_bytes) const noexcept;
    /// Entries up to `last`, which may be none, were sent.
    void sent(Index last, std::size_t cost, Time now);
    /// It has all up to `matched`. False if that is old news.
    bool acknowledge(Index matched, Time now);
    /// It does not have the entry before `rejected + 1`. False if that is old news; else `hint` is tried next.
    bool reject(Index rejected, Index hint, Time now);
    /// Nothing that was sent counts as received any more.
    void probe();
    /// What it needs cannot be had now: not before `alive` says so.
    void pause(Time now);

    // In `snapshot`.
    void begin_snapshot(const LogId& snapshot);
    const LogId& snapshot() const noexcept { return snapshot_; }
    std::uint64_t offset() const noexcept { return offset_; }  ///< of the next piece
    void chunk_sent(Time now);
    /// False if that is no news: the answer was doubled, or what was sent is lost.
    bool chunk_answered(std::uint64_t next, Time now);
    /// It has the snapshot.
    void installed();

    /// It speaks. If it has owed an answer for longer than `patience`, it is asked again: the message, or the answer,
    /// may be lost. `commit`: what it knows to be committed.
    void alive(Time now, Duration patience, Index commit);
    bool asks() const noexcept { return asks_; }
    Time heard() const noexcept { return heard_; }
    void heard(Time now, bool counts);
    /// It is said not to be there, until it is heard.
    void absent() noexcept { present_ = false; }
    bool present() const noexcept { return present_; }
    /// Whether it is part of a majority.
    bool counts() const noexcept { return counts_; }

    bool fetching = false;  ///< older entries, or a chunk, are being read from disk for it
    Index told_commit = 0;  ///< how far it knows the log to be committed

private:
    struct InFlight {
        Index last;
        std::size_t cost;
    };

    Mode mode_ = Mode::probe;
    Index matched_ = 0;
    Index next_;
    bool waits_ = false;  ///< in `probe`: the message was sent
    Index probed_ = 0;    ///< the last entry of it, or the one before it
    bool asks_ = false;   ///< send a message even if it has no entries
    bool counts_ = true;
    bool present_ = true;
    std::deque<InFlight> in_flight_;
    std::size_t bytes_ = 0;
    LogId snapshot_;
    std::uint64_t offset_ = 0;
    Time heard_;
    Time touched_;  ///< when something was sent or answered last
};

}  // namespace cluster::consensus
