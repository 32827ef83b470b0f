#include "storage/log_recovery.hpp"

#include "storage/fault.hpp"

#include <algorithm>
#include <utility>

namespace cluster::storage {

std::unique_ptr<Log> Log::open(Disk& disk, const consensus::DiskId& id, const LogOptions& options,
                               LogFinding& finding) {
    return LogRecovery(disk, id, options, finding).run();
}

LogRecovery::LogRecovery(Disk& disk, const consensus::DiskId& id, const LogOptions& options, LogFinding& finding)
    : disk_(disk), finding_(finding), log_(new Log(disk, id, options)) {}

bool LogRecovery::damaged(std::uint64_t offset, const std::string& what) {
    finding_.condition = LogFinding::Condition::damaged;
    finding_.where = name_ + ", byte " + std::to_string(offset) + ": " + what;
    return false;
}

bool LogRecovery::failed(std::error_code error) {
    finding_.error = error;
    finding_.where = name_;
    return false;
}

std::unique_ptr<Log> LogRecovery::run() {
    finding_ = {};
    if (!find_segments() || !read_segments()) return nullptr;
    if (!ended_) {
        damaged(offset_, "the segment after this one is missing");
    } else if (index_.state().commit > index_.last().index) {
        damaged(offset_, "the log ends with entry " + std::to_string(index_.last().index) + ", but entry " +
                             std::to_string(index_.state().commit) + " is committed");
    }
    if (finding_.condition == LogFinding::Condition::damaged || !write_again()) return nullptr;
    log_->chain_ = chain_;
    log_->group_ = group_;
    log_->offset_ = offset_;
    log_->unopened_ = offset_ == SegmentHead::size;
    log_->marked_ = log_->unopened_ || !pending_.empty();
    const detail::Lock lock(log_->mutex_);
    log_->index_ = std::move(index_);
    return std::move(log_);
}

/// Names in the folder; removes what a crash left half made.
bool LogRecovery::find_segments() {
    name_ = Log::folder;
    std::error_code error;
    const std::vector<std::string> names = disk_.list(Log::folder, error);
    if (error == std::errc::no_such_file_or_directory) return false;
    if (error) return failed(error);
    std::vector<std::string> spares;
    for (const std::string& name : names) {
        if (const auto serial = serial_of(name)) serials_.push_back(*serial);
        if (name.starts_with("spare-")) spares.push_back(Log::path_of(name));
    }
    if (serials_.empty()) return false;
    finding_.condition = LogFinding::Condition::whole;
    std::ranges::sort(serials_);
    for (std::size_t i = 1; i < serials_.size(); ++i) {
        if (serials_[i] == serials_[i - 1] + 1) continue;
        name_ = Log::path_of(segment_name(serials_[i - 1]));
        return damaged(0, "the segment after this one is missing");
    }
    if (const std::error_code problem = remove_if_there(disk_, Log::path_of("making"))) return failed(problem);
    return keep_spares(std::move(spares));
}

/// A spare has the length of a segment, or is none.
bool LogRecovery::keep_spares(std::vector<std::string> names) {
    std::ranges::sort(names);
    for (std::string& name : names) {
        std::error_code error;
        const std::unique_ptr<File> file = disk_.open(name, error);
        const std::uint64_t size = error ? 0 : file->size(error);
        std::uint64_t number = 0;
        for (const char c : name.substr(name.find('-') + 1)) {
            if (c >= '0' && c <= '9') number = number * 10 + static_cast<std::uint64_t>(c - '0');
        }
        log_->spare_number_ = std::max(log_->spare_number_, number + 1);
        if (!error && size == log_->options_.segment_bytes && log_->spares_.size() < log_->options_.spares) {
            log_->spares_.push_back(std::move(name));
        } else if (const std::error_code problem = remove_if_there(disk_, name)) {
            return failed(problem);
        }
    }
    return true;
}

bool LogRecovery::read_segments() {
    for (const std::uint64_t serial : serials_) {
        Loaded loaded;
        if (!load(serial, loaded)) return false;
        if (ended_) {
            if (!take_unused(std::move(loaded))) return false;
        } else {
            if (!replay(loaded)) return false;
            const detail::Lock lock(log_->mutex_);
            log_->segments_.emplace(serial, std::move(loaded.segment));
        }
    }
    return true;
}

bool LogRecovery::load(std::uint64_t serial, Loaded& loaded) {
    name_ = Log::path_of(segment_name(serial));
    std::error_code error;
    Log::Segment& segment = loaded.segment;
    segment.file = disk_.open(name_, error);
    const std::uint64_t size = error ? 0 : segment.file->size(error);
    if (error) return failed(error);
    if (size < SegmentHead::size || size > LogOptions::greatest_segment) {
        return damaged(0, "the file has " + std::to_string(size) + " bytes");
    }
    loaded.bytes.resize(static_cast<std::size_t>(size));
    const std::size_t count = segment.file->read(0, loaded.bytes, error);
    if (error) return failed(error);
    const auto head = unpack_segment_head(loaded.bytes);
    if (!head || head->serial != serial || head->bytes != size || count != size) {
        return damaged(0, "this is not the head of segment " + std::to_string(serial));
    }
    if (head->disk != log_->id_) return damaged(0, "the segment belongs to another disk");
    segment.head = *head;
    segment.seed = seed_of(*head);
    return true;
}

/// Until a seal, or until what follows is no record of this log.
bool LogRecovery::replay(const Loaded& loaded) {
    offset_ = SegmentHead::size;
    if (first_) group_ = 1;
    const auto all = std::span<const std::byte>(loaded.bytes);
    for (;;) {
        const auto rest = all.subspan(static_cast<std::size_t>(offset_));
        const auto head = read_head(rest, loaded.segment.seed);
        if (!head || !read_body(*head, rest, loaded.segment.seed) || !take_record(loaded, *head)) {
            return end_here(loaded);
        }
        if (!head->last) continue;
        if (!take_group(loaded)) return false;
        if (head->type == RecordType::seal) return true;
    }
}

bool LogRecovery::take_record(const Loaded& loaded, const RecordHead& head) {
    const bool begins = offset_ == SegmentHead::size;
    if ((head.type == RecordType::opening) != begins) return false;
    // What stood before the first segment is gone, so its opening is believed.
    const bool believed = first_ && loaded.segment.head.serial > 1;
    if (!believed && (head.group != group_ || head.previous != chain_)) return false;
    group_ = head.group;
    chain_ = head.checksum;
    pending_.push_back({head, offset_});
    offset_ += head.whole();
    first_ = false;
    return true;
}

bool LogRecovery::take_group(const Loaded& loaded) {
    const auto all = std::span<const std::byte>(loaded.bytes);
    for (const Pending& each : pending_) {
        const auto body = all.subspan(static_cast<std::size_t>(each.offset) + RecordHead::size, each.head.length);
        const LogIndex::Place place{static_cast<std::uint32_t>(loaded.segment.head.serial),
                                    static_cast<std::uint32_t>(each.offset)};
        if (!index_.apply(each.head, body, place)) {
            return damaged(each.offset, "the record contradicts those before it");
        }
    }
    const std::uint64_t begin = pending_.front().offset;
    last_ = {loaded.segment.file, begin, {}};
    last_.bytes.assign(all.begin() + static_cast<std::ptrdiff_t>(begin),
                       all.begin() + static_cast<std::ptrdiff_t>(offset_));
    pending_.clear();
    ++group_;
    return true;
}

/// Decides whether what follows is a group that was never finished, or damage.
bool LogRecovery::end_here(const Loaded& loaded) {
    const auto all = std::span<const std::byte>(loaded.bytes);
    if (!last_.file && loaded.segment.head.serial > 1) {
        return damaged(offset_, "the segment does not say what stood before it");
    }
    bool torn = false;
    for (std::uint64_t at = offset_; at + RecordHead::size <= all.size(); at += RecordHead::alignment) {
        const auto head = read_head(all.subspan(static_cast<std::size_t>(at)), loaded.segment.seed);
        if (!head || head->group < group_) continue;
        if (head->group > group_) {
            return damaged(
                offset_, "no record, but behind it, in byte " + std::to_string(at) + ", is one that was written later");
        }
        torn = true;
    }
    // Marks may stay: they say nothing of what follows.
    const auto cut =
        std::ranges::find_if(pending_, [](const Pending& each) { return each.head.type != RecordType::mark; });
    if (cut != pending_.end()) {
        torn = true;
        offset_ = cut->offset;
        chain_ = cut->head.previous;
        pending_.erase(cut, pending_.end());
    }
    ended_ = true;
    if (!torn) return true;
    finding_.condition = LogFinding::Condition::torn;
    finding_.where = name_ + ", byte " + std::to_string(offset_) + ": what was written here was not finished";
    // None of it may pass for a part of what is written there next.
    const std::vector<std::byte> zeros(loaded.bytes.size() - static_cast<std::size_t>(offset_));
    std::error_code error = loaded.segment.file->write(offset_, zeros);
    if (!error) error = loaded.segment.file->sync();
    return error ? failed(error) : true;
}

/// A segment behind the end of the log was made in advance, and has no record.
bool LogRecovery::take_unused(Loaded loaded) {
    const auto all = std::span<const std::byte>(loaded.bytes);
    if (log_->next_) return damaged(0, "the log ends two segments before this one");
    for (std::size_t at = SegmentHead::size; at + RecordHead::size <= all.size(); at += RecordHead::alignment) {
        if (read_head(all.subspan(at), loaded.segment.seed)) {
            return damaged(at, "a record, but the log ends before this segment");
        }
    }
    log_->next_ = std::move(loaded.segment);
    return true;
}

/// The process that wrote the last group may have ended before it was on disk, or because a sync failed: then the
/// system has forgotten that it is not. So it is written again before anybody relies on it.
bool LogRecovery::write_again() {
    std::error_code error;
    if (last_.file) error = last_.file->write(last_.offset, last_.bytes);
    if (last_.file && !error) error = last_.file->sync();
    if (!error) error = disk_.sync_folder(Log::folder);
    return error ? failed(error) : true;
}

}  // namespace cluster::storage
