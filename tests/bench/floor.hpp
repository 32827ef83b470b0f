#pragma once

#include "bench/folder.hpp"
#include "bench/support.hpp"

#include <deque>
#include <optional>

#include <poll.h>

// The least that keeping a log by three processes takes, without elections, terms, checksums or recovery: what a group
// of replicas is compared with.
//
// A client sends messages of 256 bytes to a leader, which passes them on to two followers. Each of the three writes all
// that has come meanwhile to its file, with one `pwrite`, and calls `fdatasync`. A follower then says how much it has.
// The client hears how much two of the three have. Each process has one thread and plain sockets.

namespace bench::floor {

constexpr std::size_t message_size = 256;
constexpr std::size_t most_at_once = 4096 * message_size;

/// Zeros from the start, so that a write changes no length and no place. It begins anew when it is full.
class LogFile {
public:
    explicit LogFile(const std::string& path) {
        descriptor_ = check(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "a file of the floor");
        const std::vector<std::byte> zeros(most_at_once);
        for (std::size_t at = 0; at < size; at += zeros.size()) write_at(at, zeros);
        check(::fsync(descriptor_), "fsync");
    }
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;
    ~LogFile() { ::close(descriptor_); }

    void append(std::span<const std::byte> bytes) {
        if (at_ + bytes.size() > size) at_ = 0;
        write_at(at_, bytes);
        at_ += bytes.size();
        check(::fdatasync(descriptor_), "fdatasync");
    }

private:
    static constexpr std::size_t size = 16 * most_at_once;

    void write_at(std::size_t at, std::span<const std::byte> bytes) const {
        const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
        if (count != static_cast<ssize_t>(bytes.size())) fail("the floor cannot write");
    }

    int descriptor_ = -1;
    std::size_t at_ = 0;
};

/// What has come of a stream of messages, or of counts.
class Arrived {
public:
    explicit Arrived(std::size_t unit) : unit_(unit), buffer_(most_at_once + unit) {}

    void read(const Socket& from) { have_ += from.read_some(buffer_.data() + have_, buffer_.size() - have_); }
    std::span<const std::byte> whole() const { return std::span(buffer_).first(have_ / unit_ * unit_); }
    /// What is whole has been used.
    void drop() {
        const std::size_t used = whole().size();
        std::memmove(buffer_.data(), buffer_.data() + used, have_ - used);
        have_ -= used;
    }
    /// The newest count.
    std::uint64_t take_count(std::uint64_t before) {
        std::uint64_t count = before;
        if (!whole().empty()) std::memcpy(&count, whole().last(sizeof count).data(), sizeof count);
        drop();
        return count;
    }

private:
    std::size_t unit_;
    std::vector<std::byte> buffer_;
    std::size_t have_ = 0;
};

inline void tell_count(const Socket& to, std::uint64_t count) {
    to.write(std::as_bytes(std::span(&count, 1)));
}

inline void play_follower() {
    LogFile file(read_line());
    const Socket listener = Socket::listening();
    write_line(std::to_string(listener.port()));
    const Socket leader = listener.accept();
    Arrived messages(message_size);
    ::alarm(0);  // it ends with its parent
    for (std::uint64_t count = 0;;) {
        messages.read(leader);
        if (messages.whole().empty()) continue;
        file.append(messages.whole());
        count += messages.whole().size() / message_size;
        messages.drop();
        tell_count(leader, count);
    }
}

inline void play_leader() {
    LogFile file(read_line());
    std::vector<Socket> sockets;  // two followers, and the client
    for (int i = 0; i < 2; ++i)
        sockets.push_back(Socket::connected(static_cast<std::uint16_t>(std::stoul(read_line()))));
    const Socket listener = Socket::listening();
    write_line(std::to_string(listener.port()));
    sockets.push_back(listener.accept());
    Arrived messages(message_size);
    std::array<Arrived, 2> answers{Arrived(sizeof(std::uint64_t)), Arrived(sizeof(std::uint64_t))};
    std::array<std::uint64_t, 3> counts{};  // what each of the three has on disk
    std::array<pollfd, 3> wanted{};
    for (std::size_t i = 0; i < 3; ++i) wanted[i] = {sockets[i].descriptor(), POLLIN, 0};
    ::alarm(0);  // it ends with its parent
    for (std::uint64_t told = 0;;) {
        if (::poll(wanted.data(), wanted.size(), -1) < 0) check(-1, "poll");
        if (wanted[2].revents != 0) {
            messages.read(sockets[2]);
            const auto bytes = messages.whole();
            if (!bytes.empty()) {
                sockets[0].write(bytes);
                sockets[1].write(bytes);
                file.append(bytes);
                counts[2] += bytes.size() / message_size;
                messages.drop();
                if (::poll(wanted.data(), wanted.size(), 0) < 0) check(-1, "poll");
            }
        }
        for (std::size_t i = 0; i < 2; ++i) {
            if (wanted[i].revents == 0) continue;
            answers[i].read(sockets[i]);
            counts[i] = answers[i].take_count(counts[i]);
        }
        auto sorted = counts;
        std::sort(sorted.begin(), sorted.end());
        if (sorted[1] != told) tell_count(sockets[2], told = sorted[1]);
    }
}

/// The three processes, and the client, which is the calling thread.
class Floor {
public:
    explicit Floor(const Folder& folder) {
        for (std::size_t i = 0; i < 2; ++i) {
            followers_[i].tell(folder / ("floor-" + std::to_string(i)));
            ports_[i] = followers_[i].line();
        }
        leader_.tell(folder / "floor-leader");
        for (const std::string& port : ports_) leader_.tell(port);
        socket_.emplace(Socket::connected(static_cast<std::uint16_t>(std::stoul(leader_.line()))));
    }

