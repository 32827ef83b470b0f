#include "replica/files.hpp"
#include "storage/support.hpp"
#include "storage/system_disk.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

using namespace cluster;

namespace {

/// The files of a replica, in a folder of its own.
struct Desk {
    Desk() {
        storage::DirectoryOptions options;
        options.node = "ann";
        options.group_name = "group";
        options.random = [](std::span<std::uint8_t> out) { std::fill(out.begin(), out.end(), std::uint8_t{1}); };
        storage::DirectoryFinding finding;
        directory = storage::Directory::open(disk, options, finding);
        REQUIRE(directory);
        files = std::make_unique<replica::Files>(*directory);
    }
    consensus::SnapshotId id(consensus::Index index) const {
        const consensus::Configuration configuration{{directory->identity().value().disk}, {}, {}};
        return {{1, index}, {}, configuration.encode()};
    }
    void write(consensus::Index index, std::string_view text) const {
        std::error_code error;
        const auto output = directory->snapshots().begin(id(index), error);
        REQUIRE(output);
        REQUIRE_FALSE(output->write(std::as_bytes(std::span(text))));
        REQUIRE_FALSE(output->finish());
    }
    std::size_t open_files() const {
        std::size_t found = 0;
        for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;
            const std::string name = std::filesystem::read_symlink(each.path(), gone).string();
            if (!gone && name.starts_with(folder / "ann/snapshots")) ++found;
        }
        return found;
    }

    storage::support::Folder folder;
    storage::SystemDisk disk{folder / "ann"};
    std::unique_ptr<storage::Directory> directory;
    std::unique_ptr<replica::Files> files;
};

}  // namespace

TEST_CASE("files: a piece of a snapshot that is older than one of this replica is no failure") {
    Desk desk;
    desk.write(200, "state");
    std::error_code error;
    const consensus::StoreChunk stored{{}, 1, {desk.id(100), 1, 0, Bytes(std::string_view("x"))}};
    const auto result = desk.files->store(stored, error);
    CHECK_FALSE(error);
    CHECK_FALSE(result.complete);
    CHECK_FALSE(result.busy);
}

TEST_CASE("files: a snapshot goes from one to another in pieces, and its file is closed behind the last one") {
    Desk from, to;
    from.write(100, "the whole state");
    std::error_code error;
    replica::Files::Stored result;
    while (!result.complete) {
        const auto chunk = from.files->read(consensus::FetchChunk{{}, {1, 100}, result.next, 4});
        REQUIRE(chunk);
        CHECK(from.open_files() == (chunk->offset + 4 < chunk->size ? 1 : 0));
        result = to.files->store({{}, 1, *chunk}, error);
        REQUIRE_FALSE(error);
    }
    CHECK(to.directory->snapshots().list() == from.directory->snapshots().list());
}

TEST_CASE("files: a snapshot that is not the one that was announced is dropped, and may come again") {
    Desk from, to;
    from.write(100, "the whole state");
    std::error_code error;
    const auto whole = from.files->read(consensus::FetchChunk{{}, {1, 100}, 0, 1000});
    REQUIRE(whole);
    consensus::Chunk other = *whole;
    other.bytes = Bytes(std::string_view("the whole stale"));
    const auto result = to.files->store({{}, 1, other}, error);
    CHECK_FALSE(error);
    CHECK(result.damaged);
    CHECK_FALSE(result.complete);
    CHECK(result.next == 0);
    CHECK(to.directory->snapshots().list().empty());
    CHECK(to.files->store({{}, 1, *whole}, error).complete);
}
