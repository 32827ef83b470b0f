#include "world_parts.hpp"

#include <algorithm>
#include <set>

namespace cluster::sim {

void World::check_step(Node& node) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    if (node.inbox_charge > (16u << 20)) fail(who + "holds more in its inbox than allowed");
    if (node.engine->pinned() > (4u << 20) + core::Arena::segment_size) fail(who + "pins more than allowed");
}

/// What a leaving node does not report as unacknowledged is in the inboxes of those that live.
void World::check_farewell(const Node& node, std::uint64_t unacknowledged) {
    std::uint64_t missing = 0;
    std::uint64_t surrendered = 0;
    for (const auto& other : nodes_) {
        const auto found = ledgers_.find({node.id, other->id});
        if (other->index == node.index || !other->alive || found == ledgers_.end()) continue;
        std::uint64_t waiting = 0;
        for (const core::Batch& batch : other->inbox) {
            if (batch.from == node.id) waiting += batch.messages;
        }
        missing += found->second.expected.size() - std::min<std::uint64_t>(waiting, found->second.expected.size());
        surrendered += found->second.surrendered;
    }
    if (missing > unacknowledged + surrendered) {
        fail("n" + std::to_string(node.index) + " leaves " + std::to_string(missing) +
             " messages undelivered and reports " + std::to_string(unacknowledged));
    }
}

/// At most one connection per pair is attached at both ends.
void World::check_links() {
    std::map<std::pair<PeerId, PeerId>, std::uint64_t> usable;
    for (const auto& [number, connection] : connections_) {
        if (!connection.open[0] || !connection.open[1]) continue;
        const Node& a = *nodes_[connection.node[0]];
        const Node& b = *nodes_[connection.node[1]];
        if (a.id != connection.run[0] || b.id != connection.run[1] || !a.alive || !b.alive) continue;
        if (!a.engine->attached_to(connection.link[0]) || !b.engine->attached_to(connection.link[1])) continue;
        if (!usable.emplace(std::minmax(a.id, b.id), number).second) fail("two usable links between one pair");
    }
}

std::uint64_t World::count_attachments() const {
    std::uint64_t sum = 0;
    for (const auto& node : nodes_) {
        for (const auto& gauge : node->engine->gauges()) sum += gauge.attachments;
    }
    return sum;
}

bool World::well(std::string* why) {
    for (const auto& [number, connection] : connections_) {
        const bool held = connection.deaf && (connection.open[0] || connection.open[1]);
        if (held) return *why = "connection " + std::to_string(number) + " is half-open", false;
    }
    for (const auto& node : nodes_) {
        const std::string who = "n" + std::to_string(node->index) + " ";
        if (!node->alive) return *why = who + "is not running", false;
        std::set<PeerId> others;
        for (const auto& other : nodes_) {
            if (other != node) others.insert(other->id);
        }
        std::set<PeerId> view;
        for (const Peer& peer : node->engine->peers()) {
            if (peer.state != PeerState::alive) return *why = who + "suspects " + short_id(peer.id), false;
            view.insert(peer.id);
        }
        if (view != others) return *why = who + "does not have everybody in view", false;
        for (const Peer& peer : node->engine->peers()) {
            const auto owner =
                std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& each) { return each->id == peer.id; });
            if ((*owner)->engine->self().tags != peer.tags) return *why = who + "has old tags", false;
        }
        for (const auto& gauge : node->engine->gauges()) {
            if (gauge.outbox_bytes != 0) return *why = who + "has unacknowledged messages", false;
        }
        if (!node->inbox.empty()) return *why = who + "has unread messages", false;
    }
    return true;
}

/// Between nodes that both live, each message has been delivered or both ends know that it was given up.
void World::check_end() {
    for (const auto& from : nodes_) {
        for (const auto& to : nodes_) {
            if (from == to) continue;
            const auto found = ledgers_.find({from->id, to->id});
            if (found == ledgers_.end()) continue;
            const Ledger& ledger = found->second;
            const std::string pair = "n" + std::to_string(from->index) + " to n" + std::to_string(to->index) + ": ";
            const std::uint64_t missing = ledger.missing + ledger.expected.size();
            if (missing > ledger.surrendered) {
                fail(pair + std::to_string(missing) + " messages are missing, the sender was told of " +
                     std::to_string(ledger.surrendered));
            }
            if (missing > ledger.gaps) {
                fail(pair + std::to_string(missing) + " messages are missing, the receiver was told of " +
                     std::to_string(ledger.gaps));
            }
        }
    }
    for (const auto& node : nodes_) result_.lists += node->engine->counters().lists_sent;
}

}  // namespace cluster::sim
