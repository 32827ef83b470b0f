#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CLUSTER_FUZZ_COUNTS_MEMORY 1
#endif
#endif
#if defined(CLUSTER_FUZZ_COUNTS_MEMORY)
#include <sanitizer/allocator_interface.h>
#endif

// What the fuzz targets share. Each is one function for one input; what does not hold ends the process.

namespace cluster::fuzz {

inline void require(bool condition) {
    if (!condition) std::abort();
}

/// What a fuzzer has made up, taken bit by bit. Behind its end all is 0.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

    bool empty() const noexcept { return rest_.empty(); }
    std::size_t size() const noexcept { return rest_.size(); }
    std::uint8_t byte() noexcept {
        const auto one = take(1);
        return one.empty() ? std::uint8_t{0} : one[0];
    }
    /// Less than `bound`.
    std::size_t below(std::size_t bound) noexcept { return number() % bound; }
    std::uint32_t number() noexcept {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i) value = value << 8 | byte();
        return value;
    }
    /// At most so many.
    std::span<const std::uint8_t> take(std::size_t count) noexcept {
        const auto taken = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    /// As many as the next byte says, at most.
    std::span<const std::uint8_t> some() noexcept {
        const std::size_t count = byte();
        return take(count);
    }

private:
    std::span<const std::uint8_t> rest_;
};

#if defined(CLUSTER_FUZZ_COUNTS_MEMORY)
inline std::atomic<std::size_t> allocated{0};
inline const bool counting = [] {
    __sanitizer_install_malloc_and_free_hooks([](const volatile void*, std::size_t size) { allocated += size; },
                                              [](const volatile void*) {});
    return true;
}();
#endif

/// Ends the process if more is allocated while this lives than a multiple of the input. Only where a sanitizer counts.
class MemoryLimit {
public:
    explicit MemoryLimit(std::size_t most) : most_(most) { restart(); }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;
    ~MemoryLimit() { check(); }

private:
    void restart() noexcept {
#if defined(CLUSTER_FUZZ_COUNTS_MEMORY)
        begin_ = allocated;
#endif
    }
    void check() const noexcept {
#if defined(CLUSTER_FUZZ_COUNTS_MEMORY)
        require(allocated - begin_ <= most_);
#endif
    }

    [[maybe_unused]] const std::size_t most_;
    [[maybe_unused]] std::size_t begin_ = 0;
};

}  // namespace cluster::fuzz
