#include "base/overloaded.hpp"
#include "world_parts.hpp"

#include <algorithm>
#include <cstring>

namespace cluster::sim {

using namespace std::chrono_literals;

// Clients outside of the cluster, in some of the runs. A guest dials one node, and another one when it has none in
// view. All of them speak with their nodes on the client channel. They leave, end and come back under other ids.

void World::invite() {
    if (plan_.stalled != 0 || passengers_ != nullptr || clients_.below(3) != 0) return;
    const std::size_t count = 1 + clients_.below(most_guests);
    for (std::size_t i = 0; i < count; ++i) {
        Machine& machine = machines_.emplace_back();
        machine.address = machine.published = machine.alias = {"10.4.0." + std::to_string(i + 1), 7000};
        machine.listens = false;
        guests_.push_back(std::make_unique<Node>());
        guests_.back()->alive = false;
        guests_.back()->guest = true;
        guests_.back()->index = plan_.nodes + i;
    }
}

void World::start_guest(std::size_t index) {
    if (node_at(index).alive) return;
    auto guest = std::make_unique<Node>();
    guest->index = index;
    guest->guest = true;
    for (auto& byte : guest->id.bytes) byte = static_cast<std::uint8_t>(clients_.next());
    guest->address = guest->published = machines_[index].address;
    core::EngineOptions options;
    options.cluster = "sim";
    options.self = {guest->id, 1, "g" + std::to_string(index), "", {}, {}};
    options.guest = true;
    options.heartbeat = conditions_.heartbeat;
    options.suspicion = conditions_.suspicion;
    options.reconnect_min = 100ms;
    options.reconnect_max = 5s;
    options.resume_for = std::chrono::milliseconds(4000 + 1000 * clients_.below(8));
    options.forget_after = std::chrono::hours(1);
    options.connect_timeout = 2s;
    options.handshake_timeout = 3s;
    options.attach_timeout = 1s;
    options.linger = linger;
    options.send_timeout = 500ms;
    options.max_peers = 2 * plan_.nodes;
    options.inbox_bytes = 4 * max_message;
    options.outbox_bytes = outbox_bytes;
    options.total_outbox_bytes = total_outbox_bytes;
    options.max_message = max_message;
    options.random = [this](std::span<std::uint8_t> bytes) {
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(clients_.next());
    };
    guest->inbox_limit = 0;  // nothing is for its inbox
    guest->link_limit = 1024;
    guest->dial_refilled = now_;
    guest->engine = std::make_unique<core::Engine>(std::move(options), now_);
    note("start guest n" + std::to_string(index) + " " + short_id(guest->id));
    runs_[guest->id] = guest.get();
    std::unique_ptr<Node>& place = guests_[index - nodes_.size()];
    if (place->engine) gone_.push_back(std::move(place));
    place = std::move(guest);
    visit(index, place.get());
    if (!healed_) {
        at(Duration(1s) * (2 + clients_.below(15)), [this, &run = *place] {
            if (run.alive && !healed_) disturb_guest(run);
        });
    }
}

/// While it has nobody in view it turns to some node.
void World::visit(std::size_t index, const Node* run) {
    Node& guest = node_at(index);
    if (&guest != run || !guest.alive || guest.leaving) return;
    at(1s + Duration(1ms) * clients_.below(500), [this, index, run] { visit(index, run); });
    if (guest.paused || !guest.in_view.empty()) return;
    const Machine& machine = machines_[clients_.below(nodes_.size())];
    if (!machine.listens || machine.frozen) return;
    if (std::find(guest.added.begin(), guest.added.end(), machine.address) == guest.added.end()) {
        guest.added.push_back(machine.address);
    }
    guest.engine->add(machine.address, clock(guest));
    settle(guest);
}

void World::disturb_guest(Node& guest) {
    const std::size_t index = guest.index;
    switch (clients_.below(4)) {
        case 0:
            kill(index, false);
            at(Duration(1ms) * clients_.below(3000), [this, index] { start_guest(index); });
            return;
        case 1: return leave(guest);
        case 2:
            if (!guest.paused) pause(guest, Duration(1ms) * (100 + clients_.below(9000)), false);
            break;
        default: {
            std::vector<std::uint64_t> mine;
            for (const auto& [number, connection] : connections_) {
                if (connection.node[0] == index) mine.push_back(number);
            }
            for (const std::uint64_t number : mine) reset(number);
            break;
        }
    }
    at(Duration(1s) * (1 + clients_.below(10)), [this, &guest] {
        if (guest.alive && !healed_ && !guest.leaving) disturb_guest(guest);
    });
}

void World::carry_out_at_guest(Node& guest, core::NodeAction& action) {
    const std::string who = "n" + std::to_string(guest.index) + " ";
    std::visit(Overloaded{
                   [&](core::Deliver& each) {
                       if (each.receiver != core::Receiver::clients)
                           return fail(who + "is a guest, and gets other messages");
                       hear_client(guest, each.batch);
                   },
                   [&](core::PeerAdded& each) {
                       note(who + "added " + short_id(each.peer.id));
                       if (!guest.in_view.insert(each.peer.id).second) fail(who + "adds a peer twice");
                       if (runs_.at(each.peer.id)->guest) fail(who + "is a guest, and has another one");
                       talks_[{each.peer.id, guest.id}].anew = true;
                   },
                   [&](core::PeerRemoved& each) {
                       note(who + "removed " + short_id(each.peer.id) + " " + std::string(to_string(each.reason)));
                       if (guest.in_view.erase(each.peer.id) == 0) fail(who + "removes a peer it does not have");
                   },
                   [&](core::GuestCame&) { fail(who + "is a guest, and has a guest"); },
                   [&](core::GuestWent&) {},
                   [&](core::PeersChanged&) {},
                   [&](core::Surrender&) { fail(who + "gives up messages that nobody counts"); },
                   [&](core::AddDone&) {},
                   [&](core::RoomFreed&) {},
                   [&](core::Settled&) {},
                   [&](core::MembersChanged& each) {
                       if (!each.changes.empty()) fail(who + "is a guest, and learns of members");
                   },
                   [&](core::MembersInDoubt&) {},
                   [&](core::MembersSeenByMore&) {},
                   [&](core::LeaveDone&) { guest_left(guest); },
                   [&](LogLine& each) { note(who + each.text); },
               },
               action);
}

void World::guest_left(Node& guest) {
    note("n" + std::to_string(guest.index) + " left");
    guest.left = true;
    guest.alive = false;
    std::vector<core::LinkId> open;
    for (const auto& [link, place] : guest.links) open.push_back(link);
    for (const core::LinkId link : open) close(guest, link, false);
    at(Duration(1ms) * clients_.below(3000), [this, index = guest.index] { start_guest(index); });
}

void World::guest_came(Node& node, const PeerId& guest) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    note(who + "has guest " + short_id(guest));
    ++result_.guests;
    if (!node.guests.insert(guest).second) fail(who + "has a guest that came already");
    if (!runs_.at(guest)->guest) fail(who + "takes a node for a guest");
    if (node.guests.size() > guests_.size()) fail(who + "has more guests than it takes");
    talks_[{guest, node.id}].anew = true;
}

