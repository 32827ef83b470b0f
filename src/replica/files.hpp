#pragma once

#include "consensus/effect.hpp"
#include "consensus/raft.hpp"
#include "storage/directory.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

namespace cluster::replica {

/// What is on disk, for a start. Throws `std::system_error` if it cannot be read.
consensus::Recovered recover(storage::Directory& directory);

/// What a replica reads and stores beside what its log thread writes: entries that are not in memory any more, pieces
/// of snapshots for others and from others. Used by one thread. Lives shorter than its directory.
class Files {
public:
    explicit Files(storage::Directory& directory) : directory_(directory) {}

    /// None if they are not there any more.
    std::vector<consensus::Entry> read(const consensus::Fetch& fetch, std::error_code& error) const;
    /// Nothing if that snapshot is not there any more, or damaged. What is sent to one member stays readable until its
    /// last piece was read, even if the snapshot is removed.
    std::optional<consensus::Chunk> read(const consensus::FetchChunk& fetch);

    struct Stored {
        std::uint64_t next = 0;  ///< so much of it is there
        bool complete = false;   ///< whole, and on disk
        bool damaged = false;    ///< what has come was not what was announced; it is dropped
        bool busy = false;       ///< nothing was done, because a snapshot is being written: try again after that
    };
    Stored store(const consensus::StoreChunk& stored, std::error_code& error);
    /// What has come of a snapshot is not needed any more, or is asked for again.
    void drop_partial() noexcept { partial_.reset(); }

private:
    struct Partial {
        /// From whom, in which term, of which snapshot, of what size and checksum: all must come from the same.
        std::tuple<consensus::DiskId, consensus::Term, consensus::LogId, std::uint64_t, std::uint32_t> source;
        std::unique_ptr<storage::SnapshotOutput> output;
    };

    storage::Directory& directory_;
    std::map<consensus::DiskId, std::unique_ptr<storage::SnapshotInput>> reading_;
    std::optional<Partial> partial_;
};

}  // namespace cluster::replica
