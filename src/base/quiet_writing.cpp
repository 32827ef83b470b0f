#include "base/quiet_writing.hpp"

#include <cerrno>
#include <ctime>
#include <initializer_list>

namespace cluster::detail {

thread_local int QuietWriting::depth_ = 0;

QuietWriting::QuietWriting() noexcept {
    if (depth_++ != 0) return;
    ::sigemptyset(&signals_);
    for (const int each : {SIGPIPE, SIGXFSZ}) ::sigaddset(&signals_, each);
    ::sigemptyset(&pending_);
    ::sigpending(&pending_);
    ::pthread_sigmask(SIG_BLOCK, &signals_, &former_);
}

QuietWriting::~QuietWriting() {
    if (--depth_ != 0) return;
    const int why = errno;
    // A signal that this write has raised waits for this thread; one that waited before belongs to others.
    for (const int each : {SIGPIPE, SIGXFSZ}) {
        if (::sigismember(&pending_, each) == 1) ::sigdelset(&signals_, each);
    }
    const timespec no_time{};
    while (::sigtimedwait(&signals_, nullptr, &no_time) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &former_, nullptr);
    errno = why;
}

}  // namespace cluster::detail
