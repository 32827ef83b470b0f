#pragma once

#include <csignal>

namespace cluster::detail {

/// While it lives, this thread may write to a pipe that nobody reads, or beyond the limit of a file's size. That is
/// then an error of the call, and no signal, which would end the process. Within another one it costs nothing: a thread
/// that often writes has one for its whole life.
class QuietWriting {
public:
    QuietWriting() noexcept;
    QuietWriting(const QuietWriting&) = delete;
    QuietWriting& operator=(const QuietWriting&) = delete;
    ~QuietWriting();

private:
    static thread_local int depth_;

    sigset_t signals_{};
    sigset_t former_{};
    sigset_t pending_{};  ///< before
};

}  // namespace cluster::detail
