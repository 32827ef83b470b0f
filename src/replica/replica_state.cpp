#include "replica/replica_state.hpp"

#include "base/overloaded.hpp"
#include "base/thread_kind.hpp"
#include "group/command.hpp"
#include "group/version.hpp"
#include "net/system.hpp"
#include "replica/options_check.hpp"
#include "storage/fault.hpp"
#include "support/deadline.hpp"
#include "support/handled_call.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"
#include "value/log_line.hpp"
#include "wire/client_codec.hpp"
#include "wire/replica_codec.hpp"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

namespace cluster::net {
template class Runner<replica::Machine>;
}

namespace cluster::detail {

namespace {

/// How much submits that wait may hold, as a multiple of `max_uncommitted`. The same for reads.
constexpr std::size_t most_held = 4;

std::chrono::nanoseconds wall_clock() {
    return std::chrono::system_clock::now().time_since_epoch();
}

errc to_errc(const storage::DirectoryFinding& finding) {
    using Condition = storage::DirectoryFinding::Condition;
    if (finding.condition == Condition::damaged || finding.condition == Condition::lost) return errc::directory_damaged;
    if (finding.error == storage::Fault::locked) return errc::directory_in_use;
    if (finding.error == storage::Fault::contradiction) return errc::wrong_directory;
    return errc::storage_failed;
}

}  // namespace

ReplicaState::ReplicaState(std::shared_ptr<NodeState> node, std::vector<NamedService> services, ReplicaOptions options)
    : node_(std::move(node)),
      loop_(node_->loop()),
      services_(std::move(services)),
      options_(std::move(options)),
      life_(net::draw_number()),
      tag_(wire::group_tag(options_.group)),
      disk_(options_.directory),
      submits_(most_held * options_.max_uncommitted),
      reads_(most_held * options_.max_uncommitted) {}

std::shared_ptr<ReplicaState> ReplicaState::start(std::shared_ptr<NodeState> node, std::vector<NamedService> services,
                                                  ReplicaOptions options) {
    require_may_wait("the directory of a replica");
    replica::check(options, node->name(), node->max_message());
    replica::check(services);
    std::shared_ptr<ReplicaState> state(new ReplicaState(std::move(node), std::move(services), std::move(options)));
    state->open();
    if (state->node_->replicas()->add(state)) {
        state->open_door();
        return state;
    }
    const bool closed = state->node_->replicas()->ended();
    state->end_io();
    state->close();
    if (closed) throw std::system_error(make_error_code(errc::closed), "starting a replica");
    throw std::system_error(make_error_code(errc::invalid_options),
                            "ReplicaOptions::group: this node has a replica of the group \"" + state->options_.group +
                                "\" already; close that one first, or give the group another name");
}

ReplicaState::~ReplicaState() = default;

/// Opens the directory and begins the threads. Throws as the constructor of `Replica`.
void ReplicaState::open() {
    storage::DirectoryOptions directory;
    directory.node = node_->name();
    directory.group_name = options_.group;
    directory.random = net::fill_random;
    directory.log.durability = static_cast<storage::Durability>(options_.durability);
    storage::DirectoryFinding finding;
    directory_ = storage::Directory::open(disk_, directory, finding);
    if (!directory_) {
        const std::string why = "the directory " + options_.directory + " " + finding.text;
        log(LogLevel::error, "replica_refused why=" + quoted(why));
        throw std::system_error(make_error_code(to_errc(finding)), why);
    }
    if (finding.condition == storage::DirectoryFinding::Condition::torn) {
        log(LogLevel::info, "replica_cut_torn_log where=" + quoted(finding.text));
    }
    for (const std::string& name : finding.damaged_snapshots) {
        log(LogLevel::warning, "replica_damaged_snapshot file=" + quoted(name));
    }
    if (directory_->snapshot()) newest_snapshot_ = directory_->snapshot()->id.last.index;
    disk_id_ = directory_->identity().value().disk;
    try {
        applier_ = std::make_unique<replica::Applier>(
            services_, disk_id_, life_,
            [this](std::uint64_t number, std::vector<std::byte> reply) {
                replies_.push_back({number, applier_->last().index, std::move(reply)});
            },
            versions());
        files_ = std::make_unique<replica::Files>(*directory_);
        runner_ = std::make_unique<net::Runner<replica::Machine>>(
            loop_, [this](replica::Machine::Output& output) { carry_out(output); }, machine_options(),
            net::Loop::now());
        const ReplicaStatus begun = runner_->with([](replica::Machine& machine, Time) { return machine.status(); });
        if (begun.stopped) {
            const std::string why = "the directory " + options_.directory + " contradicts itself: " + begun.why;
            log(LogLevel::error, "replica_refused why=" + quoted(why));
            throw std::system_error(begun.error, why);
        }
        storage::Writer::Options writer;
        // A follower has no say in how much comes: what a leader may have on its way is much less.
        writer.most_waiting = 2 * options_.max_uncommitted + (std::size_t{64} << 20);
        writer_ = std::make_unique<storage::Writer>(
            directory_->log(), writer,
            storage::Writer::Callbacks{
                [this](std::uint64_t number) {
                    runner_->with([&](replica::Machine& machine, Time now) { machine.written(number, now); });
                },
                [this](std::error_code error) {
                    halt(errc::storage_failed, "writing the log in " + options_.directory + ": " + error.message());
                }});
        file_thread_ = std::make_unique<replica::Worker>();
        service_thread_ = std::make_unique<replica::Worker>();
        freezer_ = std::make_unique<replica::Worker>();
    } catch (const std::system_error& error) {
        const bool told = error.code() == errc::storage_failed || error.code() == errc::directory_damaged ||
                          error.code() == errc::version_refused;
        if (told) throw;
        throw std::system_error(make_error_code(errc::system_failure),
                                std::string("starting a replica: ") + error.what());
    }
    serve([this] { applier_->start(); });
}

replica::Versions ReplicaState::versions() const {
    return {options_.version, options_.accepts_version};
}

replica::MachineOptions ReplicaState::machine_options() {
    const storage::Identity& identity = directory_->identity().value();
    replica::MachineOptions machine;
    machine.group = options_.group;
    machine.node = node_->name();
    machine.voters = {options_.voters.begin(), options_.voters.end()};
    machine.appointed_leader = options_.appointed_leader;
    machine.promise = identity.promise;
    machine.founded = identity.group.has_value();
    try {
        machine.recovered = replica::recover(*directory_);
        // Before anybody hears of this replica: otherwise it might lead those with whom it does not go on.
        replica::check_versions(versions(), *directory_, machine.recovered);
    } catch (const replica::VersionRefused& refused) {
        const std::string why = "the directory " + options_.directory + " has " + refused.what();
        log(LogLevel::error, "replica_refused why=" + quoted(why));
        throw std::system_error(make_error_code(errc::version_refused), why);
    } catch (const std::system_error& error) {
        const std::string why = "the directory " + options_.directory + " cannot be read: " + error.what();
        log(LogLevel::error, "replica_refused why=" + quoted(why));
        throw std::system_error(make_error_code(errc::storage_failed), why);
    }
    machine.random = net::fill_random;
    machine.wall = wall_clock;
    machine.life = life_;
    machine.max_sessions = options_.max_sessions;
    machine.max_message = options_.max_message;
    machine.longest_session_timeout = options_.max_session_timeout;
    machine.authenticates = static_cast<bool>(options_.authenticate);
    consensus::RaftOptions& raft = machine.raft;
    raft.self = identity.disk;
    raft.seed = net::draw_number();
    raft.election_timeout = options_.election_timeout;
    raft.heartbeat = options_.heartbeat == Duration::zero() ? options_.election_timeout / 4 : options_.heartbeat;
    raft.max_uncommitted = options_.max_uncommitted;
    raft.term_body = group::pack(options_.version);
    // What any node of the group takes: each has more room than for the longest message, and for 64 KiB.
    constexpr std::size_t least = std::size_t{60} << 10;
    raft.max_append = raft.chunk = std::min(raft.max_append, std::max(least, options_.max_message));
    return machine;
}

void ReplicaState::log(LogLevel level, std::string text) {
    text += " group=" + token(options_.group);
    std::string cause = text;
    node_->log({.level = level, .text = std::move(text), .cause = std::move(cause)});
}

void ReplicaState::handler_threw(std::string_view what) {
    node_->handler_threw(what, " group=" + token(options_.group));
}

// Submitting.

/// The error if it could not be started. Otherwise `operation` is woken when it has a result.
std::error_code ReplicaState::start_submit(std::uint64_t number, Payload& message, std::chrono::nanoseconds timeout,
                                           const std::shared_ptr<RequestOperation>& operation) {
    if (message.view().size() > options_.max_message) return errc::message_too_large;
    Bytes packed = group::pack(group::Submitted{disk_id_, life_, number, message.view()});
    {
        const Lock lock(mutex_);
        if (halted_) return errc::replica_stopped;
        if (closing_) return errc::closed;
        if (!submits_.add(number, operation, packed)) return errc::too_many_requests;
    }
    const Deadline deadline = deadline_after(timeout);
    if (applies_ == this) {
        gathered_.push_back({number, std::move(packed), deadline.time_since_epoch()});
        return {};
    }
    runner_->with([&](replica::Machine& machine, Time now) {
        machine.submit(number, std::move(packed), deadline.time_since_epoch(), now);
    });
    return {};
}

Message ReplicaState::submit(Payload& message, std::chrono::nanoseconds timeout, std::error_code& error) {
    return wait_for_result<RequestOperation>(error, [&](const auto& operation) {
        const std::error_code refused = start_submit(++last_number_, message, timeout, operation);
        if (!refused) return;
        operation->error = refused;
        operation->wake();
    });
}

void ReplicaState::submit(Payload& message, std::chrono::nanoseconds timeout, Handler handler) {
    const auto operation = handled(std::move(handler));
    const std::error_code error = start_submit(++last_number_, message, timeout, operation);
    if (error) call_end(operation, error);
}

void ReplicaState::submit(Payload& message, std::chrono::nanoseconds timeout,
                          std::shared_ptr<RequestOperation> operation) {
    const std::uint64_t number = ++last_number_;
    make_cancellable(number, *operation);
    const std::error_code error = start_submit(number, message, timeout, operation);
    if (!error) return;
    operation->error = error;
    operation->wake();
}

void ReplicaState::make_cancellable(std::uint64_t number, RequestOperation& operation) {
    operation.cancel = [weak = weak_from_this(), number] {
        if (const auto self = weak.lock()) self->cancel(number);
    };
}

/// A submit or a read.
void ReplicaState::cancel(std::uint64_t number) {
    std::shared_ptr<RequestOperation> operation;
    {
        const Lock lock(mutex_);
        operation = submits_.take(number);
        if (!operation) operation = reads_.take(number);
    }
    if (!operation) return;
    runner_->with([&](replica::Machine& machine, Time now) { machine.forget(number, now); });
    operation->error = errc::cancelled;
    operation->wake();
}

/// An operation that calls this.
std::shared_ptr<RequestOperation> ReplicaState::handled(Handler handler) {
    return std::make_shared<HandledCall>(std::move(handler), handler_calls_,
                                         [self = weak_from_this()](std::string_view what) {
                                             const auto alive = self.lock();
                                             if (alive) alive->handler_threw(what);
                                         });
}

/// It was not started. Its handler hears that later, as it would hear anything else.
void ReplicaState::call_end(const std::shared_ptr<RequestOperation>& operation, std::error_code error) {
    operation->error = error;
    if (!loop_->call([operation] { operation->wake(); })) operation->wake();
}

void ReplicaState::fail_submit(std::uint64_t number, errc error) {
    std::shared_ptr<RequestOperation> operation;
    {
        const Lock lock(mutex_);
        operation = submits_.take(number);
    }
    if (!operation) return;
    operation->error = error;
    operation->wake();
}

// Reading.

std::error_code ReplicaState::start_read(std::uint64_t number, Payload& query, std::chrono::nanoseconds timeout,
                                         const ReadOptions& options,
                                         const std::shared_ptr<RequestOperation>& operation) {
    if (query.view().size() > options_.max_message) return errc::message_too_large;
    {
        const Lock lock(mutex_);
        if (halted_) return errc::replica_stopped;
        if (closing_) return errc::closed;
        if (!reads_.add(number, operation, Bytes(query.view()))) return errc::too_many_requests;
    }
    const Deadline deadline = deadline_after(timeout);
    runner_->with(
        [&](replica::Machine& machine, Time now) { machine.read(number, options, deadline.time_since_epoch(), now); });
    return {};
}

Message ReplicaState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
                           std::error_code& error) {
    return wait_for_result<RequestOperation>(error, [&](const auto& operation) {
        const std::error_code refused = start_read(++last_number_, query, timeout, options, operation);
        if (!refused) return;
        operation->error = refused;
        operation->wake();
    });
}

