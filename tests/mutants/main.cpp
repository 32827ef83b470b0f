#include "client/model.hpp"
#include "mutants/switch.hpp"
#include "mutants/table.hpp"
#include "sim/replicas/engine_world.hpp"
#include "sim/replicas/world.hpp"
#include "sim/world.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster::mutants {

namespace {

/// What one mutant may use before it counts as caught: a hundred times what a healthy engine needs for a seed.
constexpr rlim_t most_seconds = 10;
constexpr rlim_t most_memory = rlim_t{4} << 30;

/// A child process that runs seeds with one mutant. It writes the number of each seed before it runs it, and at the end
/// why it stopped, if it was not for want of seeds.
struct Child {
    pid_t process = 0;
    int pipe = -1;
};

struct Verdict {
    bool caught = false;
    std::uint64_t seed = 0;
    std::uint64_t times = 0;  ///< of all seeds
    std::string why;
};

void say(int pipe, const std::string& line) {
    if (::write(pipe, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(2);
}

/// What a child is to do.
struct Task {
    unsigned mutant = 0;
    std::uint64_t nodes = 0;
    std::uint64_t seeds = 0;
    Simulator simulator = Simulator::nodes;
    bool all = false;  ///< does not stop at the first seed that catches it
    std::uint64_t first = 1;
};

template <class Result>
std::string verdict_of(const Result& result) {
    if (!result.failed) return {};
    char at[32];
    std::snprintf(at, sizeof at, "%.1f s, ", std::chrono::duration<double>(result.at).count());
    return at + result.why;
}

std::string run(std::uint64_t seed, const Task& task) {
    try {
        if (task.simulator == Simulator::clients) return client::Model(seed).run();
        if (task.simulator != Simulator::nodes) {
            sim::replicas::Plan plan;
            plan.seed = seed;
            if (task.nodes != 0) plan.least_voters = plan.most_voters = task.nodes;
            return verdict_of(task.simulator == Simulator::machines ? sim::replicas::run_machines(plan)
                                                                    : sim::replicas::World(plan).run());
        }
        sim::Plan plan;
        plan.seed = seed;
        plan.nodes = task.nodes;
        return verdict_of(sim::World(plan).run());
    } catch (const std::exception& error) {
        return std::string("exception: ") + error.what();
    }
}

Child start(const Task& task) {
    int ends[2];
    if (::pipe(ends) != 0) {
        std::perror("pipe");
        std::exit(2);
    }
    std::fflush(stdout);
    const pid_t process = ::fork();
    if (process < 0) {
        std::perror("fork");
        std::exit(2);
    }
    if (process > 0) {
        ::close(ends[1]);
        return {process, ends[0]};
    }
    ::close(ends[0]);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const rlimit memory{most_memory, most_memory};
    ::setrlimit(RLIMIT_AS, &memory);
    active = task.mutant;
    for (std::uint64_t seed = task.first; seed <= task.seeds; ++seed) {
        // The limit is of the whole process and counts on: each seed may use as much as the first.
        rusage used{};
        ::getrusage(RUSAGE_SELF, &used);
        const auto so_far = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
        const rlimit seconds{so_far + most_seconds, RLIM_INFINITY};
        ::setrlimit(RLIMIT_CPU, &seconds);
        say(ends[1], "seed " + std::to_string(seed) + "\n");
        const std::string why = run(seed, task);
        if (!why.empty()) {
            say(ends[1], "caught " + why + "\n");
            if (!task.all) break;
        }
    }
    ::_exit(0);
}

Verdict finish(const Task& task, const Child& child) {
    std::string text;
    char buffer[4096];
    for (;;) {
        const ssize_t got = ::read(child.pipe, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        text.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(child.pipe);
    int status = 0;
    while (::waitpid(child.process, &status, 0) < 0 && errno == EINTR) {
    }

    Verdict verdict;
    std::uint64_t seed = 0;
    const auto caught = [&](std::string why) {
        if (verdict.times++ != 0) return;
        verdict.caught = true;
        verdict.seed = seed;
        verdict.why = std::move(why);
    };
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        if (line.starts_with("seed ")) std::from_chars(line.data() + 5, line.data() + line.size(), seed);
        if (line.starts_with("caught ")) caught(std::string(line.substr(7)));
    }
    if (WIFSIGNALED(status)) {
        const int signal = WTERMSIG(status);
        caught(signal == SIGXCPU ? "does not come to an end" : std::string("crashes: ") + ::strsignal(signal));
    } else if (WEXITSTATUS(status) != 0) {
        caught("exits with status " + std::to_string(WEXITSTATUS(status)));
    }
    if (task.all && status != 0 && seed < task.seeds) {
        Task rest = task;
        rest.first = seed + 1;
        verdict.times += finish(rest, start(rest)).times;
    }
    return verdict;
}

int usage() {
    std::fputs(
        "Usage: cluster-mutants [--only NAME] [--of nodes|replicas|machines|clients] [--jobs N] [--rate SEEDS]\n"
        "Runs the simulator with each deliberate bug in turn, seeds 1, 2, and so on, until it is caught; the tables\n"
        "in tests/mutants say within how many. Before that, all these seeds must be well without any bug. --of runs\n"
        "those for one simulator. --jobs runs so many at once (default 2). --rate only says of how many seeds each is\n"
        "caught by. Exit status 1 unless all are caught.\n",
        stderr);
    return 2;
}

/// Carries out all tasks, `at_once` of them at the same time, and calls `done` for each in their order.
template <class Done>
void run_all(const std::vector<Task>& tasks, std::size_t at_once, Done done) {
    std::vector<Child> children;
    for (std::size_t next = 0; next < tasks.size(); ++next) {
        const std::size_t most = std::min(tasks.size(), next + at_once);
        while (children.size() < most) children.push_back(start(tasks[children.size()]));
        done(tasks[next], finish(tasks[next], children[next]));
        std::fflush(stdout);
    }
}

unsigned long long count(std::uint64_t value) {
    return value;
}

/// Without a mutant each of the seeds must be well, otherwise nothing is proved by what fails with one.
bool well_without(const std::vector<Task>& tasks, std::size_t jobs) {
    std::map<std::pair<Simulator, std::uint64_t>, std::uint64_t> seeds;  // by simulator and nodes
    for (const Task& task : tasks) {
        std::uint64_t& most = seeds[{task.simulator, task.nodes}];
        most = std::max(most, task.seeds);
    }
    std::vector<Task> healthy;
    const bool rates = tasks.front().all;
    for (const auto& [kind, most] : seeds) {
        healthy.push_back({.mutant = 0, .nodes = kind.second, .seeds = most, .simulator = kind.first, .all = rates});
    }
    bool well = true;
    run_all(healthy, jobs, [&](const Task& task, const Verdict& verdict) {
        static constexpr const char* what[] = {"nodes", "voters", "voters whose machines run", "replicas and a client"};
        const std::string nodes = task.nodes == 0 ? "any" : std::to_string(task.nodes);
        std::printf("no mutant, %s %s: ", nodes.c_str(), what[static_cast<int>(task.simulator)]);
        if (verdict.caught) {
            well = false;
            std::printf("%llu seeds fail, the first is %llu: %s\n", count(verdict.times), count(verdict.seed),
                        verdict.why.c_str());
        } else {
            std::printf("seeds 1..%llu are well\n", count(task.seeds));
        }
    });
    if (!well) std::puts("The engine itself is not well: first make it so with cluster-sim.");
    return well || rates;
}

int run_mutants(const std::vector<Task>& tasks, std::size_t jobs) {
    if (!well_without(tasks, jobs)) return 1;
    std::size_t score = 0;
    run_all(tasks, jobs, [&](const Task& task, const Verdict& verdict) {
        const char* const name = all[task.mutant - 1].name;
        if (verdict.caught) ++score;
        if (!verdict.caught) {
            std::printf("%s  NOT CAUGHT in %llu seeds\n", name, count(task.seeds));
        } else if (task.all) {
            std::printf("%s  caught by %llu of %llu seeds, first by seed %llu: %s\n", name, count(verdict.times),
                        count(task.seeds), count(verdict.seed), verdict.why.c_str());
        } else {
            std::printf("%s  caught by seed %llu of %llu: %s\n", name, count(verdict.seed), count(task.seeds),
                        verdict.why.c_str());
        }
    });
    std::printf("score: %zu of %zu\n", score, tasks.size());
    return score == tasks.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    static constexpr std::string_view simulators[] = {"nodes", "replicas", "machines", "clients"};
    std::string_view only;
    std::string_view of;
    std::uint64_t jobs = 2;
    std::uint64_t rate = 0;
    const auto read = [](std::string_view text, std::uint64_t& value) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        return error == std::errc() && end == text.data() + text.size() && value > 0;
    };
    for (int i = 1; i < argc; i += 2) {
        const std::string_view option = argv[i];
        if (i + 1 == argc) return usage();
        if (option == "--only") {
            only = argv[i + 1];
        } else if (option == "--of" && std::ranges::count(simulators, std::string_view(argv[i + 1])) != 0) {
            of = argv[i + 1];
        } else if (option == "--jobs" ? !read(argv[i + 1], jobs) : option != "--rate" || !read(argv[i + 1], rate)) {
            return usage();
        }
    }
    std::vector<Task> tasks;
    for (unsigned number = 1; number <= std::size(all); ++number) {
        const Mutant& mutant = all[number - 1];
        if (!only.empty() && only != mutant.name) continue;
        if (!of.empty() && of != simulators[static_cast<int>(mutant.simulator)]) continue;
        tasks.push_back({number, mutant.nodes, rate != 0 ? rate : mutant.seeds, mutant.simulator, rate != 0});
    }
    if (tasks.empty()) {
        std::fputs("No mutant has this name; these have one:\n", stderr);
        for (const Mutant& mutant : all) std::fprintf(stderr, "%s\n", mutant.name);
        return 2;
    }
    return run_mutants(tasks, jobs);
}

}  // namespace cluster::mutants

int main(int argc, char** argv) {
    return cluster::mutants::main(argc, argv);
}
