// One process of the fault tests of replicas: a node and a replica of a service, told what to do by lines on standard
// input. Every line on standard output is a JSON object: an event, stamped in nanoseconds of the steady clock, or the
// reply to a command. replicas.py is the other side.
//
// Words `name=value` on the command line: name (of the node), life (a word that no other process has), host, seeds and
// voters (separated by commas), directory, preset, log (a file), service (`ledger`, which is the default, or
// `registers`, with which there is an `audit`, too), snapshot_every and compare_every (bytes), and `freeze`, with which
// snapshots are written from a copy.
//
// Commands:
//   load RATE MILLISECONDS SIZE   submits so many numbered messages a second, of that size, each with that time-out;
//                                 reads as often
//   hush                          ends that
//   status                        how the replica is
//   state                         what each service has: who asked for which numbers, and a hash of their order
//   counts                        how the submits and reads of this process have ended
//   snapshot                      takes one, and says how that ended
//   transfer NAME                 hands leadership over, and says how that ended
//   leave                         closes the replica and the node, and ends
//
// It submits to a ledger only. A read there tells the place in the log of the last message that the service has had.
// Three of four are linearizable, and are reported: replicas.py compares them with what all processes were told before.
// The others are stale, and checked here.

#include "applied.hpp"
#include "ledger.hpp"
#include "process.hpp"
#include "registers.hpp"

#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace cluster;
using namespace cluster::faults;
using namespace std::chrono_literals;

constexpr auto turn = 5ms;

/// A thread that submits numbered messages, and reads, and how that ends.
class Load {
public:
    Load(Replica& replica, Output& output, std::string life)
        : replica_(replica), output_(output), life_(std::move(life)) {}
    ~Load() { stop(); }

    void start(double per_second, std::chrono::milliseconds timeout, std::size_t size) {
        stop();
        stopped_ = false;
        thread_ = std::thread([this, per_second, timeout, size] { run(per_second, timeout, size); });
    }
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_one();
        if (thread_.joinable()) thread_.join();
    }
    std::string counts() {
        const std::lock_guard lock(mutex_);
        std::string unknown;
        for (const auto& [why, numbers] : unknown_) {
            unknown += (unknown.empty() ? "" : ",") + quoted(why) + ':' + numbers.text();
        }
        std::string refused;
        for (const auto& [why, numbers] : refused_) {
            refused += (refused.empty() ? "" : ",") + quoted(why) + ':' + numbers.text();
        }
        std::string unread;
        for (const auto& [why, times] : unread_) {
            unread += (unread.empty() ? "" : ",") + quoted(why) + ':' + std::to_string(times);
        }
        return "{\"open\":" + std::to_string(number_ - ended_) + ",\"reading\":" + std::to_string(reading_) +
               ",\"read\":" + std::to_string(read_) + ",\"unread\":{" + unread + '}' +
               ",\"submitted\":" + std::to_string(number_) + ",\"acknowledged\":" + acknowledged_.text() +
               ",\"unknown\":{" + unknown + "},\"refused\":{" + refused + "}}";
    }

