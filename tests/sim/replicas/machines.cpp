#include "sim/replicas/machines.hpp"

#include "base/overloaded.hpp"
#include "group/command.hpp"
#include "group/version.hpp"
#include "sim/replicas/text.hpp"
#include "sim/replicas/violation.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <span>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using namespace consensus;

Machines::Machines(const Plan& plan) : plan_(plan), chance_(plan.seed) {
    result_.hash = 0xcbf29ce484222325;
}

void Machines::found(const std::vector<std::string>& names, Duration election_timeout) {
    names_.insert(names.begin(), names.end());
    election_timeout_ = election_timeout;
    result_.voters = names.size();
    Configuration configuration;
    std::vector<Invariants::Member> members;
    for (std::size_t i = 0; i < names.size(); ++i) {
        DiskId id;
        id.bytes.fill(static_cast<std::uint8_t>(10 * (i * 7 % 5) + 1));
        const Place& place = add_place(names[i], id);
        configuration.voters.insert(id);
        members.push_back({id, &place.disk});
    }
    invariants_.emplace(configuration, std::move(members));
    freezes_ = chance_.coin();
    authenticates_ = chance_.below(4) == 0;
    if (chance_.below(4) == 0) max_sessions_ = Customers::most + chance_.below(3);
    Customers::Options clients{names.size(), authenticates_, max_sessions_};
    customers_.emplace(static_cast<Streets&>(*this), chance_.next(), clients, chronicle_, result_);
}

Machines::Place& Machines::add_place(const std::string& name, const DiskId& id) {
    storage::LogOptions log;
    log.segment_bytes = 4096;
    Disk::Options options{id, name, Bytes(), chance_.next(), log};
    Place& place = *places_.emplace_back(std::make_unique<Place>(std::move(options)));
    place.index = places_.size() - 1;
    return place;
}

RaftOptions Machines::raft_options(const DiskId& self, std::uint64_t seed) const {
    RaftOptions options;
    options.self = self;
    options.seed = seed;
    options.election_timeout = election_timeout_;
    options.heartbeat = election_timeout_ / 10;
    options.max_uncommitted = 2000;
    options.memory = 1000;
    return options;
}

void Machines::line(const std::string& text) {
    char stamp[32];
    std::snprintf(stamp, sizeof stamp, "%12.6f  ", std::chrono::duration<double>(now()).count());
    trace_.push_back(stamp + text);
    if (trace_.size() > plan_.lines) trace_.pop_front();
}

Result Machines::finished(const std::string& why) {
    if (!why.empty()) {
        result_.failed = true;
        result_.why = why;
        result_.at = now();
        note(99, 0, [&] { return "FAILED: " + why; });
    }
    result_.expiries = chronicle_.expiries;
    result_.timers = chronicle_.fired;
    result_.letters = chronicle_.letters;
    result_.trace.assign(trace_.begin(), trace_.end());
    return std::move(result_);
}

// Processes.

void Machines::begin(Place& place, const PeerId& peer) {
    place.life = chance_.next();
    note(1, place.index, [&] { return place.name + " starts"; });
    place.peer = peer;
    place.last_number = 0;
    place.leads = 0;
    place.commit = place.read = 0;
    place.writing = place.saving = false;
    place.ticks_at = never;
    place.files_until = {};
    place.work.clear();
    place.works = false;
    place.role = {};
    place.served.clear();
    place.changes.clear();
    place.replies.clear();
    place.replied.clear();
    place.halted.reset();
    place.may_halt = false;
    replica::MachineOptions options;
    options.group = "group";
    options.node = place.name;
    options.voters = names_;
    options.raft = raft_options(place.id, chance_.next());
    options.raft.term_body = group::pack(version_of(place));
    options.promise = place.disk.identity().promise;
    options.founded = place.disk.identity().group.has_value();
    options.recovered = place.disk.recover();
    options.random = [this](std::span<std::uint8_t> out) {
        for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(chance_.next());
    };
    options.wall = [this] { return Duration(1'000'000s) + now(); };
    options.life = place.life;
    options.max_sessions = max_sessions_;
    options.authenticates = authenticates_;
    const auto replied = [&place](std::uint64_t number, std::vector<std::byte> reply) {
        place.replies.emplace_back(number, std::move(reply));
    };
    place.office = std::make_unique<Office>(freezes_, place.id, place.life, nullptr, replied);
    place.office->applier.start();
    if (votes(place)) invariants_->started(place.index);
    place.machine = std::make_unique<Machine>(std::move(options), now(place));
}

