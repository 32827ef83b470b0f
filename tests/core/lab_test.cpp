#include "lab.hpp"

#include "base/overloaded.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cluster::core::test {

namespace {

struct Collector final : OutputSink {
    std::vector<Packet> packets;

    void frame(const Control& frame) override { packets.emplace_back(frame); }
    void bytes(const detail::BlockRef&, std::span<const std::byte> bytes) override {
        if (packets.empty() || !std::holds_alternative<std::vector<std::byte>>(packets.back())) {
            packets.emplace_back(std::vector<std::byte>());
        }
        auto& data = std::get<std::vector<std::byte>>(packets.back());
        data.insert(data.end(), bytes.begin(), bytes.end());
    }
};

std::string name_of(const Packet& packet) {
    const auto* control = std::get_if<Control>(&packet);
    return control == nullptr ? "DATA" : test::name_of(*control);
}

std::string first_byte(const PeerId& id) {
    return std::to_string(id.bytes[0]);
}

}  // namespace

PeerId id_of(std::uint8_t first) {
    PeerId id;
    id.bytes.fill(0x5a);
    id.bytes[0] = first;
    return id;
}

std::string name_of(const Control& frame) {
    static constexpr const char* names[] = {"HELLO", "OFFER",   "ATTACH",  "ATTACHED", "GAP",
                                            "ACK",   "GOODBYE", "REFUSE",  "PEERS",    "PING",
                                            "PONG",  "INQUIRY", "FINDING", "MEMBERS",  "MEMBERS_SEEN"};
    return names[frame.index()];
}

std::vector<std::byte> data_frame(std::string_view payload, bool more) {
    std::vector<std::byte> frame(FrameHeader::size + payload.size());
    FrameHeader{static_cast<std::uint32_t>(payload.size()), FrameKind::data, more ? flag_more : std::uint8_t{0}, 0}
        .write(frame.data());
    if (!payload.empty()) std::memcpy(frame.data() + FrameHeader::size, payload.data(), payload.size());
    return frame;
}

/// What stands in `batch`, as `Node::inbox` and `Node::replies` have it.
void append_messages(const Batch& batch, std::vector<std::string>& out) {
    if (batch.lost != 0) out.push_back("gap " + std::to_string(batch.lost));
    for (auto frames = batch.frames; !frames.empty();) {
        const FrameHeader header = FrameHeader::read(frames.data());
        auto payload = frames.subspan(FrameHeader::size, header.length);
        frames = frames.subspan(FrameHeader::size + header.length);
        std::string& text = out.emplace_back();
        if ((header.flags & flag_call) != 0) {
            text = std::to_string(read_call(payload.data())) + ": ";
            payload = payload.subspan(call_size);
        }
        if ((header.flags & flag_error) != 0) {
            text.replace(text.size() - 2, 2, "! " + std::to_string(read_code(payload.data())) + " ");
            payload = payload.subspan(code_size);
        }
        text.append(reinterpret_cast<const char*>(payload.data()), payload.size());
    }
}

// Nodes.

void Node::read() {
    while (!unread.empty()) {
        const Batch batch = std::move(unread.front());
        unread.pop_front();
        append_messages(batch, inbox);
        engine->taken(batch.session, batch.charge, lab->now);
    }
}

std::uint64_t Node::add(const Address& to) {
    const std::uint64_t request = engine->add(to, lab->now);
    lab->settle();
    return request;
}

bool Node::sees(const PeerId& peer) const {
    return engine->peer(peer).has_value();
}

PeerState Node::state_of(const PeerId& peer) const {
    return engine->peer(peer).value().state;
}

std::size_t Node::said(std::string_view text) const {
    return static_cast<std::size_t>(std::count_if(
        lines.begin(), lines.end(), [&](const std::string& line) { return line.find(text) != std::string::npos; }));
}

