#pragma once

#include <cluster/error.hpp>
#include <cluster/export.hpp>
#include <cluster/inbox.hpp>
#include <cluster/message.hpp>
#include <cluster/node.hpp>
#include <cluster/operation.hpp>
#include <cluster/payload.hpp>
#include <cluster/read.hpp>
#include <cluster/service.hpp>
#include <cluster/subscription.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// Replicated services: a state that several processes keep the same, whichever of them fail.
//
// The replicas of a group agree on one log of messages (Raft), and each gives them to its `Service` in that order. A
// message counts when a majority has it on disk. So a group of three survives the loss of one, a group of five of two.

namespace cluster {

namespace detail {
class ReplicaState;
}

/// When a message counts as being on disk.
enum class Durability : std::uint8_t {
    synced,      ///< when the disk has said so: it survives a loss of power
    os_buffers,  ///< when the system has taken it: it survives the end of the process, not that of the machine
};

/// What a client has shown to prove who it is.
struct Credentials {
    std::string_view credentials;  ///< `ClientOptions::credentials`
    std::string_view challenge;    ///< that it was sent before; empty: none was
    std::string_view response;     ///< its answer to that
};

/// What an application says about a client. A client whose principal or challenge is too long is rejected.
struct CLUSTER_EXPORT Authentication {
    enum class Kind : std::uint8_t { accepted, challenged, rejected };
    Kind kind = Kind::accepted;
    std::string text;

    /// It is this one: `ClientSession::principal`, up to 4 KiB.
    static Authentication accept(std::string principal) { return {Kind::accepted, std::move(principal)}; }
    /// It must answer to this, up to 16 KiB, with `ClientOptions::respond`. Then it is asked for again.
    static Authentication challenge(std::string bytes) { return {Kind::challenged, std::move(bytes)}; }
    /// It gets no session, and the first 1 KiB of this text.
    static Authentication reject(std::string why) { return {Kind::rejected, std::move(why)}; }
};

/// How a replica behaves. A plain value: fill in what matters, leave the rest. `Replica` checks it as a whole, and
/// throws `errc::invalid_options` with a text that names what is wrong.
struct ReplicaOptions {
    /// Where this replica keeps its log and its snapshots, on a local disk. It is made if it is not there; its parent
    /// must be. It belongs to this group and this node for ever: keep it, and give each replica one of its own.
    std::string directory;
    /// Groups with different names have nothing to do with each other, even on the same nodes. 1 to 64 bytes.
    std::string group = "group";
    /// The names (`Options::name`) of all nodes that vote, this one among them: 1 to 64. All of them must be started
    /// with the same ones. The group is founded once, when all of them are in view for the first time.
    std::vector<std::string> voters;
    /// If it is not empty, only the voter with this name stands for election by itself. Others lead if it hands over to
    /// them with `transfer`. For programs that must know who leads; if that one fails, nobody takes its place.
    std::string appointed_leader = {};

    /// How long a voter does not hear from its leader before it stands for election; at least 50 ms. It is up to 1.4
    /// times as long by chance. If the leader's process ends, or its replica stops, nobody waits for that. Longer:
    /// pauses and slow disks are forgiven; a machine that falls silent is replaced later.
    std::chrono::nanoseconds election_timeout = std::chrono::seconds(1);
    /// How often an idle leader speaks: 1 ms to a third of `election_timeout`; 0: a quarter of that. Longer: less of
    /// the processor is used while nothing happens.
    std::chrono::nanoseconds heartbeat{0};
    Durability durability = Durability::synced;
    /// A snapshot is taken when so many bytes of messages have come since the last one; 64 KiB to 1 TiB. The two newest
    /// snapshots are kept, and the log behind the older one. Smaller: less disk and quicker restarts, more snapshots.
    std::size_t snapshot_every = std::size_t{64} << 20;
    /// The longest message; up to 8 MiB, and 4 KiB less than `Options::max_message` of every node in the group.
    std::size_t max_message = std::size_t{1} << 20;
    /// Bytes of messages that a leader has taken and no majority has on disk yet; at least 1 MiB. Each replica that has
    /// submitted within the last second is sure of an equal part of it. Beyond that, submits wait, on each replica as
    /// long as their messages have no more than four times as much.
    std::size_t max_uncommitted = std::size_t{64} << 20;

    /// The states of all replicas are compared when so many bytes of messages have come since the last time
    /// (`Service::state_hash`); 0: never. One that is alone with its state stops with `errc::state_diverged`.
    std::size_t compare_every = std::size_t{64} << 20;

