#include "storage/simulated_disk.hpp"

#include "storage/fault.hpp"

#include <algorithm>
#include <utility>

namespace cluster::sim {

namespace {

std::error_code io_error() {
    return std::make_error_code(std::errc::io_error);
}

std::error_code no_such_file() {
    return std::make_error_code(std::errc::no_such_file_or_directory);
}

std::string folder_of(const std::string& name) {
    const std::size_t slash = name.rfind('/');
    return slash == std::string::npos ? "" : name.substr(0, slash);
}

}  // namespace

class SimulatedDisk::OpenFile final : public storage::File {
public:
    OpenFile(SimulatedDisk& disk, DataRef data, std::uint64_t life)
        : disk_(disk), data_(std::move(data)), life_(life) {}

    std::size_t read(std::uint64_t offset, std::span<std::byte> out, std::error_code& error) const override {
        const detail::Lock lock(disk_.mutex_);
        error = disk_.stopped_ || life_ != disk_.life_ || data_->unreadable ? io_error() : std::error_code();
        if (error || offset >= data_->now.size()) return 0;
        const std::size_t count = std::min(out.size(), data_->now.size() - static_cast<std::size_t>(offset));
        std::copy_n(data_->now.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
        return count;
    }
    std::error_code write(std::uint64_t offset, std::span<const std::byte> bytes) override {
        disk_.announce();
        const detail::Lock lock(disk_.mutex_);
        if (life_ != disk_.life_) return io_error();
        return disk_.begin_write(*data_, offset, bytes);
    }
    std::error_code sync() override {
        disk_.announce();
        const detail::Lock lock(disk_.mutex_);
        while (disk_.hangs_) disk_.condition_.wait(disk_.mutex_);
        std::error_code error;
        if (life_ != disk_.life_ || !disk_.begin(error)) return io_error();
        if (disk_.sync_fails()) {
            data_->dirty.clear();
            return io_error();
        }
        for (const std::size_t each : data_->dirty) save_sector(*data_, each);
        data_->dirty.clear();
        data_->durable.resize(data_->now.size());
        return {};
    }
    std::uint64_t size(std::error_code& error) const override {
        const detail::Lock lock(disk_.mutex_);
        error = disk_.stopped_ || life_ != disk_.life_ ? io_error() : std::error_code();
        return data_->now.size();
    }

    static void save_sector(Data& data, std::size_t which) {
        const std::size_t begin = which * sector;
        const std::size_t end = std::min(begin + sector, data.now.size());
        if (begin >= end) return;
        if (data.durable.size() < end) data.durable.resize(end);
        std::copy(data.now.begin() + static_cast<std::ptrdiff_t>(begin),
                  data.now.begin() + static_cast<std::ptrdiff_t>(end),
                  data.durable.begin() + static_cast<std::ptrdiff_t>(begin));
    }

private:
    SimulatedDisk& disk_;
    const DataRef data_;
    const std::uint64_t life_;
};

/// False if the machine has stopped. In the operation in which it stops this is true.
bool SimulatedDisk::begin(std::error_code& error) {
    error = stopped_ ? io_error() : std::error_code();
    if (stopped_) return false;
    ++operations_;
    if (operations_ == stop_) stopped_ = true;
    return !stopped_ || dice_.below(2) == 0;
}

bool SimulatedDisk::sync_fails() {
    const bool fails = fail_sync_ != 0 && operations_ >= fail_sync_;
    if (fails) fail_sync_ = 0;
    return fails;
}

void SimulatedDisk::put_bytes(Data& data, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const auto at = static_cast<std::size_t>(offset);
    if (data.now.size() < at + bytes.size()) data.now.resize(at + bytes.size());
    std::ranges::copy(bytes, data.now.begin() + static_cast<std::ptrdiff_t>(at));
    for (std::size_t each = at / sector; each <= (at + bytes.size() - 1) / sector; ++each) data.dirty.insert(each);
}

std::error_code SimulatedDisk::begin_write(Data& data, std::uint64_t offset, std::span<const std::byte> bytes) {
    std::error_code error;
    if (!begin(error)) return io_error();
    if (operations_ == lose_) return {};
    if (operations_ == misdirect_ && data.now.size() > bytes.size()) {
        offset = dice_.below((data.now.size() - bytes.size()) / sector + 1) * sector;
    }
    const std::uint64_t end = offset + bytes.size();
    const std::uint64_t more = end > data.now.size() ? end - data.now.size() : 0;
    const std::uint64_t all = more != 0 && room_ != UINT64_MAX ? used() : 0;
    if (more != 0 && all + more > room_) {
        // A write may begin behind the end.
        const std::uint64_t limit = data.now.size() + (room_ > all ? room_ - all : 0);
        put_bytes(data, offset, bytes.first(static_cast<std::size_t>(limit > offset ? limit - offset : 0)));
        return std::make_error_code(std::errc::no_space_on_device);
    }
    put_bytes(data, offset, stopped_ ? bytes.first(dice_.below(bytes.size() + 1)) : bytes);
    return stopped_ ? io_error() : std::error_code();
}

std::uint64_t SimulatedDisk::used() const {
    std::set<const Data*> counted;
    std::uint64_t bytes = 0;
    for (const auto& [name, data] : names_) {
        if (counted.insert(data.get()).second) bytes += data->now.size();
    }
    return bytes;
}

std::vector<std::string> SimulatedDisk::list(const std::string& folder, std::error_code& error) {
    const detail::Lock lock(mutex_);
    error = stopped_ ? io_error() : std::error_code();
    std::vector<std::string> found;
    if (!error && !folder.empty() && !folders_.contains(folder)) error = no_such_file();
    if (error) return found;
    for (const auto& [name, data] : names_) {
        if (folder_of(name) == folder) found.push_back(folder.empty() ? name : name.substr(folder.size() + 1));
    }
    if (folder.empty()) found.insert(found.end(), folders_.begin(), folders_.end());
    return found;
}

std::error_code SimulatedDisk::make_folder(const std::string& name) {
    announce();
    const detail::Lock lock(mutex_);
    std::error_code error;
    if (!begin(error)) return io_error();
    if (!name.empty()) folders_.insert(name);
    return {};
}

void SimulatedDisk::apply(Names& names, const Change& change) {
    if (change.from.empty()) {
        names[change.to] = change.data;
        return;
    }
    const auto found = names.find(change.from);
    if (found == names.end()) return;
    const DataRef data = found->second;
    names.erase(found);
    if (!change.to.empty()) names[change.to] = data;
}

std::error_code SimulatedDisk::sync_folder(const std::string& name) {
    announce();
    const detail::Lock lock(mutex_);
    while (hangs_) condition_.wait(mutex_);
    std::error_code error;
    if (!begin(error)) return io_error();
    if (sync_fails()) return io_error();
    std::erase_if(changes_, [&](const Change& change) {
        mutex_.assert_held();
        if (folder_of(change.to.empty() ? change.from : change.to) != name) return false;
        apply(durable_, change);
        return true;
    });
    return {};
}

std::unique_ptr<storage::File> SimulatedDisk::open(const std::string& name, std::error_code& error) {
    const detail::Lock lock(mutex_);
    error = stopped_ ? io_error() : std::error_code();
    const auto found = names_.find(name);
    if (!error && found == names_.end()) error = no_such_file();
    if (error) return nullptr;
    return std::make_unique<OpenFile>(*this, found->second, life_);
}

std::unique_ptr<storage::File> SimulatedDisk::create(const std::string& name, std::error_code& error) {
    announce();
    const detail::Lock lock(mutex_);
    if (!begin(error)) error = io_error();
    if (!error && names_.contains(name)) error = std::make_error_code(std::errc::file_exists);
    if (!error && !folder_of(name).empty() && !folders_.contains(folder_of(name))) error = no_such_file();
    if (error) return nullptr;
    Change change{{}, name, std::make_shared<Data>()};
    apply(names_, change);
    auto file = std::make_unique<OpenFile>(*this, change.data, life_);
    changes_.push_back(std::move(change));
    return file;
}

std::error_code SimulatedDisk::rename(const std::string& from, const std::string& to) {
    announce();
    const detail::Lock lock(mutex_);
    std::error_code error;
    if (!begin(error)) return io_error();
    if (!names_.contains(from)) return no_such_file();
    Change change{from, to, nullptr};
    apply(names_, change);
    changes_.push_back(std::move(change));
    return {};
}

std::error_code SimulatedDisk::remove(const std::string& name) {
    announce();
    const detail::Lock lock(mutex_);
    std::error_code error;
    if (!begin(error)) return io_error();
    if (!names_.contains(name)) return no_such_file();
    Change change{name, {}, nullptr};
    apply(names_, change);
    changes_.push_back(std::move(change));
    return {};
}

std::shared_ptr<void> SimulatedDisk::lock(const std::string& name, std::error_code& error) {
    const detail::Lock lock(mutex_);
    error = stopped_ ? io_error() : std::error_code();
    if (!error && !locks_.insert(name).second) error = storage::Fault::locked;
    if (error) return nullptr;
    return {static_cast<void*>(this), [this, name, life = life_](void*) {
                const detail::Lock again(mutex_);
                if (life == life_) locks_.erase(name);
            }};
}

std::uint64_t SimulatedDisk::operations() const {
    const detail::Lock lock(mutex_);
    return operations_;
}

void SimulatedDisk::stop_in(std::uint64_t operation) {
    const detail::Lock lock(mutex_);
    stop_ = operation;
}

bool SimulatedDisk::stopped() const {
    const detail::Lock lock(mutex_);
    return stopped_;
}

void SimulatedDisk::fail_sync_in(std::uint64_t operation) {
    const detail::Lock lock(mutex_);
    fail_sync_ = operation;
}

void SimulatedDisk::misdirect_in(std::uint64_t operation) {
    const detail::Lock lock(mutex_);
    misdirect_ = operation;
}

void SimulatedDisk::lose_in(std::uint64_t operation) {
    const detail::Lock lock(mutex_);
    lose_ = operation;
}

void SimulatedDisk::set_room(std::uint64_t bytes) {
    const detail::Lock lock(mutex_);
    room_ = bytes;
}

void SimulatedDisk::hang(bool on) {
    const detail::Lock lock(mutex_);
    hangs_ = on;
    condition_.notify_all();
}

void SimulatedDisk::lose_power() {
    const detail::Lock lock(mutex_);
    for (const Change& change : changes_) {
        if (dice_.below(2) == 0) apply(durable_, change);
    }
    changes_.clear();
    names_ = durable_;
    std::set<Data*> seen;
    const std::uint64_t chance = dice_.below(4);  // 0: nothing arrives, 3: everything
    for (const auto& [name, data] : names_) {
        if (!seen.insert(data.get()).second) continue;
        for (const std::size_t each : data->dirty) {
            if (dice_.below(3) < chance) OpenFile::save_sector(*data, each);
        }
        data->dirty.clear();
        data->now = data->durable;
    }
    ++life_;
    locks_.clear();
    stopped_ = false;
    stop_ = 0;
}

void SimulatedDisk::end_processes() {
    const detail::Lock lock(mutex_);
    ++life_;
    locks_.clear();
    stopped_ = false;
    stop_ = 0;
}

void SimulatedDisk::flip(const std::string& name, std::uint64_t byte, unsigned bit) {
    const detail::Lock lock(mutex_);
    Data& data = *names_.at(name);
    data.now.at(static_cast<std::size_t>(byte)) ^= std::byte{1} << bit;
    if (byte < data.durable.size()) data.durable[static_cast<std::size_t>(byte)] ^= std::byte{1} << bit;
}

void SimulatedDisk::make_unreadable(const std::string& name) {
    const detail::Lock lock(mutex_);
    names_.at(name)->unreadable = true;
}

void SimulatedDisk::lose(const std::string& name) {
    const detail::Lock lock(mutex_);
    std::erase_if(changes_, [&](const Change& change) { return change.from == name || change.to == name; });
    names_.erase(name);
    durable_.erase(name);
}

void SimulatedDisk::wipe() {
    const detail::Lock lock(mutex_);
    names_.clear();
    durable_.clear();
    changes_.clear();
    folders_.clear();
    locks_.clear();
    ++life_;
}

std::vector<std::byte> SimulatedDisk::contents(const std::string& name) const {
    const detail::Lock lock(mutex_);
    const auto found = names_.find(name);
    return found == names_.end() ? std::vector<std::byte>() : found->second->now;
}

void SimulatedDisk::put(const std::string& name, std::vector<std::byte> bytes) {
    const detail::Lock lock(mutex_);
    auto data = std::make_shared<Data>();
    data->now = data->durable = std::move(bytes);
    names_[name] = durable_[name] = data;
    if (!folder_of(name).empty()) folders_.insert(folder_of(name));
}

bool SimulatedDisk::exists(const std::string& name) const {
    const detail::Lock lock(mutex_);
    return names_.contains(name);
}

std::set<std::string> SimulatedDisk::names() const {
    const detail::Lock lock(mutex_);
    std::set<std::string> found;
    for (const auto& [name, data] : names_) found.insert(name);
    return found;
}

}  // namespace cluster::sim
