#pragma once

#include "bench/folder.hpp"
#include "bench/support.hpp"

#include <optional>

#include <poll.h>
#include <sys/epoll.h>

// etcd beside it: three processes, spoken to by way of the JSON gateway with connections that are kept open. Its own
// protocol has less to do for each request, but needs libraries that are not used here.

namespace bench::etcd {

/// A program of that name in `PATH`.
inline std::string found() {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string name = folder + "/etcd";
        if (::access(name.c_str(), X_OK) == 0) return name;
    }
    return {};
}

inline bool installed() {
    return !found().empty();
}

inline std::string base64(std::string_view text) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 3) {
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            group = group << 8 | (at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0);
        }
        for (std::size_t i = 0; i < 4; ++i) {
            out += at + i <= text.size() ? digits[group >> (18 - 6 * i) & 63] : '=';
        }
    }
    return out;
}

inline std::string post(const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string put() {
    return post("/v3/kv/put",
                R"({"key":")" + base64("key") + R"(","value":")" + base64(std::string(256, 'v')) + R"("})");
}

/// The text of an answer as it comes.
class Answer {
public:
    void add(std::string_view text) { text_ += text; }
    /// The body, once all of it is there.
    std::optional<std::string> take() {
        const std::size_t end = text_.find("\r\n\r\n");
        if (end == std::string::npos) return std::nullopt;
        constexpr std::string_view field = "\r\nContent-Length: ";
        const std::size_t at = text_.find(field);
        if (at > end) fail("etcd: an answer without a length: " + text_);
        const std::size_t size = std::stoul(text_.substr(at + field.size()));
        if (text_.size() < end + 4 + size) return std::nullopt;
        const std::string body = text_.substr(end + 4, size);
        if (!text_.starts_with("HTTP/1.1 200")) fail("etcd refuses: " + body);
        text_.erase(0, end + 4 + size);
        return body;
    }

private:
    std::string text_;
};

/// One request on a connection of its own; nothing if no answer comes in that time.
inline std::optional<std::string> ask(std::uint16_t port, const std::string& request,
                                      std::chrono::milliseconds patience) {
    try {
        const Socket socket = Socket::connected(port);
        socket.write(std::as_bytes(std::span(request)));
        Answer answer;
        std::array<std::byte, 4096> bytes{};
        for (const auto begin = Clock::now();;) {
            const auto left = patience - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
            pollfd wanted{socket.descriptor(), POLLIN, 0};
            if (left.count() <= 0 || ::poll(&wanted, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
            const std::size_t count = socket.read_some(bytes.data(), bytes.size());
            answer.add({reinterpret_cast<const char*>(bytes.data()), count});
            if (auto body = answer.take()) return body;
        }
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

/// Again and again: a request that was given to a leader that has failed is answered only after seconds.
inline void put_until_done(std::uint16_t port) {
    for (const auto begin = Clock::now(); !ask(port, put(), std::chrono::milliseconds(100));) {
        if (seconds_since(begin) > 30) fail("etcd: no answer comes any more");
        pause(std::chrono::milliseconds(1));
    }
}

/// Connections that each send one request after the other. One thread serves them all.
class Clients {
public:
    Clients(std::uint16_t port, std::size_t count) {
        poll_ = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        clients_.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            clients_.push_back({Socket::connected(port), {}, {}});
            epoll_event event{EPOLLIN, {}};
            event.data.u64 = i;
            check(::epoll_ctl(poll_, EPOLL_CTL_ADD, clients_[i].socket.descriptor(), &event), "epoll_ctl");
        }
    }
    Clients(const Clients&) = delete;
    Clients& operator=(const Clients&) = delete;
    ~Clients() { ::close(poll_); }

    Load run(double seconds) {
        const std::string request = put();
        const auto send = [&](Client& client) {
            client.begun = Clock::now();
            client.socket.write(std::as_bytes(std::span(request)));
        };
        std::vector<double> times;
        const auto begin = Clock::now();
        for (Client& each : clients_) send(each);
        std::array<epoll_event, 64> events{};
        std::array<std::byte, 16384> bytes{};
        for (std::size_t open = clients_.size(); open != 0;) {
            const int count = check(::epoll_wait(poll_, events.data(), events.size(), 10'000), "epoll_wait");
            if (count == 0) fail("etcd: no answer comes any more");
            for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
                Client& client = clients_[event.data.u64];
                const std::size_t size = client.socket.read_some(bytes.data(), bytes.size());
                client.answer.add({reinterpret_cast<const char*>(bytes.data()), size});
                if (!client.answer.take()) continue;
                times.push_back(microseconds_since(client.begun));
                if (seconds_since(begin) < seconds) {
                    send(client);
                } else {
                    --open;
                }
            }
        }
        return Load::of(times, seconds_since(begin));
    }

private:
    struct Client {
        Socket socket;
        Answer answer;
        Clock::time_point begun;
    };

    int poll_ = -1;
    std::vector<Client> clients_;
};

class Group {
public:
    explicit Group(const Folder& folder) : folder_(folder), program_(found()) {
        std::vector<Socket> held;  // so that no port is drawn twice
        for (std::size_t i = 0; i < 6; ++i) {
            held.push_back(Socket::listening());
            ports_[i] = held.back().port();
        }
        held.clear();
        for (std::size_t i = 0; i < 3; ++i) start(i);
        wait_until_healthy();
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    ~Group() {
        for (std::size_t i = 0; i < 3; ++i) kill(i);
    }

    std::uint16_t port(std::size_t which) const { return ports_[which]; }

    void start(std::size_t which) {
        const auto address = [&](std::size_t i) { return "http://127.0.0.1:" + std::to_string(ports_[i]); };
        const std::string name = "etcd-" + std::to_string(which);
        std::string all;
        for (std::size_t i = 0; i < 3; ++i)
            all += (i == 0 ? "etcd-" : ",etcd-") + std::to_string(i) + "=" + address(3 + i);
        const std::vector<std::string> arguments = {program_,
                                                    "--name",
                                                    name,
                                                    "--data-dir",
                                                    folder_ / name,
                                                    "--listen-client-urls",
                                                    address(which),
                                                    "--advertise-client-urls",
                                                    address(which),
                                                    "--listen-peer-urls",
                                                    address(3 + which),
                                                    "--initial-advertise-peer-urls",
                                                    address(3 + which),
                                                    "--initial-cluster",
                                                    all,
                                                    "--initial-cluster-state",
                                                    "new",
                                                    "--logger",
                                                    "zap",
                                                    "--log-level",
                                                    "error"};
        std::vector<char*> pointers;
        for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
        pointers.push_back(nullptr);
        const std::string log = folder_ / (name + ".log");
        const pid_t parent = ::getpid();
        processes_[which] = check(::fork(), "fork");
        if (processes_[which] != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        ::dup2(file, STDOUT_FILENO);
        ::dup2(file, STDERR_FILENO);
        ::execv(program_.c_str(), pointers.data());
        ::_exit(127);
    }
    void kill(std::size_t which) {
        const pid_t process = std::exchange(processes_[which], -1);
        if (process <= 0) return;
        ::kill(process, SIGKILL);
        ::waitpid(process, nullptr, 0);
    }
    /// Each answers, and all say that the same one leads.
    void wait_until_healthy() { leader(); }
    std::size_t leader() {
        for (const auto begin = Clock::now(); seconds_since(begin) < 30; pause(std::chrono::milliseconds(20))) {
            std::array<std::string, 3> ids;
            std::array<std::string, 3> leaders;
            bool whole = true;
            for (std::size_t i = 0; i < 3; ++i) {
                const auto text = ask(ports_[i], post("/v3/maintenance/status", "{}"), std::chrono::milliseconds(500));
                whole = whole && text.has_value();
                if (!whole) break;
                ids[i] = value(*text, "member_id");
                leaders[i] = value(*text, "leader");
            }
            if (!whole || leaders[0].empty() || leaders[0] != leaders[1] || leaders[0] != leaders[2]) continue;
            for (std::size_t i = 0; i < 3; ++i) {
                if (ids[i] == leaders[0]) return i;
            }
        }
        fail("etcd: nobody leads");
    }

private:
    /// Of a field with a text in it.
    static std::string value(const std::string& json, const std::string& name) {
        const std::string field = '"' + name + "\":\"";
        const std::size_t at = json.find(field);
        if (at == std::string::npos) return {};
        const std::size_t begin = at + field.size();
        return json.substr(begin, json.find('"', begin) - begin);
    }

    const Folder& folder_;
    const std::string program_;
    std::array<std::uint16_t, 6> ports_{};
    std::array<pid_t, 3> processes_{-1, -1, -1};
};

}  // namespace bench::etcd
