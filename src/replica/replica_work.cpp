#include "replica/replica_state.hpp"

#include "replica/snapshot_stream.hpp"
#include "storage/fault.hpp"
#include "value/log_line.hpp"

#include <chrono>
#include <exception>
#include <optional>
#include <span>
#include <utility>

// What a replica does on its own threads: the file thread, the service thread and the freezer.

namespace cluster::detail {

namespace {

/// How long replies, and what handlers submit, wait for more of them while the service is quick. If it was slow at a
/// message, the next reply does not wait for the one behind it.
constexpr Duration longest_gathering = std::chrono::microseconds(100);

}  // namespace

// The file thread.

void ReplicaState::keep(const replica::Keep& keep) {
    storage::IdentityFile& identity = directory_->identity();
    std::error_code error = identity.give(keep.promise);
    if (!error && keep.founded) error = identity.belong_to(keep.promise.group);
    if (error)
        return halt(errc::storage_failed, "writing the identity in " + options_.directory + ": " + error.message());
    runner_->with([](replica::Machine& machine, Time now) { machine.kept(now); });
}

void ReplicaState::fetch(const consensus::Fetch& fetch) {
    std::error_code error;
    auto entries = files_->read(fetch, error);
    if (error) return halt(errc::storage_failed, "reading the log in " + options_.directory + ": " + error.message());
    runner_->with([&](replica::Machine& machine, Time now) { machine.fetched(fetch.reader, std::move(entries), now); });
}

void ReplicaState::fetch_chunk(const consensus::FetchChunk& fetch) {
    const auto chunk = files_->read(fetch);
    if (!chunk) replace_snapshot(fetch.snapshot);
    runner_->with([&](replica::Machine& machine, Time now) { machine.chunk_fetched(fetch.reader, chunk, now); });
}

/// If that was the newest one, it is damaged, and whoever asks for it would wait for the next one.
void ReplicaState::replace_snapshot(const consensus::LogId& snapshot) {
    const std::vector<storage::SnapshotFacts> kept = directory_->snapshots().list();
    const std::uint64_t newest = kept.empty() ? 0 : kept.back().id.last.index;
    if (newest >= snapshot.index) return;
    std::uint64_t damaged = snapshot.index;
    if (newest_snapshot_.compare_exchange_strong(damaged, newest)) {
        log(LogLevel::warning, "replica_damaged_snapshot position=" + std::to_string(snapshot.index));
    }
    service_thread_->post([this] { take_snapshot(nullptr); });
}

void ReplicaState::store_chunk(const consensus::StoreChunk& stored) {
    std::error_code error;
    const replica::Files::Stored result = files_->store(stored, error);
    if (error) {
        return halt(errc::storage_failed, "storing a snapshot in " + options_.directory + ": " + error.message());
    }
    if (result.busy) {
        const Lock lock(mutex_);
        if (snapshot_under_way_) {
            deferred_ = stored;
        } else {
            file_thread_->post([this, stored] { store_chunk(stored); });
        }
        return;
    }
    if (result.damaged) {
        log(LogLevel::warning,
            "replica_damaged_snapshot position=" + std::to_string(stored.chunk.snapshot.last.index) + " in=transit");
    }
    if (result.complete) note_snapshot(stored.chunk.snapshot.last.index);
    runner_->with(
        [&](replica::Machine& machine, Time now) { machine.chunk_stored(stored, result.next, result.complete, now); });
}

// The service thread.

/// Calls the service, unless it gets no more events. If it throws, this replica stops.
void ReplicaState::serve(std::function<void()> work) {
    service_thread_->post([this, work = std::move(work)] {
        if (ends_) return;
        std::string why = "something that is no std::exception";
        try {
            return work();
        } catch (const replica::VersionRefused& refused) {
            ends_ = true;
            return halt(errc::version_refused, refused.what());
        } catch (const std::exception& exception) {
            why = exception.what();
        } catch (...) {
        }
        ends_ = true;
        const std::string& name = applier_->called().name;
        halt(errc::service_failed,
             "the service " + (services_.size() > 1 ? quoted(name) + " " : "") + "has thrown: " + why);
    });
}

thread_local const ReplicaState* ReplicaState::applies_ = nullptr;

/// Replies are passed on together, and so is what handlers submit meanwhile. Otherwise the I/O thread would take the
/// first alone, and the disks would have a write for it.
void ReplicaState::apply(const std::vector<consensus::Entry>& entries) {
    struct Applying {
        explicit Applying(ReplicaState& which) : state(which) {
            applies_ = &state;
            state.gathered_since_ = net::Loop::now();
        }
        /// Callers get the replies that are there, even if the service throws at the next message.
        ~Applying() {
            state.pass_replies();
            state.pass_outcomes();
            applies_ = nullptr;
        }
        ReplicaState& state;
    };
    {
        const Applying applying(*this);
        Time before = gathered_since_;
        for (const consensus::Entry& each : entries) {
            if (ends_) return;
            applier_->apply(each);
            const Time now = net::Loop::now();
            const bool was_slow = std::exchange(slow_, now - std::exchange(before, now) > longest_gathering);
            if (replies_.empty() && gathered_.empty() && !applier_->has_outcomes()) continue;
            if (was_slow || now - gathered_since_ > longest_gathering) {
                gathered_since_ = now;
                pass_replies();
                pass_outcomes();
                runner_->with([&](replica::Machine& machine, Time at) { pass_gathered(machine, at); });
            }
        }
        pass_replies();
        pass_outcomes();
        const std::vector<wire::StateHash> checked = applier_->take_checked();
        const bool wants_check = options_.compare_every != 0 && applier_->unchecked() >= options_.compare_every;
        runner_->with([&](replica::Machine& machine, Time now) {
            machine.applied(
                {applier_->last(), applied_here_, applier_->wants_entry_at(), changes_, checked, wants_check}, now);
            pass_gathered(machine, now);
        });
    }
    applied_here_.clear();
    changes_.clear();
    if (applier_->bytes() >= options_.snapshot_every && has_snapshots_) take_snapshot(nullptr);
}

void ReplicaState::pass_replies() {
    if (replies_.empty()) return;
    std::vector<std::shared_ptr<RequestOperation>> operations;
    operations.reserve(replies_.size());
    {
        const Lock lock(mutex_);
        for (const Reply& each : replies_) operations.push_back(submits_.take(each.number));
    }
    replied_up_to_ = replies_.back().index;
    for (std::size_t i = 0; i < replies_.size(); ++i) {
        applied_here_.push_back(replies_[i].number);
        if (!operations[i]) continue;  // its time was over
        BlockRef block = Block::adopt(std::move(replies_[i].bytes));
        const std::span<const std::byte> bytes(block->data(), block->size());
        operations[i]->result = Message(node_->id(), block.detach(), bytes, 0, nullptr, replies_[i].index);
        operations[i]->wake();
    }
    replies_.clear();
}

void ReplicaState::pass_gathered(replica::Machine& machine, Time now) {
    for (Gathered& each : gathered_) machine.submit(each.number, std::move(each.command), each.deadline, now);
    gathered_.clear();
}

/// Each query has its answer as soon as it is there if the service takes long for it, else together with others. A read
/// whose time is over meanwhile gets none.
void ReplicaState::serve_reads(const std::vector<std::uint64_t>& numbers) {
    std::vector<std::optional<Bytes>> queries;
    queries.reserve(numbers.size());
    {
        const Lock lock(mutex_);
        for (const std::uint64_t each : numbers) queries.push_back(reads_.bytes(each));
    }
    std::vector<Answer> answers;
    Time since = net::Loop::now();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (ends_) return pass_answers(answers);
        if (!queries[i]) continue;
        answers.emplace_back(numbers[i], applier_->query(queries[i]->view()));
        const Time now = net::Loop::now();
        if (now - since <= longest_gathering) continue;
        since = now;
        pass_answers(answers);
    }
    pass_answers(answers);
    runner_->with([&](replica::Machine& machine, Time now) { machine.reads_done(numbers, now); });
}

