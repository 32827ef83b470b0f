#include "net/peers_file.hpp"

#include "base/quiet_writing.hpp"
#include "base/system_call.hpp"
#include "net/system.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace cluster::net {

namespace {

using core::KnownPeers;
using detail::last_error;
using detail::uninterrupted;

Moment moment() {
    return {Loop::now(), std::chrono::system_clock::now().time_since_epoch()};
}

class File {
public:
    explicit File(int number) : number_(number) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const noexcept { return number_; }
    bool open() const noexcept { return number_ >= 0; }
    /// Some errors of writing are reported only now.
    std::error_code close() { return ::close(std::exchange(number_, -1)) == 0 ? std::error_code() : last_error(); }

private:
    int number_;
};

std::string name_beside(const std::string& path) {
    std::array<std::uint8_t, 8> random{};
    fill_random(random);
    std::string name = path + '.';
    for (const std::uint8_t byte : random) {
        name += "0123456789abcdef"[byte >> 4];
        name += "0123456789abcdef"[byte & 15];
    }
    return name + ".new";
}

int create(const std::string& path) {
    return uninterrupted([&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); });
}

std::error_code write_and_sync(File& file, std::string_view text) {
    const detail::QuietWriting quiet;
    while (!text.empty()) {
        const ssize_t count = uninterrupted([&] { return ::write(file.number(), text.data(), text.size()); });
        if (count < 0) return last_error();
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    if (uninterrupted([&] { return ::fsync(file.number()); }) != 0) return last_error();
    return file.close();
}

/// So that a new name survives a power failure. Not every file system can do that.
void sync_folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const File file(uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (file.open()) ::fsync(file.number());
}

/// How often the file is written even if nothing has changed.
std::chrono::nanoseconds refresh_after(std::chrono::nanoseconds forget_after) {
    return std::clamp<std::chrono::nanoseconds>(forget_after / 8, PeersFile::pause, std::chrono::hours(1));
}

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
    throw std::system_error(make_error_code(errc::invalid_options), "peers_file \"" + path + "\" " + what);
}

}  // namespace

