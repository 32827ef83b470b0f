#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

Conditions::Conditions(Dice dice, std::size_t nodes) {
    const auto chance = [&](std::uint64_t percent) { return dice.below(100) < percent; };
    const auto share = [&](double most) { return most * static_cast<double>(dice.below(1000)) / 1000; };
    const auto busy = static_cast<Duration::rep>(std::max<std::size_t>(nodes, 5));

    // Oblivion is drawn last, so that the seeds mean what they meant without it.
    const std::size_t others = static_cast<std::size_t>(Fault::oblivion);
    for (std::size_t i = 0; i < others; ++i) weights[i] = chance(30) ? std::uint64_t{1} << dice.below(6) : 0;
    // Most of what can go wrong with messages shows where connections break.
    if (chance(60)) weights[static_cast<std::size_t>(Fault::reset)] = 32;
    between_faults = std::chrono::milliseconds(100 << dice.below(6)) * 5 / busy;
    const bool none = std::all_of(weights.begin(), weights.end(), [](std::uint64_t each) { return each == 0; });
    if (none || chance(30)) {
        // A single kind, and seldom: hardly anything is excused.
        static constexpr Fault of_processes[] = {Fault::pause, Fault::suspend, Fault::jump,
                                                 Fault::slow,  Fault::strain,  Fault::exhaust};
        weights = {};
        weights[chance(50) ? static_cast<std::size_t>(of_processes[dice.below(std::size(of_processes))])
                           : dice.below(others)] = 1;
        // That a connection breaks excuses nothing.
        if (chance(30)) ++weights[static_cast<std::size_t>(chance(50) ? Fault::reset : Fault::uproot)];
        between_faults = std::chrono::milliseconds(1000 << dice.below(4)) * 5 / busy;
    }
    between_sends = std::chrono::milliseconds(20 << dice.below(4)) * (busy * busy) / 25;
    if (chance(30)) refused_dials = share(0.1);
    if (chance(30)) swallowed_dials = share(0.1);
    if (chance(30)) broken_greetings = share(0.3);
    if (chance(40)) lost_lists = share(0.2);
    if (chance(50)) restart_elsewhere = share(1);
    if (chance(50)) silent_restart = share(1);

    // A heartbeat of a second and a suspicion of two is what most run with.
    heartbeat = chance(50) ? 1s : std::chrono::milliseconds(200 + 100 * dice.below(19));
    suspicion = heartbeat == 1s && chance(60) ? 2s : heartbeat * (4 + static_cast<Duration::rep>(dice.below(7))) / 2;
    max_peers = std::max<std::size_t>(max_peers, 2 * nodes);
    if (weights[static_cast<std::size_t>(Fault::rumour)] == 0 && chance(30)) {
        // As little memory for as few peers as may be, and readers that let it fill.
        max_peers = nodes + 1;
        inbox_per_peer = std::size_t{256} << 10;
        if (chance(60)) weights[static_cast<std::size_t>(Fault::unread)] += 4;
        if (chance(60)) weights[static_cast<std::size_t>(Fault::burst)] += 4;
    }
    if (nodes > 2 && chance(30)) seeds = 2;
    if (nodes > 2 && chance(40)) translated = 1 + (chance(30) && nodes > 3 ? dice.below(nodes / 2 - 1) : 0);
    members = chance(50);
    const std::uint64_t pick = dice.below(100);
    end = pick < 50 ? End::whole : pick < 75 && nodes > 2 ? End::majority : End::pair;
    requests = chance(50);
    if (chance(20)) hasty = share(0.1);
    const std::uint64_t road = dice.below(100);
    way = road < 55 ? Way::first : road < 70 ? Way::name : road < 85 ? Way::balancer : Way::added;
    if (way == Way::added) seeds = 1;
    if (!none && chance(25)) weights[others] = std::uint64_t{1} << dice.below(6);
}

Fault Conditions::draw(Dice& dice) const {
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : weights) sum += weight;
    std::uint64_t pick = dice.below(sum);
    std::size_t kind = 0;
    while (pick >= weights[kind]) pick -= weights[kind++];
    return static_cast<Fault>(kind);
}