private:
    void run(double per_second, std::chrono::milliseconds timeout, std::size_t size) {
        const auto begun = Clock::now();
        std::uint64_t submitted = 0;
        std::unique_lock lock(mutex_);
        while (!stopped_) {
            const double passed = std::chrono::duration<double>(Clock::now() - begun).count();
            // Who was stopped for a while catches up slowly.
            const auto due = std::min(static_cast<std::uint64_t>(passed * per_second), submitted + 100);
            for (; submitted < due && !stopped_; ++submitted) {
                const std::uint64_t number = ++number_;
                lock.unlock();
                submit(number, timeout, size);
                read(number % 4 == 0, timeout);
                lock.lock();
            }
            changed_.wait_for(lock, turn, [this] { return stopped_; });
        }
    }
    void submit(std::uint64_t number, std::chrono::milliseconds timeout, std::size_t size) {
        const std::string entry = life_ + ' ' + std::to_string(number);
        std::string text = entry + ' ';
        text.resize(std::max(size, text.size()), '.');
        replica_.submit(std::move(text), timeout, [this, number, entry](std::error_code error, const Message& reply) {
            end(number, entry, error, reply);
        });
    }
    void end(std::uint64_t number, const std::string& entry, std::error_code error, const Message& reply) {
        const std::lock_guard lock(mutex_);
        ++ended_;
        bool new_one = true;
        if (!error) {
            new_one = acknowledged_.add(number);
            told_ = std::max(told_, reply.position());
            say("acknowledged", number, reply.text() == entry ? "" : "a wrong reply: " + std::string(reply.text()),
                ",\"position\":" + std::to_string(reply.position()));
        } else if (error == errc::timed_out || error == errc::closed || error == errc::replica_stopped ||
                   error == errc::outcome_unknown) {
            new_one = unknown_[error.message()].add(number);
        } else {
            new_one = refused_[error.message()].add(number);
        }
        if (!new_one) say("acknowledged", number, "its handler was called twice");
    }
    void read(bool stale, std::chrono::milliseconds timeout) {
        ReadOptions options;
        {
            const std::lock_guard lock(mutex_);
            ++reading_;
            if (stale) options = {Consistency::stale, told_};
        }
        const auto begun = now();
        replica_.read(
            "", timeout,
            [this, options, begun](std::error_code error, const Message& reply) {
                const std::lock_guard lock(mutex_);
                --reading_;
                if (error) {
                    ++unread_[error.message()];
                    return;
                }
                ++read_;
                const std::uint64_t seen = std::stoull(std::string(reply.text()));
                const bool stale_read = options.consistency == Consistency::stale;
                const bool wrong = seen > reply.position() || (stale_read && seen < options.at_least);
                if (stale_read && !wrong) return;
                if (!stale_read) told_ = std::max(told_, seen);
                say("read", seen, wrong ? "a read that was to see " + std::to_string(options.at_least) : "",
                    ",\"begun\":" + std::to_string(begun));
            },
            options);
    }
    void say(const char* event, std::uint64_t number, const std::string& why, const std::string& more = {}) {
        output_.put("{\"at\":" + std::to_string(now()) + ",\"node\":" + quoted(life_) + ",\"event\":\"" + event +
                    "\",\"peer\":" + std::to_string(number) + ",\"why\":" + quoted(why) + more + '}');
    }

    Replica& replica_;
    Output& output_;
    const std::string life_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopped_ = true;
    std::uint64_t number_ = 0;
    std::uint64_t ended_ = 0;
    std::uint64_t reading_ = 0;
    std::uint64_t read_ = 0;
    std::uint64_t told_ = 0;  ///< the greatest place in the log that this process was told of
    std::map<std::string, std::uint64_t> unread_;
    Ranges acknowledged_;
    std::map<std::string, Ranges> unknown_;
    std::map<std::string, Ranges> refused_;
    std::thread thread_;
};

std::string text_of(const ReplicaStatus& status) {
    std::ostringstream text;
    text << "{\"role\":\"" << to_string(status.role) << "\",\"term\":" << status.term << ",\"leader\":\""
         << status.leader << "\",\"appended\":" << status.appended << ",\"durable\":" << status.durable
         << ",\"committed\":" << status.committed << ",\"applied\":" << status.applied
         << ",\"snapshot\":" << status.snapshot << ",\"founded\":" << (status.founded ? "true" : "false")
         << ",\"stopped\":" << (status.stopped ? "true" : "false") << ",\"error\":" << status.error.value()
         << ",\"text\":" << quoted(status.error ? status.error.message() : "") << ",\"why\":" << quoted(status.why)
         << ",\"voters\":{";
    const char* separator = "";
    for (const auto& each : status.voters) {
        text << std::exchange(separator, ",") << quoted(each.name)
             << ":{\"in_view\":" << (each.in_view ? "true" : "false") << ",\"durable\":" << each.durable << '}';
    }
    text << "}}";
    return text.str();
}

