#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;
using support::Events;

TEST_CASE("replica: a voter that is alone founds its group, and replies to what it is sent") {
    Group group({"ann"});
    group.start();
    Voter& ann = group[0];
    REQUIRE(ann.replica->wait_for_leader(patience));
    CHECK(ann.replica->submit("one", patience).text() == "1 one");
    CHECK(ann.replica->submit("two", patience).text() == "2 two");
    const ReplicaStatus status = ann.replica->status();
    CHECK(status.role == Role::leader);
    CHECK(status.leader == "ann");
    CHECK(status.founded);
    CHECK_FALSE(status.error);
    CHECK(status.applied == status.committed);
}

TEST_CASE("replica: three voters keep the same state, whoever a message is submitted to") {
    Group group({"ann", "bob", "eve"});
    group.start();
    group.leader();
    std::uint64_t count = 0;
    for (int round = 0; round < 5; ++round) {
        for (const auto& each : group.members) {
            const std::string text = each->name + std::to_string(round);
            CHECK(each->replica->submit(text, patience).text() == std::to_string(++count) + " " + text);
        }
    }
    CHECK(group.settles(count));
}

TEST_CASE("replica: messages of one thread come in their order, and each has its reply, once") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Replica* const submitters[] = {group.leader().replica.get(), group.follower().replica.get()};
    constexpr int many = 2000;
    std::uint64_t count = 0;
    for (Replica* const replica : submitters) {
        Events<std::string> replies;
        for (int i = 0; i < many; ++i) {
            replica->submit(std::to_string(i), patience, [&](std::error_code error, const Message& reply) {
                replies.put(error ? error.message() : std::string(reply.text()));
            });
        }
        for (int i = 0; i < many; ++i) CHECK(replies.take() == std::to_string(++count) + " " + std::to_string(i));
    }
    CHECK(group.settles(count));
}

TEST_CASE("replica: what was submitted survives the restart of all") {
    Group group({"ann", "bob", "eve"});
    group.start();
    for (int i = 0; i < 20; ++i) group.leader().replica->submit(std::to_string(i), patience);
    CHECK(group.settles(20));
    const std::uint64_t hash = group[0].service->hash();
    for (const auto& each : group.members) each->stop();
    group.start();
    CHECK(group.settles(20));
    CHECK(group[1].service->hash() == hash);
    CHECK(group.follower().replica->submit("more", patience).text() == "21 more");
}

TEST_CASE("replica: without the other voters there is no group, and the status and a submit say so") {
    Group group({"ann", "bob", "eve"});
    Voter& ann = group[0];
    ann.start({});
    std::error_code error;
    ann.replica->submit("early", 100ms, error);
    CHECK(error == errc::no_leader);
    const ReplicaStatus status = ann.replica->status();
    CHECK_FALSE(status.founded);
    CHECK(status.error == errc::not_founded);
    CHECK(status.why.find("bob, eve") != std::string::npos);
    CHECK_FALSE(ann.replica->wait_for_leader(1ms));
    CHECK(ann.lines.wait_for("replica_waits why="));
}

TEST_CASE("replica: when nobody leads for long, the log says why, and then who leads again") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& left = group.follower();
    for (const auto& each : group.members) {
        if (each.get() != &left) each->stop();
    }
    CHECK(left.lines.wait_for("replica_without_leader why=\"no majority of the voters is in view"));
    for (const auto& each : group.members) {
        if (each.get() != &left) each->start(group.seeds());
    }
    CHECK(left.lines.wait_for(" term="));
}

TEST_CASE("replica: voters with different lists found no group, and say whose list differs") {
    Group group({"ann", "bob"});
    group[1].options.voters = {"ann", "bob", "eve"};
    group.start();
    CHECK(group[0].lines.wait_for("replica_waits why=\"these voters were started with other lists of voters: bob"));
    CHECK(group[0].replica->status().error == errc::voters_differ);
    CHECK(group[1].lines.wait_for("replica_waits why=\"these voters were started with other lists of voters: ann"));
}

TEST_CASE("replica: a leader hands over to whom it is told, and submits meanwhile are not lost") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& first = group.leader();
    Voter& other = group.follower();
    std::error_code error;
    other.replica->transfer(first.name, error);
    CHECK(error == errc::not_leader);
    first.replica->transfer("nobody", error);
    CHECK(error == errc::unknown_voter);
    first.replica->transfer(first.name, error);
    CHECK(error == errc::unknown_voter);
    std::promise<void> enough;
    std::jthread load([&](const std::stop_token& end) {
        int sent = 0;
        while (!end.stop_requested()) {
            first.replica->submit("x" + std::to_string(sent), patience);
            if (++sent == 10) enough.set_value();
        }
    });
    enough.get_future().wait();
    first.replica->transfer(other.name);
    CHECK(first.replica->status().leader == other.name);
    CHECK(group.leader().name == other.name);
    other.replica->transfer();
    CHECK(group.leader().name != other.name);
    load.request_stop();
    load.join();
    CHECK(group.settles(first.service->count()));
    group[0].replica->close();
    for (const auto& [name, times] : group[0].service->names()) CHECK(times == 1);
}

