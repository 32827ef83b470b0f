#pragma once

#include <cluster/options.hpp>
#include <cluster/runtime.hpp>
#include <cluster/secret.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// What the benchmarks share: processes, plain sockets, checksums, and how figures are printed.
//
// A benchmark that needs several processes starts its own program again with the name of a part to play. The two talk
// in lines of text over the child's standard input and output. Each process ends itself, with a message, when the
// benchmark takes too long; a child dies with its parent.

namespace bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What all threads of this process, and the children that have ended, have used so far. Unlike the time that passes,
/// it hardly depends on what else the machine does.
inline double cpu_seconds() {
    double sum = 0;
    for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
        rusage used{};
        ::getrusage(who, &used);
        for (const timeval& each : {used.ru_utime, used.ru_stime}) {
            sum += static_cast<double>(each.tv_sec) + static_cast<double>(each.tv_usec) * 1e-6;
        }
    }
    return sum;
}

[[noreturn]] inline void fail(const std::string& what) {
    throw std::runtime_error(what);
}

inline int check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

/// Resident pages of a process, in bytes.
inline double resident(pid_t process) {
    const std::string path = "/proc/" + std::to_string(process) + "/statm";
    std::ifstream file(path);
    std::size_t all = 0;
    std::size_t pages = 0;
    if (!(file >> all >> pages)) fail(path + " cannot be read");
    return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// The number in `--name=N`, if it is among the arguments.
inline std::size_t option(std::span<char*> arguments, std::string_view name, std::size_t otherwise) {
    for (const std::string_view each : arguments) {
        if (!each.starts_with(name) || each.substr(name.size(), 1) != "=") continue;
        const std::string_view text = each.substr(name.size() + 1);
        std::size_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size() || value == 0) fail("bad " + std::string(each));
        return value;
    }
    return otherwise;
}

/// With `--secret` all nodes of a run have one. Children find it in their environment.
constexpr const char* secret_variable = "CLUSTER_BENCH_SECRET";

inline cluster::Options options() {
    cluster::Options all;
    if (const char* secret = std::getenv(secret_variable)) all.secret = secret;
    return all;
}

// Processes.

/// One line from standard input, without its end.
inline std::string read_line() {
    std::array<char, 4096> text{};
    if (std::fgets(text.data(), text.size(), stdin) == nullptr) fail("the other process has ended");
    return {text.data(), std::strcspn(text.data(), "\n")};
}

