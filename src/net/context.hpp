#pragma once

#include "base/block.hpp"
#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "base/time.hpp"
#include "net/asio.hpp"
#include "net/resolver.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace cluster::net {

/// The buffer into which all connections of one I/O thread read, one after the other, so that an idle one holds no
/// memory. Bytes to which somebody refers are never overwritten. Used by the I/O thread only.
class ReadBuffer {
public:
    static constexpr std::size_t size = std::size_t{256} << 10;

    /// Finds at least `least` bytes, at most `size`, to which nobody refers: from `begin()` to the end of `block()`.
    void reserve(std::size_t least) {
        if (!block_) {
            block_ = detail::Block::allocate(size);
        } else if (!block_->shared()) {
            begin_ = 0;
        } else if (size - begin_ < least) {
            replace();
        }
    }
    /// References may exist to everything before `begin`.
    void keep_until(std::size_t begin) noexcept { begin_ = begin; }

    const detail::BlockRef& block() const noexcept { return block_; }
    std::size_t begin() const noexcept { return begin_; }

private:
    static constexpr std::size_t most_kept = 16;

    /// Uses blocks again to which nobody refers any more: fresh memory costs more than the reading.
    void replace() {
        begin_ = 0;
        for (detail::BlockRef& kept : kept_) {
            if (kept->shared()) continue;
            std::swap(kept, block_);
            return;
        }
        if (kept_.size() < most_kept) {
            kept_.push_back(std::move(block_));
        } else {
            kept_[next_++ % most_kept] = std::move(block_);
        }
        block_ = detail::Block::allocate(size);
    }

    detail::BlockRef block_;
    std::size_t begin_ = 0;
    std::vector<detail::BlockRef> kept_;
    std::size_t next_ = 0;
};

/// What the two threads of a runtime work on. Thread-safe except for the two buffers. Kept alive by the threads and by
/// all work under way, so that it outlives the nodes.
class Loop {
public:
    Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    /// The clock of all that is decided on this loop.
    static Time now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }

    asio::io_context& io() noexcept { return io_; }
    ReadBuffer& read_buffer() noexcept { return read_buffer_; }
    /// Where a frame is put together before it is copied. All connections share it, as they share the read buffer.
    std::vector<std::byte>& frame_buffer() noexcept { return frame_buffer_; }

    /// Runs `work` on the callback thread, after everything handed over before. False after `finish`: `work` was
    /// dropped.
    bool call(std::function<void()> work);

    /// Runs `work` on the I/O thread, or drops it if that thread has ended. For callers that do not keep it going: work
    /// that came too late would be kept by this loop, and keep it in turn.
    template <class Work>
    void post(Work work) {
        const detail::Lock lock(mutex_);
        if (!io_ended_) asio::post(io_, std::move(work));
    }

    /// On the I/O thread: calls `then` when every socket that has something for it now has had its turn. Code that
    /// judges by time must read first, however slow this thread is: an answer may have come long ago.
    void catch_up(std::function<void()> then);
    /// All that had come by this time has been dealt with.
    Time caught_up() const noexcept { return caught_up_; }

    bool on_callback_thread() const noexcept { return callback_thread_ == std::this_thread::get_id(); }

    /// For names that the application gave: seeds and added addresses.
    Resolver& resolver() noexcept { return resolver_; }
    /// For names that peers publish. These may be many, and slow to look up.
    Resolver& resolver_for_peers() noexcept { return resolver_for_peers_; }

    // For the threads.
    void run_io();
    void run_callbacks();
    /// The threads end when no work is left.
    void finish();

private:
    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> io_work_;
    ReadBuffer read_buffer_;
    std::vector<std::byte> frame_buffer_;
    Resolver resolver_{io_};
    Resolver resolver_for_peers_{io_};

    // Always readable. If the system is asked about it anew, it comes after all that is ready already.
    asio::posix::stream_descriptor last_in_line_;
    std::vector<std::function<void()>> catching_up_;  ///< called when the turn comes again
    bool asked_ = false;
    Time caught_up_{};
    void ask();

    detail::Mutex mutex_;
    detail::Condition called_;
    std::deque<std::function<void()>> calls_ GUARDED_BY(mutex_);
    bool finished_ GUARDED_BY(mutex_) = false;
    bool io_ended_ GUARDED_BY(mutex_) = false;
    std::atomic<std::thread::id> callback_thread_{};
};

/// What the handles of one `Runtime` share: the two threads. Thread-safe. Its destructor waits for the threads, but not
/// for the one on which it runs. On an I/O thread, where nothing may wait, it waits for none. In a child made by `fork`
/// it touches nothing.
class Context {
public:
    /// Throws `std::system_error` with an `errc` if the system grants no thread, or none of what a thread waits with.
    Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context();

    const std::shared_ptr<Loop>& loop() const noexcept { return loop_; }
    const detail::Origin& origin() const noexcept { return origin_; }

private:
    void start();

    const detail::Origin origin_;
    std::shared_ptr<Loop> loop_;
    std::thread callback_thread_;
    std::thread io_thread_;
};

}  // namespace cluster::net
