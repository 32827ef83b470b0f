#include "sim/replicas/machine_world.hpp"

#include "sim/replicas/violation.hpp"

#include <algorithm>
#include <cstring>
#include <exception>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using namespace consensus;

namespace {

constexpr Time healed_at = 8s;
/// From then on everything that is submitted has to be done.
constexpr Time well_at = 11s;
/// By then it is, and clients leave.
constexpr Time closed_at = 18s;
constexpr Time ended_at = 20s;

}  // namespace

MachineWorld::MachineWorld(const Plan& plan) : Machines(plan) {
    const std::size_t most = std::min<std::size_t>(plan.most_voters, 5);
    const std::size_t voters = plan.least_voters + chance_.below(most - plan.least_voters + 1);
    trouble_ = plan.faults && plan.seed % 4 != 0;
    strange_ = trouble_ && chance_.coin();
    disks_fail_ = trouble_ && chance_.coin();
    stranger_.bytes.fill(0xee);
    std::vector<std::string> names{"ann", "bob", "cat", "dan", "eve"};
    names.resize(voters);
    found(names, 300ms);
}

Result MachineWorld::run() {
    std::string why;
    try {
        for (const auto& each : places_) start(*each);
        for (const auto& each : places_) load(*each);
        customers_->begin(trouble_);
        if (trouble_) at(chance_.around(300ms), [this] { fault(); });
        until(healed_at);
        heal();
        until(well_at);
        customers_->expect_all();
        until(well_at + 2s);
        submits_ = false;
        customers_->rest();
        until(closed_at);
        if (!customers_->content(why)) throw Violation("all is well, and " + why);
        write_letters(*places_.front());
        until(closed_at + 1s);
        check(!chronicle_.has_letters(), "letters wait for somebody to say something");
        customers_->close();
        until(ended_at);
        finish();
        if (chance_.below(4) == 0) copy_a_directory();
    } catch (const std::exception& error) {
        why = error.what();
    }
    return finished(why);
}

// Time.

void MachineWorld::until(Time end) {
    while (!queue_.empty() && queue_.begin()->first.first <= end) {
        now_ = queue_.begin()->first.first;
        const auto work = std::move(queue_.begin()->second);
        queue_.erase(queue_.begin());
        ++result_.events;
        work();
    }
    now_ = end;
}

void MachineWorld::later(Place& place, Duration delay, std::function<void(Machine&)> work) {
    at(delay, [this, &place, life = place.life, work = std::move(work)] {
        if (!place.machine || place.life != life) return;
        work(*place.machine);
        settle(place);
    });
}

// Processes.

void MachineWorld::start(Place& place) {
    PeerId peer;
    const std::uint64_t number = chance_.next();
    std::memcpy(peer.bytes.data(), &number, sizeof number);
    begin(place, peer);
    for (const auto& each : places_) {
        if (each.get() == &place || !each->machine) continue;
        meet(place, each->peer, each->name);
        meet(*each, place.peer, place.name);
    }
    if (strange_) meet(place, stranger_, "mallory");
    settle(place);
}

void MachineWorld::meet(Place& place, const PeerId& peer, const std::string& name) {
    later(place, chance_.around(5ms), [this, peer, name](Machine& machine) { machine.came(peer, name, now_); });
}

void MachineWorld::stop(Place& place) {
    if (!place.machine) return;
    end(place);
    customers_->process_ended(place.index);
    for (const auto& each : places_) {
        if (!each->machine) continue;
        later(*each, chance_.around(20ms), [this, peer = place.peer](Machine& machine) { machine.went(peer, now_); });
    }
    at(chance_.around(200ms), [this, &place] {
        if (!place.machine) start(place);
    });
}

/// It stops while its node lives on. Later one begins anew there, with the same directory.
void MachineWorld::halt(Place& place) {
    if (!place.machine || place.machine->halted()) return;
    place.may_halt = true;
    place.machine->halt(errc::storage_failed, "the disk is full", now_);
    settle(place);
    forget_calls(place);
    at(chance_.around(200ms), [this, &place, life = place.life] {
        if (!place.machine || place.life != life) return;
        end(place);
        begin(place, place.peer);
        for (const auto& each : places_) {
            if (each.get() != &place && each->machine) meet(place, each->peer, each->name);
        }
        settle(place);
    });
}

/// Somebody ends or halts, or is to hand over, or the link between two loses what is on it for a while, or a disk
/// fails.
void MachineWorld::fault() {
    if (healed_) return;
    Place& one = *places_[chance_.below(places_.size())];
    Place& other = *places_[chance_.below(places_.size())];
    const std::size_t which = chance_.below(12);
    if (which < 2) {
        halt(one);
    } else if (which < 4) {
        stop(one);
    } else if (which < 6 && disks_fail_) {
        one.disk.fail_soon(chance_);
    } else if (which < 8) {
        if (one.machine) one.machine->transfer(0, {}, now_);
        if (one.machine) settle(one);
    } else if (&one != &other) {
        ++result_.cuts;
        const auto pair = std::pair(one.name, other.name);
        const Duration mean = chance_.coin() ? 10ms : 500ms;
        lost_.insert(pair);
        at(chance_.around(mean), [this, pair] { lost_.erase(pair); });
    }
    at(chance_.around(150ms), [this] { fault(); });
}

