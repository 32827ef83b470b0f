#include "storage/directory.hpp"
#include "storage/support.hpp"
#include "storage/system_disk.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

// The file systems on which replicas run, in an image each, filled to the last block.

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
namespace fs = std::filesystem;

namespace {

/// In a child: ends it, and the test says this text.
class Ended {
public:
    explicit Ended(int pipe) : pipe_(pipe) {}
    [[noreturn]] void skip(const std::string& why) const { end("skipped: " + why); }
    void require(bool holds, const std::string& what, std::error_code error = {}) const {
        if (!holds) end(what + (error ? ": " + error.message() : ""));
    }
    void full(std::error_code error, const std::string& what) const {
        require(error == std::errc::no_space_on_device, what, error);
    }
    [[noreturn]] void end(const std::string& text) const {
        static_cast<void>(!::write(pipe_, text.data(), text.size()));
        ::_exit(0);
    }

private:
    int pipe_;
};

std::string last_error() {
    return std::error_code(errno, std::generic_category()).message();
}

/// A loop device, which the system detaches when it is neither open nor mounted: however this process ends.
class LoopDevice {
public:
    LoopDevice(const std::string& image, const Ended& ended) {
        const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        const int file = ::open(image.c_str(), O_RDWR | O_CLOEXEC);
        // Another process may take the same one at the same time.
        for (int tries = 0; tries < 100; ++tries) {
            const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
            if (number < 0) break;
            name_ = "/dev/loop" + std::to_string(number);
            device_ = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
            if (device_ < 0) break;
            loop_config config{};
            config.fd = static_cast<__u32>(file);
            config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
            if (::ioctl(device_, LOOP_CONFIGURE, &config) == 0) {
                ::close(file);
                ::close(control);
                return;
            }
            if (errno != EBUSY) break;
            ::close(device_);
        }
        ended.skip("this process may not have a loop device: " + last_error());
    }
    LoopDevice(const LoopDevice&) = delete;
    LoopDevice& operator=(const LoopDevice&) = delete;
    ~LoopDevice() { ::close(device_); }
    const std::string& name() const { return name_; }

private:
    std::string name_;
    int device_ = -1;
};

/// Takes all blocks that are free.
void fill(const std::string& path, const Ended& ended) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ended.require(file >= 0, "the filler");
    off_t size = 0;
    for (off_t step = off_t{64} << 20; step >= 4096;) {
        if (::fallocate(file, 0, size, step) == 0) {
            size += step;
        } else {
            ended.require(errno == ENOSPC, "filling", {errno, std::generic_category()});
            step /= 2;
        }
    }
    const std::array<char, 512> bytes{};
    while (::pwrite(file, bytes.data(), bytes.size(), size) > 0) size += static_cast<off_t>(bytes.size());
    ended.require(errno == ENOSPC, "filling", {errno, std::generic_category()});
    ::fsync(file);
    ::close(file);
}

/// What the disk would hold if power were lost now.
void copy_image(const std::string& from, const std::string& to, const Ended& ended) {
    const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::vector<char> bytes(std::size_t{1} << 16);
    off_t at = 0;
    for (;;) {
        const ssize_t read = ::pread(in, bytes.data(), bytes.size(), at);
        if (read <= 0) break;
        const bool zero = bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
        if (!zero) ended.require(::pwrite(out, bytes.data(), static_cast<std::size_t>(read), at) == read, "copying");
        at += read;
    }
    ended.require(::ftruncate(out, at) == 0, "copying");
    ::close(in);
    ::close(out);
}

