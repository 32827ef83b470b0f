#pragma once

#include "consensus/message.hpp"
#include "consensus/write.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace cluster::consensus {

// What the machine wants done, in this order. Beside these there is `Write`. Each `Fetch`, `FetchChunk` and
// `StoreChunk` must be answered exactly once, however late.

/// Leaves as soon as the writes up to `after` are durable; 0: at once.
struct Send {
    Message message;
    std::uint64_t after = 0;
};
/// Committed entries, each once, in their order. `Raft::applied` says when that is done.
struct Apply {
    std::vector<Entry> entries;
};
/// The service takes this snapshot for its state. Entries behind it follow.
struct Load {
    SnapshotId snapshot;
};
/// Entries of the log, which are on disk, to be read for a member or for this replica itself: `Raft::fetched`. They may
/// have been cut off meanwhile: then none.
struct Fetch {
    DiskId reader;
    Index from = 0;
    Index end = 0;         ///< not this one any more
    std::size_t most = 0;  ///< bytes; but at least one entry
};
/// A piece of a snapshot, to be read for a member: `Raft::chunk_fetched`. `offset` comes from that member, and may lie
/// beyond the end.
struct FetchChunk {
    DiskId reader;
    LogId snapshot;
    std::uint64_t offset = 0;
    std::size_t most = 0;
};
/// A piece of a snapshot, to be stored if it follows what is there: `Raft::chunk_stored`. Two leaders, or one at two
/// times, may write the same state as different bytes. So what is there counts only if all of it came with the same
/// `from`, `term`, `Chunk::snapshot` and `Chunk::size`; else it is dropped first.
struct StoreChunk {
    DiskId from;
    Term term = 0;
    Chunk chunk;
};
/// What the read with that number asks for is in the state as soon as `index` is applied.
struct ReadReady {
    std::uint64_t number = 0;
    Index index = 0;
};
/// This replica does not lead any more. The read may be tried elsewhere.
struct ReadRefused {
    std::uint64_t number = 0;
};
/// `Raft::transfer` has ended. If it was done, another term has begun.
struct TransferEnded {
    bool done = false;
};

enum class Role : std::uint8_t { follower, candidate, leader };

struct StatusChanged {
    Role role = Role::follower;
    Term term = 0;
    DiskId leader;  ///< none if it is not known
    friend bool operator==(const StatusChanged&, const StatusChanged&) = default;
};
/// An invariant does not hold: this replica does nothing any more.
struct Stopped {
    std::string reason;
};

using Effect = std::variant<Write, Send, Apply, Load, Fetch, FetchChunk, StoreChunk, ReadReady, ReadRefused,
                            TransferEnded, StatusChanged, Stopped>;

}  // namespace cluster::consensus