void ReplicaState::pass_answers(std::vector<Answer>& answers) {
    std::vector<std::shared_ptr<RequestOperation>> operations;
    operations.reserve(answers.size());
    {
        const Lock lock(mutex_);
        for (const Answer& each : answers) operations.push_back(reads_.take(each.first));
    }
    for (std::size_t i = 0; i < answers.size(); ++i) {
        if (!operations[i]) continue;  // its time was over
        replica::Answered& answer = answers[i].second;
        BlockRef block = Block::adopt(std::move(answer.bytes));
        const std::span<const std::byte> bytes(block->data(), block->size());
        operations[i]->error = answer.error;
        operations[i]->result = Message(node_->id(), block.detach(), bytes, 0, nullptr, answer.position);
        operations[i]->wake();
    }
    answers.clear();
}

void ReplicaState::load(const consensus::SnapshotId& id) {
    std::error_code error;
    const auto input = directory_->snapshots().read(id.last, error);
    if (!input)
        return halt(errc::storage_failed, "reading a snapshot in " + options_.directory + ": " + error.message());
    replica::StreamReader reader(*input);
    applier_->load(reader, reader.form(), input->facts().id);
    served_.clear();
    runner_->with([&](replica::Machine& machine, Time now) {
        machine.loaded(applier_->last(), applier_->wants_entry_at(), applier_->sessions(), now);
    });
}

