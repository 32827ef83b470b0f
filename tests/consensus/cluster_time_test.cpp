#include "consensus/cluster_time.hpp"

#include "consensus/ids.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <set>

using namespace cluster;
using namespace cluster::consensus;
using cluster::support::disk;
using namespace std::chrono_literals;

namespace {

const std::set<DiskId> voters{disk('a'), disk('b'), disk('c')};
constexpr Duration epoch = std::chrono::hours(480'000);

}  // namespace

TEST_CASE("cluster time: an empty log begins with the wall clock, any other with the time of its last entry") {
    ClusterTime first({100s, epoch}, Duration());
    CHECK(first.next(voters, 101s) == epoch + 1s);
    ClusterTime later({100s, epoch + 500ms}, epoch);
    CHECK(later.next(voters, 101s) == epoch + 1s);
}

TEST_CASE("cluster time: it goes with the steady clock, and at most 1 % faster or slower towards the voters' clocks") {
    ClusterTime time({100s, epoch}, epoch);
    time.sample(disk('a'), epoch + 500ms, 100s);
    time.sample(disk('b'), epoch + 500ms, 100s);
    Duration before = time.next(voters, 100s);
    CHECK(before == epoch);
    CHECK(time.next(voters, 110s) == epoch + 10s + 100ms);
    CHECK(time.next(voters, 160s) == epoch + 60s + 500ms);  // it has caught up
    CHECK(time.next(voters, 170s) == epoch + 70s + 500ms);
    time.sample(disk('a'), epoch + 70s, 170s);
    time.sample(disk('b'), epoch + 70s, 170s);
    CHECK(time.next(voters, 180s) == epoch + 80s + 400ms);
}

TEST_CASE("cluster time: one clock that is wrong or steps moves nothing, in either direction") {
    for (const Duration wrong : {Duration(-100h), Duration(100h)}) {
        ClusterTime time({100s, epoch}, epoch);
        time.sample(disk('a'), epoch, 100s);
        time.sample(disk('b'), epoch + wrong, 100s);
        time.sample(disk('c'), epoch, 100s);
        time.sample(disk('x'), epoch + 100h, 100s);  // no voter
        CHECK(time.next(voters, 200s) == epoch + 100s);
    }
    // Two of three are known: the one that is behind counts, so it takes two to be ahead.
    ClusterTime time({100s, epoch}, epoch);
    time.sample(disk('a'), epoch, 100s);
    time.sample(disk('b'), epoch + 100h, 100s);
    CHECK(time.next(voters, 200s) == epoch + 100s);
}

TEST_CASE("cluster time: when the whole group was off for long, it jumps once to the time of a majority") {
    ClusterTime time({100s, epoch}, epoch - 24h);
    time.sample(disk('a'), epoch, 100s);
    CHECK(time.next(voters, 100s) == epoch - 24h);  // one is no majority
    time.sample(disk('b'), epoch, 100s);
    CHECK(time.next(voters, 101s) == epoch + 1s);
    time.sample(disk('a'), epoch + 24h, 101s);
    time.sample(disk('b'), epoch + 24h, 101s);
    CHECK(time.next(voters, 102s) == epoch + 2s + 10ms);
}

TEST_CASE("cluster time: it never goes back, whatever the clocks say") {
    ClusterTime time({100s, epoch}, epoch);
    Duration last = time.next(voters, 100s);
    for (int i = 0; i < 1000; ++i) {
        const Duration step = std::chrono::milliseconds(i % 7);
        time.sample(disk('a'), epoch - 10h, 100s + i * step);
        time.sample(disk('b'), epoch - 10h, 100s + i * step);
        const Duration next = time.next(voters, 100s + i * step);
        REQUIRE(next >= last);
        last = next;
    }
}
