// Ten, fifty or a hundred nodes of one process all add the first one at the same moment: how long until each has all
// the others, and how many frames of discovery that took.
//
// The bare program opens as many connections of plain sockets, one after the other, and sends a greeting over each in
// both directions.
//
// With `--busy=N` so many threads that never rest run beside both, as on a machine that is slower and has other things
// to do: nobody may be lost there, either.

#include "bench/nodes.hpp"
#include "bench/support.hpp"

#include <cluster/cluster.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

struct Size {
    std::size_t nodes = 0;
    std::size_t runs = 0;
    double most_seconds = 0;  ///< of the slowest run; 0: no bar

    std::size_t links() const { return nodes * (nodes - 1) / 2; }
    std::uint64_t most_lists() const { return 4 * nodes * nodes; }
};

constexpr auto patience = 10s;

struct Totals {
    std::uint64_t lists_sent = 0;
    std::uint64_t lists_received = 0;
    std::uint64_t links_accepted = 0;
    std::uint64_t links_open = 0;
    std::uint64_t failures = 0;
    std::uint64_t peers = 0;
};

Totals totals(const bench::Nodes& all) {
    Totals sum;
    for (const auto& node : all) {
        const cluster::Stats stats = node->stats();
        sum.lists_sent += stats.lists_sent;
        sum.lists_received += stats.lists_received;
        sum.links_accepted += stats.links_accepted;
        sum.links_open += stats.links;
        sum.failures += stats.failures;
        sum.peers += stats.peers;
    }
    return sum;
}

/// What has been sent is still being read when the last node is complete: looks again until nothing moves any more.
Totals settled_totals(const bench::Nodes& all, const Size& size) {
    const auto give_up = bench::Clock::now() + 2s;
    Totals before = totals(all);
    for (;;) {
        all.front()->wait_for_peers(size.nodes, 20ms);  // never so many: it only lets time pass
        const Totals now = totals(all);
        const bool still = now.lists_sent == before.lists_sent && now.lists_sent == now.lists_received &&
                           now.links_open == 2 * size.links();
        if (still || bench::Clock::now() > give_up) return now;
        before = now;
    }
}

struct Result {
    double seconds = 0;
    double cpu_seconds = 0;  ///< of all threads, in the same time
    Totals totals;
};

/// Nothing is wrong while a mesh forms, so nothing should be logged: counts what is, and keeps the first of it.
class Warnings {
public:
    void add(std::string_view text) {
        const std::lock_guard lock(mutex_);
        if (count_++ == 0) first_ = text;
    }
    std::uint64_t count() const {
        const std::lock_guard lock(mutex_);
        return count_;
    }
    std::string first() const {
        const std::lock_guard lock(mutex_);
        return first_;
    }

private:
    mutable std::mutex mutex_;
    std::uint64_t count_ = 0;
    std::string first_;
};

/// Threads that never rest.
class Busy {
public:
    explicit Busy(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            threads_.emplace_back([this] {
                while (!over_) {
                }
            });
        }
    }
    ~Busy() {
        over_ = true;
        for (std::thread& thread : threads_) thread.join();
    }

private:
    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

Result form_mesh(const Size& size, bool shared_runtime, Warnings& warnings) {
    const std::size_t nodes = size.nodes;
    cluster::Options options = bench::options();
    options.log = [&](cluster::LogLevel level, std::string_view text) {
        if (level >= cluster::LogLevel::warning) warnings.add(text);
    };
    if (shared_runtime) options.runtime = cluster::Runtime();
    bench::Nodes all;
    for (std::size_t i = 0; i < nodes; ++i) {
        options.name = "node" + std::to_string(i);
        all.push_back(std::make_unique<cluster::Node>(options));
    }
    const cluster::Address first = all.front()->address();

    std::latch start(static_cast<std::ptrdiff_t>(nodes));
    std::vector<std::string> problems(nodes);
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < nodes; ++i) {
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            std::error_code error;
            all[i]->add(first, error);
            if (error) {
                problems[i] = "add: " + error.message();
            } else if (!all[i]->wait_for_peers(nodes - 1, patience)) {
                problems[i] = std::to_string(all[i]->peers().size()) + " peers only";
            }
        });
    }
    const double cpu_begin = bench::cpu_seconds();
    start.arrive_and_wait();
    const auto begin = bench::Clock::now();
    if (!all.front()->wait_for_peers(nodes - 1, patience)) problems[0] = "peers are missing";
    for (std::thread& thread : threads) thread.join();
    Result result;
    result.seconds = bench::seconds_since(begin);
    result.cpu_seconds = bench::cpu_seconds() - cpu_begin;
    for (std::size_t i = 0; i < nodes; ++i) {
        if (problems[i].empty()) continue;
        bench::leave(all);
        bench::fail("mesh: node " + std::to_string(i) + ": " + problems[i]);
    }

    result.totals = settled_totals(all, size);
    if (result.totals.peers != nodes * (nodes - 1)) bench::fail("mesh: a peer was lost again");

    bench::leave(all);
    return result;
}

