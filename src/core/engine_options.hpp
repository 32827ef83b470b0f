#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "core/frame.hpp"

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cluster::core {

/// What the engine needs of `cluster::Options`, checked and parsed.
struct EngineOptions {
    std::string cluster;
    /// What this node says of itself; its version is 1.
    Facts self;
    /// It gets no broadcasts.
    bool observer = false;
    /// It is a guest of each node that it dials, and no node of the cluster: nobody has it in view, and only the client
    /// channel joins it with others. It dials what it is told, and takes no link from anybody.
    bool guest = false;
    /// Where the node listens, as the system says, the most likely address first. Empty: at the addresses of `self`.
    std::vector<Address> listening = {};
    /// Publish the addresses where the node listens, in the order in which peers see it there, and not those of `self`.
    bool publish_observed = false;
    /// Interfaces over which link-local IPv6 addresses can be dialled.
    std::vector<std::string> zones = {};
    std::vector<Address> seeds;
    /// Where peers were in a former run: dialled for `forget_after`, after all others.
    std::vector<Address> remembered = {};
    Duration heartbeat{};
    Duration suspicion{};
    Duration reconnect_min{};
    Duration reconnect_max{};
    Duration resume_for{};
    Duration forget_after{};
    Duration connect_timeout{};
    Duration handshake_timeout{};
    Duration attach_timeout{};
    Duration linger{};
    /// How long an outbox that has filled up may take to drain by half before its peer is slow.
    Duration send_timeout{};
    std::size_t inbox_bytes = 0;
    std::size_t outbox_bytes = 0;
    std::size_t total_outbox_bytes = 0;
    std::size_t max_message = 0;
    std::size_t max_peers = 0;
    /// Guests that this node takes; see `cluster::Options`.
    std::size_t max_guests = 0;
    /// Limit for the members of others; each counts as its data and `Registry::member_cost`.
    std::size_t members_bytes = std::size_t{256} << 20;
    /// Whether this node waits for a reply of this peer to this call. If not, a reply that comes in parts is not kept.
    /// Empty: all are kept. Called from within the engine, which it must not use.
    std::function<bool(const PeerId&, std::uint64_t call)> awaits = {};
    RandomSource random;
};

}  // namespace cluster::core
