#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "client/message.hpp"
#include "group/outcome.hpp"
#include "net/runner.hpp"
#include "node/node_clients.hpp"
#include "node/node_replicas.hpp"
#include "node/node_state.hpp"
#include "replica/applier.hpp"
#include "replica/files.hpp"
#include "replica/machine.hpp"
#include "replica/worker.hpp"
#include "storage/directory.hpp"
#include "storage/system_disk.hpp"
#include "storage/writer.hpp"
#include "support/callbacks.hpp"
#include "support/milestone.hpp"
#include "support/open_calls.hpp"
#include "support/wait_list.hpp"

#include <cluster/replica.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::net {
extern template class Runner<replica::Machine>;
}

namespace cluster::detail {

/// What a `Replica` stands for: its machine, and the threads that carry out what that wants. Thread-safe. Kept alive by
/// the replica, by its node until that has left, and by work under way.
///
/// - The I/O thread of the node runs the machine.
/// - The storage thread writes the log (`storage::Writer`).
/// - The service thread calls the service, and writes snapshots that are not frozen.
/// - The file thread reads what is not in memory, and stores what comes from others.
/// - The freezer writes snapshots that are frozen.
class ReplicaState final : public ReplicaHost, public std::enable_shared_from_this<ReplicaState> {
public:
    using Handler = std::function<void(std::error_code, const Message&)>;
    struct Snapshot {
        std::uint64_t index = 0;
        std::string text;  ///< more about an error
    };
    /// Of the service to a message that was submitted here.
    struct Reply {
        std::uint64_t number;
        std::uint64_t index;  ///< of the entry
        std::vector<std::byte> bytes;
    };
    /// Submitted on the service thread while it applies.
    struct Gathered {
        std::uint64_t number;
        Bytes command;
        Time deadline;
    };
    /// To the read with that number.
    using Answer = std::pair<std::uint64_t, replica::Answered>;
    using SnapshotOperation = ResultOperation<Snapshot>;

    /// Throws as the constructor of `Replica`.
    static std::shared_ptr<ReplicaState> start(std::shared_ptr<NodeState> node, std::vector<NamedService> services,
                                               ReplicaOptions options);
    ~ReplicaState() override;

    bool is_here() const noexcept { return origin_.is_here(); }
    NodeState& node() const noexcept { return *node_; }

    Message submit(Payload& message, std::chrono::nanoseconds timeout, std::error_code& error);
    void submit(Payload& message, std::chrono::nanoseconds timeout, Handler handler);
    /// One that may be cancelled.
    void submit(Payload& message, std::chrono::nanoseconds timeout, std::shared_ptr<RequestOperation> operation);
    Message read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, std::error_code& error);
    void read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, Handler handler);
    void read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
              std::shared_ptr<RequestOperation> operation);
    ReplicaStatus status() const;
    Subscription on_status(std::function<void(const ReplicaStatus&)> function);
    bool wait_for_leader(std::chrono::nanoseconds timeout);
    void wait_until_stopped();
    /// `text`: more about the error.
    std::uint64_t snapshot(std::error_code& error, std::string& text);
    void transfer(const std::string& to, std::error_code& error);
    void close();
    /// No callback is called any more. Waits for one under way as `Registration::end` does.
    void end_callbacks();

    // ReplicaHost.
    std::string_view group() const noexcept override { return options_.group; }
    void begin() override;
    void came(const Peer& peer) override;
    void went(const Peer& peer, RemovalReason reason) override;
    void received(const PeerId& from, std::span<const Bytes> messages) override;
    void node_left() override;