    Floor(const Floor&) = delete;
    Floor& operator=(const Floor&) = delete;
    /// All at once, so that none says that another has ended.
    ~Floor() {
        for (const Child* each : {&leader_, &followers_[0], &followers_[1]}) ::kill(each->id(), SIGKILL);
    }

    /// So many messages are always on their way.
    Load run(std::size_t outstanding, double seconds) {
        std::vector<double> times;
        std::deque<Clock::time_point> begun;
        const double used = processor();
        const auto begin = Clock::now();
        std::vector<std::byte> batch(outstanding * message_size);
        for (;;) {
            const std::size_t free = seconds_since(begin) < seconds ? outstanding - begun.size() : 0;
            if (free == 0 && begun.empty()) break;
            socket_->write(std::span(batch).first(free * message_size));
            begun.insert(begun.end(), free, Clock::now());
            counts_.read(*socket_);
            const std::uint64_t before = std::exchange(acknowledged_, counts_.take_count(acknowledged_));
            for (std::uint64_t i = before; i < acknowledged_; ++i) {
                times.push_back(microseconds_since(begun.front()));
                begun.pop_front();
            }
        }
        Load load = Load::of(times, seconds_since(begin));
        load.cpu = (processor() - used) * 1e6 / static_cast<double>(times.size());
        return load;
    }

private:
    /// What the three have used, in seconds. Each has one thread.
    double processor() const {
        double sum = 0;
        for (const Child* each : {&leader_, &followers_[0], &followers_[1]}) {
            std::ifstream file("/proc/" + std::to_string(each->id()) + "/schedstat");
            double nanoseconds = 0;
            if (!(file >> nanoseconds)) fail("the time of a process cannot be read");
            sum += nanoseconds * 1e-9;
        }
        return sum;
    }

    std::array<Child, 2> followers_{Child("floor-follower"), Child("floor-follower")};
    std::array<std::string, 2> ports_;
    Child leader_{"floor-leader"};
    std::optional<Socket> socket_;
    Arrived counts_{sizeof(std::uint64_t)};
    std::uint64_t acknowledged_ = 0;
};

}  // namespace bench::floor
