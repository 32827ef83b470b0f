#include "world_parts.hpp"

#include "base/overloaded.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

// Starting and stopping.

void World::start(std::size_t index) {
    const Machine& machine = machines_[index];
    auto node = std::make_unique<Node>();
    node->index = index;
    for (auto& byte : node->id.bytes) byte = static_cast<std::uint8_t>(random_.next());
    node->address = machine.address;
    node->published = machine.published;
    node->observer = machine.observer;
    core::EngineOptions options;
    options.cluster = "sim";
    options.self = {node->id, 1, "n" + std::to_string(index), "", {node->published}, {}};
    options.observer = machine.observer;
    options.listening = {node->address};
    options.seeds = seeds_;
    if (index == 0 && conditions_.way == Conditions::Way::first && seeds_.size() == 1) options.seeds.clear();
    options.heartbeat = conditions_.heartbeat;
    options.suspicion = conditions_.suspicion;
    options.reconnect_min = 100ms;
    options.reconnect_max = 5s;
    options.resume_for = std::chrono::milliseconds(4000 + 1000 * random_.below(8));
    options.forget_after = std::chrono::hours(1);
    options.connect_timeout = 2s;
    options.handshake_timeout = 3s;
    options.attach_timeout = 1s;
    options.linger = linger;
    options.send_timeout = 500ms;
    options.max_peers = conditions_.max_peers;
    options.max_guests = guests_.size();
    options.inbox_bytes = std::max(options.max_peers * conditions_.inbox_per_peer, 4 * max_message);
    options.outbox_bytes = outbox_bytes;
    options.total_outbox_bytes = total_outbox_bytes;
    options.max_message = max_message;
    options.random = [this](std::span<std::uint8_t> bytes) {
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.next());
    };
    node->inbox_bytes = options.inbox_bytes;
    // The second of two long messages, or one that had to let another go first, may need more.
    node->inbox_limit = node->inbox_bytes + max_message + 2 * core::max_data_frame;
    // Accepted ones, and the dials that its budget allows within the time in which one may stay unanswered.
    const double dials = core::DialPlan::burst +
                         core::DialPlan::rate * std::chrono::duration<double>(options.connect_timeout).count();
    node->link_limit = 2 * options.max_peers + 64 + static_cast<std::size_t>(dials) + guests_.size();
    node->dial_refilled = now_;
    node->engine = std::make_unique<core::Engine>(std::move(options), now_);
    note("start n" + std::to_string(index) + " " + short_id(node->id) + " at " + machine.address.to_string());
    // The connections of who ran here before are unknown to the machine, if it was off.
    if (powerless_.erase(machine.address) != 0) {
        for (auto& [number, connection] : connections_) {
            for (int side = 0; side < 2; ++side) {
                if (connection.node[side] != index || connection.open[side] || !chance(0.5)) continue;
                at(between(1ms, 2s), [this, number = number] { reset(number); });
            }
        }
    }
    runs_[node->id] = node.get();
    if (nodes_[index]->engine) gone_.push_back(std::move(nodes_[index]));
    nodes_[index] = std::move(node);
    if (conditions_.way == Conditions::Way::added) join(*nodes_[index]);
    if (passengers_ != nullptr) passengers_->started(index, nodes_[index]->id);
    settle(*nodes_[index]);
}

/// Adds the first node, which has to find nobody itself.
void World::join(Node& node) {
    const Node& first = *nodes_.front();
    if (!node.alive || node.leaving || node.index == 0 || node.in_view.contains(first.id)) return;
    const Address& place = machines_.front().published;
    if (std::find(node.added.begin(), node.added.end(), place) == node.added.end()) node.added.push_back(place);
    node.joining = node.engine->add(place, clock(node));
}

void World::join_later(Node& node) {
    at(1s, [this, &node] {
        const auto again = [this, &node] {
            join(node);
            settle(node);
        };
        if (!busy(node, again)) again();
    });
}

/// The process of this machine comes back, perhaps elsewhere, perhaps where another one ran.
void World::restart(std::size_t index, Duration after) {
    at(after, [this, index] {
        Machine& machine = machines_[index];
        if (nodes_[index]->alive || machine.frozen) return;
        if (index >= conditions_.seeds && machine.listens && !healed_ && chance(conditions_.restart_elsewhere)) {
            const Address former = machine.address;
            if (!abandoned_.empty() && chance(0.5)) {
                const std::size_t pick = faults_.below(abandoned_.size());
                machine.address = abandoned_[pick];
                abandoned_.erase(abandoned_.begin() + static_cast<std::ptrdiff_t>(pick));
            } else {
                ++last_machine_;
                machine.address = {"10.1." + std::to_string(last_machine_ / 200) + "." +
                                       std::to_string(last_machine_ % 200 + 1),
                                   7000};
            }
            machine.published = machine.address;
            abandoned_.push_back(former);
        }
        start(index);
    });
}

