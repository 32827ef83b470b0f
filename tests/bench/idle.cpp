// What a cluster costs that has nothing to say: a hundred nodes in one process, all linked, for twenty seconds after
// they have come to rest. The bytes that each node sends in a second are those that the loopback interface counts, with
// all headers, in a network namespace of the process's own; the time is that of all threads of the process.
//
// There is no bare program: connections without anything to find out about each other are silent.

#include "bench/nodes.hpp"
#include "bench/support.hpp"

#include <cluster/cluster.hpp>

#include <fstream>
#include <limits>

#include <net/if.h>
#include <sys/ioctl.h>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t nodes = 100;
constexpr double most_bytes = 300;
constexpr double most_percent = 0.05;

/// A loopback interface of this process's own, or false where the system does not permit that.
bool alone() {
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
    const bench::Socket socket(bench::check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    bench::check(::ioctl(socket.descriptor(), SIOCSIFFLAGS, &request), "the loopback interface does not come up");
    return true;
}

/// The bytes that the loopback interface has passed on.
double loopback_bytes() {
    std::ifstream file("/proc/self/net/dev");
    for (std::string name; file >> name;) {
        double received = 0;
        if (name == "lo:" && file >> received) return received;
        file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    bench::fail("idle: /proc/self/net/dev does not tell of lo");
}

void measure(std::size_t seconds) {
    const bool apart = alone();
    bench::write_line(apart ? "apart" : "shared");
    cluster::Options options;
    options.runtime = cluster::Runtime();
    bench::Nodes all;
    for (std::size_t i = 0; i < nodes; ++i) all.push_back(std::make_unique<cluster::Node>(options));
    for (std::size_t i = 1; i < nodes; ++i) all[i]->add(all[0]->address());
    for (const auto& node : all) {
        if (!node->wait_for_peers(nodes - 1, 20s)) bench::fail("idle: the mesh is not complete");
    }
    all.front()->wait_for_peers(nodes, 10s);  // never: lets them come to rest
    const double bytes = loopback_bytes();
    const double cpu = bench::cpu_seconds();
    const auto begin = bench::Clock::now();
    all.front()->wait_for_peers(nodes, std::chrono::seconds(seconds));
    const double passed = bench::seconds_since(begin);
    const double each = passed * static_cast<double>(nodes);
    bench::write_line(std::to_string((loopback_bytes() - bytes) / each) + " " +
                      std::to_string((bench::cpu_seconds() - cpu) / each * 100));
    bench::leave(all);
}

void print(const std::string& what, const std::string& unit, const std::string& placement, const bench::Series& values,
           double most) {
    const bool good = values.median() <= most;
    bench::Json()
        .add("bench", "idle: " + what)
        .add("nodes", std::uint64_t{nodes})
        .add("placement", placement)
        .add("unit", unit)
        .add("median", values.median())
        .add("values", values)
        .add("bar", most)
        .add("met", good)
        .print();
    bench::print_row({"idle, " + what + " for each of " + std::to_string(nodes) + " nodes",
                      bench::text_of(values.median()) + " " + unit, "", "≤ " + bench::text_of(most) + " " + unit,
                      bench::met(good)});
}

}  // namespace

int main(int count, char** values) {
    return bench::run(count, values, {{"nodes", [] { measure(20); }}}, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 1);
        bench::Series bytes;
        bench::Series percent;
        std::string placement;
        for (std::size_t i = 0; i < rounds; ++i) {
            bench::restart_time_limit();
            bench::Child child("nodes");
            placement = child.line() == "apart" ? "one process, a loopback interface of its own"
                                                : "one process, the machine's loopback interface with all else on it";
            const std::string line = child.line();
            double of_bytes = 0;
            double of_percent = 0;
            if (std::sscanf(line.c_str(), "%lf %lf", &of_bytes, &of_percent) != 2) bench::fail("idle: bad line");
            bytes.add(of_bytes);
            percent.add(of_percent);
            child.join();
        }
        print("traffic", "B/s", placement, bytes, most_bytes);
        print("processor", "% of a core", placement, percent, most_percent);
    });
}
