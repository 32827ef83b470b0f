#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

/// The second phase: no more faults, but what stays broken for ever.
void World::heal() {
    healed_ = true;
    if (passengers_ != nullptr) passengers_->healed();
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b) {
            if (!network_.joins(a, b)) disturbances_.pair(Disturbances::Kind::cut, a, b, now_ + 5s);
        }
    }
    network_.mend_all();
    note("heal");
    if (plan_.stalled == 0 && conditions_.end == Conditions::End::majority && nodes_.size() > 2) {
        // One of the seeds stays, for those that start anew.
        const std::size_t kept = faults_.below(conditions_.seeds);
        for (std::size_t count = 1 + faults_.below((nodes_.size() - 1) / 2); count > 0; --count) {
            const std::size_t index = faults_.below(nodes_.size());
            if (index != kept && !machines_[index].frozen) freeze(index);
        }
    } else if (plan_.stalled == 0 && conditions_.end == Conditions::End::pair) {
        // Who starts anew needs a seed that it reaches.
        const std::size_t least = nodes_.size() > 2 && conditions_.seeds == 1 ? 1 : 0;
        const std::size_t choice = nodes_.size() - least;
        const std::size_t a = least + faults_.below(choice);
        const std::size_t b = least + (a - least + 1 + faults_.below(choice - 1)) % choice;
        estranged_ = std::minmax(a, b);
        note("n" + std::to_string(a) + " and n" + std::to_string(b) + " never reach each other again");
        network_.cut(a, b);
        if (chance(0.7)) network_.cut(b, a);
    }
    for (auto& [number, connection] : connections_) {
        if (now_ < std::max(connection.stalled[0], connection.stalled[1])) {
            disturbances_.pair(Disturbances::Kind::link, connection.node[0], connection.node[1], now_ + 5s);
        }
        connection.stalled[0] = connection.stalled[1] = Time();
        if (connection.delay > 2ms) connection.delay = 2ms;
        for (int side = 0; side < 2; ++side) wake(number, side, between(1ms, 5s));
    }
    next_check_ = now_ + 5s;  // what was under way has arrived
    for (const auto& guest : guests_) {
        if (guest->paused) resume(*guest);
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (machines_[i].frozen) continue;
        Node& node = *nodes_[i];
        if (node.strained || node.lag != Duration()) disturbances_.machine(i, now_);
        node.reads = true;
        node.strained = false;
        node.lag = {};
        node.exhausted_until = {};
        if (!node.alive) {
            restart(i, between(0ms, 100ms));
        } else if (node.paused || !node.waiting.empty()) {
            resume(node);
        }
        if (!node.alive || node.leaving) continue;
        for (const Address& address : node.removed) node.engine->add(address, clock(node));
        if (conditions_.way == Conditions::Way::added) join(node);  // the first may not run yet: goes on until it does
        settle(node);
        read_inbox(node);
    }
}

/// This one is not healed.
void World::freeze(std::size_t index) {
    Machine& machine = machines_[index];
    machine.frozen = true;
    Node& node = *nodes_[index];
    switch (faults_.below(3)) {
        case 0:
            note("n" + std::to_string(index) + " is never heard from again");
            for (std::size_t other = 0; other < nodes_.size(); ++other) {
                if (machines_[other].frozen) continue;
                network_.cut(index, other);
                if (chance(0.8)) network_.cut(other, index);
            }
            break;
        case 1:
            if (!node.alive || node.paused || node.leaving) break;
            note("n" + std::to_string(index) + " stops for ever");
            node.paused = true;
            break;
        default:
            if (node.alive) kill(index, chance(0.5));
            break;
    }
}

bool World::estranged(std::size_t a, std::size_t b) const {
    return std::pair<std::size_t, std::size_t>(std::minmax(a, b)) == estranged_;
}

bool World::belongs_together(std::size_t a, std::size_t b) const {
    if (a == b || machines_[a].frozen || machines_[b].frozen) return false;
    return !estranged(a, b) && (machines_[a].listens || machines_[b].listens);
}

/// A link that nobody uses is probed in every eighth heartbeat, one after the other: among many nodes one that is
/// half-open may stay so for longer than a run lasts.
bool World::each_link_is_probed() const {
    return nodes_.size() <= 20;
}

/// When all must be well.
Time World::healed_by() const {
    const Duration round = 8 * conditions_.heartbeat * static_cast<Duration::rep>(nodes_.size());
    return plan_.faults + plan_.healing + (each_link_is_probed() ? round : Duration());
}

