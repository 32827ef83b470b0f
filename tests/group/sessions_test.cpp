#include "group/sessions.hpp"

#include <doctest/doctest.h>

#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace cluster::group_sessions_test {

using namespace cluster::group;
using cluster::Bytes;

namespace {

OpenSession opening(std::uint64_t number) {
    OpenSession open;
    for (std::size_t i = 0; i < 8; ++i) open.key[i] = static_cast<std::uint8_t>(number >> (8 * i));
    open.most = 10'000;
    open.name = std::string(64, 'n');
    open.principal = std::string(64, 'p');
    return open;
}

}  // namespace

TEST_CASE("group sessions: ten thousand that are idle take less than 2 KiB each, and there is no room for another") {
    Sessions sessions;
    const std::size_t before = ::mallinfo2().uordblks;
    for (std::uint64_t i = 1; i <= 10'000; ++i) REQUIRE(sessions.open(i, opening(i), {}) != nullptr);
    CHECK((::mallinfo2().uordblks - before) / 10'000 < 2048);
    CHECK(sessions.open(10'001, opening(10'001), {}) == nullptr);
    CHECK(sessions.size() == 10'000);
    sessions.close(*sessions.find(5));
    CHECK(sessions.open(10'002, opening(10'001), {}) != nullptr);
}

TEST_CASE("group sessions: a client may leave so many messages and bytes untaken, and one more is too many") {
    Session many;
    for (std::size_t i = 0; i < Session::most_pushes; ++i) many.push(1, {});
    CHECK_FALSE(many.is_slow());
    many.push(1, {});
    CHECK(many.is_slow());
    many.received({0, 1});
    CHECK_FALSE(many.is_slow());

    Session much;
    const Bytes half(std::string(Session::most_bytes / 2, 'x'));
    much.push(1, half);
    much.reply(1, 1, half);
    CHECK_FALSE(much.is_slow());
    much.push(1, Bytes(std::string(1, 'x')));
    CHECK(much.is_slow());
    much.received({1, 0});
    CHECK_FALSE(much.is_slow());
    CHECK(much.pushes.size() == 2);

    Session asking;
    for (std::uint64_t i = 1; i <= Session::most_outstanding; ++i) asking.reply(i, 1, {});
    CHECK_FALSE(asking.is_slow());
    asking.reply(Session::most_outstanding + 1, 1, {});
    CHECK(asking.is_slow());
}

}  // namespace cluster::group_sessions_test
