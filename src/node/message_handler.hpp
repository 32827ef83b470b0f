#pragma once

#include "base/mutex.hpp"
#include "node/inbox_state.hpp"
#include "support/visits.hpp"

#include <cluster/message.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace cluster::detail {

/// The handler that takes the place of the inbox's readers, if one is set: a reader that lives on the I/O thread.
/// Thread-safe.
class MessageHandler {
public:
    using Function = std::function<void(const Message&)>;
    using OnThrow = std::function<void(std::string_view)>;

    /// The former handler is not running when this returns, unless it called this. Throws `errc::would_block` if it
    /// runs and this is the I/O thread of another runtime.
    void set(Function function);
    /// For destructors: never throws, and does not wait on an I/O thread.
    void clear() noexcept;
    bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }
    /// On the I/O thread: hands over what is in the inbox.
    void serve(const std::shared_ptr<InboxState>& inbox, const OnThrow& on_throw);

private:
    using Handler = std::shared_ptr<const Function>;

    Handler replace(Function function) REQUIRES(mutex_);

    Mutex mutex_;
    Handler function_ GUARDED_BY(mutex_);
    Visits calls_ GUARDED_BY(mutex_);
    std::atomic<bool> set_{false};
    std::atomic<std::uint64_t> version_{0};  ///< of `function_`
};

}  // namespace cluster::detail
