#include "net/support.hpp"

#include <doctest/doctest.h>
#include <cluster/cluster.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

// What surrounds a node: programs that its process starts, what its log is written to, children, limits.

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Both ends are closed by `exec` and by the destructor.
struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
        out = Socket(ends[0]);
        in = Socket(ends[1]);
    }
    Socket out{-1};
    Socket in{-1};
};

/// A program in a process of its own, killed by the destructor. `standard_error`: what it gets as that; -1: none.
class Program {
public:
    explicit Program(std::vector<std::string> words, int standard_error = STDERR_FILENO) {
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, input_.out.file(), STDIN_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, output_.in.file(), STDOUT_FILENO);
        if (standard_error < 0) {
            ::posix_spawn_file_actions_addclose(&actions, STDERR_FILENO);
        } else if (standard_error != STDERR_FILENO) {
            ::posix_spawn_file_actions_adddup2(&actions, standard_error, STDERR_FILENO);
        }
        std::vector<char*> values;
        for (std::string& word : words) values.push_back(word.data());
        values.push_back(nullptr);
        REQUIRE(::posix_spawnp(&id_, values[0], &actions, nullptr, values.data(), environ) == 0);
        ::posix_spawn_file_actions_destroy(&actions);
        input_.out.close();
        output_.in.close();
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() { kill(); }

    pid_t id() const { return id_; }
    void kill() {
        if (id_ < 0) return;
        ::kill(id_, SIGKILL);
        ::waitpid(std::exchange(id_, -1), nullptr, 0);
    }
    /// Its next line; empty if there is none for three times as long as a test waits otherwise, since it may do much.
    std::string line() {
        while (said_.find('\n') == std::string::npos) {
            pollfd poll{output_.out.file(), POLLIN, 0};
            if (::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(3 * patience).count())) <= 0) return {};
            std::array<char, 4096> part{};
            const ssize_t count = ::read(output_.out.file(), part.data(), part.size());
            if (count <= 0) return {};
            said_.append(part.data(), static_cast<std::size_t>(count));
        }
        const std::size_t end = said_.find('\n');
        std::string first = said_.substr(0, end);
        said_.erase(0, end + 1);
        return first;
    }

private:
    pid_t id_ = -1;
    Pipe input_;
    Pipe output_;
    std::string said_;
};

/// lone_node.cpp, which lies beside this program.
Program lone(const std::string& part, int standard_error = STDERR_FILENO) {
    return Program({fs::read_symlink("/proc/self/exe").parent_path() / "lone-node", part}, standard_error);
}

/// What the open descriptors of a process stand for, by their numbers.
std::map<int, std::string> descriptors_of(pid_t process) {
    std::map<int, std::string> found;
    std::error_code gone;  // one that is closed meanwhile
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
        const std::string what = fs::read_symlink(entry.path(), gone).string();
        if (!gone) found[std::stoi(entry.path().filename())] = what;
    }
    return found;
}

/// Where a pipe's reader finds what was written to it so far, and what comes within `patience` if that is nothing.
std::string take(const Pipe& pipe) {
    pollfd poll{pipe.out.file(), POLLIN, 0};
    if (::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) <= 0) return {};
    std::string text(1 << 20, '\0');
    const ssize_t count = ::read(pipe.out.file(), text.data(), text.size());
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return text;
}

/// Whether a message of `from` is delivered: then the one to whom it is sent goes on reading what comes.
bool delivers(Node& from, const PeerId& to, const std::string& text) {
    from.send(to, text);
    return wait_for([&] { return from.stats().outbox_bytes == 0; }, patience);
}

/// What a stranger sends who takes a node for a web server.
void ask_for_a_page(const Address& where) {
    Socket stranger;
    REQUIRE(stranger.connect(where));
    stranger.write("GET / HTTP/1.0\r\n\r\n");
    CHECK(stranger.closed_by_other());
}

}  // namespace

TEST_CASE("process: a program that is started inherits nothing of a node, whatever the node does meanwhile") {
    const auto before = descriptors_of(::getpid());
    Options options = eager();
    options.peers_file = fs::temp_directory_path() / ("cluster-process-" + std::to_string(::getpid()));
    std::atomic<bool> stop{false};
    std::thread busy([&] {  // dials, accepts, listens and writes files all the time
        while (!stop) {
            Node ann(quick());
            Node bob(options);
            ann.add(bob.address());
        }
    });
    for (int i = 0; i < 40; ++i) {
        const Program cat({"cat"});
        std::string left;
        for (const auto& [number, what] : descriptors_of(cat.id())) {
            if (number > STDERR_FILENO && !before.contains(number)) left += std::to_string(number) + " " + what + "\n";
        }
        CHECK(left == "");
    }
    stop = true;
    busy.join();
    fs::remove(options.peers_file);
}