TEST_CASE("replica: a leader that closes hands over first") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.election_timeout = 30s;
    group.start();
    Voter& first = group.leader();
    first.replica->submit("one", patience);
    first.replica->close();
    CHECK(first.replica->status().stopped);
    CHECK(first.replica->status().error == errc::closed);
    CHECK(first.service->ended == 1);
    first.stop();
    CHECK(group.leader().name != first.name);
    CHECK(group.follower().replica->submit("two", patience).text() == "2 two");
}

TEST_CASE("replica: when the leader's node is gone, another one leads long before the time-out") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.election_timeout = 60s;
    for (const auto& each : group.members) each->options.heartbeat = 10s;
    group.start();
    Voter& first = group.leader();
    first.replica->submit("one", patience);
    first.node->close();  // its replica is not asked
    first.replica->wait_until_stopped();
    CHECK(first.service->ended == 1);
    CHECK(first.replica->status().error == errc::closed);
    first.replica.reset();
    CHECK(group.leader().name != first.name);
    CHECK(group.follower().replica->submit("two", patience).text() == "2 two");
}

TEST_CASE("replica: snapshots are taken by themselves, and a restart begins with the newest") {
    Group group({"ann"});
    group[0].options.snapshot_every = std::size_t{64} << 10;
    group.start();
    Voter& ann = group[0];
    const std::string much(1000, 'x');
    for (int i = 0; i < 300; ++i) ann.replica->submit(std::to_string(i % 10) + much, patience);
    CHECK(ann.service->saved >= 3);
    CHECK(ann.replica->status().snapshot > 100);
    const std::uint64_t hash = ann.service->hash();
    ann.stop();
    ann.start({});
    CHECK(group.settles(300));
    CHECK(ann.service->hash() == hash);
    CHECK(ann.service->loaded == 1);
}

TEST_CASE("replica: a snapshot is taken on demand, once for each place") {
    Group group({"ann"});
    group.start();
    Voter& ann = group[0];
    for (int i = 0; i < 5; ++i) ann.replica->submit(std::to_string(i), patience);
    const std::uint64_t at = ann.replica->snapshot();
    CHECK(at == ann.replica->status().applied);
    CHECK(ann.replica->status().snapshot == at);
    CHECK(ann.replica->snapshot() == at);
    CHECK(ann.service->saved == 1);
}

TEST_CASE("replica: who is a little behind at the first snapshot gets the rest of the log, and no snapshot") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& late = group.follower();
    late.stop();
    Voter& leads = group.leader();
    for (int i = 0; i < 10; ++i) leads.replica->submit(std::to_string(i), patience);
    CHECK(leads.replica->snapshot() != 0);
    late.start(group.seeds());
    CHECK(group.settles(10));
    CHECK(late.service->loaded == 0);
    leads.stop();
    leads.start(group.seeds());
    CHECK(group.settles(10));
    CHECK(leads.service->loaded == 1);
}

TEST_CASE("replica: who is far behind gets a snapshot, in pieces, and then the rest") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.snapshot_every = std::size_t{256} << 10;
    group.start();
    Voter& late = group.follower();
    late.stop();
    Voter& leads = group.leader();
    const std::string much(10000, 'x');
    std::uint64_t count = 0;
    for (; count < 200; ++count) leads.replica->submit(std::to_string(count) + much, patience);
    CHECK(leads.service->saved >= 4);
    late.start(group.seeds());
    CHECK(group.settles(count));
    CHECK(late.service->loaded == 1);
    CHECK(late.replica->submit("more", patience).text() == "201 more");
    late.stop();
    late.start(group.seeds());
    CHECK(group.settles(count + 1));
}

