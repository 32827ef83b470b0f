// A real node for the tests of a client in another language: a line on standard input is a command, a line on standard
// output what came of it. Messages are numbered; check.py knows the same rule for what the one of a number holds.

#include <cluster/cluster.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

template <class... Words>
void say(const Words&... words) {
    static std::mutex mutex;
    std::ostringstream line;
    (line << ... << words);
    const std::lock_guard lock(mutex);
    std::cout << line.str() << std::endl;
}

std::string numbered(std::size_t number) {
    std::string number_bytes;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        number_bytes += static_cast<char>(number >> shift & 0xff);
    }
    const std::size_t size = number % 2000 == 5 ? std::size_t{1} << 20 : number % 7 == 3 ? 0 : 8 + number % 50 * 8;
    std::string message;
    message.reserve(size);
    while (message.size() < size) {
        message += number_bytes;
    }
    return message;
}

void send(cluster::Node& node, std::size_t from, std::size_t to) {
    std::error_code error;
    for (std::size_t number = from; number != to && !error; ++number) {
        node.broadcast(numbered(number), error);
    }
    say("sent ", error ? error.message() : std::to_string(to));
}

void receive(cluster::Inbox inbox, std::size_t from, std::size_t to) {
    for (std::size_t number = from; number != to; ++number) {
        const auto message = inbox.receive();
        if (!message || message->lost() != 0 || message->text() != numbered(number)) {
            say("received something else in the place of ", number);
            return;
        }
    }
    say("received ", to);
}

/// Words `name=value` of the command line.
cluster::Options options(int count, char** words) {
    std::map<std::string, std::string> given;
    for (int at = 1; at < count; ++at) {
        const std::string word = words[at];
        given[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    cluster::Options options{.cluster = "demo", .reconnect_max = 500ms};
    if (given.contains("heartbeat")) {
        options.heartbeat = std::chrono::milliseconds(std::stoi(given["heartbeat"]));
    }
    if (given.contains("outbox")) {
        options.outbox_bytes = options.total_outbox_bytes = std::stoul(given["outbox"]);
        options.max_message = std::size_t{2} << 20;
    }
    return options;
}

}  // namespace

int main(int count, char** words) {
    cluster::Node node(options(count, words));
    const auto added = node.on_peer_added([](const cluster::Peer& peer) { say("added ", peer.id, ' ', peer.name); });
    const auto removed = node.on_peer_removed([](const cluster::Peer& peer, cluster::RemovalReason why) {
        say("removed ", peer.id, ' ', to_string(why));
    });
    say("node ", node.id(), ' ', node.address());

    std::vector<std::jthread> threads;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream command(line);
        std::string what;
        std::string where;
        std::size_t from = 0;
        std::size_t to = 0;
        command >> what;
        if (what == "add") {
            std::error_code error;
            command >> where;
            node.add(where, error);
            say("add ", error ? error.message() : "ok");
        } else if (what == "send" && command >> from >> to) {
            threads.emplace_back([&node, from, to] { send(node, from, to); });
        } else if (what == "receive" && command >> from >> to) {
            threads.emplace_back([&node, from, to] { receive(node.inbox(), from, to); });
        } else if (what == "stats") {
            const cluster::Stats stats = node.stats();
            say("stats ", stats.peers, ' ', stats.messages_received, ' ', stats.messages_lost, ' ', stats.outbox_bytes,
                ' ', stats.sessions_resumed, ' ', stats.protocol_errors, ' ',
                std::count_if(stats.by_peer.begin(), stats.by_peer.end(),
                              [](const cluster::PeerStats& peer) { return peer.round_trip_seconds > 0; }));
        } else if (what == "close") {
            say("closed ", node.close().messages);
        } else {
            say("unknown command: ", line);
            return EXIT_FAILURE;
        }
    }
    node.close();
}
