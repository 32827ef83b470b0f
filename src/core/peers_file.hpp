#pragma once

#include "base/time.hpp"

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cluster::core {

/// Where to dial a peer in view.
struct Whereabouts {
    PeerId id;
    std::string name;
    /// The address where it was reached comes first, then those that it publishes.
    std::vector<Address> addresses;

    friend bool operator==(const Whereabouts&, const Whereabouts&) = default;
};

/// What a node remembers of its peers beyond its own end, and the text that holds it. Not thread-safe.
///
///     cluster-peers 1 orders
///     5b0c4d1f77aa2e90 1764000000 10.0.0.5:7000,[fd00::5]:7000 bob
///     checksum         seen       addresses                    name
///
/// - The first line is the version and the cluster.
/// - Each further line is one entry; it was in view at `seen`, in seconds since 1970. Newest come first.
/// - The checksum covers the rest of the line and the cluster. So every line stands for itself: damage costs only the
///   lines that it hits.
/// - The name is for people; it has '?' for control characters.
///
/// 1. An entry whose addresses all belong to newer ones is dropped: a process that restarts in one place is one entry.
/// 2. What was read stays until it is too old or rule 1 drops it.
class KnownPeers {
public:
    static constexpr std::size_t max_entries = 1024;
    static constexpr std::size_t max_bytes = std::size_t{256} << 10;
    /// Of one entry: those that it publishes, and the one where it was reached.
    static constexpr std::size_t max_addresses_each = 9;

    KnownPeers(std::string cluster, Duration keep) : cluster_(std::move(cluster)), keep_(keep) {}

    struct Findings {
        /// Lines that have changed since they were written, or are of another version or cluster.
        std::size_t damaged = 0;
        /// The whole file belongs to this cluster.
        std::optional<std::string> other_cluster;
    };
    /// Takes over the contents of a file. An entry seen in the future counts as seen now. Of more than `max_bytes` only
    /// the beginning is read.
    Findings read(std::string_view text, const Moment& now);

    /// These are all peers in view now. True if they differ from the last ones.
    bool observe(std::vector<Whereabouts> view, Time now);
    /// The peer left, or this node parted from it. True if it was known.
    bool forget(const PeerId& id);

    std::size_t size() const noexcept { return entries_.size(); }
    /// At most `most`, each once and none of `except`: first the first address of each entry, then the second, and so
    /// on.
    std::vector<Address> addresses(std::span<const Address> except, std::size_t most) const;
    /// At most `max_bytes`, in whole lines.
    std::string text(const Moment& now);

private:
    struct Entry {
        std::optional<PeerId> id;  ///< if it was in view during this run
        std::string name;
        std::vector<Address> addresses;
        Time seen{};  ///< may be before the clock began
    };

    std::string line_of(const Entry& entry, const Moment& now) const;
    std::string checksum(std::string_view rest) const;
    std::optional<Entry> entry_of(std::string_view line, const Moment& now) const;
    void tidy(Time now);

    std::string cluster_;
    Duration keep_;
    std::vector<Entry> entries_;
    std::vector<Whereabouts> view_;
};

}  // namespace cluster::core
