#include "consensus/invariant.hpp"
#include "consensus/quorum.hpp"
#include "consensus/raft.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

void Raft::lead(Moment now) {
    auto& leading = role_.emplace<Leadership>(term_, now, log_.last_time());
    leading.begin = log_.last().index + 1;
    for (const DiskId& disk : configuration().members()) {
        if (disk != options_.self) leading.members.emplace(disk, Progress(leading.begin, now_));
    }
    leading.time.sample(options_.self, now.wall, now_);
    leading.next_heartbeat = now_ + options_.heartbeat;
    leading.next_check = now_ + options_.election_timeout;
    // Nothing of earlier terms is committed by counting before this one is (Raft, section 5.4.2).
    append_own(EntryKind::empty, options_.term_body);
}

void Raft::stop_leading() {
    auto* leading = std::get_if<Leadership>(&role_);
    if (leading == nullptr) return;
    for (const std::uint64_t number : leading->early_reads) emit(ReadRefused{number});
    for (const Reads::Read& read : leading->reads.take_all()) emit(ReadRefused{read.number});
    // If another term has begun, somebody else has begun it.
    if (leading->transfer) emit(TransferEnded{leading->transfer->appointed && term_ != leading->term});
}

Progress* Raft::member(const DiskId& disk) {
    return const_cast<Progress*>(progress(disk));
}

void Raft::tick_leader() {
    auto& leading = std::get<Leadership>(role_);
    // A leader that cannot write helps nobody.
    if (disk_hangs()) return follow();
    if (now_ >= leading.next_check) {
        leading.next_check = now_ + options_.election_timeout;
        const auto heard = [&](const DiskId& voter) {
            const Progress* other = progress(voter);
            return voter == options_.self ||
                   (other != nullptr && other->counts() && now_ - other->heard() < options_.election_timeout);
        };
        if (!majority(configuration(), heard)) return follow();
    }
    if (leading.transfer && now_ >= leading.transfer->deadline) {
        leading.transfer.reset();
        emit(TransferEnded{false});
    }
    if (now_ >= leading.next_heartbeat) {
        leading.next_heartbeat = now_ + options_.heartbeat;
        ask_members();
    }
    dirty_ = true;
}

void Raft::append_own(EntryKind kind, Bytes body, Duration least) {
    auto& leading = std::get<Leadership>(role_);
    const Duration time = leading.time.next(configuration().voters, now_, least);
    Entry entry{{term_, log_.last().index + 1}, kind, time, std::move(body)};
    leading.uncommitted.add(entry);
    append(std::move(entry));
    dirty_ = true;
}

Refused Raft::propose(std::span<const Bytes> commands, LogId& first, Moment now) {
    auto* leading = std::get_if<Leadership>(&role_);
    if (leading == nullptr || stopped_) return Refused::not_leader;
    if (leading->transfer) return Refused::transferring;
    const std::size_t waiting = leading->uncommitted.bytes();
    std::size_t cost = 0;
    for (const Bytes& command : commands) cost += command.size() + Entry::overhead;
    if (waiting != 0 && waiting + cost > options_.max_uncommitted) return Refused::full;
    first = {term_, log_.last().index + 1};
    guarded(now, [&] {
        leading->time.sample(options_.self, now.wall, now_);
        for (const Bytes& command : commands) append_own(EntryKind::command, command);
    });
    return Refused::no;
}

Time Raft::mark_at(Duration time) const {
    const auto* leading = std::get_if<Leadership>(&role_);
    return leading == nullptr || leading->transfer || time == never ? never : leading->time.when(time);
}

void Raft::mark_time(Duration time, Moment now) {
    if (mark_at(time) > now.steady) return;
    guarded(now, [&] { append_own(EntryKind::empty, {}, time); });
}

Refused Raft::read(std::uint64_t number, Moment now, const DiskId& asked_by) {
    auto* leading = std::get_if<Leadership>(&role_);
    if (leading == nullptr || stopped_) return Refused::not_leader;
    if (leading->reads.full() || leading->early_reads.size() >= Reads::most) return Refused::full;
    guarded(now, [&] {
        const auto agrees = [&](const DiskId& voter) { return voter == options_.self || voter == asked_by; };
        // Only when an entry of its own is committed does a leader know what is.
        if (commit_ < leading->begin) {
            leading->early_reads.push_back(number);
        } else if (asked_by && majority(configuration(), agrees)) {
            emit(ReadReady{number, commit_});
        } else {
            leading->reads.add(number, commit_);
        }
        dirty_ = true;
    });
    return Refused::no;
}

