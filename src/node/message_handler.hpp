#pragma once

#include "node/inbox_state.hpp"

#include <cluster/message.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

namespace cluster::detail {

/// The handler that takes the place of the inbox's readers, if one is set: a reader that lives on the I/O thread.
/// Thread-safe.
class MessageHandler {
public:
    using Function = std::function<void(const Message&)>;
    using OnThrow = std::function<void(std::string_view)>;

    /// The former one is not running when this returns, unless it called this. Throws `errc::would_block` where it runs
    /// and this is the I/O thread of another runtime.
    void set(Function function);
    /// As a destructor would do it: never throws, and does not wait on an I/O thread.
    void clear() noexcept;
    bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }
    /// On the I/O thread: hands over what is in the inbox.
    void serve(const std::shared_ptr<InboxState>& inbox, const OnThrow& on_throw);

private:
    bool runs_elsewhere() const { return inside_ != std::thread::id() && inside_ != std::this_thread::get_id(); }
    void replace(std::unique_lock<std::mutex>& lock, Function function, bool wait);

    std::mutex mutex_;
    std::condition_variable idle_;
    std::shared_ptr<const Function> function_;
    std::thread::id inside_;
    std::atomic<bool> set_{false};
    std::atomic<std::uint64_t> version_{0};  ///< of `function_`
};

}  // namespace cluster::detail
