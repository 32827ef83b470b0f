#include "sim/replicas/linearizability.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace cluster;
using sim::replicas::Command;
using sim::replicas::linearizable;
using sim::replicas::Operation;
using Kind = Command::Kind;

namespace {

Operation write(std::uint64_t value, std::uint64_t called, std::uint64_t returned, std::uint64_t key = 0) {
    return {{value, key, Kind::write, value, 0}, called, returned, 0};
}
Operation read(std::uint64_t result, std::uint64_t called, std::uint64_t returned, std::uint64_t key = 0) {
    return {{0, key, Kind::read, 0, 0}, called, returned, result};
}
Operation swap(std::uint64_t expected, std::uint64_t value, bool done, std::uint64_t called, std::uint64_t returned) {
    return {{0, 0, Kind::compare_and_swap, value, expected}, called, returned, done ? 1u : 0u};
}
Operation append(std::uint64_t value, std::uint64_t result, std::uint64_t called, std::uint64_t returned) {
    return {{0, 0, Kind::append, value, 0}, called, returned, result};
}

}  // namespace

TEST_CASE("linearizability: one after the other, each sees what the one before left") {
    CHECK(linearizable({}));
    CHECK(linearizable({read(0, 1, 2)}));
    CHECK(linearizable({write(7, 1, 2), read(7, 3, 4)}));
    CHECK_FALSE(linearizable({write(7, 1, 2), read(0, 3, 4)}));
    CHECK_FALSE(linearizable({write(7, 1, 2), read(8, 3, 4)}));
    CHECK_FALSE(linearizable({write(7, 1, 2), write(8, 3, 4), read(7, 5, 6)}));
}

TEST_CASE("linearizability: what overlaps may have either order, but only one") {
    CHECK(linearizable({write(7, 1, 10), read(0, 2, 3), read(7, 4, 5)}));
    CHECK_FALSE(linearizable({write(7, 1, 10), read(7, 2, 3), read(0, 4, 5)}));
    CHECK(linearizable({write(1, 1, 10), write(2, 1, 10), read(1, 11, 12), read(1, 13, 14)}));
    CHECK_FALSE(linearizable({write(1, 1, 10), write(2, 1, 10), read(1, 11, 12), read(2, 13, 14)}));
    // Two readers see two writes in different orders.
    CHECK_FALSE(linearizable(
        {write(1, 1, 20), write(2, 1, 20), read(1, 2, 4), read(2, 5, 6), read(2, 2, 4), read(1, 5, 6)}));
}

TEST_CASE("linearizability: what stays open may have happened at any later time, or never") {
    CHECK(linearizable({write(7, 1, Operation::open), read(0, 2, 3), read(7, 4, 5)}));
    CHECK(linearizable({write(7, 1, Operation::open), read(0, 2, 3), read(0, 4, 5)}));
    CHECK_FALSE(linearizable({write(7, 4, Operation::open), read(7, 2, 3)}));
    CHECK_FALSE(linearizable({write(7, 1, Operation::open), read(7, 2, 3), read(0, 4, 5)}));
    CHECK_FALSE(linearizable({write(7, 1, Operation::open), write(8, 2, 3), read(7, 4, 5), read(8, 6, 7),
                              read(7, 8, 9)}));
}

TEST_CASE("linearizability: compare-and-swap is done once, and appends see each other") {
    CHECK(linearizable({swap(0, 1, true, 1, 5), swap(0, 2, false, 1, 5), read(1, 6, 7)}));
    CHECK_FALSE(linearizable({swap(0, 1, true, 1, 5), swap(0, 2, true, 1, 5)}));
    CHECK_FALSE(linearizable({swap(0, 1, false, 1, 5)}));
    std::uint64_t value = 0;
    Command{0, 0, Kind::append, 5, 0}.apply(value);
    const std::uint64_t first = value;
    Command{0, 0, Kind::append, 6, 0}.apply(value);
    CHECK(linearizable({append(5, first, 1, 9), append(6, value, 1, 9)}));
    CHECK_FALSE(linearizable({append(5, first, 5, 9), append(6, value, 1, 3)}));
}

TEST_CASE("linearizability: each register is looked at alone, and the reason names the one that is wrong") {
    std::string why;
    CHECK(linearizable({write(7, 1, 2, 0), read(0, 3, 4, 1)}, &why));
    CHECK_FALSE(linearizable({write(7, 1, 2, 0), read(7, 3, 4, 0), read(7, 3, 4, 1)}, &why));
    CHECK(why == "what was seen of register 1 fits no order: at most 0 of its 1 operations");
}

TEST_CASE("linearizability: histories of a register that was really there are right, and wrong if a result changes") {
    Dice dice(1);
    for (int round = 0; round < 200; ++round) {
        std::vector<Operation> history;
        std::uint64_t value = 0;
        for (std::uint64_t i = 1; i <= 60; ++i) {
            // It takes effect at 10 * i, and lasts from a little before to a little after.
            const auto kind = static_cast<Kind>(dice.below(4));
            Operation operation{{i, 0, kind, dice.below(4) + 1, dice.below(4) + 1}, 10 * i - dice.below(60) % (10 * i),
                                10 * i + 1 + dice.below(60), {}};
            operation.result = operation.command.apply(value);
            if (dice.below(10) == 0) {
                operation.returned = Operation::open;
                operation.result.reset();
            }
            history.push_back(operation);
        }
        CHECK(linearizable(history));
        const auto victim = std::find_if(history.begin(), history.end(), [](const Operation& each) {
            return each.command.kind == Kind::read && each.result;
        });
        if (victim == history.end()) continue;
        victim->result = 99;
        CHECK_FALSE(linearizable(history));
    }
}
