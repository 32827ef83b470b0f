#include "core/calls.hpp"

#include "core/ids.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;
using namespace cluster::core::test::people;
using namespace std::chrono_literals;

namespace {

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("calls: each ends once, by the reply of the peer that was asked") {
    Calls<std::string> calls;
    const std::uint64_t first = calls.begin(bob, 10s, "first");
    const std::uint64_t second = calls.begin(bob, 5s, "second");
    CHECK(first != 0);
    CHECK(second != first);
    CHECK(calls.size() == 2);
    CHECK_FALSE(calls.answered(first, eve));
    CHECK_FALSE(calls.answered(second + 1, bob));
    CHECK_FALSE(calls.answered(0, bob));
    CHECK(calls.answered(first, bob) == "first");
    CHECK_FALSE(calls.answered(first, bob));
    CHECK_FALSE(calls.end(first));
    CHECK(calls.end(second) == "second");
    CHECK(calls.size() == 0);
    CHECK(calls.begin(bob, 1s, "third") > second);
}

TEST_CASE("calls: those whose time is over end in the order of their deadlines") {
    Calls<std::string> calls;
    CHECK(calls.deadline() == never);
    calls.begin(bob, 30s, "c");
    calls.begin(eve, 10s, "a");
    const std::uint64_t answered = calls.begin(bob, 5s, "answered");
    calls.begin(bob, never, "d");
    calls.begin(bob, 20s, "b");
    CHECK(calls.deadline() == 5s);
    calls.answered(answered, bob);
    CHECK(calls.deadline() == 10s);
    CHECK(calls.expire(10s - 1ns).empty());
    CHECK(calls.expire(20s) == Names{"a", "b"});
    CHECK(calls.expire(20s).empty());
    CHECK(calls.deadline() == 30s);
    CHECK(calls.end_all() == Names{"c", "d"});
    CHECK(calls.deadline() == never);
}

TEST_CASE("calls: with a peer that goes, those to it end, in the order in which they were begun") {
    Calls<std::string> calls;
    for (const char* name : {"1", "2", "3", "4"}) {
        calls.begin(bob, 10s, name);
        calls.begin(eve, 1s, name);
    }
    CHECK(calls.end_all(bob) == Names{"1", "2", "3", "4"});
    CHECK(calls.end_all(bob).empty());
    CHECK(calls.size() == 4);
    CHECK(calls.deadline() == 1s);
}

TEST_CASE("calls: at most so many wait") {
    Calls<int> calls;
    for (std::size_t i = 0; i < Calls<int>::most; ++i) REQUIRE(calls.begin(bob, 10s, 1) == i + 1);
    CHECK(calls.begin(bob, 10s, 2) == 0);
    CHECK(calls.size() == Calls<int>::most);
    CHECK(calls.answered(7, bob) == 1);
    CHECK(calls.begin(bob, 10s, 2) == Calls<int>::most + 1);
}