void run(Words words) {
    Output output;
    Log log(words["log"]);
    Options options = options_of(words);
    options.name = words["name"];
    options.listen = words["host"] + ":7000";  // its network is its own
    options.log = [&](LogLevel level, std::string_view text) { log.write(words["life"], level, text); };
    Node node(options);

    const auto say = [&](const char* event, const std::string& peer, std::string_view why) {
        output.put("{\"at\":" + std::to_string(now()) + ",\"node\":" + quoted(options.name) + ",\"event\":\"" + event +
                   "\",\"peer\":" + quoted(peer) + ",\"why\":" + quoted(why) + '}');
    };
    const auto reply = [&](const std::string& command, const std::string& part) {
        output.put("{\"reply\":" + quoted(command) + ',' + quoted(options.name) + ':' + part + '}');
    };
    const Subscription added = node.on_peer_added([&](const Peer& peer) { say("added", peer.id.to_string(), ""); });
    const Subscription removed = node.on_peer_removed(
        [&](const Peer& peer, RemovalReason why) { say("removed", peer.id.to_string(), to_string(why)); });

    std::vector<std::pair<std::string, std::unique_ptr<Shown>>> services;
    if (words["service"] == "registers") {
        services.emplace_back("registers", std::make_unique<Registers>(words.contains("freeze")));
        services.emplace_back("audit", std::make_unique<Audit>());
    } else {
        services.emplace_back("ledger", std::make_unique<Ledger>(words.contains("freeze")));
    }
    std::vector<NamedService> named;
    for (const auto& [name, service] : services) named.push_back({name, *service});
    ReplicaOptions replica_options;
    replica_options.directory = words["directory"];
    std::istringstream voters(words["voters"]);
    for (std::string voter; std::getline(voters, voter, ',');) replica_options.voters.push_back(voter);
    if (words.contains("snapshot_every")) replica_options.snapshot_every = std::stoull(words["snapshot_every"]);
    if (words.contains("compare_every")) replica_options.compare_every = std::stoull(words["compare_every"]);
    Replica replica(node, named, replica_options);
    const Subscription changes = replica.on_status([&](const ReplicaStatus& status) {
        say("status", status.leader,
            std::string(to_string(status.role)) + " in term " + std::to_string(status.term) +
                (status.error ? ": " + status.error.message() + ": " + status.why : ""));
    });
    reply("started", quoted(node.id().to_string()));

    Load load(replica, output, words["life"]);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream command(line);
        std::string what;
        command >> what;
        if (what == "load") {
            double per_second = 0;
            int timeout = 0;
            std::size_t size = 0;
            command >> per_second >> timeout >> size;
            load.start(per_second, std::chrono::milliseconds(timeout), size);
            reply(what, "0");
        } else if (what == "hush") {
            load.stop();
            reply(what, "0");
        } else if (what == "status") {
            reply(what, text_of(replica.status()));
        } else if (what == "state") {
            std::string text;
            for (const auto& [name, service] : services) {
                text += (text.empty() ? "{" : ",") + quoted(name) + ':' + service->text();
            }
            reply(what, text + '}');
        } else if (what == "counts") {
            reply(what, load.counts());
        } else if (what == "snapshot") {
            std::error_code error;
            replica.snapshot(error);
            reply(what, quoted(error ? error.message() : ""));
        } else if (what == "transfer") {
            std::string to;
            command >> to;
            std::error_code error;
            replica.transfer(to, error);
            reply(what, quoted(error ? error.message() : ""));
        } else if (what == "leave") {
            load.stop();
            replica.close();
            node.close();
            return;
        } else {
            throw std::runtime_error("unknown command: " + line);
        }
    }
    std::_Exit(EXIT_SUCCESS);  // nobody is there any more to whom a farewell would matter
}

}  // namespace

int main(int count, char** values) {
    return cluster::faults::run_program("fault-replica", count, values, run);
}
