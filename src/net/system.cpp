#include "net/system.hpp"

#include "base/origin.hpp"

#include <cluster/error.hpp>

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <system_error>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace cluster::net {

namespace {

/// Works from the start of the program on.
[[maybe_unused]] const int watching_forks = ::pthread_atfork(nullptr, nullptr, &detail::Origin::count_fork);

void ask_for_random(std::span<std::uint8_t> out) {
    while (!out.empty()) {
        const ssize_t count = ::getrandom(out.data(), out.size(), 0);
        if (count < 0) {
            if (errno == EINTR) continue;
            throw std::system_error(make_error_code(errc::system_failure), "getrandom");
        }
        out = out.subspan(static_cast<std::size_t>(count));
    }
}

/// Random bytes that one thread has in advance, because a call of the system costs more than the bytes. A child made by
/// `fork` never uses those of its parent.
struct RandomStock {
    detail::Origin origin;
    std::array<std::uint8_t, 256> bytes{};
    std::size_t used = bytes.size();
};

}  // namespace

void fill_random(std::span<std::uint8_t> out) {
    thread_local RandomStock stock;
    if (out.size() > stock.bytes.size()) return ask_for_random(out);
    if (out.size() > stock.bytes.size() - stock.used || !stock.origin.is_here()) {
        ask_for_random(stock.bytes);
        stock.origin = {};
        stock.used = 0;
    }
    const auto next = stock.bytes.begin() + static_cast<std::ptrdiff_t>(stock.used);
    std::copy_n(next, out.size(), out.begin());
    std::fill_n(next, out.size(), std::uint8_t{0});  // nobody finds them in memory later
    stock.used += out.size();
}

std::uint64_t draw_number() {
    std::array<std::uint8_t, 8> bytes{};
    fill_random(bytes);
    return std::bit_cast<std::uint64_t>(bytes);
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

std::uint64_t descriptor_limit() noexcept {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

std::uint64_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    return descriptor_limit();
}

void freed(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t worth_it = std::uint64_t{16} << 20;
    static std::atomic<std::uint64_t> all{0};
    if (all.fetch_add(bytes) + bytes < worth_it) return;
    all = 0;
#if defined(__GLIBC__)
    ::malloc_trim(0);
#endif
}

}  // namespace cluster::net