/// `operation`: who waits for it, if anybody does.
void ReplicaState::take_snapshot(std::shared_ptr<SnapshotOperation> operation) {
    if (ends_) return end_snapshot(operation, errc::replica_stopped, {});
    const consensus::LogId at = applier_->last();
    if (at.index <= newest_snapshot_) return end_snapshot(operation, {}, {});
    const auto id =
        runner_->with([&](replica::Machine& machine, Time) { return machine.snapshot_at(at, applier_->time()); });
    std::shared_ptr<storage::SnapshotOutput> output;
    std::error_code error;
    bool first = false;
    if (id) {
        const Lock lock(mutex_);
        first = !std::exchange(snapshot_under_way_, true);
    }
    if (first) {
        // Not under the lock: the I/O thread takes it, and must not wait for the disk.
        output = directory_->snapshots().begin(*id, error);
        if (!output) snapshot_ended();
    }
    // One that came from another replica is as new, and about to take the place of this state.
    if (error == storage::Fault::contradiction) error.clear();
    if (error && error != storage::Fault::busy) {
        applier_->snapshot_begun();  // not again at the next message
        return end_snapshot(operation, errc::storage_failed, "writing a snapshot: " + error.message());
    }
    if (!output) {
        // Another one is being written, or has come in part, or is about to take the place of this state.
        if (!operation && id && !error) return;
        const auto again = [this, operation] {
            const bool posted = service_thread_->post([this, operation] { take_snapshot(operation); });
            if (!posted) end_snapshot(operation, errc::replica_stopped, {});
        };
        const auto drop = [this, operation, again] {
            files_->drop_partial();
            if (operation) again();
        };
        if (error) {
            file_thread_->post(drop);
        } else if (operation) {
            freezer_->post(again);
        }
        return;
    }
    applier_->snapshot_begun();
    std::function<void(SnapshotWriter&)> write = [this](SnapshotWriter& out) { applier_->save(out); };
    try {
        if (auto frozen = applier_->freeze()) {
            freezer_->post([this, output, id = *id, frozen = std::move(frozen), operation] {
                write_snapshot(output, id, frozen, operation);
            });
            return;
        }
    } catch (...) {
        write = [thrown = std::current_exception()](SnapshotWriter&) { std::rethrow_exception(thrown); };
    }
    write_snapshot(output, *id, write, operation);
}

/// On the service thread or the freezer.
void ReplicaState::write_snapshot(std::shared_ptr<storage::SnapshotOutput> output, const consensus::SnapshotId& id,
                                  const std::function<void(SnapshotWriter&)>& write,
                                  const std::shared_ptr<SnapshotOperation>& operation) {
    std::error_code error;
    std::string text;
    try {
        replica::StreamWriter stream(*output, options_.version);
        write(stream);
        error = output->finish();
        if (error) text = "writing a snapshot: " + error.message();
    } catch (const std::system_error& exception) {
        error = exception.code();
        text = exception.what();
    } catch (const std::exception& exception) {
        error = errc::service_failed;
        text = exception.what();
    } catch (...) {
        error = errc::service_failed;
        text = "the service has thrown something that is no std::exception";
    }
    const std::uint64_t size = output->position();
    output.reset();
    snapshot_ended();
    if (error == errc::unsupported) has_snapshots_ = false;
    if (error) return end_snapshot(operation, error, text);
    note_snapshot(id.last.index);
    // All of the log stays while there is only one: whoever is a little behind then needs no snapshot.
    const std::vector<storage::SnapshotFacts> kept = directory_->snapshots().list();
    const consensus::SnapshotId base = kept.size() > 1 ? kept.front().id : consensus::SnapshotId{};
    runner_->with([&](replica::Machine& machine, Time now) { machine.snapshot_taken(id, base, now); });
    if (base.last.index != 0) writer_->cut(base.last.index);
    log(LogLevel::info,
        "replica_snapshot position=" + std::to_string(id.last.index) + " bytes=" + std::to_string(size));
    end_snapshot(operation, {}, {});
}

/// None of this service is being written any more, so that one from another replica may be.
void ReplicaState::snapshot_ended() {
    const Lock lock(mutex_);
    snapshot_under_way_ = false;
    if (deferred_) file_thread_->post([this, stored = *std::exchange(deferred_, {})] { store_chunk(stored); });
}

void ReplicaState::end_snapshot(const std::shared_ptr<SnapshotOperation>& operation, std::error_code error,
                                std::string text) {
    if (error && error.category() != error_category()) error = errc::storage_failed;
    if (error && error != errc::replica_stopped) {
        log(LogLevel::warning, "replica_snapshot_failed why=" + quoted(text.empty() ? error.message() : text));
    }
    if (!operation) return;
    operation->error = error;
    operation->result = {newest_snapshot_, std::move(text)};
    operation->wake();
}

void ReplicaState::note_snapshot(std::uint64_t index) {
    std::uint64_t newest = newest_snapshot_;
    while (newest < index && !newest_snapshot_.compare_exchange_weak(newest, index)) {
    }
}

void ReplicaState::end_service() {
    for (const NamedService& each : services_) {
        try {
            each.service.on_stop();
        } catch (const std::exception& exception) {
            log(LogLevel::error, "replica_service_threw in=on_stop text=" + quoted(exception.what()));
        } catch (...) {
            log(LogLevel::error, "replica_service_threw in=on_stop text=unknown");
        }
    }
    stopped_.reach();
}

}  // namespace cluster::detail
