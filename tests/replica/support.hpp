#pragma once

#include "net/support.hpp"
#include "storage/support.hpp"

#include <cluster/replica.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

// What the tests of replicas share: a service whose state tells everything that happened to it, and groups of nodes.

namespace cluster::replica_support {

using namespace std::chrono_literals;
using support::patience;

/// Adds numbers. Each message is `NAME NUMBER`; the reply is the sum, and how many messages there were.
class Ledger : public Service {
public:
    void on_message(Context& context, std::span<const std::byte> message) override {
        const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
        ++count_;
        hash_ = (hash_ ^ std::hash<std::string_view>{}(text)) * 0x100000001b3 + context.position();
        if (errs) ++hash_;
        if (text == "throw" || breaks) throw std::runtime_error("the ledger refuses");
        names_[std::string(text)] += 1;
        context.reply(std::to_string(count_) + " " + std::string(text));
        publish();
    }
    /// The reply is how many messages there were, and the query.
    void on_query(QueryContext& context, std::span<const std::byte> query) const override {
        const std::string_view text(reinterpret_cast<const char*>(query.data()), query.size());
        if (text == "throw") throw std::runtime_error("the ledger does not say");
        if (text == "hang") {
            ++hanging;
            while (hangs) std::this_thread::yield();
        }
        context.reply(std::to_string(count_) + " " + std::string(text));
    }
    void save(SnapshotWriter& out) const override {
        ++saved;
        out.write(count_);
        out.write(hash_);
        out.write("names");
        out.write(names_.size());
        for (const auto& [name, times] : names_) {
            out.write(name);
            out.write(times);
        }
    }
    void load(SnapshotReader& in) override {
        ++loaded;
        std::size_t size = 0;
        in.read(count_);
        in.read(hash_);
        std::string text;
        in.read(text);
        if (text != "names") throw std::runtime_error("something else was saved");
        in.read(size);
        names_.clear();
        for (; size != 0; --size) {
            std::string name;
            in.read(name);
            in.read(names_[name]);
        }
        if (!in.at_end()) throw std::runtime_error("there is more than was saved");
        publish();
    }
    void on_role(Role role) override { roles.put(role); }
    void on_term(Context& context) override { terms.put(context.term()); }
    void on_start() override { ++started; }
    void on_stop() override { ++ended; }

    // From any thread.
    std::uint64_t count() const { return shown_count_; }
    std::uint64_t hash() const { return shown_hash_; }
    std::atomic<bool> breaks{false};  ///< this one alone throws at the next message
    std::atomic<bool> hangs{false};   ///< a query "hang" does not end before this is false
    mutable std::atomic<int> hanging{0};
    std::atomic<bool> errs{false};    ///< this one alone computes something else
    mutable std::atomic<int> saved{0};
    std::atomic<int> loaded{0};
    std::atomic<int> started{0};
    std::atomic<int> ended{0};
    support::Events<Role> roles;
    support::Events<std::uint64_t> terms;
    /// Of the service thread; or once the replica is closed.
    const std::map<std::string, std::uint64_t>& names() const { return names_; }

private:
    void publish() {
        shown_count_ = count_;
        shown_hash_ = hash_;
    }
    std::uint64_t count_ = 0;
    std::uint64_t hash_ = 0;
    std::map<std::string, std::uint64_t> names_;
    std::atomic<std::uint64_t> shown_count_{0};
    std::atomic<std::uint64_t> shown_hash_{0};
};

/// One node with a replica. Both may be closed and begun anew.
struct Voter {
    Voter(std::string own_name, ReplicaOptions replica_options)
        : name(std::move(own_name)), options(std::move(replica_options)) {}

    void start(const std::vector<std::string>& seeds) {
        Options node_options = support::quick();
        node_options.name = name;
        node_options.seeds = seeds;
        node_options.log = lines.sink();
        if (!address.empty()) node_options.listen = address;
        node = std::make_unique<Node>(node_options);
        address = node->address().to_string();
        open();
    }
    void open() {
        service = std::make_unique<Ledger>();
        replica = std::make_unique<Replica>(*node, *service, options);
    }
    void stop() {
        replica.reset();
        node.reset();
    }

    std::string name;
    ReplicaOptions options;
    std::string address;
    support::Lines lines;
    std::unique_ptr<Node> node;
    std::unique_ptr<Ledger> service;
    std::unique_ptr<Replica> replica;
};

/// Replicas of one group in this process, each with a node and a directory of its own.
class Group {
public:
    explicit Group(const std::vector<std::string>& names, ReplicaOptions options = {}) {
        options.voters = names;
        options.election_timeout = 300ms;
        options.heartbeat = 30ms;
        for (const std::string& name : names) {
            options.directory = folder / name;
            members.push_back(std::make_unique<Voter>(name, options));
        }
    }
    void start() {
        for (const auto& each : members) each->start(seeds());
    }
    std::vector<std::string> seeds() const {
        std::vector<std::string> found;
        for (const auto& each : members) {
            if (!each->address.empty()) found.push_back(each->address);
        }
        return found;
    }
    Voter& operator[](std::size_t place) { return *members[place]; }

    /// The one that leads, as soon as all that run agree on it.
    Voter& leader() {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (std::chrono::steady_clock::now() < deadline) {
            std::string name;
            bool agreed = true;
            for (const auto& each : members) {
                if (!each->replica) continue;
                each->replica->wait_for_leader(patience);
                const ReplicaStatus status = each->replica->status();
                if (name.empty()) name = status.leader;
                agreed = agreed && !name.empty() && status.leader == name;
            }
            for (const auto& each : members) {
                if (agreed && each->name == name && each->replica) return *each;
            }
            std::this_thread::yield();
        }
        FAIL("nobody leads");
        return *members.front();
    }
    Voter& follower() {
        const Voter& leads = leader();
        for (const auto& each : members) {
            if (each->replica && each.get() != &leads) return *each;
        }
        FAIL("nobody follows");
        return *members.front();
    }
    /// Whether all that run come to have applied `count` messages, with the same state.
    bool settles(std::uint64_t count) {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (std::chrono::steady_clock::now() < deadline) {
            bool same = true;
            std::optional<std::uint64_t> hash;
            for (const auto& each : members) {
                if (!each->replica) continue;
                if (!hash) hash = each->service->hash();
                same = same && each->service->count() == count && each->service->hash() == *hash;
            }
            if (same) return true;
            std::this_thread::yield();
        }
        return false;
    }

    storage::support::Folder folder;
    std::vector<std::unique_ptr<Voter>> members;
};

/// One node, of one voter.
template <class S>
struct Lone {
    Lone() {
        options.directory = folder / "ann";
        options.voters = {"ann"};
        options.election_timeout = 300ms;
        Options node_options = support::quick();
        node_options.name = "ann";
        node_options.log = lines.sink();
        node = std::make_unique<Node>(node_options);
    }
    Replica& start() {
        replica = std::make_unique<Replica>(*node, service, options);
        REQUIRE(replica->wait_for_leader(patience));
        return *replica;
    }
    storage::support::Folder folder;
    support::Lines lines;
    S service;
    ReplicaOptions options;
    std::unique_ptr<Node> node;
    std::unique_ptr<Replica> replica;
};

/// With what error a replica is not started; none if it is.
inline std::error_code refusal(Node& node, Service& service, const ReplicaOptions& options) {
    try {
        const Replica replica(node, service, options);
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}

}  // namespace cluster::replica_support
