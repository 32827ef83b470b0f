#include "replica/machine.hpp"

#include <utility>
#include <vector>

// What a replica's machine does for clients: it tells `Clients` how this replica stands, and puts into the log what
// they want there.

namespace cluster::replica {

void Machine::look_whom_to_serve(Time now) {
    if (!raft_ || halted_) return;
    if (raft_->role() != consensus::Role::leader) {
        const auto leader = where_.find(raft_->leader());
        return clients_.follow(leader == where_.end() ? PeerId() : leader->second);
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

void Machine::authenticated(std::uint64_t ticket, const Verdict& verdict, Time now) {
    now_ = now;
    clients_.authenticated(ticket, verdict, now);
}

}  // namespace cluster::replica
