#include "net/system.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace cluster::net;

TEST_CASE("system: random bytes come only once, however many are asked for") {
    std::set<std::array<std::uint8_t, 16>> seen;
    for (int i = 0; i < 100; ++i) {
        std::array<std::uint8_t, 16> nonce{};
        fill_random(nonce);
        CHECK(seen.insert(nonce).second);
    }
    std::vector<std::uint8_t> many(1000);
    fill_random(many);
    CHECK(std::count(many.begin(), many.end(), 0) < 50);
}

TEST_CASE("system: a child has other random bytes than its parent") {
    std::array<std::uint8_t, 16> ours{};
    std::array<std::uint8_t, 16> theirs{};
    fill_random(ours);  // some are left in stock
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        fill_random(theirs);
        ::_exit(::write(ends[1], theirs.data(), theirs.size()) == 16 ? 0 : 1);
    }
    REQUIRE(child > 0);
    ::close(ends[1]);
    REQUIRE(::read(ends[0], theirs.data(), theirs.size()) == 16);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    ::close(ends[0]);
    fill_random(ours);
    CHECK(ours != theirs);
}
