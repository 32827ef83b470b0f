#include "replica/snapshot_stream.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <system_error>

namespace cluster::replica {

StreamWriter::StreamWriter(storage::SnapshotOutput& output, ApplicationVersion version) : output_(output) {
    write(snapshot_version);
    write(version.major);
    write(version.minor);
}

void StreamWriter::write_bytes(std::span<const std::byte> bytes) {
    const std::error_code error = output_.write(bytes);
    if (error) throw std::system_error(error, "writing a snapshot");
}

StreamReader::StreamReader(storage::SnapshotInput& input) : input_(input) {
    read(form_);
    read(version_.major);
    read(version_.minor);
    if (form_ == 0 || form_ > snapshot_version) {
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

SectionWriter::SectionWriter(SnapshotWriter& out, std::string_view name) : out_(out) {
    out_.write(name);
}

void SectionWriter::write_piece(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    out_.write(static_cast<std::uint32_t>(bytes.size()));
    out_.write_bytes(bytes);
}

/// Services write many small things: these are gathered.
void SectionWriter::write_bytes(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), piece - gathered_.size()));
        gathered_.insert(gathered_.end(), part.begin(), part.end());
        bytes = bytes.subspan(part.size());
        if (gathered_.size() < piece) return;
        write_piece(gathered_);
        gathered_.clear();
    }
}

void SectionWriter::end() {
    write_piece(gathered_);
    out_.write(std::uint32_t{0});
}

SectionReader::SectionReader(SnapshotReader& in, std::string_view name) : SnapshotReader(in.version()), in_(in) {
    std::string there;
    const bool none = in_.at_end();
    if (!none) in_.read(there);
    if (!none && there == name) return;
    const std::string found = none ? "no more services" : "a service \"" + there + "\"";
    throw std::system_error(
        make_error_code(errc::malformed_message),
        "a snapshot with " + found + " where this replica has the service \"" + std::string(name) + "\"");
}

bool SectionReader::at_end() {
    if (left_ == 0 && !ended_) {
        in_.read(left_);
        ended_ = left_ == 0;
    }
    return ended_;
}

void SectionReader::read_bytes(std::span<std::byte> out) {
    while (!out.empty()) {
        if (at_end()) {
            throw std::system_error(make_error_code(errc::malformed_message),
                                    "reading more of a snapshot than was written");
        }
        const std::size_t count = std::min<std::size_t>(out.size(), left_);
        in_.read_bytes(out.first(count));
        out = out.subspan(count);
        left_ -= static_cast<std::uint32_t>(count);
    }
}

void SectionReader::end() {
    std::array<std::byte, 4096> passed;
    while (!at_end()) read_bytes(std::span(passed).first(std::min<std::size_t>(passed.size(), left_)));
}

}  // namespace cluster::replica
