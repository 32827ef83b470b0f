#include "world.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace {

int usage() {
    std::fputs(
        "Usage: cluster-sim [--seeds A..B] [--nodes N] [--trace]\n"
        "Runs the engines of N nodes (default 5) in virtual time, once for each seed (default 1..100), with faults\n"
        "drawn from the seed, and checks what the library promises. --trace prints what happens; a failing seed\n"
        "prints its trace anyway. Each seed runs twice and must do the same both times. Exit status 1 if a seed\n"
        "fails.\n",
        stderr);
    return 2;
}

bool number(std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t first = 1;
    std::uint64_t last = 100;
    std::uint64_t nodes = 5;
    bool trace = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--trace") {
            trace = true;
        } else if (argument == "--seeds" && i + 1 < argc) {
            const std::string_view range = argv[++i];
            const std::size_t dots = range.find("..");
            if (!number(range.substr(0, dots), first)) return usage();
            last = first;
            if (dots != std::string_view::npos && !number(range.substr(dots + 2), last)) return usage();
        } else if (argument == "--nodes" && i + 1 < argc) {
            if (!number(argv[++i], nodes) || nodes < 2 || nodes > 200) return usage();
        } else {
            return usage();
        }
    }

    const auto begin = std::chrono::steady_clock::now();
    cluster::sim::Result sum;
    std::uint64_t failures = 0;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        cluster::sim::Plan plan;
        plan.seed = seed;
        plan.nodes = nodes;
        plan.trace = trace;
        cluster::sim::Result result = cluster::sim::World(plan).run();
        const cluster::sim::Result again = cluster::sim::World(plan).run();
        if (!result.failed && result.hash != again.hash) {
            result.failed = true;
            result.why = "two runs of this seed differ";
        }
        sum.events += result.events;
        sum.accepted += result.accepted;
        sum.delivered += result.delivered;
        sum.given_up += result.given_up;
        sum.resets += result.resets;
        sum.restarts += result.restarts;
        sum.leaves += result.leaves;
        if (result.failed || trace) {
            plan.trace = true;
            const cluster::sim::Result traced = cluster::sim::World(plan).run();
            for (const std::string& line : traced.trace) std::puts(line.c_str());
        }
        if (result.failed) {
            ++failures;
            std::printf("seed %llu failed at %.6f s: %s\n", static_cast<unsigned long long>(seed),
                        std::chrono::duration<double>(result.at).count(), result.why.c_str());
        }
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const auto count = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "cluster-sim: seeds %llu..%llu, %llu nodes: %llu failed; %llu events, %llu messages accepted, %llu delivered, "
        "%llu given up, %llu resets, %llu kills, %llu leaves, %.1f s\n",
        count(first), count(last), count(nodes), count(failures), count(sum.events), count(sum.accepted),
        count(sum.delivered), count(sum.given_up), count(sum.resets), count(sum.restarts), count(sum.leaves), seconds);
    return failures == 0 ? 0 : 1;
}