void ReplicaState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, Handler handler) {
    const auto operation = handled(std::move(handler));
    const std::error_code error = start_read(++last_number_, query, timeout, options, operation);
    if (error) call_end(operation, error);
}

void ReplicaState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
                        std::shared_ptr<RequestOperation> operation) {
    const std::uint64_t number = ++last_number_;
    make_cancellable(number, *operation);
    const std::error_code error = start_read(number, query, timeout, options, operation);
    if (!error) return;
    operation->error = error;
    operation->wake();
}

void ReplicaState::fail_read(std::uint64_t number, errc error) {
    std::shared_ptr<RequestOperation> operation;
    {
        const Lock lock(mutex_);
        operation = reads_.take(number);
    }
    if (!operation) return;
    operation->error = error;
    operation->wake();
}

void ReplicaState::halt(errc error, const std::string& why) {
    runner_->with([&](replica::Machine& machine, Time now) { machine.halt(error, why, now); });
}

// What others say.

void ReplicaState::begin() {
    runner_->start(weak_from_this());
}

void ReplicaState::came(const Peer& peer) {
    addresses_[peer.id] = peer.address;
    runner_->serve([&](replica::Machine& machine, Time now) { machine.came(peer.id, peer.name, now); });
}

void ReplicaState::went(const Peer& peer, RemovalReason) {
    addresses_.erase(peer.id);
    runner_->serve([&](replica::Machine& machine, Time now) { machine.went(peer.id, now); });
}

