#pragma once

#include "consensus/message.hpp"
#include "consensus/raft.hpp"
#include "sim/replicas/chance.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

namespace cluster::sim::replicas {

struct Snapshot {
    consensus::SnapshotId id;
    std::shared_ptr<const std::vector<std::byte>> bytes;
};

/// What one replica has on its disk: a log with hard states, and the newest snapshots. All that waits is written as one
/// group, in its order. After a crash some first part of what was not reported is there, too: a hard state without the
/// entries that were written with it, or the first of them.
class Disk {
public:
    /// An empty log behind `begin`.
    explicit Disk(consensus::SnapshotId begin) : base_(std::move(begin)) {}

    void order(consensus::Write write) { waiting_.push_back(std::move(write)); }
    /// All that waits is now under way. False if nothing waits, or some is under way already.
    bool begin_group();
    /// What was under way is durable: the number of its last write.
    std::uint64_t finish_group();
    /// The process ends.
    void crash(Chance& chance);
    consensus::Recovered recover() const;

    // What is durable.
    const consensus::HardState& state() const noexcept { return state_; }
    const consensus::SnapshotId& base() const noexcept { return base_; }
    consensus::LogId last() const noexcept { return entries_.empty() ? base_.last : entries_.back().id; }
    /// Whether the log has that entry, or what it did is in a snapshot.
    bool holds(const consensus::LogId& id) const;
    /// Entries from `from` on, within `most` bytes, but at least one; none if that is not there.
    std::vector<consensus::Entry> read(consensus::Index from, consensus::Index end, std::size_t most) const;

    // Snapshots. Each is durable when it is here. The two newest are kept.
    void add(Snapshot snapshot);
    /// Null if there is none.
    const Snapshot* newest() const noexcept { return snapshots_.empty() ? nullptr : &snapshots_.back(); }
    const Snapshot* oldest() const noexcept { return snapshots_.empty() ? nullptr : &snapshots_.front(); }
    const Snapshot* find(const consensus::LogId& id) const;
    /// The log begins behind it from now on, if it reaches so far.
    void cut(const consensus::SnapshotId& base);
    /// Stores a piece of a snapshot if it follows what is there. How far it is stored; `complete` if that is all of it.
    std::uint64_t store(const consensus::StoreChunk& stored, bool& complete);

private:
    void put(const consensus::HardState& state) { state_ = state; }
    void begin_after(const consensus::SnapshotId& snapshot);
    void put(const consensus::Entry& entry, bool first);
    /// The first `records` of it: the state, where the log begins, and each entry are one each.
    void put(const consensus::Write& write, std::size_t records);

    struct Partial {
        /// From whom, in which term, of which snapshot and of what size.
        std::tuple<consensus::DiskId, consensus::Term, consensus::LogId, std::uint64_t> source;
        std::vector<std::byte> bytes;
    };

    consensus::HardState state_;
    consensus::SnapshotId base_;
    std::deque<consensus::Entry> entries_;  ///< behind `base_`
    std::vector<Snapshot> snapshots_;       ///< oldest first
    std::optional<Partial> partial_;
    std::vector<consensus::Write> under_way_;
    std::vector<consensus::Write> waiting_;
};

}  // namespace cluster::sim::replicas
