#pragma once

#include "bench/support.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <poll.h>

// A folder for a benchmark that writes to a disk.

namespace bench {

inline void pause(std::chrono::nanoseconds time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const ::timespec left{seconds.count(), (time - seconds).count()};
    if (time.count() > 0) ::ppoll(nullptr, 0, &left, nullptr);
}

/// A new folder in `$TMPDIR`, or else in `/var/tmp`. It is removed when this process ends, in whatever way: a process
/// of its own does that. Made before there are threads.
class Folder {
public:
    Folder() {
        const char* const parent = std::getenv("TMPDIR");
        std::string made = std::string(parent != nullptr && *parent != 0 ? parent : "/var/tmp") + "/bench-XXXXXX";
        if (::mkdtemp(made.data()) == nullptr) check(-1, "making a folder");
        path_ = made;
        std::array<int, 2> alive{};
        check(::pipe2(alive.data(), O_CLOEXEC), "pipe");
        remover_ = check(::fork(), "fork");
        alive_ = alive[1];
        if (remover_ != 0) {
            ::close(alive[0]);
            return;
        }
        ::setsid();
        ::close(alive[1]);
        char nothing = 0;
        while (::read(alive[0], &nothing, 1) < 0 && errno == EINTR) {
        }
        // Those that still write there are being killed.
        std::error_code error;
        for (int i = 0; i < 100; ++i) {
            std::filesystem::remove_all(path_, error);
            if (!std::filesystem::exists(path_, error)) break;
            pause(std::chrono::milliseconds(50));
        }
        ::_exit(0);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        ::close(alive_);
        ::waitpid(remover_, nullptr, 0);
    }

    std::string operator/(const std::string& name) const { return path_ / name; }
    const std::filesystem::path& path() const { return path_; }

    /// Its file system, and the device.
    std::string disk() const {
        std::ifstream mounts("/proc/self/mounts");
        std::string best;
        std::string text = "an unknown file system";
        for (std::string line; std::getline(mounts, line);) {
            std::istringstream words(line);
            std::string device, point, kind;
            words >> device >> point >> kind;
            const std::string below = point == "/" ? point : point + "/";
            if (below.size() < best.size() || !path_.string().starts_with(below)) continue;
            best = below;
            text = kind + " on " + device;
        }
        return text;
    }

private:
    std::filesystem::path path_;
    int alive_ = -1;
    pid_t remover_ = -1;
};

/// What one way of using something has given.
struct Load {
    double rate = 0;  ///< per second
    double p50 = 0;   ///< in microseconds
    double p99 = 0;
    double cpu = 0;  ///< of all processes but the client's, in microseconds for each

    /// Of times in microseconds, which are sorted on the way.
    static Load of(std::vector<double>& times, double seconds) {
        if (times.empty()) fail("nothing was done");
        std::sort(times.begin(), times.end());
        const auto at = [&](double part) {
            return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
        };
        return {static_cast<double>(times.size()) / seconds, at(0.5), at(0.99), 0};
    }
    static Load parse(const std::string& line) {
        Load load;
        if (std::sscanf(line.c_str(), "%lf %lf %lf", &load.rate, &load.p50, &load.p99) != 3) fail("bad line " + line);
        return load;
    }
    std::string to_string() const {
        return std::to_string(rate) + " " + std::to_string(p50) + " " + std::to_string(p99);
    }
};

/// The same, round after round.
struct Loads {
    Series rate, p50, p99, cpu;
    void add(const Load& load) {
        rate.add(load.rate);
        p50.add(load.p50);
        p99.add(load.p99);
        cpu.add(load.cpu);
    }
};

inline double microseconds_since(Clock::time_point begin) {
    return seconds_since(begin) * 1e6;
}

}  // namespace bench
