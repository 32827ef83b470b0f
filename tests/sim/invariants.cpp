#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

void World::check_step(Node& node) {
    const auto who = [&] { return "n" + std::to_string(node.index) + " "; };
    if (node.inbox_charge > node.inbox_limit) fail(who() + "holds more in its inbox than allowed");
    const std::size_t replies = conditions_.requests ? outbox_bytes : 0;
    const std::size_t passengers = passengers_ == nullptr ? 0 : nodes_.size() * core::replica_window;
    const std::size_t clients = guests_.empty() ? 0 : total_outbox_bytes + core::Arena::segment_size;
    if (node.engine->pinned() > total_outbox_bytes + replies + passengers + clients + core::Arena::segment_size) {
        fail(who() + "pins more than allowed");
    }
    if (node.engine->link_count() > node.link_limit) fail(who() + "has more links than allowed");
    if (node.engine->counters().protocol_errors != 0) fail(who() + "sees a rule broken");
}

void World::check_outboxes(const Node& node) {
    // Replies have as much again, and passengers their window.
    const std::size_t most = (conditions_.requests ? 2 : 1) * outbox_bytes +
                             (passengers_ == nullptr ? 0 : static_cast<std::size_t>(core::replica_window));
    for (const auto& gauge : node.engine->gauges()) {
        if (gauge.outbox_bytes > most) {
            fail("n" + std::to_string(node.index) + " holds more for " + short_id(gauge.id) + " than allowed");
        }
    }
}

/// At most one connection of a pair is attached at both ends. Only what came over a connection attaches it.
void World::check_link(std::uint64_t number) {
    Connection& connection = connections_.at(number);
    if (connection.usable != never || !usable(number)) return;
    connection.usable = now_;
    std::uint64_t& current = usable_[std::minmax(connection.run[0], connection.run[1])];
    if (usable(current)) fail("two usable links between one pair");
    current = number;
}

/// Whether the connection is attached at both ends.
bool World::usable(std::uint64_t number) const {
    const auto found = connections_.find(number);
    if (found == connections_.end()) return false;
    const Connection& connection = found->second;
    for (int side = 0; side < 2; ++side) {
        const Node& node = node_at(connection.node[side]);
        if (!connection.open[side] || !node.alive || node.id != connection.run[side]) return false;
        if (!node.engine->attached_to(connection.link[side])) return false;
    }
    return true;
}

/// Whatever comes from a peer is a sign of life: only a link that has been silent for a heartbeat is closed for it.
void World::check_silence(const Node& node, const PeerId& peer) {
    const auto heard = node.heard.find(peer);
    if (heard == node.heard.end() || clock(node) - heard->second >= conditions_.heartbeat) return;
    fail("n" + std::to_string(node.index) + " takes " + short_id(peer) + " for silent, from which it has just heard");
}

/// Whoever hears a goodbye is told what has arrived, and gives up nothing else.
void World::check_surrender(const Node& node, const core::Surrender& surrender) {
    const Node& leaver = *runs_.at(surrender.peer.id);
    if (surrender.reason != errc::leaving || node.leaving || !leaver.leaving) return;
    std::uint64_t arrived = 0;
    for (const core::Batch& batch : leaver.inbox) {
        if (batch.from == node.id) arrived += batch.messages;
    }
    const Ledger& ledger = ledgers_[{node.id, leaver.id}];
    const auto apart = std::count_if(ledger.expected.begin(), ledger.expected.end(),
                                     [](const Ledger::Entry& each) { return each.apart; });
    const std::uint64_t open = ledger.expected.size() - static_cast<std::size_t>(apart) + ledger.replies.size();
    if (surrender.messages + arrived <= open) return;
    fail("n" + std::to_string(node.index) + " gives up " + std::to_string(surrender.messages) + " messages to " +
         short_id(leaver.id) + ", which leaves with " + std::to_string(open - std::min(arrived, open)) + " missing");
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
    if (conditions_.way == Conditions::Way::name) return;  // the seed stands for all, whoever has left
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

/// Of many that do not exist few are dialled: what one peer tells is worth a burst, and then little by little more.
void World::check_rumour(Node& node, const Address& address) {
    if (!address.host.starts_with(nowhere)) return;
    ++node.vain_dials;
    const double passed = std::chrono::duration<double>(clock(node) - node.rumoured_at) /
                          std::chrono::duration<double>(core::DialPlan::hearsay_pause);
    const bool few = static_cast<double>(node.vain_dials) <= core::DialPlan::hearsay_burst + passed + 1;
    if (!few) fail("n" + std::to_string(node.index) + " dials too many that do not exist");
}

/// Between two that never parted nobody else uses their ids: who is refused for that is attached in another way.
void World::check_answer(const Node& node, const core::AddDone& answer) {
    const auto found = node.adds.find(answer.number);
    if (found == node.adds.end() || answer.error != errc::id_in_use) return;
    if (!node.removed.empty() || !runs_.at(found->second)->removed.empty()) return;
    fail("n" + std::to_string(node.index) + " is told that another node uses the id of " + short_id(found->second));
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
    if (!node.removed.empty() || !subject.removed.empty()) return;
    // Whom a leaver has in view it tells so; when its linger is over, as well as it can.
    const bool told = subject.bidden.contains(node.id) && (!subject.left || subject.in_time);
    if (subject.leaving ? !told : !subject.alive) return;

    // Suspicions grow with a node's own slowness, and dials that hang prolong what caused them. For a node that was
    // stopped this time goes on where it stopped.
    const Time since = (node.resumed_at >= now_ - memory() ? node.stalled_at : now_) - memory();
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
    const bool refused = recently(Disturbances::Kind::dial) && (reason != "failed" || !witnessed(node, subject, since));
    if (!recently(Disturbances::Kind::link) && !refused) {
        return fail(text + ", though both live and nothing was between them");
    }
    note(text + ", which is false");
    ++result_.false_failures;
}

/// Whether two have long been attached to each other, with nothing between them.
bool World::stands_between(const Node& a, const Node& b, Time since) const {
    const auto found = usable_.find(std::minmax(a.id, b.id));
    if (found == usable_.end() || !usable(found->second)) return false;
    const Connection& connection = connections_.at(found->second);
    for (const auto kind : {Disturbances::Kind::cut, Disturbances::Kind::link, Disturbances::Kind::dial}) {
        if (disturbances_.of_pair(kind, a.index, b.index) >= since) return false;
    }
    return connection.usable <= now_ - 1s && !connection.deaf && connection.delay < 10ms &&
           network_.joins(a.index, b.index);
}

/// Whether among those whom `node` asks about `subject` there must be one that hears from it.
bool World::witnessed(const Node& node, const Node& subject, Time since) const {
    std::size_t witnesses = 0;
    std::size_t others = 0;
    for (const PeerId& id : node.in_view) {
        const Node& other = *runs_.at(id);
        const bool well = other.alive && !other.paused && !other.leaving && other.lag == Duration() &&
                          disturbances_.of_machine(other.index) < since;
        if (well && stands_between(node, other, since) && stands_between(other, subject, since)) {
            ++witnesses;
        } else {
            ++others;
        }
    }
    return witnesses != 0 && others < 3;
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
