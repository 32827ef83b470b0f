#include "replica/files.hpp"

#include "storage/fault.hpp"

#include <algorithm>
#include <utility>

namespace cluster::replica {

using consensus::Index;
using consensus::LogId;
using storage::Fault;

consensus::Recovered recover(storage::Directory& directory) {
    const storage::LogIndex index = directory.log().index();
    consensus::Recovered found;
    found.state = index.state();
    found.base.last = index.base();
    found.base.time = index.base_time();
    if (const auto& snapshot = directory.snapshot()) {
        // The log may reach further back than what is known of the members: that stands in snapshots only.
        found.newest = found.base = snapshot->id;
        for (const storage::SnapshotFacts& each : directory.snapshots().list()) {
            const LogId& last = each.id.last;
            const bool there = last.index >= index.base().index && last.index <= index.last().index &&
                               index.term(last.index) == last.term;
            if (!there) continue;
            found.base = each.id;
            break;
        }
    }
    const Index base = found.base.last.index;
    for (const LogId& each : index.terms()) {
        if (each.index <= base + 1) found.terms.clear();
        found.terms.push_back({std::max(each.index, base + 1), each.term});
    }
    if (index.last().index <= base) found.terms.clear();
    for (const consensus::Entry& each : index.configurations()) {
        if (each.id.index > base) found.configurations.push_back(each);
    }
    if (index.last().index > base) {
        std::error_code error;
        const Index last = index.last().index;
        auto entries = directory.log().read(last, last, 0, error);
        if (error) throw std::system_error(error, "reading the last entry");
        found.last = std::move(entries.front());
    }
    return found;
}

std::vector<consensus::Entry> Files::read(const consensus::Fetch& fetch, std::error_code& error) const {
    std::vector<consensus::Entry> entries = directory_.log().read(fetch.from, fetch.end - 1, fetch.most, error);
    if (error == Fault::not_there) error.clear();
    return error ? std::vector<consensus::Entry>() : entries;
}

std::optional<consensus::Chunk> Files::read(const consensus::FetchChunk& fetch) {
    auto& input = reading_[fetch.reader];
    std::error_code error;
    if (!input || input->facts().id.last != fetch.snapshot) input = directory_.snapshots().read(fetch.snapshot, error);
    if (error == Fault::damaged) directory_.snapshots().mark_damaged(fetch.snapshot);
    if (!input || error) {
        reading_.erase(fetch.reader);
        return std::nullopt;
    }
    const storage::SnapshotFacts& facts = input->facts();
    const std::uint64_t offset = std::min(fetch.offset, facts.size);
    const std::uint64_t size = std::min<std::uint64_t>(fetch.most, facts.size - offset);
    detail::BlockRef block = detail::Block::allocate(static_cast<std::size_t>(size));
    const std::span<std::byte> bytes(block->data(), static_cast<std::size_t>(size));
    const std::size_t read = input->read(offset, bytes, error);
    if (error) {
        if (error == Fault::damaged) directory_.snapshots().mark_damaged(fetch.snapshot);
        reading_.erase(fetch.reader);
        return std::nullopt;
    }
    consensus::Chunk chunk{facts.id, facts.size, fetch.offset, {std::move(block), bytes.first(read)}, facts.checksum};
    if (offset + read == facts.size) reading_.erase(fetch.reader);
    return chunk;
}

Files::Stored Files::store(const consensus::StoreChunk& stored, std::error_code& error) {
    const consensus::Chunk& chunk = stored.chunk;
    const std::tuple source(stored.from, stored.term, chunk.snapshot.last, chunk.size, chunk.checksum);
    if (partial_ && partial_->source != source) partial_.reset();
    if (!partial_) {
        for (const storage::SnapshotFacts& each : directory_.snapshots().list()) {
            if (each.id.last == chunk.snapshot.last) return {.next = chunk.size, .complete = true};
        }
        auto output = directory_.snapshots().receive({chunk.snapshot, chunk.size, chunk.checksum}, error);
        if (error == Fault::busy) {
            error.clear();
            return {.busy = true};
        }
        if (error == Fault::contradiction) {
            // Meanwhile this replica has come so far without it, and has a newer one of its own.
            error.clear();
            return {};
        }
        if (error) return {};
        partial_ = Partial{source, std::move(output)};
    }
    storage::SnapshotOutput& output = *partial_->output;
    error = output.write_at(chunk.offset, chunk.bytes.view());
    if (error == Fault::not_there) error.clear();
    if (error) return {};
    const std::uint64_t next = output.position();
    if (next < chunk.size) return {.next = next};
    error = output.finish();
    partial_.reset();
    if (error == Fault::damaged) {
        error.clear();
        return {.damaged = true};
    }
    return {.next = next, .complete = !error};
}

}  // namespace cluster::replica
