#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t in_flight = 128 << 10;  ///< what a connection holds in one direction

}  // namespace

void World::dial(Node& node, const core::Dial& dial) {
    const auto target = std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& each) {
        return each->alive && each->address == dial.address;
    });
    const core::LinkId link = dial.link;
    const Duration delay = between(50us, 5ms);
    const bool cut = target != nodes_.end() && parted_.contains(std::minmax(node.index, (*target)->index));
    if (cut) return;
    if (target == nodes_.end() || (dial_faults_ && chance(0.05))) {
        if (dial_faults_ && chance(0.3)) return;  // nobody answers at all
        at(delay, [this, &node, link] {
            if (!node.alive) return;
            node.engine->dial_failed(link, errc::connection_refused, now_);
            settle(node);
        });
        return;
    }
    const std::size_t other = (*target)->index;
    const PeerId other_run = (*target)->id;
    at(delay, [this, &node, link, other, other_run, address = dial.address] {
        if (!node.alive) return;
        Node& acceptor = *nodes_[other];
        if (parted_.contains(std::minmax(node.index, other))) return;
        if (!acceptor.alive || acceptor.id != other_run) {
            node.engine->dial_failed(link, errc::connection_refused, now_);
            settle(node);
            return;
        }
        const std::uint64_t number = ++last_connection_;
        Connection& connection = connections_[number];
        connection.node[0] = node.index;
        connection.node[1] = other;
        connection.run[0] = node.id;
        connection.run[1] = acceptor.id;
        connection.link[0] = link;
        connection.delay = between(20us, chance(0.1) ? Duration(200ms) : Duration(3ms));
        node.links[link] = {number, 0};
        if (dial_faults_ && chance(0.15)) {
            // It breaks, or goes silent, while the two still greet each other.
            const bool silent = chance(0.3);
            at(between(0ms, 8 * connection.delay), [this, number, silent] {
                if (healed_) return;
                if (silent && connections_.contains(number)) {
                    connections_.at(number).deaf = true;
                } else {
                    reset(number);
                }
            });
        }
        note("connection " + std::to_string(number) + " n" + std::to_string(node.index) + " -> n" +
             std::to_string(other));
        const core::LinkId accepted = acceptor.engine->accepted({node.address.host, 50000}, now_);
        if (accepted != 0) {
            connection.link[1] = accepted;
            acceptor.links[accepted] = {number, 1};
        } else {
            connection.open[1] = false;
            reset(number);
        }
        node.engine->connected(link, address, now_);
        settle(node);
        settle(acceptor);
    });
}

void World::write(Node& node, core::LinkId link) {
    const auto place = node.links.find(link);
    if (place == node.links.end()) return;
    const auto [number, side] = place->second;
    Connection& connection = connections_.at(number);
    if (connection.bytes[side] >= in_flight) {
        connection.blocked[side] = true;
        return;
    }
    Sink sink(*this);
    bool more = true;
    while (more && sink.out.size() < in_flight && node.links.contains(link)) {
        more = node.engine->pull(link, 32 << 10, sink, now_);
    }
    if (more) connection.blocked[side] = true;
    if (!sink.out.empty()) transmit(number, side, std::move(sink.out));
    const auto draining = node.draining.find(link);
    if (draining != node.draining.end() && !connection.blocked[side] && !connection.fin[side]) {
        connection.fin[side] = true;
        at(connection.delay, [this, number = number, to = 1 - side] { arrive(number, to); });
    }
}

void World::transmit(std::uint64_t number, int from, std::vector<std::byte> bytes) {
    Connection& connection = connections_.at(number);
    if (connection.fin[from] || !connection.open[from]) return;
    if (connection.deaf) return;
    if (!connection.open[1 - from]) {
        reset(number);
        return;
    }
    connection.bytes[from] += bytes.size();
    connection.pipe[from].push_back(std::move(bytes));
    at(connection.delay, [this, number, to = 1 - from] { arrive(number, to); });
}

