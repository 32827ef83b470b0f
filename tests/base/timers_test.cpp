#include "base/timers.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>

using namespace cluster;
using namespace std::chrono_literals;

namespace {

enum class Kind : std::uint8_t { first, second };
using Queue = Timers<Kind>;

}  // namespace

TEST_CASE("a key has one deadline, and setting it again replaces it") {
    Queue timers;
    timers.set({Kind::first, 1}, 10s);
    timers.set({Kind::first, 1}, 20s);
    CHECK(timers.next() == 20s);
    CHECK_FALSE(timers.pop(19s));
    CHECK(timers.pop(20s) == Queue::Key{Kind::first, 1});
    CHECK(timers.next() == never);
}

TEST_CASE("deadlines are put off, and never brought forward") {
    Queue timers;
    timers.set({Kind::first, 1}, 10s);
    timers.set({Kind::first, 2}, 11s);
    timers.set({Kind::second, 1}, 12s);
    timers.postpone([](const Queue::Key& key, Time at) { return key.kind == Kind::second ? at - 5s : at + 3s; });
    CHECK(timers.pop(12s) == Queue::Key{Kind::second, 1});
    CHECK_FALSE(timers.pop(12s));
    CHECK(timers.pop(14s) == Queue::Key{Kind::first, 1});
    CHECK(timers.pop(14s) == Queue::Key{Kind::first, 2});
}

TEST_CASE("a deadline that was replaced by an earlier one fires once") {
    Queue timers;
    timers.set({Kind::first, 1}, 20s);
    timers.set({Kind::first, 1}, 10s);
    CHECK(timers.pop(10s));
    CHECK_FALSE(timers.pop(30s));
}

TEST_CASE("the earlier of two deadlines stays when it is set as a latest one") {
    Queue timers;
    timers.set_no_later({Kind::first, 1}, 10s);
    timers.set_no_later({Kind::first, 1}, 20s);
    CHECK(timers.next() == 10s);
    timers.set_no_later({Kind::first, 1}, 5s);
    CHECK(timers.next() == 5s);
}

TEST_CASE("a cancelled deadline does not fire, not even when its key is set anew for the same moment") {
    Queue timers;
    timers.set({Kind::first, 1}, 10s);
    timers.cancel({Kind::first, 1});
    CHECK_FALSE(timers.pending({Kind::first, 1}));
    CHECK(timers.next() == never);
    timers.set({Kind::first, 1}, 10s);
    CHECK(timers.pop(10s));
    CHECK_FALSE(timers.pop(10s));
}

TEST_CASE("keys of different kinds with one number are different keys") {
    Queue timers;
    timers.set({Kind::first, 1}, 10s);
    timers.set({Kind::second, 1}, 20s);
    timers.cancel({Kind::first, 1});
    CHECK(timers.next() == 20s);
}

TEST_CASE("equal deadlines fire in the order in which they were set") {
    Queue timers;
    for (std::uint64_t id = 9; id > 0; --id) timers.set({Kind::first, id}, 10s);
    for (std::uint64_t id = 9; id > 0; --id) CHECK(timers.pop(10s) == Queue::Key{Kind::first, id});
}

TEST_CASE("timers agree with a naive model over many random operations") {
    std::uint64_t state = 1;
    const auto roll = [&](std::uint64_t bound) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % bound;
    };
    Queue timers;
    std::map<std::uint64_t, Time> model;
    Time now{};
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t id = roll(20);
        const Time at = now + Duration(1 + roll(50));
        switch (roll(4)) {
            case 0:
                timers.set({Kind::first, id}, at);
                model[id] = at;
                break;
            case 1: {
                timers.set_no_later({Kind::first, id}, at);
                const auto [found, fresh] = model.try_emplace(id, at);
                if (!fresh) found->second = std::min(found->second, at);
                break;
            }
            case 2:
                timers.cancel({Kind::first, id});
                model.erase(id);
                break;
            default: now += Duration(roll(10));
        }
        while (const auto key = timers.pop(now)) {
            REQUIRE(model.contains(key->id));
            REQUIRE(model[key->id] <= now);
            model.erase(key->id);
        }
        Time next = never;
        for (const auto& [key, each] : model) next = std::min(next, each);
        REQUIRE(timers.next() == next);
        REQUIRE(next > now);
    }
}
