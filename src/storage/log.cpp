#include "storage/log.hpp"

#include "storage/fault.hpp"
#include "base/packing.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cluster::storage {

using consensus::Entry;
using consensus::HardState;
using consensus::Index;
using consensus::LogId;
using consensus::Write;

namespace {

const std::string making_name = std::string(Log::folder) + "/making";

/// What each segment needs beside its entries: its head, an opening and a seal; and a mark before the seal.
constexpr std::size_t overhead = SegmentHead::size + 3 * RecordHead::size + 32 + RecordHead::size;

LogOptions in_limits(LogOptions options) {
    options.segment_bytes =
        std::clamp(options.segment_bytes / 512 * 512, LogOptions::least_segment, LogOptions::greatest_segment);
    return options;
}

}  // namespace

Log::Log(Disk& disk, const consensus::DiskId& id, const LogOptions& options)
    : disk_(disk), id_(id), options_(in_limits(options)) {}

std::size_t Log::longest_entry(std::uint64_t segment_bytes) noexcept {
    return segment_bytes - overhead - RecordHead::size - RecordHead::alignment;
}

std::unique_ptr<Log> Log::create(Disk& disk, const consensus::DiskId& id, const LogOptions& options,
                                 std::error_code& error) {
    std::unique_ptr<Log> log(new Log(disk, id, options));
    error = disk.make_folder(folder);
    if (!error) error = disk.sync_folder("");
    if (!error) error = remove_if_there(disk, making_name);
    bool more = false;
    if (!error) error = log->make_next(true, more);
    if (error) return nullptr;
    const detail::Lock lock(log->mutex_);
    log->segments_.emplace(log->next_->head.serial, *log->next_);
    log->next_.reset();
    return log;
}

std::error_code Log::fail(std::error_code error) {
    const detail::Lock lock(mutex_);
    if (error && !error_) error_ = error;
    return error;
}

std::error_code Log::error() const {
    const detail::Lock lock(mutex_);
    return error_;
}

LogId Log::base() const {
    const detail::Lock lock(mutex_);
    return index_.base();
}

LogId Log::last() const {
    const detail::Lock lock(mutex_);
    return index_.last();
}

LogIndex Log::index() const {
    const detail::Lock lock(mutex_);
    return index_;
}

std::uint64_t Log::disk_bytes() const {
    const detail::Lock lock(mutex_);
    std::uint64_t bytes = spares_.size() * options_.segment_bytes + made_;
    for (const auto& [serial, segment] : segments_) bytes += segment.head.bytes;
    return bytes + (next_ ? next_->head.bytes : 0);
}

std::error_code Log::write(std::span<const Write> writes) {
    if (const std::error_code before = error()) return before;
    std::deque<Item> items;
    std::deque<std::vector<std::byte>> states;
    LogId last, base;
    Duration time{};
    HardState hard;
    {
        const detail::Lock lock(mutex_);
        last = index_.last();
        base = index_.base();
        time = index_.time();
        hard = index_.state();
    }
    // The terms of entries that are written here are not in the index yet.
    std::vector<LogId> written;
    const auto term_of = [&](Index index) {
        for (auto each = written.rbegin(); each != written.rend(); ++each) {
            if (each->index <= index) return each->term;
        }
        const detail::Lock lock(mutex_);
        return index == base.index ? base.term : index_.term(index);
    };
    const auto time_of = [&](Index index, std::error_code& error) {
        for (auto each = items.rbegin(); each != items.rend(); ++each) {
            const RecordType type = each->head.type;
            if (each->head.id.index != index || type == RecordType::state) continue;
            return each->head.time;
        }
        return time_on_disk(index, error);
    };
    const auto add_state = [&](const HardState& state) {
        hard = state;
        states.push_back(pack_state(state));
        Item item{{}, states.back()};
        item.head.type = RecordType::state;
        items.push_back(item);
    };
    for (const Write& write : writes) {
        if (write.state) {
            // No record speaks of entries behind it, since a crash may come in between; nor of those that it replaces.
            HardState now = *write.state;
            now.commit = std::min(now.commit, last.index);
            if (!write.entries.empty()) now.commit = std::min(now.commit, write.entries.front().id.index - 1);
            add_state(now);
        }
        if (write.begin_after) {
            Item item{{}, {}};
            item.head.type = RecordType::begin;
            item.head.id = base = last = write.begin_after->last;
            item.head.time = time = write.begin_after->time;
            written.assign(1, last);
            items.push_back(item);
        }
        if (!write.entries.empty() && write.entries.front().id.index != last.index + 1) {
            const Index first = write.entries.front().id.index;
            if (first <= std::max(base.index, hard.commit) || first > last.index) return fail(Fault::contradiction);
            Item item{{}, {}};
            item.head.type = RecordType::truncate;
            item.head.id = last = {term_of(first - 1), first - 1};
            std::error_code error;
            item.head.time = time = time_of(first - 1, error);
            if (error) return fail(error);
            std::erase_if(written, [&](const LogId& each) { return each.index >= first; });
            items.push_back(item);
        }
        for (const Entry& entry : write.entries) {
            if (entry.id.index != last.index + 1 || entry.id.term < last.term || entry.time < time) {
                return fail(Fault::contradiction);
            }
            if (entry.body.size() > longest_entry(options_.segment_bytes)) return fail(Fault::too_large);
            Item item{{}, entry.body.view()};
            item.head.type = RecordType::entry;
            item.head.kind = static_cast<std::uint8_t>(entry.kind);
            item.head.id = last = entry.id;
            item.head.time = time = entry.time;
            if (written.empty() || written.back().term != last.term) written.push_back(last);
            items.push_back(item);
        }
        if (write.state && hard != *write.state) {
            if (write.state->commit > last.index) return fail(Fault::contradiction);
            add_state(*write.state);
        }
    }
    return write_items(std::move(items));
}

