#pragma once

#include "base/random.hpp"
#include "storage/disk.hpp"
#include "storage/identity.hpp"
#include "storage/log.hpp"
#include "storage/snapshots.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cluster::storage {

struct DirectoryOptions {
    std::string node;  ///< its name
    std::string group_name;
    RandomSource random;
    LogOptions log;
};

/// How a directory was found.
struct DirectoryFinding {
    enum class Condition {
        fresh,    ///< nothing was there, and the disk has promised nothing yet
        clean,    ///< all that was written is there
        torn,     ///< the same, but for what was being written, unacknowledged, when the machine or the process ended
        damaged,  ///< something that was on disk is not there any more
        lost,     ///< a part is missing without which nobody knows what this replica has said
        refused,  ///< it is somebody else's, or the disk does not do what it must
    };
    Condition condition = Condition::refused;
    /// Why, and what to do: a line for people that goes on after the name of the directory. Of `torn`: where.
    std::string text;
    std::error_code error;
    /// Files of snapshots that cannot be read; an older one is used.
    std::vector<std::string> damaged_snapshots;

    /// A replica that goes on from such a directory has forgotten nothing that it has acknowledged.
    bool may_vote() const noexcept {
        return condition == Condition::fresh || condition == Condition::clean || condition == Condition::torn;
    }
};

/// All that a replica keeps on disk: a lock, who it is, its log and its snapshots.
///
/// 1. It is open once at a time. 2. The log reaches back to `snapshot`, if there is one, or else to the first entry.
/// Its parts have rules of their own for threads. Lives shorter than its disk.
class Directory {
public:
    /// Makes what is missing of a fresh one. Null unless `may_vote`.
    static std::unique_ptr<Directory> open(Disk& disk, const DirectoryOptions& options, DirectoryFinding& finding);

    IdentityFile& identity() noexcept { return identity_; }
    Log& log() noexcept { return *log_; }
    Snapshots& snapshots() noexcept { return snapshots_; }
    /// The one to start from: the newest that is whole.
    const std::optional<SnapshotFacts>& snapshot() const noexcept { return snapshot_; }

private:
    using Condition = DirectoryFinding::Condition;

    explicit Directory(Disk& disk);
    bool prepare(const DirectoryOptions& options, DirectoryFinding& finding);
    bool probe(DirectoryFinding& finding);
    bool open_identity(const DirectoryOptions& options, DirectoryFinding& finding);
    bool open_log(const DirectoryOptions& options, DirectoryFinding& finding);
    bool open_snapshots(DirectoryFinding& finding);
    bool begin_at_snapshot(DirectoryFinding& finding);
    bool empty(const char* folder, std::error_code& error);

    Disk& disk_;
    std::shared_ptr<void> lock_;
    IdentityFile identity_;
    Snapshots snapshots_;
    std::unique_ptr<Log> log_;
    std::optional<SnapshotFacts> snapshot_;
};

}  // namespace cluster::storage