Engine::Outcome Node::send(const PeerId& to, std::string_view text, bool skip_full) {
    const auto skip = skip_full ? Engine::Skip::full : Engine::Skip::nobody;
    const auto outcome = engine->send(to, {std::as_bytes(std::span(text)), {}}, skip, lab->now);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::broadcast(std::string_view text, bool skip_full) {
    return broadcast(text, skip_full ? Engine::Skip::full : Engine::Skip::nobody);
}

Engine::Outcome Node::broadcast(std::string_view text, Engine::Skip skip) {
    const auto outcome = engine->broadcast({std::as_bytes(std::span(text)), {}}, skip, lab->now);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::ask(const PeerId& to, std::uint64_t call, std::string_view text) {
    const auto outcome = engine->send(to, {std::as_bytes(std::span(text)), {}, call}, Engine::Skip::nobody);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::reply(const PeerId& to, std::uint64_t call, std::string_view text) {
    const Engine::Body body{std::as_bytes(std::span(text)), {}, call, reply_channel};
    const auto outcome = engine->send(to, body, Engine::Skip::nobody);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::reply_error(const PeerId& to, std::uint64_t call, std::int32_t code, std::string_view text) {
    std::vector<std::byte> bytes(code_size + text.size());
    write_code(code, bytes.data());
    if (!text.empty()) std::memcpy(bytes.data() + code_size, text.data(), text.size());
    const auto outcome = engine->send(to, {bytes, {}, call, reply_channel, true}, Engine::Skip::nobody);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::tell_replica(const PeerId& to, std::string_view text) {
    const Engine::Body body{.bytes = std::as_bytes(std::span(text)), .owner = {}, .channel = replica_channel};
    const auto outcome = engine->send(to, body, Engine::Skip::nobody);
    lab->settle();
    return outcome;
}

Engine::Outcome Node::tell_client(const PeerId& to, std::string_view text) {
    const Engine::Body body{.bytes = std::as_bytes(std::span(text)), .owner = {}, .channel = client_channel};
    const auto outcome = engine->send(to, body, Engine::Skip::nobody);
    lab->settle();
    return outcome;
}

errc Node::enroll(const MemberId& member, std::string_view data) {
    detail::MemberRecord record{member, id, std::vector<std::byte>(data.size())};
    std::memcpy(record.data.data(), data.data(), data.size());
    const errc error = engine->put_member(std::make_shared<const detail::MemberRecord>(std::move(record)));
    lab->settle();
    return error;
}

void Node::withdraw(const MemberId& member) {
    engine->erase_member(member);
    lab->settle();
}

std::size_t Wire::count(int side, std::string_view name) const {
    return static_cast<std::size_t>(std::count(passed[side].begin(), passed[side].end(), name));
}

// Puppets.

Puppet::Puppet(Lab& lab_of, Node& of, PeerId played, Address remote, LinkId on)
    : lab(lab_of), node(of), id(played), from(std::move(remote)), link(on) {
    hello.cluster = lab.options.cluster;
    lab.options.random(hello.nonce);
    hello.resume_for_ms = 60000;
    hello.max_message = std::size_t{1} << 30;
    hello.self = {id, 1, "puppet", "", {{"10.0.0." + first_byte(id), 7000}}, {}};
}

void Puppet::say(Control frame) {
    if (closed_) return;
    Packet packet = std::move(frame);
    Lab::receive(node, link, packet, lab.now);
    lab.settle();
}

void Puppet::say_data(std::vector<std::byte> frames) {
    if (closed_) return;
    Packet packet = std::move(frames);
    Lab::receive(node, link, packet, lab.now);
    lab.settle();
}

void Puppet::say_data(std::string_view payload, bool more) {
    say_data(data_frame(payload, more));
}

void Puppet::hang_up() {
    if (closed_) return;
    closed_ = true;
    node.engine->link_ended(link, lab.now);
    lab.settle();
}

std::vector<std::string> Puppet::payloads() const {
    std::vector<std::string> found;
    for (const Packet& packet : heard) {
        const auto* bytes = std::get_if<std::vector<std::byte>>(&packet);
        if (bytes == nullptr) continue;
        for (std::size_t at = 0; at < bytes->size();) {
            const FrameHeader header = FrameHeader::read(bytes->data() + at);
            at += FrameHeader::size;
            found.emplace_back(reinterpret_cast<const char*>(bytes->data() + at), header.length);
            at += header.length;
        }
    }
    return found;
}

void Puppet::be_guest() {
    hello.features = feature_clients | feature_guest;
    hello.self.addresses.clear();
}

Offset Puppet::start() const {
    return {(hello.features & feature_guest) != 0 ? client_channel : user_channel, 0, 1 << 20};
}

void Puppet::join() {
    say_hello();
    say(Offer{});
    const Attach attach = last<Attach>();
    token = attach.token;
    say(Attached{attach.epoch, {start()}, 0});
}

void Puppet::resume(const Token& known, std::vector<Offset> offsets) {
    say_hello();
    say(Offer{proof(known, ProofUse::offer), 0, false, true});
    say(Attached{last<Attach>().epoch, std::move(offsets), 0});
}

void Puppet::lead(const Token& drawn, std::uint64_t epoch) {
    token = drawn;
    say_hello();
    say(Attach{drawn, true, epoch, {start()}, 0});
    say(Ack{});
}

Proof Puppet::proof(const Token& of, ProofUse use) const {
    return prove(of, hello.nonce, last<Hello>().nonce, use);
}

// The lab.

Lab::Lab() {
    options.cluster = "lab";
    options.heartbeat = 1s;
    options.suspicion = 5s;
    options.reconnect_min = 100ms;
    options.reconnect_max = 5s;
    options.resume_for = 30s;
    options.forget_after = std::chrono::hours(1);
    options.connect_timeout = 3s;
    options.handshake_timeout = 5s;
    options.attach_timeout = 2s;
    options.linger = 3s;
    options.send_timeout = 1s;
    options.inbox_bytes = 8 << 20;
    options.outbox_bytes = 1 << 20;
    options.total_outbox_bytes = 4 << 20;
    options.max_message = 512 << 10;
    options.max_peers = 8;
    options.max_guests = 4;
    options.random = [this](std::span<std::uint8_t> bytes) {
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(dice_.next());
    };
}

Node& Lab::start(std::uint8_t first) {
    Node& node = *nodes_.emplace_back(std::make_unique<Node>());
    node.lab = this;
    node.id = id_of(first);
    node.address = {"10.0.0." + std::to_string(first), 7000};
    EngineOptions own = options;
    if (own.self.addresses.empty() && !own.guest) own.self.addresses = {node.address};
    own.self.id = node.id;
    own.self.version = 1;
    own.self.name = "node " + std::to_string(first);
    node.engine = std::make_unique<Engine>(std::move(own), now);
    settle();
    return node;
}

Node& Lab::start_guest(std::uint8_t first) {
    options.guest = true;
    Node& node = start(first);
    options.guest = false;
    return node;
}

void Lab::kill(Node& node) {
    node.alive = false;
    for (auto& wire : wires_) {
        for (int side = 0; side < 2; ++side) {
            if (wire->end[side] != &node || !wire->open[side]) continue;
            wire->open[side] = false;
            end(*wire, 1 - side);
        }
    }
    settle();
}

Puppet& Lab::puppet(Node& node, std::uint8_t first) {
    const Address from{"10.0.0." + std::to_string(first), 50000};
    const LinkId link = node.engine->accepted(from, now);
    Puppet& puppet = *puppets_.emplace_back(std::make_unique<Puppet>(*this, node, id_of(first), from, link));
    if (link == 0) puppet.closed_ = true;
    settle();
    return puppet;
}

std::pair<Wire*, int> Lab::place(const Node& node, LinkId link) {
    for (auto& wire : wires_) {
        for (int side = 0; side < 2; ++side) {
            if (wire->end[side] == &node && wire->link[side] == link && wire->open[side]) return {wire.get(), side};
        }
    }
    return {nullptr, 0};
}

Puppet* Lab::puppet_of(const Node& node, LinkId link) {
    for (auto& puppet : puppets_) {
        if (&puppet->node == &node && puppet->link == link) return puppet.get();
    }
    return nullptr;
}

void Lab::settle() {
    for (bool busy = true; busy;) {
        busy = false;
        for (std::size_t i = 0; i < nodes_.size(); ++i) busy = work(*nodes_[i]) || busy;
        for (std::size_t i = 0; i < wires_.size(); ++i) {
            for (int side = 0; side < 2; ++side) busy = deliver(*wires_[i], side) || busy;
        }
    }
}

bool Lab::work(Node& node) {
    bool busy = false;
    std::vector<Action> actions;
    std::vector<LinkId> ready;
    while (node.alive && (node.engine->has_actions() || node.engine->has_ready())) {
        busy = true;
        node.engine->take_actions(actions);
        for (Action& action : actions) carry_out(node, action);
        if (node.engine->has_actions()) continue;
        node.engine->take_ready(ready);
        for (const LinkId link : ready) write(node, link);
    }
    return busy;
}

void Lab::step(Time most) {
    Time next = most;
    for (auto& node : nodes_) {
        if (node->alive) next = std::min(next, node->engine->deadline());
    }
    now = std::max(now, next);
    for (auto& node : nodes_) {
        if (node->alive && node->engine->deadline() <= now) node->engine->tick(now);
    }
    settle();
}

void Lab::advance(Duration by) {
    const Time end = now + by;
    while (now < end) step(end);
}

void Lab::carry_out(Node& node, Action& action) {
    std::visit(Overloaded{[&](Dial& each) { dial(node, each); }, [&](Resolve& each) { resolve(node, each); },
                          [&](Close& each) { close(node, each.link, each.drain); },
                          [&](NodeAction& each) { carry_out(node, each); }},
               action);
}

void Lab::dial(Node& node, const Dial& action) {
    const Pending pending{&node, action.link, action.address};
    dialled.push_back(pending);
    if (silent.contains(action.address.to_string())) return;
    if (hold_dials) {
        dials.push_back(pending);
    } else {
        complete(pending);
    }
}

void Lab::resolve(Node& node, const Resolve& action) {
    if (hold_resolving) {
        resolving.emplace_back(action.target, action.name);
    } else {
        const auto found = names.find(action.name.host);
        const std::vector<Address> itself{action.name};
        node.engine->resolved(action.target, found == names.end() ? itself : found->second, {}, now);
    }
}

void Lab::carry_out(Node& node, NodeAction& action) {
    std::visit(Overloaded{
                   [&](Deliver& each) {
                       switch (each.receiver) {
                           case Receiver::inbox:
                               node.unread.push_back(std::move(each.batch));
                               if (node.reads) node.read();
                               break;
                           case Receiver::calls: append_messages(each.batch, node.replies); break;
                           case Receiver::replicas: append_messages(each.batch, node.replica_messages); break;
                           case Receiver::clients: append_messages(each.batch, node.client_messages); break;
                       }
                   },
                   [&](PeerAdded& each) { node.news.push_back("added " + first_byte(each.peer.id)); },
                   [&](PeerRemoved& each) {
                       node.news.push_back(std::string(to_string(each.reason)) + " " + first_byte(each.peer.id));
                       const bool outlived = !node.members[each.peer.id].empty();
                       if (outlived) node.member_news.push_back("outlive " + first_byte(each.peer.id));
                   },
                   [&](GuestCame& each) {
                       node.news.push_back("guest " + first_byte(each.guest.id));
                       node.guests.push_back(each.guest);
                   },
                   [&](GuestWent& each) { node.news.push_back("gone " + first_byte(each.guest)); },
                   [&](PeersChanged&) {},
                   [&](Surrender& each) { node.surrendered.push_back(each); },
                   [&](AddDone& each) { node.answers[each.number] = each; },
                   [&](RoomFreed&) { ++node.room_freed; },
                   [&](Settled&) { ++node.settled; },
                   [&](MembersChanged& each) { members_changed(node, each); },
                   [&](MembersInDoubt& each) {
                       node.member_news.push_back((each.suspect ? "doubts " : "trusts ") + first_byte(each.owner));
                   },
                   [&](MembersSeenByMore&) { node.member_news.push_back("seen"); },
                   [&](LeaveDone& each) { node.left = each; },
                   [&](LogLine& each) {
                       node.lines.push_back(each.text);
                       node.log.push_back(each);
                   },
               },
               action);
}

void Lab::members_changed(Node& node, const MembersChanged& action) {
    node.members_complete = action.complete;
    for (const MemberChange& change : action.changes) {
        const auto& record = *change.record;
        const std::string data(reinterpret_cast<const char*>(record.data.data()), record.data.size());
        if (change.present) {
            node.members[record.owner][record.id] = data;
        } else {
            node.members[record.owner].erase(record.id);
        }
        node.member_news.push_back((change.present ? "has " : change.graceful ? "left " : "expired ") + data);
    }
}

void Lab::complete(const Pending& dial) {
    if (!dial.node->alive) return;
    if (const auto played = played_.find(dial.address.to_string()); played != played_.end()) {
        puppets_.push_back(std::make_unique<Puppet>(*this, *dial.node, id_of(played->second), dial.address, dial.link));
        dial.node->engine->connected(dial.link, dial.address, now);
        return;
    }
    Address place = dial.address;
    if (const auto balancer = balancers.find(place.to_string()); balancer != balancers.end()) {
        place = balancer->second.front();
        balancer->second.pop_front();
        balancer->second.push_back(place);
    }
    const auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& node) {
        return node->alive && !node->left && node->address == place;
    });
    if (found == nodes_.end()) return refuse(dial);
    if (severed && severed(*dial.node, **found)) return;
    const LinkId accepted = (*found)->engine->accepted({dial.node->address.host, 50000}, now);
    Wire& wire = *wires_.emplace_back(std::make_unique<Wire>());
    wire.end[0] = dial.node;
    wire.end[1] = found->get();
    wire.link[0] = dial.link;
    wire.link[1] = accepted;
    wire.held[0] = wire.held[1] = hold_wires;
    dial.node->engine->connected(dial.link, dial.address, now);
    if (accepted == 0) {
        wire.open[1] = false;
        end(wire, 0);
    }
}

void Lab::refuse(const Pending& dial, errc error) {
    dial.node->engine->dial_failed(dial.link, error, now);
}

void Lab::write(Node& node, LinkId link) {
    Puppet* puppet = puppet_of(node, link);
    const auto [wire, side] = place(node, link);
    Collector collector;
    while (node.engine->pull(link, 64 << 10, collector, now)) {
    }
    for (Packet& packet : collector.packets) {
        if (puppet != nullptr) {
            puppet->heard.push_back(std::move(packet));
        } else if (wire != nullptr) {
            wire->passed[side].push_back(name_of(packet));
            wire->way[side].push_back(std::move(packet));
        }
    }
    if (puppet != nullptr && puppet->draining_) puppet->finished_ = true;
    if (wire != nullptr && wire->draining[side]) wire->fin[side] = true;
}

bool Lab::deliver(Wire& wire, int from) {
    const int to = 1 - from;
    if (wire.held[from] || !wire.open[to]) return false;
    if (!wire.way[from].empty()) {
        Packet packet = std::move(wire.way[from].front());
        wire.way[from].pop_front();
        receive(*wire.end[to], wire.link[to], packet, now);
        return true;
    }
    if (!wire.fin[from] && wire.open[from]) return false;
    end(wire, to);
    return true;
}

/// Splits DATA as the parser does: runs of whole messages, and chunks one by one.
bool Lab::receive(Node& node, LinkId link, Packet& packet, Time now) {
    if (auto* control = std::get_if<Control>(&packet)) return node.engine->received(link, std::move(*control), now);
    const auto& bytes = std::get<std::vector<std::byte>>(packet);
    const detail::BlockRef block = detail::Block::copy(bytes);
    const std::span<const std::byte> all(block->data(), block->size());
    for (std::size_t at = 0; at < all.size();) {
        const FrameHeader first = FrameHeader::read(all.data() + at);
        DataRun run{.block = block, .frames = {}, .messages = 0, .channel = first.channel};
        run.more = (first.flags & flag_more) != 0;
        std::size_t end = at;
        do {
            const FrameHeader header = FrameHeader::read(all.data() + end);
            if (run.messages > 0 && (run.more || header.flags != first.flags || header.channel != first.channel)) break;
            end += FrameHeader::size + header.length;
            ++run.messages;
        } while (end < all.size());
        run.frames = all.subspan(at, end - at);
        at = end;
        if (!node.engine->received(link, run, now)) return false;
    }
    return true;
}

void Lab::close(Node& node, LinkId link, bool drain) {
    if (Puppet* puppet = puppet_of(node, link)) {
        (drain ? puppet->draining_ : puppet->closed_) = true;
        return;
    }
    const auto [wire, side] = place(node, link);
    if (wire == nullptr) return;
    if (drain) {
        wire->draining[side] = true;
        return;
    }
    wire->open[side] = false;
    // Closing with unread input loses what this side wrote, too.
    if (!wire->way[1 - side].empty()) wire->way[side].clear();
    wire->way[1 - side].clear();
}

void Lab::end(Wire& wire, int side) {
    if (!std::exchange(wire.open[side], false)) return;
    if (wire.end[side]->alive) wire.end[side]->engine->link_ended(wire.link[side], now);
}

void Lab::cut(Wire& wire) {
    for (int side = 0; side < 2; ++side) wire.way[side].clear();
    end(wire, 0);
    end(wire, 1);
    settle();
}

std::vector<Wire*> Lab::wires(const Node* a, const Node* b) {
    std::vector<Wire*> found;
    for (auto& wire : wires_) {
        if (!wire->open[0] || !wire->open[1]) continue;
        const auto has = [&](const Node* node) {
            return node == nullptr || wire->end[0] == node || wire->end[1] == node;
        };
        if (has(a) && has(b)) found.push_back(wire.get());
    }
    return found;
}

void Lab::join(Node& a, Node& b) {
    const std::uint64_t request = a.add(b.address);
    REQUIRE(a.answers.contains(request));
    REQUIRE(a.answers[request].error == errc{});
    REQUIRE(b.sees(a.id));
    advance(10ms);
}

}  // namespace cluster::core::test

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

TEST_CASE("one added address makes two engines peers over one link, and messages flow both ways") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    CHECK(ann.news == std::vector<std::string>{"added 2"});
    CHECK(bob.news == std::vector<std::string>{"added 1"});
    CHECK(lab.wires(&ann, &bob).size() == 1);
    CHECK(ann.broadcast("one").count == 1);
    CHECK(bob.send(ann.id, "two").error == errc{});
    CHECK(bob.inbox == std::vector<std::string>{"one"});
    CHECK(ann.inbox == std::vector<std::string>{"two"});
}

TEST_CASE("an idle pair stays attached on its one link for as long as it lives") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    lab.advance(std::chrono::hours(3));
    CHECK(ann.news.size() == 1);
    CHECK(bob.news.size() == 1);
    CHECK(ann->counters().links_lost == 0);
    CHECK(ann->counters().dials == 1);
    CHECK(bob->counters().dials == 1);  // to see whether ann can be dialled, and closed at once
}
