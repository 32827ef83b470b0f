#pragma once

#include "core/log_gate.hpp"
#include "core/log_line.hpp"
#include "core/time.hpp"

#include <cluster/options.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace spdlog {
class logger;
}

namespace cluster::detail {

/// Where one node's log lines go: a private logger with one sink. Thread-safe. Nothing the application's function does
/// comes back from it, not even an exception.
///
/// A gate decides what is written at once. What it counts, whoever owns the log has written later: `due` says when, and
/// `flush` does it.
class Log {
public:
    /// An empty `write` stands for standard error, from warnings on. `node` is told in each line.
    Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node);

    void write(core::LogLine line);
    void write(core::Severity severity, std::string text) { write({severity, std::move(text)}); }

    /// When to call `flush`, if nobody who has asked before does so early enough.
    std::optional<core::Time> due();
    /// `all`: the end has come, and what is counted is told now.
    void flush(bool all = false);

private:
    void put(const core::LogLine& line);

    std::mutex mutex_;
    core::LogGate gate_;
    core::Time due_ = core::never;  ///< what `due` has said
    std::shared_ptr<spdlog::logger> logger_;
    std::string suffix_;
};

}  // namespace cluster::detail