void ReplicaState::received(const PeerId& from, std::span<const Bytes> messages) {
    std::vector<wire::ReplicaMessage> decoded;
    for (const Bytes& each : messages) {
        if (auto message = wire::decode(each)) decoded.push_back(std::move(*message));
    }
    if (decoded.empty()) return;
    runner_->serve([&](replica::Machine& machine, Time now) {
        for (wire::ReplicaMessage& each : decoded) machine.received(from, std::move(each), now);
    });
}

void ReplicaState::node_left() {
    runner_->serve([](replica::Machine& machine, Time now) { machine.halt(errc::closed, "its node has closed", now); });
    end_io();
}

/// Nothing is carried out any more.
void ReplicaState::end_io() {
    runner_->end();
    left_.reach();
    io_ended_.reach();
}

// What the machine wants.

void ReplicaState::carry_out(replica::Machine::Output& output) {
    for (replica::Effect& effect : output.effects) {
        std::visit(
            Overloaded{
                [&](consensus::Write& write) {
                    // It refuses after it has failed, and says so by itself.
                    if (!writer_->submit(std::move(write)) && !writer_->ended()) {
                        halt(errc::storage_failed, "the disk does not keep up, and too much waits to be written");
                    }
                },
                [&](replica::Tell& each) { tell(each); },
                [&](consensus::Apply& each) { serve([this, entries = std::move(each.entries)] { apply(entries); }); },
                [&](consensus::Load& each) { serve([this, id = std::move(each.snapshot)] { load(id); }); },
                [&](consensus::Fetch& each) { file_thread_->post([this, each] { fetch(each); }); },
                [&](consensus::FetchChunk& each) { file_thread_->post([this, each] { fetch_chunk(each); }); },
                [&](consensus::StoreChunk& each) {
                    file_thread_->post([this, stored = std::move(each)] { store_chunk(stored); });
                },
                [&](replica::Keep& each) { file_thread_->post([this, what = std::move(each)] { keep(what); }); },
                [&](replica::SubmitFailed& each) { fail_submit(each.number, each.error); },
                [&](replica::ReadsDue& each) {
                    serve([this, numbers = std::move(each.numbers)] { serve_reads(numbers); });
                },
                [&](replica::ReadFailed& each) { fail_read(each.number, each.error); },
                [&](replica::TransferDone& each) {
                    Woken woken;
                    const Lock lock(mutex_);
                    woken.add(transfer_waits_.take_if([&](std::uint64_t number, WaitOperation& operation) {
                        if (number != each.number) return false;
                        if (each.error != errc{}) operation.error = each.error;
                        return true;
                    }));
                },
                [&](consensus::StatusChanged& each) {
                    if (std::exchange(role_, each.role) == each.role) return;
                    serve([this, role = static_cast<Role>(each.role)] { applier_->role(role); });
                },
                [&](replica::StatusMayDiffer&) { look_due_ = true; },
                [&](replica::LeadershipLeft&) { left_.reach(); },
                [&](replica::Halted& each) { halted(each); },
                [&](LogLine& line) { node_->log(std::move(line)); },
                [&](replica::TellClient& each) { tell(each); },
                [&](replica::AttachSession& each) { serve([this, each] { attach(each); }); },
                [&](replica::DetachSession& each) { serve([this, each] { detach(each); }); },
                [&](replica::Authenticate& each) { authenticate(each); },
                [&](replica::AskService& each) { ask_service(each); },
            },
            effect);
    }
    output.effects.clear();
    if (std::exchange(look_due_, false)) look_at_status();
}

