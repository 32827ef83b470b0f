#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "consensus/effect.hpp"
#include "consensus/founding.hpp"
#include "consensus/questions.hpp"
#include "consensus/raft.hpp"
#include "consensus/shares.hpp"
#include "consensus/submissions.hpp"
#include "replica/clients.hpp"
#include "replica/state_hashes.hpp"
#include "value/log_line.hpp"
#include "wire/replica_codec.hpp"

#include <cluster/error.hpp>
#include <cluster/peer.hpp>
#include <cluster/replica.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace cluster::replica {

// What the machine wants done, in this order. Beside these there are some of `consensus/effect.hpp`.

/// To be sent on the replica channel. It may be lost.
struct Tell {
    PeerId to;
    wire::ReplicaMessage message;
};
/// To be put into the directory's identity; `Machine::kept` says when that is done.
struct Keep {
    consensus::Promise promise;
    bool founded = false;
};
/// A submission has failed.
struct SubmitFailed {
    std::uint64_t number = 0;
    errc error{};
};
/// These reads may see what the service has now. `Machine::reads_done` says when they have.
struct ReadsDue {
    std::vector<std::uint64_t> numbers;
};
/// A read has failed. One that is being served may fail, too: its time is over.
struct ReadFailed {
    std::uint64_t number = 0;
    errc error{};
};
/// `Machine::transfer` has ended; no error: the voter that was named leads, or any other one if none was.
struct TransferDone {
    std::uint64_t number = 0;
    errc error{};
};
/// `Machine::status` may say something else.
struct StatusMayDiffer {};
/// `Machine::leave` has ended: another one leads, or nobody takes over.
struct LeadershipLeft {};
/// This replica does nothing any more.
struct Halted {
    errc error{};
    std::string why;
};

using Effect = std::variant<consensus::Write, Tell, consensus::Apply, consensus::Load, consensus::Fetch,
                            consensus::FetchChunk, consensus::StoreChunk, Keep, SubmitFailed, ReadsDue, ReadFailed,
                            TransferDone, consensus::StatusChanged, StatusMayDiffer, LeadershipLeft, Halted, LogLine,
                            TellClient, AttachSession, DetachSession, Authenticate, AskService>;

struct MachineOptions {
    std::string group;  ///< its name
    std::string node;   ///< the name of this one
    std::set<std::string> voters;
    std::string appointed_leader;               ///< only that voter stands for election; empty: all do
    consensus::RaftOptions raft;                ///< but for `may_campaign`
    std::optional<consensus::Promise> promise;  ///< that this disk has given
    bool founded = false;                       ///< it belongs to that group
    /// What is on disk. If the log begins with the first entry, the configuration comes from the founding.
    consensus::Recovered recovered;
    RandomSource random;
    std::function<Duration()> wall;  ///< the wall clock, since 1970
    std::uint64_t life = 0;          ///< of this process: drawn at its start
    // Of clients.
    std::uint64_t max_sessions = 10'000;
    std::uint64_t max_message = std::uint64_t{1} << 20;
    Duration longest_session_timeout = std::chrono::hours(1);
    bool authenticates = false;  ///< the application says who clients are
};

/// What the services have done up to some entry.
struct Served {
    consensus::LogId last;
    std::span<const std::uint64_t> submissions;  ///< of this process, since the last time
    /// As long as nothing follows `last`, the leader appends an entry then, in the time of the log; `never`: none is
    /// wanted.
    Duration wants_entry_at = never;
    std::span<const group::SessionChange> sessions;  ///< since the last time, in their order
    std::span<const wire::StateHash> checked = {};   ///< since the last time
    bool wants_check = false;                        ///< the states should be compared
};

/// One replica's decisions: founds its group or waits for that, then takes part in keeping the log; knows where the
/// other disks are; passes on what is submitted here.
///
/// Events go in with the time; what is to be done comes out as effects. Not thread-safe; no socket, disk or thread of
/// its own. After `Halted` nothing happens any more.
///
/// 1. What a disk says counts only if it comes from the peer that introduced itself with this disk.
/// 2. Nothing leaves before the writes on which it depends are durable.
/// 3. Whoever halts says farewell, and again to whoever still counts on it. If both are lost, its silence tells.
class Machine {
public:
    struct Output {
        std::vector<Effect> effects;
    };

    Machine(MachineOptions options, Time now);

    // The other nodes.
    void came(const PeerId& peer, const std::string& name, Time now);
    void went(const PeerId& peer, Time now);
    void received(const PeerId& from, wire::ReplicaMessage&& message, Time now);
    /// What was told to that peer may be lost.
    void not_sent(const PeerId& peer, Time now);

