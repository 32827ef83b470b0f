#pragma once

#include "base/random.hpp"
#include "base/time.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>

namespace cluster::sim::replicas {

/// What is left to chance, from one seed. Whole numbers only, so that each compiler draws the same.
class Chance {
public:
    explicit Chance(std::uint64_t seed) : dice_(seed) {}

    std::uint64_t next() { return dice_.next(); }
    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(dice_.below(bound)); }
    /// One of a million.
    bool happens(std::uint64_t millionths) { return millionths != 0 && dice_.below(1'000'000) < millionths; }
    bool coin() { return (dice_.next() & 1) != 0; }
    Duration between(Duration least, Duration most) {
        return least + Duration(static_cast<Duration::rep>(
                           dice_.below(static_cast<std::uint64_t>((most - least).count()) + 1)));
    }
    /// Exponentially distributed, made of straight lines: each half as probable as the one before.
    Duration around(Duration mean) {
        const std::uint64_t drawn = dice_.next();
        const auto halvings = static_cast<Duration::rep>(std::countr_zero(drawn | (std::uint64_t{1} << 20)));
        const auto part = static_cast<Duration::rep>(drawn >> 44);  // of 2^20
        return Duration(mean.count() / 1000 * 693 * halvings + mean.count() / 1000 * (part * 693 >> 20));
    }

private:
    Dice dice_;
};

}  // namespace cluster::sim::replicas
