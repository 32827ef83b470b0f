#pragma once

#include "consensus/configuration.hpp"
#include "consensus/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

namespace cluster::replica {

/// What the state of each replica was at the places in the log that ask for it. Equal places must mean equal states; if
/// they do not, a service is not deterministic, or memory has changed by itself. Not thread-safe.
class StateHashes {
public:
    /// Places of which something is known; the oldest are forgotten.
    static constexpr std::size_t most_places = 16;

    explicit StateHashes(const consensus::DiskId& self) : self_(self) {}

    /// `disk` has that state there.
    void note(const consensus::DiskId& disk, consensus::Index index, std::uint64_t hash);
    /// The place where a majority of the voters agrees on a state that is not this replica's; none if there is no such
    /// place.
    std::optional<consensus::Index> alone(const consensus::Configuration& configuration) const;
    /// The place where voters differ and no majority agrees, though all have said what they have. Each once.
    std::optional<consensus::Index> take_split(const consensus::Configuration& configuration);

private:
    struct Place {
        consensus::Index index = 0;
        std::map<consensus::DiskId, std::uint64_t> hashes;
        bool split = false;  ///< it was told
    };

    const consensus::DiskId self_;
    std::deque<Place> places_;  ///< ascending
};

}  // namespace cluster::replica
