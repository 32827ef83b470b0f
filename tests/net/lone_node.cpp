#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// Nodes in a process of their own, for tests of what surrounds a node. The first argument names the part it plays; it
// prints what the test waits for.

// A child made by `fork` has none of the stacks on which its parent's memory is found.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() {
    return 1;
}

namespace {

using namespace cluster;

void say(const std::string& line) {
    std::cout << line << std::endl;
}

/// A node that logs to standard error, until its input ends. Messages make its handler throw.
int play_node() {
    Node node("127.0.0.1:0");
    node.on_message([](const Message& message) { throw std::runtime_error(std::string(message.text())); });
    say(node.address().to_string());
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    return 0;
}

/// The same, after it has started another program, which outlives it.
int play_parent() {
    Node node("127.0.0.1:0");
    Node other("127.0.0.1:0");
    other.add(node.address());
    std::string program = "cat";
    char* const words[] = {program.data(), nullptr};
    pid_t child = -1;
    if (::posix_spawnp(&child, "cat", nullptr, nullptr, words, environ) != 0) return 1;
    say(node.address().to_string());
    say(std::to_string(child));
    for (;;) ::pause();
}

/// What it has heard, it forgets.
class Silent final : public Service {
public:
    void on_message(Context&, std::span<const std::byte>) override {}
};

/// A new folder, which its maker removes.
std::string folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cluster-lone-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    return name;
}

/// All that may be destroyed when a process ends.
struct Everything {
    Runtime runtime;
    std::unique_ptr<Node> node;
    std::unique_ptr<Node> peer;
    Inbox inbox;
    Subscription added;
    Subscription changed;
    Membership member;
    MemberWatch watch;
    Message question;
    std::optional<Inbox::Iterator> place;
    const std::string directory = folder();
    Silent service;
    Replica replica;

    static Options options(const Runtime& runtime) {
        Options options = Options::local();
        options.name = "ann";
        options.runtime = runtime;
        return options;
    }
    Everything()
        : node(std::make_unique<Node>(options(runtime))),
          peer(std::make_unique<Node>(Options::local())),
          inbox(node->inbox()),
          added(node->on_peer_added([](const Peer&) {})),
          changed(node->members().on_change([](const MemberUpdate&) {})),
          member(node->create_membership()),
          watch(node->members().watch()),
          replica(*node, service, {.directory = directory, .voters = {"ann"}}) {
        member.enroll();
        node->add(peer->address());
        peer->request(node->id(), "?", std::chrono::hours(1), [](std::error_code, const Message&) {});
        question = *inbox.receive();
        for (const char* text : {"one", "two"}) peer->send(node->id(), text);
        place = inbox.begin();
        if (!replica.wait_for_leader(std::chrono::seconds(10))) throw std::runtime_error("nobody leads");
    }
};
std::unique_ptr<Everything> everything;

