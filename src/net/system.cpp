#include "net/system.hpp"

#include <cluster/error.hpp>

#include <cerrno>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>

namespace cluster::net {

// Nothing is kept in stock: a process that forks must not share it with its child.
void fill_random(std::span<std::uint8_t> out) {
    while (!out.empty()) {
        const ssize_t count = ::getrandom(out.data(), out.size(), 0);
        if (count < 0) {
            if (errno == EINTR) continue;
            throw std::system_error(make_error_code(errc::system_failure), "getrandom");
        }
        out = out.subspan(static_cast<std::size_t>(count));
    }
}

std::uint64_t process_id() noexcept {
    return static_cast<std::uint64_t>(::getpid());
}

int open_always_readable() {
    const int descriptor = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor >= 0) return descriptor;
    const bool none_left = errno == EMFILE || errno == ENFILE;
    throw std::system_error(make_error_code(none_left ? errc::out_of_descriptors : errc::system_failure), "eventfd");
}

void raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace cluster::net
