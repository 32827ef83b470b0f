#include "net/standard_error.hpp"

#include "base/quiet_writing.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>

namespace cluster::net {

namespace {

/// To a pipe or a device.
ssize_t write_without_waiting(std::string_view text) {
    const int own = ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0) {
        const ssize_t count = ::write(own, text.data(), text.size());
        ::close(own);
        return count;
    }
    // Without a descriptor, or the right to open it. A pipe with room takes a line; another writer may fill it first.
    pollfd room{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0) return -1;
    return ::write(STDERR_FILENO, text.data(), text.size());
}

ssize_t write_some(std::string_view text) {
    struct stat facts {};
    if (::fstat(STDERR_FILENO, &facts) != 0) return -1;
    switch (facts.st_mode & S_IFMT) {
        case S_IFSOCK: return ::send(STDERR_FILENO, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        case S_IFREG: return ::write(STDERR_FILENO, text.data(), text.size());
        case S_IFIFO:
        case S_IFCHR: return write_without_waiting(text);
        default: return -1;  // a file that waits for other events may have got its number
    }
}

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

/// Writes the lines of the log, one after the other.
class Lines {
public:
    void write(LogLevel level, std::string_view text) {
        std::string line = stamp() + (level == LogLevel::error ? " cluster: error: " : " cluster: warning: ");
        line += text;
        if (lost_ != 0) line += " lines_lost=" + std::to_string(lost_);
        line += '\n';
        lost_ = out_.write(line) ? 0 : lost_ + 1;
    }

private:
    StandardError out_;
    std::uint64_t lost_ = 0;  ///< since the last line that was written
};

}  // namespace

bool StandardError::write(std::string_view line) {
    std::string text = torn_ ? "\n" : "";
    text += line;
    if (text.size() > longest) text.replace(longest - 4, std::string::npos, "...\n");
    const detail::QuietWriting quiet;
    const ssize_t count = write_some(text);
    if (count > 0) torn_ = static_cast<std::size_t>(count) < text.size();
    return count == static_cast<ssize_t>(text.size());
}

std::function<void(LogLevel, std::string_view)> log_to_standard_error() {
    return [lines = std::make_shared<Lines>()](LogLevel level, std::string_view text) { lines->write(level, text); };
}

}  // namespace cluster::net
