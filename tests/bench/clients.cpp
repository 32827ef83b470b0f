// Clients in a process of their own, of three replicas in a process each, on loopback and on one disk: how long a
// command takes until its reply is there, how many there can be in a second, how long a read takes, and how long
// nobody replies when the leader fails.

#include "bench/floor.hpp"
#include "bench/folder.hpp"
#include "bench/support.hpp"
#include "bench/voters.hpp"

#include <cluster/client.hpp>

namespace {

using bench::Load;
using bench::Loads;
using bench::Series;
using bench::voters::Group;
using bench::voters::Voter;
using namespace std::chrono_literals;

constexpr auto patience = 20s;

struct Extent {
    std::size_t rounds = 3;
    double seconds = 1.5;
    std::size_t kills = 50;
};

std::string number(double value) {
    return bench::text_of(value);
}

void print(const std::string& what, const std::string& unit, const Series& values, const std::string& shown,
           const std::string& bare, const std::string& bar = {}, bool met = true) {
    bench::Json json;
    json.add("bench", "clients: " + what)
        .add("placement", "by the system")
        .add("unit", unit)
        .add("median", values.median())
        .add("least", values.at(0))
        .add("greatest", values.max())
        .add("values", values);
    if (!bare.empty()) json.add("bare", bare);
    if (!bar.empty()) json.add("bar", bar).add("met", met);
    json.print();
    bench::print_row({"clients, " + what, shown, bare, bar, bar.empty() ? "" : bench::met(met)});
}

cluster::ClientOptions options(Group& group) {
    cluster::ClientOptions options;
    options.secret = bench::options().secret;
    for (const Voter& each : group.voters()) options.addresses.push_back(each.address);
    options.log = [](cluster::LogLevel, std::string_view) {};
    return options;
}

std::vector<std::unique_ptr<cluster::Client>> clients(Group& group, std::size_t count,
                                                      const std::optional<cluster::Runtime>& runtime = {}) {
    std::vector<std::unique_ptr<cluster::Client>> all;
    for (std::size_t i = 0; i < count; ++i) {
        cluster::ClientOptions each = options(group);
        each.runtime = runtime;
        all.push_back(std::make_unique<cluster::Client>(each));
    }
    for (const auto& each : all) {
        if (!each->wait_until_open(patience)) bench::fail("a session is not opened: " + each->status().why);
    }
    return all;
}

/// Many chains of commands on some clients: the one that has a reply asks for the next.
Load run_chains(const std::vector<std::unique_ptr<cluster::Client>>& clients, std::size_t chains, double seconds) {
    struct Chain {
        cluster::Client* client = nullptr;
        bench::Clock::time_point begun;
        std::vector<double> times;
    };
    const std::vector<std::byte> message(256, std::byte{7});
    std::vector<Chain> all(chains);
    std::atomic<std::size_t> open{chains};
    std::promise<void> done;
    const auto begin = bench::Clock::now();
    std::function<void(Chain&)> next = [&](Chain& chain) {
        chain.begun = bench::Clock::now();
        chain.client->call(message, patience, [&](std::error_code error, const cluster::Message&) {
            if (error) bench::fail("a command: " + error.message());
            chain.times.push_back(bench::microseconds_since(chain.begun));
            if (bench::seconds_since(begin) < seconds) return next(chain);
            if (--open == 0) done.set_value();
        });
    };
    for (std::size_t i = 0; i < chains; ++i) {
        all[i].client = clients[i % clients.size()].get();
        next(all[i]);
    }
    done.get_future().wait();
    const double passed = bench::seconds_since(begin);
    std::vector<double> times;
    for (const Chain& each : all) times.insert(times.end(), each.times.begin(), each.times.end());
    return Load::of(times, passed);
}

/// Waits for each reply before the next command.
template <class Call>
Load run_serial(double seconds, Call&& call) {
    std::vector<double> times;
    const auto begin = bench::Clock::now();
    while (bench::seconds_since(begin) < seconds) {
        const auto begun = bench::Clock::now();
        call();
        times.push_back(bench::microseconds_since(begun));
    }
    return Load::of(times, bench::seconds_since(begin));
}

void measure_commands(const bench::Folder& folder, const Extent& extent) {
    bench::floor::Floor floor(folder);
    Group group(folder, "clients", {"ann", "bob", "eve"});
    group.settled();
    const auto one = clients(group, 1);
    const auto many = clients(group, 64, cluster::Runtime());
    const std::vector<std::byte> message(256, std::byte{7});
    Loads bare, serial, at_64, at_1024, of_64, reads;
    for (std::size_t round = 0; round <= extent.rounds; ++round) {
        bench::restart_time_limit();
        const double seconds = round == 0 ? std::min(0.3, extent.seconds) : extent.seconds;
        const auto take = [&](Loads& into, const Load& load) {
            if (round != 0) into.add(load);
        };
        take(bare, floor.run(1, seconds));
        take(serial, run_serial(seconds, [&] { one[0]->call(message, patience); }));
        take(reads, run_serial(seconds, [&] { one[0]->read("", patience); }));
        take(at_64, run_chains(one, 64, seconds));
        take(at_1024, run_chains(one, 1024, seconds));
        take(of_64, run_chains(many, 64, seconds));
    }
    const auto both = [](const Loads& each) {
        return number(each.p50.median()) + " / " + number(each.p99.median()) + " µs";
    };
    const double p50 = serial.p50.median() / bare.p50.median();
    const double p99 = serial.p99.median() / bare.p99.median();
    print("one command after the other, p50 / p99", "µs", serial.p50,
          both(serial) + ", ratio " + number(p50) + " / " + number(p99), both(bare), "≤ 2 / ≤ 3", p50 <= 2 && p99 <= 3);
    print("linearizable read, one after the other, p50 / p99", "µs", reads.p50, both(reads), "", "≤ 120 µs",
          reads.p50.median() <= 120);
    const auto rate = [&](const std::string& what, const Loads& loads, double least, double slowest) {
        const double milliseconds = loads.p50.median() / 1000;
        std::string bar = "≥ " + number(least) + "/s";
        if (slowest != 0) bar += ", ≤ " + number(slowest) + " ms";
        print(what + ", rate and p50 / p99", "/s", loads.rate,
              number(loads.rate.median()) + "/s, " + number(milliseconds) + " / " + number(loads.p99.median() / 1000) +
                  " ms",
              "", bar, loads.rate.median() >= least && (slowest == 0 || milliseconds <= slowest));
    };
    rate("64 outstanding of one client", at_64, 40'000, 0);
    rate("1,024 outstanding of one client", at_1024, 80'000, 0);
    rate("64 clients, each one command after the other", of_64, 25'000, 2.5);
}

void measure_kills(const bench::Folder& folder, const Extent& extent) {
    Group group(folder, "kills", {"ann", "bob", "eve"});
    group.settled();
    const auto one = clients(group, 1);
    Series gaps;
    for (std::size_t i = 0; i < extent.kills; ++i) {
        bench::restart_time_limit();
        Voter& leader = group.settled();
        std::atomic<bool> ends{false};
        std::atomic<bench::Clock::rep> last{0};
        std::atomic<std::size_t> after{0};
        std::thread caller([&] {
            while (!ends) {
                one[0]->call("x", patience);
                last = bench::Clock::now().time_since_epoch().count();
                ++after;
            }
        });
        bench::pause(20ms);
        const auto killed = bench::Clock::now();
        leader.child.reset();
        bench::pause(5ms);  // replies that were on their way
        const std::size_t before = after;
        while (after == before) std::this_thread::yield();
        gaps.add(std::chrono::duration<double, std::milli>(
                     bench::Clock::time_point(bench::Clock::duration(last.load())) - killed)
                     .count());
        ends = true;
        caller.join();
        group.start(leader);
    }
    print("leader killed, until the next reply, median / worst of " + std::to_string(extent.kills), "ms", gaps,
          number(gaps.median()) + " / " + number(gaps.max()) + " ms", "", "≤ 100 / ≤ 300 ms",
          gaps.median() <= 100 && gaps.max() <= 300);
}

void measure(std::span<char*> arguments) {
    Extent extent;
    const bool quick =
        std::any_of(arguments.begin(), arguments.end(), [](std::string_view each) { return each == "--quick"; });
    if (quick) extent = {1, 0.5, 3};
    extent.rounds = bench::option(arguments, "--rounds", extent.rounds);
    extent.kills = bench::option(arguments, "--kills", extent.kills);
    const bench::Folder folder;
    bench::write_line("clients: the files are in " + folder.path().string() + ", " + folder.disk());
    measure_commands(folder, extent);
    measure_kills(folder, extent);
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values,
                      {{"floor-follower", bench::floor::play_follower},
                       {"floor-leader", bench::floor::play_leader},
                       {"voter", bench::voters::play}},
                      measure);
}
