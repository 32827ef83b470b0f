#pragma once

// What the processes of the fault tests share: how they are told what to do, and how they say what happens.

#include <cluster/cluster.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace cluster::faults {

using Clock = std::chrono::steady_clock;

inline std::int64_t now() {
    return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

inline std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char each : text) {
        if (each == '"' || each == '\\') result += '\\';
        result += each == '\n' ? ' ' : each;
    }
    return result + '"';
}

/// Writes lines on a thread of its own: no callback waits for whoever reads them.
class Output {
public:
    void put(std::string line) {
        {
            const std::lock_guard lock(mutex_);
            lines_.push_back(std::move(line));
        }
        changed_.notify_one();
    }
    /// Returns when all is written.
    void finish() {
        {
            const std::lock_guard lock(mutex_);
            finished_ = true;
        }
        changed_.notify_one();
        if (thread_.joinable()) thread_.join();
    }
    ~Output() { finish(); }

private:
    void write() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return finished_ || !lines_.empty(); });
            if (lines_.empty()) return;
            const std::deque<std::string> lines = std::exchange(lines_, {});
            lock.unlock();
            for (const std::string& line : lines) std::printf("%s\n", line.c_str());
            std::fflush(stdout);
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> lines_;
    bool finished_ = false;
    std::thread thread_{[this] { write(); }};
};

/// Log lines of all nodes with their stamps.
class Log {
public:
    explicit Log(const std::string& path) {
        if (!path.empty()) file_.open(path);
    }
    void write(const std::string& node, LogLevel level, std::string_view text) {
        constexpr const char* names[] = {"debug", "info", "warning", "error"};
        const std::int64_t at = now();
        const std::lock_guard lock(mutex_);
        file_ << at << ' ' << node << ' ' << names[static_cast<int>(level)] << ' ' << text << '\n' << std::flush;
    }

private:
    std::mutex mutex_;
    std::ofstream file_;
};

/// Words `name=value` of a command line.
using Words = std::map<std::string, std::string>;

inline Words words_of(int count, char** values) {
    Words words;
    for (int at = 1; at < count; ++at) {
        const std::string word = values[at];
        words[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    return words;
}

/// What a program of these tests consists of.
inline int run_program(const char* name, int count, char** values, void (*run)(Words)) {
    try {
        run(words_of(count, values));
        return EXIT_SUCCESS;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        std::_Exit(EXIT_FAILURE);  // threads may run
    }
}

inline Options options_of(Words& words) {
    const std::string preset = words["preset"];
    Options options = preset == "local" ? Options::local() : preset == "wan" ? Options::wan() : Options::lan();
    const auto set = [&](const char* name, std::chrono::nanoseconds& value) {
        if (words.contains(name)) value = std::chrono::milliseconds(std::stoi(words[name]));
    };
    set("heartbeat", options.heartbeat);
    set("suspicion", options.suspicion);
    set("reconnect_max", options.reconnect_max);
    std::istringstream seeds(words["seeds"]);
    for (std::string seed; std::getline(seeds, seed, ',');) options.seeds.push_back(seed);
    return options;
}

}  // namespace cluster::faults
