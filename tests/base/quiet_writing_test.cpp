#include "base/quiet_writing.hpp"

#include <doctest/doctest.h>

#include <csignal>

#include <pthread.h>
#include <unistd.h>

using cluster::detail::QuietWriting;

namespace {

bool blocked(int signal) {
    sigset_t mask;
    ::sigemptyset(&mask);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, signal) == 1;
}

bool pending(int signal) {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigpending(&signals);
    return ::sigismember(&signals, signal) == 1;
}

void write_to_nobody() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    ::close(ends[0]);
    CHECK(::write(ends[1], "x", 1) == -1);
    ::close(ends[1]);
}

}  // namespace

TEST_CASE("quiet writing: a write to a pipe that nobody reads is an error, and leaves no signal behind") {
    REQUIRE_FALSE(blocked(SIGPIPE));
    {
        const QuietWriting quiet;
        write_to_nobody();
        CHECK(pending(SIGPIPE));
    }
    CHECK_FALSE(pending(SIGPIPE));
    CHECK_FALSE(blocked(SIGPIPE));
}

TEST_CASE("quiet writing: the end of an inner one changes nothing, the end of the outer one everything") {
    {
        const QuietWriting outer;
        {
            const QuietWriting inner;
            write_to_nobody();
        }
        CHECK(blocked(SIGPIPE));
        write_to_nobody();
    }
    CHECK_FALSE(pending(SIGPIPE));
    CHECK_FALSE(blocked(SIGPIPE));
}
