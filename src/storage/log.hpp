#pragma once

#include "base/mutex.hpp"
#include "consensus/write.hpp"
#include "storage/disk.hpp"
#include "storage/log_index.hpp"
#include "storage/segment.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cluster::storage {

/// What `synced` promises survives a loss of power; what `os_buffers` promises survives the end of the process only.
enum class Durability { synced, os_buffers };

struct LogOptions {
    static constexpr std::uint64_t least_segment = 1024;
    static constexpr std::uint64_t greatest_segment = std::uint64_t{1} << 31;

    /// Of each new segment, a multiple of 512. The longest entry is some 300 bytes shorter: see `Log::longest_entry`.
    std::uint64_t segment_bytes = std::uint64_t{16} << 20;
    /// Segments that were cut off and are kept to be used again.
    std::size_t spares = 4;
    Durability durability = Durability::synced;
};

/// How a log was found.
struct LogFinding {
    enum class Condition {
        none,  ///< there is no log
        whole,
        torn,     ///< what was written last was not finished, and has been cut off
        damaged,  ///< something that was on disk is not there any more, so there is no `Log`
    };
    Condition condition = Condition::none;
    /// Of what is torn or damaged: the file, the byte in it, and what is wrong.
    std::string where;
    /// The disk refused to read, or to repair a torn tail. There is no `Log` then.
    std::error_code error;
};

/// The log of one replica: hard states and entries, in segments of one folder; FORMAT.md has the layout.
///
/// What is written at once is a *group*. 1. Groups are on disk in order: the next one is begun when the one before is.
/// 2. After a crash a group is there as a whole, or not at all. One call of `write` makes one group, or several where a
/// segment ends. 3. After the first failed write or sync every call returns that error, and no file is used again.
///
/// One thread writes. `read`, `index`, `base`, `last` and `error` are thread-safe. Lives shorter than its disk.
class Log {
public:
    /// The folder of its segments.
    static constexpr const char* folder = "log";
    /// The name of a file in it, as the disk knows it.
    static std::string path_of(const std::string& name) { return std::string(folder) + '/' + name; }

    /// Makes an empty log. There must be none.
    static std::unique_ptr<Log> create(Disk& disk, const consensus::DiskId& id, const LogOptions& options,
                                       std::error_code& error);
    /// Reads all of it, one segment in memory at a time. Null unless it is whole or was torn.
    static std::unique_ptr<Log> open(Disk& disk, const consensus::DiskId& id, const LogOptions& options,
                                     LogFinding& finding);

    /// The longest body of an entry, with which it just fits into an empty segment.
    static std::size_t longest_entry(std::uint64_t segment_bytes) noexcept;

    /// Returns when all of it is on disk. Entries must follow what is there, or replace all
    /// from some index on that is not committed; `commit` must not be behind the last one.
    std::error_code write(std::span<const consensus::Write> writes);
    /// Writes, without a sync, that what was written last is on disk: damage of it then shows after the end of this
    /// process, or as soon as the mark has reached the disk. Does nothing if there is one already.
    std::error_code mark();
    /// Lets go of all segments in which there are only entries up to `index`, none of which may be replaced by what is
    /// written later. `base` may stay below it.
    std::error_code cut(consensus::Index index);
    /// Prepares a part of the segment after this one. True if there is more to prepare. If that fails because the disk
    /// is full, it is not tried again until a segment is needed.
    bool prepare();
    /// Whether more than half of the last segment is used.
    bool half_full() const;

    /// The entry before the first one that is there, and the last one.
    consensus::LogId base() const;
    consensus::LogId last() const;
    /// All that is on disk, but for the bodies. A copy: for a start, not for each turn.
    LogIndex index() const;
    /// The entries from `from` to `to`, as long as all of them cost at most `most` bytes; at least one. They share
    /// memory. `Fault::not_there` if `from` is not in the log; `Fault::damaged` is no failure of the log.
    std::vector<consensus::Entry> read(consensus::Index from, consensus::Index to, std::size_t most,
                                       std::error_code& error) const;
    /// The first error of writing, if there was one.
    std::error_code error() const;
    /// Bytes in the folder, in files of segments and spares.
    std::uint64_t disk_bytes() const;

private:
    friend class LogRecovery;

    struct Segment {
        SegmentHead head;
        std::shared_ptr<File> file;
        std::uint32_t seed = 0;
    };
    /// A record that is to be written.
    struct Item {
        RecordHead head;
        std::span<const std::byte> body;
    };

    /// Entries that are neighbours in one segment: where each begins.
    struct Run {
        Segment segment;
        std::vector<std::uint32_t> offsets;
    };

    Log(Disk& disk, const consensus::DiskId& id, const LogOptions& options);

    std::error_code write_items(std::deque<Item> items);
    std::error_code write_group(std::span<Item> items);
    std::error_code roll();
    std::error_code make_next(bool at_once, bool& more);
    std::error_code adopt_spare();
    std::error_code finish_next(std::unique_ptr<File> file, const std::string& name);
    std::error_code fail(std::error_code error);
    Duration time_on_disk(consensus::Index index, std::error_code& error) const;
    Run run_from(consensus::Index at, consensus::Index to, std::size_t most) const;
    detail::BlockRef read_run(const Run& run, std::error_code& error) const;

    Disk& disk_;
    const consensus::DiskId id_;
    const LogOptions options_;

    // Of the thread that writes.
    std::uint64_t offset_ = SegmentHead::size;  ///< where the next record begins in the last segment
    std::uint32_t chain_ = 0;                   ///< checksum of the last record
    std::uint64_t group_ = 1;                   ///< number of the next group
    bool marked_ = true;                        ///< the next group has begun with a mark
    bool unopened_ = true;                      ///< the last segment has no record yet
    std::optional<Segment> next_;               ///< is ready to follow the last one
    std::unique_ptr<File> making_;              ///< is being filled with zeros
    std::uint64_t made_ = 0;
    bool full_ = false;  ///< there was no room to prepare a segment
    std::vector<std::string> spares_;
    std::uint64_t spare_number_ = 0;
    std::vector<std::byte> buffer_;

    mutable detail::Mutex mutex_;
    std::map<std::uint64_t, Segment> segments_ GUARDED_BY(mutex_);
    LogIndex index_ GUARDED_BY(mutex_);
    std::error_code error_ GUARDED_BY(mutex_);
};

}  // namespace cluster::storage