/// Takes what fits into the last segment, again and again.
std::error_code Log::write_items(std::deque<Item> items) {
    std::vector<std::byte> opening_body;
    while (!items.empty()) {
        const std::uint64_t bytes = [&] {
            const detail::Lock lock(mutex_);
            return segments_.rbegin()->second.head.bytes;
        }();
        if (unopened_) {
            const detail::Lock lock(mutex_);
            opening_body = pack_state(index_.state());
            Item item{{}, opening_body};
            item.head.type = RecordType::opening;
            item.head.id = index_.last();
            item.head.time = index_.time();
            items.push_front(item);
        }
        std::vector<Item> group;
        std::uint64_t end = offset_;
        while (!items.empty()) {
            const std::uint64_t next = end + RecordHead::whole(items.front().body.size());
            if (next + RecordHead::size > bytes) break;  // a seal must find room
            end = next;
            group.push_back(items.front());
            items.pop_front();
        }
        std::error_code error;
        if (!group.empty()) error = write_group(group);
        if (!error && !items.empty()) error = roll();
        if (error) return fail(error);
    }
    return {};
}

/// They fit into the last segment.
std::error_code Log::write_group(std::span<Item> items) {
    Segment segment;
    {
        const detail::Lock lock(mutex_);
        segment = segments_.rbegin()->second;
    }
    buffer_.clear();
    std::vector<std::uint64_t> offsets;
    std::uint32_t chain = chain_;
    for (Item& item : items) {
        item.head.group = group_;
        item.head.last = &item == &items.back();
        item.head.previous = chain;
        offsets.push_back(offset_ + buffer_.size());
        append_record(buffer_, item.head, item.body, segment.seed);
        chain = item.head.checksum;
    }
    if (const std::error_code error = segment.file->write(offset_, buffer_)) return error;
    if (options_.durability == Durability::synced) {
        if (const std::error_code error = segment.file->sync()) return error;
    }
    chain_ = chain;
    offset_ += buffer_.size();
    ++group_;
    marked_ = false;
    unopened_ = false;
    const detail::Lock lock(mutex_);
    for (std::size_t i = 0; i < items.size(); ++i) {
        const LogIndex::Place place{static_cast<std::uint32_t>(segment.head.serial),
                                    static_cast<std::uint32_t>(offsets[i])};
        if (!index_.apply(items[i].head, items[i].body, place)) return Fault::contradiction;
    }
    return {};
}

std::error_code Log::mark() {
    if (const std::error_code before = error()) return before;
    Segment segment;
    {
        const detail::Lock lock(mutex_);
        segment = segments_.rbegin()->second;
    }
    if (marked_ || unopened_ || offset_ + 2 * RecordHead::size > segment.head.bytes) return {};
    RecordHead head;
    head.type = RecordType::mark;
    head.group = group_;
    head.previous = chain_;
    buffer_.clear();
    append_record(buffer_, head, {}, segment.seed);
    if (const std::error_code error = segment.file->write(offset_, buffer_)) return fail(error);
    chain_ = head.checksum;
    offset_ += buffer_.size();
    marked_ = true;
    return {};
}

