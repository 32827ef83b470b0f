#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "consensus/configuration.hpp"
#include "consensus/effect.hpp"
#include "consensus/invariant.hpp"
#include "consensus/log.hpp"
#include "consensus/message.hpp"
#include "consensus/outstanding.hpp"
#include "consensus/progress.hpp"
#include "consensus/roles.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::consensus {

struct RaftOptions {
    DiskId self;
    std::uint64_t seed = 0;  ///< of the dice for its time-outs
    /// Without a word from a leader for this long, and up to 0.4 times longer, a follower stands for election. A leader
    /// that hears from no majority for as long steps down, after twice that time at the latest.
    Duration election_timeout = std::chrono::seconds(1);
    Duration heartbeat = std::chrono::milliseconds(100);
    bool may_campaign = true;  ///< false: it leads only if the leader before appoints it
    /// False: its disk has lost what it had promised or acknowledged. It gives no vote and counts in no majority, but
    /// gets the log.
    bool may_vote = true;
    std::size_t max_append = 256 << 10;      ///< bytes of entries in one message, unless a single one is longer
    std::size_t max_in_flight = 4 << 20;     ///< bytes of entries on their way to one member
    std::size_t max_uncommitted = 64 << 20;  ///< bytes of entries that are proposed and not committed
    std::size_t max_applying = 8 << 20;      ///< bytes of entries handed out and not applied
    std::size_t memory = 32 << 20;           ///< bytes of durable entries kept for those who are a little behind
    std::size_t chunk = 256 << 10;           ///< bytes of a snapshot in one message
    Bytes term_body = {};                    ///< of the entry with which this one begins a term
};

/// What a replica finds on its disk.
struct Recovered {
    HardState state;
    SnapshotId base;                    ///< the log begins behind it
    SnapshotId newest;                  ///< the newest snapshot, at `base` or behind it; the service begins with it
    std::vector<TermStart> terms;       ///< of the entries behind `base`
    std::optional<Entry> last;          ///< the last of them
    std::vector<Entry> configurations;  ///< the entries of that kind behind `base`
};

enum class Refused : std::uint8_t {
    no,
    not_leader,    ///< ask the one that is
    transferring,  ///< somebody else is about to lead
    full,          ///< too much waits to be committed, or to be read
    unknown_disk,  ///< not a voter, or this replica itself
    absent,        ///< no other voter answers
};

/// One replica's part in keeping one log by several (Raft: Ongaro and Ousterhout, "In Search of an Understandable
/// Consensus Algorithm", 2014; with PreVote, CheckQuorum, ReadIndex and leadership transfer of Ongaro's thesis).
///
/// Events go in with the time; what is to be done comes out as effects. Not thread-safe; no clock, disk, network or
/// randomness of its own. After `Stopped` all events are ignored, and nothing that waits is ended any more.
///
/// 1. No message is sent before what it depends on is durable (`Send::after`). A leader may send entries before they
///    are durable here: then it does not count itself.
/// 2. Whatever belongs to a role lives in the object of that role, and ends with it.
class Raft {
public:
    using Output = std::vector<Effect>;

    /// If the leader is gone, the voters stand for election one after the other, at these intervals.
    static constexpr Duration step = std::chrono::milliseconds(20);

    /// Throws `Broken` if what was found on disk contradicts itself.
    Raft(RaftOptions options, Recovered recovered, Moment now);

    // Events.
    void receive(const Message& message, Moment now);
    void tick(Moment now);
    /// Appends commands. They are committed if they are applied at these places: from `first` on, with its term.
    Refused propose(std::span<const Bytes> commands, LogId& first, Moment now);
    /// Appends an entry that only carries time: at least that one, and it must be `mark_at` by now.
    void mark_time(Duration time, Moment now);
    /// When an entry of this leader can carry that time; `never` if it appends none.
    Time mark_at(Duration time) const;
    /// The read with the caller's `number` ends with `ReadReady` or `ReadRefused`, unless it is refused at once.
    /// `asked_by`: a voter that counts, and that was in this term when it asked for it, after it came.
    Refused read(std::uint64_t number, Moment now, const DiskId& asked_by = {});
    /// Hands leadership over to that voter; to the one that has most, if none is named. Until `TransferEnded`, which
    /// takes one election timeout at most, nothing can be proposed.
    Refused transfer(const DiskId& to, Moment now);
    /// This member's process is said to be gone, or to lead no more; without a member: all begin anew. A hint to stand
    /// for election at once, never a reason to vote.
    void gone(const DiskId& disk, Moment now);
    /// What was on its way to it may be lost.
    void unreachable(const DiskId& disk, Moment now);
    /// It is not there: leadership is not handed over to it until it speaks again.
    void absent(const DiskId& disk, Moment now);
    void written(std::uint64_t number, Moment now);
    void fetched(const DiskId& reader, std::vector<Entry> entries, Moment now);
    /// Nothing if that snapshot is not there any more.
    void chunk_fetched(const DiskId& reader, const std::optional<Chunk>& chunk, Moment now);
    /// `next`: how far it is stored. `complete`: the snapshot is whole and durable.
    void chunk_stored(const StoreChunk& stored, std::uint64_t next, bool complete, Moment now);
    void applied(Index index, Moment now);
    /// The service's state at `newest` is on disk. From now on the log begins behind `base`; what lies before may be
    /// removed from disk.
    void snapshot_taken(const SnapshotId& newest, const SnapshotId& base, Moment now);

    // For a runner.
    Time deadline() const;
    bool has_output() const { return !effects_.empty() || (dirty_ && !stopped_); }
    /// Once everything that came at the same time is in: what was proposed together is written and sent together. False
    /// if there was none.
    bool take_output(Output& output);

