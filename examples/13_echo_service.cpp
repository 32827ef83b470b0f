// A service that replies with what it is sent, and a client that calls it while its leader is lost.
//
// `example-13_echo_service NAME DIRECTORY LISTEN SEED...` is one of three voters: ann, bob or eve. Without arguments
// the program has all three in it, calls them from outside, takes the leader away meanwhile, and checks each reply.

#include "voters.hpp"

#include <cluster/client.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>

using namespace std::chrono_literals;

class Echo final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override { context.reply(message); }
    void save(cluster::SnapshotWriter&) const override {}  // there is no state; with snapshots the log stays short
    void load(cluster::SnapshotReader&) override {}
};

int serve(const std::vector<std::string>& words) {
    if (words.size() < 3) return std::cout << "NAME DIRECTORY LISTEN SEED...\n", 1;
    cluster::Node node({.listen = words.at(2), .name = words.at(0), .seeds = {words.begin() + 3, words.end()}});
    Echo echo;
    cluster::Replica replica(node, echo, {.directory = words.at(1), .voters = {"ann", "bob", "eve"}});
    replica.wait_until_stopped();
    std::cout << replica.status().why << '\n';
    return 1;
}

int main(int argument_count, char** arguments) {
    if (argument_count > 1) return serve({arguments + 1, arguments + argument_count});

    Voters<Echo> voters;
    cluster::Client client({.addresses = voters.addresses(), .name = "caller"});
    std::chrono::nanoseconds longest{};
    std::string lost;
    bool right = true;
    for (int i = 1; i <= 200; ++i) {
        if (i == 100) lost = voters.lose_leader();
        const std::string text = "message " + std::to_string(i);
        const auto begin = std::chrono::steady_clock::now();
        right &= client.call(text, 20s).text() == text;  // throws if there is no reply in time
        if (i >= 100) longest = std::max(longest, std::chrono::steady_clock::now() - begin);
    }
    right &= client.status().phase == cluster::ClientStatus::Phase::open;  // one session, whoever leads
    std::cout << lost << " led and was lost; a call took at most " << longest / 1ms << " ms\n"
              << (right ? "200 replies, each right\n" : "A REPLY IS WRONG\n");
    return right ? 0 : 1;
}
