#include "storage/snapshots.hpp"

#include "storage/crc32c.hpp"
#include "storage/fault.hpp"
#include "base/packing.hpp"
#include "storage/segment.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace cluster::storage {

using consensus::LogId;
using consensus::SnapshotId;

namespace {

constexpr std::string_view snapshot_magic = "CLUSTSNP";
constexpr std::uint32_t snapshot_version = 1;
constexpr std::size_t snapshot_head_bytes = 64;
constexpr std::size_t snapshot_checksum_at = snapshot_head_bytes - 4;
constexpr std::size_t trailer = 4;  ///< the checksum behind each block

const std::string unfinished_snapshot = std::string(Snapshots::folder) + "/unfinished";

std::string snapshot_path(const std::string& name) {
    return std::string(Snapshots::folder) + '/' + name;
}

std::string snapshot_name(const LogId& last) {
    return segment_name(last.term) + '-' + segment_name(last.index);
}

std::vector<std::byte> head_of(const SnapshotFacts& facts) {
    Packer out;
    out.raw(std::as_bytes(std::span(snapshot_magic))).number(snapshot_version);
    out.number(static_cast<std::uint32_t>(facts.id.configuration.size()));
    out.number(facts.id.last.index).number(facts.id.last.term);
    out.number(static_cast<std::uint64_t>(facts.id.time.count()));
    out.number(facts.size).number(facts.checksum);
    out.bytes().resize(snapshot_head_bytes);
    const std::uint32_t checksum =
        crc32c(facts.id.configuration.view(), crc32c(std::span(out.bytes()).first(snapshot_checksum_at)));
    store(out.bytes().data() + snapshot_checksum_at, checksum);
    out.raw(facts.id.configuration.view());
    return std::move(out.bytes());
}

std::optional<SnapshotFacts> facts_in(const File& file, std::error_code& error) {
    std::array<std::byte, snapshot_head_bytes> head;
    const std::size_t count = file.read(0, head, error);
    if (error || count != head.size()) return std::nullopt;
    Unpacker in(std::span<const std::byte>(head).subspan(snapshot_magic.size() + 4));
    const auto configuration = in.number<std::uint32_t>();
    SnapshotFacts facts;
    facts.id.last.index = in.number<std::uint64_t>();
    facts.id.last.term = in.number<std::uint64_t>();
    facts.id.time = Duration(static_cast<std::int64_t>(in.number<std::uint64_t>()));
    facts.size = in.number<std::uint64_t>();
    facts.checksum = in.number<std::uint32_t>();
    if (configuration > Snapshots::longest_configuration) return std::nullopt;
    std::vector<std::byte> bytes(configuration);
    if (file.read(snapshot_head_bytes, bytes, error) != bytes.size() || error) return std::nullopt;
    facts.id.configuration = Bytes(bytes);
    const std::vector<std::byte> expected = head_of(facts);
    if (!std::ranges::equal(std::span(expected).first(snapshot_head_bytes), head)) return std::nullopt;
    return facts;
}

/// A block is good in its own place only.
std::uint32_t block_checksum(std::span<const std::byte> block, std::uint64_t number) {
    return crc32c(block, static_cast<std::uint32_t>(number));
}

}  // namespace

SnapshotOutput::SnapshotOutput(Snapshots& snapshots, SnapshotId id, std::unique_ptr<File> file)
    : snapshots_(snapshots), file_(std::move(file)) {
    at_ = snapshot_head_bytes + id.configuration.size();
    facts_.id = std::move(id);
}

SnapshotOutput::~SnapshotOutput() {
    file_.reset();
    if (!finished_) snapshots_.leave();
}

std::error_code SnapshotOutput::write(std::span<const std::byte> bytes) {
    if (error_) return error_;
    if (!file_) return Fault::closed;
    while (!bytes.empty() && !error_) {
        const std::size_t count = std::min(bytes.size(), Snapshots::block_bytes - block_.size());
        block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
        facts_.checksum = crc32c(bytes.first(count), facts_.checksum);
        facts_.size += count;
        bytes = bytes.subspan(count);
        if (block_.size() == Snapshots::block_bytes) error_ = flush();
    }
    return error_;
}

