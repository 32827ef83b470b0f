#pragma once

#include "wire/codec.hpp"
#include "world.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cluster::sim {

inline std::string short_id(const PeerId& id) {
    return id.to_string().substr(0, 6);
}

/// What one sender run accepted for one receiver run.
struct World::Ledger {
    struct Entry {
        std::uint64_t number;
        std::size_t size;
    };
    std::deque<Entry> expected;
    std::uint64_t skippable = 0;    ///< messages that gaps allow to be missing
    std::uint64_t missing = 0;      ///< messages that were found missing
    std::uint64_t surrendered = 0;  ///< as the sender was told
    std::uint64_t gaps = 0;         ///< as the receiver was told
};

struct World::Node {
    std::size_t index = 0;
    PeerId id;
    Address address;
    std::unique_ptr<core::Engine> engine;
    std::map<core::LinkId, std::pair<std::uint64_t, int>> links;  ///< to connection and side
    std::map<core::LinkId, bool> draining;
    std::deque<core::Batch> inbox;
    std::uint64_t inbox_charge = 0;
    bool reads = true;
    bool alive = true;
    bool leaving = false;
    bool left = false;
    bool settling = false;
    Time tick_at = core::never;
    std::set<PeerId> in_view;
    std::uint64_t add_request = 0;
    bool add_pending = false;
    std::set<PeerId> departed;
};

/// One direction each; side 0 dialled.
struct World::Connection {
    std::size_t node[2];
    PeerId run[2];
    core::LinkId link[2] = {0, 0};
    bool open[2] = {true, true};
    bool fin[2] = {false, false};      ///< this side writes no more
    bool deaf = false;                 ///< half-open: what is written vanishes, nobody is told
    std::deque<std::vector<std::byte>> pipe[2];  ///< written by side i, not yet read by the other
    std::size_t bytes[2] = {0, 0};
    bool blocked[2] = {false, false};
    std::vector<std::byte> tail[2];    ///< read by side i, not yet a whole frame
    wire::Parser parser[2];
    Duration delay{};
};

struct World::Sink final : core::OutputSink {
    World& world;
    std::vector<std::byte> out;
    explicit Sink(World& in) : world(in) {}
    void frame(const core::Control& frame) override {
        // A list that gets lost without a trace: digests have to find out.
        if (std::holds_alternative<core::PeerList>(frame) && world.dial_faults_ && world.chance(0.03)) return;
        wire::encode(frame, out);
    }
    void bytes(const core::BlockRef&, std::span<const std::byte> bytes) override {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
};

}  // namespace cluster::sim
