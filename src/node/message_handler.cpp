#include "node/message_handler.hpp"

#include "net/io_thread.hpp"
#include "support/callbacks.hpp"

#include <cluster/error.hpp>

#include <system_error>
#include <utility>

namespace cluster::detail {

void MessageHandler::set(Function function) {
    std::unique_lock lock(mutex_);
    if (net::on_io_thread() && runs_elsewhere()) {
        throw std::system_error(make_error_code(errc::would_block), "waiting for a handler on an I/O thread");
    }
    replace(lock, std::move(function), true);
}

void MessageHandler::clear() noexcept {
    std::unique_lock lock(mutex_);
    replace(lock, {}, !net::on_io_thread());
}

void MessageHandler::replace(std::unique_lock<std::mutex>& lock, Function function, bool wait) {
    auto former = std::exchange(function_, function ? std::make_shared<const Function>(std::move(function)) : nullptr);
    set_.store(function_ != nullptr, std::memory_order_release);
    version_.fetch_add(1, std::memory_order_release);
    if (wait) idle_.wait(lock, [this] { return !runs_elsewhere(); });
    lock.unlock();  // before `former` dies, which runs code of the application
}

void MessageHandler::serve(const std::shared_ptr<InboxState>& inbox, const OnThrow& on_throw) {
    std::shared_ptr<const Function> function;
    std::uint64_t version = 0;
    {
        const std::lock_guard lock(mutex_);
        if (function_ == nullptr) return;
        function = function_;
        version = version_;
        inside_ = std::this_thread::get_id();
    }
    InboxReader reader(inbox);
    while (version_.load(std::memory_order_acquire) == version && reader.next(InboxState::no_wait)) {
        call_guarded(on_throw, *function, reader.message());
    }
    {
        const std::lock_guard lock(mutex_);
        inside_ = {};
    }
    idle_.notify_all();
}

}  // namespace cluster::detail