/// Each leader has another version, and all go together.
ApplicationVersion Machines::version_of(const Place& place) {
    return {1, static_cast<std::uint16_t>(place.index)};
}

void Machines::end(Place& place) {
    if (!place.machine) return;
    note(2, place.index, [&] { return place.name + " ends"; });
    ++result_.crashes;
    place.machine.reset();
    place.office.reset();
    place.disk.crash(chance_, true);
    forget_calls(place);
}

void Machines::forget_calls(const Place& place) {
    const auto first = open_.lower_bound({place.life, 0});
    const auto behind = open_.lower_bound({place.life + 1, 0});
    result_.unknown += static_cast<std::uint64_t>(std::distance(first, behind));
    open_.erase(first, behind);
    reads_.erase(reads_.lower_bound({place.life, 0}), reads_.lower_bound({place.life + 1, 0}));
}

void Machines::in_turn(Place& place, Time& busy_until, Work work) {
    busy_until = std::max(busy_until, now(place)) + chance_.around(1ms);
    later(place, busy_until - now(place), std::move(work));
}

// What a machine wants.

void Machines::settle(Place& place) {
    if (place.disk.failed()) {
        ++result_.disks_failed;
        return disk_failed(place);
    }
    Machine::Output output;
    for (int rounds = 0; place.machine->has_output() && place.machine->take_output(output); ++rounds) {
        check(rounds < 1000, "a machine goes round in circles");
        if (votes(place)) check_effects(place, output.effects);
        for (replica::Effect& effect : output.effects) carry_out(place, effect);
    }
    // A commit has no effect while the services have enough to do.
    if (votes(place)) check_effects(place, {});
    if (!place.writing && place.disk.begin_group()) {
        place.writing = true;
        later(place, chance_.around(2ms), [this, &place](Machine& machine) {
            place.writing = false;
            const std::uint64_t number = place.disk.finish_group();
            if (number != 0) machine.written(number, now(place));
        });
    }
    const Time deadline = place.machine->deadline();
    if (deadline >= place.ticks_at) return;
    place.ticks_at = std::max(deadline, now(place));
    later(place, place.ticks_at - now(place), [this, &place, due = place.ticks_at](Machine& machine) {
        if (place.ticks_at != due) return;  // an earlier one has taken its place
        place.ticks_at = never;
        machine.tick(now(place));
    });
}

/// Before anything of it is done.
void Machines::check_effects(Place& place, const std::vector<replica::Effect>& effects) {
    const Term led = place.leads;
    bool loaded = false;
    const ReplicaStatus status = place.machine->status();
    const Term leads = status.role == cluster::Role::leader ? status.term : 0;
    const auto commits = [&] {
        if (status.committed == place.commit) return;
        check(status.committed > place.commit, "a commit goes backwards");
        place.commit = status.committed;
        invariants_->committed(place.index, place.commit, loaded ? 0 : leads);
    };
    // A leader commits what it has written before. What it writes now knows of that.
    if (leads != 0 && led == leads) commits();
    for (const replica::Effect& effect : effects) {
        if (const auto* changed = std::get_if<StatusChanged>(&effect)) {
            const bool elected = changed->role == consensus::Role::leader && changed->term != place.leads;
            place.leads = changed->role == consensus::Role::leader ? changed->term : 0;
            if (!elected) continue;
            ++result_.leaders;
            note(3, changed->term, [&] { return place.name + " leads in term " + std::to_string(changed->term); });
            invariants_->elected(place.index, changed->term);
        } else if (const auto* load = std::get_if<Load>(&effect)) {
            loaded = true;
            invariants_->installed(place.index, load->snapshot.last);
        } else if (const auto* write = std::get_if<Write>(&effect)) {
            invariants_->wrote(place.index, *write, led == leads ? led : 0);
        }
    }
    commits();
}

