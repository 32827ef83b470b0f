#pragma once

#include "consensus/effect.hpp"
#include "consensus/founding.hpp"
#include "consensus/raft.hpp"
#include "replica/files.hpp"
#include "sim/replicas/chance.hpp"
#include "storage/directory.hpp"
#include "storage/simulated_disk.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace cluster::sim::replicas {

/// What one replica keeps: the shipping storage and recovery, on a simulated disk. What the threads of a replica do
/// with it happens here in one step each, when its time has come.
///
/// Any step may fail: then `failed`, and the process must end. `crash` leaves what such a disk may leave, and recovers
/// it as the next start does; what is asked for then is what was found.
class Disk {
public:
    struct Options {
        consensus::DiskId id;
        std::string node;
        Bytes configuration;  ///< with which the log begins, if it is known
        std::uint64_t seed = 0;
        storage::LogOptions log;
    };
    explicit Disk(Options options);

    bool failed() const noexcept { return static_cast<bool>(error_); }
    /// The process ends, with or without its machine: if `power_fails` says so, what was not synced may be lost.
    void crash(Chance& chance, bool power_fails);
    /// It was found damaged, and nobody may use it any more.
    bool lost() const noexcept { return !why_lost_.empty(); }
    const std::string& why_lost() const noexcept { return why_lost_; }

    // The log. All that waits is written as one group, in its order.
    void order(consensus::Write write) { waiting_.push_back(std::move(write)); }
    /// All that waits is now under way. False if nothing waits, or some is under way already.
    bool begin_group();
    /// What was under way is durable: the number of its last write. 0 if that has failed.
    std::uint64_t finish_group();
    /// The log may let go of what lies up to there, as soon as all that is ordered now is durable.
    void cut(consensus::Index index);

    const storage::Identity& identity() const { return directory_->identity().value(); }
    void keep(const consensus::Promise& promise, bool founded);

    // For others and from others.
    std::vector<consensus::Entry> read(const consensus::Fetch& fetch);
    std::optional<consensus::Chunk> read(const consensus::FetchChunk& fetch);
    replica::Files::Stored store(const consensus::StoreChunk& stored);

    // Snapshots of the service. One that cannot be written is no failure.
    /// False if there is one that is as new.
    bool begin_snapshot(const consensus::SnapshotId& id);
    bool finish_snapshot(std::span<const std::byte> contents);
    /// `write` may throw what the disk says.
    bool finish_snapshot(const std::function<void(storage::SnapshotOutput&)>& write);
    /// The contents of one that is there.
    std::vector<std::byte> load(const consensus::LogId& last);
    /// The same, for one who reads by itself; `read` may throw what the disk says.
    void load(const consensus::LogId& last, const std::function<void(storage::SnapshotInput&)>& read);

    // What is durable, or was when it was found damaged.
    consensus::Recovered recover() const;
    std::vector<consensus::Entry> entries_behind(consensus::Index index) const;
    const consensus::HardState& state() const noexcept { return index_.state(); }
    consensus::LogId last() const noexcept { return index_.last(); }
    std::optional<consensus::Term> term_at(consensus::Index index) const;
    /// Whether the log has that entry, or what it did is in a snapshot.
    bool holds(const consensus::LogId& id) const;
    /// Oldest first; at most two.
    const std::vector<storage::SnapshotFacts>& snapshots() const noexcept { return snapshots_; }
    consensus::Index newest() const noexcept { return snapshots_.empty() ? 0 : snapshots_.back().id.last.index; }

    // Faults.
    /// One of the next steps fails: the machine stops in its midst, a sync fails, or the disk is full.
    void fail_soon(Chance& chance);
    /// At rest a bit turns or a file vanishes, if that can be told from what was never finished. If this returns true,
    /// the process must end before it writes again, and its machine keep its power.
    bool harm(Chance& chance);
    bool harmed() const noexcept { return harmed_; }
    /// Nothing fails any more.
    void repair();

private:
    void open(Chance& chance, bool power_fails);
    bool write(const std::vector<consensus::Write>& writes);
    void stop(Chance& chance, bool power_fails);
    void cut_now();
    void look();
    void note(std::error_code error);

    Options options_;
    SimulatedDisk files_on_disk_;
    std::unique_ptr<storage::Directory> directory_;
    std::optional<replica::Files> files_;
    std::unique_ptr<storage::SnapshotOutput> saving_;
    std::vector<consensus::Write> under_way_;
    std::vector<consensus::Write> waiting_;
    consensus::Index cut_ = 0;  ///< to be done when the write `cut_after_` is durable; 0: nothing
    std::uint64_t cut_after_ = 0;
    std::error_code error_;
    bool marked_ = false;     ///< the newest group has a mark behind it
    bool disturbed_ = false;  ///< `fail_soon` since it was opened
    bool harmed_ = false;     ///< `harm` since it was opened
    std::string why_lost_;
    storage::LogIndex index_;
    std::vector<storage::SnapshotFacts> snapshots_;
};

}  // namespace cluster::sim::replicas
