// Shared membership. An enrolment until all 49 others have acknowledged it, after it had returned locally; a view shows
// it before it is acknowledged. How many changes of 1 KiB ten nodes hear of from each other per second while a watch on
// each of them reads what is newest, and how many they make. How long a new node takes to know 10,000 members of 1 KiB
// on 20 others, which know them already. Nodes of one process over a shared `Runtime`, or spread over five processes
// beside the one that measures. There is no bare program to compare with.

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

std::uint64_t number_of(const cluster::Member& member) {
    std::uint64_t number = 0;
    if (member.data().size() != data_size) bench::fail("members: data are not as they were set");
    std::memcpy(&number, member.data().data(), sizeof number);
    return number;
}

/// Enrols so many, whose data begin with the numbers from 0 on.
void enroll(cluster::Node& node, std::size_t members, std::vector<cluster::Membership>& into) {
    for (std::size_t i = 0; i < members; ++i) {
        into.push_back(node.create_membership());
        into.back().set_data(payload(i));
        into.back().enroll();
    }
}

/// Waits until the node shows so many, and knows of no other that has more to tell.
cluster::MemberView wait_for_members(const cluster::Node& node, std::size_t members) {
    cluster::MemberWatch watch = node.members().watch();
    while (const auto update = watch.next_for(patience)) {
        if (update->view.size() == members && update->view.complete()) return update->view;
    }
    bench::fail("members: some are missing");
}

// Nodes in other processes.

/// Reads the number of nodes, of all peers, of members on each, and whom to add. The first one has as many members.
void play_nodes() {
    const std::size_t count = std::stoul(bench::read_line());
    const std::size_t peers = std::stoul(bench::read_line());
    const std::size_t members = std::stoul(bench::read_line());
    const std::string first = bench::read_line();
    bench::Nodes nodes = join(shared_runtime(), count, peers, first);
    std::vector<cluster::Membership> memberships;
    for (const auto& node : nodes) enroll(*node, members, memberships);
    for (const auto& node : nodes) wait_for_members(*node, members * (peers + 1));
    bench::write_line("ready");
    const std::size_t last = std::stoul(bench::read_line());
    for (const auto& node : nodes) {
        if (node->members().snapshot().size() != last) bench::fail("members: a view is not as it was acknowledged");
    }
    bench::write_line("so it is");
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
    /// Fails unless each of them shows so many members now.
    void check(std::size_t members) const {
        for (const auto& child : all_) child->tell(std::to_string(members));
        wait();
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
    constexpr std::size_t turns = 1000;
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
            if (i >= turns / 10) times.add(bench::seconds_since(begin) * 1000);
        }
        p50.add(times.median());
        p99.add(times.at(0.99));
        cluster::Membership last = node.create_membership();
        last.enroll(cluster::seen_by::all_peers, patience);
        others.check(1);
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

struct Rates {
    double heard = 0;
    double made = 0;
};

Rates changes_per_second() {
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
                if (std::all_of(update.view.begin(), update.view.end(),
                                [&](const cluster::Member& each) { return number_of(each) == end; })) {
                    return;
                }
            }
        });
    }
    const auto versions = [&] {
        std::uint64_t sum = 0;
        for (const auto& node : nodes) sum += node->members().snapshot().version();
        return sum;
    };
    const std::uint64_t before = versions();
    const auto begin = bench::Clock::now();
    std::uint64_t number = 0;
    while (bench::seconds_since(begin) < lasts) {
        ++number;
        for (auto& membership : memberships) membership.set_data(payload(number));
    }
    const double seconds = bench::seconds_since(begin);
    // Each change that is made or heard of takes one version; several that come at once may take one together.
    const std::uint64_t applied = versions() - before;
    const std::uint64_t made = number * count;
    last = ++number;
    for (auto& membership : memberships) membership.set_data(payload(number));
    for (std::thread& reader : readers) reader.join();
    memberships.clear();
    bench::leave(nodes);
    return {static_cast<double>(applied - made) / seconds, static_cast<double>(made) / seconds};
}

void measure_changes(std::size_t rounds) {
    constexpr double least = 50000;
    bench::Series heard;
    bench::Series made;
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        const Rates rates = changes_per_second();
        heard.add(rates.heard);
        made.add(rates.made);
    }
    bench::Json()
        .add("bench", "changes of 1 KiB that ten watched nodes hear of")
        .add("placement", "one process, one shared Runtime, all cores")
        .add("unit", "changes per second, all nodes together")
        .add("median", heard.median())
        .add("values", heard)
        .add("made", made)
        .add("met", heard.median() >= least)
        .print();
    bench::print_row({"changes of 1 KiB heard of by ten watched nodes, all together",
                      bench::text_of(heard.median()) + " /s of " + bench::text_of(made.median()) + " /s made", "-",
                      "≥ 50,000 /s", bench::met(heard.median() >= least)});
}

// A new node.

void measure_arrival(std::size_t rounds) {
    constexpr std::size_t nodes = 20;
    constexpr std::size_t members = 10000;
    constexpr double most_seconds = 1;
    bench::Series times;
    cluster::Node first("127.0.0.1:0");
    std::vector<cluster::Membership> own;
    enroll(first, members / nodes, own);
    const Others others(nodes - 1, members / nodes, first.address().to_string());
    others.wait();
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        const auto begin = bench::Clock::now();
        cluster::Node node("127.0.0.1:0");
        node.add(first.address());
        const cluster::MemberView view = wait_for_members(node, members);
        times.add(bench::seconds_since(begin));
        std::uint64_t sum = 0;
        for (const cluster::Member& member : view) sum += number_of(member);
        if (sum != members * (members / nodes - 1) / 2) bench::fail("members: data are not as they were set");
    }
    others.check(members);
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
