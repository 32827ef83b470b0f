#pragma once

#include "consensus/raft.hpp"
#include "storage/directory.hpp"

#include <cluster/service.hpp>

#include <functional>
#include <stdexcept>
#include <string_view>
#include <vector>

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

    /// Throws `VersionRefused`. `of`: whose it is, for people.
    void check(ApplicationVersion other, std::string_view of) const;
};

/// Which versions there are in what a replica begins with.
struct FoundVersions {
    ApplicationVersion snapshot;              ///< that has written the newest one
    std::vector<ApplicationVersion> leaders;  ///< of the terms that begin behind it
};
/// Throws `std::system_error` if it cannot be read.
FoundVersions find_versions(storage::Directory& directory, const consensus::Recovered& recovered);

}  // namespace cluster::replica
