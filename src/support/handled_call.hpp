#pragma once

#include "support/callbacks.hpp"

#include <cluster/message.hpp>
#include <cluster/operation.hpp>

#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace cluster::detail {

/// A call that calls a function. The function is the application's.
class HandledCall final : public RequestOperation {
public:
    using Handler = std::function<void(std::error_code, const Message&)>;

    HandledCall(Handler handler, std::shared_ptr<HandlerCalls> calls, std::function<void(std::string_view)> on_throw)
        : handler_(std::move(handler)), calls_(std::move(calls)), on_throw_(std::move(on_throw)) {
        calls_->begin();
    }
    void wake() noexcept override {
        call_guarded(on_throw_, handler_, error, result);
        handler_ = {};  // what it refers to may be gone when nobody waits any more
        calls_->end();
    }

private:
    Handler handler_;
    const std::shared_ptr<HandlerCalls> calls_;
    const std::function<void(std::string_view)> on_throw_;
};

}  // namespace cluster::detail