void ReplicaState::tell(const replica::Tell& tell) {
    std::vector<std::byte> bytes;
    wire::encode(tell.message, bytes);
    const errc error = node_->send_on_replica_channel(tell.to, Block::adopt(std::move(bytes)));
    if (error == errc::outbox_full || error == errc::message_too_large) {
        runner_->with([&](replica::Machine& machine, Time now) { machine.not_sent(tell.to, now); });
    }
}

void ReplicaState::halted(const replica::Halted& halted) {
    std::vector<std::shared_ptr<RequestOperation>> calls;
    {
        Woken woken;
        const Lock lock(mutex_);
        if (std::exchange(halted_, true)) return;
        calls = submits_.take_all();
        const auto reads = reads_.take_all();
        calls.insert(calls.end(), reads.begin(), reads.end());
        woken.add(transfer_waits_.end_all(errc::replica_stopped));
        woken.add(leader_waits_.take_all());
    }
    left_.reach();
    for (const auto& each : calls) {
        each->error = halted.error == errc::closed ? errc::closed : errc::replica_stopped;
        each->wake();
    }
    ends_ = true;
    service_thread_->post([this] { end_service(); });
}

void ReplicaState::look_at_status() {
    const ReplicaStatus now = status();
    Woken woken;
    const Lock lock(mutex_);
    led_ = !now.leader.empty();
    if (led_) woken.add(leader_waits_.take_all());
    if (status_call_pending_ || status_callbacks_.all().empty()) return;
    status_call_pending_ = true;
    const auto call = [self = shared_from_this()] {
        std::vector<CallbackList<const ReplicaStatus&>::Entry> all;
        {
            const Lock again(self->mutex_);
            self->status_call_pending_ = false;
            all = self->status_callbacks_.all();
        }
        const ReplicaStatus status = self->status();
        for (const auto& each : all) each->call([&](std::string_view what) { self->handler_threw(what); }, status);
    };
    if (!loop_->call(call)) status_call_pending_ = false;
}

