#include "support/log.hpp"

#include "net/standard_error.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
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

spdlog::level::level_enum level_of(Severity severity) {
    switch (severity) {
        case Severity::debug: return spdlog::level::debug;
        case Severity::info: return spdlog::level::info;
        case Severity::warning: return spdlog::level::warn;
        case Severity::error: break;
    }
    return spdlog::level::err;
}

Time now() {
    return std::chrono::steady_clock::now().time_since_epoch();
}

/// One line at a time. The lock is recursive, because the application's function may call what logs another line.
class FunctionSink final : public spdlog::sinks::sink {
public:
    explicit FunctionSink(std::function<void(LogLevel, std::string_view)> write) : write_(std::move(write)) {}

    void log(const spdlog::details::log_msg& message) override {
        const std::lock_guard lock(mutex_);
        try {
            write_(level_of(message.level), std::string_view(message.payload.data(), message.payload.size()));
        } catch (...) {  // there is nobody left to tell
        }
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

private:
    std::recursive_mutex mutex_;
    std::function<void(LogLevel, std::string_view)> write_;
};

/// The time of day in UTC, such as 2024-02-29T23:59:59.123Z.
std::string stamp() {
    const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 40> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    const auto milliseconds = now.time_since_epoch().count() % 1000;
    return std::string(text.data(), size) + '.' + std::to_string(1000 + milliseconds).substr(1) + 'Z';
}

/// For an application that does not say where to: standard error. What is lost there is counted.
class StandardErrorLines {
public:
    void write(LogLevel level, std::string_view text) {
        std::string line = stamp() + (level == LogLevel::error ? " cluster: error: " : " cluster: warning: ");
        line += text;
        if (lost_ != 0) line += " lines_lost=" + std::to_string(lost_);
        line += '\n';
        lost_ = out_.write(line) ? 0 : lost_ + 1;
    }

private:
    net::StandardError out_;
    std::uint64_t lost_ = 0;  ///< since a line was written
};

std::function<void(LogLevel, std::string_view)> to_standard_error() {
    return [lines = std::make_shared<StandardErrorLines>()](LogLevel level, std::string_view text) {
        lines->write(level, text);
    };
}

}  // namespace

Log::Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node)
    : suffix_(" node=" + token(node)) {
    const bool own = static_cast<bool>(write);
    auto sink = std::make_shared<FunctionSink>(own ? std::move(write) : to_standard_error());
    logger_ = std::make_shared<spdlog::logger>("cluster", std::move(sink));
    logger_->set_error_handler([](const std::string&) {});  // by itself it would write to standard error
    logger_->set_level(own ? spdlog::level::debug : spdlog::level::warn);
}

void Log::write(LogLine line) {
    if (!logger_->should_log(level_of(line.severity))) return;
    std::optional<LogLine> passed;
    {
        const std::lock_guard lock(mutex_);
        passed = gate_.pass(std::move(line), now());
    }
    if (passed) put(*passed);
}

std::optional<Time> Log::due() {
    const std::lock_guard lock(mutex_);
    const Time deadline = gate_.deadline();
    if (deadline >= due_) return std::nullopt;
    due_ = deadline;
    return deadline;
}

void Log::flush(bool all) {
    std::vector<LogLine> lines;
    {
        const std::lock_guard lock(mutex_);
        due_ = never;
        lines = all ? gate_.flush_all() : gate_.flush(now());
    }
    for (const LogLine& line : lines) put(line);
}

void Log::put(const LogLine& line) {
    logger_->log(level_of(line.severity), spdlog::string_view_t(line.text + suffix_));
}

}  // namespace cluster::detail
