// A counter that three processes keep. When one of them is killed, the others go on, and nothing is lost.
//
// `example-12_replicated_counter NAME DIRECTORY LISTEN SEED...` is one of them: ann, bob or eve. It adds the numbers
// that it reads, says each second how it is, and leaves at the end of its input. Without arguments the program starts
// itself three times, and checks the above.

#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

/// The same everywhere, because it depends on the messages and on nothing else.
class Counter final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        const auto* text = reinterpret_cast<const char*>(message.data());
        std::uint64_t number = 0;  // what is no number adds nothing
        std::from_chars(text, text + message.size(), number);
        total_ += number;
        context.reply(std::to_string(total_));
    }
    void save(cluster::SnapshotWriter& out) const override { out.write(total_); }
    void load(cluster::SnapshotReader& in) override { in.read(total_); }

private:
    std::uint64_t total_ = 0;
};

void say(const std::string& line) { std::cout << line + '\n' << std::flush; }

int count(const std::vector<std::string>& words) {
    auto options = cluster::Options::local();
    options.name = words.at(0);
    options.listen = words.at(2);
    options.seeds.assign(words.begin() + 3, words.end());
    cluster::Node node(options);
    Counter counter;
    cluster::Replica replica(node, counter, {.directory = words.at(1), .voters = {"ann", "bob", "eve"}});
    say("listens on " + node.address().to_string());

    std::promise<void> ends;
    const std::jthread speaker([&replica, end = ends.get_future()] {
        do {
            const cluster::ReplicaStatus is = replica.status();
            say("leader " + is.leader + " in term " + std::to_string(is.term) + ", applied " +
                std::to_string(is.applied) + " of " + std::to_string(is.committed) + ' ' + is.why);
        } while (end.wait_for(1s) == std::future_status::timeout);
    });
    for (std::string line; std::getline(std::cin, line);) {
        std::error_code error;
        const cluster::Message total = replica.submit(line, 20s, error);  // on any replica
        say("total " + (error ? error.message() : std::string(total.text())));
    }
    ends.set_value();
    return 0;  // the replica closes: if it leads, it hands over first
}

/// This program once more, as one of the three.
class Process {
public:
    explicit Process(std::vector<std::string> words) {
        int in[2], out[2];
        if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) _exit(1);
        if ((id_ = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            dup2(in[0], STDIN_FILENO), dup2(out[1], STDOUT_FILENO);
            std::vector<char*> values(words.size() + 1);
            for (std::size_t i = 0; i < words.size(); ++i) values[i] = words[i].data();
            execv("/proc/self/exe", values.data());
            _exit(127);
        }
        close(in[0]), close(out[1]);
        to_ = fdopen(in[1], "w"), from_ = fdopen(out[0], "r");
    }
    /// The word behind these, in the next line that begins with them.
    std::string after(const std::string& begin) {
        for (char line[1024]; std::fgets(line, sizeof line, from_) != nullptr;) {
            const std::string text = line;
            const auto end = text.find_first_of(" \n", begin.size());
            if (text.starts_with(begin)) return text.substr(begin.size(), end - begin.size());
        }
        return "nothing: it has ended";
    }
    std::string add(std::uint64_t number) {
        std::fprintf(to_, "%lu\n", number), std::fflush(to_);
        return after("total ");
    }
    void kill() { ::kill(id_, SIGKILL), end(); }
    /// Lets it leave. Whether it ended well.
    bool end() {
        int status = 0;
        std::fclose(to_), waitpid(id_, &status, 0), std::fclose(from_);
        return status == 0;
    }

private:
    pid_t id_ = 0;
    std::FILE *to_ = nullptr, *from_ = nullptr;
};

int main(int argument_count, char** arguments) {
    if (argument_count > 1) return count({arguments + 1, arguments + argument_count});

    const auto folder = std::filesystem::temp_directory_path() / ("cluster-counter-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder);
    std::map<std::string, Process> processes;
    std::map<std::string, std::string> addresses;  // of those who were started before
    const auto start = [&](const std::string& name, const std::string& listen) {
        std::vector<std::string> words = {"counter", name, folder / name, listen};
        for (const auto& [other, address] : addresses) words.push_back(address);
        addresses[name] = processes.emplace(name, words).first->second.after("listens on ");
    };
    for (const char* name : {"ann", "bob", "eve"}) start(name, "127.0.0.1:0");

    std::uint64_t expected = 0;
    bool right = true;
    const auto add = [&](Process& process, std::uint64_t number) {
        right &= process.add(number) == std::to_string(expected += number);  // nothing lost, nothing twice
    };
    add(processes.at("ann"), 1);
    const std::string leader = processes.at("ann").after("leader ");
    Process& other = processes.at(leader == "eve" ? "bob" : "eve");
    for (std::uint64_t number = 2; number <= 100; ++number) add(other, number);
    processes.at(leader).kill();
    const auto killed = std::chrono::steady_clock::now();
    add(other, 101);
    const auto gap = (std::chrono::steady_clock::now() - killed) / 1ms;
    say(leader + " led and was killed; counted on after " + std::to_string(gap) + " ms");
    for (std::uint64_t number = 102; number <= 200; ++number) add(other, number);
    processes.erase(leader);
    start(leader, addresses[leader]);
    for (auto& [name, process] : processes) add(process, 0);  // it replies when it has counted all before
    for (auto& [name, process] : processes) right &= process.end();
    std::filesystem::remove_all(folder);
    say("total " + std::to_string(expected) + (right ? ", everywhere" : ", BUT NOT EVERYWHERE"));
    return right ? 0 : 1;
}
