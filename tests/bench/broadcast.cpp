// One of fifty nodes broadcasts 64 bytes, again and again, each time when everybody has the last: how long until the
// last of the 49 others has it, in its `on_message` handler. All in one process over a shared `Runtime`, and in six
// processes: the sender, and five with ten or nine nodes each.
//
// The bare program has 49 plain connections instead of the mesh. A thread writes a frame of 72 bytes to one after the
// other; in each receiving process a thread waits for all its connections with epoll and reads the frames.

#include "bench/nodes.hpp"
#include "bench/support.hpp"

#include <cluster/cluster.hpp>

#include <semaphore>
#include <thread>

#include <sys/epoll.h>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t receivers = 49;
constexpr std::size_t receiving_processes = 5;
constexpr std::size_t payload_size = 64;
constexpr std::size_t header_size = 8;
constexpr std::size_t warm_up = 50;
constexpr std::size_t turns = 300;
constexpr double most_milliseconds = 2;
constexpr auto patience = 10s;

using Frame = std::array<std::byte, header_size + payload_size>;

/// Counts on one thread what the receivers of a process get, and says when all of them have the next message.
class Arrivals {
public:
    using Complete = std::function<void(bench::Clock::time_point)>;

    Arrivals(std::size_t count, Complete complete) : count_(count), complete_(std::move(complete)) {}

    void add(std::span<const std::byte> payload) {
        std::uint64_t number = 0;
        if (payload.size() == payload_size) std::memcpy(&number, payload.data(), sizeof number);
        if (number != number_) std::abort();
        if (++have_ < count_) return;
        have_ = 0;
        ++number_;
        complete_(bench::Clock::now());
    }

private:
    const std::size_t count_;
    const Complete complete_;
    std::size_t have_ = 0;
    std::uint64_t number_ = 1;
};

/// In milliseconds.
using Times = bench::Series;

/// Sends one message after the other; `arrived` waits until all have it and returns when that was.
Times measured(const std::function<void(std::span<const std::byte>)>& send,
               const std::function<bench::Clock::time_point()>& arrived) {
    bench::Source source(payload_size);
    Times times;
    for (std::size_t i = 0; i < warm_up + turns; ++i) {
        const std::span<const std::byte> payload = source.next();
        const auto begin = bench::Clock::now();
        send(payload);
        const auto end = arrived();
        if (i >= warm_up) times.add(std::chrono::duration<double, std::milli>(end - begin).count());
    }
    return times;
}

/// For receivers in the process that sends.
class Arrival {
public:
    void set(bench::Clock::time_point time) {
        time_ = time;
        there_.release();
    }
    bench::Clock::time_point wait() {
        if (!there_.try_acquire_for(patience)) bench::fail("broadcast: somebody did not get it");
        return time_;
    }

private:
    bench::Clock::time_point time_;
    std::binary_semaphore there_{0};
};

/// For receivers in other processes, which share the clock: each writes when the last of its own had the message.
class Children {
public:
    explicit Children(const std::string& part) {
        for (std::size_t i = 0; i < receiving_processes; ++i) {
            sizes_.push_back((receivers + i) / receiving_processes);
            all_.push_back(std::make_unique<bench::Child>(part));
        }
    }

    static void tell_arrival(bench::Clock::time_point time) {
        bench::write_line(std::to_string(time.time_since_epoch().count()));
    }
    bench::Clock::time_point wait() const {
        bench::Clock::time_point last;
        for (const auto& child : all_) {
            const bench::Clock::duration time(std::stoll(child->line()));
            last = std::max(last, bench::Clock::time_point(time));
        }
        return last;
    }
    std::size_t count() const { return all_.size(); }
    std::size_t size(std::size_t i) const { return sizes_[i]; }
    bench::Child& operator[](std::size_t i) const { return *all_[i]; }
    void end() const {
        for (const auto& child : all_) child->tell("done");
        for (const auto& child : all_) child->join();
    }

private:
    std::vector<std::size_t> sizes_;
    std::vector<std::unique_ptr<bench::Child>> all_;
};

// With the library.

/// Nodes that share `options.runtime`, add `first` and count in `arrivals` what they get; returns when each is linked
/// with all the others.
bench::Nodes join(const cluster::Options& options, std::size_t count, const std::string& first, Arrivals& arrivals) {
    bench::Nodes nodes;
    for (std::size_t i = 0; i < count; ++i) {
        cluster::Node& node = *nodes.emplace_back(std::make_unique<cluster::Node>(options));
        node.on_message([&arrivals](const cluster::Message& message) { arrivals.add(message.bytes()); });
        node.add(first);
    }
    for (const auto& node : nodes) {
        if (!node->wait_for_peers(receivers, patience)) bench::fail("broadcast: the mesh is not complete");
    }
    return nodes;
}

Times cluster_times(cluster::Node& sender, const std::function<bench::Clock::time_point()>& arrived) {
    if (!sender.wait_for_peers(receivers, patience)) bench::fail("broadcast: the mesh is not complete");
    return measured(
        [&](std::span<const std::byte> payload) {
            if (sender.broadcast(payload) != receivers) bench::fail("broadcast: a peer is out of view");
        },
        arrived);
}

Times cluster_in_one_process() {
    cluster::Options options = bench::options();
    options.runtime = cluster::Runtime();
    Arrival arrival;
    Arrivals arrivals(receivers, [&](bench::Clock::time_point time) { arrival.set(time); });
    auto sender = std::make_unique<cluster::Node>(options);
    bench::Nodes nodes = join(options, receivers, sender->address().to_string(), arrivals);
    Times times = cluster_times(*sender, [&] { return arrival.wait(); });
    nodes.push_back(std::move(sender));
    bench::leave(nodes);
    return times;
}

