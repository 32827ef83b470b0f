#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

void World::check_step(Node& node) {
    const auto who = [&] { return "n" + std::to_string(node.index) + " "; };
    if (node.inbox_charge > node.inbox_limit) fail(who() + "holds more in its inbox than allowed");
    if (node.engine->pinned() > total_outbox_bytes + core::Arena::segment_size) fail(who() + "pins more than allowed");
    if (node.engine->link_count() > node.link_limit) fail(who() + "has more links than allowed");
    if (node.engine->counters().protocol_errors != 0) fail(who() + "sees a rule broken");
}

void World::check_outboxes(const Node& node) {
    for (const auto& gauge : node.engine->gauges()) {
        if (gauge.outbox_bytes > outbox_bytes) {
            fail("n" + std::to_string(node.index) + " holds more for " + short_id(gauge.id) + " than allowed");
        }
    }
}

/// At most one connection of a pair is attached at both ends. Only what came over a connection attaches it.
void World::check_link(std::uint64_t number) {
    const auto attached = [&](std::uint64_t each) {
        const auto found = connections_.find(each);
        if (found == connections_.end()) return false;
        const Connection& connection = found->second;
        for (int side = 0; side < 2; ++side) {
            const Node& node = *nodes_[connection.node[side]];
            if (!connection.open[side] || !node.alive || node.id != connection.run[side]) return false;
            if (!node.engine->attached_to(connection.link[side])) return false;
        }
        return true;
    };
    Connection& connection = connections_.at(number);
    if (connection.usable || !attached(number)) return;
    connection.usable = true;
    std::uint64_t& current = usable_[std::minmax(connection.run[0], connection.run[1])];
    if (attached(current)) fail("two usable links between one pair");
    current = number;
}

/// Dials are bounded, and nobody dials who has said goodbye to it.
void World::check_dial(Node& node, const Address& address) {
    const double passed = std::chrono::duration<double>(clock(node) - node.dial_refilled).count();
    node.dial_tokens = std::min(core::DialPlan::burst, node.dial_tokens + passed * core::DialPlan::rate);
    node.dial_refilled = clock(node);
    node.dial_tokens -= 1;
    const std::string who = "n" + std::to_string(node.index) + " ";
    if (node.dial_tokens < -1) fail(who + "dials more often than allowed");
    if (node.departed.empty() || node.leaving) return;
    if (std::find(seeds_.begin(), seeds_.end(), address) != seeds_.end()) return;
    bool departed = false;
    for (const auto& [id, run] : runs_) {
        if (run->published != address) continue;
        if (!node.departed.contains(id) || !machines_[run->index].listens) return;
        departed = true;
    }
    const bool wanted = std::find(node.removed.begin(), node.removed.end(), address) != node.removed.end() ||
                        std::find(node.added.begin(), node.added.end(), address) != node.added.end();
    if (departed && !wanted) fail(who + "dials who has said goodbye to it, at " + address.to_string());
}

/// Whether there is a reason that `node` no longer has `peer` in view.
void World::judge(Node& node, const Peer& peer, std::string_view reason) {
    const auto run = runs_.find(peer.id);
    const std::string text = "n" + std::to_string(node.index) + " says that " + short_id(peer.id) +
                             (reason == "failed" ? " has failed" : " is unreachable");
    if (run == runs_.end()) return fail(text + ", who never was");
    ++result_.failures;
    Node& subject = *run->second;
    if (subject.paused) subject.detected = true;
    if (plan_.stalled != 0) return judge_stalled(node, subject);
    if (!subject.alive || subject.leaving || !node.removed.empty() || !subject.removed.empty()) return;

    // Suspicions grow with a node's own slowness, and dials that hang prolong what caused them. For a node that was
    // stopped this time goes on where it stopped.
    const Duration memory = 3 * conditions_.suspicion + 2 * conditions_.heartbeat + 1s;
    const Time since = (node.resumed_at >= now_ - memory ? node.stalled_at : now_) - memory;
    const auto recently = [&](Disturbances::Kind kind) {
        return disturbances_.of_pair(kind, node.index, subject.index) >= since;
    };
    if (subject.paused || subject.lag != Duration() || disturbances_.of_machine(subject.index) >= since) return;
    // That it was itself stopped or slow is no excuse for a node: it has to give the others more time.
    if (node.barred >= since) return;
    if (!network_.joins(node.index, subject.index) || recently(Disturbances::Kind::cut)) return;
    for (const auto& [number, connection] : connections_) {
        if (std::minmax(connection.run[0], connection.run[1]) == std::minmax(node.id, subject.id)) {
            disturbed(connection);
        }
    }
    if (!recently(Disturbances::Kind::link) && !recently(Disturbances::Kind::dial)) {
        return fail(text + ", though both live and nothing was between them");
    }
    note(text + ", which is false");
    ++result_.false_failures;
}

/// A stalled node may be failed. It must not blame its own slowness on others, nor others their views of it on others.
void World::judge_stalled(Node& node, Node& subject) {
    const auto stalls = [&](const Node& each) { return each.index >= 1 && each.index <= plan_.stalled; };
    if (stalls(subject)) return;
    if (!stalls(node)) {
        ++result_.stalls.false_failures;
        note("n" + std::to_string(node.index) + " fails n" + std::to_string(subject.index) + ", both healthy");
        return;
    }
    if (!node.subjects.insert(subject.id).second) return;
    ++result_.stalls.subjects;
    result_.stalls.most_subjects = std::max<std::uint64_t>(result_.stalls.most_subjects, node.subjects.size());
}

}  // namespace cluster::sim