namespace {

/// Is written from a copy, as soon as it is told to.
class Frozen : public Ledger {
public:
    std::function<void(SnapshotWriter&)> freeze() const override {
        return [this, count = count()](SnapshotWriter& out) {
            frozen.put(count);
            go.take();
            out.write(count);
        };
    }
    void load(SnapshotReader& in) override { in.read(restored); }
    mutable Events<std::uint64_t> frozen;
    mutable Events<int> go;
    std::uint64_t restored = 0;
};

/// Has no snapshots.
class Plain final : public Service {
public:
    void on_message(Context&, std::span<const std::byte>) override {}
};

/// Calls what it must not.
class Waiting final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte>) override {
        std::error_code error;
        replica->submit("again", 1s, error);
        const bool submits = error != errc::would_block;
        replica->transfer({}, error);
        const bool transfers = error != errc::would_block;
        replica->snapshot(error);
        const bool takes = error != errc::would_block;
        replica->read("what", 1s, error);
        const bool reads = error != errc::would_block;
        context.reply(submits || transfers || takes || reads ? "waits" : "would block");
    }
    Replica* replica = nullptr;
};

}  // namespace

TEST_CASE("replica: a frozen state is written while messages go on") {
    Lone<Frozen> lone;
    Replica& replica = lone.start();
    replica.submit("one", patience);
    auto taken = std::async(std::launch::async, [&] { return replica.snapshot(); });
    CHECK(lone.service.frozen.take() == 1);
    CHECK(replica.submit("two", patience).text() == "2 two");
    CHECK(replica.status().snapshot == 0);
    lone.service.go.put(1);
    CHECK(taken.get() < replica.status().applied);
    replica.close();
    Frozen again;
    Replica second(*lone.node, again, lone.options);
    REQUIRE(second.wait_for_leader(patience));
    CHECK(second.submit("three", patience).text() == "2 three");
    CHECK(again.restored == 1);
}

TEST_CASE("replica: a service without snapshots says so, and goes on") {
    Lone<Plain> lone;
    lone.options.snapshot_every = std::size_t{64} << 10;
    Replica& replica = lone.start();
    replica.submit(std::string(100000, 'x'), patience);
    CHECK(lone.lines.wait_for("replica_snapshot_failed"));
    std::error_code error;
    replica.snapshot(error);
    CHECK(error == errc::unsupported);
    replica.submit(std::string(100000, 'x'), patience);
    CHECK_FALSE(replica.status().error);
}

TEST_CASE("replica: a service that throws stops its replica, which says why, and a restart meets the same message") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    replica.submit("one", patience);
    std::error_code error;
    replica.submit("throw", patience, error);
    CHECK(error == errc::replica_stopped);
    replica.wait_until_stopped();
    CHECK(replica.status().stopped);
    CHECK(replica.status().error == errc::service_failed);
    CHECK(replica.status().why.find("the ledger refuses") != std::string::npos);
    CHECK(lone.service.ended == 1);
    CHECK(lone.lines.wait_for("replica_stopped why="));
    replica.submit("two", patience, error);
    CHECK(error == errc::replica_stopped);
    replica.snapshot(error);
    CHECK(error == errc::replica_stopped);
    lone.replica.reset();
    Ledger again;
    Replica second(*lone.node, again, lone.options);
    second.wait_until_stopped();
    CHECK(second.status().error == errc::service_failed);
}

TEST_CASE("replica: inside of a service, calls that would wait fail") {
    Lone<Waiting> lone;
    lone.service.replica = nullptr;
    lone.replica = std::make_unique<Replica>(*lone.node, lone.service, lone.options);
    lone.service.replica = lone.replica.get();
    CHECK(lone.replica->submit("go", patience).text() == "would block");
}

TEST_CASE("replica: on an I/O thread, calls that would wait fail, and closing only begins") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    Node other(support::quick());
    Events<std::error_code> errors;
    other.add(lone.node->address());
    lone.node->on_message([&](const Message&) {
        std::error_code error;
        replica.submit("x", patience, error);
        errors.put(error);
        replica.read("x", patience, error);
        errors.put(error);
        replica.close();
    });
    other.send(lone.node->id(), "go");
    CHECK(errors.take() == errc::would_block);
    CHECK(errors.take() == errc::would_block);
    replica.wait_until_stopped();
    CHECK(replica.status().error == errc::closed);
}

TEST_CASE("replica: too long messages are refused, and the longest one is not") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& follower = group.follower();
    const std::string longest(follower.options.max_message, 'x');
    std::error_code error;
    follower.replica->submit(longest + 'x', patience, error);
    CHECK(error == errc::message_too_large);
    CHECK((follower.replica->submit(longest, patience).text() == "1 " + longest));
    CHECK((group.leader().replica->submit(longest, patience).text() == "2 " + longest));
}

