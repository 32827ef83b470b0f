#pragma once

#include "base/random.hpp"
#include "base/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cluster::sim {

enum class Fault : std::uint8_t {
    reset,       ///< a connection breaks; a prefix of what is under way may still arrive
    uproot,      ///< all connections of one machine break at once: what tracked them, or its address, has changed
    half_open,   ///< a connection swallows everything and nobody is told
    stall,       ///< one direction of a connection waits, then goes on
    delay,       ///< a connection becomes slow for a while
    cut,         ///< two machines do not reach each other
    one_way,     ///< one machine's packets do not reach another
    partition,   ///< two groups of machines, in both directions or in one
    isolate,     ///< one machine from all others
    flap,        ///< one machine from all others, again and again
    crash,       ///< a process is killed, its machine lives on
    power_loss,  ///< a machine is gone without a word
    pause,       ///< a process is stopped, its machine lives on
    suspend,     ///< the same, and its steady clock stands still meanwhile
    jump,        ///< a machine's steady clock jumps ahead
    slow,        ///< a process's timers fire late
    strain,      ///< a process runs for moments only, and reads late what has reached its machine
    unread,      ///< an inbox is not read
    burst,       ///< a node sends until its outboxes are full
    exhaust,     ///< a process has no descriptors left
    leave,       ///< a node leaves gracefully
    part,        ///< a node removes a peer, and adds it again later
    add,         ///< two nodes add each other at once
    rumour,      ///< a node is told of many others that do not exist
    tags,        ///< a node changes its tags
    oblivion,    ///< a node forgets a session whose peer is out of view, as if it had no room for more
};
inline constexpr std::size_t fault_kinds = static_cast<std::size_t>(Fault::oblivion) + 1;

/// The conditions of one run, drawn from its seed: which faults happen and how often, how the nodes are configured,
/// and how it ends. Each seed switches most kinds of faults off, so that what one kind excuses is not excused in all.
struct Conditions {
    /// No faults.
    Conditions() = default;
    Conditions(Dice dice, std::size_t nodes);

    /// Which fault comes next.
    Fault draw(Dice& dice) const;

    std::array<std::uint64_t, fault_kinds> weights{};  ///< zero: switched off
    Duration between_faults{};                   ///< twice the mean, as the next
    Duration between_sends = std::chrono::seconds(4);
    double refused_dials = 0;
    double swallowed_dials = 0;
    double broken_greetings = 0;
    double lost_lists = 0;
    double restart_elsewhere = 0;
    double silent_restart = 0;

    Duration heartbeat = std::chrono::seconds(1);
    Duration suspicion = std::chrono::seconds(2);
    bool members = false;        ///< nodes enrol members, change and withdraw them
    bool requests = false;       ///< some messages want a reply
    double hasty = 0;            ///< how likely a node leaves, or removes a peer, as soon as it meets it
    std::size_t seeds = 1;       ///< the first nodes, whose addresses all others are given
    std::size_t translated = 0;  ///< the last nodes, which can dial but cannot be dialled
    std::size_t max_peers = 32;
    std::size_t inbox_per_peer = std::size_t{512} << 10;

    /// How nodes find each other.
    enum class Way : std::uint8_t {
        first,     ///< all others have the first of them as seeds
        name,      ///< all have one name as their seed, which stands for all
        balancer,  ///< all have one address as their seed, where each dial leads to some node, be it the dialler
        added,     ///< all others add the first one, again and again until that succeeds, and there are no seeds
    };
    Way way = Way::first;

    enum class End : std::uint8_t {
        whole,     ///< all is healed
        majority,  ///< some never run or are never reached again
        pair,      ///< two never reach each other again
    };
    End end = End::whole;
};

}  // namespace cluster::sim
