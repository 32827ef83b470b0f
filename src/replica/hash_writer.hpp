#pragma once

#include "base/random.hpp"

#include <cluster/service.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cluster::replica {

/// Takes a state, and keeps nothing of it but what tells it from others. Against accidents, not against enemies.
class HashWriter final : public SnapshotWriter {
public:
    void write_bytes(std::span<const std::byte> bytes) override {
        length_ += bytes.size();
        while (!bytes.empty()) {
            const std::size_t count = std::min(bytes.size(), word_.size() - filled_);
            std::memcpy(word_.data() + filled_, bytes.data(), count);
            bytes = bytes.subspan(count);
            filled_ += count;
            if (filled_ == word_.size()) mix();
        }
    }
    std::uint64_t hash() const noexcept {
        HashWriter last = *this;
        last.mix();
        return Dice(last.hash_ ^ length_).next();
    }

private:
    void mix() noexcept {
        std::uint64_t value = 0;
        std::memcpy(&value, word_.data(), sizeof value);
        hash_ = Dice(hash_ ^ value).next();
        word_ = {};
        filled_ = 0;
    }

    std::array<std::byte, 8> word_{};
    std::size_t filled_ = 0;
    std::uint64_t length_ = 0;
    std::uint64_t hash_ = 0;
};

}  // namespace cluster::replica
