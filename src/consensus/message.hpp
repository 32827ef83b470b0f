#pragma once

#include "consensus/entry.hpp"

#include <cstdint>
#include <variant>
#include <vector>

namespace cluster::consensus {

// What replicas say to each other. Messages may be lost, late, doubled, or come in another order.
//
// An answer to a leader says whether its sender `counts`. It does not if its disk has lost what it once acknowledged.
// Such a disk gets the log, but is part of no majority.

/// "Would you vote for me?", or with a trial, "would you, if I asked?" (PreVote; Raft thesis, section 9.6).
struct VoteRequest {
    LogId last;              ///< the candidate's last entry
    std::uint64_t trial = 0; ///< not 0: a trial, and its number; the message's term is the one that it would begin
    bool appointed = false;  ///< the leader itself has named the candidate, so nobody needs to be loyal to it
};
struct VoteAnswer {
    std::uint64_t trial = 0;
    bool granted = false;
};

/// Entries behind `before`, which both must have. Without entries: do you have `before`?
struct Append {
    LogId before;
    Index commit = 0;
    std::vector<Entry> entries;
};
/// Durable up to `matched` and there the same as the leader's; or not, as the entry `rejected` is not there.
struct AppendAnswer {
    Index matched = 0;
    Index rejected = 0;  ///< 0: not rejected
    LogId hint;          ///< if rejected: logs may be the same up to there, and are not behind it
    bool counts = true;
};

/// "I lead, and that much is committed." `round` comes back with the answer.
struct Heartbeat {
    std::uint64_t round = 0;
    Index commit = 0;
};
struct HeartbeatAnswer {
    std::uint64_t round = 0;
    Duration wall{};   ///< the wall clock of the one who answers
    Index commit = 0;  ///< as much is committed as far as it knows
    bool counts = true;
};

/// "Become a candidate now."
struct Appoint {};

/// A piece of a snapshot. Pieces follow one upon the other; the next one is sent when this one was answered.
struct Chunk {
    SnapshotId snapshot;
    std::uint64_t size = 0;  ///< of the whole snapshot, in bytes
    std::uint64_t offset = 0;
    Bytes bytes;
    std::uint32_t checksum = 0;  ///< CRC-32C of the whole snapshot
};
/// How far the receiver has come with it. `size` of the chunk: it has all, durably.
struct ChunkAnswer {
    LogId snapshot;
    std::uint64_t next = 0;
    bool installed = false;  ///< the receiver's log begins behind this snapshot, or is longer
    bool counts = true;
};

using Body = std::variant<VoteRequest, VoteAnswer, Append, AppendAnswer, Heartbeat, HeartbeatAnswer, Appoint, Chunk,
                          ChunkAnswer>;

struct Message {
    DiskId from;
    DiskId to;
    Term term = 0;  ///< the sender's, except for a trial: that of the vote
    Body body;
};

}  // namespace cluster::consensus