/// Seals the last segment, and goes on in the next one.
std::error_code Log::roll() {
    for (bool more = true; !next_ && more;) {
        if (const std::error_code error = make_next(true, more)) return error;
    }
    Item seal{{}, {}};
    seal.head.type = RecordType::seal;
    if (const std::error_code error = write_group({&seal, 1})) return error;
    offset_ = SegmentHead::size;
    marked_ = true;
    unopened_ = true;
    const detail::Lock lock(mutex_);
    segments_.emplace(next_->head.serial, *next_);
    next_.reset();
    return {};
}

bool Log::half_full() const {
    const detail::Lock lock(mutex_);
    return offset_ > segments_.rbegin()->second.head.bytes / 2;
}

bool Log::prepare() {
    if (next_ || full_ || error()) return false;
    bool more = false;
    const std::error_code error = make_next(false, more);
    if (error == std::errc::no_space_on_device) {
        full_ = true;
        made_ = 0;
        making_.reset();
        disk_.remove(making_name);  // If it stays, it is removed when a segment is needed.
    } else if (error) {
        fail(error);
    }
    return more && !error;
}

/// A part of the next segment, or all of it.
std::error_code Log::make_next(bool at_once, bool& more) {
    static constexpr std::uint64_t part = std::uint64_t{1} << 20;
    more = false;
    if (!making_ && !spares_.empty()) return adopt_spare();
    std::error_code error;
    if (!making_) {
        error = remove_if_there(disk_, making_name);
        if (!error) making_ = disk_.create(making_name, error);
        made_ = 0;
    }
    const std::vector<std::byte> zeros(static_cast<std::size_t>(std::min(part, options_.segment_bytes)));
    while (!error && made_ < options_.segment_bytes) {
        const std::uint64_t count = std::min<std::uint64_t>(zeros.size(), options_.segment_bytes - made_);
        error = making_->write(made_, std::span(zeros).first(static_cast<std::size_t>(count)));
        made_ += count;
        if (!at_once) break;
    }
    more = !error && made_ < options_.segment_bytes;
    if (error || more) return error;
    made_ = 0;
    return finish_next(std::move(making_), making_name);
}

std::error_code Log::adopt_spare() {
    const std::string name = std::move(spares_.back());
    spares_.pop_back();
    std::error_code error;
    std::unique_ptr<File> file = disk_.open(name, error);
    if (error) return error;
    return finish_next(std::move(file), name);
}

/// The name of a segment stands for a file that is whole: it gets its name when its head is on disk.
std::error_code Log::finish_next(std::unique_ptr<File> file, const std::string& name) {
    Segment segment;
    {
        const detail::Lock lock(mutex_);
        segment.head = {segments_.empty() ? 1 : segments_.rbegin()->first + 1, options_.segment_bytes, id_};
    }
    std::error_code error = file->write(0, pack(segment.head));
    if (!error) error = file->sync();
    if (!error) error = disk_.rename(name, path_of(segment_name(segment.head.serial)));
    if (!error) error = disk_.sync_folder(folder);
    if (error) return error;
    segment.seed = seed_of(segment.head);
    segment.file = std::move(file);
    next_ = std::move(segment);
    full_ = false;
    return {};
}

/// Of an entry that is there, or of `base`.
Duration Log::time_on_disk(Index index, std::error_code& error) const {
    {
        const detail::Lock lock(mutex_);
        if (index == index_.base().index) return index_.base_time();
    }
    const std::vector<Entry> found = read(index, index, 0, error);
    return error ? Duration() : found.front().time;
}

