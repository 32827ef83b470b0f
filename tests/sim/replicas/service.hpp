#pragma once

#include "consensus/entry.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cluster::sim::replicas {

inline std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
}

/// What a command does to one of the registers. Its result says what it has seen.
struct Command {
    enum class Kind : std::uint64_t { read, write, compare_and_swap, append };

    std::uint64_t number = 0;  ///< no other command has it
    std::uint64_t key = 0;
    Kind kind = Kind::write;
    std::uint64_t value = 0;
    std::uint64_t expected = 0;  ///< by compare_and_swap

    /// Carries it out on a register: the result.
    std::uint64_t apply(std::uint64_t& value_of_key) const;
    Bytes encode(std::size_t padding) const;
    static Command decode(const Bytes& body);
};

/// The application: some registers. Each state has a hash that says by what entries it came to be.
class Service {
public:
    static constexpr std::size_t keys = 4;

    /// The result, if it is a command.
    std::uint64_t apply(const consensus::Entry& entry);
    const consensus::LogId& applied() const noexcept { return applied_; }
    Duration time() const noexcept { return time_; }
    std::uint64_t hash() const;
    std::uint64_t read(std::uint64_t key) const { return registers_[key % keys]; }

    std::vector<std::byte> save() const;
    void load(std::span<const std::byte> bytes);

private:
    std::array<std::uint64_t, keys> registers_{};
    std::uint64_t history_ = 0;  ///< hash of all entries
    consensus::LogId applied_;
    Duration time_{};  ///< of the last entry
};

}  // namespace cluster::sim::replicas
