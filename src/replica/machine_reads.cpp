#include "replica/machine.hpp"

#include <utility>

// What a machine does for reads: of its own callers, and of other replicas if this one leads.

namespace cluster::replica {

using consensus::Askers;
using consensus::DiskId;
using consensus::Questions;
using consensus::ReadIndex;
using consensus::ReadIndexAnswer;
using consensus::ReadReady;
using consensus::Refused;

void Machine::read(std::uint64_t number, const ReadOptions& options, Time deadline, Time now) {
    now_ = now;
    if (halted_ || leaving_) return emit(ReadFailed{number, halted_ ? errc::replica_stopped : errc::closed});
    if (questions_.full()) return emit(ReadFailed{number, errc::too_many_requests});
    if (options.consistency == Consistency::stale) {
        questions_.add(number, deadline, options.at_least);
    } else {
        questions_.add(number, deadline);
    }
}

void Machine::reads_done(std::span<const std::uint64_t> numbers, Time now) {
    now_ = now;
    for (const std::uint64_t number : numbers) questions_.done(number);
}

void Machine::forget(std::uint64_t number, Time now) {
    now_ = now;
    submissions_.done(number, now);
    questions_.done(number);
}

bool Machine::knows_whom_to_ask() const {
    if (!raft_ || halted_) return false;
    return raft_->role() == consensus::Role::leader || where_.contains(raft_->leader());
}

void Machine::ask(Time now) {
    if (!can_ask()) return;
    auto question = questions_.next(now);
    if (!question) return;
    question->counts = options_.raft.may_vote;
    if (raft_->role() != consensus::Role::leader) return tell_read(raft_->leader(), *question);
    const std::uint64_t number = askers_.asks(options_.raft.self, *question);
    if (raft_->read(number, moment(now)) != Refused::no) questions_.not_sent(now);
}

/// This replica leads, and leads still as a majority says.
void Machine::answer_asker(const ReadReady& ready) {
    const auto found = askers_.ready(ready.number, ready.index);
    if (!found) return;
    if (found->to == options_.raft.self) return questions_.answered(found->answer);
    tell_read(found->to, found->answer);
}

void Machine::tell_read(const DiskId& to, std::variant<ReadIndex, ReadIndexAnswer> body) {
    const auto found = where_.find(to);
    if (found == where_.end()) return;
    emit(Tell{found->second, wire::ReadMessage{group_, options_.raft.self, to, raft_->term(), std::move(body)}});
}

void Machine::expire_reads(Time now) {
    for (const Questions::Expired& each : questions_.expire(now)) {
        const bool nobody = !each.answered && !knows_whom_to_ask();
        emit(ReadFailed{each.number, nobody ? errc::no_leader : errc::timed_out});
    }
}

}  // namespace cluster::replica