// The application.

ReplicaStatus ReplicaState::status() const {
    // The machine hears of it a little later than whoever has the reply. Read first: it is committed then.
    const std::uint64_t replied = replied_up_to_;
    ReplicaStatus status = runner_->with([](replica::Machine& machine, Time) { return machine.status(); });
    status.snapshot = newest_snapshot_;
    status.applied = std::max(status.applied, replied);
    return status;
}

namespace {

/// Tells nothing twice in a row: changes come together, and some undo others.
std::function<void(const ReplicaStatus&)> changes_only(std::function<void(const ReplicaStatus&)> function) {
    using Told = std::tuple<Role, std::uint64_t, std::string, bool, std::error_code, std::string>;
    return [function = std::move(function), told = std::optional<Told>()](const ReplicaStatus& status) mutable {
        Told now(status.role, status.term, status.leader, status.stopped, status.error, status.why);
        if (told != now) function(status);
        told = std::move(now);
    };
}

}  // namespace

Subscription ReplicaState::on_status(std::function<void(const ReplicaStatus&)> function) {
    std::shared_ptr<Callback<const ReplicaStatus&>> callback;
    {
        const Lock lock(mutex_);
        callback = status_callbacks_.add(changes_only(std::move(function)));
    }
    loop_->call([self = shared_from_this(), weak = std::weak_ptr(callback)] {
        const auto each = weak.lock();
        if (!each) return;
        each->call([&](std::string_view what) { self->handler_threw(what); }, self->status());
    });
    return Subscription(std::move(callback));
}