Refused Raft::transfer(const DiskId& to, Moment now) {
    auto* leading = std::get_if<Leadership>(&role_);
    if (leading == nullptr || stopped_) return Refused::not_leader;
    if (leading->transfer) return Refused::transferring;
    DiskId best = to;
    if (!to) {
        Index most = 0;
        for (const auto& [disk, progress] : leading->members) {
            const bool alive = progress.present() && now.steady - progress.heard() < options_.election_timeout;
            if (alive && progress.counts() && configuration().voters.contains(disk) && progress.matched() >= most) {
                most = progress.matched();
                best = disk;
            }
        }
        if (!best) return Refused::absent;
    }
    if (best == options_.self || !configuration().voters.contains(best)) return Refused::unknown_disk;
    guarded(now, [&] {
        leading->transfer = Transfer{best, now_ + options_.election_timeout, false};
        dirty_ = true;
    });
    return Refused::no;
}

DiskId Raft::successor() const {
    const auto* leading = std::get_if<Leadership>(&role_);
    return leading != nullptr && leading->transfer ? leading->transfer->to : DiskId();
}

void Raft::unreachable(const DiskId& disk, Moment now) {
    guarded(now, [&] {
        Progress* progress = member(disk);
        if (progress == nullptr) return;
        if (progress->mode() == Progress::Mode::replicate) progress->probe();
        dirty_ = true;
    });
}

void Raft::absent(const DiskId& disk, Moment now) {
    guarded(now, [&] {
        Progress* progress = member(disk);
        if (progress == nullptr) return;
        progress->absent();
        auto& transfer = std::get<Leadership>(role_).transfer;
        if (!transfer || transfer->to != disk) return;
        transfer.reset();
        emit(TransferEnded{false});
    });
}

/// Everything that was proposed and that has become known at the same time goes out together.
void Raft::flush() {
    if (auto* leading = std::get_if<Leadership>(&role_)) {
        if (leading->reads.must_ask()) ask_members();
        for (auto& [disk, progress] : leading->members) replicate(disk, progress);
        appoint();
        serve_reads();
    }
    write();
    if (std::holds_alternative<Leadership>(role_)) advance();
}

/// Asks all whether this replica still leads.
void Raft::ask_members() {
    auto& leading = std::get<Leadership>(role_);
    const std::uint64_t round = leading.reads.ask();
    for (const auto& [disk, progress] : leading.members) send(disk, Heartbeat{round, commit_}, 0);
}

/// What a majority has durably, in this term, is committed, with all before it.
void Raft::advance() {
    auto& leading = std::get<Leadership>(role_);
    const Index index = agreed(configuration(), [&](const DiskId& voter) {
        if (voter == options_.self) return log_.durable();
        const Progress* other = progress(voter);
        return other != nullptr && other->counts() ? other->matched() : 0;
    });
    if (index <= commit_ || log_.term_at(index) != term_) return;
    leading.uncommitted.remove(index);
    committed(index);
    for (const std::uint64_t number : std::exchange(leading.early_reads, {})) leading.reads.add(number, commit_);
    dirty_ = true;
}

void Raft::serve_reads() {
    auto& leading = std::get<Leadership>(role_);
    for (const Reads::Read& read : leading.reads.take(configuration(), options_.self)) {
        emit(ReadReady{read.number, read.index});
    }
}

void Raft::appoint() {
    auto& leading = std::get<Leadership>(role_);
    if (!leading.transfer || leading.transfer->appointed) return;
    const Progress* progress = member(leading.transfer->to);
    if (progress == nullptr || progress->matched() != log_.last().index) return;
    leading.transfer->appointed = true;
    send(leading.transfer->to, Appoint{}, 0);
}

// What members are sent.

