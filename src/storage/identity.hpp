#pragma once

#include "consensus/entry.hpp"
#include "consensus/founding.hpp"
#include "storage/disk.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cluster::storage {

using consensus::GroupId;
using consensus::Promise;

/// Who a directory is.
struct Identity {
    static constexpr std::size_t longest_name = 1024;
    static constexpr std::size_t most_disks = consensus::Configuration::most;

    consensus::DiskId disk;
    std::string node;        ///< the name of the node whose directory this is
    std::string group_name;  ///< `ReplicaOptions::group`
    std::optional<Promise> promise;
    /// To which it belongs: it was founded with this disk, or has taken it in.
    std::optional<GroupId> group;

    friend bool operator==(const Identity&, const Identity&) = default;
};

std::vector<std::byte> pack(const Identity& identity);
std::optional<Identity> unpack_identity(std::span<const std::byte> bytes);

/// The file `identity` of a directory, which is replaced as a whole. Not thread-safe. Lives shorter than its disk.
class IdentityFile {
public:
    static constexpr const char* name = "identity";

    explicit IdentityFile(Disk& disk) : disk_(disk) {}

    /// `no_such_file_or_directory` if there is none, `Fault::damaged` if it is not what was written.
    std::error_code read();
    /// For a directory that has none.
    std::error_code create(const Identity& identity);

    const Identity& value() const noexcept { return value_; }

    /// Is on disk when this returns. A promise is given once: the same one again succeeds, another one is
    /// `Fault::promised`, and so is any if the disk belongs to a group.
    std::error_code give(const Promise& promise);
    /// The group has been founded, or has taken this disk in. `Fault::promised` if the disk belongs to another one, or
    /// has promised itself to another one.
    std::error_code belong_to(const GroupId& group);

private:
    std::error_code write(const Identity& identity);

    Disk& disk_;
    Identity value_;
    std::error_code error_;  ///< the first one of writing; then nothing is written any more
};

}  // namespace cluster::storage
