#include "lifeguard.hpp"
#include "replicas/engine_world.hpp"
#include "replicas/world.hpp"
#include "world.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using cluster::sim::Lifeguard;
using cluster::sim::Plan;
using cluster::sim::Result;
using cluster::sim::World;
namespace replicas = cluster::sim::replicas;

struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
};

struct Arguments {
    Range seeds{1, 100};
    Range nodes{};  ///< 0..0: the usual ones
    std::uint64_t jobs = 1;
    bool trace = false;
    bool lifeguard = false;
    bool replicas = false;
    bool machines = false;
};

int usage() {
    std::fputs(
        "Usage: cluster-sim [--seeds A..B] [--nodes N | --nodes A..B] [--jobs N] [--trace]\n"
        "                   [--lifeguard | --replicas | --machines]\n"
        "Runs the engines of N nodes (default 5; 2 to 200) in virtual time, once for each seed (default 1..100),\n"
        "with faults drawn from the seed, and checks what the library promises. With a range of nodes their number\n"
        "is drawn from the seed, too. --jobs runs so many seeds at a time. --trace prints what happens; a failing\n"
        "seed prints its trace anyway. Every fourth seed runs twice and must do the same both times. --lifeguard\n"
        "instead stops 1, 4, 16, 32 of 100 nodes again and again and counts whom that makes fail. --replicas instead\n"
        "runs the consensus of N voters (default 1..7) and the storage below it on simulated disks; --machines the "
        "whole\n"
        "of a replica but its threads, of N voters (default 1..5), each third seed over engines. A failing seed of\n"
        "these prints its last events.\n"
        "Exit status 1 if a seed fails.\n",
        stderr);
    return 2;
}

bool number(std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

bool range(std::string_view text, Range& value) {
    const std::size_t dots = text.find("..");
    if (!number(text.substr(0, dots), value.first)) return false;
    value.last = value.first;
    return dots == std::string_view::npos || (number(text.substr(dots + 2), value.last) && value.first <= value.last);
}

bool parse(int argc, char** argv, Arguments& arguments) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const bool more = i + 1 < argc;
        if (argument == "--trace") {
            arguments.trace = true;
        } else if (argument == "--lifeguard") {
            arguments.lifeguard = true;
        } else if (argument == "--replicas") {
            arguments.replicas = true;
        } else if (argument == "--machines") {
            arguments.machines = true;
        } else if (argument == "--seeds" && more) {
            if (!range(argv[++i], arguments.seeds)) return false;
        } else if (argument == "--nodes" && more) {
            if (!range(argv[++i], arguments.nodes) || arguments.nodes.first == 0) return false;
        } else if (argument == "--jobs" && more) {
            if (!number(argv[++i], arguments.jobs) || arguments.jobs < 1 || arguments.jobs > 256) return false;
        } else {
            return false;
        }
    }
    Range& nodes = arguments.nodes;
    if (arguments.lifeguard + arguments.replicas + arguments.machines > 1) return false;
    if (nodes.first == 0) nodes = arguments.replicas ? Range{1, 7} : arguments.machines ? Range{1, 5} : Range{5, 5};
    if (arguments.replicas || arguments.machines) return nodes.last <= (arguments.replicas ? 7 : 5);
    return nodes.first >= 2 && nodes.last <= 200;
}

/// Calls `make(i)` for 0 to `count` - 1, on several threads, and `take(i, what it returned)` in order on this one.
template <class Make, class Take>
void in_order(std::uint64_t count, std::uint64_t jobs, Make&& make, Take&& take) {
    using Made = decltype(make(count));
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::uint64_t, Made> made;
    std::atomic<std::uint64_t> next{0};
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < std::min(jobs, count); ++i) {
        threads.emplace_back([&] {
            for (std::uint64_t each = next++; each < count; each = next++) {
                Made value = make(each);
                const std::lock_guard lock(mutex);
                made.emplace(each, std::move(value));
                changed.notify_one();
            }
        });
    }
    for (std::uint64_t each = 0; each < count; ++each) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return made.contains(each); });
        const Made value = std::move(made.extract(each).mapped());
        lock.unlock();
        take(each, value);
    }
    for (std::thread& thread : threads) thread.join();
}

