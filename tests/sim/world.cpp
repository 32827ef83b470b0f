#include "world_parts.hpp"

#include <algorithm>
#include <cstring>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_message = 200 << 10;
constexpr Duration linger = 3s;

std::uint64_t mix(std::uint64_t hash, std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

}  // namespace

World::World(Plan plan) : plan_(plan), faults_(dice(1)), random_(dice(2)) {
    result_.hash = 0xcbf29ce484222325;
}

World::~World() = default;

void World::at(Duration delay, std::function<void()> what) {
    events_.push({now_ + delay, ++order_, std::move(what)});
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

// Nodes.

void World::start(std::size_t index) {
    auto node = std::make_unique<Node>();
    node->index = index;
    for (auto& byte : node->id.bytes) byte = static_cast<std::uint8_t>(random_.next());
    node->address = {"10.0.0." + std::to_string(index + 1), 7000};
    core::EngineOptions options;
    options.cluster = "sim";
    options.self = {node->id, 1, "n" + std::to_string(index), "", {node->address}, {}};
    options.heartbeat = 1s;
    options.suspicion = 5s;
    options.reconnect_min = 100ms;
    options.reconnect_max = 5s;
    options.resume_for = 8s;
    options.forget_after = std::chrono::hours(1);
    options.connect_timeout = 2s;
    options.handshake_timeout = 5s;
    options.attach_timeout = 2s;
    options.linger = linger;
    options.inbox_bytes = 16 << 20;
    options.outbox_bytes = 300 << 10;
    options.total_outbox_bytes = 4 << 20;
    options.max_message = max_message;
    options.max_peers = 32;
    options.random = [this](std::span<std::uint8_t> bytes) {
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.next());
    };
    if (index != 0) options.seeds = {{"10.0.0.1", 7000}};
    node->engine = std::make_unique<core::Engine>(std::move(options), now_);
    note("start n" + std::to_string(index) + " " + short_id(node->id));
    if (index < nodes_.size()) {
        gone_.push_back(std::move(nodes_[index]));
        nodes_[index] = std::move(node);
    } else {
        nodes_.push_back(std::move(node));
    }
    settle(*nodes_[index]);
}

/// `silently`: as by a power cut, the connections are not reset but dead.
void World::kill(std::size_t index, bool silently) {
    Node& node = *nodes_[index];
    note(std::string("kill n") + std::to_string(index) + (silently ? " silently" : ""));
    node.alive = false;
    std::vector<std::uint64_t> mine;
    for (auto& [number, connection] : connections_) {
        for (int side = 0; side < 2; ++side) {
            if (connection.run[side] == node.id && connection.open[side]) mine.push_back(number);
        }
    }
    for (const std::uint64_t number : mine) {
        Connection& connection = connections_.at(number);
        const int side = connection.run[0] == node.id ? 0 : 1;
        connection.open[side] = false;
        if (silently) {
            connection.deaf = true;
        } else {
            reset(number);
        }
    }
}

void World::settle(Node& node) {
    if (node.settling) return;
    node.settling = true;
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
    if (deadline == core::never || node.tick_at <= deadline) return;
    node.tick_at = deadline;
    at(std::max(Duration::zero(), deadline - now_), [this, &node, deadline] {
        if (!node.alive || node.tick_at != deadline) return;
        node.tick_at = core::never;
        node.engine->tick(now_);
        settle(node);
    });
}

void World::carry_out(Node& node, core::Action& action) {
    const std::string who = "n" + std::to_string(node.index) + " ";
    if (auto* dialled = std::get_if<core::Dial>(&action)) {
        dial(node, *dialled);
    } else if (auto* resolve = std::get_if<core::Resolve>(&action)) {
        node.engine->resolved(resolve->target, {resolve->name}, {}, now_);
    } else if (auto* closed = std::get_if<core::Close>(&action)) {
        close(node, closed->link, closed->drain);
    } else if (auto* deliver = std::get_if<core::Deliver>(&action)) {
        if (!node.in_view.contains(deliver->batch.from) && !node.leaving) fail(who + "hears from a peer out of view");
        receive(node, std::move(deliver->batch));
    } else if (auto* added = std::get_if<core::PeerAdded>(&action)) {
        note(who + "added " + short_id(added->peer.id));
        if (!node.in_view.insert(added->peer.id).second) fail(who + "adds a peer twice");
        if (node.departed.contains(added->peer.id)) fail(who + "lists a peer that has said goodbye");
    } else if (auto* removed = std::get_if<core::PeerRemoved>(&action)) {
        note(who + "removed " + short_id(removed->peer.id) + " " + std::string(to_string(removed->reason)));
        if (node.in_view.erase(removed->peer.id) == 0) fail(who + "removes a peer it does not have");
        if (removed->reason == RemovalReason::left) node.departed.insert(removed->peer.id);
    } else if (auto* surrender = std::get_if<core::Surrender>(&action)) {
        note(who + "gives up " + std::to_string(surrender->messages) + " to " + short_id(surrender->peer.id));
        ledgers_[{node.id, surrender->peer.id}].surrendered += surrender->messages;
        result_.given_up += surrender->messages;
    } else if (auto* done = std::get_if<core::AddDone>(&action)) {
        note(who + "add: " + (done->error == errc{} ? "done" : make_error_code(done->error).message()));
        if (done->request == node.add_request) node.add_pending = false;
    } else if (auto* left = std::get_if<core::LeaveDone>(&action)) {
        note(who + "left, unacknowledged " + std::to_string(left->messages));
        check_farewell(node, left->messages);
        node.left = true;
        node.alive = false;
        std::vector<core::LinkId> open;
        for (const auto& [link, place] : node.links) open.push_back(link);
        for (const core::LinkId link : open) close(node, link, false);
    } else if (auto* line = std::get_if<core::LogLine>(&action)) {
        note(who + line->text);
    }
}