void Raft::replicate(const DiskId& disk, Progress& progress) {
    const Index last = log_.last().index;
    while (!progress.fetching && progress.may_send(options_.max_in_flight)) {
        if (!log_.term_at(progress.next() - 1)) return offer_snapshot(disk, progress);
        const bool more = progress.next() <= last;
        if (!more && progress.mode() == Progress::Mode::replicate) break;
        std::vector<Entry> entries = log_.copy(progress.next(), last + 1, options_.max_append);
        if (more && entries.empty()) {
            progress.fetching = true;
            return emit(Fetch{disk, progress.next(), last + 1, options_.max_append});
        }
        send_entries(disk, progress, std::move(entries));
    }
    // With a full window, the next heartbeat tells what is committed.
    const bool tells = progress.told_commit < commit_ && progress.may_send(options_.max_in_flight);
    if (progress.mode() == Progress::Mode::replicate && (progress.asks() || tells)) {
        if (!log_.term_at(progress.next() - 1)) return offer_snapshot(disk, progress);
        send_entries(disk, progress, {});
    }
    if (progress.mode() == Progress::Mode::snapshot && progress.asks()) fetch_chunk(disk, progress);
}

void Raft::send_entries(const DiskId& disk, Progress& progress, std::vector<Entry> entries) {
    const Index before = progress.next() - 1;
    const auto term = log_.term_at(before);
    require(term.has_value(), "the log does not have what entries were to follow");
    std::size_t cost = 0;
    for (const Entry& entry : entries) cost += entry.cost();
    progress.sent(before + entries.size(), cost, now_);
    progress.told_commit = commit_;
    send(disk, Append{{*term, before}, commit_, std::move(entries)}, 0);
}

void Raft::offer_snapshot(const DiskId& disk, Progress& progress) {
    progress.begin_snapshot(newest_.last);
    fetch_chunk(disk, progress);
}

void Raft::fetch_chunk(const DiskId& disk, Progress& progress) {
    if (std::exchange(progress.fetching, true)) return;
    emit(FetchChunk{disk, progress.snapshot(), progress.offset(), options_.chunk});
}

void Raft::chunk_fetched(const DiskId& reader, const std::optional<Chunk>& chunk, Moment now) {
    guarded(now, [&] {
        Progress* progress = member(reader);
        if (progress == nullptr) return;
        progress->fetching = false;
        dirty_ = true;
        if (progress->mode() != Progress::Mode::snapshot) return;
        if (!chunk) return progress->pause(now_);  // by then there will be a newer one
        // Meanwhile it may have become another snapshot, or another place.
        const bool wanted = chunk->snapshot.last == progress->snapshot() && chunk->offset == progress->offset();
        if (!wanted) return fetch_chunk(reader, *progress);
        progress->chunk_sent(now_);
        send(reader, *chunk, 0);
    });
}

// What members answer.

void Raft::on(const Message& message, const AppendAnswer& answer, Moment) {
    Progress* progress = member(message.from);
    if (progress == nullptr) return;
    progress->heard(now_, answer.counts);
    dirty_ = true;
    if (answer.rejected != 0) {
        progress->reject(answer.rejected, log_.common(answer.hint).index, now_);
    } else if (answer.matched <= log_.last().index && progress->acknowledge(answer.matched, now_)) {
        advance();
    }
}

void Raft::on(const Message& message, const HeartbeatAnswer& answer, Moment) {
    Progress* progress = member(message.from);
    if (progress == nullptr) return;
    auto& leading = std::get<Leadership>(role_);
    progress->heard(now_, answer.counts);
    progress->alive(now_, 2 * options_.heartbeat, answer.commit);
    dirty_ = true;
    if (!answer.counts) return;
    leading.reads.answered(message.from, answer.round);
    leading.time.sample(message.from, answer.wall, now_);
}

void Raft::on(const Message& message, const ChunkAnswer& answer, Moment) {
    Progress* progress = member(message.from);
    if (progress == nullptr) return;
    progress->heard(now_, answer.counts);
    dirty_ = true;
    if (progress->mode() != Progress::Mode::snapshot || answer.snapshot != progress->snapshot()) return;
    if (answer.installed) {
        progress->installed();
        return advance();
    }
    if (progress->chunk_answered(answer.next, now_)) fetch_chunk(message.from, *progress);
}

}  // namespace cluster::consensus
