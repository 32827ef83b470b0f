#include "consensus/invariant.hpp"
#include "consensus/raft.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

/// The leader of the present term speaks. False if it is none: a group that this replica does not know yet may be led
/// by one that is no member here, but nobody else takes the place of a leader that is known.
bool Raft::hear(const Message& message) {
    const DiskId known = leader();
    if (known && known != message.from) {
        const auto is_member = [this](const DiskId& disk) { return configuration().members().contains(disk); };
        require(!is_member(known) || !is_member(message.from), "two lead in the same term");
        return false;
    }
    role_ = Following{message.from, now_, election_deadline()};
    hint_ = {};
    return true;
}

void Raft::on(const Message& message, const Append& append, Moment) {
    if (!hear(message)) return;
    // What is committed is the same here and there, so it needs no look.
    LogId before = append.before;
    auto entry = append.entries.begin();
    if (before.index < commit_) {
        const auto skipped = std::min<Index>(commit_ - before.index, append.entries.size());
        entry += static_cast<std::ptrdiff_t>(skipped);
        before = {*log_.term_at(commit_), commit_};
    }
    if (!log_.contains(before)) {
        const LogId hint = log_.common({before.term, std::min(before.index, log_.last().index)});
        return send(message.from, AppendAnswer{0, before.index, hint, options_.may_vote}, after_state());
    }
    // Only an entry that differs is replaced, and those behind it. A late message must not shorten the log.
    Index last = before.index;
    for (; entry != append.entries.end(); ++entry) {
        require(entry->id.index == ++last, "a leader sends entries that are not neighbours");
        if (log_.contains(entry->id)) continue;
        if (last <= log_.last().index) truncate(last);
        this->append(*entry);
    }
    agree(last, append.commit);
    send(message.from, AppendAnswer{last, 0, {}, options_.may_vote}, after_all());
}

/// Up to `last` this log is that of the leader, and as much of that as the leader says is committed.
void Raft::agree(Index last, Index commit) {
    agreed_ = std::max(agreed_, last);
    if (const Index known = std::min(commit, agreed_); known > commit_) committed(known);
}

void Raft::on(const Message& message, const Heartbeat& heartbeat, Moment now) {
    if (!hear(message)) return;
    agree(0, heartbeat.commit);
    send(message.from, HeartbeatAnswer{heartbeat.round, now.wall, commit_, options_.may_vote}, after_state());
}

void Raft::on(const Message& message, const Chunk& chunk, Moment) {
    if (!hear(message) || !Configuration::decode(chunk.snapshot.configuration.view())) return;
    const LogId& at = chunk.snapshot.last;
    // A snapshot holds nothing that is not committed.
    if (log_.contains(at)) agree(at.index, at.index);
    if (at.index <= commit_) {
        return send(message.from, ChunkAnswer{at, chunk.size, true, options_.may_vote}, after_all());
    }
    // The leader will ask again. More snapshots would take the place of the one that the service has not loaded yet.
    if (loading_ != 0 || std::exchange(storing_, true)) return;
    emit(StoreChunk{message.from, message.term, chunk});
}

void Raft::chunk_stored(const StoreChunk& stored, std::uint64_t next, bool complete, Moment now) {
    guarded(now, [&] {
        storing_ = false;
        const LogId& at = stored.chunk.snapshot.last;
        if (complete && at.index > commit_) install(stored.chunk.snapshot);
        if (leader() == stored.from) {
            send(stored.from, ChunkAnswer{at, next, complete, options_.may_vote}, after_all());
        }
    });
}

/// The snapshot is on disk. It takes the place of the log up to there.
void Raft::install(const SnapshotId& snapshot) {
    const auto configuration = Configuration::decode(snapshot.configuration.view());
    require(configuration.has_value(), "the configuration in a snapshot cannot be read");
    newest_ = snapshot;
    if (log_.contains(snapshot.last)) {
        log_.rebase(snapshot);
        forget_configurations();
    } else {
        log_.reset(snapshot);
        configurations_.clear();
        configurations_.push_back({snapshot.last.index, *configuration});
        last_ordered_ = snapshot.last.index;
        begin_after_ = snapshot;
    }
    commit_ = handed_ = applied_ = snapshot.last.index;
    applying_ = {};
    loading_ = snapshot.last.index;
    emit(Load{snapshot});
}

}  // namespace cluster::consensus