    /// The version of the services. It stands in the log at the beginning of each term, as that of its leader, and in
    /// each snapshot, as that of who wrote it. See `Context::version` and `SnapshotReader::version`.
    ApplicationVersion version = {};
    /// Whether this replica, whose version is `own`, goes on behind a leader or a snapshot of version `other`. If not,
    /// it does not start, or stops before its services hear of it, with `errc::version_refused`. Called by the
    /// constructor and on the thread of the services. Not asked about 0.0. None: they go together if `major` is the
    /// same, or if `own` is 0.0.
    std::function<bool(ApplicationVersion own, ApplicationVersion other)> accepts_version = {};

    /// Clients that have a session at the same time: up to 1,048,576. Each takes less than 2 KiB, and what is kept for
    /// it until it has it: up to 16 MiB.
    std::size_t max_sessions = 10'000;
    /// The longest `ClientOptions::session_timeout`; who asks for more gets that. At least 100 ms.
    std::chrono::nanoseconds max_session_timeout = std::chrono::hours(1);
    /// Says who a client is, when it opens a session. Called on the leader alone, on the callback thread of the node's
    /// runtime: as long as it takes, nobody else is let in there. If it throws, the client is rejected. None: all
    /// clients are accepted, without a principal.
    std::function<Authentication(const Credentials&)> authenticate = {};
};

/// How a replica is doing, at one moment.
struct ReplicaStatus {
    Role role = Role::follower;
    std::uint64_t term = 0;
    /// Name of the leader's node; empty if there is none, or none is known.
    std::string leader;

    // Places in the log. 0: before the first entry.
    std::uint64_t appended = 0;   ///< the last entry that this replica has
    std::uint64_t durable = 0;    ///< up to here its own disk has all
    std::uint64_t committed = 0;  ///< up to here a majority has all, as far as this replica knows
    std::uint64_t applied = 0;    ///< up to here its service has had all
    std::uint64_t snapshot = 0;   ///< what its newest snapshot holds; 0: there is none

    struct Member {
        std::string name;
        bool in_view = false;  ///< a replica of the group runs there, and this node has it in view
        /// Up to here its disk has all. Only the leader knows that; 0 elsewhere.
        std::uint64_t durable = 0;
    };
    std::vector<Member> voters;  ///< sorted by name, this replica among them

    bool founded = false;  ///< the group exists, and this disk belongs to it
    bool stopped = false;  ///< it does nothing any more: it was closed, or `error` says why
    /// Why nobody leads, that its disk hangs, or why it has stopped; no error if all is well. `why` is for people.
    std::error_code error;
    std::string why;
};

/// One of several services of a replica. Its name is part of every snapshot: 1 to 64 bytes.
struct NamedService {
    std::string name;
    Service& service;
};

/// This node's part in a replicated service. It keeps the log together with the other voters, and gives each message to
/// the service, in the same order as all others do.
///
/// Thread-safe: any function may be called from any thread and from any callback. On an I/O thread, and inside of a
/// `Service`, a call that would have to wait fails with `errc::would_block`. Functions with a `std::error_code&` do not
/// throw; the others throw `std::system_error`.
///
/// The node should live longer. If it closes first, the replica stops with `errc::closed`. The service must live
/// longer. The destructor closes; it must not run inside of the service.
class CLUSTER_EXPORT Replica {
public:
    /// Opens the directory and begins. It may take a while until somebody leads: see `wait_for_leader`.
    ///
    /// Throws `invalid_options`; `directory_in_use` if another replica has it open; `wrong_directory` if it belongs to
    /// another group or node; `directory_damaged` if something that was on disk is not there any more;
    /// `version_refused` (`ReplicaOptions::accepts_version`); `storage_failed` if the disk is full, read-only or cannot
    /// put files on disk when asked; `closed` if the node is; `would_block`.
    /// The text says what to do, and so does the line `replica_refused` of the node's log. Nothing is running then.
    Replica(Node& node, Service& service, ReplicaOptions options);
    /// With 1 to 16 services on one log. All voters must be started with the same names in the same order, for ever:
    /// a snapshot with others is refused (`ReplicaStatus::why`).
    Replica(Node& node, std::vector<NamedService> services, ReplicaOptions options);
    Replica(const Replica&) = delete;
    Replica& operator=(const Replica&) = delete;
    ~Replica();

