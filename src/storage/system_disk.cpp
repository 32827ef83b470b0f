#include "storage/system_disk.hpp"

#include "base/quiet_writing.hpp"
#include "base/system_call.hpp"
#include "storage/fault.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace cluster::storage {

namespace {

using detail::last_error;
using detail::uninterrupted;

class Descriptor {
public:
    explicit Descriptor(int number) noexcept : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const noexcept { return number_; }
    bool open() const noexcept { return number_ >= 0; }

private:
    int number_;
};

class SystemFile final : public File {
public:
    explicit SystemFile(Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}

    std::size_t read(std::uint64_t offset, std::span<std::byte> out, std::error_code& error) const override {
        error.clear();
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t count = uninterrupted([&] {
                return ::pread(descriptor_.number(), out.data() + done, out.size() - done,
                               static_cast<off_t>(offset + done));
            });
            if (count < 0) error = last_error();
            if (count <= 0) break;
            done += static_cast<std::size_t>(count);
        }
        return done;
    }

    std::error_code write(std::uint64_t offset, std::span<const std::byte> bytes) override {
        const detail::QuietWriting quiet;
        while (!bytes.empty()) {
            const ssize_t count = uninterrupted(
                [&] { return ::pwrite(descriptor_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
            if (count < 0) return last_error();
            // A system that takes nothing and says nothing would be asked for ever.
            if (count == 0) return std::make_error_code(std::errc::io_error);
            bytes = bytes.subspan(static_cast<std::size_t>(count));
            offset += static_cast<std::uint64_t>(count);
        }
        return {};
    }

    /// Never repeated: a second call would succeed although the first has lost what it could not write.
    std::error_code sync() override {
        return ::fdatasync(descriptor_.number()) == 0 ? std::error_code() : last_error();
    }

    std::uint64_t size(std::error_code& error) const override {
        error.clear();
        struct stat facts {};
        if (::fstat(descriptor_.number(), &facts) != 0) error = last_error();
        return error ? 0 : static_cast<std::uint64_t>(facts.st_size);
    }

private:
    Descriptor descriptor_;
};

Descriptor open_file(const std::string& path, int flags) {
    return Descriptor(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600); }));
}

std::unique_ptr<File> file_of(Descriptor descriptor, std::error_code& error) {
    error = descriptor.open() ? std::error_code() : last_error();
    if (error) return nullptr;
    struct stat facts {};
    if (::fstat(descriptor.number(), &facts) != 0) {
        error = last_error();
    } else if (!S_ISREG(facts.st_mode)) {
        error = std::make_error_code(S_ISDIR(facts.st_mode) ? std::errc::is_a_directory : std::errc::invalid_argument);
    }
    if (error) return nullptr;
    return std::make_unique<SystemFile>(std::move(descriptor));
}

std::error_code sync_folder_at(const std::string& path) {
    const Descriptor folder(uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (!folder.open()) return last_error();
    return ::fsync(folder.number()) == 0 ? std::error_code() : last_error();
}

std::string folder_of(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

std::vector<std::string> SystemDisk::list(const std::string& folder, std::error_code& error) {
    error.clear();
    std::vector<std::string> names;
    Descriptor descriptor(
        uninterrupted([&] { return ::open(path(folder).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    // The stream has a descriptor of its own, which it closes.
    DIR* const stream = descriptor.open() ? ::fdopendir(::fcntl(descriptor.number(), F_DUPFD_CLOEXEC, 0)) : nullptr;
    if (stream == nullptr) {
        error = last_error();
        return names;
    }
    for (errno = 0; const dirent* entry = ::readdir(stream); errno = 0) {
        std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(std::move(name));
    }
    if (errno != 0) error = last_error();
    ::closedir(stream);
    return names;
}

std::error_code SystemDisk::make_folder(const std::string& name) {
    const std::string folder = path(name);
    if (::mkdir(folder.c_str(), 0700) != 0) {
        if (errno != EEXIST) return last_error();
        struct stat facts {};
        if (::stat(folder.c_str(), &facts) != 0) return last_error();
        return S_ISDIR(facts.st_mode) ? std::error_code() : std::make_error_code(std::errc::not_a_directory);
    }
    return name.empty() ? sync_folder_at(folder_of(folder)) : std::error_code();
}

std::error_code SystemDisk::sync_folder(const std::string& name) {
    return sync_folder_at(path(name));
}

std::unique_ptr<File> SystemDisk::open(const std::string& name, std::error_code& error) {
    // Does not wait, as it would if this were a pipe.
    return file_of(open_file(path(name), O_RDWR | O_NONBLOCK), error);
}

std::unique_ptr<File> SystemDisk::create(const std::string& name, std::error_code& error) {
    return file_of(open_file(path(name), O_RDWR | O_CREAT | O_EXCL), error);
}

std::error_code SystemDisk::rename(const std::string& from, const std::string& to) {
    return ::rename(path(from).c_str(), path(to).c_str()) == 0 ? std::error_code() : last_error();
}

std::error_code SystemDisk::remove(const std::string& name) {
    return ::unlink(path(name).c_str()) == 0 ? std::error_code() : last_error();
}

std::shared_ptr<void> SystemDisk::lock(const std::string& name, std::error_code& error) {
    error.clear();
    auto file = std::make_shared<Descriptor>(open_file(path(name), O_RDWR | O_CREAT));
    if (!file->open()) {
        error = last_error();
    } else if (uninterrupted([&] { return ::flock(file->number(), LOCK_EX | LOCK_NB); }) != 0) {
        error = errno == EWOULDBLOCK ? make_error_code(Fault::locked) : last_error();
    }
    if (error) return nullptr;
    // A child made by `fork` has the same lock, and keeps it when this process only closes its file.
    return {file.get(), [file](void*) { ::flock(file->number(), LOCK_UN); }};
}

}  // namespace cluster::storage