    // How things are.
    Role role() const noexcept;
    Term term() const noexcept { return term_; }
    DiskId leader() const;
    /// To whom it hands over; none if it does not.
    DiskId successor() const;
    Index commit() const noexcept { return commit_; }
    Index applied_up_to() const noexcept { return applied_; }
    const Log& log() const noexcept { return log_; }
    const Configuration& configuration() const { return configurations_.back().value; }
    /// Null unless this replica leads and that is a member.
    const Progress* progress(const DiskId& disk) const;
    /// Whether a member is being sent this snapshot. To remove it would make all that was sent useless.
    bool sends(const LogId& snapshot) const;
    /// What a snapshot of the state after the entry `id` must be called. It must be asked for before the log is cut
    /// behind a later one.
    SnapshotId snapshot_at(const LogId& id, Duration time) const;
    /// Since when the disk has been at one write, or has not done one that waits; `never` if nothing is to be written.
    Time writes_since() const noexcept {
        return under_way_.empty() ? never : std::max(under_way_.front().since, last_written_);
    }
    bool stopped() const noexcept { return stopped_; }

private:
    struct Configured {
        Index index;
        Configuration value;
    };

    // raft.cpp
    template <class Event>
    void guarded(Moment now, Event&& event) {
        if (stopped_) return;
        now_ = now.steady;
        try {
            event();
            report();
        } catch (const Broken& broken) {
            stop(broken.what());
        }
    }
    void stop(const char* reason);
    template <class What>
    void emit(What&& what) {
        effects_.emplace_back(std::forward<What>(what));
    }
    void dispatch(const Message& message, Moment now);
    void send(const DiskId& to, Body body, std::uint64_t after) { send(to, term_, std::move(body), after); }
    void send(const DiskId& to, Term term, Body body, std::uint64_t after);
    std::uint64_t write();
    std::uint64_t after_all();
    std::uint64_t after_state();
    void enter_term(Term term);
    void follow();
    Time election_deadline();
    bool hinted() const { return now_ < hint_.until; }
    Duration turn(const DiskId& gone) const;
    Duration round_of_turns() const;
    bool disk_hangs() const;
    void append(Entry entry);
    void truncate(Index index);
    void forget_configurations();
    void committed(Index index);
    void hand_out();
    void hand(std::vector<Entry> entries);
    void report();
    void flush();

    // election.cpp
    bool may_campaign() const;
    void campaign(bool trial, bool appointed, Moment now);
    void count_votes(Moment now);
    bool loyal() const;
    void on(const Message& message, const VoteRequest& request, Moment now);
    void on(const Message& message, const VoteAnswer& answer, Moment now);
    void on(const Message& message, const Appoint& appoint, Moment now);

    // following.cpp
    bool hear(const Message& message);
    void on(const Message& message, const Append& append, Moment now);
    void on(const Message& message, const Heartbeat& heartbeat, Moment now);
    void on(const Message& message, const Chunk& chunk, Moment now);
    void agree(Index last, Index commit);
    void install(const SnapshotId& snapshot);

    // leading.cpp
    void lead(Moment now);
    void stop_leading();
    Progress* member(const DiskId& disk);
    void tick_leader();
    void append_own(EntryKind kind, Bytes body, Duration least = {});
    void ask_members();
    void advance();
    void serve_reads();
    void replicate(const DiskId& disk, Progress& progress);
    void send_entries(const DiskId& disk, Progress& progress, std::vector<Entry> entries);
    void offer_snapshot(const DiskId& disk, Progress& progress);
    void fetch_chunk(const DiskId& disk, Progress& progress);
    void appoint();
    void on(const Message& message, const AppendAnswer& answer, Moment now);
    void on(const Message& message, const HeartbeatAnswer& answer, Moment now);
    void on(const Message& message, const ChunkAnswer& answer, Moment now);

    const RaftOptions options_;
    Dice dice_;
    Output effects_;
    bool stopped_ = false;

    Term term_;
    DiskId vote_;
    HardState written_state_;  ///< as last ordered to be written
    Log log_;
    Index last_ordered_;                     ///< entries up to there were ordered to be written
    std::deque<Configured> configurations_;  ///< from the one at the log's base on
    SnapshotId newest_;
    std::optional<SnapshotId> begin_after_;  ///< to be written: the log begins anew

    Index agreed_ = 0;  ///< up to there this log is known to be that of the term's leader
    Index commit_;
    Index handed_;  ///< entries up to there were handed out
    Index applied_;
    Outstanding applying_;  ///< what was handed out and is not applied
    Index fetching_ = 0;    ///< older entries are being read, from this one on, to be handed out
    bool storing_ = false;  ///< a chunk is being stored
    Index loading_ = 0;     ///< the service is about to take the snapshot of this index; 0: it has it

    struct UnderWay {
        std::uint64_t number;
        Time since;
    };
    std::uint64_t last_write_ = 0;
    std::uint64_t last_state_write_ = 0;  ///< the last one with a new term or vote
    std::uint64_t written_ = 0;           ///< durable
    std::deque<UnderWay> under_way_;
    Time last_written_{};  ///< when a write was durable last
    Time now_{};           ///< of the present event
    bool dirty_ = false;   ///< a leader looks whether there is something to be sent

    std::variant<Following, Candidacy, Leadership> role_;
    struct Hint {
        DiskId gone;   ///< its process is said to be gone, and it has not spoken since
        Time until{};  ///< what failed is repeated soon
    };
    Hint hint_;
    StatusChanged reported_;
};

}  // namespace cluster::consensus
