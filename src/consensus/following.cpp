#include "consensus/invariant.hpp"
#include "consensus/raft.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

/// The leader of the present term speaks.
void Raft::hear(const Message& message) {
    require(!leader() || leader() == message.from, "two lead in the same term");
    role_ = Following{message.from, now_, election_deadline()};
    hinted_.reset();
}

void Raft::on(const Message& message, const Append& append, Moment) {
    hear(message);
    // What is committed is the same here and there.
    if (append.before.index < commit_) return send(message.from, AppendAnswer{commit_, 0, {}}, after_all());
    if (!log_.contains(append.before)) {
        const LogId hint = log_.common({append.before.term, std::min(append.before.index, log_.last().index)});
        return send(message.from, AppendAnswer{0, append.before.index, hint}, after_state());
    }
    // Only an entry that differs is replaced, and those behind it. A late message must not shorten the log.
    Index last = append.before.index;
    for (const Entry& entry : append.entries) {
        require(entry.id.index == ++last, "a leader sends entries that are not neighbours");
        if (log_.contains(entry.id)) continue;
        if (last <= log_.last().index) truncate(last);
        this->append(entry);
    }
    if (const Index known = std::min(append.commit, last); known > commit_) committed(known);
    send(message.from, AppendAnswer{last, 0, {}}, after_all());
}

void Raft::on(const Message& message, const Heartbeat& heartbeat, Moment now) {
    hear(message);
    // The leader names no more than what this log is known to share with its own.
    if (heartbeat.commit > commit_) committed(heartbeat.commit);
    send(message.from, HeartbeatAnswer{heartbeat.round, now.wall}, after_state());
}

void Raft::on(const Message& message, const Chunk& chunk, Moment) {
    hear(message);
    const LogId& at = chunk.snapshot.last;
    if (at.index <= commit_) return send(message.from, ChunkAnswer{at, chunk.size, true}, after_all());
    if (std::exchange(storing_, true)) return;  // the leader will ask again
    emit(StoreChunk{message.from, chunk});
}

void Raft::chunk_stored(const StoreChunk& stored, std::uint64_t next, bool complete, Moment now) {
    guarded(now, [&] {
        storing_ = false;
        if (complete && stored.chunk.snapshot.last.index > commit_) install(stored.chunk.snapshot);
        if (leader() == stored.from) {
            send(stored.from, ChunkAnswer{stored.chunk.snapshot.last, next, complete}, after_all());
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
        while (configurations_.size() > 1 && configurations_[1].index <= snapshot.last.index) {
            configurations_.pop_front();
        }
    } else {
        log_.reset(snapshot);
        configurations_.clear();
        configurations_.push_back({snapshot.last.index, *configuration});
        ordered_ = snapshot.last.index;
        begin_after_ = snapshot;
    }
    commit_ = handed_ = applied_ = snapshot.last.index;
    applying_ = {};
    fetching_ = false;
    emit(Load{snapshot});
}

}  // namespace cluster::consensus