std::size_t nodes_of(const Arguments& arguments, std::uint64_t seed) {
    const auto& [first, last] = arguments.nodes;
    return first + cluster::Dice(seed * 7919).below(last - first + 1);
}

/// Runs a plan, every fourth one twice. One that fails and does not tell what happens runs once more, as `traced`
/// changes it.
template <class Plan, class Simulate, class Traced>
auto run(const Plan& plan, bool tells, Simulate&& simulate, Traced&& traced) {
    auto result = simulate(plan);
    if (!result.failed && plan.seed % 4 == 0 && simulate(plan).hash != result.hash) {
        result.failed = true;
        result.why = "two runs of this seed differ";
    }
    if (result.failed && !tells) result.trace = simulate(traced(plan)).trace;
    return result;
}

Result run_nodes(const Arguments& arguments, std::uint64_t seed) {
    Plan plan;
    plan.seed = seed;
    plan.nodes = nodes_of(arguments, seed);
    plan.trace = arguments.trace;
    if (plan.nodes > 20) plan.faults = std::chrono::seconds(5);  // what happens grows with the square of their number
    const auto traced = [](Plan again) {
        again.trace = true;
        return again;
    };
    return run(
        plan, plan.trace, [](const Plan& each) { return World(each).run(); }, traced);
}

unsigned long long count(std::uint64_t value) {
    return value;
}

int run_seeds(const Arguments& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    Result sum;
    std::uint64_t failures = 0;
    const std::uint64_t first = arguments.seeds.first;
    in_order(
        arguments.seeds.last - first + 1, arguments.jobs,
        [&](std::uint64_t i) { return run_nodes(arguments, first + i); },
        [&](std::uint64_t i, const Result& result) {
            sum.events += result.events;
            sum.accepted += result.accepted;
            sum.delivered += result.delivered;
            sum.given_up += result.given_up;
            sum.faults += result.faults;
            sum.restarts += result.restarts;
            sum.leaves += result.leaves;
            sum.guests += result.guests;
            sum.client_messages += result.client_messages;
            sum.failures += result.failures;
            sum.false_failures += result.false_failures;
            sum.node_minutes += result.node_minutes;
            for (const std::string& line : result.trace) std::puts(line.c_str());
            if (!result.failed) return;
            ++failures;
            std::printf("seed %llu with %llu nodes failed at %.6f s: %s\n", count(first + i),
                        count(nodes_of(arguments, first + i)), std::chrono::duration<double>(result.at).count(),
                        result.why.c_str());
        });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf(
        "cluster-sim: seeds %llu..%llu, %llu..%llu nodes: %llu failed; %llu events, %llu messages accepted, %llu "
        "delivered, %llu given up, %llu faults, %llu kills, %llu leaves, %llu guests, %llu messages of clients, %llu "
        "failures reported, %.3f false ones per "
        "node-minute, %.1f s\n",
        count(first), count(arguments.seeds.last), count(arguments.nodes.first), count(arguments.nodes.last),
        count(failures), count(sum.events), count(sum.accepted), count(sum.delivered), count(sum.given_up),
        count(sum.faults), count(sum.restarts), count(sum.leaves), count(sum.guests), count(sum.client_messages),
        count(sum.failures), static_cast<double>(sum.false_failures) / sum.node_minutes, seconds);
    return failures == 0 ? 0 : 1;
}

replicas::Result run_replicas(const Arguments& arguments, std::uint64_t seed) {
    constexpr std::size_t all = ~std::size_t{0};
    constexpr std::size_t last_ones = 100;
    replicas::Plan plan;
    plan.seed = seed;
    plan.least_voters = arguments.nodes.first;
    plan.most_voters = arguments.nodes.last;
    plan.lines = arguments.trace ? all : 0;
    const auto traced = [](replicas::Plan again) {
        again.lines = last_ones;
        return again;
    };
    const auto simulate = [&](const replicas::Plan& each) {
        return arguments.machines ? replicas::run_machines(each) : replicas::World(each).run();
    };
    return run(plan, arguments.trace, simulate, traced);
}

