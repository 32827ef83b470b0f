#include "storage/system_disk.hpp"

#include "storage/directory.hpp"
#include "storage/support.hpp"
#include "storage/writer.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <set>
#include <thread>

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> text_bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}

/// In a child: writes until it is killed, and tells each number that is on disk.
[[noreturn]] void write_for_ever(const std::string& path, Index acknowledged, int pipe) {
    SystemDisk disk(path);
    DirectoryFinding finding;
    const auto directory = Directory::open(disk, system_options(), finding);
    if (!directory || directory->log().index().last().index < acknowledged) ::_exit(2);
    Log& log = directory->log();
    for (Index i = log.index().last().index + 1;; ++i) {
        const Write write = varied(i);
        if (log.write({&write, 1}) || log.mark()) ::_exit(3);
        if (::write(pipe, &i, sizeof(i)) != sizeof(i)) ::_exit(4);
        if (i % 50 == 0) {
            std::error_code error;
            const auto output = directory->snapshots().begin({{1, i}, {}, {}}, error);
            if (!output || output->write(std::vector<std::byte>(100'000)) || output->finish()) ::_exit(5);
            const auto list = directory->snapshots().list();
            if (list.size() == 2 && log.cut(list[0].id.last.index)) ::_exit(6);
        }
        if (log.prepare()) continue;
    }
}

}  // namespace

TEST_CASE("storage: the system's disk does what the seam says") {
    const Folder folder;
    SystemDisk disk(folder / "made");
    std::error_code error;
    CHECK(disk.list("", error).empty());
    CHECK(error == std::errc::no_such_file_or_directory);
    CHECK_FALSE(disk.make_folder(""));
    CHECK_FALSE(disk.make_folder(""));
    CHECK_FALSE(disk.make_folder("log"));
    CHECK_FALSE(disk.sync_folder(""));
    CHECK(disk.open("a", error) == nullptr);
    CHECK(error == std::errc::no_such_file_or_directory);
    auto file = disk.create("log/a", error);
    REQUIRE_FALSE(error);
    CHECK(disk.create("log/a", error) == nullptr);
    CHECK(error == std::errc::file_exists);
    CHECK_FALSE(file->write(3, text_bytes("text")));
    CHECK_FALSE(file->sync());
    CHECK(file->size(error) == 7);
    std::vector<std::byte> read(20);
    CHECK(file->read(1, read, error) == 6);
    CHECK_FALSE(error);
    CHECK(hex(std::span(read).first(6)) == "000074657874");
    CHECK(file->read(7, read, error) == 0);
    struct stat facts {};
    REQUIRE(::stat((folder / "made/log/a").c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    CHECK_FALSE(disk.rename("log/a", "b"));
    CHECK(disk.list("log", error).empty());
    const std::vector<std::string> names = disk.list("", error);
    CHECK(std::set<std::string>(names.begin(), names.end()) == std::set<std::string>{"b", "log"});
    CHECK_FALSE(disk.remove("b"));
    CHECK(disk.remove("b") == std::errc::no_such_file_or_directory);
    CHECK(file->read(3, std::span(read).first(4), error) == 4);  // still open
    REQUIRE(::symlink("/etc/hostname", (folder / "made/link").c_str()) == 0);
    CHECK(disk.open("link", error) == nullptr);
    CHECK(error == std::errc::too_many_symbolic_link_levels);
    CHECK(disk.open("log", error) == nullptr);
    CHECK(error == std::errc::is_a_directory);
    CHECK_FALSE(SystemDisk(folder / "made/").make_folder(""));
    CHECK(SystemDisk(folder / "no/such").make_folder("") == std::errc::no_such_file_or_directory);
}

TEST_CASE("storage: no program that is started inherits a file or a lock of the system's disk") {
    const Folder folder;
    SystemDisk disk(folder.path.string());
    std::error_code error;
    const auto file = disk.create("file", error);
    const auto lock = disk.lock("lock", error);
    REQUIRE_FALSE(error);
    std::size_t ours = 0;
    for (const fs::directory_entry& each : fs::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (!fs::read_symlink(each.path(), gone).string().starts_with(folder.path.string()) || gone) continue;
        ++ours;
        CHECK((::fcntl(std::stoi(each.path().filename().string()), F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(ours == 2);
}

TEST_CASE("storage: a second process on a directory is refused until the first one has ended") {
    const Folder folder;
    int ready[2], end[2];
    REQUIRE(::pipe(ready) == 0);
    REQUIRE(::pipe(end) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::close(end[1]);  // if the test fails, this process ends as well
        SystemDisk disk(folder / "d");
        DirectoryFinding finding;
        const auto directory = Directory::open(disk, system_options(), finding);
        char byte = directory ? 'y' : 'n';
        if (::write(ready[1], &byte, 1) != 1 || ::read(end[0], &byte, 1) != 1) ::_exit(1);
        ::_exit(0);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    CHECK(byte == 'y');
    SystemDisk disk(folder / "d");
    DirectoryFinding finding;
    CHECK(Directory::open(disk, system_options(), finding) == nullptr);
    CHECK(finding.error == Fault::locked);
    REQUIRE(::write(end[1], &byte, 1) == 1);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(Directory::open(disk, system_options(), finding) != nullptr);
    for (const int each : {ready[0], ready[1], end[0], end[1]}) ::close(each);
}

TEST_CASE("storage: beyond the limit of a file's size a write fails, and the process lives") {
    const Folder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit limit{20000, 20000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        ::signal(SIGXFSZ, SIG_DFL);
        SystemDisk disk(folder / "d");
        DirectoryFinding finding;
        const bool opened = Directory::open(disk, system_options(), finding) != nullptr;
        ::_exit(!opened && finding.error == std::errc::file_too_large ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("storage: of a process that is killed in the middle of writing, nothing that it acknowledged is lost") {
    const Folder folder;
    const std::string path = folder / "d";
    const int kills = sanitized ? 40 : 210;
    Dice dice(1);
    Index acknowledged = 0;
    int torn = 0;
    for (int kill = 0; kill < kills; ++kill) {
        INFO("kill " << kill);
        int pipe[2];
        REQUIRE(::pipe(pipe) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(pipe[0]);
            write_for_ever(path, acknowledged, pipe[1]);
        }
        ::close(pipe[1]);
        const std::uint64_t many = dice.below(8);
        Index last = 0;
        bool ended = false;
        for (std::uint64_t i = 0; i <= many && !ended; ++i) {
            ended = ::read(pipe[0], &last, sizeof(last)) != sizeof(last);
            acknowledged = std::max(acknowledged, last);
        }
        CHECK_FALSE(ended);
        // At some moment within what it does between two of them.
        for (std::uint64_t i = dice.below(20'000); i > 0; --i) static_cast<void>(::getppid());
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        while (::read(pipe[0], &last, sizeof(last)) == sizeof(last)) acknowledged = last;
        ::close(pipe[0]);
        // The next child looks whether all is there; now and then this one reads it.
        if (kill % 10 != 9) continue;
        SystemDisk disk(path);
        DirectoryFinding finding;
        const auto directory = Directory::open(disk, system_options(), finding);
        INFO(finding.text);
        REQUIRE(directory);
        torn += finding.condition == DirectoryFinding::Condition::torn;
        const LogIndex index = directory->log().index();
        REQUIRE(index.last().index >= acknowledged);
        for (const Entry& each : all_of(directory->log())) REQUIRE(each == varied(each.id.index).entries[0]);
        REQUIRE(index.base().index <= (directory->snapshot() ? directory->snapshot()->id.last.index : 0));
    }
    MESSAGE(acknowledged << " entries acknowledged, " << torn << " torn tails");
}

TEST_CASE("storage: a file system that is filled to the last block stops the log, and loses nothing of it") {
    const Folder folder;
    const std::string path = folder / "mounted";
    fs::create_directory(path);
    const pid_t child = ::fork();
    if (child == 0) {
        // A mount of its own, which ends with the process.
        const bool mounted = ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) == 0 &&
                             ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m") == 0;
        if (!mounted) ::_exit(77);
        SystemDisk disk(path);
        DirectoryFinding finding;
        auto directory = Directory::open(disk, system_options(), finding);
        if (!directory) ::_exit(1);
        // Snapshots fill the rest, which does the log no harm: its segment is there.
        std::error_code error;
        auto output = directory->snapshots().begin({{1, 1}, {}, {}}, error);
        while (!(error = output->write(std::vector<std::byte>(65536)))) {
        }
        if (error != std::errc::no_space_on_device) ::_exit(2);
        Index last = 0;
        for (;;) {
            const Write write = varied(last + 1);
            error = directory->log().write({&write, 1});
            if (error) break;
            ++last;
        }
        if (error != std::errc::no_space_on_device || last < 20) ::_exit(3);
        const Write write = varied(last + 1);
        if (directory->log().write({&write, 1}) != error) ::_exit(4);
        output.reset();
        directory.reset();
        directory = Directory::open(disk, system_options(), finding);
        if (!directory || directory->log().index().last().index < last) ::_exit(5);
        for (const Entry& each : all_of(directory->log())) {
            if (each != varied(each.id.index).entries[0]) ::_exit(6);
        }
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        MESSAGE("skipped: this process may not mount a file system");
    } else {
        CHECK(WEXITSTATUS(status) == 0);
    }
}

TEST_CASE("storage: a directory that nobody may write is refused, and says what to do") {
    SystemDisk disk("/proc/cluster");
    DirectoryFinding finding;
    CHECK(Directory::open(disk, system_options(), finding) == nullptr);
    CHECK(finding.condition == DirectoryFinding::Condition::refused);
    CHECK(finding.text.find("cannot be made") == 0);
}

TEST_CASE("storage: a writer on the system's disk, synced and unsynced, keeps what it reports") {
    for (const Durability durability : {Durability::synced, Durability::os_buffers}) {
        const Folder folder;
        SystemDisk disk(folder / "d");
        DirectoryFinding finding;
        DirectoryOptions with = system_options(std::uint64_t{1} << 20);
        with.log.durability = durability;
        auto directory = Directory::open(disk, with, finding);
        REQUIRE(directory);
        {
            std::atomic<std::uint64_t> durable{0};
            const auto report = [&](std::uint64_t number) {
                durable = number;
                durable.notify_all();
            };
            Writer writer(directory->log(), {}, {report, [](std::error_code) { FAIL("the disk"); }});
            for (Index i = 1; i <= 20'000;) {
                if (writer.submit(varied(i))) ++i;
                if (i % 5000 == 0) writer.cut(i / 2);
            }
            // What is not written yet is not cut, nor is anything when the writer closes.
            for (std::uint64_t seen = durable; seen < 20'000; seen = durable) durable.wait(seen);
            writer.cut(10'000);
            while (directory->log().base().index == 0) std::this_thread::yield();
        }
        directory.reset();
        finding = {};
        directory = Directory::open(disk, with, finding);
        CHECK(finding.condition == DirectoryFinding::Condition::damaged);  // nobody wrote a snapshot
        LogFinding in_log;
        IdentityFile identity(disk);
        REQUIRE_FALSE(identity.read());
        CHECK(Log::open(disk, identity.value().disk, with.log, in_log)->index().last().index == 20'000);
    }
}
