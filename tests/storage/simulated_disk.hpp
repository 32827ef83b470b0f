#pragma once

#include "base/mutex.hpp"
#include "base/random.hpp"
#include "storage/disk.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace cluster::sim {

/// A disk in memory that does what bad disks do, the same for each seed. Thread-safe. Lives longer than its files.
///
/// A file has what programs read, and what a loss of power leaves of it. `sync` makes them equal. If power fails
/// before, each sector of 512 bytes that was written has its new contents or those of before, by chance; of new,
/// renamed and removed names any part in order may be lost. It is harsher than most: no sector waits for another one.
class SimulatedDisk final : public storage::Disk {
public:
    static constexpr std::size_t sector = 512;

    explicit SimulatedDisk(std::uint64_t seed) : dice_(seed) {}

    std::vector<std::string> list(const std::string& folder, std::error_code& error) override;
    std::error_code make_folder(const std::string& name) override;
    std::error_code sync_folder(const std::string& name) override;
    std::unique_ptr<storage::File> open(const std::string& name, std::error_code& error) override;
    std::unique_ptr<storage::File> create(const std::string& name, std::error_code& error) override;
    std::error_code rename(const std::string& from, const std::string& to) override;
    std::error_code remove(const std::string& name) override;
    std::shared_ptr<void> lock(const std::string& name, std::error_code& error) override;

    // Faults to come. Operations are those that change something, and syncs; they are counted from 1.

    std::uint64_t operations() const;
    /// The machine stops in that operation, of which a part may have been done. All that follow fail,
    /// until one of the functions below says how it went on.
    void stop_in(std::uint64_t operation);
    bool stopped() const;
    /// The first sync from that operation on fails, once. What it should have put on disk is taken for clean and never
    /// will be, unless written again. 0: none.
    void fail_sync_in(std::uint64_t operation);
    /// That write goes to another place in its file, and succeeds.
    void misdirect_in(std::uint64_t operation);
    /// That write succeeds, and nothing has been written.
    void lose_in(std::uint64_t operation);
    /// Bytes in all files; a write that needs more writes what fits, and fails.
    void set_room(std::uint64_t bytes);
    /// From now on each sync waits, until this is called with false.
    void hang(bool on);
    /// Called at the beginning of each operation, outside of the lock.
    void watch(std::function<void()> watcher) { watcher_ = std::move(watcher); }

    // What happens now.

    /// Power fails, and comes back: only what was on disk is left, and by chance what was on its way.
    void lose_power();
    /// The processes end, and the system goes on: all that was written is there, on its way to the disk.
    void end_processes();
    /// Turns one bit, on disk and in what programs read.
    void flip(const std::string& name, std::uint64_t byte, unsigned bit);
    /// Reading of that file fails from now on.
    void make_unreadable(const std::string& name);
    /// That file is gone.
    void lose(const std::string& name);
    /// Everything is gone.
    void wipe();

    /// What programs read.
    std::vector<std::byte> contents(const std::string& name) const;
    void put(const std::string& name, std::vector<std::byte> bytes);
    bool exists(const std::string& name) const;
    std::set<std::string> names() const;

private:
    struct Data {
        std::vector<std::byte> now;
        std::vector<std::byte> durable;
        std::set<std::size_t> dirty;  ///< sectors
        bool unreadable = false;
    };
    using DataRef = std::shared_ptr<Data>;
    using Names = std::map<std::string, DataRef>;
    struct Change {
        std::string from;  ///< empty: `data` is new
        std::string to;    ///< empty: removed
        DataRef data;
    };
    class OpenFile;

    bool begin(std::error_code& error) REQUIRES(mutex_);
    bool sync_fails() REQUIRES(mutex_);
    std::error_code begin_write(Data& data, std::uint64_t offset, std::span<const std::byte> bytes) REQUIRES(mutex_);
    static void put_bytes(Data& data, std::uint64_t offset, std::span<const std::byte> bytes);
    static void apply(Names& names, const Change& change);
    std::uint64_t used() const REQUIRES(mutex_);
    void announce() const {
        if (watcher_) watcher_();
    }

    std::function<void()> watcher_;
    mutable detail::Mutex mutex_;
    mutable detail::Condition condition_;
    Dice dice_ GUARDED_BY(mutex_);
    Names names_ GUARDED_BY(mutex_);
    Names durable_ GUARDED_BY(mutex_);
    std::vector<Change> changes_ GUARDED_BY(mutex_);  ///< of names, not on disk yet
    std::set<std::string> folders_ GUARDED_BY(mutex_);
    std::set<std::string> locks_ GUARDED_BY(mutex_);
    std::uint64_t life_ GUARDED_BY(mutex_) = 0;  ///< handles of a former one are dead
    std::uint64_t operations_ GUARDED_BY(mutex_) = 0;
    std::uint64_t stop_ GUARDED_BY(mutex_) = 0;
    std::uint64_t fail_sync_ GUARDED_BY(mutex_) = 0;
    std::uint64_t misdirect_ GUARDED_BY(mutex_) = 0;
    std::uint64_t lose_ GUARDED_BY(mutex_) = 0;
    std::uint64_t room_ GUARDED_BY(mutex_) = UINT64_MAX;
    bool stopped_ GUARDED_BY(mutex_) = false;
    bool hangs_ GUARDED_BY(mutex_) = false;
};

}  // namespace cluster::sim