std::error_code Log::cut(Index index) {
    if (const std::error_code before = error()) return before;
    std::uint64_t keep = 0;
    Index base = 0;
    std::shared_ptr<File> kept;
    {
        const detail::Lock lock(mutex_);
        keep = segments_.rbegin()->first;
        const Index first = std::max(index, index_.base().index) + 1;
        if (index_.has(first)) keep = index_.place(first).serial;
        // A segment with no record yet says nothing: what stands before it is needed.
        if (unopened_ && keep == segments_.rbegin()->first && segments_.size() > 1) --keep;
        kept = segments_.at(keep).file;
        base = index_.last_before(keep);
    }
    std::error_code problem;
    const Duration time = time_on_disk(base, problem);
    if (problem) return fail(problem);
    {
        const detail::Lock lock(mutex_);
        index_.forget(base, time);
    }
    // What stays says in sum what goes, so it must be on disk before.
    if (options_.durability == Durability::os_buffers) {
        if (const std::error_code error = kept->sync()) return fail(error);
    }
    for (;;) {
        std::uint64_t serial = 0;
        {
            const detail::Lock lock(mutex_);
            serial = segments_.begin()->first;
            if (serial >= keep) return {};
        }
        const std::string name = path_of(segment_name(serial));
        const bool spare = spares_.size() < options_.spares && [&] {
            const detail::Lock lock(mutex_);
            return segments_.begin()->second.head.bytes == options_.segment_bytes;
        }();
        const std::string spare_name = path_of("spare-" + std::to_string(spare_number_));
        std::error_code error = spare ? disk_.rename(name, spare_name) : disk_.remove(name);
        // One after the other, so that no crash leaves a gap; and before it is used again.
        if (!error) error = disk_.sync_folder(folder);
        if (error) return fail(error);
        if (spare) {
            spares_.push_back(spare_name);
            ++spare_number_;
        }
        const detail::Lock lock(mutex_);
        segments_.erase(segments_.begin());
    }
}

std::vector<Entry> Log::read(Index from, Index to, std::size_t most, std::error_code& error) const {
    error.clear();
    std::vector<Entry> entries;
    std::size_t cost = 0;
    for (Index at = from; at <= to && (entries.empty() || cost < most);) {
        const Run run = run_from(at, to, most - std::min(most, cost));
        if (run.offsets.empty()) {
            if (entries.empty()) error = Fault::not_there;
            break;
        }
        const detail::BlockRef block = read_run(run, error);
        if (error) break;
        const std::span<const std::byte> bytes(block->data(), block->size());
        for (const std::uint32_t offset : run.offsets) {
            const std::span<const std::byte> record = bytes.subspan(offset - run.offsets.front());
            const auto head = read_head(record, run.segment.seed);
            const auto body = head ? read_body(*head, record, run.segment.seed) : std::nullopt;
            if (!body || head->type != RecordType::entry || head->id.index != at) {
                // It may have been cut off meanwhile, and its file used again.
                const detail::Lock lock(mutex_);
                const bool there = index_.has(at) && segments_.contains(run.segment.head.serial);
                error = there ? Fault::damaged : Fault::not_there;
                return {};
            }
            Entry entry{head->id, static_cast<consensus::EntryKind>(head->kind), head->time, Bytes(block, *body)};
            if (!entries.empty() && cost + entry.cost() > most) return entries;
            cost += entry.cost();
            entries.push_back(std::move(entry));
            ++at;
        }
    }
    if (error) entries.clear();
    return entries;
}

/// Neighbours in one segment, from `at` on.
Log::Run Log::run_from(Index at, Index to, std::size_t most) const {
    Run run;
    const detail::Lock lock(mutex_);
    if (!index_.has(at)) return run;
    const LogIndex::Place first = index_.place(at);
    run.segment = segments_.at(first.serial);
    for (; at <= to && index_.has(at); ++at) {
        const LogIndex::Place place = index_.place(at);
        if (place.serial != first.serial || (!run.offsets.empty() && place.offset - first.offset >= most)) break;
        run.offsets.push_back(place.offset);
    }
    return run;
}

/// All records of a run, and what lies between them. Where the last one ends only its head says.
detail::BlockRef Log::read_run(const Run& run, std::error_code& error) const {
    std::array<std::byte, RecordHead::size> head;
    head.fill(std::byte{0});
    run.segment.file->read(run.offsets.back(), head, error);
    if (error) return {};
    const std::uint64_t last = RecordHead::whole(load<std::uint32_t>(head.data()));
    const std::uint64_t end = std::min<std::uint64_t>(run.segment.head.bytes, run.offsets.back() + last);
    const detail::BlockRef block = detail::Block::allocate(static_cast<std::size_t>(end - run.offsets.front()));
    const std::span<std::byte> memory(block->data(), block->size());
    const std::size_t count = run.segment.file->read(run.offsets.front(), memory, error);
    std::ranges::fill(memory.subspan(count), std::byte{0});
    return block;
}

}  // namespace cluster::storage
