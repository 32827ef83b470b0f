#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace cluster::services_test {

// Several services on one log, and what they do by themselves.

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

namespace {

bool eventually(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

/// Two services: a clock whose timer rings again and again, and tells the other one each time.
class Clock final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte>) override {
        fits = fits && context.schedule(1, context.time() + 20ms);
    }
    void on_timer(Context& context, std::uint64_t) override {
        fits =
            fits && context.submit(std::to_string(++rings_), "witness") && context.schedule(1, context.time() + 20ms);
    }
    void save(SnapshotWriter& out) const override { out.write(rings_); }
    void load(SnapshotReader& in) override { in.read(rings_); }
    std::atomic<bool> fits{true};

private:
    std::uint64_t rings_ = 0;
};

class Witness final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte> message) override {
        if (context.from_service() != "clock") return;
        const std::string text(reinterpret_cast<const char*>(message.data()), message.size());
        in_order = in_order && std::stoull(text) == last + 1;
        last = std::stoull(text);
    }
    void save(SnapshotWriter& out) const override { out.write(last.load()); }
    void load(SnapshotReader& in) override {
        std::uint64_t value = 0;
        in.read(value);
        last = value;
    }
    std::atomic<std::uint64_t> last{0};
    std::atomic<bool> in_order{true};
};

}  // namespace

TEST_CASE(
    "replica: timers ring and services talk while nobody submits, across a failover and a restart, and miss nothing") {
    struct Place {
        storage::support::Folder folder;
        Clock clock;
        Witness witness;
        std::unique_ptr<Node> node;
        std::unique_ptr<Replica> replica;
    };
    const std::vector<std::string> names{"ann", "bob", "eve"};
    std::vector<Place> places(3);
    std::vector<std::string> seeds;
    const auto start = [&](std::size_t at) {
        Options options = support::quick();
        options.name = names[at];
        options.seeds = seeds;
        places[at].node = std::make_unique<Node>(options);
        seeds.push_back(places[at].node->address().to_string());
        ReplicaOptions replica;
        replica.directory = places[at].folder / "data";
        replica.voters = names;
        replica.election_timeout = 300ms;
        places[at].replica = std::make_unique<Replica>(
            *places[at].node, std::vector<NamedService>{{"clock", places[at].clock}, {"witness", places[at].witness}},
            replica);
    };
    for (std::size_t i = 0; i < names.size(); ++i) start(i);
    REQUIRE(places[0].replica->wait_for_leader(patience));
    places[0].replica->submit("begin", patience);
    const auto all_reach = [&](std::uint64_t rings) {
        return eventually([&] {
            return std::all_of(places.begin(), places.end(),
                               [&](const Place& each) { return !each.replica || each.witness.last >= rings; });
        });
    };
    CHECK(all_reach(5));
    places[1].replica->snapshot();
    const std::string leader = places[0].replica->status().leader;
    const auto gone = static_cast<std::size_t>(std::find(names.begin(), names.end(), leader) - names.begin());
    places[gone].replica.reset();
    places[gone].node.reset();
    const std::uint64_t then = places[gone].witness.last;
    CHECK(all_reach(then + 5));
    start(gone);
    CHECK(all_reach(then + 10));
    for (const Place& each : places) {
        CHECK(each.witness.in_order);
        CHECK(each.clock.fits);
    }
}

TEST_CASE("replica: one whose state is not that of the others stops and says so, and they go on") {
    ReplicaOptions options;
    options.compare_every = 4096;
    Group group({"ann", "bob", "eve"}, options);
    group.start();
    Voter& leader = group.leader();
    const auto submit_many = [](Voter& at, int many) {
        for (int i = 0; i < many; ++i) at.replica->submit("message", patience);
    };
    submit_many(leader, 300);
    for (const auto& each : group.members) CHECK_FALSE(each->replica->status().stopped);
    Voter& wrong = group.follower();
    wrong.service->errs = true;
    submit_many(leader, 300);
    wrong.replica->wait_until_stopped();
    CHECK(wrong.replica->status().error == errc::state_diverged);
    submit_many(leader, 100);
    CHECK_FALSE(leader.replica->status().stopped);
}

TEST_CASE("replica: a leader whose state is not that of the others stops, and another one leads") {
    ReplicaOptions options;
    options.compare_every = 4096;
    Group group({"ann", "bob", "eve"}, options);
    group.start();
    Voter& wrong = group.leader();
    wrong.service->errs = true;
    Voter& other = group.follower();
    for (int i = 0; i < 300; ++i) other.replica->submit("message", patience);
    wrong.replica->wait_until_stopped();
    CHECK(wrong.replica->status().error == errc::state_diverged);
    other.replica->submit("message", patience);
}

}  // namespace cluster::services_test