void World::disturb() {
    if (healed_) return;
    ++result_.faults;
    inflict(conditions_.draw(faults_));
    at(between(1ms, conditions_.between_faults), [this] { disturb(); });
}

/// One that is open at both ends, or 0.
std::uint64_t World::some_connection() {
    std::vector<std::uint64_t> open;
    for (const auto& [number, connection] : connections_) {
        if (connection.open[0] && connection.open[1]) open.push_back(number);
    }
    return open.empty() ? 0 : open[faults_.below(open.size())];
}

void World::inflict(Fault fault) {
    const std::size_t victim = faults_.below(nodes_.size());
    Node& node = *nodes_[victim];
    const bool acts = node.alive && !node.leaving && !node.paused;
    const std::string who = "n" + std::to_string(victim);
    const auto while_alive = [&](Duration delay, void (*what)(World&, Node&)) {
        at(delay, [this, &node, what] {
            if (node.alive && !machines_[node.index].frozen) what(*this, node);
        });
    };
    switch (fault) {
        case Fault::reset: {
            const std::uint64_t number = some_connection();
            if (number == 0) return;
            note("reset connection " + std::to_string(number));
            ++result_.resets;
            reset(number);
            break;
        }
        case Fault::uproot: {
            note("all connections of " + who + " break");
            std::vector<std::uint64_t> mine;
            for (const auto& [number, connection] : connections_) {
                if (connection.node[0] == victim || connection.node[1] == victim) mine.push_back(number);
            }
            for (const std::uint64_t number : mine) reset(number);
            break;
        }
        case Fault::half_open: {
            const std::uint64_t number = some_connection();
            if (number == 0) return;
            note("half-open connection " + std::to_string(number));
            connections_.at(number).deaf = true;
            break;
        }
        case Fault::stall: {
            const std::uint64_t number = some_connection();
            if (number == 0) return;
            const int from = static_cast<int>(faults_.below(2));
            const Duration lasts = between(conditions_.heartbeat / 4, 4 * conditions_.suspicion);
            note("stall connection " + std::to_string(number) + " from side " + std::to_string(from));
            Connection& connection = connections_.at(number);
            connection.stalled[from] = std::max(connection.stalled[from], now_ + lasts);
            disturbances_.pair(Disturbances::Kind::link, connection.node[0], connection.node[1], now_ + lasts);
            wake(number, 1 - from, lasts);
            break;
        }
        case Fault::delay: {
            const std::uint64_t number = some_connection();
            if (number == 0) return;
            Connection& connection = connections_.at(number);
            connection.delay = between(10ms, conditions_.heartbeat);
            note("delay connection " + std::to_string(number));
            const Duration lasts = between(100ms, 5s);
            disturbances_.pair(Disturbances::Kind::link, connection.node[0], connection.node[1], now_ + lasts);
            at(lasts, [this, number] {
                const auto found = connections_.find(number);
                if (found != connections_.end()) found->second.delay = 1ms;
            });
            break;
        }
        case Fault::cut:
        case Fault::one_way: {
            const std::size_t other = faults_.below(nodes_.size());
            if (other == victim) return;
            std::vector<std::pair<std::size_t, std::size_t>> ways{{victim, other}};
            if (fault == Fault::cut) ways.emplace_back(other, victim);
            cut(ways, between(100ms, 14s));
            break;
        }
        case Fault::partition: {
            std::vector<bool> side(nodes_.size());
            for (std::size_t i = 0; i < side.size(); ++i) side[i] = chance(0.5);
            const bool both = chance(0.7);
            std::vector<std::pair<std::size_t, std::size_t>> ways;
            for (std::size_t a = 0; a < side.size(); ++a) {
                for (std::size_t b = 0; b < side.size(); ++b) {
                    if (side[a] != side[b] && (both || side[a])) ways.emplace_back(a, b);
                }
            }
            cut(ways, between(200ms, 10s));
            break;
        }
        case Fault::isolate: isolate(victim, between(200ms, 10s)); break;
        case Fault::flap: {
            Duration begin{};
            for (std::uint64_t times = 2 + faults_.below(6); times > 0; --times) {
                const Duration lasts = between(50ms, 2 * conditions_.suspicion);
                at(begin, [this, victim, lasts] {
                    if (!healed_) isolate(victim, lasts);
                });
                begin += lasts + between(50ms, 2 * conditions_.suspicion);
            }
            break;
        }
        case Fault::crash:
        case Fault::power_loss:
            if (!node.alive || node.leaving) return;
            ++result_.restarts;
            kill(victim, fault == Fault::power_loss);
            restart(victim, between(10ms, 8s));
            break;
        case Fault::pause:
        case Fault::suspend:
            if (!acts) return;
            // Half of them when an answer is awaited: those who go on must not take their own absence for another's.
            node.pause_due = between(50ms, chance(0.3) ? 15s : 2 * conditions_.suspicion);
            node.clock_stands = fault == Fault::suspend;
            if (chance(0.5)) pause(node, std::exchange(node.pause_due, Duration()), node.clock_stands);
            break;
        case Fault::jump:
            if (!acts) return;
            note("jump " + who);
            node.skew += between(100ms, 20s);
            node.tick_at = never;
            disturbances_.machine(victim, now_);
            schedule_tick(node);
            break;
        case Fault::slow:
            if (!acts || node.lag != Duration()) return;
            note("slow " + who);
            node.lag = between(10ms, 2 * conditions_.heartbeat);
            disturbances_.machine(victim, now_);
            while_alive(between(1s, 10s), [](World& world, Node& each) {
                world.disturbances_.machine(each.index, world.now_);
                each.lag = {};
                world.settle(each);
            });
            break;
        case Fault::strain:
            if (!acts || node.strained) return;
            note("strain " + who);
            node.strained = true;
            strain(node, now_ + between(conditions_.suspicion, 5 * conditions_.suspicion), 0);
            break;
        case Fault::unread:
            if (!acts) return;
            node.reads = false;
            while_alive(between(100ms, 4s), [](World& world, Node& each) {
                each.reads = true;
                world.read_inbox(each);
            });
            break;
        case Fault::burst:
            for (int i = 0; i < 60; ++i) send_something(node);
            break;
        case Fault::exhaust:
            if (!acts) return;
            note("exhaust " + who);
            node.exhausted_until = std::max(node.exhausted_until, now_ + between(100ms, 5s));
            break;
        case Fault::leave:
            if (!acts) return;
            note("leave " + who);
            ++result_.leaves;
            leave(node);
            // A connection that breaks between goodbye and its answer.
            if (!node.links.empty() && chance(0.3)) {
                const auto place =
                    std::next(node.links.begin(), static_cast<std::ptrdiff_t>(faults_.below(node.links.size())));
                at(between(0ms, 4ms), [this, number = place->second.first] { reset(number); });
            }
            break;
        case Fault::part:
            if (acts) part(node);
            break;
        case Fault::add: {
            // Simultaneous dials: two nodes add each other at once.
            Node& other = *nodes_[faults_.below(nodes_.size())];
            if (!acts || &other == &node || !other.alive || other.leaving || other.paused) return;
            node.added.push_back(other.published);
            other.added.push_back(node.published);
            node.adds[node.engine->add(other.published, clock(node))] = other.id;
            other.adds[other.engine->add(node.published, clock(other))] = node.id;
            settle(node);
            settle(other);
            break;
        }
        case Fault::rumour:
            if (acts && machines_[victim].listens) spread_rumour(node);
            break;
        case Fault::tags:
            if (!acts) return;
            node.engine->set_tags({{"step", std::to_string(now_.count())}}, clock(node));
            settle(node);
            break;
        case Fault::oblivion:
            if (!acts || !node.engine->forget_one(clock(node))) return;
            note("n" + std::to_string(victim) + " forgets a session");
            settle(node);
            break;
    }
}

