#include "replica/snapshot_stream.hpp"
#include "sim/replicas/machines.hpp"
#include "sim/replicas/violation.hpp"
#include "wire/client_codec.hpp"

#include <cstring>
#include <utility>

// What a replica does on its service thread and for clients, in the order in which it does it.

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using namespace consensus;

namespace {

constexpr std::uint64_t compare_every = 4000;

}  // namespace

/// One after the other. What happens on other threads comes between them.
void Machines::serve(Place& place, Work work) {
    place.work.push_back(std::move(work));
    if (!std::exchange(place.works, true)) next_work(place);
}

void Machines::next_work(Place& place) {
    place.works = !place.work.empty();
    if (!place.works) return;
    later(place, chance_.around(1ms), [this, &place](Machine& machine) {
        const Work work = std::move(place.work.front());
        place.work.pop_front();
        if (!machine.halted()) work(machine);
        next_work(place);
    });
}

void Machines::apply(Place& place, Machine& machine, const std::vector<Entry>& entries) {
    for (const Entry& each : entries) {
        if (votes(place)) chronicle_.applied(each);
        place.office->applier.apply(each);
        if (chance_.below(10) != 0) continue;
        pass_replies(place);
        pass_outcomes(place, machine);
    }
    if (votes(place)) chronicle_.check_state(*place.office);
    pass_replies(place);
    pass_outcomes(place, machine);
    // The machine may hear of it a little later than callers and clients do.
    if (chance_.coin()) return applied(place, machine);
    place.work.push_front([this, &place](Machine& later) { applied(place, later); });
}

void Machines::applied(Place& place, Machine& machine) {
    replica::Applier& applier = place.office->applier;
    const std::vector<wire::StateHash> checked = applier.take_checked();
    machine.applied({applier.last(), place.replied, applier.wants_entry_at(), place.changes, checked,
                     applier.unchecked() >= compare_every},
                    now(place));
    place.replied.clear();
    place.changes.clear();
    // What a snapshot holds of letters is seldom there.
    if (chance_.below(applier.state().letters.empty() ? 40 : 3) == 0) save(place, machine);
}

void Machines::pass_replies(Place& place) {
    for (auto& [number, reply] : std::exchange(place.replies, {})) {
        place.replied.push_back(number);
        const Call call{place.life, number};
        if (open_.erase(call) == 0) continue;  // its time was over
        const Chronicle::Said* said = chronicle_.reply(call);
        check(said != nullptr, "a submission is acknowledged, and has had no effect");
        check(said->bytes == reply, "the reply to a submission is not that of the service");
        acknowledged_.insert(call);
        was_told(said->position);
        ++result_.commands;
    }
}

/// What was acknowledged anywhere before a read began, and what other reads had seen by then, it sees.
void Machines::serve_reads(Place& place, Machine& machine, const std::vector<std::uint64_t>& numbers) {
    for (const std::uint64_t number : numbers) {
        const auto found = reads_.find({place.life, number});
        if (found == reads_.end()) continue;  // its time was over
        const Read read = std::move(found->second);
        reads_.erase(found);
        sure_reads_.erase({place.life, number});
        ++result_.reads;
        check(place.applied() >= read.least,
              read.stale ? "a stale read sees less than it must" : "a read does not see what was known when it began");
        place.read = std::max(place.read, place.applied());
        if (!read.stale) was_told(place.applied());
        const replica::Answered said = place.office->applier.query(read.query.view());
        if (read.seat) {
            answer(place, read, said.error, said.position, Bytes(said.bytes));
            continue;
        }
        std::uint64_t state = 0;
        check(!said.error && said.bytes.size() == sizeof state, "a read has no answer");
        std::memcpy(&state, said.bytes.data(), sizeof state);
        check(state == chronicle_.answer_at(said.position), "the answer to a read is not that of its position");
    }
    machine.reads_done(numbers, now(place));
}

// Snapshots.