private:
    class Door;

    ReplicaState(std::shared_ptr<NodeState> node, std::vector<NamedService> services, ReplicaOptions options);

    void open();
    void open_door();
    replica::Versions versions() const;
    replica::MachineOptions machine_options();
    void log(LogLevel level, std::string text);
    void handler_threw(std::string_view what);

    std::error_code start_submit(std::uint64_t number, Payload& message, std::chrono::nanoseconds timeout,
                                 const std::shared_ptr<RequestOperation>& operation);
    void fail_submit(std::uint64_t number, errc error);
    std::error_code start_read(std::uint64_t number, Payload& query, std::chrono::nanoseconds timeout,
                               const ReadOptions& options, const std::shared_ptr<RequestOperation>& operation);
    void fail_read(std::uint64_t number, errc error);
    std::shared_ptr<RequestOperation> handled(Handler handler);
    void make_cancellable(std::uint64_t number, RequestOperation& operation);
    void cancel(std::uint64_t number);
    void call_end(const std::shared_ptr<RequestOperation>& operation, std::error_code error);
    void halt(errc error, const std::string& why);

    // On the I/O thread.
    void client_received(const PeerId& from, std::span<const Bytes> messages);
    void client_went(const PeerId& peer);
    void carry_out(replica::Machine::Output& output);
    void tell(const replica::Tell& tell);
    errc tell(const client::Seat& seat, client::ToClient message);
    void tell(replica::TellClient& tell);
    void not_told(const client::Seat& seat);
    void authenticate(const replica::Authenticate& asked);
    void ask_service(const replica::AskService& asked);
    void look_at_status();
    void halted(const replica::Halted& halted);
    void end_io();

    // On the file thread.
    void keep(const replica::Keep& keep);
    void fetch(const consensus::Fetch& fetch);
    void fetch_chunk(const consensus::FetchChunk& fetch);
    void replace_snapshot(const consensus::LogId& snapshot);
    void store_chunk(const consensus::StoreChunk& stored);

    // On the service thread.
    void serve(std::function<void()> work);
    void pass_gathered(replica::Machine& machine, Time now);
    void pass_replies();
    void pass_outcomes();
    void attach(const replica::AttachSession& wanted);
    void detach(const replica::DetachSession& over);
    bool tell_session(std::uint64_t session, client::ToClient message);
    void apply(const std::vector<consensus::Entry>& entries);
    void serve_reads(const std::vector<std::uint64_t>& numbers);
    void pass_answers(std::vector<Answer>& answers);
    void load(const consensus::SnapshotId& id);
    void take_snapshot(std::shared_ptr<SnapshotOperation> operation);
    void write_snapshot(std::shared_ptr<storage::SnapshotOutput> output, const consensus::SnapshotId& id,
                        const std::function<void(SnapshotWriter&)>& write,
                        const std::shared_ptr<SnapshotOperation>& operation);
    void snapshot_ended();
    void end_snapshot(const std::shared_ptr<SnapshotOperation>& operation, std::error_code error, std::string text);
    void note_snapshot(std::uint64_t index);
    void end_service();
    void end();
    void shut_down();

    const Origin origin_;
    const std::shared_ptr<NodeState> node_;
    const std::shared_ptr<net::Loop> loop_;
    const std::vector<NamedService> services_;
    const ReplicaOptions options_;
    const std::uint64_t life_;
    const std::uint64_t tag_;  ///< of the group

    storage::SystemDisk disk_;
    std::unique_ptr<storage::Directory> directory_;  ///< null once it is closed
    consensus::DiskId disk_id_;
    std::unique_ptr<net::Runner<replica::Machine>> runner_;
    std::shared_ptr<ClientHost> door_;  ///< through which clients come
    std::unique_ptr<storage::Writer> writer_;
    std::unique_ptr<replica::Files> files_;  ///< of the file thread
    std::unique_ptr<replica::Applier> applier_;
    std::unique_ptr<replica::Worker> file_thread_;
    std::unique_ptr<replica::Worker> service_thread_;
    std::unique_ptr<replica::Worker> freezer_;
    std::vector<std::uint64_t> applied_here_;          ///< of the service thread
    bool slow_ = false;                                ///< of the service thread: what it did last took long
    std::map<std::uint64_t, client::Seat> served_;     ///< of the service thread: clients that are told outcomes
    std::vector<group::SessionChange> changes_;        ///< of the service thread
    std::vector<Reply> replies_;                       ///< of the service thread
    std::vector<Gathered> gathered_;                   ///< of the service thread
    Time gathered_since_{};                            ///< of the service thread
    static thread_local const ReplicaState* applies_;  ///< the one that applies on this thread
    std::atomic<bool> has_snapshots_{true};            ///< as far as is known
    std::atomic<bool> ends_{false};                    ///< the service gets no more events
    std::atomic<std::uint64_t> newest_snapshot_{0};
    std::atomic<std::uint64_t> replied_up_to_{0};  ///< an entry whose submitter has its reply
    std::atomic<std::uint64_t> last_number_{0};
    std::shared_ptr<HandlerCalls> handler_calls_ = std::make_shared<HandlerCalls>();

    bool look_due_ = false;                ///< of the I/O thread
    std::map<PeerId, Address> addresses_;  ///< of the I/O thread: where those in view can be dialled
    consensus::Role role_{};               ///< of the I/O thread

    Mutex mutex_;
    OpenCalls submits_ GUARDED_BY(mutex_);
    OpenCalls reads_ GUARDED_BY(mutex_);
    WaitList<WaitOperation> leader_waits_ GUARDED_BY(mutex_);
    WaitList<WaitOperation, std::uint64_t> transfer_waits_ GUARDED_BY(mutex_);  ///< by the number of the call
    CallbackList<const ReplicaStatus&> status_callbacks_ GUARDED_BY(mutex_);
    bool led_ GUARDED_BY(mutex_) = false;
    bool closing_ GUARDED_BY(mutex_) = false;
    bool halted_ GUARDED_BY(mutex_) = false;
    bool status_call_pending_ GUARDED_BY(mutex_) = false;
    bool snapshot_under_way_ GUARDED_BY(mutex_) = false;  ///< one of this service
    /// A piece of another one, which waits for that.
    std::optional<consensus::StoreChunk> deferred_ GUARDED_BY(mutex_);

    Milestone left_;      ///< leadership is handed over, or there is nothing to hand over
    Milestone io_ended_;  ///< nothing is carried out any more
    Milestone stopped_;   ///< the service has had its last call
    Milestone closed_;
};

}  // namespace cluster::detail