void World::cut(const std::vector<std::pair<std::size_t, std::size_t>>& ways, Duration how_long) {
    std::string text;
    for (const auto& [from, to] : ways) {
        network_.cut(from, to);
        disturbances_.pair(Disturbances::Kind::cut, from, to, now_);
        if (ways.size() <= 8) text += " n" + std::to_string(from) + "->n" + std::to_string(to);
    }
    note("cut" + (text.empty() ? " " + std::to_string(ways.size()) + " ways" : text));
    // What tracked the connections in between may forget them.
    if (how_long > 1s && chance(0.3)) {
        for (auto& [number, connection] : connections_) {
            if (!network_.joins(connection.node[0], connection.node[1]) && chance(0.5)) connection.deaf = true;
        }
    }
    at(how_long, [this, ways, how_long] {
        if (healed_) return;
        note("mend");
        for (const auto& [from, to] : ways) mend(from, to, how_long);
    });
}

/// What waited goes on when it is sent again: after a pause that has grown with the time that passed in vain.
void World::mend(std::size_t from, std::size_t to, Duration lasted) {
    network_.mend(from, to);
    Duration most{};
    for (const auto& [number, connection] : connections_) {
        for (int side = 0; side < 2; ++side) {
            if (connection.node[side] != from || connection.node[1 - side] != to) continue;
            const Duration again = between(1ms, std::max<Duration>(lasted, 10ms));
            most = std::max(most, again);
            wake(number, 1 - side, again);
        }
    }
    disturbances_.pair(Disturbances::Kind::cut, from, to, now_ + most);
}

