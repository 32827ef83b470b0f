#include "sim/replicas/disk.hpp"

#include "sim/replicas/violation.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace cluster::sim::replicas {

using namespace consensus;

namespace {

std::size_t records_of(const Write& write) {
    return (write.state ? 1u : 0u) + (write.begin_after ? 1u : 0u) + write.entries.size();
}

}  // namespace

bool Disk::begin_group() {
    if (waiting_.empty() || !under_way_.empty()) return false;
    under_way_ = std::exchange(waiting_, {});
    return true;
}

std::uint64_t Disk::finish_group() {
    for (const Write& write : under_way_) put(write, records_of(write));
    const std::uint64_t number = under_way_.back().number;
    under_way_.clear();
    return number;
}

void Disk::crash(Chance& chance) {
    std::vector<Write> lost = std::exchange(under_way_, {});
    for (Write& write : std::exchange(waiting_, {})) lost.push_back(std::move(write));
    std::size_t records = 0;
    for (const Write& write : lost) records += records_of(write);
    std::size_t kept = chance.below(records + 1);
    for (const Write& write : lost) {
        const std::size_t here = std::min(kept, records_of(write));
        put(write, here);
        kept -= here;
    }
    if (partial_) partial_->bytes.resize(chance.below(partial_->bytes.size() + 1));
}

void Disk::put(const Write& write, std::size_t records) {
    if (write.state && records != 0) {
        put(*write.state);
        --records;
    }
    if (write.begin_after && records != 0) {
        begin_after(*write.begin_after);
        --records;
    }
    for (std::size_t i = 0; i < std::min(records, write.entries.size()); ++i) put(write.entries[i], i == 0);
}

void Disk::begin_after(const SnapshotId& snapshot) {
    // A newer one may have come since this was ordered.
    check(newest() != nullptr && newest()->id.last.index >= snapshot.last.index,
          "a log is to begin behind a snapshot that is not on disk");
    base_ = snapshot;
    entries_.clear();
}

void Disk::put(const Entry& entry, bool first) {
    if (first) {
        check(entry.id.index > base_.last.index, "what a snapshot holds is written again");
        while (!entries_.empty() && entries_.back().id.index >= entry.id.index) entries_.pop_back();
    }
    check(entry.id.index == last().index + 1, "a write leaves a gap in the log");
    entries_.push_back(entry);
}

Recovered Disk::recover() const {
    Recovered found{state_, base_, base_, {}, {}, {}};
    if (newest() != nullptr && newest()->id.last.index > base_.last.index) found.newest = newest()->id;
    for (const Entry& entry : entries_) {
        if (found.terms.empty() || found.terms.back().term != entry.id.term) {
            found.terms.push_back({entry.id.index, entry.id.term});
        }
        if (entry.kind == EntryKind::configuration) found.configurations.push_back(entry);
    }
    if (!entries_.empty()) found.last = entries_.back();
    return found;
}

bool Disk::holds(const LogId& id) const {
    if (id.index <= base_.last.index || (newest() != nullptr && id.index <= newest()->id.last.index)) return true;
    return id.index <= last().index && entries_[static_cast<std::size_t>(id.index - base_.last.index - 1)].id == id;
}

std::vector<Entry> Disk::read(Index from, Index end, std::size_t most) const {
    std::vector<Entry> found;
    if (from <= base_.last.index) return found;
    std::size_t cost = 0;
    for (Index index = from; index < end && index <= last().index; ++index) {
        const Entry& entry = entries_[static_cast<std::size_t>(index - base_.last.index - 1)];
        cost += entry.cost();
        if (!found.empty() && cost > most) break;
        found.push_back(entry);
    }
    return found;
}

void Disk::add(Snapshot snapshot) {
    if (find(snapshot.id.last) != nullptr) return;
    snapshots_.push_back(std::move(snapshot));
    std::sort(snapshots_.begin(), snapshots_.end(),
              [](const Snapshot& a, const Snapshot& b) { return a.id.last.index < b.id.last.index; });
    if (snapshots_.size() > 2) snapshots_.erase(snapshots_.begin());
}

const Snapshot* Disk::find(const LogId& id) const {
    for (const Snapshot& each : snapshots_) {
        if (each.id.last == id) return &each;
    }
    return nullptr;
}

void Disk::cut(const SnapshotId& base) {
    if (base.last.index <= base_.last.index || base.last.index > last().index) return;
    if (entries_[static_cast<std::size_t>(base.last.index - base_.last.index - 1)].id != base.last) return;
    entries_.erase(entries_.begin(),
                   entries_.begin() + static_cast<std::ptrdiff_t>(base.last.index - base_.last.index));
    base_ = base;
}

std::uint64_t Disk::store(const StoreChunk& stored, bool& complete) {
    const Chunk& chunk = stored.chunk;
    complete = find(chunk.snapshot.last) != nullptr;
    if (complete) return chunk.size;
    const auto source = std::tuple(stored.from, stored.term, chunk.snapshot.last, chunk.size);
    if (!partial_ || partial_->source != source) partial_ = Partial{source, {}};
    auto& bytes = partial_->bytes;
    if (chunk.offset != bytes.size()) return bytes.size();
    bytes.insert(bytes.end(), chunk.bytes.view().begin(), chunk.bytes.view().end());
    check(bytes.size() <= chunk.size, "a snapshot is longer than was said");
    complete = bytes.size() == chunk.size;
    if (complete) {
        add({chunk.snapshot, std::make_shared<const std::vector<std::byte>>(std::move(bytes))});
        partial_.reset();
    }
    return complete ? chunk.size : partial_->bytes.size();
}

}  // namespace cluster::sim::replicas
