#include "replica/snapshot_stream.hpp"

#include <cluster/error.hpp>

#include <array>
#include <system_error>

namespace cluster::replica {

StreamWriter::StreamWriter(storage::SnapshotOutput& output) : output_(output) {
    write(snapshot_version);
    write(std::uint32_t{0});
}

void StreamWriter::write_bytes(std::span<const std::byte> bytes) {
    const std::error_code error = output_.write(bytes);
    if (error) throw std::system_error(error, "writing a snapshot");
}

StreamReader::StreamReader(storage::SnapshotInput& input) : input_(input) {
    std::uint32_t version = 0;
    std::uint32_t reserved = 0;
    read(version);
    read(reserved);
    if (version != snapshot_version || reserved != 0) {
        throw std::system_error(make_error_code(errc::malformed_message), "a snapshot of another version");
    }
}

void StreamReader::read_bytes(std::span<std::byte> out) {
    std::error_code error;
    const std::size_t read = input_.read(offset_, out, error);
    if (!error && read < out.size()) error = make_error_code(errc::malformed_message);
    if (error) throw std::system_error(error, "reading a snapshot");
    offset_ += read;
}

}  // namespace cluster::replica
