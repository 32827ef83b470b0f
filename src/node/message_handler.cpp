#include "node/message_handler.hpp"

#include "support/callbacks.hpp"
#include "support/may_wait.hpp"

#include <utility>

namespace cluster::detail {

void MessageHandler::set(Function function) {
    Handler former;  // dies outside the lock: that runs code of the application
    const Lock lock(mutex_);
    if (calls_.others()) require_may_wait("a handler");
    former = replace(std::move(function));
    calls_.wait(mutex_);
}

void MessageHandler::clear() noexcept {
    Handler former;
    const Lock lock(mutex_);
    former = replace({});
    if (may_wait()) calls_.wait(mutex_);
}

MessageHandler::Handler MessageHandler::replace(Function function) {
    Handler former = std::move(function_);
    function_ = function ? std::make_shared<const Function>(std::move(function)) : nullptr;
    set_.store(function_ != nullptr, std::memory_order_release);
    version_.fetch_add(1, std::memory_order_release);
    return former;
}

void MessageHandler::serve(const std::shared_ptr<InboxState>& inbox, const OnThrow& on_throw) {
    std::shared_ptr<const Function> function;
    std::uint64_t version = 0;
    {
        const Lock lock(mutex_);
        if (function_ == nullptr) return;
        function = function_;
        version = version_;
        calls_.enter();
    }
    InboxReader reader(inbox);
    while (version_.load(std::memory_order_acquire) == version && reader.next(no_wait)) {
        call_guarded(on_throw, *function, reader.message());
    }
    const Lock lock(mutex_);
    calls_.leave();
}

}  // namespace cluster::detail
