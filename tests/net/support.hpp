#pragma once

#include <cluster/cluster.hpp>

#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <mutex>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

// What the tests of whole nodes share. Sockets are the system's own here: what they do to a node must not depend on the
// code under test.

namespace cluster::support {

/// Nothing that is waited for in a test takes longer, unless it never happens.
inline constexpr std::chrono::seconds patience{10};

/// Hands values from one thread to another.
template <class T>
class Events {
public:
    void put(T value) {
        const std::lock_guard lock(mutex_);
        values_.push_back(std::move(value));
        put_.notify_all();  // under the lock: whoever takes it may destroy this next
    }
    /// The next one; empty if none comes in time.
    std::optional<T> take(std::chrono::nanoseconds timeout = patience) {
        std::unique_lock lock(mutex_);
        if (!put_.wait_for(lock, timeout, [this] { return !values_.empty(); })) return std::nullopt;
        std::optional<T> value(std::move(values_.front()));
        values_.pop_front();
        return value;
    }
    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return values_.size();
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable put_;
    std::deque<T> values_;
};

/// Collects a node's log lines. Safe to outlive the node, and to be outlived.
class Lines {
public:
    std::function<void(LogLevel, std::string_view)> sink() const {
        return [lines = lines_](LogLevel level, std::string_view text) {
            if (level >= LogLevel::info) lines->put(std::string(text));
        };
    }
    /// Waits for a line that contains `text`; the lines before it are gone then. Empty if none comes.
    std::string find(std::string_view text) {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (auto line = lines_->take(deadline - std::chrono::steady_clock::now())) {
            if (line->find(text) != std::string::npos) return std::move(*line);
        }
        return {};
    }
    bool wait_for(std::string_view text) { return !find(text).empty(); }

private:
    std::shared_ptr<Events<std::string>> lines_ = std::make_shared<Events<std::string>>();
};

/// Options for tests: quick, and silent.
inline Options quick() {
    Options options = Options::local();
    options.log = [](LogLevel, std::string_view) {};
    return options;
}

/// A TCP socket of the system, IPv4.
class Socket {
public:
    Socket() : file_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    explicit Socket(int file) : file_(file) {}
    Socket(Socket&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }
    ~Socket() { close(); }

