#pragma once

#include "core/action.hpp"

#include <cluster/options.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
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

    /// Of each level, at most `burst` lines at once and then `rate` per second: a stranger must not fill a disk. The
    /// next line of that level tells how many were left out.
    static constexpr double burst = 200;
    static constexpr double rate = 20;

    void write(core::Severity severity, std::string_view text);

private:
    struct Allowance {
        double lines = burst;
        std::chrono::steady_clock::time_point since{};
        std::uint64_t left_out = 0;
    };

    std::mutex mutex_;
    std::array<Allowance, 4> allowances_;
    std::shared_ptr<spdlog::logger> logger_;
    std::string suffix_;
};

}  // namespace cluster::detail