FileText read_file(const std::string& path, std::size_t most, std::error_code& error) {
    error.clear();
    FileText read;
    // Does not wait, as it would for a writer if this were a pipe.
    const File file(
        uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
    struct stat facts {};
    if (!file.open()) {
        if (errno != ENOENT) error = last_error();
    } else if (::fstat(file.number(), &facts) != 0) {
        error = last_error();
    } else if (!S_ISREG(facts.st_mode)) {
        error = std::make_error_code(S_ISDIR(facts.st_mode) ? std::errc::is_a_directory : std::errc::invalid_argument);
    }
    if (error || !file.open()) return read;
    std::array<char, 16384> part;
    while (read.text.size() <= most) {
        const ssize_t count = uninterrupted([&] { return ::read(file.number(), part.data(), part.size()); });
        if (count < 0) error = last_error();
        if (count <= 0) break;
        read.text.append(part.data(), static_cast<std::size_t>(count));
    }
    read.longer = read.text.size() > most;
    read.text.resize(std::min(read.text.size(), most));
    return read;
}

std::error_code replace_file(const std::string& path, std::string_view text) {
    const std::string beside = name_beside(path);
    File file(create(beside));
    if (!file.open()) return last_error();
    std::error_code error = write_and_sync(file, text);
    if (!error && std::rename(beside.c_str(), path.c_str()) != 0) error = last_error();
    if (error) {
        ::unlink(beside.c_str());
    } else {
        sync_folder_of(path);
    }
    return error;
}

std::error_code probe_replacing(const std::string& path) {
    const std::string beside = name_beside(path);
    const File file(create(beside));
    if (!file.open()) return last_error();
    ::unlink(beside.c_str());
    return {};
}

PeersFile::PeersFile(std::string path, const std::string& cluster, std::chrono::nanoseconds forget_after,
                     std::shared_ptr<Loop> loop, Report report)
    : path_(std::move(path)),
      loop_(std::move(loop)),
      report_(std::move(report)),
      refresh_(refresh_after(forget_after)),
      timer_(loop_->io()),
      known_(cluster, forget_after) {
    std::error_code error;
    const FileText file = read_file(path_, KnownPeers::max_bytes, error);
    if (error == std::errc::too_many_symbolic_link_levels) {
        refuse(path_, "is a symbolic link; name the file itself");
    }
    // If a disk cannot read the file any more, that is damage; other errors are mistakes in the configuration.
    const bool damage = error == std::errc::io_error;
    if (error && !damage) {
        refuse(path_, "cannot be read: " + error.message() + "; name a file that this process may read and replace");
    }
    if (const std::error_code problem = probe_replacing(path_)) {
        refuse(path_, "cannot be written: " + problem.message() +
                          "; create its folder, and let this process write there, or name another");
    }
    const std::string where = " path=" + quoted(path_);
    if (damage) report_(LogLevel::warning, "peers_file_damaged" + where + " text=" + quoted(error.message()));
    if (file.longer) {
        report_(LogLevel::warning, "peers_file_cut" + where + " bytes=" + std::to_string(KnownPeers::max_bytes));
    }
    const KnownPeers::Findings findings = known_.read(file.text, moment());
    if (findings.other_cluster) {
        report_(LogLevel::warning,
                "peers_file_ignored" + where + " cluster=" + quoted(*findings.other_cluster) +
                    " why=wrong_cluster");
    } else if (findings.damaged != 0) {
        report_(LogLevel::warning, "peers_file_damaged" + where + " lines=" + std::to_string(findings.damaged));
    }
    report_(LogLevel::info, "peers_file_read" + where + " peers=" + std::to_string(known_.size()));
}

std::vector<Address> PeersFile::addresses(std::span<const Address> except, std::size_t most) const {
    const detail::Lock lock(mutex_);
    return known_.addresses(except, most);
}

void PeersFile::changed() {
    if (ended_) return;
    again_ = true;
    if (under_way_) return;
    under_way_ = true;
    again_ = false;
    loop_->call([self = shared_from_this()] { self->write(false); });
}

void PeersFile::departed(const PeerId& id) {
    const detail::Lock lock(mutex_);
    departed_.insert(id);
    unsaved_ = known_.forget(id) || unsaved_;
}

void PeersFile::leaving(std::vector<core::Whereabouts> view) {
    const detail::Lock lock(mutex_);
    known_.observe(std::move(view), Loop::now());
}

/// On the callback thread.
void PeersFile::write(bool anyway) {
    {
        const detail::Lock lock(mutex_);
        departed_.clear();
    }
    if (auto view = view_()) {
        std::error_code problem;
        {
            const detail::Lock disk(disk_);
            std::string text;
            if (!finished_) {
                const detail::Lock lock(mutex_);
                std::erase_if(*view, [this](const core::Whereabouts& each) {
                    mutex_.assert_held();
                    return departed_.contains(each.id);
                });
                unsaved_ = known_.observe(std::move(*view), Loop::now()) || unsaved_ || anyway;
                if (std::exchange(unsaved_, false)) text = known_.text(moment());
            }
            if (!text.empty()) problem = save(text);
        }
        tell(problem);
    }
    loop_->post([self = shared_from_this()] { self->wait(pause, false); });
}

void PeersFile::wait(std::chrono::nanoseconds time, bool anyway) {
    if (ended_) return;
    timer_.expires_after(time);
    timer_.async_wait([self = shared_from_this(), anyway](const std::error_code& cancelled) {
        if (cancelled || self->ended_ || (anyway && self->under_way_)) return;
        if (anyway || std::exchange(self->again_, false)) {
            self->under_way_ = true;
            self->loop_->call([self, anyway] { self->write(anyway); });
        } else {
            self->under_way_ = false;
            self->wait(self->refresh_, true);
        }
    });
}

void PeersFile::end() {
    ended_ = true;
    timer_.cancel();
    // Without a callback thread nobody else needs this thread either.
    if (!loop_->call([self = shared_from_this()] { self->finish(); })) finish();
}

void PeersFile::finish() {
    std::error_code problem;
    {
        const detail::Lock disk(disk_);
        if (std::exchange(finished_, true)) return;
        std::string text;
        {
            const detail::Lock lock(mutex_);
            text = known_.text(moment());
        }
        problem = save(text);
    }
    tell(problem);
}

/// If it fails, it is tried again at the next change, or after a while. Returns the error, if it is a new one.
std::error_code PeersFile::save(const std::string& text) {
    const std::error_code error = replace_file(path_, text);
    if (error) {
        const detail::Lock lock(mutex_);
        unsaved_ = true;
    }
    const bool news = error != problem_;
    problem_ = error;
    return news ? error : std::error_code();
}

/// Called under no lock: the application's function may close the node.
void PeersFile::tell(const std::error_code& problem) const {
    if (!problem) return;
    report_(LogLevel::warning,
            "peers_file_not_written path=" + quoted(path_) + " text=" + quoted(problem.message()));
}

}  // namespace cluster::net