TEST_CASE("process: a program that outlives a node keeps neither its port nor its connections") {
    Options options = quick();
    options.heartbeat = 20s;  // silence is not what tells of its end
    options.suspicion = 60s;
    Node ann(options);
    Events<RemovalReason> removed;
    const auto subscription = ann.on_peer_removed([&](const Peer&, RemovalReason reason) { removed.put(reason); });
    std::string address;
    pid_t child = 0;
    {
        Program parent = lone("parent");
        address = parent.line();
        child = std::stoi(parent.line());
        ann.add(address);
        REQUIRE(ann.wait_for_peers(2, patience));  // who was dialled is known to be gone as soon as it refuses
        parent.kill();
    }
    CHECK(::kill(child, 0) == 0);
    CHECK(removed.take() == RemovalReason::failed);
    options.listen = address;
    CHECK_NOTHROW(Node{options});
    ::kill(child, SIGKILL);
}

TEST_CASE("process: standard error whose reader has gone costs the line and nothing else") {
    Pipe gone;
    Program program = lone("node", gone.in.file());
    gone.out.close();
    const Address where = Address::parse(program.line());
    ask_for_a_page(where);
    Node ann(quick());
    CHECK_NOTHROW(ann.add(where));
    ask_for_a_page(where);
    CHECK(delivers(ann, ann.peers().at(0).id, "its handler throws"));
}

TEST_CASE("process: standard error that nobody reads delays nobody, and the next line says how many are lost") {
    Pipe unread;
    ::fcntl(unread.in.file(), F_SETFL, O_NONBLOCK);
    const std::string much(65536, 'x');
    while (::write(unread.in.file(), much.data(), much.size()) > 0) {
    }
    while (::write(unread.in.file(), "x", 1) > 0) {
    }
    ::fcntl(unread.in.file(), F_SETFL, 0);  // its writers wait, as those of a pipe do
    Program program = lone("node", unread.in.file());
    const Address where = Address::parse(program.line());
    Node ann(quick());
    const PeerId id = ann.add(where).id;
    for (const char* text : {"first", "second", "third"}) CHECK(delivers(ann, id, text));
    std::string text = take(unread);
    CHECK(text.find("handler_threw") == std::string::npos);
    CHECK(delivers(ann, id, "fourth"));
    text = take(unread);
    INFO(text);
    const std::regex line(
        R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z cluster: error: handler_threw text=\S*fourth\S* .*lines_lost=3\n)");
    CHECK(std::regex_search(text, line));
    CHECK(delivers(ann, id, "fifth"));
    CHECK(take(unread).find("lines_lost") == std::string::npos);
}

TEST_CASE("process: without standard error no connection gets its number, and nothing is written to one") {
    Program program = lone("node", -1);
    const Address where = Address::parse(program.line());
    Node ann(quick());
    const PeerId id = ann.add(where).id;
    ask_for_a_page(where);
    CHECK(delivers(ann, id, "its handler throws"));
    const auto descriptors = descriptors_of(program.id());
    const auto number = descriptors.find(STDERR_FILENO);
    CHECK((number == descriptors.end() || !number->second.starts_with("socket:")));
    CHECK(ann.stats().protocol_errors == 0);
    CHECK(ann.peers().size() == 1);
}

TEST_CASE("process: children made by fork may destroy everything or exit, and their parent notices nothing") {
    if (std::string_view(CLUSTER_SANITIZE).find("address") != std::string_view::npos) {
        MESSAGE("skipped: a child has no memory if another thread asked this sanitizer for some at the moment of fork");
        return;
    }
    if (std::string_view(CLUSTER_SANITIZE).find("thread") != std::string_view::npos) {
        MESSAGE("skipped: nodes in a child, where this sanitizer allows no threads");
    }
    CHECK(lone("forking").line() == "well");
}

TEST_CASE("process: where no thread is granted, a runtime and a node throw and say so") {
    Program program = lone("without_threads");
    for (int i = 0; i < 4; ++i) {
        const std::string problem = program.line();
        INFO(problem);
        CHECK(problem.starts_with(std::to_string(static_cast<int>(errc::system_failure)) + " "));
        CHECK(problem.find("starting the threads of a runtime") != std::string::npos);
    }
}

TEST_CASE("process: the limit of descriptors is raised on request only, and who meets it is told how") {
    Program program = lone("with_few_descriptors");
    CHECK(program.line() == "40");
    const std::string out_of_descriptors = std::to_string(static_cast<int>(errc::out_of_descriptors)) + " ";
    for (int i = 0; i < 2; ++i) {
        const std::string problem = program.line();
        INFO(problem);
        CHECK(problem.starts_with(out_of_descriptors));
        CHECK(problem.find("cluster::raise_descriptor_limit()") != std::string::npos);
    }
    CHECK(program.line() == "100");
    CHECK(program.line() == "100");
}
