#pragma once

#include "storage/log.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cluster::storage {

/// Reads a log that a process left behind, for one call of `run`. FORMAT.md numbers the rules by which it tells a group
/// that was never finished from damage.
class LogRecovery {
public:
    LogRecovery(Disk& disk, const consensus::DiskId& id, const LogOptions& options, LogFinding& finding);

    std::unique_ptr<Log> run();

private:
    struct Loaded {
        Log::Segment segment;
        std::vector<std::byte> bytes;
    };
    struct Pending {
        RecordHead head;
        std::uint64_t offset = 0;
    };
    /// Where the last whole group lies.
    struct Group {
        std::shared_ptr<File> file;
        std::uint64_t offset = 0;
        std::vector<std::byte> bytes;
    };

    bool find_segments();
    bool keep_spares(std::vector<std::string> names);
    bool read_segments();
    bool load(std::uint64_t serial, Loaded& loaded);
    bool replay(const Loaded& loaded);
    bool take_record(const Loaded& loaded, const RecordHead& head);
    bool take_group(const Loaded& loaded);
    bool end_here(const Loaded& loaded);
    bool take_unused(Loaded loaded);
    bool write_again();
    bool damaged(std::uint64_t offset, const std::string& what);
    bool failed(std::error_code error);

    Disk& disk_;
    LogFinding& finding_;
    std::unique_ptr<Log> log_;
    std::vector<std::uint64_t> serials_;
    std::string name_;  ///< of the file that is read

    // How far it has come.
    std::uint64_t group_ = 1;  ///< that of the next record
    std::uint32_t chain_ = 0;
    std::uint64_t offset_ = 0;      ///< of the next record
    bool first_ = true;             ///< no record has been read
    bool ended_ = false;            ///< the log ends in the segment that was read last
    std::vector<Pending> pending_;  ///< a group whose end has not been seen
    Group last_;
    LogIndex index_;
};

}  // namespace cluster::storage