int run_all_replicas(const Arguments& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    replicas::Result sum;
    std::uint64_t failures = 0;
    const std::uint64_t first = arguments.seeds.first;
    in_order(
        arguments.seeds.last - first + 1, arguments.jobs,
        [&](std::uint64_t i) { return run_replicas(arguments, first + i); },
        [&](std::uint64_t i, const replicas::Result& result) {
            sum.add(result);
            for (const std::string& line : result.trace) std::puts(line.c_str());
            if (!result.failed) return;
            ++failures;
            std::printf("seed %llu with %llu voters failed at %.6f s: %s\n", count(first + i), count(result.voters),
                        std::chrono::duration<double>(result.at).count(), result.why.c_str());
        });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (arguments.machines) {
        std::printf(
            "clients: %llu came, %llu attachments, %llu calls acknowledged, %llu commands sent again, %llu queries "
            "answered, %llu pushes, %llu sessions expired; %llu timers fired, %llu letters between services\n",
            count(sum.clients), count(sum.attachments), count(sum.calls), count(sum.retries), count(sum.queries),
            count(sum.pushes), count(sum.expiries), count(sum.timers), count(sum.letters));
    }
    std::printf(
        "cluster-sim --%s: seeds %llu..%llu, %llu..%llu voters: %llu failed; %llu events, %llu messages, %llu "
        "commands and %llu reads answered, %llu refused, %llu unknown, %llu leaders, %llu transfers, %llu crashes, "
        "%llu cuts, %llu snapshots, %llu received, of disks %llu lost, %llu failed, %llu damaged, %.1f s\n",
        arguments.machines ? "machines" : "replicas", count(first), count(arguments.seeds.last),
        count(arguments.nodes.first), count(arguments.nodes.last), count(failures), count(sum.events),
        count(sum.messages), count(sum.commands), count(sum.reads), count(sum.refused), count(sum.unknown),
        count(sum.leaders), count(sum.transfers), count(sum.crashes), count(sum.cuts), count(sum.snapshots),
        count(sum.installs), count(sum.disks_lost), count(sum.disks_failed), count(sum.disks_damaged), seconds);
    return failures == 0 ? 0 : 1;
}

int run_lifeguards(const Arguments& arguments) {
    constexpr std::size_t stalled[] = {1, 4, 16, 32};
    bool hold = true;
    std::puts(
        "stalled of 100  stalls  long ones  detected  false failures per healthy node-minute  healthy nodes that "
        "a stalled one fails: per stall, most");
    in_order(
        std::size(stalled), arguments.jobs,
        [&](std::uint64_t i) {
            return cluster::sim::run_lifeguard(arguments.seeds.first, 100, stalled[i], std::chrono::minutes(5));
        },
        [&](std::uint64_t, const Lifeguard& each) {
            const Result::Stalls& stalls = each.result.stalls;
            std::printf(
                "%14llu  %6llu  %9llu  %8llu  %37.3f%%  %31.2f, %llu%s\n", count(each.stalled), count(stalls.stalls),
                count(stalls.long_stalls), count(stalls.detected), 100 * each.false_failures(),
                static_cast<double>(stalls.subjects) / static_cast<double>(std::max<std::uint64_t>(stalls.stalls, 1)),
                count(stalls.most_subjects), each.holds() ? "" : "  too many");
            if (each.result.failed) {
                std::printf("failed at %.6f s: %s\n", std::chrono::duration<double>(each.result.at).count(),
                            each.result.why.c_str());
            }
            hold = hold && each.holds();
        });
    return hold ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    if (!parse(argc, argv, arguments)) return usage();
    if (arguments.replicas || arguments.machines) return run_all_replicas(arguments);
    return arguments.lifeguard ? run_lifeguards(arguments) : run_seeds(arguments);
}