TEST_CASE("replica: a node that closes ends its replica, and all that waits there") {
    Group group({"ann", "bob"});
    Voter& ann = group[0];
    ann.start({});
    auto waits = std::async(std::launch::async, [&] { return ann.replica->wait_for_leader(patience); });
    auto stops = std::async(std::launch::async, [&] { ann.replica->wait_until_stopped(); });
    std::promise<std::error_code> failed;
    ann.replica->submit("x", patience, [&](std::error_code error, const Message&) { failed.set_value(error); });
    ann.node->close();
    CHECK_FALSE(waits.get());
    stops.get();
    CHECK(failed.get_future().get() == errc::closed);
    CHECK(ann.service->ended == 1);
    Ledger late;
    CHECK(refusal(*ann.node, late, ann.options) == errc::directory_in_use);
    ann.replica.reset();
    CHECK(refusal(*ann.node, late, ann.options) == errc::closed);
}

TEST_CASE("replica: its status is told at once, and when it changes") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->start({});
    Events<ReplicaStatus> told;
    const Subscription subscription = group[0].replica->on_status([&](const auto& status) { told.put(status); });
    const auto first = told.take();
    REQUIRE(first);
    CHECK_FALSE(first->founded);
    group[1].node->add(group[0].address);
    group[2].node->add(group[0].address);
    for (;;) {
        const auto next = told.take();
        REQUIRE(next);
        if (!next->leader.empty()) break;
    }
    group.leader();
    const ReplicaStatus status = group.leader().replica->status();
    REQUIRE(status.voters.size() == 3);
    for (const auto& each : status.voters) CHECK(each.in_view);
}

TEST_CASE("replica: who has lost its directory does not vote and says so, while the others go on") {
    Group group({"ann", "bob", "eve"});
    group.start();
    group.leader().replica->submit("one", patience);
    Voter& lost = group.follower();
    lost.stop();
    std::filesystem::remove_all(lost.options.directory);
    lost.start(group.seeds());
    CHECK(lost.lines.wait_for("replica_waits why=\"the group exists, and this directory does not belong to it"));
    const ReplicaStatus status = lost.replica->status();
    CHECK(status.error == errc::not_a_member);
    CHECK_FALSE(status.founded);
    std::error_code error;
    lost.replica->submit("x", 10ms, error);
    CHECK(error == errc::no_leader);
    const auto other = std::find_if(group.members.begin(), group.members.end(),
                                    [&](const auto& each) { return each->name != lost.name; });
    CHECK((*other)->replica->submit("two", patience).text() == "2 two");
    CHECK(lost.service->count() == 0);
}

TEST_CASE("replica: groups of different names on the same nodes have nothing to do with each other") {
    Group first({"ann", "bob", "eve"});
    first.start();
    std::vector<std::unique_ptr<Ledger>> services;
    std::vector<std::unique_ptr<Replica>> replicas;
    for (const auto& each : first.members) {
        ReplicaOptions options = each->options;
        options.group = "audit";
        options.directory += "-audit";
        services.push_back(std::make_unique<Ledger>());
        replicas.push_back(std::make_unique<Replica>(*each->node, *services.back(), options));
    }
    for (const auto& each : replicas) REQUIRE(each->wait_for_leader(patience));
    CHECK(replicas[1]->submit("audit", patience).text() == "1 audit");
    CHECK(first[0].replica->submit("one", patience).text() == "1 one");
    CHECK(first.settles(1));
}

TEST_CASE("replica: only the appointed leader stands for election") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.appointed_leader = "eve";
    group.start();
    CHECK(group.leader().name == "eve");
    group[2].replica->transfer("ann");
    CHECK(group.leader().name == "ann");
}

TEST_CASE("replica: two voters work while both live") {
    Group group({"ann", "bob"});
    group.start();
    CHECK(group.follower().replica->submit("one", patience).text() == "1 one");
    Voter& other = group.follower();
    other.stop();
    std::error_code error;
    group[other.name == "ann" ? 1 : 0].replica->submit("two", 50ms, error);
    CHECK((error == errc::timed_out || error == errc::no_leader));
    other.start(group.seeds());
    CHECK(group.leader().replica->submit("three", patience).text().ends_with(" three"));
}

TEST_CASE("replica: a snapshot that waits for another one ends when its replica is closed") {
    Lone<Frozen> lone;
    Replica& replica = lone.start();
    replica.submit("one", patience);
    auto first = std::async(std::launch::async, [&] { return replica.snapshot(); });
    lone.service.frozen.take();
    replica.submit("two", patience);
    auto second = std::async(std::launch::async, [&] {
        std::error_code error;
        replica.snapshot(error);
        return error;
    });
    replica.submit("three", patience);
    auto closes = std::async(std::launch::async, [&] { replica.close(); });
    replica.wait_until_stopped();
    lone.service.go.put(1);
    closes.get();
    first.get();
    CHECK(second.get() == errc::replica_stopped);
}