double bare(const Size& size) {
    std::array<std::byte, 200> greeting{};
    std::vector<bench::Socket> listeners;
    for (std::size_t i = 0; i < size.nodes; ++i) listeners.push_back(bench::Socket::listening());
    std::vector<bench::Socket> open;
    open.reserve(2 * size.links());
    const auto begin = bench::Clock::now();
    for (std::size_t i = 0; i < size.nodes; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            const bench::Socket& dialled = open.emplace_back(bench::Socket::connected(listeners[j].port()));
            const bench::Socket& accepted = open.emplace_back(listeners[j].accept());
            dialled.write(greeting);
            accepted.write(greeting);
            accepted.read(greeting);
            dialled.read(greeting);
        }
    }
    return bench::seconds_since(begin);
}

void measure_mesh(const Size& size, bool shared_runtime) {
    bench::Series times;
    bench::Series cpu_times;
    bench::Series bare_times;
    Totals most;
    Warnings warnings;
    for (std::size_t i = 0; i < size.runs; ++i) {
        bench::restart_time_limit();
        if (i < 5) bare_times.add(bare(size));
        const Result result = form_mesh(size, shared_runtime, warnings);
        times.add(result.seconds);
        cpu_times.add(result.cpu_seconds);
        most.lists_sent = std::max(most.lists_sent, result.totals.lists_sent);
        most.links_accepted = std::max(most.links_accepted, result.totals.links_accepted);
        most.links_open = std::max(most.links_open, result.totals.links_open / 2);
        most.failures += result.totals.failures;
    }
    const std::string threads = shared_runtime ? "one shared Runtime" : "a Runtime for each";
    const bool fast = size.most_seconds == 0 || times.max() <= size.most_seconds;
    const bool good = fast && most.lists_sent <= size.most_lists() && most.failures == 0;
    const std::string seconds_bar =
        size.most_seconds == 0 ? "" : "slowest ≤ " + bench::text_of(size.most_seconds) + " s, ";
    bench::Json()
        .add("bench", "mesh")
        .add("nodes", std::uint64_t{size.nodes})
        .add("placement", "one process, " + threads + ", all cores")
        .add("runs", std::uint64_t{size.runs})
        .add("median_s", times.median())
        .add("max_s", times.max())
        .add("cpu_median_s", cpu_times.median())
        .add("bare_median_s", bare_times.median())
        .add("ratio", times.median() / bare_times.median())
        .add("max_lists_sent", most.lists_sent)
        .add("lists_bar", size.most_lists())
        .add("max_links_accepted", most.links_accepted)
        .add("links", most.links_open)
        .add("peers_lost", most.failures)
        .add("warnings", warnings.count())
        .add("first_warning", warnings.first())
        .add("met", good)
        .print();
    bench::print_row({"mesh of " + std::to_string(size.nodes) + ", " + threads,
                      bench::text_of(times.median()) + " s, slowest of " + std::to_string(size.runs) + " " +
                          bench::text_of(times.max()) + " s; at most " + std::to_string(most.lists_sent) + " lists, " +
                          std::to_string(most.links_accepted) + " links accepted",
                      bench::text_of(bare_times.median()) + " s",
                      seconds_bar + "lists ≤ " + std::to_string(size.most_lists()),
                      bench::met(good)});
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values, {}, [](std::span<char*> arguments) {
        const std::size_t runs = bench::option(arguments, "--runs", 20);
        const Busy busy(bench::option(arguments, "--busy", 0));
        for (const Size& size : {Size{10, runs, 0}, Size{50, runs, 0.3}, Size{100, (runs + 3) / 4, 1}}) {
            measure_mesh(size, true);
            measure_mesh(size, false);
        }
    });
}
