// One process of the fault tests: some nodes that share a Runtime, each with a member enrolled, told what to do by
// lines on standard input. Every line on standard output is a JSON object: an event, stamped in nanoseconds of the
// steady clock, which all processes of a machine share, or the reply to a command. world.py is the other side.
//
// Words `name=value` on the command line: name (of the nodes, followed by their number), nodes, host, seeds (separated
// by commas), preset, log (a file), and a number of milliseconds for any of heartbeat, suspicion, reconnect_max.

#include "process.hpp"

#include <cluster/cluster.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace cluster;
using namespace cluster::faults;
using namespace std::chrono_literals;

constexpr int first_port = 7000;  // its network is its own
constexpr auto turn = 10ms;

/// What one node has sent to one peer and received from it. Messages are numbered from 0 on for each pair.
struct Pair {
    std::uint64_t sent = 0;
    std::uint64_t next = 0;     ///< expected from it
    std::uint64_t doubled = 0;  ///< came again, or after a later one
    std::uint64_t missing = 0;  ///< passed over in silence
    std::uint64_t lost = 0;     ///< told as gaps
};

class Member {
public:
    Member(Output& output, Options options) : output_(output), name_(options.name), node_(std::move(options)) {
        node_.on_message([this](const Message& message) { take(message); });
        added_ = node_.on_peer_added([this](const Peer& peer) { tell("added", peer.id, ""); });
        removed_ = node_.on_peer_removed(
            [this](const Peer& peer, RemovalReason why) { tell("removed", peer.id, to_string(why)); });
        changed_ = node_.on_peers_changed([this](const std::vector<Peer>& peers) { changed(peers); });
        members_ = node_.members().on_change([this](const MemberUpdate& update) {
            for (const MemberChange& change : update.changes) tell(change);
        });
        membership_.set_data(name_);
        membership_.enroll();
    }

    const std::string& name() const { return name_; }
    Node& node() { return node_; }

    /// One message to each peer in view, or to that one. How many found room.
    std::size_t send(std::string& payload, const std::string& only) {
        std::size_t accepted = 0;
        for (const Peer& peer : peers_) {
            if (!only.empty() && peer.id.to_string() != only) continue;
            std::unique_lock lock(mutex_);
            const std::uint64_t number = pairs_[peer.id].sent;
            lock.unlock();
            std::memcpy(payload.data(), &number, sizeof number);
            if (!node_.try_send(peer.id, payload)) continue;
            lock.lock();
            ++pairs_[peer.id].sent;
            ++accepted;
        }
        return accepted;
    }
    /// To whom `send` sends from now on.
    void look() { peers_ = node_.peers(); }

    std::string sums() {
        std::ostringstream text;
        const std::lock_guard lock(mutex_);
        const char* separator = "";
        for (const auto& [id, pair] : pairs_) {
            text << std::exchange(separator, ",") << '"' << id << "\":{\"sent\":" << pair.sent
                 << ",\"received\":" << pair.next - pair.missing << ",\"doubled\":" << pair.doubled
                 << ",\"missing\":" << pair.missing << ",\"lost\":" << pair.lost << '}';
        }
        return '{' + text.str() + '}';
    }
    std::string view() const {
        std::ostringstream text;
        const char* separator = "";
        for (const Peer& peer : node_.peers()) {
            text << std::exchange(separator, ",") << '"' << peer.id << "\":\"" << to_string(peer.state) << '"';
        }
        return '{' + text.str() + '}';
    }
    std::string stats() const {
        const Stats stats = node_.stats();
        std::ostringstream text;
        text << "{\"links\":" << stats.links << ",\"links_lost\":" << stats.links_lost
             << ",\"sessions_resumed\":" << stats.sessions_resumed << ",\"given_up\":" << stats.messages_given_up
             << ",\"protocol_errors\":" << stats.protocol_errors << ",\"dials\":" << stats.dials
             << ",\"links_accepted\":" << stats.links_accepted << ",\"suspicions\":" << stats.suspicions << '}';
        return text.str();
    }
    void close() {
        tell("leaving", node_.id(), "");
        const Unacknowledged rest = node_.close();
        tell("closed", node_.id(), std::to_string(rest.messages));
    }

private:
    void tell(const char* event, const PeerId& peer, std::string_view why) {
        std::ostringstream line;
        line << "{\"at\":" << now() << ",\"node\":\"" << name_ << "\",\"event\":\"" << event << "\",\"peer\":\"" << peer
             << "\",\"why\":\"" << why << "\"}";
        output_.put(line.str());
    }
    /// Each node has one member, so it is named by its owner.
    void tell(const MemberChange& change) {
        if (change.event == MemberEvent::updated) return;
        const bool shown = change.event == MemberEvent::joined;
        tell(shown ? "shown" : "gone", change.member.owner(), to_string(change.event));
    }
    void changed(const std::vector<Peer>& peers) {
        std::map<PeerId, PeerState> states;
        for (const Peer& peer : peers) {
            const auto before = states_.find(peer.id);
            if (peer.state != (before == states_.end() ? PeerState::alive : before->second)) {
                tell("state", peer.id, to_string(peer.state));
            }
            states.emplace(peer.id, peer.state);
        }
        states_ = std::move(states);
    }
    void take(const Message& message) {
        const std::lock_guard lock(mutex_);
        Pair& pair = pairs_[message.from()];
        if (message.lost() != 0) {
            pair.lost += message.lost();
            return;
        }
        std::uint64_t number = 0;
        if (message.size() >= sizeof number) std::memcpy(&number, message.bytes().data(), sizeof number);
        if (number < pair.next) {
            ++pair.doubled;
            return;
        }
        pair.missing += number - pair.next;
        pair.next = number + 1;
    }

