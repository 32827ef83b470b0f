#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace cluster {

/// Fills a span with random bytes: from the system in a running node, from a seed in a test.
using RandomSource = std::function<void(std::span<std::uint8_t>)>;

/// A cheap generator for jitter and choices; its seed comes from a RandomSource. It is splitmix64 (Steele, Lea, Flood:
/// "Fast splittable pseudorandom number generators", 2014).
class Dice {
public:
    explicit Dice(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    /// 0 to `bound` - 1; `bound` is not 0 and small against 2^64.
    std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }

private:
    std::uint64_t state_;
};

}  // namespace cluster
