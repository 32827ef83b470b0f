// Shared membership. An enrolment until all 49 others have acknowledged it, after it had returned locally. How many
// changes of 1 KiB ten nodes make known to each other per second while a watch on each of them reads what is newest.
// How long a new node takes to know 10,000 members of 1 KiB on 20 others. Nodes of one process over a shared `Runtime`,
// or spread over five processes beside the one that measures. There is no bare program to compare with.

#include "bench/nodes.hpp"
#include "bench/support.hpp"

#include <cluster/cluster.hpp>

#include <atomic>
#include <thread>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t processes = 5;
constexpr std::size_t data_size = 1024;
constexpr auto patience = 10s;

cluster::Options shared_runtime() {
    cluster::Options options;
    options.runtime = cluster::Runtime();
    return options;
}

/// So many nodes that all add `first`, or the first of them; each is linked with `peers` when it returns.
bench::Nodes join(const cluster::Options& options, std::size_t count, std::size_t peers, std::string first = {}) {
    bench::Nodes nodes;
    for (std::size_t i = 0; i < count; ++i) {
        cluster::Node& node = *nodes.emplace_back(std::make_unique<cluster::Node>(options));
        if (first.empty()) {
            first = node.address().to_string();
        } else {
            node.add(first);
        }
    }
    for (const auto& node : nodes) {
        if (!node->wait_for_peers(peers, patience)) bench::fail("members: the mesh is not complete");
    }
    return nodes;
}

std::vector<std::byte> payload(std::uint64_t number) {
    std::vector<std::byte> data(data_size);
    std::memcpy(data.data(), &number, sizeof number);
    return data;
}

// Nodes in other processes.

/// Reads the number of nodes, of all peers, of members on each, and whom to add.
void play_nodes() {
    const std::size_t count = std::stoul(bench::read_line());
    const std::size_t peers = std::stoul(bench::read_line());
    const std::size_t members = std::stoul(bench::read_line());
    const std::string first = bench::read_line();
    bench::Nodes nodes = join(shared_runtime(), count, peers, first);
    std::vector<cluster::Membership> memberships;
    for (const auto& node : nodes) {
        for (std::size_t i = 0; i < members; ++i) {
            memberships.push_back(node->create_membership());
            memberships.back().set_data(payload(i));
            memberships.back().enroll();
        }
    }
    bench::write_line("ready");
    bench::read_line();
    memberships.clear();
    bench::leave(nodes);
}

class Others {
public:
    Others(std::size_t nodes, std::size_t members, const std::string& first) {
        for (std::size_t i = 0; i < processes; ++i) {
            all_.push_back(std::make_unique<bench::Child>("nodes"));
            const std::size_t count = (nodes + i) / processes;
            all_.back()->tell(std::to_string(count) + "\n" + std::to_string(nodes) + "\n" + std::to_string(members) +
                              "\n" + first);
        }
    }
    void wait() const {
        for (const auto& child : all_) child->line();
    }
    void end() const {
        for (const auto& child : all_) child->tell("done");
        for (const auto& child : all_) child->join();
    }

private:
    std::vector<std::unique_ptr<bench::Child>> all_;
};

// An enrolment, until all have seen it.

void measure_enrolment(std::size_t rounds) {
    constexpr std::size_t nodes = 50;
    constexpr std::size_t turns = 200;
    constexpr double most_milliseconds = 5;
    bench::Series p50;
    bench::Series p99;
    for (std::size_t round = 0; round < rounds; ++round) {
        bench::restart_time_limit();
        cluster::Node node("127.0.0.1:0");
        const Others others(nodes - 1, 0, node.address().to_string());
        others.wait();
        bench::Series times;
        for (std::size_t i = 0; i < turns; ++i) {
            cluster::Membership membership = node.create_membership();
            membership.set_data("somebody");
            membership.enroll();
            const auto begin = bench::Clock::now();
            membership.enroll(cluster::seen_by::all_peers, patience);
            if (i >= 20) times.add(bench::seconds_since(begin) * 1000);
        }
        p50.add(times.median());
        p99.add(times.at(0.99));
        node.close();
        others.end();
    }
    bench::Json()
        .add("bench", "an enrolment, from its return to the last acknowledgement of 49")
        .add("placement", "six processes, all cores")
        .add("unit", "milliseconds")
        .add("p50", p50.median())
        .add("p99", p99.median())
        .add("values", p99)
        .add("met", p99.median() <= most_milliseconds)
        .print();
    bench::print_row({"enrolment until 49 others have it, six processes",
                      bench::text_of(p50.median()) + " ms, p99 " + bench::text_of(p99.median()) + " ms", "-",
                      "p99 ≤ 5 ms", bench::met(p99.median() <= most_milliseconds)});
}