void World::guest_went(Node& node, const PeerId& guest) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    note(who + "has no longer guest " + short_id(guest));
    if (node.guests.erase(guest) == 0) fail(who + "loses a guest that it does not have");
}

void World::ask_nodes(Node& guest) {
    if (!guest.alive || guest.leaving || guest.paused) return;
    const std::vector<PeerId> nodes(guest.in_view.begin(), guest.in_view.end());
    for (const PeerId& id : nodes) say_to(guest, id);
}

void World::answer_guests(Node& node) {
    if (!node.alive || node.leaving || node.paused) return;
    const std::vector<PeerId> guests(node.guests.begin(), node.guests.end());
    for (const PeerId& id : guests) say_to(node, id);
}

/// One message, with its number among those to the same receiver.
void World::say_to(Node& node, const PeerId& to) {
    const std::uint64_t pick = clients_.below(20);
    std::vector<std::byte> payload(8 + (pick == 0 ? clients_.below(max_message - 8) : clients_.below(2000)));
    Talk& talk = talks_[{node.id, to}];
    const std::uint64_t number = talk.sent + 1;
    std::memcpy(payload.data(), &number, 8);
    const core::Engine::Body body{.bytes = payload, .owner = {}, .channel = core::client_channel};
    const errc error = node.engine->send(to, body, core::Engine::Skip::nobody).error;
    if (error == errc{}) ++talk.sent;
    if (error == errc::not_in_view) fail("n" + std::to_string(node.index) + " has no session with who is here");
    settle(node);
}

/// While a session lives, each message comes, and once; the first of a session may follow upon a hole.
void World::hear_client(Node& node, const core::Batch& batch) {
    const std::string who = "n" + std::to_string(node.index) + " from " + short_id(batch.from);
    if (batch.lost != 0) fail(who + ": is told of a gap on the client channel");
    const bool here = node.guest ? node.in_view.contains(batch.from) : node.guests.contains(batch.from);
    if (!here && !node.leaving) fail(who + ": hears a client that is not here");
    Talk& talk = talks_[{batch.from, node.id}];
    for (auto frames = batch.frames; !frames.empty();) {
        const core::FrameHeader header = core::FrameHeader::read(frames.data());
        std::uint64_t number = 0;
        if (header.length < 8) return fail(who + ": altered");
        std::memcpy(&number, frames.data() + core::FrameHeader::size, 8);
        frames = frames.subspan(core::FrameHeader::size + header.length);
        const bool follows = number == talk.heard + 1 || (talk.anew && number > talk.heard);
        if (!follows || number > talk.sent) {
            return fail(who + ": got client message " + std::to_string(number) + " after " +
                        std::to_string(talk.heard));
        }
        talk.anew = false;
        talk.heard = number;
        ++result_.client_messages;
    }
}

bool World::guests_well(std::string* why) const {
    for (const auto& guest : guests_) {
        const std::string who = "n" + std::to_string(guest->index) + " ";
        if (!guest->alive || guest->leaving) return *why = who + "is not running", false;
        bool found = false;
        for (const PeerId& id : guest->in_view) {
            const Node& node = *runs_.at(id);
            found = true;
            if (machines_[node.index].frozen) continue;  // it may still have the guest
            if (!node.alive || !node.guests.contains(guest->id)) {
                return *why = who + "has " + short_id(id) + " in view, which does not have it", false;
            }
            for (const auto& [from, to] : {std::pair(guest->id, id), std::pair(id, guest->id)}) {
                const auto talk = talks_.find({from, to});
                const bool heard = talk == talks_.end() || talk->second.heard == talk->second.sent;
                if (!heard && !talk->second.anew) return *why = who + "or its node misses messages", false;
            }
        }
        if (!found) return *why = who + "has no node", false;
    }
    return true;
}

}  // namespace cluster::sim