/// Something may have come for side `to`: bytes, then the end of the stream.
void World::arrive(std::uint64_t number, int to) {
    const auto found = connections_.find(number);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    const int from = 1 - to;
    if (!connection.open[to] || connection.deaf) return;
    Node& node = *nodes_[connection.node[to]];
    if (node.id != connection.run[to]) return;
    if (!connection.pipe[from].empty()) {
        std::vector<std::byte>& first = connection.pipe[from].front();
        std::vector<std::byte> bytes;
        // Reads cut the stream where they like.
        if (first.size() > 1 && random_.below(3) == 0) {
            const std::size_t cut = 1 + random_.below(first.size() - 1);
            bytes.assign(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(cut));
            first.erase(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(cut));
            at(between(0us, 100us), [this, number, to] { arrive(number, to); });
        } else {
            bytes = std::move(first);
            connection.pipe[from].pop_front();
        }
        connection.bytes[from] -= bytes.size();
        feed(node, number, to, std::move(bytes));
        const auto still = connections_.find(number);
        if (still == connections_.end()) return;
        Node& writer = *nodes_[still->second.node[from]];
        if (std::exchange(still->second.blocked[from], false) && writer.alive &&
            writer.id == still->second.run[from] && writer.links.contains(still->second.link[from])) {
            write(writer, still->second.link[from]);
            settle(writer);
        }
        return;
    }
    if (connection.fin[from] || !connection.open[from]) end(number, to);
}

void World::feed(Node& node, std::uint64_t number, int side, std::vector<std::byte> bytes) {
    if (!node.alive) return;
    Connection& connection = connections_.at(number);
    std::vector<std::byte>& tail = connection.tail[side];
    tail.insert(tail.end(), bytes.begin(), bytes.end());
    const core::BlockRef block = core::Block::copy(tail);
    std::size_t begin = 0;
    const core::LinkId link = connection.link[side];
    for (bool wanted = true; wanted;) {
        wire::Parser::Item item = connection.parser[side].next(block, begin, block->size());
        if (auto* run = std::get_if<core::DataRun>(&item)) {
            wanted = node.engine->received(link, *run, now_);
        } else if (auto* frame = std::get_if<core::Control>(&item)) {
            wanted = node.engine->received(link, std::move(*frame), now_);
        } else {
            if (auto* rule = std::get_if<core::Rule>(&item)) node.engine->violated(link, *rule, now_);
            break;
        }
    }
    if (node.engine->counters().protocol_errors != 0) fail("n" + std::to_string(node.index) + " sees a rule broken");
    tail.erase(tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(begin));
    settle(node);
}

/// The node uses the link no more.
void World::close(Node& node, core::LinkId link, bool drain) {
    const auto place = node.links.find(link);
    if (place == node.links.end()) return;
    const auto [number, side] = place->second;
    if (drain) {
        node.draining[link] = true;
        return;  // the engine has marked it ready; what it pulls is followed by the end of the stream
    }
    node.links.erase(place);
    node.draining.erase(link);
    Connection& connection = connections_.at(number);
    connection.open[side] = false;
    connection.fin[side] = true;
    const int other = 1 - side;
    if (!connection.open[other]) {
        connections_.erase(number);
        return;
    }
    if (!connection.pipe[other].empty()) {
        reset(number);  // closed with unread input
    } else {
        at(connection.delay, [this, number = number, other] { arrive(number, other); });
    }
}

/// The connection breaks: each end may still read a part of what is under way, then notices.
void World::reset(std::uint64_t number) {
    const auto found = connections_.find(number);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    for (int side = 0; side < 2; ++side) {
        const int from = 1 - side;
        const std::size_t kept = connection.pipe[from].empty() ? 0 : random_.below(connection.pipe[from].size() + 1);
        while (connection.pipe[from].size() > kept) {
            connection.bytes[from] -= connection.pipe[from].back().size();
            connection.pipe[from].pop_back();
        }
        connection.fin[side] = true;
    }
    for (int side = 0; side < 2; ++side) {
        if (!connection.open[side]) continue;
        at(between(0ms, 20ms), [this, number, side] { end(number, side); });
    }
}

/// Side `side` notices that the other end is gone.
void World::end(std::uint64_t number, int side) {
    const auto found = connections_.find(number);
    if (found == connections_.end() || !found->second.open[side]) return;
    Connection& connection = found->second;
    Node& node = *nodes_[connection.node[side]];
    const core::LinkId link = connection.link[side];
    if (node.id != connection.run[side] || !node.alive || !node.links.contains(link)) {
        connection.open[side] = false;
        return;
    }
    note("n" + std::to_string(node.index) + " sees the end of connection " + std::to_string(number));
    node.engine->link_ended(link, now_);
    settle(node);
}

}  // namespace cluster::sim
