#include "sim/replicas/disk.hpp"

#include "sim/replicas/violation.hpp"
#include "storage/fault.hpp"
#include "storage/segment.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <utility>

namespace cluster::sim::replicas {

using namespace consensus;

namespace {

storage::DirectoryOptions directory_options(const Disk::Options& options) {
    storage::DirectoryOptions made;
    made.node = options.node;
    made.group_name = "group";
    made.random = [id = options.id](std::span<std::uint8_t> out) { std::ranges::copy(id.bytes, out.begin()); };
    made.log = options.log;
    return made;
}

}  // namespace

Disk::Disk(Options options) : options_(std::move(options)), files_on_disk_(options_.seed) {
    Chance unused(0);
    open(unused, false);
}

/// As the next start does, in which the power may fail again.
void Disk::open(Chance& chance, bool power_fails) {
    const bool is_new = !files_on_disk_.exists(storage::IdentityFile::name) && !harmed_;
    for (;;) {
        if (power_fails && chance.below(8) == 0) {
            files_on_disk_.stop_in(files_on_disk_.operations() + 1 + chance.below(20));
        }
        storage::DirectoryFinding finding;
        directory_ = storage::Directory::open(files_on_disk_, directory_options(options_), finding);
        if (files_on_disk_.stopped()) {
            stop(chance, power_fails);
            continue;
        }
        using Condition = storage::DirectoryFinding::Condition;
        if (finding.condition == Condition::damaged || finding.condition == Condition::lost) {
            if (!harmed_) throw Violation("a disk that is well " + finding.text);
            why_lost_ = finding.text;
            return;
        }
        if (directory_) {
            check(is_new || finding.condition != Condition::fresh, "a disk has forgotten who it is");
            break;
        }
        if (!disturbed_) throw Violation("a directory " + finding.text);
        repair();
    }
    repair();
    harmed_ = marked_ = false;
    error_.clear();
    files_.emplace(*directory_);
    look();
}

/// Nothing that this process still does has an effect.
void Disk::stop(Chance& chance, bool power_fails) {
    if (!files_on_disk_.stopped()) files_on_disk_.stop_in(files_on_disk_.operations() + 1);
    saving_.reset();
    files_.reset();
    directory_.reset();
    cut_ = 0;
    if (power_fails && chance.coin()) {
        files_on_disk_.lose_power();
    } else {
        files_on_disk_.end_processes();
    }
}

void Disk::crash(Chance& chance, bool power_fails) {
    // Some of what waits is on its way, and its end is never reported.
    files_on_disk_.stop_in(files_on_disk_.operations() + 1 + chance.below(12));
    for (std::vector<Write>* group : {&under_way_, &waiting_}) {
        if (!group->empty() && !failed()) write(*group);
        group->clear();
    }
    stop(chance, power_fails);
    open(chance, power_fails);
}

void Disk::note(std::error_code error) {
    if (error == storage::Fault::contradiction || error == storage::Fault::too_large ||
        error == storage::Fault::not_there) {
        throw Violation("storage says: " + error.message());
    }
    if (error && !error_) error_ = error;
    if (files_on_disk_.stopped() && !error_) error_ = std::make_error_code(std::errc::io_error);
}

void Disk::look() {
    index_ = directory_->log().index();
    snapshots_ = directory_->snapshots().list();
}

// The log.

bool Disk::begin_group() {
    if (waiting_.empty() || !under_way_.empty()) return false;
    under_way_ = std::exchange(waiting_, {});
    return true;
}

std::uint64_t Disk::finish_group() {
    const std::vector<Write> writes = std::exchange(under_way_, {});
    if (!write(writes)) return 0;
    if (cut_ != 0 && writes.back().number >= cut_after_) cut_now();
    return failed() ? 0 : writes.back().number;
}

/// As the storage thread does.
bool Disk::write(const std::vector<Write>& writes) {
    for (const Write& each : writes) {
        // A newer one may have come since this was ordered.
        check(!each.begin_after || newest() >= each.begin_after->last.index,
              "a log is to begin behind a snapshot that is not on disk");
    }
    storage::Log& log = directory_->log();
    note(log.write(writes));
    const bool durable = !failed();
    if (durable && log.half_full()) log.prepare();
    if (durable && waiting_.empty()) {
        const std::uint64_t before = files_on_disk_.operations();
        note(log.mark());
        marked_ = files_on_disk_.operations() != before;
        log.prepare();
    } else {
        marked_ = false;
    }
    note(log.error());
    look();
    return durable;
}

void Disk::cut(Index index) {
    cut_ = std::max(cut_, index);
    cut_after_ = !waiting_.empty() ? waiting_.back().number : !under_way_.empty() ? under_way_.back().number : 0;
    if (cut_after_ == 0) cut_now();
}

void Disk::cut_now() {
    note(directory_->log().cut(std::exchange(cut_, 0)));
    look();
}

void Disk::keep(const Promise& promise, bool founded) {
    storage::IdentityFile& identity = directory_->identity();
    std::error_code error = identity.give(promise);
    if (!error && founded) error = identity.belong_to(promise.group);
    if (error == storage::Fault::promised) throw Violation("a disk gives itself to two groups");
    note(error);
}

// For others and from others.

std::vector<Entry> Disk::read(const Fetch& fetch) {
    std::error_code error;
    std::vector<Entry> entries = files_->read(fetch, error);
    note(error);
    return entries;
}

std::optional<Chunk> Disk::read(const FetchChunk& fetch) {
    std::optional<Chunk> chunk = files_->read(fetch);
    look();  // it may have been found damaged
    return chunk;
}

replica::Files::Stored Disk::store(const StoreChunk& stored) {
    std::error_code error;
    const replica::Files::Stored result = files_->store(stored, error);
    note(error);
    look();
    return result;
}

// Snapshots of the service.

bool Disk::begin_snapshot(const SnapshotId& id) {
    std::error_code error;
    saving_ = directory_->snapshots().begin(id, error);
    if (error == storage::Fault::busy) {
        // One that has come in part gives way.
        files_->drop_partial();
        saving_ = directory_->snapshots().begin(id, error);
        check(error != storage::Fault::busy, "two snapshots are written at once");
    }
    note({});
    return saving_ != nullptr;
}

bool Disk::finish_snapshot(std::span<const std::byte> contents) {
    return finish_snapshot([&](storage::SnapshotOutput& output) {
        const std::error_code error = output.write(contents);
        if (error) throw std::system_error(error);
    });
}

bool Disk::finish_snapshot(const std::function<void(storage::SnapshotOutput&)>& write) {
    std::error_code error;
    try {
        write(*saving_);
        error = saving_->finish();
    } catch (const std::system_error& thrown) {
        error = thrown.code();
    }
    saving_.reset();
    note({});
    look();
    return !error;
}

std::vector<std::byte> Disk::load(const LogId& last) {
    std::error_code error;
    const auto input = directory_->snapshots().read(last, error);
    std::vector<std::byte> contents(input ? static_cast<std::size_t>(input->facts().size) : 0);
    if (input) input->read(0, contents, error);
    note(error);
    return contents;
}

void Disk::load(const LogId& last, const std::function<void(storage::SnapshotInput&)>& read) {
    std::error_code error;
    const auto input = directory_->snapshots().read(last, error);
    try {
        if (input) read(*input);
    } catch (const std::system_error& thrown) {
        if (thrown.code().category() == error_category()) throw;  // what is written there is not what was saved
        error = thrown.code();
    }
    note(error);
}

// What is durable.

Recovered Disk::recover() const {
    Recovered found = replica::recover(*directory_);
    if (found.base.last.index == 0) {
        found.base.configuration = options_.configuration;
        if (found.newest.last.index == 0) found.newest = found.base;
    }
    return found;
}

std::vector<Entry> Disk::entries_behind(Index index) const {
    std::error_code error;
    if (index_.last().index <= index) return {};
    std::vector<Entry> entries = directory_->log().read(index + 1, index_.last().index, ~std::size_t{0}, error);
    check(!error, "a log that was found well cannot be read");
    return entries;
}

std::optional<Term> Disk::term_at(Index index) const {
    if (!index_.has(index)) return std::nullopt;
    return index_.term(index);
}

bool Disk::holds(const LogId& id) const {
    return id.index <= std::max(index_.base().index, newest()) || term_at(id.index) == id.term;
}

// Faults.

void Disk::fail_soon(Chance& chance) {
    disturbed_ = true;
    const std::uint64_t soon = files_on_disk_.operations() + 1 + chance.below(12);
    switch (chance.below(3)) {
        case 0: return files_on_disk_.stop_in(soon);
        case 1: return files_on_disk_.fail_sync_in(soon);
        default: {
            std::uint64_t used = 0;
            for (const std::string& name : files_on_disk_.names()) used += files_on_disk_.contents(name).size();
            return files_on_disk_.set_room(used + chance.below(3000));
        }
    }
}

/// At rest: what the newest group without a mark behind it has lost, nobody can tell (FORMAT.md, rule 12), so that is
/// left alone; and a mark must not be lost afterwards with the power.
bool Disk::harm(Chance& chance) {
    std::vector<std::string> names;
    for (const std::string& name : files_on_disk_.names()) {
        if (!files_on_disk_.contents(name).empty()) names.push_back(name);
    }
    const std::string name = names[chance.below(names.size())];
    const bool vanishes = chance.below(4) == 0;
    const std::string prefix = std::string(storage::Log::folder) + '/';
    const auto serial = name.starts_with(prefix) ? storage::serial_of(name.substr(prefix.size())) : std::nullopt;
    const bool newest =
        serial && (!index_.has(index_.last().index) || *serial >= index_.place(index_.last().index).serial);
    if (newest && !marked_ && !vanishes) return false;
    harmed_ = true;
    if (vanishes) {
        files_on_disk_.lose(name);
        return true;
    }
    const std::size_t byte = chance.below(files_on_disk_.contents(name).size());
    files_on_disk_.flip(name, byte, static_cast<unsigned>(chance.below(8)));
    return newest || chance.coin();
}

void Disk::repair() {
    disturbed_ = false;
    files_on_disk_.set_room(UINT64_MAX);
    files_on_disk_.fail_sync_in(0);
    if (!files_on_disk_.stopped()) files_on_disk_.stop_in(0);
}

}  // namespace cluster::sim::replicas
