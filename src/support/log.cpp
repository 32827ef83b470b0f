#include "support/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace cluster::detail {

namespace {

LogLevel level_of(spdlog::level::level_enum level) {
    if (level >= spdlog::level::err) return LogLevel::error;
    if (level == spdlog::level::warn) return LogLevel::warning;
    return level == spdlog::level::info ? LogLevel::info : LogLevel::debug;
}

spdlog::level::level_enum level_of(LogLevel level) {
    switch (level) {
        case LogLevel::debug: return spdlog::level::debug;
        case LogLevel::info: return spdlog::level::info;
        case LogLevel::warning: return spdlog::level::warn;
        case LogLevel::error: break;
    }
    return spdlog::level::err;
}

Time now() {
    return std::chrono::steady_clock::now().time_since_epoch();
}

/// Writes one line at a time. The lock is recursive, because the application's function may call what logs another
/// line.
class FunctionSink final : public spdlog::sinks::sink {
public:
    explicit FunctionSink(std::function<void(LogLevel, std::string_view)> write) : write_(std::move(write)) {}

    void log(const spdlog::details::log_msg& message) override {
        const std::lock_guard lock(mutex_);
        try {
            write_(level_of(message.level), std::string_view(message.payload.data(), message.payload.size()));
        } catch (...) {  // nobody is left to report it to
        }
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

private:
    std::recursive_mutex mutex_;
    std::function<void(LogLevel, std::string_view)> write_;
};

}  // namespace

Log::Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node, LogLevel least)
    : suffix_(" node=" + token(node)) {
    logger_ = std::make_shared<spdlog::logger>("cluster", std::make_shared<FunctionSink>(std::move(write)));
    logger_->set_error_handler([](const std::string&) {});  // the default would write to standard error
    logger_->set_level(level_of(least));
}

void Log::write(LogLine line) {
    if (!logger_->should_log(level_of(line.level))) return;
    std::optional<LogLine> passed;
    {
        const Lock lock(mutex_);
        passed = gate_.pass(std::move(line), now());
    }
    if (passed) put(*passed);
}

std::optional<Time> Log::due() {
    const Lock lock(mutex_);
    const Time deadline = gate_.deadline();
    if (deadline >= due_) return std::nullopt;
    due_ = deadline;
    return deadline;
}

void Log::flush(bool all) {
    std::vector<LogLine> lines;
    {
        const Lock lock(mutex_);
        due_ = never;
        lines = all ? gate_.flush_all() : gate_.flush(now());
    }
    for (const LogLine& line : lines) put(line);
}

void Log::put(const LogLine& line) {
    logger_->log(level_of(line.level), spdlog::string_view_t(line.text + suffix_));
}

}  // namespace cluster::detail
