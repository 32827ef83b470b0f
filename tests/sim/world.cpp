#include "world_parts.hpp"

#include <algorithm>
#include <cstdio>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

std::uint64_t mix(std::uint64_t hash, std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

}  // namespace

World::World(Plan plan, Passengers* passengers)
    : plan_(plan),
      passengers_(passengers),
      conditions_(plan.stalled == 0 ? Conditions(dice(3), plan.nodes) : Conditions()),
      faults_(dice(1)),
      random_(dice(2)),
      members_(dice(4)),
      calls_(dice(5)),
      clients_(dice(7)),
      network_(plan.nodes + most_guests),
      disturbances_(plan.nodes + most_guests) {
    result_.hash = 0xcbf29ce484222325;
    if (plan.stalled != 0) conditions_.max_peers = 2 * plan.nodes;
    machines_.resize(plan_.nodes);
    Dice observers = dice(6);
    const bool some_observe = plan_.stalled == 0 && observers.below(3) == 0;
    for (std::size_t i = 0; i < plan_.nodes; ++i) {
        Machine& machine = machines_[i];
        machine.address = {"10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1), 7000};
        machine.published = machine.address;
        machine.alias = {"10.2." + std::to_string(i), 7000};
        machine.observer = some_observe && observers.below(3) == 0;
        if (i < conditions_.seeds) seeds_.push_back(machine.address);
        if (i + conditions_.translated < plan_.nodes) continue;
        machine.listens = false;
        const std::uint64_t pick = faults_.below(5);
        if (pick == 0) {
            machine.published = machines_[faults_.below(i)].alias;  // somebody else answers there
        } else {
            static constexpr const char* nobodys[] = {"192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.0.1"};
            machine.published = {nobodys[pick - 1], static_cast<std::uint16_t>(7000 + i)};
        }
    }
    if (conditions_.way == Conditions::Way::name) seeds_ = {name_of_all};
    if (conditions_.way == Conditions::Way::balancer) seeds_ = {balancer};
    if (conditions_.way == Conditions::Way::added) seeds_.clear();
    for (std::size_t i = 0; i < plan_.nodes; ++i) {
        nodes_.push_back(std::make_unique<Node>());
        nodes_.back()->alive = false;
        nodes_.back()->index = i;
    }
    invite();
}

World::~World() = default;

void World::at(Duration delay, Work what) {
    events_.push_back({now_ + delay, ++order_, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), std::greater<>());
}

/// Runs the next event. False if there is none.
bool World::advance() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), std::greater<>());
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    ++result_.events;
    event.what();
    return true;
}

void World::note(std::string line) {
    result_.hash = mix(result_.hash, line);
    result_.hash = mix(result_.hash, std::to_string(now_.count()));
    if (!plan_.trace) return;
    char stamp[32];
    std::snprintf(stamp, sizeof stamp, "%12.6f  ", std::chrono::duration<double>(now_).count());
    result_.trace.push_back(stamp + std::move(line));
}

void World::fail(std::string why) {
    if (result_.failed) return;
    note("FAILED " + why);
    result_.failed = true;
    result_.why = std::move(why);
    result_.at = now_;
}

Result World::run() {
    for (std::size_t i = 0; i < plan_.nodes; ++i) {
        at(between(0ms, 50ms), [this, i] { start(i); });
    }
    for (const auto& guest : guests_) {
        at(200ms, [this, index = guest->index] { start_guest(index); });
    }
    at(100ms, [this] { load(); });
    if (plan_.stalled == 0) {
        at(between(50ms, 2s), [this] { disturb(); });
    } else {
        for (std::size_t i = 1; i <= plan_.stalled; ++i) {
            at(10s + between(0ms, 32s), [this, i] { stall(i); });
        }
    }
    at(plan_.faults, [this] { heal(); });
    std::string why = "not started";
    while (!result_.failed && advance()) {
        if (!healed_ || now_ < next_check_) continue;
        next_check_ = now_ + 250ms;
        if (!well(&why)) {
            if (resting_ && each_link_is_probed()) fail("at rest it is not well any more: " + why);
            if (std::exchange(good_since_, never) != never) unwell_since_ = now_;
            resting_.reset();
            // A broken link that is found late may disturb what was well.
            if (now_ > std::max(healed_by(), unwell_since_ + plan_.healing)) fail("not well in time: " + why);
        } else if (good_since_ == never) {
            good_since_ = now_;
        } else if (rest()) {
            break;
        }
    }
    if (!result_.failed) check_ledgers();
    note("end");
    result_.node_minutes =
        static_cast<double>(plan_.nodes) * std::chrono::duration<double, std::ratio<60>>(now_).count();
    for (const auto& node : nodes_) {
        if (node->engine) result_.lists += node->engine->counters().lists_sent;
    }
    return std::move(result_);
}

}  // namespace cluster::sim