bool ReplicaState::wait_for_leader(std::chrono::nanoseconds timeout) {
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    {
        const Lock lock(mutex_);
        if (led_ || halted_ || timeout <= std::chrono::nanoseconds(0)) return led_;
        if (may_wait()) leader_waits_.add(operation);
    }
    require_may_wait("a leader");
    operation->wait(deadline_after(timeout), [&] {
        Woken woken;
        const Lock lock(mutex_);
        woken.add(leader_waits_.end(*operation, errc::timed_out));
    });
    const Lock lock(mutex_);
    return led_;
}

void ReplicaState::wait_until_stopped() {
    require_may_wait("the end of a replica");
    stopped_.wait();
}

std::uint64_t ReplicaState::snapshot(std::error_code& error, std::string& text) {
    const auto operation = std::make_shared<Waited<SnapshotOperation>>();
    if (!may_wait()) {
        operation->error = errc::would_block;
    } else if (!service_thread_->post([this, operation] { take_snapshot(operation); })) {
        operation->error = errc::replica_stopped;
    } else {
        operation->wait();
    }
    error = operation->error;
    text = operation->result.text;
    return operation->result.index;
}

void ReplicaState::transfer(const std::string& to, std::error_code& error) {
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    if (!may_wait()) {
        error = errc::would_block;
        return;
    }
    const std::uint64_t number = ++last_number_;
    {
        const Lock lock(mutex_);
        transfer_waits_.add(operation, number);
    }
    const errc refused =
        runner_->with([&](replica::Machine& machine, Time now) { return machine.transfer(number, to, now); });
    if (refused != errc{}) {
        Woken woken;
        const Lock lock(mutex_);
        woken.add(transfer_waits_.end(*operation, refused));
    }
    operation->wait();
    error = operation->error;
}

void ReplicaState::close() {
    if (!may_wait()) {
        if (loop_->call([self = shared_from_this()] { self->close(); })) return;  // where one may wait
        // The node is gone, so this replica has stopped. What is left to do waits for its threads, which this may be.
        if (kind_of_this_thread() == ThreadKind::replica) return;
    }
    end();
    // After all who close have been let go: one of them may be on the callback thread, for which handlers wait.
    if (may_wait() && !loop_->on_callback_thread()) handler_calls_->wait_for_none();
}

void ReplicaState::end_callbacks() {
    std::vector<CallbackList<const ReplicaStatus&>::Entry> all;
    {
        const Lock lock(mutex_);
        all = status_callbacks_.all();
    }
    for (const auto& each : all) each->end();
}

/// Returns when the replica is closed, whoever does that.
void ReplicaState::end() {
    bool first = false;
    {
        const Lock lock(mutex_);
        first = !std::exchange(closing_, true);
    }
    if (first) {
        runner_->with([](replica::Machine& machine, Time now) { machine.leave(now); });
        left_.wait();
        shut_down();
        closed_.reach();
    } else if (may_wait()) {
        closed_.wait();
    }
}

void ReplicaState::shut_down() {
    halt(errc::closed, "it was closed");
    // While it is registered there, the node says so if its thread ends before this work is done.
    loop_->post([self = shared_from_this()] { self->end_io(); });
    io_ended_.wait();
    node_->replicas()->remove(*this);
    if (door_) node_->clients()->remove(*door_);
    halted({errc::closed, "it was closed"});
    service_thread_->finish();
    freezer_->finish();
    file_thread_->finish();
    writer_->close();
    files_.reset();
    directory_.reset();
}

}  // namespace cluster::detail
