#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>

namespace cluster::catching_up_test {

// Replicas that are behind the others, on real nodes and disks.

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

TEST_CASE("replica: one that was away for several terms comes to the same state, with and without a snapshot") {
    for (const bool snapshots : {false, true}) {
        Group group({"ann", "bob", "eve"});
        group.start();
        Voter& away = group.follower();
        away.stop();
        std::uint64_t count = 0;
        for (int term = 0; term < 3; ++term) {
            Voter& leader = group.leader();
            for (int i = 0; i < 20; ++i, ++count) leader.replica->submit(std::to_string(count), patience);
            REQUIRE(group.settles(count));
            for (const auto& each : group.members) {
                if (snapshots && each->replica) each->replica->snapshot();
            }
            leader.replica->transfer();
        }
        away.start(group.seeds());
        CHECK(group.settles(count));
        CHECK(away.service->loaded == (snapshots ? 1 : 0));
        const std::string next = std::to_string(count + 1) + " more";
        CHECK(away.replica->submit("more", patience).text() == next);
    }
}

TEST_CASE("replica: one whose service hangs holds up nobody, and has everything when that goes on") {
    support::Events<std::error_code> answered;
    Group group({"ann", "bob", "eve"});
    for (const auto& each : group.members) each->options.election_timeout = 30s;
    group.start();
    Voter& slow = group.follower();
    Voter& leader = group.leader();
    const std::uint64_t term = leader.replica->status().term;
    slow.service->hangs = true;
    slow.replica->read("hang", patience, [&](std::error_code error, const Message&) { answered.put(error); },
                       {Consistency::stale, 0});
    while (slow.service->hanging == 0) std::this_thread::yield();
    std::error_code failed;
    for (int i = 0; i < 500; ++i) {
        std::error_code error;
        leader.replica->submit(std::to_string(i), patience, error);
        if (error) failed = error;
    }
    CHECK_FALSE(failed);
    CHECK(slow.service->count() == 0);
    slow.service->hangs = false;
    CHECK(answered.take() == std::error_code());
    CHECK(group.settles(500));
    CHECK(leader.replica->status().term == term);
}

TEST_CASE("replica: one that was away joins again while long messages go on") {
    support::Events<int> enough;
    std::atomic<bool> failed{false};
    std::atomic<std::uint64_t> sent{0};
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& away = group.follower();
    away.stop();
    Voter& leader = group.leader();
    std::jthread load([&](const std::stop_token& end) {
        const std::string half(std::size_t{512} << 10, 'x');
        while (!end.stop_requested()) {
            std::error_code error;
            leader.replica->submit(half, patience, error);
            if (error) failed = true;
            if (++sent == 20) enough.put(1);
        }
    });
    CHECK(enough.take());
    away.start(group.seeds());
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (away.service->count() < 40 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    CHECK(away.service->count() >= 40);
    load.request_stop();
    load.join();
    CHECK_FALSE(failed);
    CHECK(group.settles(sent));
}

TEST_CASE("replica: five go on without two, the leader among them, and those come back at the same time") {
    Group group({"ann", "bob", "eve", "joe", "sue"});
    group.start();
    Voter& first = group.leader();
    Voter& other = group.follower();
    CHECK(first.replica->submit("one", patience).text() == "1 one");
    first.node->close();  // its replica is not asked
    first.stop();
    other.stop();
    CHECK(group.leader().replica->submit("two", patience).text() == "2 two");
    first.start(group.seeds());
    other.start(group.seeds());
    CHECK(group.settles(2));
    CHECK(other.replica->submit("three", patience).text() == "3 three");
    CHECK(group.settles(3));
}

}  // namespace cluster::catching_up_test