    /// Puts a message into the log, and returns what the service replied to it, here, when it was applied here. It may
    /// be called on any replica: followers pass it on to the leader. If the leader fails meanwhile, it is passed on to
    /// the next one, but only when the message can no longer come into the log by the former one. So it takes effect
    /// once or not at all.
    ///
    /// It fails in one of these ways:
    /// - It has taken no effect, and never will: `no_leader` if nobody took it in time, `overloaded` if the leader had
    ///   no room in time, `message_too_large`, `too_many_requests`, `would_block`.
    /// - It may have taken effect, or may do so later: `timed_out`; `closed` or `replica_stopped` while it waited;
    ///   `outcome_unknown` if this replica was so far behind that it got a snapshot in place of the messages.
    Message submit(Payload message, std::chrono::nanoseconds timeout);
    Message submit(Payload message, std::chrono::nanoseconds timeout, std::error_code& error);
    /// The same without waiting. `handler` is called once, on a thread of the library, where it must not block, and
    /// never from within this call. Those that one thread submits come into the log in their order, unless the leader
    /// changes. `close` waits until all handlers have run.
    void submit(Payload message, std::chrono::nanoseconds timeout,
                std::function<void(std::error_code, const Message&)> handler);

    /// Has the service answer a query (`Service::on_query`), here, and returns its reply. Nothing is put into the log.
    /// It may be called on any replica. `Message::position` says what the reply reflects.
    ///
    /// A read changes nothing, so whatever error it fails with, it may be tried again: `no_leader` if it needs one and
    /// nobody led in time, `timed_out`, `message_too_large` if the query is longer than `ReplicaOptions::max_message`,
    /// `too_many_requests`, `would_block`, `closed`, `replica_stopped`. It fails with `unsupported` if the service
    /// answers no queries, and with `service_failed` if it has thrown. Then the text of that exception is the text of
    /// this one, or of the message that comes with the error.
    Message read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options = {});
    Message read(Payload query, std::chrono::nanoseconds timeout, std::error_code& error, ReadOptions options = {});
    /// The same without waiting. `handler` is called as that of `submit`.
    void read(Payload query, std::chrono::nanoseconds timeout,
              std::function<void(std::error_code, const Message&)> handler, ReadOptions options = {});

    // The same for completion tokens of the application's Asio. To call them, include `<cluster/asio.hpp>`. It says
    // where handlers run and what cancelling does.

    /// Completes with `void(std::error_code, Message)`; see `submit`. If it is cancelled, the message may have taken
    /// effect, or may do so later.
    template <class Token>
    auto async_submit(Payload message, std::chrono::nanoseconds timeout, Token&& token);
    /// Completes with `void(std::error_code, Message)`; see `read`.
    template <class Token>
    auto async_read(Payload query, std::chrono::nanoseconds timeout, Token&& token);
    template <class Token>
    auto async_read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options, Token&& token);

    ReplicaStatus status() const;
    /// Called with the status at once, and after each change of its role, its term, its leader, or its error. On the
    /// callback thread of the node's runtime. Changes that come together are reported once.
    Subscription on_status(std::function<void(const ReplicaStatus&)> callback);
    /// Waits until somebody leads, or this replica has stopped. Whether somebody does.
    bool wait_for_leader(std::chrono::nanoseconds timeout) const;
    /// Waits until this replica has stopped: by `close`, or because something went wrong. `status` says what.
    void wait_until_stopped() const;

    /// Takes a snapshot now, and returns the place in the log that it holds. If there is one of this place already,
    /// nothing is done. Fails with `unsupported` if the service has no snapshots, `storage_failed`, `replica_stopped`,
    /// or with what the service has thrown: then its text is that of the exception.
    std::uint64_t snapshot();
    std::uint64_t snapshot(std::error_code& error);
    /// Hands leadership over to that voter, or to the one that has most if `to` is empty. Returns when that one leads.
    /// Meanwhile, submits wait. A second call joins the first one if it names the same voter or none.
    ///
    /// Fails with `not_leader`, `unknown_voter`, `voter_absent`; `transfer_under_way` if another call hands over to
    /// another voter; `another_leads` if leadership has gone elsewhere, which is no failure if `to` is empty and this
    /// replica does not lead again; `timed_out` if the voter does not take over within an election timeout, and this
    /// replica leads on, or if it is not known who leads two of them after this replica leads no more.
    void transfer(std::string_view to = {});
    void transfer(std::string_view to, std::error_code& error);

    /// If this replica leads, it hands over first, for at most one election timeout. Then the service is called no
    /// more, and the directory is free. The node lives on. Further calls do nothing. On an I/O thread, and inside of
    /// the service, it only begins.
    void close();

private:
    using State = std::shared_ptr<detail::ReplicaState>;

    Inbox node_inbox() const;
    static void start_submit(const State& state, std::span<const std::byte> message, std::chrono::nanoseconds timeout,
                             std::shared_ptr<detail::RequestOperation> operation);
    static void start_read(const State& state, std::span<const std::byte> query, std::chrono::nanoseconds timeout,
                           const ReadOptions& options, std::shared_ptr<detail::RequestOperation> operation);

    State state_;
};

}  // namespace cluster