void World::receive(Node& node, core::Batch batch) {
    if (batch.lost != 0) {
        Ledger& ledger = ledgers_[{batch.from, node.id}];
        ledger.gaps += batch.lost;
    }
    node.inbox_charge += batch.charge;
    node.inbox.push_back(std::move(batch));
    if (node.reads) {
        at(between(0ms, 2ms), [this, &node] {
            if (node.alive && node.reads) read_inbox(node, SIZE_MAX);
        });
    }
}

void World::read_inbox(Node& node, std::size_t most) {
    while (most-- > 0 && !node.inbox.empty()) {
        const core::Batch batch = std::move(node.inbox.front());
        node.inbox.pop_front();
        node.inbox_charge -= batch.charge;
        Ledger& ledger = ledgers_[{batch.from, node.id}];
        if (batch.lost != 0) ledger.skippable += batch.lost;
        const std::string who = "n" + std::to_string(node.index) + " from " + short_id(batch.from);
        for (auto frames = batch.frames; !frames.empty();) {
            const core::FrameHeader header = core::FrameHeader::read(frames.data());
            const auto payload = frames.subspan(core::FrameHeader::size, header.length);
            frames = frames.subspan(core::FrameHeader::size + header.length);
            std::uint64_t number = 0;
            if (payload.size() < 8) return fail(who + ": altered");
            std::memcpy(&number, payload.data(), 8);
            while (!ledger.expected.empty() && ledger.expected.front().number < number && ledger.skippable > 0) {
                ledger.expected.pop_front();
                --ledger.skippable;
                ++ledger.missing;
            }
            if (ledger.expected.empty() || ledger.expected.front().number != number) {
                return fail(who + ": got message " + std::to_string(number) + ", expected " +
                            (ledger.expected.empty() ? "none" : std::to_string(ledger.expected.front().number)));
            }
            const auto fill = static_cast<std::byte>(number);
            if (payload.size() != ledger.expected.front().size ||
                std::any_of(payload.begin() + 8, payload.end(), [&](std::byte each) { return each != fill; })) {
                return fail(who + ": altered");
            }
            ledger.expected.pop_front();
            ++result_.delivered;
        }
        node.engine->taken(batch.session, batch.charge, now_);
    }
    settle(node);
}

void World::send_something(Node& node) {
    if (!node.alive || node.leaving) return;
    const std::uint64_t pick = random_.below(100);
    const std::size_t size = 8 + (pick < 80   ? random_.below(200)
                                  : pick < 97 ? random_.below(20000)
                                              : random_.below(max_message - 8));
    std::vector<std::byte> payload(size);
    const std::uint64_t number = ++result_.accepted;
    std::memcpy(payload.data(), &number, 8);
    std::fill(payload.begin() + 8, payload.end(), static_cast<std::byte>(number));
    core::Engine::Body body{payload, {}};
    if (size > 16000) {
        body.owner = core::Block::copy(payload);
        body.bytes = {body.owner->data(), size};
    }
    const bool skip = random_.below(4) == 0;
    const std::vector<Peer> peers = node.engine->peers();
    core::Engine::Outcome outcome;
    std::vector<PeerId> to;
    if (random_.below(3) == 0 && !peers.empty()) {
        to = {peers[random_.below(peers.size())].id};
        outcome = node.engine->send(to[0], body, skip);
    } else {
        for (const Peer& peer : peers) to.push_back(peer.id);
        outcome = node.engine->broadcast(body, skip);
    }
    if (outcome.error == errc{}) {
        for (const PeerId& id : to) ledgers_[{node.id, id}].expected.push_back({number, size});
    }
    settle(node);
}

// Faults and load.

void World::load() {
    if (healed_) return;
    for (auto& node : nodes_) {
        if (chance(0.7)) send_something(*node);
    }
    at(between(5ms, 60ms), [this] { load(); });
}

