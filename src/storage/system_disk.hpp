#pragma once

#include "storage/disk.hpp"

namespace cluster::storage {

/// The disk of this machine, below one directory. No link is followed from there. New files are for their owner alone.
class SystemDisk final : public Disk {
public:
    explicit SystemDisk(std::string directory) : directory_(std::move(directory)) {}

    std::vector<std::string> list(const std::string& folder, std::error_code& error) override;
    /// That of the directory itself makes one folder, not those above it.
    std::error_code make_folder(const std::string& name) override;
    std::error_code sync_folder(const std::string& name) override;
    std::unique_ptr<File> open(const std::string& name, std::error_code& error) override;
    std::unique_ptr<File> create(const std::string& name, std::error_code& error) override;
    std::error_code rename(const std::string& from, const std::string& to) override;
    std::error_code remove(const std::string& name) override;
    std::shared_ptr<void> lock(const std::string& name, std::error_code& error) override;

private:
    std::string path(const std::string& name) const { return name.empty() ? directory_ : directory_ + '/' + name; }

    std::string directory_;
};

}  // namespace cluster::storage
