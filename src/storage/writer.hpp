#pragma once

#include "base/mutex.hpp"
#include "consensus/write.hpp"
#include "storage/log.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <system_error>
#include <thread>

namespace cluster::storage {

/// The storage thread of one replica. It takes all writes that wait as one group, writes them, syncs once, and reports.
///
/// All members are thread-safe. The callbacks run on that thread, under no lock. Lives shorter than its log, which
/// nobody else writes meanwhile. In a child made by `fork` it must be kept for ever: its thread is not there.
class Writer {
public:
    struct Options {
        /// Bytes of entries that may wait. One write is taken even if it has more.
        std::size_t most_waiting = std::size_t{64} << 20;
        /// About so many bytes make a group. More would keep those waiting that came first.
        std::size_t most_in_group = std::size_t{1} << 20;
    };
    struct Callbacks {
        /// All writes up to that number are on disk (with `os_buffers`: with the system).
        std::function<void(std::uint64_t number)> durable;
        /// Once: nothing is written any more, and nothing will be reported.
        std::function<void(std::error_code error)> failed;
    };

    Writer(Log& log, Options options, Callbacks callbacks);
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    /// As `close`.
    ~Writer();

    /// False if there is no room, and nothing is taken then; or if it has failed or is closed. Never waits for the
    /// disk.
    bool submit(consensus::Write write);
    /// Has the log let go of what lies up to that index, soon, but not before all that waits now is written: that may
    /// replace entries which the log still has. See `Log::cut`.
    void cut(consensus::Index index);

    /// Whether the disk is at something.
    bool busy() const;
    std::size_t waiting() const;
    /// It takes nothing any more: it has failed, and said so or is about to, or it is closed.
    bool ended() const;

    /// Writes what waits, then ends the thread and waits for that. Not from a callback.
    void close();

private:
    void run();
    void work(std::deque<consensus::Write> group, std::optional<consensus::Index> cut_to);
    std::deque<consensus::Write> take() REQUIRES(mutex_);

    Log& log_;
    const Options options_;
    const Callbacks callbacks_;
    bool failed_before_ = false;  ///< of the thread
    bool idle_work_ = true;       ///< of the thread: there may be something to prepare or to mark

    mutable detail::Mutex mutex_;
    detail::Condition condition_;
    std::deque<consensus::Write> queue_ GUARDED_BY(mutex_);
    std::size_t bytes_ GUARDED_BY(mutex_) = 0;
    std::optional<consensus::Index> cut_ GUARDED_BY(mutex_);
    std::uint64_t cut_after_ GUARDED_BY(mutex_) = 0;  ///< and only when that write is done
    bool busy_ GUARDED_BY(mutex_) = false;
    bool closed_ GUARDED_BY(mutex_) = false;
    bool failed_ GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace cluster::storage