void Machines::carry_out(Place& place, replica::Effect& effect) {
    std::visit(
        Overloaded{
            [&](Write& write) { place.disk.order(std::move(write)); },
            [&](replica::Tell& each) { tell(place, each); },
            [&](Apply& each) {
                serve(place, [this, &place, entries = std::move(each.entries)](Machine& machine) {
                    apply(place, machine, entries);
                });
            },
            [&](Load& each) {
                serve(place, [this, &place, id = each.snapshot](Machine& machine) { restore(place, machine, id); });
            },
            [&](Fetch& fetch) {
                in_turn(place, place.files_until, [this, &place, fetch](Machine& machine) {
                    machine.fetched(fetch.reader, place.disk.read(fetch), now(place));
                });
            },
            [&](FetchChunk& fetch) {
                in_turn(place, place.files_until, [this, &place, fetch](Machine& machine) {
                    machine.chunk_fetched(fetch.reader, place.disk.read(fetch), now(place));
                });
            },
            [&](StoreChunk& stored) {
                in_turn(place, place.files_until,
                        [this, &place, stored](Machine& machine) { store(place, machine, stored); });
            },
            [&](replica::Keep& wanted) {
                in_turn(place, place.files_until, [this, &place, wanted](Machine& machine) {
                    keep(place, wanted);
                    if (!place.disk.failed()) machine.kept(now(place));
                });
            },
            [&](replica::SubmitFailed& ended) { failed(place, ended); },
            [&](replica::ReadsDue& due) {
                serve(place, [this, &place, numbers = std::move(due.numbers)](Machine& machine) {
                    serve_reads(place, machine, numbers);
                });
            },
            [&](replica::ReadFailed& ended) { failed(place, ended); },
            [&](replica::Halted& each) {
                if (!place.may_halt) throw Violation(place.name + " stops: " + each.why);
                place.halted = each.error;
                halted(place);
            },
            [&](replica::TransferDone& done) { result_.transfers += done.error == errc{} ? 1 : 0; },
            [&](StatusChanged& each) {
                if (std::exchange(place.role, each.role) == each.role) return;
                serve(place, [&place, role = static_cast<cluster::Role>(each.role)](Machine&) {
                    place.office->applier.role(role);
                });
            },
            [](replica::StatusMayDiffer&) {},
            [](replica::LeadershipLeft&) {},
            [&](LogLine& logged) { note(4, logged.text.size(), [&] { return place.name + "  " + logged.text; }); },
            [&](replica::TellClient& each) { tell(place, each); },
            [&](replica::AttachSession& each) {
                serve(place, [this, &place, each](Machine& machine) { attach(place, machine, each); });
            },
            [&](replica::DetachSession& each) {
                serve(place, [this, &place, each](Machine&) { detach(place, each); });
            },
            [&](replica::Authenticate& each) { authenticate(place, each); },
            [&](replica::AskService& each) { ask_service(place, each); },
        },
        effect);
}

void Machines::store(Place& place, Machine& machine, const StoreChunk& stored) {
    const replica::Files::Stored result = place.disk.store(stored);
    if (place.disk.failed()) return;
    if (result.busy) {
        return in_turn(place, place.files_until,
                       [this, &place, stored](Machine& again) { store(place, again, stored); });
    }
    if (result.complete) ++result_.installs;
    machine.chunk_stored(stored, result.next, result.complete, now(place));
}

void Machines::keep(Place& place, const replica::Keep& keep) {
    if (keep.founded) {
        check(!group_ || *group_ == keep.promise.group, "two groups are founded");
        group_ = keep.promise.group;
        for (const auto& each : places_) {
            check(each->disk.identity().promise == keep.promise || each.get() == &place,
                  "a group is founded to which not all have promised themselves");
        }
    }
    place.disk.keep(keep.promise, keep.founded);
}

void Machines::tell(Place& from, const replica::Tell& tell) {
    ++result_.messages;
    if (const auto* founding = std::get_if<wire::FoundingMessage>(&tell.message)) check_founding(from, *founding);
    const auto* raft = std::get_if<wire::RaftMessage>(&tell.message);
    const auto* submits = std::get_if<wire::SubmitMessage>(&tell.message);
    const auto* reads = std::get_if<wire::ReadMessage>(&tell.message);
    if (raft != nullptr && votes(from)) invariants_->sent(from.index, raft->message, raft_options(from.id, 0));
    note(5, tell.message.index(), [&] {
        return from.name + "  says " +
               (raft != nullptr      ? text(raft->message)
                : submits != nullptr ? "what it submits"
                : reads != nullptr   ? "how far a read must see"
                                     : "how it is founded");
    });
    send(from, tell.to, tell.message);
}

/// Messages go through their bytes, as on the wire.
void Machines::received(Place& place, const PeerId& from, const Bytes& message) {
    auto read = wire::decode(message);
    check(read.has_value(), "a message cannot be read");
    place.machine->received(from, std::move(*read), now(place));
}

/// Nothing is said of a promise, or of a group, that is not on disk.
void Machines::check_founding(const Place& from, const wire::FoundingMessage& message) const {
    const storage::Identity& identity = from.disk.identity();
    std::visit(Overloaded{
                   [&](const Introduction& introduction) {
                       check(!introduction.promise || introduction.promise == identity.promise,
                             "a promise is told that is not on disk");
                       check(!introduction.founded || identity.group.has_value(),
                             "a group is told that is not on disk");
                   },
                   [&](const AskPromise& asked) {
                       check(asked.promise == identity.promise, "one asks for a promise that it has not given");
                   },
                   [&](const Promised& promised) {
                       check(identity.promise && identity.promise->group == promised.group,
                             "a promise is told that is not on disk");
                   },
                   [&](const Farewell&) { check(from.machine->halted(), "one says farewell and goes on"); },
               },
               message.body);
}

