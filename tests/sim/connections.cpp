#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t in_flight = 128 << 10;  ///< what a connection holds in one direction

}  // namespace

void World::write(Node& node, core::LinkId link) {
    const auto place = node.links.find(link);
    if (place == node.links.end()) return;
    const auto [number, side] = place->second;
    Connection& connection = connections_.at(number);
    if (connection.bytes[side] >= in_flight) {
        connection.blocked[side] = true;
        return;
    }
    Sink sink(*this, node.index);
    bool more = true;
    while (more && sink.out.size() < in_flight && node.links.contains(link)) {
        more = node.engine->pull(link, 32 << 10, sink, clock(node));
    }
    if (more) connection.blocked[side] = true;
    if (!sink.out.empty()) transmit(number, side, std::move(sink.out));
    if (sink.probes && node.pause_due != Duration()) {
        at(0ms, [this, &node] {
            const Duration lasts = std::exchange(node.pause_due, Duration());
            if (lasts != Duration() && node.alive && !node.paused && !healed_) pause(node, lasts, node.clock_stands);
        });
    }
    if (!connections_.contains(number)) return;
    if (node.draining.contains(link) && !connection.blocked[side] && !connection.fin[side]) {
        connection.fin[side] = true;
        wake(number, 1 - side, connection.delay);
    }
}

void World::transmit(std::uint64_t number, int from, std::vector<std::byte> bytes) {
    Connection& connection = connections_.at(number);
    if (connection.fin[from] || !connection.open[from] || connection.deaf) return;
    if (!connection.open[1 - from]) {
        reset(number);
        return;
    }
    connection.bytes[from] += bytes.size();
    connection.pipe[from].push_back(std::move(bytes));
    at(connection.delay, [this, number, to = 1 - from] { arrive(number, to); });
}

/// All that is on its way to side `to` may arrive after so long.
void World::wake(std::uint64_t number, int to, Duration after) {
    const std::size_t parts = connections_.at(number).pipe[1 - to].size();
    for (std::size_t i = 0; i <= parts; ++i) {
        at(after, [this, number, to] { arrive(number, to); });
    }
}

/// Something may have come for side `to`: bytes, then the end of the stream.
void World::arrive(std::uint64_t number, int to) {
    const auto found = connections_.find(number);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    const int from = 1 - to;
    if (!connection.open[to] || connection.link[to] == 0 || connection.deaf) return;
    if (!network_.passes(connection.node[from], connection.node[to]) || now_ < connection.stalled[from]) return;
    Node& node = node_at(connection.node[to]);
    if (node.id != connection.run[to] || busy(node, [this, number, to] { arrive(number, to); })) return;
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
        if (still == connections_.end() || !still->second.blocked[from]) return;
        Node& writer = node_at(still->second.node[from]);
        if (writer.id != still->second.run[from]) return;
        const auto go_on = [this, &writer, number, link = still->second.link[from], from] {
            const auto place = writer.links.find(link);
            if (!writer.alive || place == writer.links.end()) return;
            if (!std::exchange(connections_.at(number).blocked[from], false)) return;
            write(writer, link);
            settle(writer);
        };
        if (!busy(writer, go_on)) go_on();
        return;
    }
    if (connection.fin[from] || !connection.open[from]) end(number, to);
}

void World::feed(Node& node, std::uint64_t number, int side, std::vector<std::byte> bytes) {
    if (!node.alive) return;
    Connection& connection = connections_.at(number);
    std::vector<std::byte>& tail = connection.tail[side];
    if (tail.empty()) {
        tail = std::move(bytes);
    } else {
        tail.insert(tail.end(), bytes.begin(), bytes.end());
    }
    const detail::BlockRef block = detail::Block::copy(tail);
    std::size_t begin = 0;
    const core::LinkId link = connection.link[side];
    for (bool wanted = true; wanted;) {
        wire::Parser::Item item = connection.parser[side].next(block, begin, block->size());
        const bool frame_came =
            std::holds_alternative<core::DataRun>(item) || std::holds_alternative<core::Control>(item);
        const auto peer = node.engine->attached_to(link);
        if (peer && frame_came) node.heard[*peer] = clock(node);
        if (auto* run = std::get_if<core::DataRun>(&item)) {
            wanted = node.engine->received(link, *run, clock(node));
        } else if (auto* frame = std::get_if<core::Control>(&item)) {
            wanted = node.engine->received(link, std::move(*frame), clock(node));
        } else {
            if (auto* rule = std::get_if<core::Rule>(&item)) node.engine->violated(link, *rule, clock(node));
            break;
        }
    }
    tail.erase(tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(begin));
    if (connections_.contains(number)) check_link(number);
    settle(node);
}

/// The node uses the link no more.
void World::close(Node& node, core::LinkId link, bool drain) {
    node.dialling.erase(link);
    const auto place = node.links.find(link);
    if (place == node.links.end()) return;
    const auto [number, side] = place->second;
    if (drain) {
        node.draining.insert(link);
        return;  // the engine has marked it ready; what it pulls is followed by the end of the stream
    }
    node.links.erase(place);
    node.draining.erase(link);
    const auto found = connections_.find(number);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    connection.fin[side] = true;
    const int other = 1 - side;
    const bool unread = !connection.pipe[other].empty();
    release(number, side);
    if (!connections_.contains(number)) return;
    if (unread) {
        reset(number);
    } else {
        wake(number, other, connection.delay);
    }
}

/// Side `side` is closed for its machine, too.
void World::release(std::uint64_t number, int side) {
    Connection& connection = connections_.at(number);
    connection.open[side] = false;
    if (connection.open[1 - side]) return;
    disturbed(connection);
    connections_.erase(number);
}

/// If the connection is, its pair is.
void World::disturbed(const Connection& connection) {
    const bool stalled = now_ < connection.stalled[0] || now_ < connection.stalled[1];
    if (connection.deaf || stalled || connection.delay >= 10ms) {
        disturbances_.pair(Disturbances::Kind::link, connection.node[0], connection.node[1], now_);
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
        if (!chance(0.3)) {
            at(between(0ms, 20ms), [this, number, side] { end(number, side); });
            continue;
        }
        // This end notices long after the other, and reads only then what had reached it.
        const Duration notice = between(50ms, 1s);
        connection.stalled[1 - side] = std::max(connection.stalled[1 - side], now_ + notice);
        at(notice, [this, number, side] {
            read_all(number, side);
            end(number, side);
        });
    }
}

void World::read_all(std::uint64_t number, int side) {
    for (std::size_t before = SIZE_MAX;;) {
        const auto found = connections_.find(number);
        if (found == connections_.end() || !found->second.open[side]) return;
        const std::size_t left = found->second.bytes[1 - side];
        if (left == 0 || left == before) return;
        before = left;
        arrive(number, side);
    }
}

/// Side `side` notices that the other end is gone.
void World::end(std::uint64_t number, int side) {
    const auto found = connections_.find(number);
    if (found == connections_.end() || !found->second.open[side]) return;
    Connection& connection = found->second;
    if (!network_.passes(connection.node[1 - side], connection.node[side])) return;
    Node& node = node_at(connection.node[side]);
    const core::LinkId link = connection.link[side];
    if (node.id != connection.run[side] || !node.alive || !node.links.contains(link)) return release(number, side);
    if (busy(node, [this, number, side] { end(number, side); })) return;
    note("n" + std::to_string(node.index) + " sees the end of connection " + std::to_string(number));
    node.engine->link_ended(link, clock(node));
    settle(node);
}

}  // namespace cluster::sim
