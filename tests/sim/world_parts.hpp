#pragma once

#include "wire/codec.hpp"
#include "world.hpp"

#include <algorithm>
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

inline constexpr std::size_t max_message = 200 << 10;
inline constexpr std::size_t outbox_bytes = 300 << 10;
inline constexpr std::size_t total_outbox_bytes = 4 << 20;
inline constexpr Duration linger = std::chrono::seconds(3);

/// The seed that stands for all nodes, and the one that leads each dial to some node.
inline const Address name_of_all{"all", 7000};
inline const Address balancer{"10.3.0.1", 7000};
/// Where nodes are said to be that do not exist.
inline constexpr const char* nowhere = "10.9.";

inline std::string short_id(const PeerId& id) {
    return id.to_string().substr(0, 6);
}

/// What one sender run accepted for one receiver run.
struct World::Ledger {
    struct Entry {
        std::uint64_t number;
        std::size_t size;
        bool apart = false;  ///< broadcast while the sender had the receiver out of view: not for it
    };
    std::deque<Entry> expected;
    std::deque<Entry> replies;
    std::uint64_t skippable = 0;  ///< messages that gaps allow to be missing
    std::uint64_t missing = 0;    ///< messages that were found missing
    std::uint64_t missing_replies = 0;
    std::uint64_t surrendered = 0;  ///< as the sender was told
    std::uint64_t gaps = 0;         ///< as the receiver was told
    /// The session ended because one of them removed the other, which both are told: messages up to this one may be
    /// missing without a gap.
    std::uint64_t parted = 0;
    bool parting = false;           ///< until the sender has the receiver in view again, all may
    std::uint64_t passed_over = 0;  ///< messages of when they were apart, for which a gap stood
    /// The receiver was told of the sender as of a new peer, or the session was replaced: of messages up to this one it
    /// knows that it may not have all.
    std::uint64_t met = 0;
    std::uint64_t session = 0;  ///< of what the receiver read last

    bool may_miss(const Entry& entry) const { return parting || entry.number <= parted; }
    std::uint64_t owed() const { return count(expected); }
    std::uint64_t owed_replies() const { return count(replies); }

private:
    std::uint64_t count(const std::deque<Entry>& entries) const {
        return static_cast<std::uint64_t>(std::count_if(
            entries.begin(), entries.end(), [&](const Entry& each) { return !each.apart && !may_miss(each); }));
    }
};

/// Where the processes of one index run, one after the other.
struct World::Machine {
    Address address;      ///< where it listens
    Address published;    ///< what it tells others
    Address alias;        ///< where it can be dialled, too
    bool listens = true;  ///< false behind address translation
    bool observer = false;
    bool frozen = false;  ///< not healed: not part of what must be well
};

/// One run of a process.
struct World::Node {
    std::size_t index = 0;
    PeerId id;
    Address address;
    Address published;
    bool observer = false;
    bool guest = false;  ///< no node of the cluster
    std::unique_ptr<core::Engine> engine;
    std::map<core::LinkId, std::pair<std::uint64_t, int>> links;  ///< to connection and side
    std::set<core::LinkId> dialling;
    std::set<core::LinkId> draining;
    std::deque<core::Batch> inbox;
    std::uint64_t inbox_charge = 0;
    std::uint64_t inbox_bytes = 0;
    std::uint64_t inbox_limit = 0;
    std::size_t link_limit = 0;
    bool reads = true;
    bool reading = false;  ///< an event that reads the inbox is on its way
    bool alive = true;
    bool leaving = false;
    bool left = false;
    bool settling = false;

    bool paused = false;
    bool strained = false;      ///< what its machine has for it waits, even while it runs
    Duration pause_due{};       ///< it is to be stopped for so long when it has sent its next probe
    bool clock_stands = false;  ///< during that
    std::uint64_t pauses = 0;
    std::vector<Work> waiting;              ///< what its machine has for it when it goes on
    Duration skew{};                        ///< of its steady clock
    Duration lag{};                         ///< by which its timers fire late
    Time exhausted_until{};                 ///< without descriptors
    Time barred = -std::chrono::hours(24);  ///< when it last could not dial or accept for want of them
    Time tick_at = never;
    Time ticked{};
    std::uint64_t ticks = 0;  ///< at that time