void World::isolate(std::size_t index, Duration how_long) {
    std::vector<std::pair<std::size_t, std::size_t>> ways;
    for (std::size_t other = 0; other < nodes_.size(); ++other) {
        if (other == index) continue;
        ways.emplace_back(index, other);
        ways.emplace_back(other, index);
    }
    cut(ways, how_long);
}

/// Removes a peer that can be added again.
void World::part(Node& node) {
    const std::vector<Peer> peers = node.engine->peers();
    if (peers.empty()) return;
    part(node, peers[faults_.below(peers.size())].id);
}

void World::part(Node& node, const PeerId& id) {
    const Node& other = *runs_.at(id);
    if (!machines_[other.index].listens) return;
    note("n" + std::to_string(node.index) + " parts from " + short_id(id));
    node.removed.push_back(other.published);
    ledgers_[{node.id, id}].parting = ledgers_[{id, node.id}].parting = true;
    node.engine->remove(id, clock(node));
    settle(node);
    at(between(500ms, 8s), [this, &node] {
        if (!node.alive || node.leaving || node.paused || node.removed.empty() || healed_) return;
        for (const Address& address : node.removed) node.engine->add(address, clock(node));
        settle(node);
    });
}

/// Stops the process again and again, so that it runs for moments only, too short to read what has come. Only that it
/// is late itself tells it that the silence is not that of the others: each third stop is so long that it must notice.
void World::strain(Node& node, Time until, int stops) {
    if (!node.alive) return;
    if (healed_ || now_ >= until) {
        node.strained = false;
        if (!node.paused) resume(node);
        return;
    }
    const Duration tenth = conditions_.heartbeat / 10;
    const Duration lasts = stops % 3 == 0 ? 13 * tenth : between(3 * tenth, 6 * tenth);
    if (!node.paused) pause(node, lasts, false);
    at(lasts + between(1ms, tenth), [this, &node, until, stops] { strain(node, until, stops + 1); });
}

/// A peer of this node tells it of many others, none of which exists.
void World::spread_rumour(Node& node) {
    if (rumoured_) return;
    for (const auto& [link, place] : node.links) {
        const auto peer = node.engine->attached_to(link);
        if (!peer || runs_.at(*peer)->guest) continue;
        core::PeerList list;
        for (int i = 0; i < 50; ++i) {
            core::Facts facts;
            for (auto& byte : facts.id.bytes) byte = static_cast<std::uint8_t>(faults_.next());
            facts.version = 1;
            for (int each = 1; each <= 8; ++each) {
                facts.addresses.push_back({nowhere + std::to_string(i) + "." + std::to_string(each), 7000});
            }
            list.peers.push_back(std::move(facts));
        }
        rumoured_ = true;
        node.rumoured_at = clock(node);
        note("n" + std::to_string(node.index) + " hears of many that do not exist");
        node.engine->received(link, core::Control(std::move(list)), clock(node));
        settle(node);
        return;
    }
}

/// Stops one node again and again.
void World::stall(std::size_t index) {
    if (healed_) return;
    const Duration lasts = between(100ms, 32s);
    pause(*nodes_[index], lasts, false);
    at(lasts + between(100ms, 32s), [this, index] { stall(index); });
}

}  // namespace cluster::sim