/// `silently`: as by a power cut, the connections are not reset but dead.
void World::kill(std::size_t index, bool silently) {
    Node& node = node_at(index);
    note(std::string("kill n") + std::to_string(index) + (silently ? " silently" : ""));
    node.alive = false;
    node.waiting.clear();
    if (passengers_ != nullptr && !node.guest) passengers_->ended(index);
    if (silently) powerless_.insert(node.address);
    std::vector<std::uint64_t> mine;
    for (const auto& [number, connection] : connections_) {
        if (connection.run[0] == node.id || connection.run[1] == node.id) mine.push_back(number);
    }
    for (const std::uint64_t number : mine) {
        if (silently) {
            connections_.at(number).deaf = true;
        } else {
            reset(number);
        }
        for (int side = 0; side < 2; ++side) {
            const auto found = connections_.find(number);
            if (found != connections_.end() && found->second.run[side] == node.id) release(number, side);
        }
    }
    node.links.clear();
}

// Stopping for a while.

/// The steady clock of the machine, in which alone its node is told the time.
Time World::clock(const Node& node) const {
    return now_ + node.skew;
}

/// As by SIGSTOP, or with the clock standing as by suspending the machine.
void World::pause(Node& node, Duration how_long, bool clock_stands) {
    note("pause n" + std::to_string(node.index) + (clock_stands ? " and its clock" : ""));
    disturbances_.machine(node.index, now_);
    node.paused = true;
    node.subjects.clear();
    node.stalled_at = now_;
    node.detected = false;
    at(how_long, [this, &node, how_long, clock_stands, pause = ++node.pauses] {
        if (!node.alive || !node.paused || node.pauses != pause || machines_[node.index].frozen) return;
        if (clock_stands) node.skew -= how_long;
        resume(node);
    });
}

/// What its machine has for it is handled in the order in which it came; timers that are due fire before it, or when
/// the first of it has been handled.
void World::resume(Node& node) {
    note("resume n" + std::to_string(node.index));
    disturbances_.machine(node.index, now_);
    if (plan_.stalled != 0) {
        ++result_.stalls.stalls;
        if (now_ - node.stalled_at > 2 * conditions_.suspicion + 2 * conditions_.heartbeat) {
            ++result_.stalls.long_stalls;
            if (node.detected) ++result_.stalls.detected;
        }
    }
    node.paused = false;
    node.resumed_at = now_;
    node.tick_at = never;
    std::vector<Work> waiting;
    if (!node.strained) waiting = std::exchange(node.waiting, {});
    if (waiting.empty() || chance(0.5)) settle(node);
    for (Work& work : waiting) {
        if (node.alive) work();
    }
    settle(node);
    if (node.alive && node.reads) read_inbox(node);
}

/// Whether `work` of this node has to wait until its process runs again.
bool World::busy(Node& node, Work work) {
    if (!node.paused && !node.strained) return false;
    node.waiting.push_back(std::move(work));
    return true;
}

// Doing what the engine wants done, as the driver in src/net does it.

void World::settle(Node& node) {
    if (node.settling || !node.alive || node.paused) return;
    node.settling = true;
    if (node.lag == Duration() && node.engine->deadline() <= clock(node)) node.engine->tick(clock(node));
    std::vector<core::Action> actions;
    std::vector<core::LinkId> ready;
    while (node.alive && (node.engine->has_actions() || node.engine->has_ready())) {
        node.engine->take_actions(actions);
        for (core::Action& action : actions) carry_out(node, action);
        if (node.engine->has_actions()) continue;
        node.engine->take_ready(ready);
        for (const core::LinkId link : ready) write(node, link);
    }
    node.settling = false;
    if (!node.alive) return;
    schedule_tick(node);
    check_step(node);
}

