#include "member.hpp"

#include <cluster/cluster.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string_view>
#include <thread>

#include <unistd.h>

namespace {

/// One write for each line, so that those of several threads do not mix.
void say(const std::string& line) {
    const std::string text = line + '\n';
    if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) ::_exit(1);  // the parent has gone
}

/// Checks that the messages of each sender come as 1, 2, 3... within each step.
class Checker {
public:
    void take(const cluster::Message& message) {
        if (message.lost() != 0) {
            counts_[last_step_].lost += message.lost();
            return;
        }
        std::uint64_t step = 0;
        std::uint64_t number = 0;
        const std::string_view text = message.text();
        const auto space = std::from_chars(text.data(), text.data() + text.size(), step);
        std::from_chars(space.ptr + 1, text.data() + text.size(), number);
        Last& last = last_[message.from()];
        const std::uint64_t expected = last.step == step ? last.number + 1 : 1;
        Counts& counts = counts_[last_step_ = step];
        if (number < expected) {
            ++counts.disordered;
            return;
        }
        counts.lost += number - expected;
        ++counts.delivered;
        last = {step, number};
    }
    void report() {
        const Counts& counts = counts_[last_step_];
        say("counted " + std::to_string(last_step_) + ' ' + std::to_string(counts.delivered) + ' ' +
            std::to_string(counts.lost) + ' ' + std::to_string(counts.disordered));
    }

private:
    struct Last {
        std::uint64_t step = 0;
        std::uint64_t number = 0;
    };
    struct Counts {
        std::uint64_t delivered = 0;
        std::uint64_t lost = 0;
        std::uint64_t disordered = 0;
    };

    std::map<cluster::PeerId, Last> last_;
    std::map<std::uint64_t, Counts> counts_;
    std::uint64_t last_step_ = 0;
};

/// Reports when it has caught up, and now and then in between.
void receive(cluster::Inbox inbox) {
    constexpr std::uint64_t report_every = 1'000;
    Checker checker;
    std::uint64_t unreported = 0;
    for (;;) {
        auto message = inbox.try_receive();
        if (!message) {
            if (unreported != 0) checker.report();
            unreported = 0;
            message = inbox.receive();
            if (!message) return;
        }
        checker.take(*message);
        if (++unreported % report_every == 0) checker.report();
    }
}

void broadcast(cluster::Node& node, std::uint64_t step, std::uint64_t count, std::size_t size) {
    for (std::uint64_t number = 1; number <= count; ++number) {
        std::string text = std::to_string(step) + ' ' + std::to_string(number) + ' ';
        text.resize(std::max(size, text.size()), '.');
        node.broadcast(std::move(text));
    }
}

void say_stats(const cluster::Node& node) {
    const cluster::Stats stats = node.stats();
    std::uint64_t unacknowledged = 0;
    std::string attachments;
    for (const cluster::PeerStats& peer : stats.by_peer) {
        unacknowledged += peer.outbox_bytes;
        attachments += ' ' + peer.name + '=' + std::to_string(peer.attachments);
    }
    say("stats " + std::to_string(stats.links) + ' ' + std::to_string(unacknowledged) + attachments);
}

}  // namespace

int run_member(std::span<const std::string> arguments) {
    cluster::Options options = cluster::Options::local();
    options.name = arguments[0];
    options.listen = arguments[1];
    if (arguments[2] != "-") options.advertise = {arguments[2]};
    if (arguments[3] != "-") options.seeds = {arguments[3]};
    options.log = [](cluster::LogLevel level, std::string_view text) {
        if (level >= cluster::LogLevel::warning) say("log " + std::string(text));
    };
    cluster::Node node(options);
    say("listening " + node.address().to_string());

    const cluster::Subscription added =
        node.on_peer_added([](const cluster::Peer& peer) { say("added " + peer.name); });
    const cluster::Subscription removed =
        node.on_peer_removed([](const cluster::Peer& peer, cluster::RemovalReason reason) {
            say("removed " + peer.name + ' ' + std::string(to_string(reason)));
        });
    std::thread receiver([inbox = node.inbox()] { receive(inbox); });

    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string command;
        words >> command;
        if (command == "broadcast") {
            std::uint64_t step = 0;
            std::uint64_t count = 0;
            std::size_t size = 0;
            words >> step >> count >> size;
            broadcast(node, step, count, size);
        } else if (command == "stats") {
            say_stats(node);
        } else if (command == "leave") {
            break;
        }
    }
    const cluster::Unacknowledged rest = node.close();
    say("left " + std::to_string(rest.messages));
    receiver.join();
    return 0;
}