std::error_code SnapshotOutput::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (error_) return error_;
    if (offset > position()) return Fault::not_there;
    const std::uint64_t known = position() - offset;
    if (known >= bytes.size()) return {};
    return write(bytes.subspan(static_cast<std::size_t>(known)));
}

std::error_code SnapshotOutput::flush() {
    if (block_.empty()) return {};
    const std::uint64_t number = (facts_.size - 1) / Snapshots::block_bytes;
    std::array<std::byte, trailer> checksum;
    store(checksum.data(), block_checksum(block_, number));
    block_.insert(block_.end(), checksum.begin(), checksum.end());
    const std::error_code error = file_->write(at_, block_);
    at_ += block_.size();
    block_.clear();
    return error;
}

std::error_code SnapshotOutput::finish() {
    if (error_) return error_;
    if (!file_) return Fault::closed;
    if (expected_ && *expected_ != facts_) return error_ = Fault::damaged;
    return error_ = save();
}

std::error_code SnapshotOutput::save() {
    if (const std::error_code error = flush()) return error;
    if (const std::error_code error = file_->write(0, head_of(facts_))) return error;
    if (const std::error_code error = file_->sync()) return error;
    file_.reset();
    const std::error_code error = snapshots_.finish(facts_);
    finished_ = !error;
    return error;
}

std::error_code SnapshotInput::open(std::unique_ptr<File> file) {
    file_ = std::move(file);
    std::error_code error;
    const auto facts = facts_in(*file_, error);
    if (error) return error;
    if (!facts) return Fault::damaged;
    facts_ = *facts;
    begin_ = snapshot_head_bytes + facts_.id.configuration.size();
    return {};
}

/// Reads a block and checks it.
std::error_code SnapshotInput::load(std::uint64_t block) {
    if (loaded_ == block) return {};
    loaded_.reset();
    const std::uint64_t from = block * Snapshots::block_bytes;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(Snapshots::block_bytes, facts_.size - from));
    block_.resize(size + trailer);
    std::error_code error;
    const std::size_t count = file_->read(begin_ + block * (Snapshots::block_bytes + trailer), block_, error);
    if (error) return error;
    if (count != block_.size()) return Fault::damaged;
    const auto checksum = cluster::load<std::uint32_t>(block_.data() + size);
    block_.resize(size);
    if (block_checksum(block_, block) != checksum) return Fault::damaged;
    loaded_ = block;
    return {};
}

std::size_t SnapshotInput::read(std::uint64_t offset, std::span<std::byte> out, std::error_code& error) {
    error.clear();
    std::size_t done = 0;
    while (done < out.size() && offset + done < facts_.size) {
        const std::uint64_t at = offset + done;
        error = load(at / Snapshots::block_bytes);
        if (error) return 0;
        const auto inside = static_cast<std::size_t>(at % Snapshots::block_bytes);
        const std::size_t count = std::min(out.size() - done, block_.size() - inside);
        std::copy_n(block_.begin() + static_cast<std::ptrdiff_t>(inside), count,
                    out.begin() + static_cast<std::ptrdiff_t>(done));
        done += count;
    }
    return done;
}

std::error_code SnapshotInput::verify() {
    std::uint32_t checksum = 0;
    for (std::uint64_t block = 0; block * Snapshots::block_bytes < facts_.size; ++block) {
        if (const std::error_code error = load(block)) return error;
        checksum = crc32c(block_, checksum);
    }
    return checksum == facts_.checksum ? std::error_code() : make_error_code(Fault::damaged);
}