void World::schedule_tick(Node& node) {
    const Time deadline = node.engine->deadline();
    if (deadline == never || node.tick_at <= deadline) return;
    node.tick_at = deadline;
    const Duration late = node.lag == Duration() ? Duration() : between(0ms, node.lag);
    at(std::max(Duration::zero(), deadline - clock(node)) + late, [this, &node, deadline] {
        if (!node.alive || node.paused || node.tick_at != deadline) return;
        node.tick_at = never;
        node.ticks = std::exchange(node.ticked, now_) == now_ ? node.ticks + 1 : 0;
        if (node.ticks > 1000) return fail("n" + std::to_string(node.index) + " is woken again and again for nothing");
        if (node.lag != Duration()) node.engine->tick(clock(node));
        settle(node);
    });
}

void World::carry_out(Node& node, core::Action& action) {
    const auto bereft = std::exchange(node.bereft, std::nullopt);
    const auto* of_node = std::get_if<core::NodeAction>(&action);
    const auto* gone = of_node == nullptr ? nullptr : std::get_if<core::PeerRemoved>(of_node);
    if (bereft && (gone == nullptr || gone->peer.id != *bereft)) {
        fail("n" + std::to_string(node.index) + " loses members of a peer that stays in view");
    }
    std::visit(Overloaded{[&](core::Dial& each) { dial(node, each); },
                          [&](core::Resolve& each) { resolve(node, each); },
                          [&](core::Close& each) { close(node, each.link, each.drain); },
                          [&](core::NodeAction& each) { carry_out(node, each); }},
               action);
}

void World::resolve(Node& node, const core::Resolve& action) {
    const bool found = now_ >= node.exhausted_until;
    const auto resolved = [this, &node, target = action.target, name = action.name, found] {
        if (!node.alive) return;
        std::vector<Address> addresses;
        if (found) addresses = name == name_of_all ? addresses_of_all() : std::vector<Address>{name};
        node.engine->resolved(target, std::move(addresses), found ? errc{} : errc::unresolvable_host, clock(node));
        settle(node);
    };
    at(between(0us, 500us), [this, &node, resolved] {
        if (!busy(node, resolved)) resolved();
    });
}

void World::carry_out(Node& node, core::NodeAction& action) {
    if (node.guest) return carry_out_at_guest(node, action);
    const std::string who = "n" + std::to_string(node.index) + " ";
    std::visit(
        Overloaded{
            [&](core::Deliver& each) {
                const bool from_client = each.receiver == core::Receiver::clients;
                if (!from_client && !node.in_view.contains(each.batch.from) && !node.leaving) {
                    fail(who + "hears from a peer out of view");
                }
                switch (each.receiver) {
                    case core::Receiver::inbox: receive(node, std::move(each.batch)); break;
                    case core::Receiver::calls: replied(node, each.batch); break;
                    case core::Receiver::replicas: hand_over(node, each.batch); break;
                    case core::Receiver::clients: hear_client(node, each.batch); break;
                }
            },
            [&](core::PeerAdded& each) {
                added(node, each.peer.id);
                if (passengers_ != nullptr) passengers_->came(node.index, each.peer);
            },
            [&](core::PeerRemoved& each) {
                removed(node, each);
                if (passengers_ != nullptr) passengers_->went(node.index, each.peer.id);
            },
            [&](core::GuestCame& each) { guest_came(node, each.guest.id); },
            [&](core::GuestWent& each) { guest_went(node, each.guest); },
            [&](core::PeersChanged&) {},
            [&](core::Surrender& each) {
                note(who + "gives up " + std::to_string(each.messages) + " to " + short_id(each.peer.id));
                check_surrender(node, each);
                ledgers_[{node.id, each.peer.id}].surrendered += each.messages;
                result_.given_up += each.messages;
            },
            [&](core::AddDone& each) {
                note(who + "add: " + (each.error == errc{} ? "done" : make_error_code(each.error).message()));
                check_answer(node, each);
                if (each.error != errc{} && each.number == node.joining) join_later(node);
            },
            [&](core::RoomFreed&) {},
            [&](core::Settled&) {},
            [&](core::MembersChanged& each) { members_changed(node, each); },
            [&](core::MembersInDoubt&) {},
            [&](core::MembersSeenByMore&) {},
            [&](core::LeaveDone& each) { left(node, each); },
            [&](LogLine& each) {
                note(who + each.text);
                const bool silent = each.text.ends_with("why=silence");
                if (silent || each.text.starts_with("peer_unreachable")) fell_silent(node, each.text);
            },
        },
        action);
}

