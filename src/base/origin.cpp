#include "base/origin.hpp"

#include <atomic>
#include <utility>

namespace cluster::detail {

namespace {

/// How many calls of `fork` lie between the process that was started and this one.
std::atomic<unsigned> forks{0};

struct Kept {
    std::shared_ptr<const void> what;
    Kept* next = nullptr;
};
std::atomic<Kept*> kept{nullptr};

}  // namespace

Origin::Origin() noexcept : forks_(forks) {}

bool Origin::is_here() const noexcept {
    return forks_ == forks.load(std::memory_order_relaxed);
}

void Origin::count_fork() noexcept {
    ++forks;
}

void keep_for_ever(std::shared_ptr<const void> what) {
    auto* const one = new Kept{std::move(what), kept};
    while (!kept.compare_exchange_weak(one->next, one)) {
    }
}

}  // namespace cluster::detail