TEST_CASE("replica: who closes waits for all handlers, whoever else closes") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    Events<int> closing;
    Events<int> go;
    const Subscription subscription = replica.on_status([&](const ReplicaStatus& status) {
        if (!status.stopped) return;
        closing.put(1);
        go.take();
        replica.close();
    });
    auto closes = std::async(std::launch::async, [&] { replica.close(); });
    closing.take();
    // It is refused, and its handler waits for the callback thread.
    bool called = false;
    replica.submit("late", patience, [&](std::error_code error, const Message&) {
        CHECK((error == errc::closed || error == errc::replica_stopped));
        called = true;
    });
    go.put(1);
    closes.get();
    CHECK(called);
}

TEST_CASE("replica: a service that throws what is no exception stops its replica, wherever it does") {
    struct Odd final : Service {
        void on_message(Context&, std::span<const std::byte>) override { ++messages; }
        void on_start() override {
            if (where == "start") throw 1;
        }
        void on_stop() override {
            if (where == "stop") throw 1;
        }
        std::function<void(SnapshotWriter&)> freeze() const override { throw 1; }
        std::string where;
        std::atomic<int> messages{0};
    };
    Lone<Odd> lone;
    lone.service.where = "stop";
    Replica& first = lone.start();
    first.submit("one", patience);
    std::error_code error;
    first.snapshot(error);
    CHECK(error == errc::service_failed);
    first.close();
    CHECK(lone.lines.wait_for("replica_service_threw in=on_stop"));
    lone.service.where = "start";
    lone.service.messages = 0;
    lone.replica = std::make_unique<Replica>(*lone.node, lone.service, lone.options);
    lone.replica->wait_until_stopped();
    CHECK(lone.replica->status().error == errc::service_failed);
    CHECK(lone.service.messages == 0);
}

TEST_CASE("replica: a closed directory is free, even if a child of this process lives on") {
    Lone<Ledger> lone;
    lone.start().submit("one", patience);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        char end = 0;
        ::close(ends[1]);
        ::_exit(::read(ends[0], &end, 1) == 0 ? 0 : 1);
    }
    lone.replica->close();
    Ledger again;
    CHECK_FALSE(refusal(*lone.node, again, lone.options));
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(::waitpid(child, nullptr, 0) == child);
}

TEST_CASE("replica: messages that wait hold no more memory than is said") {
    Group group({"ann", "bob"});
    group[0].options.max_uncommitted = std::size_t{1} << 20;
    group[0].start({});
    Replica& replica = *group[0].replica;
    const std::string half(std::size_t{1} << 19, 'x');
    Events<std::error_code> errors;
    for (int i = 0; i < 8; ++i) {
        replica.submit(half, patience, [&](std::error_code error, const Message&) { errors.put(error); });
    }
    CHECK(errors.take() == errc::too_many_requests);
    replica.close();
    for (int i = 0; i < 7; ++i) CHECK(errors.take() == errc::closed);
}

TEST_CASE("replica: when it is destroyed, none of its callbacks is under way") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    Events<int> begun;
    Events<int> go;
    std::atomic<bool> inside{false};
    const Subscription subscription = replica.on_status([&](const ReplicaStatus&) {
        inside = true;
        begun.put(1);
        go.take();
        inside = false;
    });
    begun.take();
    replica.close();
    auto destroyed = std::async(std::launch::async, [&] {
        lone.replica.reset();
        return inside.load();
    });
    CHECK(destroyed.wait_for(10ms) == std::future_status::timeout);
    go.put(1);
    go.put(1);
    CHECK_FALSE(destroyed.get());
}

TEST_CASE("replica: a snapshot that shows damage when it is sent is written anew") {
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.snapshot_every = std::size_t{256} << 10;
    group.start();
    Voter& late = group.follower();
    late.stop();
    Voter& leads = group.leader();
    const std::string much(10000, 'x');
    std::uint64_t count = 0;
    for (; count < 100; ++count) leads.replica->submit(std::to_string(count) + much, patience);
    for (const auto& each : group.members) {
        if (!each->replica) continue;
        for (const auto& file : std::filesystem::directory_iterator(each->options.directory + "/snapshots")) {
            std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
            bytes.seekp(200);
            bytes.put('?').put('?').put('?');
        }
    }
    late.start(group.seeds());
    CHECK(group.settles(count));
    CHECK(late.service->loaded == 1);
}