std::error_code Snapshots::open() {
    std::error_code error = disk_.make_folder(folder);
    if (!error) error = disk_.sync_folder("");
    if (!error) error = remove_if_there(disk_, unfinished_snapshot);
    if (error) return error;
    const std::vector<std::string> names = disk_.list(folder, error);
    const detail::Lock lock(mutex_);
    for (const std::string& name : names) {
        if (error) return error;
        const std::unique_ptr<File> file = disk_.open(snapshot_path(name), error);
        if (error) return error;
        std::error_code unreadable;
        const auto facts = facts_in(*file, unreadable);
        if (facts && snapshot_name(facts->id.last) == name) {
            list_.push_back(*facts);
        } else {
            damaged_.push_back(snapshot_path(name));
        }
    }
    std::ranges::sort(list_, {}, [](const SnapshotFacts& each) { return each.id.last; });
    if (!error) error = disk_.sync_folder(folder);
    return error;
}

std::vector<SnapshotFacts> Snapshots::list() const {
    const detail::Lock lock(mutex_);
    return list_;
}

std::vector<std::string> Snapshots::damaged() const {
    const detail::Lock lock(mutex_);
    return damaged_;
}

void Snapshots::mark_damaged(const LogId& last) {
    const detail::Lock lock(mutex_);
    if (std::erase_if(list_, [&](const SnapshotFacts& each) { return each.id.last == last; }) != 0) {
        damaged_.push_back(snapshot_path(snapshot_name(last)));
    }
}

std::unique_ptr<SnapshotOutput> Snapshots::begin(const SnapshotId& id, std::error_code& error) {
    const detail::Lock lock(mutex_);
    error.clear();
    if (busy_) error = Fault::busy;
    if (!error && id.configuration.size() > longest_configuration) error = Fault::too_large;
    if (!error && !list_.empty() && list_.back().id.last >= id.last) error = Fault::contradiction;
    if (!error) error = remove_if_there(disk_, unfinished_snapshot);
    if (error) return nullptr;
    std::unique_ptr<File> file = disk_.create(unfinished_snapshot, error);
    if (error) return nullptr;
    busy_ = true;
    return std::unique_ptr<SnapshotOutput>(new SnapshotOutput(*this, id, std::move(file)));
}

std::unique_ptr<SnapshotOutput> Snapshots::receive(const SnapshotFacts& facts, std::error_code& error) {
    std::unique_ptr<SnapshotOutput> output = begin(facts.id, error);
    if (output) output->expected_ = facts;
    return output;
}

std::unique_ptr<SnapshotInput> Snapshots::read(const LogId& last, std::error_code& error) const {
    std::unique_ptr<File> file = disk_.open(snapshot_path(snapshot_name(last)), error);
    if (error == std::errc::no_such_file_or_directory) error = Fault::not_there;
    if (error) return nullptr;
    auto input = std::make_unique<SnapshotInput>();
    error = input->open(std::move(file));
    if (error) return nullptr;
    return input;
}

/// It is on disk under another name.
std::error_code Snapshots::finish(const SnapshotFacts& facts) {
    std::error_code error = disk_.rename(unfinished_snapshot, snapshot_path(snapshot_name(facts.id.last)));
    if (!error) error = disk_.sync_folder(folder);
    if (error) return error;
    const detail::Lock lock(mutex_);
    busy_ = false;
    std::erase(damaged_, snapshot_path(snapshot_name(facts.id.last)));
    list_.push_back(facts);
    std::vector<std::string> leave = std::exchange(damaged_, {});
    while (list_.size() > keep) {
        leave.push_back(snapshot_path(snapshot_name(list_.front().id.last)));
        list_.erase(list_.begin());
    }
    // What cannot be removed now is found, and removed, later.
    for (const std::string& name : leave) remove_if_there(disk_, name);
    return {};
}

/// Whoever wrote has gone.
void Snapshots::leave() {
    const detail::Lock lock(mutex_);
    busy_ = false;
    remove_if_there(disk_, unfinished_snapshot);
}

}  // namespace cluster::storage
