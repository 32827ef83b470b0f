#include "replica/state_hashes.hpp"

#include <algorithm>

namespace cluster::replica {

using consensus::Configuration;
using consensus::DiskId;
using consensus::Index;

void StateHashes::note(const DiskId& disk, Index index, std::uint64_t hash) {
    auto at = std::lower_bound(places_.begin(), places_.end(), index,
                               [](const Place& place, Index wanted) { return place.index < wanted; });
    if (at == places_.end() || at->index != index) at = places_.insert(at, Place{index, {}, false});
    at->hashes[disk] = hash;
    if (places_.size() > most_places) places_.pop_front();
}

std::optional<Index> StateHashes::alone(const Configuration& configuration) const {
    for (const Place& place : places_) {
        const auto own = place.hashes.find(self_);
        if (own == place.hashes.end()) continue;
        std::map<std::uint64_t, std::size_t> agree;
        for (const auto& [disk, hash] : place.hashes) {
            if (configuration.voters.contains(disk)) ++agree[hash];
        }
        for (const auto& [hash, count] : agree) {
            if (hash != own->second && count > configuration.voters.size() / 2) return place.index;
        }
    }
    return std::nullopt;
}

std::optional<Index> StateHashes::take_split(const Configuration& configuration) {
    for (Place& place : places_) {
        if (place.split) continue;
        std::map<std::uint64_t, std::size_t> agree;
        std::size_t said = 0;
        std::size_t most = 0;
        for (const auto& [disk, hash] : place.hashes) {
            if (!configuration.voters.contains(disk)) continue;
            ++said;
            most = std::max(most, ++agree[hash]);
        }
        if (said < configuration.voters.size() || most > said / 2) continue;
        place.split = true;
        return place.index;
    }
    return std::nullopt;
}

}  // namespace cluster::replica
