#include "consensus/shares.hpp"
#include "consensus/ids.hpp"

#include <doctest/doctest.h>

#include <chrono>

using namespace cluster;
using namespace cluster::consensus;
using support::disk;
using namespace std::chrono_literals;

namespace {

/// Takes as much as it may, in pieces of that size, and returns how much that is.
std::size_t take_all(Shares& shares, const DiskId& who, std::size_t piece, Index& last, Time now) {
    std::size_t taken = 0;
    for (; shares.room(who, now) >= piece; taken += piece) shares.took(who, ++last, piece);
    return taken;
}

}  // namespace

TEST_CASE("shares: one that asks alone may have everything, and each entry that is committed makes room") {
    Shares shares(1000);
    Index last = 0;
    CHECK(take_all(shares, disk('a'), 100, last, 1s) == 1000);
    shares.committed(3);
    CHECK(take_all(shares, disk('a'), 100, last, 1s) == 300);
    shares.committed(last);
    CHECK(shares.room(disk('a'), 1s) > 5000);
}

TEST_CASE("shares: whoever asks while another one has everything gets its part, and only that") {
    Shares shares(1000);
    Index last = 0;
    take_all(shares, disk('a'), 100, last, 1s);
    CHECK(shares.room(disk('b'), 1s) == 0);
    // What becomes free is not taken back by the one who was first.
    shares.committed(4);
    CHECK(take_all(shares, disk('a'), 100, last, 1s) == 0);
    CHECK(take_all(shares, disk('b'), 100, last, 1s) == 400);
    shares.committed(10);
    CHECK(take_all(shares, disk('a'), 100, last, 1s) == 500);
    CHECK(take_all(shares, disk('b'), 100, last, 1s) == 100);
    CHECK(take_all(shares, disk('c'), 100, last, 1s) == 0);
    shares.committed(last);
    for (const char name : {'a', 'b', 'c'}) CHECK(take_all(shares, disk(name), 100, last, 1s) == 300);
}

TEST_CASE("shares: nothing is kept for whoever has not asked for a while") {
    Shares shares(1000);
    Index last = 0;
    take_all(shares, disk('a'), 100, last, 1s);
    CHECK(shares.room(disk('b'), 1s) == 0);
    shares.committed(last);
    CHECK(take_all(shares, disk('a'), 100, last, 1500ms) == 500);
    CHECK(take_all(shares, disk('a'), 100, last, 2s) == 500);
    shares.clear();
    CHECK(take_all(shares, disk('a'), 100, last, 2s) == 1000);
}
