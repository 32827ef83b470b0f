#include "storage/disk.hpp"

#include "storage/fault.hpp"

namespace cluster::storage {

std::error_code replace_file(Disk& disk, const std::string& folder, const std::string& name,
                             std::span<const std::byte> bytes) {
    const std::string beside = name + ".new";
    std::error_code error = remove_if_there(disk, beside);
    if (error) return error;
    const std::unique_ptr<File> file = disk.create(beside, error);
    if (!error) error = file->write(0, bytes);
    if (!error) error = file->sync();
    if (!error) error = disk.rename(beside, name);
    if (!error) error = disk.sync_folder(folder);
    return error;
}

std::vector<std::byte> read_file(Disk& disk, const std::string& name, std::uint64_t most, std::error_code& error) {
    std::vector<std::byte> bytes;
    const std::unique_ptr<File> file = disk.open(name, error);
    if (error) return bytes;
    const std::uint64_t size = file->size(error);
    if (!error && size > most) error = Fault::too_large;
    if (error) return bytes;
    bytes.resize(size);
    bytes.resize(file->read(0, bytes, error));
    return bytes;
}

std::error_code remove_if_there(Disk& disk, const std::string& name) {
    const std::error_code error = disk.remove(name);
    return error == std::errc::no_such_file_or_directory ? std::error_code() : error;
}

}  // namespace cluster::storage
