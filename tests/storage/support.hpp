#pragma once

#include "consensus/write.hpp"
#include "storage/directory.hpp"
#include "storage/fault.hpp"
#include "storage/log.hpp"
#include "storage/simulated_disk.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cluster::storage::support {

/// More with sanitizers takes too long.
inline constexpr bool sanitized = std::string_view(CLUSTER_SANITIZE) != "";

inline consensus::DiskId disk_id(std::uint8_t first = 7) {
    consensus::DiskId id;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(first + i);
    return id;
}

inline consensus::Entry entry(consensus::Index index, consensus::Term term, std::string_view body,
                              consensus::EntryKind kind = consensus::EntryKind::command) {
    return {{term, index}, kind, Duration(static_cast<std::int64_t>(term * 1'000'000 + index)), Bytes(body)};
}

inline consensus::Write entries(std::vector<consensus::Entry> list) {
    consensus::Write write;
    write.entries = std::move(list);
    return write;
}

inline consensus::Write state(consensus::HardState value) {
    consensus::Write write;
    write.state = value;
    return write;
}

inline std::vector<consensus::Entry> all_of(const Log& log) {
    const LogIndex index = log.index();
    std::error_code error;
    if (index.base().index == index.last().index) return {};
    std::vector<consensus::Entry> found =
        log.read(index.base().index + 1, index.last().index, std::size_t{1} << 40, error);
    CHECK_MESSAGE(!error, error.message());
    return found;
}

inline std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte each : bytes) {
        text += "0123456789abcdef"[std::to_integer<unsigned>(each >> 4)];
        text += "0123456789abcdef"[std::to_integer<unsigned>(each & std::byte{15})];
    }
    return text;
}

/// For a directory on the disk of this machine.
inline DirectoryOptions system_options(std::uint64_t segment = 32768) {
    DirectoryOptions made;
    made.node = "ann";
    made.group_name = "orders";
    made.random = [](std::span<std::uint8_t> out) {
        for (std::uint8_t& each : out) each = 5;
    };
    made.log.segment_bytes = segment;
    return made;
}

/// The entry of that index, always the same: they differ in what they hold and in how long that is.
inline consensus::Write varied(consensus::Index index) {
    consensus::Write write =
        entries({entry(index, 1, std::string(20 + index * 37 % 400, static_cast<char>('a' + index % 26)))});
    write.number = index;
    return write;
}

/// A folder of its own on the disk of this machine, gone with the test.
struct Folder {
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "cluster-storage-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::string operator/(std::string_view name) const { return (path / name).string(); }
    std::filesystem::path path;
};

}  // namespace cluster::storage::support
