#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <system_error>
#include <thread>

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

// Replicas that do nothing any more while their nodes live on. No test here may wait for an election time-out: it is
// longer than the patience of all of them.

namespace {

struct PatientGroup : Group {
    PatientGroup() : Group({"ann", "bob", "eve"}) {
        for (const auto& each : members) each->options.election_timeout = 10 * patience;
        start();
    }
};

/// Whether `one` comes to know that no replica runs at `other`.
bool misses(const Voter& one, const Voter& other) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
        for (const auto& each : one.replica->status().voters) {
            if (each.name == other.name && !each.in_view) return true;
        }
        std::this_thread::yield();
    }
    return false;
}

/// The one that leads beside `former`, as soon as it knows it.
Voter& next_leader(Group& group, const Voter& former) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
        for (const auto& each : group.members) {
            if (each.get() != &former && each->replica && each->replica->status().role == Role::leader) return *each;
        }
        std::this_thread::yield();
    }
    FAIL("nobody has taken its place");
    return *group.members.front();
}

}  // namespace

TEST_CASE("replica: a leader whose service throws is replaced without waiting for a time-out") {
    PatientGroup group;
    Voter& first = group.leader();
    first.replica->submit("one", patience);
    first.service->breaks = true;
    std::error_code error;
    first.replica->submit("two", patience, error);
    CHECK(error == errc::replica_stopped);
    Voter& next = next_leader(group, first);
    CHECK(next.replica->submit("three", patience).text() == "3 three");
    CHECK(misses(next, first));
}

TEST_CASE("replica: leadership is not handed over to a replica that is closed, and it is back when it is opened") {
    PatientGroup group;
    for (int round = 0; round < 4; ++round) {
        Voter& closed = group.follower();
        Voter& first = group.leader();
        closed.replica.reset();
        CHECK(misses(first, closed));
        first.replica->transfer();
        CHECK(next_leader(group, closed).name != first.name);
        closed.open();
        CHECK(group.leader().name != closed.name);
    }
}