    // The disk.
    void kept(Time now);
    void written(std::uint64_t number, Time now);
    void fetched(const consensus::DiskId& reader, std::vector<consensus::Entry> entries, Time now);
    void chunk_fetched(const consensus::DiskId& reader, const std::optional<consensus::Chunk>& chunk, Time now);
    void chunk_stored(const consensus::StoreChunk& stored, std::uint64_t next, bool complete, Time now);
    void snapshot_taken(const consensus::SnapshotId& newest, const consensus::SnapshotId& base, Time now);

    // The service.
    void applied(const Served& served, Time now);
    /// A snapshot has taken the place of all entries up to `last`. These sessions are open.
    void loaded(const consensus::LogId& last, Duration wants_entry_at, std::span<const group::SessionFacts> sessions,
                Time now);
    /// The answer to an `AttachSession`: see `Clients::attached`.
    bool session_attached(const client::Seat& seat, std::uint64_t session, std::optional<std::uint64_t> applied,
                          Time now);
    /// See `Clients::lost`.
    void session_lost(std::uint64_t session, bool hopeless, Time now);

    // Clients.
    void client_said(const client::Seat& seat, client::ToNode&& message, Time now);
    /// That peer is no client any more.
    void client_gone(const PeerId& peer, Time now);
    /// A `TellClient`, or the answer to an `AskService`, may be lost.
    void client_not_told(const client::Seat& seat, Time now);
    /// The answer to an `Authenticate`.
    void authenticated(std::uint64_t ticket, const Verdict& verdict, Time now);
    /// What a snapshot of the state after that entry is called. Nothing if another one is about to take its place.
    std::optional<consensus::SnapshotId> snapshot_at(const consensus::LogId& id, Duration time) const;

    // The application.
    /// A packed command. Ends by `applied` or with `SubmitFailed`. Numbers rise.
    void submit(std::uint64_t number, Bytes command, Time deadline, Time now);
    /// Ends with `ReadFailed`, or with `ReadsDue` and then `reads_done`. A number stands for one read.
    void read(std::uint64_t number, const ReadOptions& options, Time deadline, Time now);
    void reads_done(std::span<const std::uint64_t> numbers, Time now);
    /// Nobody waits for that submission, or that read, any more. It does not end; the submission may have its effect.
    void forget(std::uint64_t number, Time now);
    /// Ends with `TransferDone` if the result is no error, and not at all if this replica halts. Empty: to the one that
    /// has most. Joins one that is under way, unless that goes to another voter.
    errc transfer(std::uint64_t number, const std::string& to, Time now);
    /// Hands leadership over, if this replica has it. Ends with `LeadershipLeft`. Nothing can be submitted any more.
    void leave(Time now);
    void halt(errc error, std::string why, Time now);
    /// `snapshot`: the newest one on disk.
    ReplicaStatus status() const;
    bool halted() const noexcept { return halted_.has_value(); }

    // For a runner.
    Time deadline() const;
    void tick(Time now);
    bool has_output() const {
        return !effects_.empty() || can_pass_on() || can_ask() || can_serve() || (raft_ && raft_->has_output()) ||
               clients_.has_effects() || clients_.proposes(now_);
    }
    bool take_output(Output& output);

private:
    /// How often those who have not been met are asked for, and questions that may be lost are repeated.
    static constexpr Duration reminder = std::chrono::seconds(1);
    /// After so many the log says why the group is not founded.
    static constexpr int reminders_before_warning = 5;
    /// After so many election time-outs the log says that nobody leads.
    static constexpr int timeouts_before_warning = 3;

    /// Somebody else is to lead. Ends when anybody is known to lead the next term.
    struct HandOver {
        struct Caller {
            std::uint64_t number;
            bool named;  ///< it must be that voter
        };
        consensus::DiskId to;
        std::vector<Caller> callers;
        Time deadline = never;  ///< this replica leads no more, and waits to learn who does
    };
    struct Acquaintance {
        std::string name;
        std::optional<consensus::DiskId> disk;  ///< that it has introduced itself with
        bool displaced = false;                 ///< another peer has said since that this disk is there
    };

