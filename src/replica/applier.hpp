#pragma once

#include "base/block.hpp"
#include "consensus/entry.hpp"
#include "storage/snapshots.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace cluster::replica {

/// Gives a service its events, and knows how far it is. Lets the exceptions of the service pass. Used by the service
/// thread. Lives shorter than its service.
class Applier {
public:
    /// A command that this process has submitted was applied.
    using Replied = std::function<void(std::uint64_t number, std::vector<std::byte> reply)>;

    Applier(Service& service, const consensus::DiskId& self, std::uint64_t life, Replied replied)
        : service_(service), self_(self), life_(life), replied_(std::move(replied)) {}

    void apply(const consensus::Entry& entry);
    void load(storage::SnapshotInput& input);

    const consensus::LogId& last() const noexcept { return last_; }
    Duration time() const noexcept { return time_; }
    /// Of entries since the last snapshot.
    std::uint64_t bytes() const noexcept { return bytes_; }
    void snapshot_begun() noexcept { bytes_ = 0; }

private:
    Service& service_;
    const consensus::DiskId self_;
    const std::uint64_t life_;
    const Replied replied_;
    consensus::LogId last_;
    Duration time_{};
    std::uint64_t bytes_ = 0;
};

}  // namespace cluster::replica