void MachineWorld::heal() {
    healed_ = true;
    customers_->heal();
    lost_.clear();
    for (const auto& each : places_) {
        each->disk.repair();
        if (!each->machine) start(*each);
    }
    // When all know each other, the stranger says that it is each of them.
    at(1s, [this] {
        for (const auto& [disk, introduction] : introductions_) {
            for (const auto& each : places_) deliver(stranger_, "mallory", each->peer, introduction);
        }
    });
}

/// Submits now and then, one or many at once.
void MachineWorld::load(Place& place) {
    at(chance_.around(now_ < well_at ? 40ms : 200ms), [this, &place] {
        if (!submits_) return;
        load(place);
        if (!place.machine || place.machine->halted()) return;
        const bool late = now_ >= well_at;
        const std::size_t many = 1 + chance_.below(late ? 30 : 8);
        submit(place, many, late ? Duration(4s) : chance_.between(20ms, 2s), late);
        read(place, chance_.below(6), late ? Duration(4s) : chance_.between(20ms, 2s), late);
        settle(place);
    });
}

// Messages.

void MachineWorld::send(Place& from, const PeerId& to, const wire::ReplicaMessage& message) {
    deliver(from.peer, from.name, to, message);
    const bool founds = std::holds_alternative<wire::FoundingMessage>(message);
    if (strange_ && (founds || chance_.below(10) == 0)) forge(from, to, message);
}

void MachineWorld::deliver(const PeerId& from, const std::string& name, const PeerId& to,
                           const wire::ReplicaMessage& message) {
    const auto found = std::find_if(places_.begin(), places_.end(),
                                    [&](const auto& each) { return each->machine && each->peer == to; });
    if (found == places_.end() || lost_.contains({name, (*found)->name})) return;
    Time& last = arrives_[{from, to}];
    last = std::max(last, now_ + chance_.around(1ms));
    std::vector<std::byte> bytes;
    wire::encode(message, bytes);
    later(**found, last - now_,
          [this, &receiver = **found, from, bytes = Bytes(bytes)](Machine&) { received(receiver, from, bytes); });
}

/// The stranger says what it has heard, and makes it worse where it can.
void MachineWorld::forge(const Place& from, const PeerId& to, wire::ReplicaMessage message) {
    if (auto* raft = std::get_if<wire::RaftMessage>(&message)) {
        auto& body = raft->message.body;
        if (auto* answer = std::get_if<VoteAnswer>(&body)) answer->granted = true;
        if (auto* answer = std::get_if<AppendAnswer>(&body)) *answer = {answer->matched + 1, 0, {}};
        if (auto* heartbeat = std::get_if<Heartbeat>(&body)) heartbeat->commit += 1;
        if (auto* append = std::get_if<Append>(&body)) append->commit += 1;
    } else if (auto* submit = std::get_if<wire::SubmitMessage>(&message)) {
        if (auto* taken = std::get_if<Submit>(&submit->body)) taken->first = taken->oldest += 1;
        if (auto* answer = std::get_if<SubmitAnswer>(&submit->body)) answer->expected = 0;
    } else if (auto* read = std::get_if<wire::ReadMessage>(&message)) {
        if (auto* answer = std::get_if<ReadIndexAnswer>(&read->body)) answer->index = 0;
    } else if (auto* founding = std::get_if<wire::FoundingMessage>(&message)) {
        if (std::holds_alternative<Introduction>(founding->body)) introductions_[founding->from] = *founding;
        if (const auto* asked = std::get_if<AskPromise>(&founding->body)) {
            std::swap(founding->from, founding->to);
            founding->body = Promised{asked->promise.group};
            return deliver(stranger_, "mallory", from.peer, message);
        }
    }
    deliver(stranger_, "mallory", to, message);
}

void MachineWorld::finish() {
    check(open_.empty(), "a submission has no end");
    check(reads_.empty(), "a read has no end");
    std::vector<const Place*> all;
    for (const auto& each : places_) all.push_back(each.get());
    std::string why;
    if (!agree(all, why)) throw Violation(why);
    check_calls();
    check_rest();
    const std::string leader = places_.front()->machine->status().leader;
    check(!leader.empty(), "nobody leads");
    for (const auto& each : places_) check(each->machine->status().leader == leader, "two lead");
}

/// Two with one disk could vote twice in one term: as soon as they meet, both stop.
void MachineWorld::copy_a_directory() {
    Place& original = *places_[chance_.below(result_.voters)];
    Place& twin = add_place(original.name, original.id);
    twin.disk.keep(*original.disk.identity().promise, true);
    start(twin);
    original.may_halt = twin.may_halt = true;
    until(now_ + 2s);
    for (const Place* each : {&original, &twin}) {
        check(each->halted == errc::directory_in_use, "two replicas run with one disk");
    }
}

}  // namespace cluster::sim::replicas
