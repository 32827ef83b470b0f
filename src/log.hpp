#pragma once

#include "core/action.hpp"

#include <cluster/options.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace cluster::detail {

/// Where one node's log lines go: a private logger with one sink. Thread-safe. Nothing the application's function does
/// comes back from it, not even an exception.
class Log {
public:
    /// An empty `write` stands for standard error, from warnings on. `node` is told in each line.
    Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node);

    void write(core::Severity severity, std::string_view text);

private:
    std::shared_ptr<spdlog::logger> logger_;
    std::string suffix_;
};

}  // namespace cluster::detail
