// How much memory of the process (its resident pages; what the kernel holds for sockets is not among them) an idle node
// takes, and each of its links: a hundred nodes in one process, first alone, then as a mesh, each from the difference.
// A link between two of them has two ends, and counts at both.
//
// The bare program has as many listening sockets of Asio that wait for a connection, and as many connections whose two
// ends wait for something to read.

#include "bench/nodes.hpp"
#include "bench/support.hpp"
#include "net/asio.hpp"

#include <cluster/cluster.hpp>

#include <deque>
#include <thread>

namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

constexpr std::size_t nodes = 100;
constexpr std::size_t link_ends = nodes * (nodes - 1);
constexpr double most_of_node = 50;
constexpr double most_of_link = 20;

/// In kilobytes.
double resident() {
    return bench::resident(::getpid()) / 1000;
}

/// What a child tells.
void tell(double before, double alone, double linked) {
    const double node = (alone - before) / static_cast<double>(nodes);
    const double link = (linked - alone) / static_cast<double>(link_ends);
    bench::write_line(std::to_string(node) + " " + std::to_string(link));
}

void measure_nodes(bool shared_runtime) {
    cluster::Options options;
    if (shared_runtime) options.runtime = cluster::Runtime();
    { cluster::Node loads_what_all_share(options); }
    const double before = resident();
    bench::Nodes all;
    for (std::size_t i = 0; i < nodes; ++i) all.push_back(std::make_unique<cluster::Node>(options));
    all.front()->wait_for_peers(1, 500ms);  // never: lets them come to rest
    const double alone = resident();
    for (std::size_t i = 1; i < nodes; ++i) all[i]->add(all[0]->address());
    for (const auto& node : all) {
        if (!node->wait_for_peers(nodes - 1, 20s)) bench::fail("memory: the mesh is not complete");
    }
    all.front()->wait_for_peers(nodes, 3s);  // never: a few heartbeats
    tell(before, alone, resident());
    bench::leave(all);
}

void measure_bare() {
    asio::io_context io(1);
    auto work = asio::make_work_guard(io);
    std::thread thread([&] { io.run(); });
    const double before = resident();
    std::deque<tcp::acceptor> acceptors;
    for (std::size_t i = 0; i < nodes; ++i) {
        auto& acceptor = acceptors.emplace_back(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        acceptor.async_wait(tcp::acceptor::wait_read, [](const std::error_code&) {});
    }
    const double alone = resident();
    std::deque<tcp::socket> sockets;
    for (std::size_t i = 0; i < link_ends / 2; ++i) {
        tcp::socket& dialled = sockets.emplace_back(io);
        dialled.connect(acceptors[i % nodes].local_endpoint());
        sockets.push_back(acceptors[i % nodes].accept());
    }
    for (tcp::socket& socket : sockets) {
        socket.async_wait(tcp::socket::wait_read, [](const std::error_code&) {});
    }
    tell(before, alone, resident());
    io.stop();
    thread.join();
}

struct Kilobytes {
    bench::Series node;
    bench::Series link;

    void add(const std::string& part) {
        bench::Child child(part);
        const std::string line = child.line();
        double of_node = 0;
        double of_link = 0;
        if (std::sscanf(line.c_str(), "%lf %lf", &of_node, &of_link) != 2) bench::fail("memory: bad line");
        node.add(of_node);
        link.add(of_link);
        child.join();
    }
};

void print(const std::string& name, const std::string& placement, const bench::Series& cluster,
           const bench::Series& bare, double most) {
    const bool good = cluster.median() <= most;
    bench::Json()
        .add("bench", "memory of " + name)
        .add("placement", placement)
        .add("unit", "kB resident, without the kernel")
        .add("median", cluster.median())
        .add("bare_median", bare.median())
        .add("values", cluster)
        .add("bare_values", bare)
        .add("met", good)
        .print();
    bench::print_row({"memory of " + name + ", " + placement, bench::text_of(cluster.median()) + " kB",
                      bench::text_of(bare.median()) + " kB", "≤ " + bench::text_of(most) + " kB", bench::met(good)});
}

}  // namespace

int main(int count, char** values) {
    const bench::Parts parts = {{"shared", [] { measure_nodes(true); }},
                                {"own", [] { measure_nodes(false); }},
                                {"bare", measure_bare}};
    return bench::run(count, values, parts, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 3);
        Kilobytes shared;
        Kilobytes own;
        Kilobytes bare;
        for (std::size_t i = 0; i < rounds; ++i) {
            bench::restart_time_limit();
            bare.add("bare");
            shared.add("shared");
            own.add("own");
        }
        print("an idle node", "one shared Runtime", shared.node, bare.node, most_of_node);
        print("an idle node", "a Runtime for each", own.node, bare.node, most_of_node);
        print("one end of an idle link", "one shared Runtime", shared.link, bare.link, most_of_link);
        print("one end of an idle link", "a Runtime for each", own.link, bare.link, most_of_link);
    });
}
