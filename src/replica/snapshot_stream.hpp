#pragma once

#include "storage/snapshots.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cluster::replica {

// A snapshot: `u32` number of this form; the version of the application, as two `u16`; sections. The first one has no
// name, and holds what belongs to the library (`group::State`). Then comes one of each service, in the order in which
// the replica was given them. A section: its name, with its length as `u32`; pieces, each with its length as `u32`,
// which is not 0; a `u32` 0. In form 1 there were no sections, but only what the service had written.

inline constexpr std::uint32_t snapshot_version = 2;

/// Throws `std::system_error` with what the disk said.
class StreamWriter final : public SnapshotWriter {
public:
    StreamWriter(storage::SnapshotOutput& output, ApplicationVersion version);
    void write_bytes(std::span<const std::byte> bytes) override;

private:
    storage::SnapshotOutput& output_;
};

/// Throws as `SnapshotReader` says, and if it is a snapshot of another version.
class StreamReader final : public SnapshotReader {
public:
    explicit StreamReader(storage::SnapshotInput& input);
    void read_bytes(std::span<std::byte> out) override;
    bool at_end() override { return offset_ == input_.facts().size; }
    /// `snapshot_version` of who wrote it.
    std::uint32_t form() const noexcept { return form_; }

private:
    storage::SnapshotInput& input_;
    std::uint64_t offset_ = 0;
    std::uint32_t form_ = 0;
};

/// Writes one section. Only `end` makes it whole.
class SectionWriter final : public SnapshotWriter {
public:
    SectionWriter(SnapshotWriter& out, std::string_view name);
    void write_bytes(std::span<const std::byte> bytes) override;
    void end();

private:
    static constexpr std::size_t piece = std::size_t{32} << 10;
    void write_piece(std::span<const std::byte> bytes);

    SnapshotWriter& out_;
    std::vector<std::byte> gathered_;
};

/// Reads one section. Throws `std::system_error` if the next one has another name, or there is none.
class SectionReader final : public SnapshotReader {
public:
    SectionReader(SnapshotReader& in, std::string_view name);
    void read_bytes(std::span<std::byte> out) override;
    bool at_end() override;
    /// Passes over what was not read.
    void end();

private:
    SnapshotReader& in_;
    std::uint32_t left_ = 0;  ///< of the piece
    bool ended_ = false;
};

}  // namespace cluster::replica
