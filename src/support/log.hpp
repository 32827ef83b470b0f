#pragma once

#include "base/log_gate.hpp"
#include "base/log_line.hpp"
#include "base/time.hpp"

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

    void write(LogLine line);
    void write(Severity severity, std::string text) { write({severity, std::move(text)}); }

    /// When to call `flush`, if nobody who has asked before does so early enough.
    std::optional<Time> due();
    /// `all`: the end has come, and what is counted is told now.
    void flush(bool all = false);

private:
    void put(const LogLine& line);

    std::mutex mutex_;
    LogGate gate_;
    Time due_ = never;  ///< what `due` has said
    std::shared_ptr<spdlog::logger> logger_;
    std::string suffix_;
};

}  // namespace cluster::detail
