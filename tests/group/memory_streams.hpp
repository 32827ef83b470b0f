#pragma once

#include <cluster/error.hpp>
#include <cluster/service.hpp>

#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>
#include <vector>

// Snapshots in memory.

namespace cluster::support {

class MemoryWriter final : public SnapshotWriter {
public:
    void write_bytes(std::span<const std::byte> bytes) override { out.insert(out.end(), bytes.begin(), bytes.end()); }
    std::vector<std::byte> out;
};

class MemoryReader final : public SnapshotReader {
public:
    explicit MemoryReader(std::span<const std::byte> bytes) : rest(bytes) {}
    void read_bytes(std::span<std::byte> to) override {
        if (to.size() > rest.size()) throw std::system_error(make_error_code(errc::malformed_message), "too short");
        if (!to.empty()) std::memcpy(to.data(), rest.data(), to.size());
        rest = rest.subspan(to.size());
    }
    bool at_end() override { return rest.empty(); }
    std::span<const std::byte> rest;
};

}  // namespace cluster::support