    std::map<MemberId, std::uint64_t> enrolled;   ///< its own members, with the number of the last change of each
    std::map<MemberId, std::uint64_t> withdrawn;  ///< when, by the same count, each was withdrawn last
    std::map<PeerId, std::map<MemberId, std::uint64_t>> members;         ///< of others, as it was told
    std::map<std::pair<PeerId, MemberId>, std::uint64_t> newest_member;  ///< the newest that it was ever told
    bool members_complete = true;
    std::optional<PeerId> bereft;    ///< its members expired, so it must be the next to be removed
    std::uint64_t member_lists = 0;  ///< that it has sent

    std::set<PeerId> in_view;
    std::set<PeerId> guests;
    std::set<PeerId> met;  ///< all it ever had in view
    std::set<PeerId> departed;
    std::set<PeerId> failed;         ///< peers that it has said to have failed
    std::map<PeerId, Time> heard;    ///< when a frame came from a peer to which it was attached, by its own clock
    std::map<PeerId, Time> cut_off;  ///< when it last closed a link to a peer for silence
    Time leaving_at{};               ///< when it began to, by its own clock
    std::set<PeerId> bidden;         ///< whom it had in view then, and has not failed since
    bool in_time = false;            ///< it has left before its linger was over: all have answered
    std::vector<Address> removed;    ///< addresses of peers it has removed
    std::vector<Address> added;
    std::uint64_t joining = 0;             ///< the request by which it adds the first
    std::map<std::uint64_t, PeerId> adds;  ///< whom each request was to add
    double dial_tokens = core::DialPlan::burst;
    Time dial_refilled{};
    std::uint64_t dials = 0;
    Time rumoured_at{};            ///< when it was told of many that do not exist
    std::uint64_t vain_dials = 0;  ///< of those
    Time stalled_at = never;
    Time resumed_at = -std::chrono::hours(24);
    std::set<PeerId> subjects;  ///< healthy peers it failed since it was last stalled
    bool detected = false;      ///< somebody failed it in this stall
};

/// One direction each; side 0 dialled.
struct World::Connection {
    std::size_t node[2];
    PeerId run[2];
    core::LinkId link[2] = {0, 0};  ///< zero until the process has accepted it
    bool open[2] = {true, true};
    bool fin[2] = {false, false};                ///< this side writes no more
    Time usable = never;                         ///< since when it has been attached at both ends
    bool deaf = false;                           ///< half-open: what is written vanishes, nobody is told
    Time stalled[2] = {Time(), Time()};          ///< until when nothing that side i wrote arrives
    std::deque<std::vector<std::byte>> pipe[2];  ///< written by side i, not yet read by the other
    std::size_t bytes[2] = {0, 0};
    bool blocked[2] = {false, false};
    std::vector<std::byte> tail[2];  ///< read by side i, not yet a whole frame
    wire::Parser parser[2];
    Duration delay{};
};

/// What one has sent to another on the client channel, of which one is a guest.
struct World::Talk {
    std::uint64_t sent = 0;
    std::uint64_t heard = 0;
    bool anew = false;  ///< the receiver was told of a new session, or has the sender in view again
};

struct World::Sink final : core::OutputSink {
    World& world;
    std::vector<std::byte> out;
    std::size_t index;
    bool probes = false;
    Sink(World& in, std::size_t writer) : world(in), index(writer) {}
    void frame(const core::Control& frame) override {
        if (std::holds_alternative<core::Ping>(frame)) probes = true;
        if (const auto* list = std::get_if<core::PeerList>(&frame)) {
            for (const core::Facts& facts : list->peers) {
                const auto found = world.runs_.find(facts.id);
                if (found != world.runs_.end() && found->second->guest) world.fail("a list has a guest in it");
            }
            // A list that gets lost without a trace: digests have to find out.
            const bool lost = !world.healed_ && world.chance(world.conditions_.lost_lists);
            world.note("n" + std::to_string(index) + (lost ? " loses a list of " : " sends a list of ") +
                       std::to_string(list->peers.size()));
            if (lost) return;
        }
        if (std::holds_alternative<core::MemberList>(frame)) {
            ++world.nodes_[index]->member_lists;
            if (!world.healed_ && world.chance(world.conditions_.lost_lists)) return;
        }
        wire::encode(frame, out);
    }
    void bytes(const detail::BlockRef&, std::span<const std::byte> bytes) override {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
};

}  // namespace cluster::sim
