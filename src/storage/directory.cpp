#include "storage/directory.hpp"

#include "storage/fault.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace cluster::storage {

namespace {

const std::string what_now =
    "; the other replicas go on without this one. Put no older copy in its place: that has forgotten what this one has "
    "promised";

bool say(DirectoryFinding& finding, DirectoryFinding::Condition condition, std::error_code error, std::string text) {
    finding.condition = condition;
    finding.error = error;
    finding.text = std::move(text);
    return false;
}

}  // namespace

std::unique_ptr<Directory> Directory::open(Disk& disk, const DirectoryOptions& options, DirectoryFinding& finding) {
    finding = {};
    std::unique_ptr<Directory> directory(new Directory(disk));
    if (!directory->prepare(options, finding)) return nullptr;
    return directory;
}

Directory::Directory(Disk& disk) : disk_(disk), identity_(disk), snapshots_(disk) {}

bool Directory::prepare(const DirectoryOptions& options, DirectoryFinding& finding) {
    std::error_code error = disk_.make_folder("");
    if (error)
        return say(finding, Condition::refused, error, "cannot be made: " + error.message() + "; create its parent");
    lock_ = disk_.lock("lock", error);
    if (error == Fault::locked) {
        return say(finding, Condition::refused, error,
                   "is in use by another replica; give each one a directory of its own");
    }
    if (error) return say(finding, Condition::refused, error, "cannot be locked: " + error.message());
    return probe(finding) && open_identity(options, finding) && open_log(options, finding) && open_snapshots(finding);
}

/// Whether this disk can do what all else relies on.
bool Directory::probe(DirectoryFinding& finding) {
    const std::string name = "probe";
    std::error_code error = remove_if_there(disk_, name);
    std::unique_ptr<File> file;
    if (!error) file = disk_.create(name, error);
    if (!error) error = file->write(0, std::array<std::byte, 512>());
    if (error) {
        return say(finding, Condition::refused, error,
                   "cannot be written: " + error.message() + "; make room, or let this process write there");
    }
    error = file->sync();
    if (!error) error = disk_.sync_folder("");
    if (error) {
        return say(finding, Condition::refused, Fault::cannot_sync,
                   "is on a file system that cannot put files on disk when asked: " + error.message() +
                       "; use ext4 or xfs on a local disk");
    }
    error = disk_.remove(name);
    return error ? say(finding, Condition::refused, error, "cannot be written: " + error.message()) : true;
}

bool Directory::empty(const char* folder, std::error_code& error) {
    const bool none = disk_.list(folder, error).empty();
    if (error == std::errc::no_such_file_or_directory) error.clear();
    return none;
}

bool Directory::open_identity(const DirectoryOptions& options, DirectoryFinding& finding) {
    std::error_code error = identity_.read();
    if (error == std::errc::no_such_file_or_directory) {
        const bool log = empty(Log::folder, error);
        const bool nothing = !error && log && empty(Snapshots::folder, error);
        if (error) return say(finding, Condition::refused, error, "cannot be read: " + error.message());
        if (!nothing) {
            return say(finding, Condition::lost, Fault::damaged,
                       "has a log or snapshots, but the file identity is missing; put it back" + what_now);
        }
        Identity identity;
        options.random(identity.disk.bytes);
        identity.node = options.node;
        identity.group_name = options.group_name;
        error = identity_.create(identity);
        if (error) return say(finding, Condition::refused, error, "cannot be written: " + error.message());
        return true;
    }
    if (error == Fault::damaged) {
        return say(finding, Condition::damaged, error, "has a damaged file identity" + what_now);
    }
    if (error)
        return say(finding, Condition::refused, error, "has a file identity that cannot be read: " + error.message());
    const Identity& identity = identity_.value();
    if (identity.node != options.node) {
        return say(finding, Condition::refused, Fault::contradiction,
                   "belongs to the node \"" + identity.node + "\", and this one is \"" + options.node +
                       "\"; name the right directory, or give the node its former name");
    }
    if (identity.group_name != options.group_name) {
        return say(finding, Condition::refused, Fault::contradiction,
                   "belongs to the group \"" + identity.group_name + "\", and this replica is of \"" +
                       options.group_name + "\"; name the right directory");
    }
    return true;
}

bool Directory::open_log(const DirectoryOptions& options, DirectoryFinding& finding) {
    using Kind = LogFinding::Condition;
    const Identity& identity = identity_.value();
    LogFinding in_log;
    log_ = Log::open(disk_, identity.disk, options.log, in_log);
    if (in_log.error) {
        return say(finding, Condition::refused, in_log.error,
                   "has a log that cannot be read: " + in_log.where + ": " + in_log.error.message());
    }
    std::error_code error;
    switch (in_log.condition) {
        case Kind::whole: finding.condition = Condition::clean; return true;
        case Kind::torn:
            finding.condition = Condition::torn;
            finding.text = in_log.where;
            return true;
        case Kind::damaged:
            return say(finding, Condition::damaged, Fault::damaged, "has a damaged log: " + in_log.where + what_now);
        case Kind::none: break;
    }
    const bool snapshots = !empty(Snapshots::folder, error);
    if (!error && (identity.promise || identity.group || snapshots)) {
        return say(finding, Condition::lost, Fault::damaged, "has lost its log" + what_now);
    }
    if (!error) log_ = Log::create(disk_, identity.disk, options.log, error);
    if (error) return say(finding, Condition::refused, error, "cannot be written: " + error.message() + "; make room");
    finding.condition = Condition::fresh;
    return true;
}

bool Directory::open_snapshots(DirectoryFinding& finding) {
    std::error_code error = snapshots_.open();
    if (error) return say(finding, Condition::refused, error, "has snapshots that cannot be read: " + error.message());
    std::vector<SnapshotFacts> list = snapshots_.list();
    for (; !list.empty() && !snapshot_; list.pop_back()) {
        const consensus::LogId last = list.back().id.last;
        const std::unique_ptr<SnapshotInput> input = snapshots_.read(last, error);
        if (!error) error = input->verify();
        if (error) {
            snapshots_.mark_damaged(last);
        } else {
            snapshot_ = list.back();
        }
    }
    finding.damaged_snapshots = snapshots_.damaged();
    const consensus::Index base = log_->index().base().index;
    if (snapshot_ ? snapshot_->id.last.index >= base : base == 0) return begin_at_snapshot(finding);
    return say(finding, Condition::damaged, Fault::damaged,
               "has a log that begins behind entry " + std::to_string(base) + ", and no snapshot that reaches so far" +
                   what_now);
}

/// A crash after a snapshot had come from another replica, and before the log began anew behind it. Or others had
/// committed, and this one applied, what its own disk did not have yet.
bool Directory::begin_at_snapshot(DirectoryFinding& finding) {
    if (!snapshot_) return true;
    const consensus::LogId last = snapshot_->id.last;
    const LogIndex index = log_->index();
    if (last.index <= index.last().index && index.term(last.index) == last.term) return true;
    consensus::Write write;
    write.begin_after = snapshot_->id;
    const std::error_code error = log_->write({&write, 1});
    return error ? say(finding, Condition::refused, error, "cannot be written: " + error.message()) : true;
}

}  // namespace cluster::storage
