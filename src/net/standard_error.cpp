#include "net/standard_error.hpp"

#include "net/system.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
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
    // Without a descriptor, or the right to open it. A pipe with room takes a line; somebody else may fill it first.
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
        default: return -1;  // what waits for other events may have got its number
    }
}

}  // namespace

bool StandardError::write(std::string_view line) {
    std::string text = torn_ ? "\n" : "";
    text += line;
    if (text.size() > longest) text.replace(longest - 4, std::string::npos, "...\n");
    const QuietWriting quiet;
    const ssize_t count = write_some(text);
    if (count > 0) torn_ = static_cast<std::size_t>(count) < text.size();
    return count == static_cast<ssize_t>(text.size());
}

}  // namespace cluster::net
