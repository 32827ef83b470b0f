// Three replicas in a process each, on loopback and on one disk: how long a message takes until it is applied where it
// was submitted, how many can be kept in a second, how long a read takes, how long nobody replies when the leader fails
// or leaves, what a restart takes, and what a group costs in memory and when it has nothing to do.
//
// The bare program is the floor: the same messages over plain sockets to a leader and two followers, each of which
// writes and calls `fdatasync`. If etcd is installed, it is measured beside them, by way of its JSON gateway.

#include "bench/etcd.hpp"
#include "bench/floor.hpp"
#include "bench/folder.hpp"
#include "bench/support.hpp"
#include "bench/voters.hpp"

namespace {

using bench::Load;
using bench::Loads;
using bench::Series;
using bench::voters::Group;
using bench::voters::Status;
using bench::voters::Voter;
using namespace std::chrono_literals;

const std::vector<std::string> three = {"ann", "bob", "eve"};

/// How much is measured.
struct Extent {
    std::size_t rounds = 3;
    double seconds = 1.5;  ///< of each way of submitting
    std::size_t kills = 50;
    std::size_t leaves = 20;
    std::size_t filling = 1'000'000;
    std::size_t restarts = 3;
    double flood = 6;
    double idle = 10;
    std::size_t etcd_kills = 5;
};

struct Bar {
    std::string text;
    bool met = true;
};

std::string number(double value) {
    return bench::text_of(value);
}

void print(const std::string& what, const std::string& unit, const Series& values, const std::string& shown,
           const std::string& bare, const std::optional<Bar>& bar = {}) {
    bench::Json json;
    json.add("bench", "replicas: " + what)
        .add("placement", "by the system")
        .add("unit", unit)
        .add("median", values.median())
        .add("least", values.at(0))
        .add("greatest", values.max())
        .add("values", values);
    if (!bare.empty()) json.add("bare", bare);
    if (bar) json.add("bar", bar->text).add("met", bar->met);
    json.print();
    bench::print_row({"replicas, " + what, shown, bare, bar ? bar->text : "", bar ? bench::met(bar->met) : ""});
}

// Messages of 256 bytes, as the first rows of the table.

struct Way {
    std::string what;
    bool of_leader = true;  ///< where it is submitted
    std::string command;
    std::size_t outstanding = 1;
    double least = 0;    ///< per second
    double slowest = 0;  ///< p50, in milliseconds
};

const std::vector<Way> ways = {
    {"one after the other, from the leader's process", true, "threads 1 256", 1, 0, 0},
    {"one after the other, from a follower's process", false, "threads 1 256", 1, 0, 0},
    {"64 outstanding, from the leader's process", true, "chains 64 256", 64, 40'000, 0},
    {"64 outstanding, from a follower's process", false, "chains 64 256", 64, 40'000, 0},
    {"1,024 outstanding, from the leader's process", true, "chains 1024 256", 1024, 80'000, 0},
    {"1,024 outstanding, from a follower's process", false, "chains 1024 256", 1024, 80'000, 0},
    {"64 threads, each one after the other, in the leader's process", true, "threads 64 256", 64, 25'000, 2.5},
    {"64 threads, each one after the other, in a follower's process", false, "threads 64 256", 64, 25'000, 2.5},
};

Load run_way(const Way& way, Group& group, double seconds) {
    bench::restart_time_limit();
    Voter& leader = group.settled();
    Voter& voter = way.of_leader ? leader : group.follower();
    const auto before = group.processor();
    Load load = Load::parse(voter.ask(way.command + " " + std::to_string(seconds)));
    const auto after = group.processor();
    for (std::size_t i = 0; i < before.size(); ++i) load.cpu += (after[i] - before[i]) * 1e6 / (load.rate * seconds);
    return load;
}

void print_serial(const Way& way, const Loads& loads, const Loads& floor) {
    const double p50 = loads.p50.median() / floor.p50.median();
    const double p99 = loads.p99.median() / floor.p99.median();
    const auto both = [](const Loads& each) {
        return number(each.p50.median()) + " / " + number(each.p99.median()) + " µs";
    };
    print(way.what + ", p50 / p99", "µs", loads.p50, both(loads) + ", ratio " + number(p50) + " / " + number(p99),
          both(floor), Bar{"≤ 2 / ≤ 3", p50 <= 2 && p99 <= 3});
}

void print_rate(const Way& way, const Loads& loads, const Loads& floor) {
    const double rate = loads.rate.median();
    const double milliseconds = loads.p50.median() / 1000;
    std::string bar = "≥ " + number(way.least) + "/s";
    if (way.slowest != 0) bar += ", ≤ " + number(way.slowest) + " ms";
    print(way.what + ", rate and p50 / p99", "/s", loads.rate,
          number(rate) + "/s, " + number(milliseconds) + " / " + number(loads.p99.median() / 1000) + " ms, ratio " +
              number(rate / floor.rate.median()) + ", processor of all three " + number(loads.cpu.median()) +
              " µs each",
          number(floor.rate.median()) + "/s, " + number(floor.p50.median() / 1000) + " ms, processor " +
              number(floor.cpu.median()) + " µs",
          Bar{bar, rate >= way.least && (way.slowest == 0 || milliseconds <= way.slowest)});
}

void measure_messages(const bench::Folder& folder, const Extent& extent) {
    bench::floor::Floor floor(folder);
    Group group(folder, "messages", three);
    std::map<std::size_t, Loads> of_floor;
    std::vector<Loads> of_ways(ways.size());
    for (std::size_t round = 0; round <= extent.rounds; ++round) {
        // The first one warms up.
        const double seconds = round == 0 ? std::min(0.3, extent.seconds) : extent.seconds;
        for (const std::size_t outstanding : {std::size_t{1}, std::size_t{64}, std::size_t{1024}}) {
            bench::restart_time_limit();
            const Load load = floor.run(outstanding, seconds);
            if (round != 0) of_floor[outstanding].add(load);
        }
        for (std::size_t i = 0; i < ways.size(); ++i) {
            const Load load = run_way(ways[i], group, seconds);
            if (round != 0) of_ways[i].add(load);
        }
    }
    for (std::size_t i = 0; i < ways.size(); ++i) {
        const auto& show = ways[i].outstanding == 1 ? print_serial : print_rate;
        show(ways[i], of_ways[i], of_floor[ways[i].outstanding]);
    }
}

// Reads, which put nothing into the log.

void measure_reads(const bench::Folder& folder, const Extent& extent) {
    struct Read {
        std::string what;
        bool of_leader;
        std::string kind;
        std::size_t threads;
        double slowest;  ///< p50, in microseconds
        Loads loads = {};
    };
    std::vector<Read> reads = {
        {"linearizable, one client at a time, at the leader", true, "linearizable", 1, 120},
        {"linearizable, one client at a time, at a follower", false, "linearizable", 1, 120},
        {"linearizable, 64 threads at the leader", true, "linearizable", 64, 0},
        {"linearizable, 64 threads at a follower", false, "linearizable", 64, 0},
        {"stale, one client at a time, at a follower", false, "stale", 1, 0},
        {"stale, 64 threads at a follower", false, "stale", 64, 0},
    };
    Group group(folder, "reads", three);
    group.settled().ask("threads 1 256 0.1");
    for (std::size_t round = 0; round <= extent.rounds; ++round) {
        const double seconds = round == 0 ? std::min(0.3, extent.seconds) : extent.seconds;
        for (Read& each : reads) {
            Way way{each.what, each.of_leader, "readers " + each.kind + " " + std::to_string(each.threads)};
            const Load load = run_way(way, group, seconds);
            if (round != 0) each.loads.add(load);
        }
    }
    for (const Read& each : reads) {
        const Loads& loads = each.loads;
        std::optional<Bar> bar;
        if (each.slowest != 0) bar = Bar{"≤ " + number(each.slowest) + " µs", loads.p50.median() <= each.slowest};
        print("reads, " + each.what + ", p50 / p99 and rate", "µs", loads.p50,
              number(loads.p50.median()) + " / " + number(loads.p99.median()) + " µs, " + number(loads.rate.median()) +
                  "/s, processor of all three " + number(loads.cpu.median()) + " µs each",
              "", bar);
    }
}

// A leader that fails or leaves.

/// What a stream of one message after the other sees, in milliseconds.
double parse_gap(const std::string& text, std::string& errors) {
    std::istringstream in(text);
    double gap = 0;
    in >> gap;
    std::string rest;
    std::getline(in >> std::ws, rest);
    errors += rest;
    return gap;
}

void complain(const Group& group, const std::string& errors) {
    if (!errors.empty()) bench::Json().add("bench", "replicas: errors of submits").add("text", errors).print();
    for (const auto& [event, count] : group.complaints()) {
        bench::Json().add("bench", "replicas: warnings in the logs").add("event", event).add("count", count).print();
    }
}

void measure_kills(const bench::Folder& folder, const Extent& extent) {
    Group group(folder, "kills", three);
    Series gaps, back;
    std::string errors;
    for (std::size_t i = 0; i < extent.kills; ++i) {
        bench::restart_time_limit();
        Voter& leader = group.settled();
        Voter& witness = group.follower();
        witness.ask("stream");
        bench::pause(20ms);
        const auto killed = bench::Clock::now();
        leader.child.reset();
        const std::string when = bench::voters::text_of_time(killed);
        gaps.add(parse_gap(witness.ask("gap " + when + " " + when), errors));
        if (gaps.values.back() > 300) {
            std::fprintf(stderr, "replicas: %s was killed at %lld us, gap %.0f ms\n", leader.name.c_str(),
                         static_cast<long long>(killed.time_since_epoch().count() / 1000), gaps.values.back());
            group.show_logs();
        }
        const auto begin = bench::Clock::now();
        group.start(leader);
        group.settled();
        back.add(bench::seconds_since(begin) * 1000);
    }
    print("leader killed, until the next reply in another process, median / worst of " + std::to_string(extent.kills),
          "ms", gaps, number(gaps.median()) + " / " + number(gaps.max()) + " ms", "",
          Bar{"≤ 100 / ≤ 300 ms", gaps.median() <= 100 && gaps.max() <= 300});
    print("the killed one started again, until it is in view and has all, median / worst", "ms", back,
          number(back.median()) + " / " + number(back.max()) + " ms", "");
    complain(group, errors);
}

void measure_leaves(const bench::Folder& folder, const Extent& extent) {
    Group group(folder, "leaves", three);
    std::string errors;
    for (const std::string word : {"close", "transfer"}) {
        Series gaps;
        for (std::size_t i = 0; i < extent.leaves; ++i) {
            bench::restart_time_limit();
            Voter& leader = group.settled();
            Voter& witness = group.follower();
            witness.ask("stream");
            bench::pause(20ms);
            gaps.add(parse_gap(witness.ask("gap " + leader.ask(word)), errors));
            if (word == "close") leader.ask("open");
        }
        print("leader leaves by " + word + ", longest time between two replies, median / worst of " +
                  std::to_string(extent.leaves),
              "ms", gaps, number(gaps.median()) + " / " + number(gaps.max()) + " ms", "",
              Bar{"≤ 20 ms", gaps.median() <= 20});
    }
    complain(group, errors);
}

// A restart.

void measure_restart(const bench::Folder& folder, const Extent& extent) {
    Group group(folder, "restart", {"solo"}, "filling");
    bench::restart_time_limit();
    Voter& solo = group.settled();
    solo.ask("fill " + std::to_string(extent.filling));
    const std::uint64_t position = solo.status().applied;
    Series seconds;
    for (std::size_t i = 0; i < extent.restarts; ++i) {
        bench::restart_time_limit();
        solo.child->tell("end");
        solo.child->join();
        const auto begin = bench::Clock::now();
        group.start(solo);
        solo.ask("wait " + std::to_string(position));
        seconds.add(bench::seconds_since(begin));
    }
    const double bar = 2 * static_cast<double>(extent.filling) / 1e6;
    print("restart of a single voter, from its process's start until it has applied " + std::to_string(position) +
              " entries of 256 B again, in the page cache",
          "s", seconds, number(seconds.median()) + " s", "", Bar{"≤ " + number(bar) + " s", seconds.median() <= bar});
}

// Memory and idleness.

double megabytes(pid_t process) {
    return bench::resident(process) / (1 << 20);
}

void measure_memory(const bench::Folder& folder, const Extent& extent) {
    Group group(folder, "memory", three);
    bench::restart_time_limit();
    Voter& leader = group.settled();
    Voter& stopped = group.follower();
    const std::string flood = "chains 1024 4096 ";
    leader.ask(flood + "1");  // what a flood takes with all at hand
    group.settled();
    const double before = megabytes(leader.child->id());
    bench::check(::kill(stopped.child->id(), SIGSTOP), "SIGSTOP");
    leader.child->tell(flood + std::to_string(extent.flood));
    Series values;
    for (const auto begin = bench::Clock::now(); bench::seconds_since(begin) < extent.flood; bench::pause(100ms)) {
        values.add(megabytes(leader.child->id()));
    }
    const Load load = Load::parse(leader.child->line());
    bench::check(::kill(stopped.child->id(), SIGCONT), "SIGCONT");
    const auto begin = bench::Clock::now();
    bench::restart_time_limit();
    group.settled();
    const double caught_up = bench::seconds_since(begin);
    // Uncommitted messages, the newest entries in memory, what is being applied, and the outbox of the stopped one.
    const double bar = before + 64 + 32 + 8 + 32;
    print("memory of the leader under a flood of 4 KiB messages while a follower is stopped, at most", "MiB", values,
          number(values.max()) + " MiB, " + number(before) + " before, " + number(load.rate) + "/s", "",
          Bar{"≤ " + number(bar) + " MiB: what it had, uncommitted 64, in memory 32, applying 8, outbox 32",
              values.max() <= bar});
    Series passed;
    passed.add(caught_up);
    print("the stopped one goes on, until it has all", "s", passed, number(caught_up) + " s", "");
    complain(group, {});
}

/// `bar`: in percent; 0: there is none.
void measure_rest(const bench::Folder& folder, const Extent& extent, const std::string& kind, const std::string& what,
                  double bar) {
    Group group(folder, kind, three, kind);
    bench::restart_time_limit();
    group.settled();
    bench::pause(3s);
    const auto before = group.processor();
    const auto begin = bench::Clock::now();
    bench::pause(std::chrono::milliseconds(static_cast<int>(extent.idle * 1000)));
    const auto after = group.processor();
    const double passed = bench::seconds_since(begin);
    Series percent;
    for (std::size_t i = 0; i < before.size(); ++i) percent.add((after[i] - before[i]) / passed * 100);
    std::optional<Bar> limit;
    if (bar != 0) limit = Bar{"≤ " + number(bar) + " %", percent.max() <= bar};
    print("idle group of three, " + what + ", processor of each, most", "% of a core", percent,
          number(percent.max()) + " %", "", limit);
}

void measure_idle(const bench::Folder& folder, const Extent& extent) {
    measure_rest(folder, extent, "resting", "default options", 0.2);
    measure_rest(folder, extent, "usual", "`Options::local`", 0);
}

// etcd.

void measure_etcd(const bench::Folder& folder, const Extent& extent) {
    namespace etcd = bench::etcd;
    if (!etcd::installed()) {
        bench::write_line("skipped: etcd is not installed");
        return;
    }
    bench::restart_time_limit();
    etcd::Group group(folder);
    struct Case {
        std::string what;
        bool of_leader;
        std::size_t connections;
        Loads loads;
    };
    std::vector<Case> cases = {{"one connection, to the leader", true, 1, {}},
                               {"one connection, to a follower", false, 1, {}},
                               {"64 connections, to the leader", true, 64, {}},
                               {"1,024 connections, to the leader", true, 1024, {}}};
    for (std::size_t round = 0; round < extent.rounds; ++round) {
        for (Case& each : cases) {
            bench::restart_time_limit();
            const std::size_t leader = group.leader();
            etcd::Clients clients(group.port(each.of_leader ? leader : (leader + 1) % 3), each.connections);
            each.loads.add(clients.run(extent.seconds));
        }
    }
    for (const Case& each : cases) {
        const Loads& loads = each.loads;
        print("etcd by its JSON gateway, " + each.what + ", rate and p50 / p99", "/s", loads.rate,
              number(loads.rate.median()) + "/s, " + number(loads.p50.median() / 1000) + " / " +
                  number(loads.p99.median() / 1000) + " ms",
              "");
    }
    Series gaps;
    for (std::size_t i = 0; i < extent.etcd_kills; ++i) {
        bench::restart_time_limit();
        const std::size_t leader = group.leader();
        const std::uint16_t port = group.port((leader + 1) % 3);
        const auto killed = bench::Clock::now();
        group.kill(leader);
        etcd::put_until_done(port);
        gaps.add(bench::seconds_since(killed) * 1000);
        group.start(leader);
        group.wait_until_healthy();
    }
    print("etcd by its JSON gateway, leader killed, until the next reply of another, tried again every 0.1 s", "ms",
          gaps, number(gaps.median()) + " / " + number(gaps.max()) + " ms", "");
}

void measure(std::span<char*> arguments) {
    Extent extent;
    const auto given = [&](std::string_view name) {
        return std::any_of(arguments.begin(), arguments.end(), [&](std::string_view each) { return each == name; });
    };
    if (given("--quick")) extent = {1, 0.5, 3, 3, 100'000, 1, 2, 3, 1};
    extent.rounds = bench::option(arguments, "--rounds", extent.rounds);
    extent.kills = bench::option(arguments, "--kills", extent.kills);
    const bench::Folder folder;
    bench::write_line("replicas: the files are in " + folder.path().string() + ", " + folder.disk());
    const std::vector<std::pair<std::string, void (*)(const bench::Folder&, const Extent&)>> parts = {
        {"messages", measure_messages}, {"reads", measure_reads},     {"kills", measure_kills},
        {"leaves", measure_leaves},     {"restart", measure_restart}, {"memory", measure_memory},
        {"idle", measure_idle},         {"etcd", measure_etcd}};
    const bool all = std::none_of(arguments.begin(), arguments.end(),
                                  [](std::string_view each) { return each.starts_with("--only="); });
    std::string failed;
    for (const auto& [name, part] : parts) {
        if (!all && !given("--only=" + name)) continue;
        try {
            part(folder, extent);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "bench: replicas, %s: %s\n", name.c_str(), error.what());
            bench::print_row({"replicas, " + name, "failed, see above", "", "", "NO"});
            failed += " " + name;
        }
    }
    if (!failed.empty()) bench::fail("replicas: these parts failed:" + failed);
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values,
                      {{"floor-follower", bench::floor::play_follower},
                       {"floor-leader", bench::floor::play_leader},
                       {"voter", bench::voters::play}},
                      measure);
}
