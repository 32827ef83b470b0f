#pragma once

#include "consensus/raft.hpp"
#include "storage/directory.hpp"

#include <cluster/service.hpp>

#include <functional>
#include <stdexcept>
#include <string_view>

namespace cluster::replica {

/// A leader or a snapshot is of a version with which this replica does not go on.
class VersionRefused final : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The version of the services, and with which others they go on; see `ReplicaOptions`.
struct Versions {
    ApplicationVersion own{};
    std::function<bool(ApplicationVersion own, ApplicationVersion other)> accepts{};

    /// There is nothing to compare.
    bool accept_all() const noexcept { return !accepts && own == ApplicationVersion(); }
    /// Throws `VersionRefused`. `of`: whose it is, for people.
    void check(ApplicationVersion other, std::string_view of) const;
};

/// Checks who wrote the newest snapshot, and who led the terms that begin behind it. Throws `VersionRefused`, and
/// `std::system_error` if they cannot be read.
void check_versions(const Versions& versions, storage::Directory& directory, const consensus::Recovered& recovered);

}  // namespace cluster::replica
