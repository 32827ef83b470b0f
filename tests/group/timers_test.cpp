#include "group/timers.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace cluster::group_timers_test {

using namespace std::chrono_literals;
using cluster::Dice;
using cluster::Duration;
using cluster::group::Timers;

namespace {

/// Looks at all of them each time.
class Naive {
public:
    void schedule(std::uint32_t service, std::uint64_t id, Duration at) { all_[{service, id}] = at; }
    bool cancel(std::uint32_t service, std::uint64_t id) { return all_.erase({service, id}) == 1; }
    std::optional<Timers::Due> take(Duration time) {
        std::optional<Timers::Due> first;
        for (const auto& [key, at] : all_) {
            if (at > time) continue;
            if (!first || std::tuple(at, key.second, key.first) < std::tuple(first->at, first->id, first->service))
                first = Timers::Due{key.first, key.second, at};
        }
        if (first) all_.erase({first->service, first->id});
        return first;
    }
    Duration next() const {
        Duration first = cluster::never;
        for (const auto& [key, at] : all_) first = std::min(first, at);
        return first;
    }
    std::size_t size() const { return all_.size(); }

private:
    std::map<std::pair<std::uint32_t, std::uint64_t>, Duration> all_;
};

}  // namespace

TEST_CASE("group timers: whatever is scheduled, moved, cancelled or taken, a naive model has the same") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        Dice dice(seed);
        Timers timers;
        Naive naive;
        for (int step = 0; step < 300; ++step) {
            const auto service = static_cast<std::uint32_t>(dice.below(3));
            const std::uint64_t id = dice.below(10);
            const auto time = Duration(dice.below(20));
            switch (dice.below(4)) {
                case 0: CHECK((timers.take(time) == naive.take(time))); break;
                case 1: CHECK(timers.cancel(service, id) == naive.cancel(service, id)); break;
                default: CHECK(timers.schedule(service, id, time)); naive.schedule(service, id, time);
            }
            REQUIRE(timers.size() == naive.size());
            REQUIRE((timers.next() == naive.next()));
        }
        std::vector<Timers::Due> shown;
        timers.for_each([&](const Timers::Due& each) { shown.push_back(each); });
        std::vector<Timers::Due> taken;
        while (const auto due = naive.take(1h)) taken.push_back(*due);
        CHECK((shown == taken));
    }
}

TEST_CASE("group timers: beyond the limit one more is refused, and those that are there can be moved and cancelled") {
    Timers timers;
    bool fits = true;
    for (std::uint64_t id = 0; id < Timers::most; ++id) fits = timers.schedule(0, id, Duration(id)) && fits;
    CHECK(fits);
    CHECK_FALSE(timers.schedule(0, Timers::most, 0s));
    CHECK_FALSE(timers.schedule(1, 0, 0s));
    CHECK(timers.size() == Timers::most);
    CHECK(timers.schedule(0, 7, 1h));
    CHECK(timers.cancel(0, 8));
    CHECK(timers.schedule(1, 0, 0s));
    CHECK(timers.size() == Timers::most);
}

}  // namespace cluster::group_timers_test