void World::disturb() {
    if (healed_) return;
    const std::size_t victim = faults_.below(nodes_.size());
    Node& node = *nodes_[victim];
    const std::uint64_t pick = faults_.below(100);
    std::vector<std::uint64_t> open;
    for (const auto& [number, connection] : connections_) {
        if (connection.open[0] && connection.open[1]) open.push_back(number);
    }
    if (pick < 45 && !open.empty()) {
        const std::uint64_t number = open[faults_.below(open.size())];
        note("reset connection " + std::to_string(number));
        ++result_.resets;
        reset(number);
    } else if (pick < 55 && !open.empty()) {
        const std::uint64_t number = open[faults_.below(open.size())];
        note("half-open connection " + std::to_string(number));
        connections_.at(number).deaf = true;
    } else if (pick < 60) {
        // Two nodes lose sight of each other for a while.
        const std::size_t other = faults_.below(nodes_.size());
        if (other != victim) {
            const std::pair<std::size_t, std::size_t> pair = std::minmax(victim, other);
            note("part n" + std::to_string(pair.first) + " and n" + std::to_string(pair.second));
            parted_.insert(pair);
            for (auto& [number, connection] : connections_) {
                const auto [low, high] = std::minmax(connection.node[0], connection.node[1]);
                if (low == pair.first && high == pair.second) connection.deaf = true;
            }
            at(between(500ms, 14s), [this, pair] { parted_.erase(pair); });
        }
    } else if (pick < 62) {
        for (int i = 0; i < 60; ++i) send_something(node);
    } else if (pick < 66) {
        node.reads = false;
        at(between(100ms, 4s), [this, &node] {
            node.reads = true;
            if (node.alive) read_inbox(node, SIZE_MAX);
        });
    } else if (pick < 72 && node.alive && !node.leaving && victim != 0) {
        note("leave n" + std::to_string(victim));
        ++result_.leaves;
        node.leaving = true;
        node.engine->leave(now_);
        settle(node);
        at(between(5s, 8s), [this, victim] {
            if (!nodes_[victim]->alive) start(victim);
        });
    } else if (pick < 78 && node.alive && !node.leaving && victim != 0) {
        ++result_.restarts;
        kill(victim, chance(0.3));
        at(between(10ms, 8s), [this, victim] {
            if (!nodes_[victim]->alive) start(victim);
        });
    } else if (pick < 90 && node.alive && !node.leaving) {
        // Simultaneous dials: two nodes add each other at once.
        Node& other = *nodes_[faults_.below(nodes_.size())];
        if (&other != &node && other.alive && !other.leaving) {
            node.add_request = node.engine->add(other.address, now_);
            node.add_pending = true;
            other.add_request = other.engine->add(node.address, now_);
            other.add_pending = true;
            settle(node);
            settle(other);
        }
    } else if (node.alive && !node.leaving) {
        node.engine->set_tags({{"step", std::to_string(now_.count())}}, now_);
        settle(node);
    }
    at(between(20ms, 800ms), [this] { disturb(); });
}

void World::heal() {
    healed_ = true;
    dial_faults_ = false;
    parted_.clear();
    note("heal");
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        Node& node = *nodes_[i];
        node.reads = true;
        if (node.alive) {
            read_inbox(node, SIZE_MAX);
        } else if (node.left || !node.alive) {
            at(between(0ms, 100ms), [this, i] {
                if (!nodes_[i]->alive) start(i);
            });
        }
    }
}

Result World::run() {
    dial_faults_ = true;
    for (std::size_t i = 0; i < plan_.nodes; ++i) {
        nodes_.push_back(std::make_unique<Node>());
        nodes_.back()->alive = false;
        nodes_.back()->index = i;
    }
    for (std::size_t i = 0; i < plan_.nodes; ++i) {
        at(between(0ms, 50ms), [this, i] { start(i); });
    }
    at(100ms, [this] { load(); });
    at(between(50ms, 2s), [this] { disturb(); });
    at(plan_.faults, [this] { heal(); });
    Time good_since = core::never;
    std::string why = "not started";
    std::uint64_t attachments = 0;
    Time next_check{};
    while (!events_.empty() && !result_.failed) {
        const Event event = events_.top();
        events_.pop();
        now_ = event.at;
        ++result_.events;
        event.what();
        check_links();
        // The last faults before the healing may take a moment to be noticed.
        if (now_ < std::max(next_check, plan_.faults + 1s)) continue;
        next_check = now_ + 50ms;
        if (!well(&why)) {
            good_since = core::never;
            if (now_ > plan_.faults + plan_.healing) fail("not well in time: " + why);
        } else if (good_since == core::never) {
            good_since = now_;
            attachments = count_attachments();
        } else if (now_ - good_since > 2s) {
            if (count_attachments() != attachments) fail("sessions move between links without need");
            check_end();
            break;
        }
    }
    note("end");
    return std::move(result_);
}

}  // namespace cluster::sim