// Changes per second.

double changes_per_second() {
    constexpr std::size_t count = 10;
    constexpr double lasts = 2;
    bench::Nodes nodes = join(shared_runtime(), count, count - 1);
    std::vector<cluster::Membership> memberships;
    for (const auto& node : nodes) {
        memberships.push_back(node->create_membership());
        memberships.back().set_data(payload(0));
        memberships.back().enroll(cluster::seen_by::all_peers);
    }
    // A watch on each node reads what is newest, and must end with the last of all.
    std::atomic<std::uint64_t> last{0};
    std::vector<std::thread> readers;
    for (const auto& node : nodes) {
        readers.emplace_back([&last, watch = node->members().watch()]() mutable {
            for (const cluster::MemberUpdate& update : watch) {
                const std::uint64_t end = last;
                if (end == 0 || update.view.size() != count) continue;
                const bool done = std::all_of(update.view.begin(), update.view.end(), [&](const cluster::Member& each) {
                    std::uint64_t number = 0;
                    std::memcpy(&number, each.data().data(), sizeof number);
                    return number == end;
                });
                if (done) return;
            }
        });
    }
    std::uint64_t before = 0;
    for (const auto& node : nodes) before += node->members().snapshot().version();
    const auto begin = bench::Clock::now();
    std::uint64_t number = 0;
    while (bench::seconds_since(begin) < lasts) {
        ++number;
        for (auto& membership : memberships) membership.set_data(payload(number));
    }
    const double seconds = bench::seconds_since(begin);
    std::uint64_t applied = 0;
    for (const auto& node : nodes) applied += node->members().snapshot().version();
    last = ++number;
    for (auto& membership : memberships) membership.set_data(payload(number));
    for (std::thread& reader : readers) reader.join();
    memberships.clear();
    bench::leave(nodes);
    return static_cast<double>(applied - before) / seconds;
}

void measure_changes(std::size_t rounds) {
    constexpr double least = 50000;
    bench::Series rates;
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        rates.add(changes_per_second());
    }
    bench::Json()
        .add("bench", "changes of 1 KiB that ten watched nodes show")
        .add("placement", "one process, one shared Runtime, all cores")
        .add("unit", "changes per second, all nodes together")
        .add("median", rates.median())
        .add("values", rates)
        .add("met", rates.median() >= least)
        .print();
    bench::print_row({"changes of 1 KiB, ten watched nodes, all together", bench::text_of(rates.median()) + " /s", "-",
                      "≥ 50,000 /s", bench::met(rates.median() >= least)});
}

// A new node.

void measure_arrival(std::size_t rounds) {
    constexpr std::size_t nodes = 20;
    constexpr std::size_t members = 10000;
    constexpr double most_seconds = 1;
    bench::Series times;
    cluster::Node first("127.0.0.1:0");
    const Others others(nodes - 1, members / nodes, first.address().to_string());
    others.wait();
    std::vector<cluster::Membership> own;
    for (std::size_t i = 0; i < members / nodes; ++i) {
        own.push_back(first.create_membership());
        own.back().set_data(payload(i));
        own.back().enroll();
    }
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        const auto begin = bench::Clock::now();
        cluster::Node node("127.0.0.1:0");
        cluster::MemberWatch watch = node.members().watch();
        node.add(first.address());
        while (const auto update = watch.next_for(patience)) {
            if (update->view.size() == members && update->view.complete()) break;
        }
        times.add(bench::seconds_since(begin));
        if (node.members().snapshot().size() != members) bench::fail("members: some are missing");
    }
    own.clear();
    first.close();
    others.end();
    bench::Json()
        .add("bench", "a new node knows 10,000 members of 1 KiB on 20 others")
        .add("placement", "six processes, all cores")
        .add("unit", "seconds")
        .add("median", times.median())
        .add("values", times)
        .add("met", times.median() <= most_seconds)
        .print();
    bench::print_row({"a new node knows 10,000 members of 1 KiB on 20 nodes",
                      bench::text_of(times.median()) + " s", "-", "≤ 1 s",
                      bench::met(times.median() <= most_seconds)});
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values, {{"nodes", play_nodes}}, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 5);
        measure_enrolment(rounds);
        measure_changes(rounds);
        measure_arrival(rounds);
    });
}