    static MachineOptions completed(MachineOptions options);
    Moment moment(Time now) const { return {now, options_.wall()}; }
    template <class What>
    void emit(What&& what) {
        effects_.emplace_back(std::forward<What>(what));
    }
    void log(LogLevel level, std::string text, std::string cause = {});
    void introduce(const PeerId& to, const consensus::DiskId& as_answer_to);
    void introduced(const PeerId& from, bool wants_answer, const consensus::Introduction& other, Time now);
    void take_founding(Time now);
    void begin(const consensus::GroupId& group, const consensus::Configuration& configuration, Time now);
    void report_hindrance();
    void look_who_leads(Time now);
    void remind(Time now);
    Time disk_deadline() const;
    void look_at_disk(Time now);
    void disk_goes_on(Time now);
    void lament(Time now);
    void look_who_is_met();
    void say_farewell(const PeerId& to);
    void said_farewell(const PeerId& from, const consensus::DiskId& disk, Time now);
    void gone(const consensus::DiskId& disk, Time now);
    void twin_gone(const std::string& name, const PeerId& peer, Time now);
    bool is_of_group(const wire::ReplicaMessage& message) const;
    void on(const PeerId& from, wire::FoundingMessage&& message, Time now);
    void on(const PeerId& from, wire::RaftMessage&& message, Time now);
    void on(const PeerId& from, wire::SubmitMessage&& message, Time now);
    void on(const PeerId& from, wire::ReadMessage&& message, Time now);
    bool is_for_us(const PeerId& from, const auto& message) const;
    bool is_at(const consensus::DiskId& disk, const PeerId& peer) const;
    void take_raft(Time now);
    void carry_out(consensus::Effect&& effect, Time now);
    void send(const consensus::Message& message);
    bool follows() const;
    bool can_pass_on() const;
    void pass_on(Time now);
    std::size_t propose(const consensus::DiskId& from, std::span<const Bytes> commands, consensus::LogId& first,
                        Time now);
    void expire(Time now);
    void tell_submit(const consensus::DiskId& to, std::variant<consensus::Submit, consensus::SubmitAnswer> body);
    bool knows_whom_to_ask() const;
    bool can_ask() const { return questions_.due() <= now_ && knows_whom_to_ask(); }
    void ask(Time now);
    bool can_serve() const { return raft_ && !halted_ && applied_.index >= known_ && questions_.ready(applied_.index); }
    void answer_asker(const consensus::ReadReady& ready);
    void expire_reads(Time now);
    void tell_read(const consensus::DiskId& to, std::variant<consensus::ReadIndex, consensus::ReadIndexAnswer> body);
    errc hand_over(const consensus::DiskId& to, Time now);
    void hand_over_ended(Time now);
    void look_who_took_over();
    void end_hand_over(errc named, errc unnamed);
    std::string name_of(const consensus::DiskId& disk) const;
    static std::pair<errc, std::string> describe(const consensus::Hindrance& hindrance);
    std::pair<errc, std::string> trouble() const;
    Time mark_at() const;
    void look_whom_to_serve(Time now);
    void on(const PeerId& from, wire::StateMessage&& message, Time now);
    void checked(const wire::StateHash& state);
    void compare_states(Time now);
    void log_check(Time now);
    void propose_for_clients(Time now);

    MachineOptions options_;
    std::vector<Effect> effects_;
    consensus::Founding founding_;
    consensus::GroupId group_;
    std::optional<consensus::Raft> raft_;
    std::map<PeerId, Acquaintance> peers_;            ///< in view
    std::map<consensus::DiskId, PeerId> where_;       ///< of those in view: the peer whose `disk` it is
    std::map<consensus::DiskId, std::string> names_;  ///< of this one, and of those in the promise
    std::deque<consensus::Send> held_;                ///< until their writes are durable
    std::uint64_t durable_ = 0;
    consensus::Submissions submissions_;
    consensus::Origins origins_;
    consensus::Shares shares_;
    consensus::Questions questions_;
    consensus::Askers askers_;
    Clients clients_;
    StateHashes states_;
    consensus::Term check_logged_ = 0;  ///< in this term the log asks for a comparison that has not come yet
    consensus::StatusChanged role_;
    consensus::LogId applied_;    ///< the services have had all up to there
    consensus::Index known_ = 0;  ///< was committed when this replica began: before that, its state is an old one
    Duration wants_entry_at_ = never;
    bool has_room_ = true;  ///< the last proposal here was not refused
    bool all_met_ = false;  ///< nobody needs to be asked who it is
    Time remind_at_;
    int reminders_ = 0;
    consensus::Hindrance reported_;
    bool led_ = true;                  ///< as far as was looked at
    Time lament_at_ = never;           ///< nobody leads
    std::optional<Time> hangs_since_;  ///< the disk, for longer than it should
    std::optional<HandOver> hand_over_;
    bool leaving_ = false;
    std::optional<Halted> halted_;
    Time now_;  ///< of the last event
};

}  // namespace cluster::replica