    int file() const { return file_; }
    bool connect(const Address& to) const {
        sockaddr_in address = loopback(to.port);
        return ::connect(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    /// Binds to a free port of 127.0.0.1, or of another such host, without listening yet.
    Address bind(std::uint32_t host = INADDR_LOOPBACK) const {
        sockaddr_in address = loopback(0);
        address.sin_addr.s_addr = htonl(host);
        ::bind(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
        socklen_t size = sizeof address;
        ::getsockname(file_, reinterpret_cast<sockaddr*>(&address), &size);
        return {"127.0.0.1", ntohs(address.sin_port)};
    }
    void listen(int backlog = 16) const { ::listen(file_, backlog); }
    Socket accept() const { return Socket(::accept4(file_, nullptr, nullptr, SOCK_CLOEXEC)); }
    bool valid() const { return file_ >= 0; }

    bool write(std::span<const std::byte> bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(file_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return false;
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
        return true;
    }
    bool write(std::string_view text) const { return write(std::as_bytes(std::span(text))); }
    /// At most `most` bytes; empty at the end of the stream, when it broke, or after `patience`.
    std::vector<std::byte> read(std::size_t most = 65536) const {
        pollfd poll{file_, POLLIN, 0};
        if (::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) <= 0) return {};
        std::vector<std::byte> bytes(most);
        const ssize_t count = ::recv(file_, bytes.data(), bytes.size(), 0);
        bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return bytes;
    }
    /// True if the other side closes before `patience` is over.
    bool closed_by_other() const {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (!read().empty()) {
        }
        return std::chrono::steady_clock::now() < deadline;
    }
    void shut_down() const { ::shutdown(file_, SHUT_RDWR); }
    void close() {
        if (file_ >= 0) ::close(std::exchange(file_, -1));
    }
    /// Closes with a reset instead of an orderly end.
    void reset() {
        const linger now{1, 0};
        ::setsockopt(file_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }

private:
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }

    int file_;
};

/// Accepts connections and treats each as it is told to, on a thread of its own.
class Server {
public:
    explicit Server(std::function<void(Socket)> treat) : address_(socket_.bind()) {
        socket_.listen();
        thread_ = std::thread([this, treat = std::move(treat)] {
            for (;;) {
                Socket accepted = socket_.accept();
                if (!accepted.valid()) return;
                treat(std::move(accepted));
            }
        });
    }
    ~Server() {
        socket_.shut_down();
        thread_.join();
    }
    const Address& address() const { return address_; }

private:
    Socket socket_;
    Address address_;
    std::thread thread_;
};

/// Stands between a node and those who dial it, and cuts or holds the connections when told to.
class Proxy {
public:
    Proxy() : server_([this](Socket from) { accepted(std::move(from)); }) {}
    ~Proxy() {
        stop_ = true;
        release();
        cut();
        for (std::thread& thread : threads_) thread.join();
    }

    const Address& address() const { return server_.address(); }
    void lead_to(const Address& target) {
        const std::lock_guard lock(mutex_);
        target_ = target;
    }
    /// Resets all connections that go through here. How many there were.
    std::size_t cut() {
        const std::lock_guard lock(mutex_);
        std::size_t count = 0;
        for (const auto& pair : pairs_) {
            if (pair->open.exchange(false)) ++count;
            pair->near.shut_down();
            pair->far.shut_down();
        }
        return count;
    }
    /// Nothing goes through any more, though all connections stay and new ones are accepted, until `release`.
    void hold() { held_ = true; }
    void release() {
        held_ = false;
        held_.notify_all();
    }
    /// Bytes that went through, in both directions.
    std::uint64_t forwarded() const { return forwarded_; }

private:
    struct Pair {
        Socket near;
        Socket far;
        std::atomic<bool> open{true};
    };

    void accepted(Socket from) {
        const std::lock_guard lock(mutex_);
        auto pair = std::make_shared<Pair>();
        pair->near = std::move(from);
        if (stop_ || !pair->far.connect(target_)) return;
        pairs_.push_back(pair);
        threads_.emplace_back([this, pair] { pump(*pair, pair->near, pair->far); });
        threads_.emplace_back([this, pair] { pump(*pair, pair->far, pair->near); });
    }
    void pump(Pair& pair, const Socket& from, const Socket& to) {
        std::vector<std::byte> bytes(65536);
        for (;;) {
            const ssize_t count = ::recv(from.file(), bytes.data(), bytes.size(), 0);
            held_.wait(true);
            if (count <= 0 || !to.write({bytes.data(), static_cast<std::size_t>(count)})) break;
            forwarded_ += static_cast<std::uint64_t>(count);
        }
        ::shutdown(to.file(), SHUT_WR);
        pair.open = false;
    }

    std::mutex mutex_;
    Address target_;
    std::vector<std::shared_ptr<Pair>> pairs_;
    std::vector<std::thread> threads_;
    std::atomic<std::uint64_t> forwarded_{0};
    std::atomic<bool> held_{false};
    std::atomic<bool> stop_{false};
    Server server_;  // its thread uses what stands above
};

/// Where nobody listens, for a node that has to know its address beforehand.
inline Address free_address() {
    const Socket reserved;
    return reserved.bind();
}

/// A node that others know by the address of a proxy only, so that its links can be cut.
struct Reached {
    explicit Reached(Options options) : real(free_address()) {
        proxy.lead_to(real);
        options.listen = real.to_string();
        options.advertise = {proxy.address().to_string()};
        node = std::make_unique<Node>(options);
    }
    Address real;
    Proxy proxy;
    std::unique_ptr<Node> node;
};

/// Options for tests in which connections break: dials again as quickly as it may.
inline Options eager() {
    Options options = quick();
    options.reconnect_min = std::chrono::milliseconds(1);
    options.reconnect_max = std::chrono::milliseconds(20);
    return options;
}

/// The least there may be of everything, so that it is full soon.
inline Options narrow() {
    Options options = quick();
    options.max_message = 1 << 16;
    options.max_peers = 4;
    options.inbox_bytes = 1 << 20;
    options.outbox_bytes = 256 << 10;
    return options;
}

/// The bytes that the system says this process has, by the name that /proc/self/status gives them: VmRSS, VmData.
inline std::uint64_t process_bytes(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string key; status >> key;) {
        std::uint64_t kibibytes = 0;
        if (key == name + ":" && status >> kibibytes) return kibibytes << 10;
        std::getline(status, key);
    }
    return 0;
}

/// False where a sanitizer holds memory of its own, beyond all bounds of the code under test.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool memory_is_ours = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool memory_is_ours = false;
#else
inline constexpr bool memory_is_ours = true;
#endif
#else
inline constexpr bool memory_is_ours = true;
#endif

/// The number at the beginning of a message.
inline int number_of(const Message& message) {
    return std::atoi(std::string(message.text().substr(0, 12)).c_str());
}

inline std::error_code add_error(Node& node, const std::string& address) {
    std::error_code error;
    node.add(address, error);
    return error;
}

/// Waits until `what` is true; false if that takes longer than `most`.
template <class Condition>
bool wait_for(Condition what, std::chrono::nanoseconds most) {
    for (const auto end = std::chrono::steady_clock::now() + most; !what();) {
        if (std::chrono::steady_clock::now() >= end) return false;
        Events<int>().take(std::chrono::milliseconds(1));
    }
    return true;
}

/// `dialler` just added `dialled`, which dials back once. Waits until that connection, too, is gone: its descriptors
/// would become free at any time. False if it takes too long.
inline bool wait_for_dial_back(const Node& dialler, const Node& dialled) {
    const auto over = [&] {
        const Stats stats = dialler.stats();
        return stats.links_accepted == 1 && stats.links == 1 && dialled.stats().links == 1;
    };
    return wait_for(over, patience);
}

}  // namespace cluster::support
