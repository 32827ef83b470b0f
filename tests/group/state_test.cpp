#include "group/state.hpp"

#include "group/memory_streams.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::group_state_test {

using namespace std::chrono_literals;
using namespace cluster::group;
using cluster::Bytes;
using cluster::support::MemoryReader;
using cluster::support::MemoryWriter;

namespace {

std::vector<std::byte> saved(const State& state) {
    MemoryWriter out;
    state.save(out);
    return out.out;
}

/// With something of everything.
State full() {
    State state;
    for (std::uint64_t i = 1; i <= 2; ++i) {
        OpenSession open;
        open.key = {static_cast<std::uint8_t>(i)};
        open.timeout_ms = 1000 * i;
        open.most = 10;
        open.name = "ann";
        open.principal = std::string(i, 'p');
        Session* const session = state.sessions.open(i, open, 5s);
        session->applied = 3;
        session->reply(2, 7, Bytes(std::string_view("two")));
        session->reply(3, 8, {});
        session->push(9, Bytes(std::string_view("pushed")));
    }
    CHECK(state.timers.schedule(0, 7, 10s));
    CHECK(state.timers.schedule(1, 7, -1s));
    CHECK(state.letters.add({0, 1, Bytes(std::string_view("letter"))}));
    CHECK(state.letters.add({1, 0, {}}));
    return state;
}

}  // namespace

TEST_CASE("group state: what was saved is loaded in place of what was there, and goes on alike") {
    State state = full();
    State loaded = full();
    CHECK(loaded.timers.schedule(2, 2, 2s));
    const std::vector<std::byte> bytes = saved(state);
    MemoryReader in(bytes);
    loaded.load(in);
    CHECK(in.at_end());
    CHECK((saved(loaded) == bytes));
    for (State* each : {&state, &loaded}) {
        Session* const session = each->sessions.find(1);
        REQUIRE(session != nullptr);
        CHECK(session->bytes == 9);
        session->received({2, 0});
        CHECK(session->push(10, Bytes(std::string_view("next"))).number == 2);
        CHECK((each->timers.take(1s) == Timers::Due{1, 7, -1s}));
        CHECK((each->letters.take() == Letter{0, 1, Bytes(std::string_view("letter"))}));
        CHECK(each->sessions.find(SessionKey{2}) == each->sessions.find(2));
    }
    CHECK((saved(loaded) == saved(state)));
}

TEST_CASE("group state: a snapshot that ends too soon, or claims too long a message, is refused") {
    const std::vector<std::byte> bytes = saved(full());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CAPTURE(size);
        MemoryReader in{std::span<const std::byte>(bytes).first(size)};
        State state;
        CHECK_THROWS_AS(state.load(in), std::system_error);
    }
    MemoryWriter out;
    out.write(std::uint64_t{0});  // sessions
    out.write(std::uint64_t{0});  // timers
    out.write(std::uint64_t{1});
    out.write(std::uint32_t{0});
    out.write(std::uint32_t{0});
    out.write(static_cast<std::uint32_t>(Letters::most_bytes + 1));
    MemoryReader in(out.out);
    State state;
    CHECK_THROWS_AS(state.load(in), std::system_error);
}

TEST_CASE("group state: letters have a number and bytes that they may have, and taking one makes room") {
    Letters letters;
    const Bytes part(std::string(Letters::most_bytes / 64, 'x'));
    for (int i = 0; i < 64; ++i) CHECK(letters.add({0, 0, part}));
    CHECK_FALSE(letters.add({0, 0, Bytes(std::string_view("x"))}));
    CHECK(letters.add({0, 0, {}}));
    CHECK(letters.take());
    CHECK(letters.add({0, 0, part}));
    CHECK_FALSE(letters.add({0, 0, part}));
    Letters many;
    for (std::size_t i = 0; i < Letters::most; ++i) REQUIRE(many.add({}));
    CHECK_FALSE(many.add({}));
    CHECK(many.take());
    CHECK(many.add({}));
}

}  // namespace cluster::group_state_test
