#pragma once

#include "base/mutex.hpp"
#include "base/time.hpp"
#include "value/log_gate.hpp"
#include "value/log_line.hpp"

#include <cluster/options.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace spdlog {
class logger;
}

namespace cluster::detail {

/// Where one node's log lines go: a private logger with one sink. Thread-safe. No exception of the application's
/// function comes back from it.
///
/// A gate decides what is written at once. The owner of the log has what the gate only counts written later: `due` says
/// when, and `flush` does it.
class Log {
public:
    /// `write` gets each line from level `least` on, with `node`.
    Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node,
        LogLevel least = LogLevel::debug);

    void write(LogLine line);
    void write(LogLevel level, std::string text) { write({level, std::move(text)}); }

    /// When to call `flush`; nothing if an earlier caller of this will do so early enough.
    std::optional<Time> due();
    /// `all`: the log ends, so all that is counted is written now.
    void flush(bool all = false);

private:
    void put(const LogLine& line);

    Mutex mutex_;
    LogGate gate_ GUARDED_BY(mutex_);
    Time due_ GUARDED_BY(mutex_) = never;  ///< the last answer of `due`
    std::shared_ptr<spdlog::logger> logger_;
    std::string suffix_;
};

}  // namespace cluster::detail