std::error_code take_snapshot(Directory& directory, Index index) {
    std::error_code error;
    const auto output = directory.snapshots().begin({{1, index}, {}, {}}, error);
    if (!output) return error;
    error = output->write(std::vector<std::byte>(200'000, std::byte{7}));
    return error ? error : output->finish();
}

/// What is known to be on disk.
struct Durable {
    Index last = 0;
    Index snapshot = 0;
};

/// On a file system without a free block: all that needs one says so, and changes nothing.
void meet_the_end(Directory& directory, const std::string& path, Durable& durable, const Ended& ended) {
    std::error_code error = take_snapshot(directory, durable.last);
    ended.full(error, "writing a snapshot");
    ended.full(take_snapshot(directory, durable.last), "writing a snapshot again");
    const Promise promise{GroupId{{1}}, {{"ann", directory.identity().value().disk}}};
    ended.full(directory.identity().give(promise), "writing the identity");
    // The log has room that it has taken before.
    error = {};
    while (!error) {
        const Write write = varied(durable.last + 1);
        error = directory.log().write({&write, 1});
        if (!error) ++durable.last;
    }
    ended.full(error, "writing the log");
    const Write write = varied(durable.last + 1);
    ended.full(directory.log().write({&write, 1}), "writing the log again");
    SystemDisk other(path + "/other");
    DirectoryFinding finding;
    ended.require(Directory::open(other, system_options(), finding) == nullptr, "a fresh directory was opened");
    ended.full(finding.error, "making a directory");
    ended.require(!finding.text.empty(), "a refusal without a text");
}

/// Whether all is there, first without room and then with, and the log goes on.
void recover(const std::string& path, Durable durable, const Ended& ended) {
    SystemDisk disk(path + "/d");
    DirectoryFinding finding;
    auto directory = Directory::open(disk, system_options(), finding);
    if (!directory) ended.full(finding.error, "opening without room: " + finding.text);
    directory.reset();
    ended.require(::unlink((path + "/filler").c_str()) == 0, "removing the filler");
    directory = Directory::open(disk, system_options(), finding);
    ended.require(directory != nullptr, "opening with room: " + finding.text, finding.error);
    const Index last = directory->log().index().last().index;
    ended.require(last >= durable.last, "lost what was durable");
    for (const Entry& each : all_of(directory->log())) {
        ended.require(each == varied(each.id.index).entries[0], "an entry is another one");
    }
    ended.require(directory->snapshot() && directory->snapshot()->id.last.index == durable.snapshot, "the snapshot");
    ended.require(!directory->identity().value().promise, "a promise that was not given");
    for (Index i = last + 1; i <= last + 300; ++i) {
        const Write write = varied(i);
        const std::error_code error = directory->log().write({&write, 1});
        ended.require(!error, "going on", error);
    }
    const std::error_code error = take_snapshot(*directory, last + 300);
    ended.require(!error, "a snapshot with room", error);
}

/// In a child with mounts of its own, which end with it.
[[noreturn]] void run_on(const std::string& type, const std::string& image, const std::string& path, int pipe) {
    const Ended ended(pipe);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0) {
        ended.skip("this process may not mount a file system: " + last_error());
    }
    Durable durable;
    const std::string copy = image + ".copy";
    {
        const LoopDevice device(image, ended);
        const auto mount = [&] { return ::mount(device.name().c_str(), path.c_str(), type.c_str(), 0, "") == 0; };
        if (!mount()) ended.skip("the system does not mount " + type + ": " + last_error());
        SystemDisk disk(path + "/d");
        DirectoryFinding finding;
        auto directory = Directory::open(disk, system_options(), finding);
        ended.require(directory != nullptr, "opening: " + finding.text, finding.error);
        for (Index i = 1; i <= 100; ++i) {
            const Write write = varied(i);
            ended.require(!directory->log().write({&write, 1}), "writing");
        }
        durable = {100, 50};
        ended.require(!take_snapshot(*directory, durable.snapshot), "a snapshot");
        fill(path + "/filler", ended);
        meet_the_end(*directory, path, durable, ended);
        copy_image(image, copy, ended);
        directory.reset();
        ended.require(::umount(path.c_str()) == 0, "unmounting", {errno, std::generic_category()});
        ended.require(mount(), "mounting again", {errno, std::generic_category()});
        recover(path, durable, ended);
        ended.require(::umount(path.c_str()) == 0, "unmounting", {errno, std::generic_category()});
    }
    const LoopDevice device(copy, ended);
    ended.require(::mount(device.name().c_str(), path.c_str(), type.c_str(), 0, "") == 0, "mounting after a cut",
                  {errno, std::generic_category()});
    recover(path, durable, ended);
    ended.end("passed with " + std::to_string(durable.last) + " entries");
}

/// 127 if there is no such program.
int make_file_system(const std::string& program, std::vector<std::string> words) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
        const int nowhere = ::open("/dev/null", O_WRONLY);
        ::dup2(nowhere, 1);
        std::vector<char*> arguments;
        words.insert(words.begin(), program);
        for (std::string& each : words) arguments.push_back(each.data());
        arguments.push_back(nullptr);
        ::execvp(program.c_str(), arguments.data());
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void test_on(const std::string& type, std::uintmax_t size, std::vector<std::string> words) {
    const Folder folder;
    const std::string image = folder / "image";
    const std::string path = folder / "mounted";
    fs::create_directory(path);
    std::fclose(std::fopen(image.c_str(), "w"));
    fs::resize_file(image, size);
    words.push_back(image);
    const int made = make_file_system("mkfs." + type, words);
    if (made == 127) {
        MESSAGE("skipped: there is no mkfs." << type << " here");
        return;
    }
    REQUIRE(made == 0);
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    const pid_t child = ::fork();
    if (child == 0) run_on(type, image, path, pipe[1]);
    ::close(pipe[1]);
    std::array<char, 1000> text{};
    std::string said;
    for (ssize_t read = 0; (read = ::read(pipe[0], text.data(), text.size())) > 0;) {
        said.append(text.data(), static_cast<std::size_t>(read));
    }
    ::close(pipe[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    MESSAGE(type << ": " << said);
    CHECK((said.starts_with("skipped: ") || said.starts_with("passed with ")));
}

}  // namespace

TEST_CASE("storage: an ext4 file system that is filled to the last block loses nothing, not even with the power") {
    test_on("ext4", std::uintmax_t{16} << 20, {"-q", "-F", "-m", "0"});
}

TEST_CASE("storage: an xfs file system that is filled to the last block loses nothing, not even with the power") {
    test_on("xfs", std::uintmax_t{320} << 20, {"-q"});
}
