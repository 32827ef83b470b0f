#include "consensus/configuration.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace cluster::consensus {

std::set<DiskId> Configuration::members() const {
    std::set<DiskId> all = voters;
    all.insert(voters_before.begin(), voters_before.end());
    all.insert(learners.begin(), learners.end());
    return all;
}

// Each set: one byte that counts, then the disks in their order.

Bytes Configuration::encode() const {
    std::vector<std::byte> bytes;
    for (const auto* set : {&voters, &voters_before, &learners}) {
        bytes.push_back(static_cast<std::byte>(set->size()));
        for (const DiskId& disk : *set) {
            for (const std::uint8_t byte : disk.bytes) bytes.push_back(static_cast<std::byte>(byte));
        }
    }
    return Bytes(bytes);
}

std::optional<Configuration> Configuration::decode(std::span<const std::byte> bytes) {
    Configuration read;
    for (auto* set : {&read.voters, &read.voters_before, &read.learners}) {
        if (bytes.empty()) return std::nullopt;
        const auto count = static_cast<std::size_t>(bytes[0]);
        bytes = bytes.subspan(1);
        if (count > most || bytes.size() < count * sizeof(DiskId)) return std::nullopt;
        for (std::size_t i = 0; i < count; ++i) {
            DiskId disk;
            std::transform(bytes.begin(), bytes.begin() + sizeof(DiskId), disk.bytes.begin(),
                           [](std::byte byte) { return static_cast<std::uint8_t>(byte); });
            if (!disk || (!set->empty() && *set->rbegin() >= disk)) return std::nullopt;
            set->insert(set->end(), disk);
            bytes = bytes.subspan(sizeof(DiskId));
        }
    }
    if (!bytes.empty() || read.voters.empty()) return std::nullopt;
    return read;
}

}  // namespace cluster::consensus