/// 0 if the child ends in time.
int end_of(pid_t child) {
    int status = 0;
    const auto watchdog = std::jthread([child](const std::stop_token& done) {
        for (int i = 0; i < 200 && !done.stop_requested(); ++i) ::poll(nullptr, 0, 50);
        if (!done.stop_requested()) ::kill(child, SIGKILL);
    });
    if (::waitpid(child, &status, 0) != child) return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// In a child of `fork` the thread sanitizer still has its parent's threads. It ends at a new one with the same id.
constexpr bool threads_after_fork = std::string_view(CLUSTER_SANITIZE).find("thread") == std::string_view::npos;

/// Forks while its threads are busy, and while a callback runs; each child ends as a process does, and the parent must
/// notice nothing.
int play_forking() {
    everything = std::make_unique<Everything>();
    std::jthread sender([](const std::stop_token& done) {
        while (!done.stop_requested()) everything->node->try_broadcast("busy");
    });
    std::jthread submitter([](const std::stop_token& done) {
        while (!done.stop_requested()) everything->replica.submit("busy", std::chrono::seconds(10));
    });
    std::jthread reader([](const std::stop_token& done) {
        Inbox inbox = everything->peer->inbox();
        while (!done.stop_requested()) static_cast<void>(inbox.receive_for(std::chrono::milliseconds(20)));
    });
    int failed = 0;
    for (int i = 0; i < 30 && failed == 0; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (i % 3 == 0) std::exit(0);  // destroys what is static
            everything.reset();
            if (i % 3 == 1 && threads_after_fork) {  // a child may have nodes of its own
                Node ann("127.0.0.1:0");
                Node bob("127.0.0.1:0");
                ann.add(bob.address());
            }
            ::_exit(0);
        }
        failed = end_of(child);
    }
    std::promise<int> called_back;
    {
        const Subscription forks = everything->node->on_peer_added([&](const Peer&) {
            const pid_t child = ::fork();
            if (child == 0) std::exit(0);
            called_back.set_value(end_of(child));
        });
        failed = std::max(failed, called_back.get_future().get());
    }
    sender.request_stop();
    sender.join();
    submitter.request_stop();
    submitter.join();
    reader.request_stop();
    reader.join();
    const bool still = everything->node->peers().size() == 1 && everything->node->stats().failures == 0 &&
                       everything->peer->stats().failures == 0 && everything->node->stats().links_lost == 0 &&
                       !everything->replica.status().error;
    const std::string directory = everything->directory;
    everything.reset();
    std::filesystem::remove_all(directory);
    say(failed == 0 && still ? "well" : failed != 0 ? "a child did not end" : "the parent was disturbed");
    return 0;
}

std::string attempt(const std::function<void()>& what) {
    try {
        what();
        return "made";
    } catch (const std::system_error& error) {
        return (error.code().category() == error_category() ? "" : "foreign ") + std::to_string(error.code().value()) +
               " " + error.what();
    }
}

/// Makes runtimes while the system grants no thread, and then only one.
int play_without_threads() {
    // Limits of processes do not hold for root.
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(54999) != 0 || ::setuid(54999) != 0)) return 1;
    for (const rlim_t threads : {rlim_t{1}, rlim_t{2}}) {
        const rlimit limit{threads, 2};
        if (::setrlimit(RLIMIT_NPROC, &limit) != 0) return 1;
        say(attempt([] { const Runtime runtime; }));
        say(attempt([] { const Node node("127.0.0.1:0"); }));
    }
    return 0;
}

std::uint64_t soft_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/// Tells its limit of descriptors after each step.
int play_with_few_descriptors() {
    const rlimit few{40, 100};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return 1;
    {
        Node ann("127.0.0.1:0");
        Node bob("127.0.0.1:0");
        ann.add(bob.address());
        say(std::to_string(soft_limit()));
    }
    std::vector<std::unique_ptr<Node>> nodes;
    const std::string problem = attempt([&] {
        for (;;) nodes.push_back(std::make_unique<Node>("127.0.0.1:0"));
    });
    nodes.clear();
    say(problem);
    const std::string at_start = attempt([] {
        std::vector<int> taken;
        for (int file = 0; (file = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(file);
        try {
            const Runtime runtime;
        } catch (...) {
            for (const int file : taken) ::close(file);
            throw;
        }
    });
    say(at_start);
    say(std::to_string(raise_descriptor_limit()));
    say(std::to_string(soft_limit()));
    return 0;
}

}  // namespace

int main(int count, char** words) {
    const std::map<std::string, int (*)()> parts = {{"node", play_node},
                                                    {"parent", play_parent},
                                                    {"forking", play_forking},
                                                    {"without_threads", play_without_threads},
                                                    {"with_few_descriptors", play_with_few_descriptors}};
    const auto part = parts.find(count > 1 ? words[1] : "");
    if (part == parts.end()) {
        std::cerr << "usage: lone-node PART\n";
        return 2;
    }
    return part->second();
}