    Output& output_;
    const std::string name_;
    std::vector<Peer> peers_;  // the sending thread's
    std::mutex mutex_;
    std::map<PeerId, Pair> pairs_;
    std::map<PeerId, PeerState> states_;  // the callback thread's
    Node node_;
    Subscription added_;
    Subscription removed_;
    Subscription changed_;
    Subscription members_;
    Membership membership_{node_.create_membership()};
};

using Members = std::vector<std::unique_ptr<Member>>;

/// A thread that sends from all nodes at a rate for each pair, or as much as there is room for.
class Stream {
public:
    explicit Stream(Members& members) : members_(members) {}
    ~Stream() { stop(); }

    void start(std::size_t size, double per_second, std::string only) {
        stop();
        stopped_ = false;
        thread_ = std::thread([this, size, per_second, only = std::move(only)] { run(size, per_second, only); });
    }
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

private:
    void run(std::size_t size, double per_second, const std::string& only) {
        std::string payload(std::max(size, sizeof(std::uint64_t)), 'x');
        auto begun = Clock::now();
        std::uint64_t rounds = 0;
        while (!stopped_) {
            for (const auto& member : members_) member->look();
            if (per_second > 0) {
                const double passed = std::chrono::duration<double>(Clock::now() - begun).count();
                const auto due = static_cast<std::uint64_t>(passed * per_second);
                if (due > rounds + static_cast<std::uint64_t>(per_second)) {  // it was stopped for a while
                    begun = Clock::now();
                    rounds = 0;
                    continue;
                }
                for (; rounds < due && !stopped_; ++rounds) round(payload, only);
                rest(turn);
            } else {
                std::size_t accepted = 0;
                for (int i = 0; i < 50 && !stopped_; ++i) accepted += round(payload, only);
                if (accepted == 0) rest(1ms);
            }
        }
    }
    std::size_t round(std::string& payload, const std::string& only) {
        std::size_t accepted = 0;
        for (const auto& member : members_) accepted += member->send(payload, only);
        return accepted;
    }
    void rest(std::chrono::milliseconds duration) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, duration, [this] { return stopped_.load(); });
    }

    Members& members_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<bool> stopped_{true};
    std::thread thread_;
};

template <class Part>
void reply(Output& output, const std::string& command, const Members& members, Part part) {
    const auto wall = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
    std::string line = "{\"reply\":\"" + command + "\",\"wall\":" + std::to_string(wall);
    for (const auto& member : members) line += ",\"" + member->name() + "\":" + part(*member);
    output.put(line + '}');
}

void leave(Members& members) {
    std::vector<std::thread> threads;
    for (const auto& member : members) threads.emplace_back([&member] { member->close(); });
    for (std::thread& thread : threads) thread.join();
}

void run(Words words) {
    Output output;
    Log log(words["log"]);
    Members members;
    Options options = options_of(words);
    options.runtime = Runtime();
    const int nodes = words.contains("nodes") ? std::stoi(words["nodes"]) : 1;
    for (int i = 0; i < nodes; ++i) {
        options.name = words["name"] + std::to_string(i);
        options.listen = words["host"] + ':' + std::to_string(first_port + i);
        options.log = [&log, name = options.name](LogLevel level, std::string_view text) {
            log.write(name, level, text);
        };
        members.push_back(std::make_unique<Member>(output, options));
    }
    reply(output, "started", members, [](Member& member) { return '"' + member.node().id().to_string() + '"'; });

    Stream stream(members);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream command(line);
        std::string what;
        command >> what;
        if (what == "stream") {
            std::size_t size = 0;
            double per_second = 0;
            std::string only;
            command >> size >> per_second >> only;
            stream.start(size, per_second, only);
        } else if (what == "hush") {
            stream.stop();
        } else if (what == "leave") {
            stream.stop();
            leave(members);
            return;
        } else if (what != "sums" && what != "view" && what != "stats") {
            throw std::runtime_error("unknown command: " + line);
        }
        reply(output, what, members, [&](Member& member) -> std::string {
            if (what == "sums") return member.sums();
            if (what == "view") return member.view();
            if (what == "stats") return member.stats();
            return "0";
        });
    }
    std::_Exit(EXIT_SUCCESS);  // nobody is there any more to whom a farewell would matter
}

}  // namespace

int main(int count, char** values) {
    return cluster::faults::run_program("fault-member", count, values, run);
}
