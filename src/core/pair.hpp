#pragma once

#include "base/time.hpp"
#include "core/detector.hpp"
#include "core/frame.hpp"
#include "core/outbox.hpp"
#include "core/session.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cluster::core {

/// What this node and another are to each other.
enum class Relation : std::uint8_t {
    peers,  ///< both are nodes of the cluster
    host,   ///< this one is a guest of the other
    guest,  ///< the other is a guest of this one
};

/// What this node knows of a guest and of nobody else.
struct Guest {
    std::string name;
    bool here = false;             ///< a GuestCame was the last that was said of it
    Time away = never;             ///< since when its session has had no link
    Time probed{};                 ///< when it was last asked for a sign of life
    std::uint64_t unfinished = 0;  ///< bytes of a message of which a part has come
};

/// This node and one other, met or only heard of. Not thread-safe; the engine forgets it when it has no use for it.
struct Pair {
    PeerId id;
    std::uint64_t number = 0;
    Relation relation = Relation::peers;
    Guest guest;
    std::unique_ptr<Session> session;
    std::vector<LinkId> links;
    bool in_view = false;
    PeerState state = PeerState::failed;
    bool first_hand = false;  ///< we met it before anybody named it
    Detector::Watch watch;
    Time named{};                  ///< when another peer named its addresses
    Address reached;               ///< where a dial of ours last attached it
    std::vector<Address> proven;   ///< where dials of ours found it: if all refuse, it is gone
    std::vector<Address> refused;  ///< of its addresses, those that have refused since it lost its link
    std::vector<Address> barren;   ///< where dials of ours sought it, and have not found it since
    std::vector<PeerId> asked;     ///< peers that were asked about it and have not answered
    Time asked_until{};
    bool heard_elsewhere = false;    ///< one of those has heard from it
    errc trouble{};                  ///< why it has no link, as far as is known
    bool told_out_of_reach = false;  ///< the log already says that it cannot be reached
    std::vector<PeerId> askers;      ///< peers that want to know about it
    std::uint64_t max_message = 0;
    std::uint64_t features = 0;
    std::uint64_t members_seen = 0;  ///< the version of this node's members that it has acknowledged
    bool members_known = false;      ///< it has reported all its own members
    bool listed = false;             ///< it has told whom it has in view, or had two heartbeats for that
    Duration resume_for{};
    std::uint64_t outstanding = 0;  ///< messages of its former session
    Outbox::Amount skipped;         ///< given up for lack of room, and not reported yet
    Time entered{};                 ///< when it was last attached
    Duration known{};               ///< how long it has been attached in all, without this time
    std::uint64_t attachments = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    Duration round_trip{};

    /// Whether lists, members, questions about others and the messages of the application pass between the two. If not,
    /// nothing joins them but the client channel.
    bool are_peers() const noexcept { return relation == Relation::peers; }
    bool is_guest() const noexcept { return relation == Relation::guest; }
    /// Whether broadcasts go to it while it is in view.
    bool hears_broadcasts() const noexcept { return are_peers() && (features & feature_observer) == 0; }
    /// Of the features in its HELLO, those that count between the two.
    std::uint64_t features_of(const Hello& hello) const noexcept {
        return are_peers() ? hello.features : hello.features & (feature_clients | feature_guest);
    }
};

}  // namespace cluster::core
