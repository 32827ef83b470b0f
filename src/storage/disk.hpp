#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace cluster::storage {

/// One open file. Any number of threads may read while one writes elsewhere in it. What is written may be lost, in
/// whole or in part, until `sync` has succeeded. After a failed `write` or `sync` nobody knows what the file holds.
class File {
public:
    virtual ~File() = default;

    /// Fills `out` from `offset` on, and returns how much there was: less than asked for only at the end of the file.
    virtual std::size_t read(std::uint64_t offset, std::span<std::byte> out, std::error_code& error) const = 0;
    /// All of `bytes`, or an error. The file grows as needed.
    virtual std::error_code write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
    /// Returns when all that was written is on disk.
    virtual std::error_code sync() = 0;
    virtual std::uint64_t size(std::error_code& error) const = 0;
};

/// The seam between storage and the system: all that storage asks of files. There is one for the system, and one in the
/// simulator. Thread-safe; lives longer than its files and locks.
///
/// Names are relative to the directory of one replica, with `/` between a folder and a file; the directory itself is
/// the empty name. New, renamed and removed names may be lost, or come back, until `sync_folder` has succeeded.
class Disk {
public:
    virtual ~Disk() = default;

    /// Names in a folder, without its own. A folder that is missing gives `no_such_file_or_directory`.
    virtual std::vector<std::string> list(const std::string& folder, std::error_code& error) = 0;
    /// Succeeds if there is one already.
    virtual std::error_code make_folder(const std::string& name) = 0;
    virtual std::error_code sync_folder(const std::string& name) = 0;

    /// For reading and writing.
    virtual std::unique_ptr<File> open(const std::string& name, std::error_code& error) = 0;
    /// There must not be one.
    virtual std::unique_ptr<File> create(const std::string& name, std::error_code& error) = 0;
    /// Takes the place of `to` in one step. An open file stays open.
    virtual std::error_code rename(const std::string& from, const std::string& to) = 0;
    /// An open file can be read until it is closed.
    virtual std::error_code remove(const std::string& name) = 0;

    /// Makes the file if need be. Held until what is returned is destroyed; `Fault::locked` if somebody else holds it.
    virtual std::shared_ptr<void> lock(const std::string& name, std::error_code& error) = 0;
};

/// Writes a new file `name`.new, and puts it in the place of `name` once it is on disk. After a crash there is the old
/// file or the new one, and maybe `name`.new.
std::error_code replace_file(Disk& disk, const std::string& folder, const std::string& name,
                             std::span<const std::byte> bytes);
/// The whole file, which may have up to `most` bytes; `Fault::too_large` if it has more.
std::vector<std::byte> read_file(Disk& disk, const std::string& name, std::uint64_t most, std::error_code& error);
/// Succeeds if it is gone already.
std::error_code remove_if_there(Disk& disk, const std::string& name);

}  // namespace cluster::storage
