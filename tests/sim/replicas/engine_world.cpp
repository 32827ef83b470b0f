#include "sim/replicas/engine_world.hpp"

#include "sim/replicas/machine_world.hpp"
#include "sim/replicas/violation.hpp"

#include <algorithm>
#include <exception>
#include <vector>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;

namespace {

sim::Plan plan_of_nodes(const Plan& plan) {
    sim::Plan nodes;
    nodes.seed = plan.seed;
    // A majority must be left when a minority is not healed.
    const std::size_t least = std::max<std::size_t>(plan.least_voters, 3);
    const std::size_t most = std::max<std::size_t>(plan.most_voters, least);
    nodes.nodes = least + Dice(plan.seed * 7919).below(std::min<std::size_t>(most, 5) - least + 1);
    return nodes;
}

}  // namespace

EngineWorld::EngineWorld(const Plan& plan) : Machines(plan), nodes_(plan_of_nodes(plan), this) {
    disks_fail_ = chance_.coin();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < plan_of_nodes(plan).nodes; ++i) names.push_back("n" + std::to_string(i));
    found(names, 1s);
}

Result EngineWorld::run() {
    nodes_.at(100ms, [this] { load(); });
    nodes_.at(1s, [this] { disturb(); });
    nodes_.at(100ms, [this] { customers_->begin(true); });
    std::string why;
    try {
        const sim::Result nodes = nodes_.run();
        why = nodes.why;
        result_.events = nodes.events;
        result_.cuts = nodes.faults;
        result_.hash = mixed(result_.hash, nodes.hash);
        if (why.empty()) check_calls();
    } catch (const std::exception& error) {
        why = error.what();
    }
    return finished(why);
}

void EngineWorld::later(Place& place, Duration delay, Work work) {
    nodes_.in_process(place.index, delay, [this, &place, life = place.life, work = std::move(work)] {
        if (!place.machine || place.life != life) return;
        work(*place.machine);
        settle(place);
    });
}

void EngineWorld::in_process(Place& place, std::function<void()> work) {
    nodes_.in_process(place.index, {}, std::move(work));
}

void EngineWorld::send(Place& from, const PeerId& to, const wire::ReplicaMessage& message) {
    std::vector<std::byte> bytes;
    wire::encode(message, bytes);
    if (nodes_.tell(from.index, to, bytes)) return;
    later(from, {}, [this, &from, to](Machine& machine) { machine.not_sent(to, now(from)); });
}

void EngineWorld::started(std::size_t node, const PeerId& id) {
    Place& place = *places_[node];
    begin(place, id);
    settle(place);
}

void EngineWorld::ended(std::size_t node) {
    end(*places_[node]);
    customers_->process_ended(node);
}

void EngineWorld::came(std::size_t node, const Peer& peer) {
    Place& place = *places_[node];
    if (!place.machine) return;
    note(6, node, [&] { return place.name + " sees " + peer.name; });
    place.machine->came(peer.id, peer.name, now(place));
    settle(place);
}

void EngineWorld::went(std::size_t node, const PeerId& peer) {
    Place& place = *places_[node];
    if (!place.machine) return;
    note(7, node, [&] { return place.name + " does not see #" + std::to_string(peer.bytes[0]) + " any more"; });
    place.machine->went(peer, now(place));
    settle(place);
}

void EngineWorld::received(std::size_t node, const PeerId& from, const Bytes& message) {
    Place& place = *places_[node];
    if (!place.machine) return;
    Machines::received(place, from, message);
    settle(place);
}

void EngineWorld::load() {
    if (healed_) return;
    Place& place = *places_[chance_.below(places_.size())];
    later(place, {}, [this, &place](Machine&) {
        const std::size_t many = 1 + chance_.below(8);
        submit(place, many, chance_.between(20ms, 4s), false);
        read(place, chance_.below(6), chance_.between(20ms, 4s), false);
    });
    nodes_.at(chance_.around(50ms), [this] { load(); });
}

void EngineWorld::disturb() {
    if (healed_) return;
    Place& place = *places_[chance_.below(places_.size())];
    if (disks_fail_ && chance_.coin()) {
        place.disk.fail_soon(chance_);
    } else {
        later(place, {}, [this, &place](Machine& machine) { machine.transfer(0, {}, now(place)); });
    }
    nodes_.at(chance_.around(1s), [this] { disturb(); });
}

void EngineWorld::healed() {
    healed_ = true;
    customers_->heal();
    for (const auto& each : places_) each->disk.repair();
}

/// Among those that reach each other, one leads, and what they are given to do gets through.
bool EngineWorld::well(std::string* why) {
    std::vector<const Place*> together;
    const Place* leads = nullptr;
    for (const auto& each : places_) {
        // To found a group all have to meet, so it may be too late for that.
        for (const auto& other : places_) {
            const bool apart = other != each && !nodes_.belongs_together(each->index, other->index);
            if (apart && !each->disk.identity().group) return true;
        }
        if (!nodes_.goes_on(each->index)) continue;
        if (!each->machine) return *why = each->name + " runs no machine", false;
        if (each->machine->status().role != cluster::Role::leader) continue;
        if (leads == nullptr || leads->machine->status().term < each->machine->status().term) leads = each.get();
    }
    if (leads == nullptr) return *why = "no machine leads", false;
    for (const auto& each : places_) {
        if (each.get() != leads && !nodes_.belongs_together(each->index, leads->index)) continue;
        together.push_back(each.get());
        if (each->machine->status().leader != leads->name) {
            return *why = each->name + " does not follow the machine that leads", false;
        }
    }
    if (!std::exchange(asked_, true)) {
        customers_->expect_all();
        nodes_.at(1s, [this] { customers_->rest(); });
        for (const Place* each : together) {
            Place& place = *places_[each->index];
            later(place, {}, [this, &place](Machine&) {
                submit(place, 20, 30s, true);
                read(place, 20, 30s, true);
            });
        }
        return *why = "the machines have something to do", false;
    }
    if (!customers_->rests()) return *why = "clients have something to do", false;
    if (!closed_ && !customers_->content(*why)) return false;
    if (!std::exchange(closed_, true)) customers_->close();
    return customers_->closed(*why) && agree(together, *why);
}

Result run_machines(const Plan& plan) {
    return plan.seed % 3 == 0 ? EngineWorld(plan).run() : MachineWorld(plan).run();
}

}  // namespace cluster::sim::replicas