inline void write_line(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

/// This program again, in another part. Used by one thread, which must outlive it; the destructor kills it.
class Child {
public:
    explicit Child(const std::string& part) {
        std::array<int, 2> in{};
        std::array<int, 2> out{};
        check(::pipe2(in.data(), O_CLOEXEC), "pipe");
        check(::pipe2(out.data(), O_CLOEXEC), "pipe");
        const pid_t parent = ::getpid();
        pid_ = check(::fork(), "fork");
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) ::_exit(1);
            ::dup2(in[0], STDIN_FILENO);
            ::dup2(out[1], STDOUT_FILENO);
            ::execl("/proc/self/exe", "bench", part.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        to_ = ::fdopen(in[1], "w");
        from_ = ::fdopen(out[0], "r");
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        std::fclose(to_);
        std::fclose(from_);
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    pid_t id() const { return pid_; }
    std::string line() {
        std::array<char, 4096> text{};
        if (std::fgets(text.data(), text.size(), from_) == nullptr) fail("a child process has ended");
        return {text.data(), std::strcspn(text.data(), "\n")};
    }
    void tell(const std::string& line) {
        std::fprintf(to_, "%s\n", line.c_str());
        std::fflush(to_);
    }
    /// Waits until it has ended by itself, as it should.
    void join() {
        int status = 0;
        check(::waitpid(std::exchange(pid_, -1), &status, 0), "waitpid");
        if (status != 0) fail("a child process has failed");
    }

private:
    pid_t pid_ = -1;
    std::FILE* to_ = nullptr;
    std::FILE* from_ = nullptr;
};

/// Keeps this thread, and the threads and processes it starts from now on, on one core; lifts that when destroyed.
class OneCore {
public:
    OneCore() {
        check(::sched_getaffinity(0, sizeof before_, &before_), "sched_getaffinity");
        std::size_t core = 0;
        while (!CPU_ISSET(core, &before_)) ++core;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        check(::sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
    }
    OneCore(const OneCore&) = delete;
    OneCore& operator=(const OneCore&) = delete;
    ~OneCore() { ::sched_setaffinity(0, sizeof before_, &before_); }

private:
    cpu_set_t before_{};
};

using Parts = std::map<std::string, std::function<void()>>;

/// Ends the process unless this is called again soon. Nothing that is measured takes so long, and no blocking call has
/// to know how long it may take.
inline void restart_time_limit() {
    ::alarm(60);
}

/// The `main` of a benchmark: plays the part that the first argument names, or measures.
inline int run(int count, char** values, const Parts& parts, const std::function<void(std::span<char*>)>& measure) {
    std::signal(SIGALRM, [](int) {
        constexpr std::string_view text = "bench: too slow, given up\n";
        if (::write(STDERR_FILENO, text.data(), text.size()) < 0) ::_exit(3);
        ::_exit(2);
    });
    std::signal(SIGPIPE, SIG_IGN);
    cluster::raise_descriptor_limit();  // a mesh of 100 nodes in one process takes 10,000 descriptors
    restart_time_limit();
    const std::span<char*> arguments(values + 1, static_cast<std::size_t>(count - 1));
    for (const std::string_view each : arguments) {
        if (each == "--secret") ::setenv(secret_variable, cluster::make_secret().c_str(), 1);
    }
    try {
        const auto part = arguments.empty() ? parts.end() : parts.find(arguments[0]);
        if (part != parts.end()) {
            part->second();
        } else {
            measure(arguments);
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 1;
    }
}

// Plain sockets.

/// A TCP socket on loopback, without Asio. Closed by its destructor.
class Socket {
public:
    explicit Socket(int descriptor) : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Socket& operator=(Socket&&) = delete;
    ~Socket() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    static Socket listening() {
        Socket socket(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
        sockaddr_in address = loopback(0);
        check(::bind(socket.descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
        check(::listen(socket.descriptor_, SOMAXCONN), "listen");
        return socket;
    }
    static Socket connected(std::uint16_t port) {
        Socket socket(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
        sockaddr_in address = loopback(port);
        check(::connect(socket.descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
        socket.no_delay();
        return socket;
    }
    Socket accept() const {
        Socket socket(check(::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC), "accept"));
        socket.no_delay();
        return socket;
    }
    int descriptor() const { return descriptor_; }
    std::uint16_t port() const {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        check(::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
        return ntohs(address.sin_port);
    }

    std::size_t read_some(std::byte* into, std::size_t size) const {
        const ssize_t count = ::recv(descriptor_, into, size, 0);
        if (count < 0) throw std::system_error(errno, std::generic_category(), "recv");
        if (count == 0) fail("a connection has ended");
        return static_cast<std::size_t>(count);
    }
    void read(std::span<std::byte> into) const {
        while (!into.empty()) into = into.subspan(read_some(into.data(), into.size()));
    }
    void write(std::span<const std::byte> from) const {
        while (!from.empty()) {
            const ssize_t count = ::send(descriptor_, from.data(), from.size(), MSG_NOSIGNAL);
            if (count < 0) throw std::system_error(errno, std::generic_category(), "send");
            from = from.subspan(static_cast<std::size_t>(count));
        }
    }

private:
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        return address;
    }
    void no_delay() const {
        const int on = 1;
        check(::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    }

    int descriptor_;
};

/// What both sides of a stream count and compare. The payloads are whole 8-byte words.
struct Tally {
    std::uint64_t messages = 0;
    std::uint64_t sum = 0;

    void add(std::span<const std::byte> payload) {
        ++messages;
        for (std::size_t at = 0; at + 8 <= payload.size(); at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, payload.data() + at, 8);
            sum += word;
        }
    }
    std::string to_string() const { return std::to_string(messages) + " " + std::to_string(sum); }
};

/// A payload of so many bytes that differs from message to message, and the tally of all made so far.
class Source {
public:
    explicit Source(std::size_t size) : payload_(size) {
        for (std::size_t at = 0; at < size; ++at) payload_[at] = static_cast<std::byte>(at * 131 + 7);
        Tally rest;
        rest.add(std::span(payload_).subspan(8));
        rest_ = rest.sum;
    }
    /// Valid until the next call.
    std::span<const std::byte> next() {
        const std::uint64_t number = ++tally_.messages;
        std::memcpy(payload_.data(), &number, sizeof number);
        tally_.sum += rest_ + number;
        return payload_;
    }
    const Tally& tally() const { return tally_; }

private:
    std::vector<std::byte> payload_;
    std::uint64_t rest_ = 0;
    Tally tally_;
};

// Figures.

struct Series {
    std::vector<double> values;

    void add(double value) { values.push_back(value); }
    double at(double part) const {
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end());
        return sorted.at(static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1) + 0.5));
    }
    double median() const { return at(0.5); }
    double max() const { return at(1); }
};

inline std::string text_of(double value) {
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), value >= 1000 ? "%.0f" : "%.4g", value);
    return text.data();
}

/// One JSON object on a line of its own.
class Json {
public:
    Json& add(std::string_view key, std::string_view value) { return raw(key, '"' + std::string(value) + '"'); }
    Json& add(std::string_view key, const char* value) { return add(key, std::string_view(value)); }
    Json& add(std::string_view key, double value) { return raw(key, text_of(value)); }
    Json& add(std::string_view key, std::uint64_t value) { return raw(key, std::to_string(value)); }
    Json& add(std::string_view key, bool value) { return raw(key, value ? "true" : "false"); }
    Json& add(std::string_view key, const Series& series) {
        std::string list;
        for (const double value : series.values) list += (list.empty() ? "" : ", ") + text_of(value);
        return raw(key, '[' + list + ']');
    }
    void print() const { write_line('{' + text_ + '}'); }

private:
    Json& raw(std::string_view key, const std::string& value) {
        text_ += (text_.empty() ? "\"" : ", \"") + std::string(key) + "\": " + value;
        return *this;
    }

    std::string text_;
};

/// One row of the table; `run` collects them.
inline void print_row(std::initializer_list<std::string> cells) {
    std::string row = "|";
    for (const std::string& cell : cells) row += ' ' + cell + " |";
    write_line(row);
}

inline std::string met(bool value) {
    return value ? "yes" : "NO";
}

}  // namespace bench