void Machines::save(Place& place, Machine& machine) {
    replica::Applier& applier = place.office->applier;
    if (place.saving || place.disk.newest() >= applier.last().index) return;
    const auto id = machine.snapshot_at(applier.last(), applier.time());
    if (!id || !place.disk.begin_snapshot(*id)) return;
    ++result_.snapshots;
    applier.snapshot_begun();
    auto frozen = applier.freeze();
    if (!frozen) return finish_snapshot(place, machine, *id, [&](SnapshotWriter& out) { applier.save(out); });
    place.saving = true;
    later(place, chance_.around(3ms), [this, &place, id = *id, frozen = std::move(frozen)](Machine& after) {
        place.saving = false;
        finish_snapshot(place, after, id, frozen);
    });
}

void Machines::finish_snapshot(Place& place, Machine& machine, const SnapshotId& id,
                               const std::function<void(SnapshotWriter&)>& write) {
    const bool finished = place.disk.finish_snapshot([&](storage::SnapshotOutput& output) {
        replica::StreamWriter stream(output, version_of(place));
        write(stream);
    });
    if (!finished) return;
    const auto& kept = place.disk.snapshots();
    const SnapshotId base = kept.size() > 1 ? kept.front().id : SnapshotId();
    machine.snapshot_taken(id, base, now(place));
    if (base.last.index != 0) place.disk.cut(base.last.index);
}

void Machines::restore(Place& place, Machine& machine, const SnapshotId& id) {
    replica::Applier& applier = place.office->applier;
    place.disk.load(id.last, [&](storage::SnapshotInput& input) {
        replica::StreamReader reader(input);
        applier.load(reader, reader.form(), input.facts().id);
    });
    place.served.clear();
    if (place.disk.failed()) return;
    check(applier.last() == id.last, "a snapshot stands somewhere else than it says");
    chronicle_.check_state(*place.office);
    machine.loaded(applier.last(), applier.wants_entry_at(), applier.sessions(), now(place));
}

// Clients.

std::optional<PeerId> Machines::node_at(std::size_t place) const {
    return places_[place]->machine ? std::optional(places_[place]->peer) : std::nullopt;
}

void Machines::client_said(std::size_t index, const PeerId& node, const client::Seat& seat, Bytes message) {
    Place& place = *places_[index];
    in_process(place, [this, &place, node, seat, message = std::move(message)] {
        if (!place.machine || place.peer != node) return;
        auto read = wire::decode_to_node(message);
        check(read && read->group == wire::group_tag("group") && read->client == seat.client,
              "a replica cannot read what a client says");
        place.machine->client_said(seat, std::move(read->body), now(place));
        settle(place);
    });
}

void Machines::client_gone(std::size_t index, const PeerId& node, const PeerId& client) {
    Place& place = *places_[index];
    in_process(place, [this, &place, node, client] {
        if (!place.machine || place.peer != node) return;
        place.machine->client_gone(client, now(place));
        settle(place);
    });
}

errc Machines::tell_client(const Place& place, const client::Seat& seat, client::ToClient message) {
    return customers_->tell(place.index, place.peer, seat,
                            Bytes::adopt(wire::encode(wire::NodeToClient{seat.client, std::move(message)})));
}

void Machines::tell(const Place& place, replica::TellClient& tell) {
    if (auto* elsewhere = std::get_if<client::NotLeader>(&tell.message)) {
        for (const auto& each : places_) {
            if (each->machine && each->peer == elsewhere->leader) {
                elsewhere->addresses = {Customers::address_of(each->index)};
            }
        }
    }
    const errc error = tell_client(place, tell.to, std::move(tell.message));
    if (error != errc{}) place.machine->client_not_told(tell.to, now(place));
}

void Machines::answer(const Place& place, const Read& read, std::error_code error, Index position, Bytes bytes) {
    const auto code = static_cast<std::uint32_t>(error.value());
    const errc lost = tell_client(place, *read.seat, client::Answer{read.number, code, position, std::move(bytes)});
    if (lost != errc{}) place.machine->client_not_told(*read.seat, now(place));
}

