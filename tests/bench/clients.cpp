// Clients in a process of their own, of three replicas in a process each, on loopback and on one disk: how long a
// command takes until its reply is there, also at a fixed rate; how many there can be in a second; how long a read
// takes; how long nobody replies when the leader fails; and what many sessions cost that say nothing.

#include "bench/floor.hpp"
#include "bench/folder.hpp"
#include "bench/support.hpp"
#include "bench/voters.hpp"

#include <cluster/client.hpp>

#include <latch>

#include <sys/prctl.h>
#include <unistd.h>

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
    std::size_t sessions = 10'000;
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

/// What became of commands that were due at a fixed rate. The time of each counts from when it was due: so what waits
/// behind a pause is counted, too.
struct Paced {
    std::vector<double> times;  ///< in microseconds, sorted
    std::size_t due = 0;
    double seconds = 0;  ///< until the last reply

    double at(double part) const {
        return times.empty() ? 0 : times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
    }
    /// Each has its reply, and the last one came no later than a tenth of the time after it was due.
    bool held(double wanted) const { return times.size() == due && seconds <= 1.1 * wanted; }
};

Paced run_paced(cluster::Client& client, double rate, std::size_t size, double seconds) {
    const std::vector<std::byte> message(size, std::byte{7});
    Paced result;
    result.due = static_cast<std::size_t>(rate * seconds);
    result.times.reserve(result.due);  // the handlers run on one thread
    std::latch open(static_cast<std::ptrdiff_t>(result.due));
    const auto begin = bench::Clock::now();
    for (std::size_t i = 0; i < result.due; ++i) {
        const auto due = begin + std::chrono::duration_cast<bench::Clock::duration>(
                                     std::chrono::duration<double>(static_cast<double>(i) / rate));
        bench::pause(due - bench::Clock::now());
        client.call(message, patience, [&, due](std::error_code error, const cluster::Message&) {
            if (!error) result.times.push_back(bench::microseconds_since(due));
            open.count_down();
        });
    }
    open.wait();
    result.seconds = bench::seconds_since(begin);
    std::sort(result.times.begin(), result.times.end());
    return result;
}

/// For each size and each way of storing: rates that rise until one is not held.
void measure_rates(const bench::Folder& folder, const Extent& extent) {
    ::prctl(PR_SET_TIMERSLACK, 1);
    const double seconds = 2 * extent.seconds;
    for (const std::string kind : {"echoing", "echoing in memory"}) {
        Group group(folder, "rates", {"ann", "bob", "eve"}, kind);
        group.settled();
        const auto one = clients(group, 1);
        const std::string durability = kind == "echoing" ? "synced" : "os_buffers";
        for (const std::size_t size : {32U, 288U, 1344U}) {
            for (const double rate : {200., 1e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 3e5}) {
                bench::restart_time_limit();
                run_paced(*one[0], rate, size, 0.3);
                const Paced paced = run_paced(*one[0], rate, size, seconds);
                const bool held = paced.held(seconds);
                bench::Json()
                    .add("bench", "clients: paced")
                    .add("placement", "by the system")
                    .add("durability", durability)
                    .add("size", std::uint64_t{size})
                    .add("rate", rate)
                    .add("p50_us", paced.at(0.5))
                    .add("p99_us", paced.at(0.99))
                    .add("p999_us", paced.at(0.999))
                    .add("held", held)
                    .print();
                bench::print_row({"clients, echo of " + std::to_string(size) + " B at " + number(rate) + "/s, " +
                                      durability + ", p50 / p99 / p99.9",
                                  number(paced.at(0.5)) + " / " + number(paced.at(0.99)) + " / " +
                                      number(paced.at(0.999)) + " µs" + (held ? "" : " FAIL"),
                                  "", "", ""});
                if (!held) break;
            }
        }
    }
}

