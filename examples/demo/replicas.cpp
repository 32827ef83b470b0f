#include "replicas.hpp"

#include "process.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto patience = 8s;  // with one thing
constexpr std::uint64_t submits = 10'000;
constexpr std::uint64_t killed_after = 4'000;

void require(bool holds, const std::string& otherwise) {
    if (!holds) throw std::runtime_error(otherwise);
}

/// What the parent knows of one process, from the lines it wrote.
struct Voter {
    std::unique_ptr<Process> process;
    std::string address = "127.0.0.1:0";
    std::string leader;
    std::uint64_t acknowledged = 0;
    std::uint64_t failed = 0;
    std::uint64_t longest = 0;  ///< in milliseconds
    std::string state;
    std::vector<std::string> log;

    void take(const std::string& line) {
        std::istringstream words(line);
        std::string word;
        words >> word;
        if (word == "listening") {
            words >> address;
        } else if (word == "leader") {
            words >> leader;
        } else if (word == "acknowledged") {
            words >> acknowledged >> failed >> longest;
        } else if (word == "state") {
            state = line;
        } else if (word == "log") {
            log.push_back(line.substr(4));
        }
    }
};

/// A folder that goes with this object.
class Folder {
public:
    Folder() { std::filesystem::create_directory(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code error;
        std::filesystem::remove_all(path, error);
    }
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("cluster-demo-" + std::to_string(::getpid()));
};

class Replicas {
public:
    using Show = std::function<void(const std::string&, const std::string&)>;

    explicit Replicas(const Show& show) : show_(show) {}

    std::string run() {
        const std::string leader = found();
        submit_and_kill(leader);
        return compare(leader);
    }
    void show_logs() const {
        for (const auto& [name, voter] : voters_) {
            for (const std::string& line : voter.log) std::fprintf(stderr, "%s: %s\n", name.c_str(), line.c_str());
        }
    }

private:
    std::string found() {
        const auto begin = Clock::now();
        for (const char* name : {"ann", "bob", "eve"}) start(name);
        wait_until("nobody leads", [&] {
            return std::all_of(voters_.begin(), voters_.end(), [&](const auto& each) {
                return !each.second.leader.empty() && each.second.leader == voters_.begin()->second.leader;
            });
        });
        const std::string leader = voters_.begin()->second.leader;
        const auto time = (Clock::now() - begin) / 1ms;
        show_("replicas", "three processes keep one state, on three disks; " + leader + " leads " +
                              std::to_string(time) + " ms after the start");
        return leader;
    }

    /// The last of the followers submits.
    void submit_and_kill(const std::string& leader) {
        const auto begin = Clock::now();
        const std::string name = leader == "eve" ? "bob" : "eve";
        Voter& submitter = voters_.at(name);
        submitter.process->tell("submit " + std::to_string(submits));
        wait_until("the submits stand still", [&] { return submitter.acknowledged >= killed_after; });
        Voter& victim = voters_.at(leader);
        victim.process->kill();
        require(submitter.acknowledged < submits, leader + " was not killed in the middle");
        require(victim.process->wait() == "signal 9", leader + " ended before it was killed");
        victim.process.reset();
        wait_until("the submits stand still", [&] {
            return submitter.acknowledged + submitter.failed == submits;
        });
        require(submitter.failed == 0, "submits that failed: " + std::to_string(submitter.failed));
        require(submitter.leader != leader, "nobody else leads");
        show_("failover", name + " submitted 10,000 messages; " + leader + ", who led, was killed in the middle; " +
                              submitter.leader + " leads now, and the longest pause was " +
                              std::to_string(submitter.longest) + " ms; all were done in " +
                              std::to_string((Clock::now() - begin) / 1ms) + " ms");
    }

    /// The one that was killed returns, and has what the others have.
    std::string compare(const std::string& leader) {
        const auto begin = Clock::now();
        start(leader);
        const std::string all = "state " + std::to_string(submits) + " 0 ";
        wait_until("the states differ", [&] {
            const std::string& first = voters_.begin()->second.state;
            const bool same = std::all_of(voters_.begin(), voters_.end(), [&](const auto& each) {
                return each.second.state == first;
            });
            if (same && first.starts_with(all)) return true;
            for (auto& [name, voter] : voters_) voter.process->tell("state");
            return false;
        });
        show_("return", leader + " was started again, and has the same state as the others after " +
                            std::to_string((Clock::now() - begin) / 1ms) + " ms");
        for (auto& [name, voter] : voters_) voter.process->tell("leave");
        for (auto& each : voters_) {
            Voter& voter = each.second;
            wait_until(each.first + " does not end", [&] { return voter.process->at_end(); });
            const std::string how = voter.process->wait();
            require(how == "exit 0", each.first + " ended with " + how);
            voter.process.reset();
        }
        return "3 replicas, 10000 messages submitted, 10000 acknowledged, 0 lost, 0 applied twice";
    }

    void start(const std::string& name) {
        Voter& voter = voters_[name];
        std::vector<std::string> words = {"voter", name, folder_.path / name, voter.address};
        for (const auto& [other, each] : voters_) {
            if (other != name) words.push_back(each.address);
        }
        voter = Voter{};  // the address that it had is told to others until it says where it listens now
        voter.process = std::make_unique<Process>(words);
        wait_until(name + " does not start", [&] { return !voter.address.ends_with(":0"); });
    }

    void wait_until(const std::string& otherwise, const std::function<bool()>& condition) {
        const auto deadline = Clock::now() + patience;
        for (;;) {
            read_lines();
            if (condition()) return;
            require(Clock::now() < deadline, "given up: " + otherwise);
        }
    }
    void read_lines() {
        constexpr int moment = 20;  // milliseconds
        std::vector<pollfd> wanted;
        for (const auto& [name, voter] : voters_) {
            const bool open = voter.process != nullptr && !voter.process->at_end();
            wanted.push_back({open ? voter.process->descriptor() : -1, POLLIN, 0});
        }
        ::poll(wanted.data(), wanted.size(), moment);
        for (auto& [name, voter] : voters_) {
            if (voter.process == nullptr) continue;
            for (const std::string& line : voter.process->lines()) voter.take(line);
        }
    }

    const Show& show_;
    Folder folder_;
    std::map<std::string, Voter> voters_;
};

}  // namespace

std::string show_replicas(const std::function<void(const std::string&, const std::string&)>& show) {
    Replicas replicas(show);
    try {
        return replicas.run();
    } catch (...) {
        replicas.show_logs();
        throw;
    }
}
