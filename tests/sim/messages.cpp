#include "world_parts.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cluster::sim {

using namespace std::chrono_literals;

void World::load() {
    if (healed_) return;
    for (auto& node : nodes_) {
        if (chance(0.7)) send_something(*node);
        if (conditions_.members && members_.below(3) == 0) change_a_member(*node);
        if (!guests_.empty()) answer_guests(*node);
    }
    for (auto& guest : guests_) ask_nodes(*guest);
    at(between(5ms, conditions_.between_sends), [this] { load(); });
}

void World::send_something(Node& node) {
    if (!node.alive || node.leaving || node.paused) return;
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
        body.owner = detail::Block::copy(payload);
        body.bytes = {body.owner->data(), size};
    }
    static constexpr core::Engine::Skip skips[] = {core::Engine::Skip::full, core::Engine::Skip::slow,
                                                   core::Engine::Skip::nobody, core::Engine::Skip::nobody};
    const core::Engine::Skip skip = skips[random_.below(4)];
    core::Engine::Outcome outcome;
    // What is in view for the application is in view for the engine: its actions have been carried out.
    const std::vector<PeerId> peers(node.in_view.begin(), node.in_view.end());
    std::vector<PeerId> to;
    std::vector<PeerId> apart;
    if (random_.below(3) == 0 && !peers.empty()) {
        to = {peers[random_.below(peers.size())]};
        body.call = call_of(number);
        outcome = node.engine->send(to[0], body, skip, clock(node));
    } else {
        to = peers;
        std::set_difference(node.met.begin(), node.met.end(), node.in_view.begin(), node.in_view.end(),
                            std::back_inserter(apart));
        const auto observes = [this](const PeerId& id) { return runs_.at(id)->observer; };
        std::erase_if(to, observes);
        std::erase_if(apart, observes);
        outcome = node.engine->broadcast(body, skip, clock(node));
    }
    if (outcome.error == errc{}) {
        for (const PeerId& id : to) ledgers_[{node.id, id}].expected.push_back({number, size});
        for (const PeerId& id : apart) {
            if (runs_.at(id)->alive) ledgers_[{node.id, id}].expected.push_back({number, size, true});
        }
        if (random_.below(8) == 0) check_outboxes(node);
    }
    settle(node);
}

void World::receive(Node& node, core::Batch batch) {
    if (batch.lost != 0) {
        Ledger& ledger = ledgers_[{batch.from, node.id}];
        ledger.gaps += batch.lost;
    }
    node.inbox_charge += batch.charge;
    node.inbox.push_back(std::move(batch));
    if (!node.reads || std::exchange(node.reading, true)) return;
    at(between(0ms, 2ms), [this, &node] {
        node.reading = false;
        if (node.reads) read_inbox(node);
    });
}

void World::read_inbox(Node& node) {
    if (!node.alive || node.paused) return;
    while (!node.inbox.empty()) {
        const core::Batch batch = std::move(node.inbox.front());
        node.inbox.pop_front();
        node.inbox_charge -= batch.charge;
        Ledger& ledger = ledgers_[{batch.from, node.id}];
        if (batch.lost != 0) ledger.skippable += batch.lost;
        const auto who = [&] { return "n" + std::to_string(node.index) + " from " + short_id(batch.from); };
        for (auto frames = batch.frames; !frames.empty();) {
            const core::FrameHeader header = core::FrameHeader::read(frames.data());
            auto payload = frames.subspan(core::FrameHeader::size, header.length);
            frames = frames.subspan(core::FrameHeader::size + header.length);
            const bool request = (header.flags & core::flag_call) != 0;
            const std::uint64_t call = request ? core::read_call(payload.data()) : 0;
            if (request) payload = payload.subspan(core::call_size);
            std::uint64_t number = 0;
            if (payload.size() < 8) return fail(who() + ": altered");
            std::memcpy(&number, payload.data(), 8);
            if (std::exchange(ledger.session, batch.session) != batch.session) ledger.met = number - 1;
            while (!ledger.expected.empty() && ledger.expected.front().number < number) {
                const Ledger::Entry& front = ledger.expected.front();
                if (front.apart) {
                    // What came before the first message of a session needs no word, and takes none from others.
                    const bool excused = front.number <= ledger.met || ledger.may_miss(front);
                    if (ledger.skippable != 0 && !excused) {
                        --ledger.skippable;
                        ++ledger.passed_over;
                    } else if (!excused) {
                        return fail(who() + ": reads over a hole, without a word about message " +
                                    std::to_string(front.number));
                    }
                } else if (!ledger.may_miss(front)) {
                    if (ledger.skippable == 0) break;
                    --ledger.skippable;
                    ++ledger.missing;
                }
                ledger.expected.pop_front();
            }
            if (ledger.expected.empty() || ledger.expected.front().number != number ||
                ledger.expected.front().apart) {
                return fail(who() + ": got message " + std::to_string(number) + ", expected " +
                            (ledger.expected.empty() ? "none" : std::to_string(ledger.expected.front().number)));
            }
            // The first byte behind the number is as sent, and each one is as the one before it.
            const auto fill = payload.subspan(8);
            if (payload.size() != ledger.expected.front().size || (request && call != number) ||
                (!fill.empty() && (fill[0] != static_cast<std::byte>(number) ||
                                   std::memcmp(fill.data(), fill.data() + 1, fill.size() - 1) != 0))) {
                return fail(who() + ": altered");
            }
            ledger.expected.pop_front();
            ++result_.delivered;
            if (request) reply(node, batch.from, call);
        }
        node.engine->taken(batch.session, batch.charge, clock(node));
    }
    settle(node);
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
        const std::uint64_t owed = found->second.owed();
        missing += owed - std::min(waiting, owed) + found->second.owed_replies();
        surrendered += found->second.surrendered;
    }
    if (missing > unacknowledged + surrendered) {
        fail("n" + std::to_string(node.index) + " leaves " + std::to_string(missing) +
             " messages undelivered and reports " + std::to_string(unacknowledged));
    }
}

/// Between nodes that both live, each message has been delivered or both ends know that it was given up.
void World::check_ledgers() {
    for (const auto& from : nodes_) {
        for (const auto& to : nodes_) {
            if (from == to || !belongs_together(from->index, to->index)) continue;
            const auto found = ledgers_.find({from->id, to->id});
            if (found == ledgers_.end()) continue;
            const Ledger& ledger = found->second;
            const std::string pair = "n" + std::to_string(from->index) + " to n" + std::to_string(to->index) + ": ";
            const std::uint64_t missing = ledger.missing + ledger.owed();
            const std::uint64_t replies = ledger.missing_replies + ledger.owed_replies();
            if (missing + replies > ledger.surrendered) {
                fail(pair + std::to_string(missing + replies) + " messages are missing, the sender was told of " +
                     std::to_string(ledger.surrendered));
            }
            if (missing + ledger.passed_over > ledger.gaps) {
                fail(pair + std::to_string(missing) + " messages are missing, the receiver was told of " +
                     std::to_string(ledger.gaps));
            }
        }
    }
}

}  // namespace cluster::sim
