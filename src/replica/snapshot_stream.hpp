#pragma once

#include "storage/snapshots.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace cluster::replica {

/// A snapshot as a service writes it: `u32` version of this form, `u32` 0, and what the service has written.
inline constexpr std::uint32_t snapshot_version = 1;

/// Throws `std::system_error` with what the disk said.
class StreamWriter final : public SnapshotWriter {
public:
    explicit StreamWriter(storage::SnapshotOutput& output);
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

private:
    storage::SnapshotInput& input_;
    std::uint64_t offset_ = 0;
};

}  // namespace cluster::replica