void cluster_receivers() {
    const std::size_t count = std::stoul(bench::read_line());
    const std::string first = bench::read_line();
    cluster::Options options = bench::options();
    options.runtime = cluster::Runtime();
    Arrivals arrivals(count, Children::tell_arrival);
    bench::Nodes nodes = join(options, count, first, arrivals);
    bench::write_line("ready");
    bench::read_line();
    bench::leave(nodes);
}

Times cluster_in_processes() {
    const Children children("cluster-receivers");
    cluster::Node sender(bench::options());
    for (std::size_t i = 0; i < children.count(); ++i) {
        children[i].tell(std::to_string(children.size(i)) + "\n" + sender.address().to_string());
    }
    for (std::size_t i = 0; i < children.count(); ++i) children[i].line();
    Times times = cluster_times(sender, [&] { return children.wait(); });
    children.end();
    return times;
}

// With plain sockets.

/// Reads all frames from all connections.
void read_frames(const std::vector<bench::Socket>& sockets, Arrivals& arrivals) {
    const int poll = bench::check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
        bench::check(::epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i].descriptor(), &event), "epoll_ctl");
    }
    std::array<epoll_event, 64> events{};
    for (std::size_t left = sockets.size() * (warm_up + turns); left != 0;) {
        const int count = bench::check(::epoll_wait(poll, events.data(), events.size(), -1), "epoll_wait");
        for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
            Frame frame{};
            sockets[event.data.u64].read(frame);
            arrivals.add(std::span(frame).subspan(header_size));
            --left;
        }
    }
    ::close(poll);
}

Times bare_times(const std::vector<bench::Socket>& sockets, const std::function<bench::Clock::time_point()>& arrived) {
    return measured(
        [&](std::span<const std::byte> payload) {
            Frame frame{};
            frame[0] = static_cast<std::byte>(payload_size);
            std::copy(payload.begin(), payload.end(), frame.begin() + header_size);
            for (const bench::Socket& socket : sockets) socket.write(frame);
        },
        arrived);
}

Times bare_in_one_process() {
    const bench::Socket listener = bench::Socket::listening();
    std::vector<bench::Socket> sending;
    std::vector<bench::Socket> receiving;
    for (std::size_t i = 0; i < receivers; ++i) {
        sending.push_back(bench::Socket::connected(listener.port()));
        receiving.push_back(listener.accept());
    }
    Arrival arrival;
    Arrivals arrivals(receivers, [&](bench::Clock::time_point time) { arrival.set(time); });
    std::thread reader([&] { read_frames(receiving, arrivals); });
    Times times = bare_times(sending, [&] { return arrival.wait(); });
    reader.join();
    return times;
}

void bare_receivers() {
    const std::size_t count = std::stoul(bench::read_line());
    const bench::Socket listener = bench::Socket::listening();
    bench::write_line(std::to_string(listener.port()));
    std::vector<bench::Socket> sockets;
    for (std::size_t i = 0; i < count; ++i) sockets.push_back(listener.accept());
    Arrivals arrivals(count, Children::tell_arrival);
    read_frames(sockets, arrivals);
    bench::read_line();
}

Times bare_in_processes() {
    const Children children("bare-receivers");
    std::vector<bench::Socket> sockets;
    for (std::size_t i = 0; i < children.count(); ++i) {
        children[i].tell(std::to_string(children.size(i)));
        const auto port = static_cast<std::uint16_t>(std::stoul(children[i].line()));
        for (std::size_t each = 0; each < children.size(i); ++each) {
            sockets.push_back(bench::Socket::connected(port));
        }
    }
    Times times = bare_times(sockets, [&] { return children.wait(); });
    children.end();
    return times;
}

// What it gives.

struct Percentiles {
    bench::Series p50;
    bench::Series p99;

    void add(const Times& times) {
        p50.add(times.median());
        p99.add(times.at(0.99));
    }
    std::string text() const {
        return bench::text_of(p50.median()) + " ms, p99 " + bench::text_of(p99.median()) + " ms";
    }
};

void measure(const std::string& where, Times (*cluster_run)(), Times (*bare_run)(), std::size_t rounds) {
    Percentiles cluster;
    Percentiles bare;
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        bare.add(bare_run());
        cluster.add(cluster_run());
    }
    const double ratio = cluster.p50.median() / bare.p50.median();
    const bool good = cluster.p50.median() <= most_milliseconds;
    bench::Json()
        .add("bench", "broadcast of 64 B to 49 until the last has it")
        .add("placement", where + ", all cores")
        .add("unit", "milliseconds")
        .add("p50", cluster.p50.median())
        .add("p99", cluster.p99.median())
        .add("bare_p50", bare.p50.median())
        .add("bare_p99", bare.p99.median())
        .add("ratio", ratio)
        .add("values", cluster.p50)
        .add("bare_values", bare.p50)
        .add("met", good)
        .print();
    bench::print_row({"64 B to 49 until the last has it, " + where,
                      cluster.text() + " (" + bench::text_of(ratio) + " x bare)", bare.text(), "≤ 2 ms",
                      bench::met(good)});
}

}  // namespace

int main(int count, char** values) {
    const bench::Parts parts = {{"cluster-receivers", cluster_receivers}, {"bare-receivers", bare_receivers}};
    return bench::run(count, values, parts, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 5);
        measure("one process, one shared Runtime", cluster_in_one_process, bare_in_one_process, rounds);
        measure("six processes", cluster_in_processes, bare_in_processes, rounds);
    });
}
