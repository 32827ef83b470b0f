#include "replica/files.hpp"
#include "storage/support.hpp"
#include "storage/system_disk.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

using namespace cluster;

TEST_CASE("files: a piece of a snapshot that is older than one of this replica is no failure") {
    storage::support::Folder folder;
    storage::SystemDisk disk(folder / "ann");
    storage::DirectoryOptions options;
    options.node = "ann";
    options.group_name = "group";
    options.random = [](std::span<std::uint8_t> out) { std::fill(out.begin(), out.end(), std::uint8_t{1}); };
    storage::DirectoryFinding finding;
    const auto directory = storage::Directory::open(disk, options, finding);
    REQUIRE(directory);
    replica::Files files(*directory);
    const consensus::Configuration configuration{{directory->identity().value().disk}, {}, {}};
    const auto id = [&](consensus::Index index) {
        return consensus::SnapshotId{{1, index}, {}, configuration.encode()};
    };
    std::error_code error;
    {
        const auto own = directory->snapshots().begin(id(200), error);
        REQUIRE(own);
        REQUIRE_FALSE(own->finish());
    }
    const consensus::StoreChunk stored{{}, 1, {id(100), 1, 0, Bytes(std::string_view("x"))}};
    const auto result = files.store(stored, error);
    CHECK_FALSE(error);
    CHECK_FALSE(result.complete);
    CHECK_FALSE(result.busy);
}