void World::added(Node& node, const PeerId& peer) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    note(who + "added " + short_id(peer));
    if (runs_.at(peer)->guest) fail(who + "has a guest in view");
    if (!node.in_view.insert(peer).second) fail(who + "adds a peer twice");
    node.met.insert(peer);
    ledgers_[{peer, node.id}].met = result_.accepted;
    if (node.departed.contains(peer)) fail(who + "lists a peer that has said goodbye");
    // It may use once more what was dealt out to others when it failed.
    if (node.failed.contains(peer)) node.inbox_limit = 2 * node.inbox_bytes;
    if (const auto found = ledgers_.find({node.id, peer}); found != ledgers_.end()) {
        if (std::exchange(found->second.parting, false)) found->second.parted = result_.accepted;
    }
    const bool may_hurry = !healed_ && !node.leaving && conditions_.hasty != 0;
    if (may_hurry && chance(conditions_.hasty)) hurry(node, peer);
}

void World::removed(Node& node, const core::PeerRemoved& action) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    const std::string_view reason = to_string(action.reason);
    note(who + "removed " + short_id(action.peer.id) + " " + std::string(reason));
    if (node.in_view.erase(action.peer.id) == 0) fail(who + "removes a peer it does not have");
    if (action.reason == RemovalReason::left) {
        node.departed.insert(action.peer.id);
        if (!runs_.at(action.peer.id)->leaving) fail(who + "says of a peer that it left, which did not");
    }
    // Who is told to go asks again.
    const bool by_first = runs_.at(action.peer.id)->index == 0;
    const bool told = action.reason == RemovalReason::refused;
    // It may have had the peer in view once more, by a session that the peer had already ended.
    if (told) ledgers_[{node.id, action.peer.id}].parting = true;
    if (conditions_.way == Conditions::Way::added && by_first && told) join_later(node);
    if (reason == "failed" || reason == "unreachable") {
        node.failed.insert(action.peer.id);
        judge(node, action.peer, reason);
    }
}

/// The node has closed a link to a peer, or given it up, for want of a sign of life.
void World::fell_silent(Node& node, std::string_view line) {
    for (const auto& [id, run] : runs_) {
        if (line.find("peer=" + id.to_string()) == std::string_view::npos) continue;
        if (line.starts_with("link_closed")) {
            check_silence(node, id);
            node.cut_off[id] = now_;
            continue;
        }
        node.bidden.erase(id);
        // A link that is silent is given up first, so that another one is tried.
        const auto cut_off = node.cut_off.find(id);
        if (cut_off == node.cut_off.end() || cut_off->second != now_ || node.leaving) continue;
        fail("n" + std::to_string(node.index) + " gives up " + short_id(id) + " without having tried another link");
    }
}

/// An application may act on a new peer before anything is written to it.
void World::hurry(Node& node, const PeerId& met) {
    if (chance(0.5)) {
        part(node, met);
    } else {
        leave(node);
    }
}

void World::leave(Node& node) {
    node.leaving = true;
    node.leaving_at = clock(node);
    node.bidden = node.in_view;
    node.engine->leave(clock(node));
    settle(node);
    // After its linger it waits for answers, and then no more.
    at(linger + 3s, [this, &node] {
        const bool held_up = disturbances_.of_machine(node.index) >= now_ - linger - 3s;
        if (!node.alive || node.paused || node.lag != Duration() || held_up) return;
        fail("n" + std::to_string(node.index) + " does not get done with leaving");
    });
}

void World::left(Node& node, const core::LeaveDone& action) {
    note("n" + std::to_string(node.index) + " left, unacknowledged " + std::to_string(action.messages));
    check_farewell(node, action.messages);
    node.left = true;
    node.in_time = clock(node) < node.leaving_at + linger;
    node.alive = false;
    if (passengers_ != nullptr) passengers_->ended(node.index);
    std::vector<core::LinkId> open;
    for (const auto& [link, place] : node.links) open.push_back(link);
    for (const core::LinkId link : open) close(node, link, false);
    restart(node.index, healed_ ? between(0ms, 100ms) : between(1s, 8s));
    // What it has not accepted yet.
    std::vector<std::uint64_t> unaccepted;
    for (const auto& [number, connection] : connections_) {
        if (connection.run[1] == node.id && connection.open[1]) unaccepted.push_back(number);
    }
    for (const std::uint64_t number : unaccepted) {
        reset(number);
        release(number, 1);
    }
}

}  // namespace cluster::sim