/// Sessions that say nothing but that they are there. A follower has only their state; the leader's node has the guests
/// besides.
void measure_sessions(const bench::Folder& folder, const Extent& extent) {
    cluster::raise_descriptor_limit();
    Group group(folder, "sessions", {"ann", "bob", "eve"});
    Voter& leader = group.settled();
    Voter& follower = group.follower();
    const double at_leader = bench::resident(leader.child->id());
    const double at_follower = bench::resident(follower.child->id());
    cluster::ClientOptions each = options(group);
    each.addresses = {leader.address};
    each.runtime.emplace();
    const auto begin = bench::Clock::now();
    std::vector<std::unique_ptr<cluster::Client>> all;
    // A hundred at a time: a node takes no more than half of `max_peers` newcomers from one host at once.
    while (all.size() < extent.sessions) {
        bench::restart_time_limit();
        const std::size_t wave = std::min<std::size_t>(100, extent.sessions - all.size());
        for (std::size_t i = 0; i < wave; ++i) all.push_back(std::make_unique<cluster::Client>(each));
        for (std::size_t i = all.size() - wave; i < all.size(); ++i) {
            if (!all[i]->wait_until_open(patience)) bench::fail("a session is not opened: " + all[i]->status().why);
        }
    }
    const double seconds = bench::seconds_since(begin);
    const std::vector<double> before = group.processor();
    const auto rest = bench::Clock::now();
    bench::pause(10s);
    const double passed = bench::seconds_since(rest);
    const std::vector<double> after = group.processor();
    const auto kilobytes = [&](const Voter& voter, double former) {
        return (bench::resident(voter.child->id()) - former) / 1024 /
               static_cast<double>(extent.sessions);
    };
    const double state = kilobytes(follower, at_follower);
    const double both = kilobytes(leader, at_leader);
    double used = 0;
    for (std::size_t i = 0; i < after.size(); ++i) used += (after[i] - before[i]) / passed;
    const std::string count = std::to_string(extent.sessions) + " sessions";
    print(count + " that say nothing, in the state / with the guests", "KiB", {{state, both}},
          number(state) + " / " + number(both) + " KiB each", "", "≤ 2 / ≤ 18 KiB", state <= 2 && both <= 18);
    print(count + ", opened within", "s", {{seconds}}, number(seconds) + " s", "");
    print(count + " that say nothing, processor of all three", "%", {{100 * used}},
          number(100 * used) + " % of a core", "");
    for (const auto& client : all) {
        if (client->status().phase != cluster::ClientStatus::Phase::open) bench::fail("a session was not kept");
    }
    for (auto& client : all) {
        bench::restart_time_limit();
        client.reset();
    }
}

void measure(std::span<char*> arguments) {
    Extent extent;
    const auto given = [&](std::string_view name) {
        return std::any_of(arguments.begin(), arguments.end(), [&](std::string_view each) { return each == name; });
    };
    if (given("--quick")) extent = {1, 0.5, 3, 1000};
    extent.rounds = bench::option(arguments, "--rounds", extent.rounds);
    extent.kills = bench::option(arguments, "--kills", extent.kills);
    extent.sessions = bench::option(arguments, "--sessions", extent.sessions);
    const bench::Folder folder;
    bench::write_line("clients: the files are in " + folder.path().string() + ", " + folder.disk());
    const bool all = std::none_of(arguments.begin(), arguments.end(),
                                  [](std::string_view each) { return each.starts_with("--only="); });
    const std::vector<std::pair<std::string, void (*)(const bench::Folder&, const Extent&)>> parts = {
        {"commands", measure_commands},
        {"kills", measure_kills},
        {"rates", measure_rates},
        {"sessions", measure_sessions}};
    for (const auto& [name, part] : parts) {
        if (all || given("--only=" + name)) part(folder, extent);
    }
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values,
                      {{"floor-follower", bench::floor::play_follower},
                       {"floor-leader", bench::floor::play_leader},
                       {"voter", bench::voters::play}},
                      measure);
}
