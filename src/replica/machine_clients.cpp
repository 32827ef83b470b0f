#include "replica/machine.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

// What a replica's machine does for clients: it tells `Clients` how this replica stands, and puts into the log what
// they want there.

namespace cluster::replica {

void Machine::look_whom_to_serve(Time now) {
    if (!raft_ || halted_) return;
    if (raft_->role() != consensus::Role::leader) {
        const auto leader = where_.find(raft_->leader());
        return clients_.follow(leader == where_.end() ? PeerId() : leader->second, now);
    }
    if (applied_.term == raft_->term()) return clients_.serve(now);
    clients_.prepare();
}

void Machine::propose_for_clients(Time now) {
    while (clients_.proposes(now) && raft_ && !halted_) {
        const std::vector<Bytes> commands = clients_.proposals(options_.raft.max_append);
        consensus::LogId first;
        const std::size_t taken = leaving_ ? 0 : propose(options_.raft.self, commands, first, now);
        clients_.proposed(taken, commands.size(), now);
    }
}

bool Machine::session_attached(const client::Seat& seat, std::uint64_t session, std::optional<std::uint64_t> applied,
                               Time now) {
    now_ = now;
    return !halted_ && clients_.attached(seat, session, applied, now);
}

void Machine::session_lost(std::uint64_t session, bool hopeless, Time now) {
    now_ = now;
    clients_.lost(session, hopeless);
}

void Machine::client_said(const client::Seat& seat, client::ToNode&& message, Time now) {
    now_ = now;
    clients_.received(seat, std::move(message), now);
}

void Machine::client_gone(const PeerId& peer, Time now) {
    now_ = now;
    clients_.gone(peer);
}

void Machine::client_not_told(const client::Seat& seat, Time now) {
    now_ = now;
    clients_.not_told(seat);
}

void Machine::authenticated(std::uint64_t ticket, const Verdict& verdict, Time now) {
    now_ = now;
    clients_.authenticated(ticket, verdict, now);
}

// Comparing states.

/// The leader puts it into the log, once.
void Machine::log_check(Time now) {
    const bool leads = raft_->role() == consensus::Role::leader && applied_.term == raft_->term();
    if (!leads || check_logged_ == raft_->term()) return;
    const Bytes command = group::pack(group::CheckState{});
    consensus::LogId first;
    if (propose(options_.raft.self, std::span(&command, 1), first, now) == 1) check_logged_ = first.term;
}

/// This replica's state at that place.
void Machine::checked(const wire::StateHash& state) {
    check_logged_ = 0;
    states_.note(options_.raft.self, state.index, state.hash);
    for (const auto& [disk, peer] : where_) {
        emit(Tell{peer, wire::StateMessage{group_, options_.raft.self, disk, raft_->term(), state}});
    }
}

void Machine::on(const PeerId& from, wire::StateMessage&& message, Time now) {
    if (!raft_ || message.group != group_ || message.to != options_.raft.self || !is_at(message.from, from)) return;
    const wire::StateHash& state = std::get<wire::StateHash>(message.body);
    states_.note(message.from, state.index, state.hash);
    compare_states(now);
}

void Machine::compare_states(Time now) {
    if (const auto place = states_.alone(raft_->configuration())) {
        return halt(errc::state_diverged,
                    "its state at position " + std::to_string(*place) +
                        " is not that of the others: the service depends on something else than the log",
                    now);
    }
    if (const auto place = states_.take_split(raft_->configuration())) {
        log(LogLevel::error, "replica_states_differ position=" + std::to_string(*place));
    }
}

}  // namespace cluster::replica
