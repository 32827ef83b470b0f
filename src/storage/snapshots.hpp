#pragma once

#include "base/mutex.hpp"
#include "consensus/entry.hpp"
#include "storage/disk.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cluster::storage {

/// What tells a snapshot from all others, even from one of the same place that another replica wrote.
struct SnapshotFacts {
    consensus::SnapshotId id;
    std::uint64_t size = 0;      ///< bytes of its contents
    std::uint32_t checksum = 0;  ///< CRC-32C of its contents
    friend bool operator==(const SnapshotFacts&, const SnapshotFacts&) = default;
};

class Snapshots;

/// A snapshot that is written, or received. Until `finish` has succeeded no other one may begin. Destroyed before that,
/// it leaves nothing. Used by one
/// thread at a time. Lives shorter than its `Snapshots`.
class SnapshotOutput {
public:
    SnapshotOutput(const SnapshotOutput&) = delete;
    SnapshotOutput& operator=(const SnapshotOutput&) = delete;
    ~SnapshotOutput();

    /// How many bytes there are: where the next ones belong.
    std::uint64_t position() const noexcept { return facts_.size; }
    std::error_code write(std::span<const std::byte> bytes);
    /// Bytes that belong to `offset`. What is there already is passed over; `Fault::not_there` if some before it are
    /// missing, and nothing has changed then. So whoever sends them goes on at `position` after a break.
    std::error_code write_at(std::uint64_t offset, std::span<const std::byte> bytes);
    /// On disk, in its place, when this returns; then older ones than the newest two are removed. `Fault::damaged` if
    /// a snapshot that was received is not the one that was announced.
    std::error_code finish();

    const std::optional<SnapshotFacts>& expected() const noexcept { return expected_; }

private:
    friend class Snapshots;
    SnapshotOutput(Snapshots& snapshots, consensus::SnapshotId id, std::unique_ptr<File> file);
    std::error_code flush();
    std::error_code save();

    Snapshots& snapshots_;
    SnapshotFacts facts_;
    std::optional<SnapshotFacts> expected_;
    std::unique_ptr<File> file_;
    std::vector<std::byte> block_;
    std::uint64_t at_ = 0;   ///< where the next block begins in the file
    std::error_code error_;  ///< the first one; then nothing is written any more
    bool finished_ = false;
};

/// A snapshot that is read. It can be read until this is destroyed, even if it is removed. Any thread, one at a time.
class SnapshotInput {
public:
    const SnapshotFacts& facts() const noexcept { return facts_; }
    /// Fills `out` from `offset` on, and returns how much there was. `Fault::damaged` if that is not what was written.
    std::size_t read(std::uint64_t offset, std::span<std::byte> out, std::error_code& error);
    /// Reads all of it. `Fault::damaged` if it is not what was written.
    std::error_code verify();

private:
    friend class Snapshots;
    std::error_code open(std::unique_ptr<File> file);
    std::error_code load(std::uint64_t block);

    std::unique_ptr<File> file_;
    SnapshotFacts facts_;
    std::uint64_t begin_ = 0;              ///< of the first block in the file
    std::optional<std::uint64_t> loaded_;  ///< which block is in memory
    std::vector<std::byte> block_;
};

/// The snapshots of one replica, in a folder of their own. Thread-safe. Lives shorter than its disk.
///
/// At most one is written or received at a time. The newest two are kept. FORMAT.md has the layout.
class Snapshots {
public:
    static constexpr const char* folder = "snapshots";
    /// Bytes that have a checksum of their own; so much of a snapshot is in memory.
    static constexpr std::size_t block_bytes = std::size_t{64} << 10;
    static constexpr std::size_t keep = 2;
    static constexpr std::size_t longest_configuration = std::size_t{1} << 20;

    explicit Snapshots(Disk& disk) : disk_(disk) {}

    /// Makes the folder if need be, removes what was never finished, and reads the heads of the others. Once, first.
    std::error_code open();

    /// Oldest first: those whose head is good.
    std::vector<SnapshotFacts> list() const;
    /// The files whose head is not good. They are removed when a snapshot has been finished.
    std::vector<std::string> damaged() const;
    /// Takes one out of the list, because reading it has shown damage.
    void mark_damaged(const consensus::LogId& last);

    /// `Fault::busy` while another one is under way; `Fault::contradiction` if there is one that is as new.
    std::unique_ptr<SnapshotOutput> begin(const consensus::SnapshotId& id, std::error_code& error);
    std::unique_ptr<SnapshotOutput> receive(const SnapshotFacts& facts, std::error_code& error);
    std::unique_ptr<SnapshotInput> read(const consensus::LogId& last, std::error_code& error) const;

private:
    friend class SnapshotOutput;
    std::error_code finish(const SnapshotFacts& facts);
    void leave();

    Disk& disk_;
    mutable detail::Mutex mutex_;
    std::vector<SnapshotFacts> list_ GUARDED_BY(mutex_);
    std::vector<std::string> damaged_ GUARDED_BY(mutex_);
    bool busy_ GUARDED_BY(mutex_) = false;
};

}  // namespace cluster::storage