/// Each has to prove that it is who it says.
void Machines::authenticate(Place& place, const replica::Authenticate& asked) {
    using Kind = replica::Verdict::Kind;
    replica::Verdict verdict{Kind::challenged, "prove it"};
    if (!asked.challenge.empty()) {
        const bool proved = asked.challenge == verdict.text && asked.response == Customers::proof;
        verdict = {Kind::rejected, "it does not prove who it is"};
        if (proved) verdict = {Kind::accepted, Customers::principal_of(asked.credentials)};
    }
    if (asked.credentials == Customers::wrong_credentials) verdict = {Kind::rejected, "nobody knows it"};
    later(place, chance_.around(5ms), [this, &place, ticket = asked.ticket, verdict](Machine& machine) {
        machine.authenticated(ticket, verdict, now(place));
    });
}

void Machines::ask_service(Place& place, const replica::AskService& asked) {
    const std::uint64_t number = ++place.last_number;
    ReadOptions options;
    Read read{!asked.query.linearizable, told_, asked.seat, asked.query.number, asked.query.query};
    if (read.stale) {
        options.consistency = Consistency::stale;
        options.at_least = asked.query.at_least;
        read.least = std::max(place.read, options.at_least);
    }
    reads_.emplace(Call{place.life, number}, std::move(read));
    place.machine->read(number, options, now(place) + 30s, now(place));
}

void Machines::attach(Place& place, Machine& machine, const replica::AttachSession& wanted) {
    replica::Applier& applier = place.office->applier;
    const auto attached = applier.attach(wanted.session, wanted.key, wanted.received);
    const auto applied = attached ? std::optional(attached->applied) : std::nullopt;
    if (!machine.session_attached(wanted.seat, wanted.session, applied, now(place))) {
        if (!place.served.contains(wanted.session)) applier.detach(wanted.session);
        return;
    }
    place.served[wanted.session] = wanted.seat;
    const auto says = [&](client::ToClient message) {
        return tell_session(place, machine, wanted.session, std::move(message));
    };
    if (!says(client::Attached{*applied, 1 << 20})) return;
    for (const group::Kept& each : attached->replies) {
        if (!says(client::Reply{each.number, each.position, each.bytes})) return;
    }
    for (const group::Kept& each : attached->pushes) {
        if (!says(client::Push{each.number, each.position, each.bytes})) return;
    }
}

void Machines::detach(Place& place, const replica::DetachSession& over) {
    if (over.session == 0) {
        place.served.clear();
        return place.office->applier.detach_all();
    }
    const auto found = place.served.find(over.session);
    if (found == place.served.end() || found->second != over.seat) return;
    place.served.erase(found);
    place.office->applier.detach(over.session);
}

bool Machines::tell_session(Place& place, Machine& machine, std::uint64_t session, client::ToClient message) {
    const auto found = place.served.find(session);
    if (found == place.served.end()) return false;
    const errc error = tell_client(place, found->second, std::move(message));
    if (error == errc{}) return true;
    place.office->applier.detach(session);
    place.served.erase(found);
    machine.session_lost(session, error == errc::message_too_large, now(place));
    return false;
}

void Machines::pass_outcomes(Place& place, Machine& machine) {
    for (group::Outcome& outcome : place.office->applier.take_outcomes()) {
        if (auto* change = std::get_if<group::SessionChange>(&outcome)) {
            if (const auto* closed = std::get_if<group::SessionClosed>(change)) {
                place.served.erase(closed->session);
                note(8, closed->session, [&] {
                    return place.name + "  session " + std::to_string(closed->session) +
                           " is closed: " + std::string(to_string(closed->reason));
                });
            }
            place.changes.push_back(*change);
        } else if (auto* replied = std::get_if<group::SessionReplied>(&outcome)) {
            const group::Kept& reply = replied->reply;
            tell_session(place, machine, replied->session, client::Reply{reply.number, reply.position, reply.bytes});
        } else if (auto* pushed = std::get_if<group::SessionPushed>(&outcome)) {
            const group::Kept& push = pushed->push;
            tell_session(place, machine, pushed->session, client::Push{push.number, push.position, push.bytes});
        }
    }
}

/// Those who read hear that it does nothing any more.
void Machines::halted(Place& place) {
    for (const auto& [call, read] : reads_) {
        if (call.first == place.life && read.seat) answer(place, read, errc::replica_stopped, 0, {});
    }
}

}  // namespace cluster::sim::replicas