// What applications do.

void Machines::submit(Place& place, std::size_t many, Duration patience, bool sure) {
    using Kind = Wish::Kind;
    static constexpr Kind others[] = {Kind::push, Kind::tell_all, Kind::ring, Kind::hush, Kind::letter};
    for (; many != 0; --many) {
        Wish wish;
        if (chance_.below(30) == 0) wish.kind = others[chance_.below(std::size(others))];
        wish.key = static_cast<std::uint8_t>(chance_.below(20));
        wish.value = chance_.next() >> 8;
        submit(place, wish, patience, sure);
    }
}

void Machines::submit(Place& place, Wish wish, Duration patience, bool sure) {
    wish.author = place.life;
    wish.order = ++place.last_number;
    const Call call{wish.author, wish.order};
    const std::vector<std::byte> message = wish.encode(chance_.below(150));
    const group::Submitted command{place.id, place.life, wish.order, message};
    open_.insert(call);
    if (sure) sure_.insert(call);
    place.machine->submit(wish.order, group::pack(command), now(place) + patience, now(place));
}

void Machines::write_letters(Place& place) {
    Wish wish;
    wish.kind = Wish::Kind::letter;
    submit(place, wish, 1s, true);
    settle(place);
}

void Machines::failed(const Place& place, const replica::SubmitFailed& failed) {
    if (place.machine->halted()) return;  // its callers are forgotten
    const Call call{place.life, failed.number};
    // Its caller has the reply, and the machine has not heard of that yet.
    if (std::ranges::count(place.replied, failed.number) != 0) return;
    check(open_.erase(call) == 1, "a submission ends twice");
    const bool never = failed.error == errc::no_leader || failed.error == errc::overloaded;
    check(never || failed.error == errc::timed_out || failed.error == errc::outcome_unknown,
          "a submission ends with an error that it cannot have");
    ++(never ? result_.refused : result_.unknown);
    if (never) chronicle_.never(call);
}

void Machines::read(Place& place, std::size_t many, Duration patience, bool sure) {
    for (; many != 0; --many) {
        const std::uint64_t number = ++place.last_number;
        ReadOptions options;
        Read read{chance_.coin(), told_};
        if (read.stale) {
            options.consistency = Consistency::stale;
            // What one was told of; what this replica may never have.
            if (chance_.coin()) options.at_least = told_;
            if (!sure && chance_.below(10) == 0) options.at_least = place.applied() + chance_.below(10);
            read.least = std::max(place.read, options.at_least);
        }
        reads_.emplace(Call{place.life, number}, read);
        if (sure) sure_reads_.insert({place.life, number});
        place.machine->read(number, options, now(place) + patience, now(place));
    }
}

void Machines::failed(const Place& place, const replica::ReadFailed& failed) {
    if (place.machine->halted()) return;  // its callers are forgotten
    const auto found = reads_.find({place.life, failed.number});
    check(found != reads_.end(), "a read ends twice");
    check(failed.error == errc::no_leader || failed.error == errc::timed_out,
          "a read ends with an error that it cannot have");
    const Read read = std::move(found->second);
    reads_.erase(found);
    if (read.seat) answer(place, read, failed.error, 0, {});
}

bool Machines::agree(const std::vector<const Place*>& places, std::string& why) const {
    for (const Place* each : places) {
        if (!each->machine) return why = each->name + " does not run", false;
        if (each->applied() != places.front()->applied())
            return why = "two services have applied different things", false;
    }
    for (const Call& call : sure_) {
        if (!acknowledged_.contains(call)) return why = "all is well, and a submission does not get through", false;
    }
    if (!sure_reads_.empty()) return why = "all is well, and a read does not get through", false;
    return true;
}

void Machines::check_calls() const {
    for (const Call& call : acknowledged_) {
        check(chronicle_.reply(call) != nullptr, "a submission was acknowledged, and has had no effect");
    }
}

/// The log goes on by itself as long as a timer is due or a letter waits.
void Machines::check_rest() const {
    std::string why;
    if (!customers_->closed(why)) throw Violation(why);
    check(chronicle_.next_timer() == never, "a timer is due, and does not fire");
    check(!chronicle_.has_letters(), "a letter is not delivered");
}

}  // namespace cluster::sim::replicas