bool World::well(std::string* why) {
    std::vector<std::vector<const Node*>> expected(nodes_.size());
    for (const auto& node : nodes_) {
        if (machines_[node->index].frozen) continue;
        const std::string who = "n" + std::to_string(node->index) + " ";
        if (!node->alive) return *why = who + "is not running", false;
        if (node->leaving) return *why = who + "is still leaving", false;
        for (const auto& other : nodes_) {
            if (belongs_together(node->index, other->index)) expected[node->index].push_back(other.get());
        }
        for (const Node* other : expected[node->index]) {
            if (node->in_view.contains(other->id)) continue;
            return *why = who + "does not have n" + std::to_string(other->index) + " in view", false;
        }
        for (const PeerId& id : node->in_view) {
            const std::size_t other = runs_.at(id)->index;
            const bool still = id == nodes_[other]->id && !each_link_is_probed() && estranged(node->index, other);
            if (!still && (id != nodes_[other]->id || !belongs_together(node->index, other))) {
                return *why = who + "has too many in view", false;
            }
        }
    }
    for (const auto& [number, connection] : connections_) {
        if (!each_link_is_probed()) break;
        if (!connection.deaf || !belongs_together(connection.node[0], connection.node[1])) continue;
        for (int side = 0; side < 2; ++side) {
            const Node& node = node_at(connection.node[side]);
            if (connection.open[side] && node.id == connection.run[side]) {
                return *why = "n" + std::to_string(node.index) + " still holds connection " + std::to_string(number) +
                              ", which is half-open",
                       false;
            }
        }
    }
    for (const auto& node : nodes_) {
        if (machines_[node->index].frozen) continue;
        const std::string who = "n" + std::to_string(node->index) + " ";
        if (!node->inbox.empty()) return *why = who + "has unread messages", false;
        const std::vector<Peer> peers = node->engine->peers();
        if (peers.size() != node->in_view.size()) return *why = who + "was not told of all", false;
        for (const Peer& peer : peers) {
            if (!node->in_view.contains(peer.id)) return *why = who + "was not told of all", false;
            if (!belongs_together(node->index, runs_.at(peer.id)->index)) continue;
            if (peer.state != PeerState::alive) return *why = who + "suspects " + short_id(peer.id), false;
            if (runs_.at(peer.id)->engine->self().tags != peer.tags) return *why = who + "has old tags", false;
        }
        if (!members_well(*node, why)) return false;
        for (const auto& gauge : node->engine->gauges()) {
            if (gauge.outbox_bytes == 0 || passengers_ != nullptr) continue;  // who talk all the time
            return *why = who + "has unacknowledged messages to " + short_id(gauge.id), false;
        }
    }
    if (!guests_well(why)) return false;
    return passengers_ == nullptr || passengers_->well(why);
}

World::Traffic World::traffic() const {
    Traffic sum;
    for (const auto& node : nodes_) {
        sum.dials.push_back(node->dials);
        if (machines_[node->index].frozen) continue;
        sum.lists += node->engine->counters().lists_sent;
        sum.member_lists += node->member_lists;
        for (const auto& gauge : node->engine->gauges()) sum.attachments += gauge.attachments;
    }
    return sum;
}

/// Whether it has been well for long enough, and traffic has come to rest.
bool World::rest() {
    const Duration settling = 4 * conditions_.heartbeat + 2s;
    const Duration window = 10 * conditions_.heartbeat + 5s;
    if (now_ < good_since_ + settling) return false;
    if (!resting_) resting_.emplace(now_, traffic());
    const auto& [since, before] = *resting_;
    if (now_ < since + window) return false;
    const Traffic after = traffic();
    if (after.member_lists != before.member_lists && after.attachments == before.attachments) {
        fail("at rest members are told again");
    }
    const bool moved = after.attachments != before.attachments;
    if (moved && each_link_is_probed()) fail("sessions move between links without need");
    if (after.lists != before.lists) {
        // Opinions about those who are never reached again may take a while to settle, but they do.
        if (now_ > healed_by() + plan_.healing) {
            fail("traffic does not come to rest: " + std::to_string(after.lists - before.lists) + " lists are sent");
        }
        resting_.reset();
        return false;
    }
    // Whoever is not reached is dialled at each of its addresses, of which there are three at most, after pauses of
    // three quarters of `reconnect_max` at least.
    const double rounds = std::chrono::duration<double>(now_ - since) / (5s * 0.7) + 2;
    const double sought = 3 * static_cast<double>(runs_.size() + seeds_.size());
    const auto most = static_cast<std::uint64_t>(rounds * sought);
    for (const auto& node : nodes_) {
        if (machines_[node->index].frozen) continue;
        const std::uint64_t dials = after.dials[node->index] - before.dials[node->index];
        if (dials <= most) continue;
        fail("at rest n" + std::to_string(node->index) + " dials " + std::to_string(dials) + " times");
    }
    return true;
}

}  // namespace cluster::sim
