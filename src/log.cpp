#include "log.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <mutex>
#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>
#include <utility>

namespace cluster::detail {

namespace {

LogLevel level_of(spdlog::level::level_enum level) {
    if (level >= spdlog::level::err) return LogLevel::error;
    if (level == spdlog::level::warn) return LogLevel::warning;
    return level == spdlog::level::info ? LogLevel::info : LogLevel::debug;
}

spdlog::level::level_enum level_of(core::Severity severity) {
    switch (severity) {
        case core::Severity::debug: return spdlog::level::debug;
        case core::Severity::info: return spdlog::level::info;
        case core::Severity::warning: return spdlog::level::warn;
        case core::Severity::error: break;
    }
    return spdlog::level::err;
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

void write_to_standard_error(LogLevel level, std::string_view text) {
    const char* const name = level == LogLevel::error ? "error" : "warning";
    std::fprintf(stderr, "cluster: %s: %.*s\n", name, static_cast<int>(text.size()), text.data());
}

}  // namespace

Log::Log(std::function<void(LogLevel, std::string_view)> write, std::string_view node)
    : suffix_(" node=" + std::string(node)) {
    const bool own = static_cast<bool>(write);
    auto sink = std::make_shared<FunctionSink>(own ? std::move(write) : write_to_standard_error);
    logger_ = std::make_shared<spdlog::logger>("cluster", std::move(sink));
    logger_->set_level(own ? spdlog::level::debug : spdlog::level::warn);
}

void Log::write(core::Severity severity, std::string_view text) {
    const spdlog::level::level_enum level = level_of(severity);
    if (!logger_->should_log(level)) return;
    std::string line = std::string(text) + suffix_;
    {
        const std::lock_guard lock(mutex_);
        Allowance& allowance = allowances_[static_cast<std::size_t>(severity)];
        const auto now = std::chrono::steady_clock::now();
        const double passed = std::chrono::duration<double>(now - allowance.since).count();
        allowance.lines = std::min(burst, allowance.lines + passed * rate);
        allowance.since = now;
        if (allowance.lines < 1) {
            ++allowance.left_out;
            return;
        }
        allowance.lines -= 1;
        if (allowance.left_out != 0) line += " left_out=" + std::to_string(std::exchange(allowance.left_out, 0));
    }
    logger_->log(level, spdlog::string_view_t(line));
}

}  // namespace cluster::detail
