#include "replica/state_hashes.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace cluster::state_hashes_test {

// Whose state is the wrong one.

using cluster::consensus::Configuration;
using cluster::consensus::DiskId;
using cluster::replica::StateHashes;

namespace {

DiskId disk(std::uint8_t number) {
    DiskId id;
    id.bytes.fill(number);
    return id;
}

Configuration voters(std::uint8_t count) {
    Configuration configuration;
    for (std::uint8_t i = 1; i <= count; ++i) configuration.voters.insert(disk(i));
    return configuration;
}

}  // namespace

TEST_CASE("state hashes: one that is alone against a majority is wrong, and nobody else") {
    StateHashes hashes(disk(1));
    hashes.note(disk(1), 10, 7);
    hashes.note(disk(2), 10, 8);
    CHECK_FALSE(hashes.alone(voters(3)));
    CHECK_FALSE(hashes.take_split(voters(3)));
    hashes.note(disk(3), 10, 8);
    CHECK(hashes.alone(voters(3)) == 10);
    CHECK_FALSE(hashes.take_split(voters(3)));

    StateHashes right(disk(2));
    right.note(disk(1), 10, 7);
    right.note(disk(2), 10, 8);
    right.note(disk(3), 10, 8);
    CHECK_FALSE(right.alone(voters(3)));
}

TEST_CASE("state hashes: what comes before the own state counts when that is known") {
    StateHashes hashes(disk(1));
    hashes.note(disk(2), 10, 8);
    hashes.note(disk(3), 10, 8);
    CHECK_FALSE(hashes.alone(voters(3)));
    hashes.note(disk(1), 20, 7);
    CHECK_FALSE(hashes.alone(voters(3)));
    hashes.note(disk(1), 10, 7);
    CHECK(hashes.alone(voters(3)) == 10);
}

TEST_CASE("state hashes: who does not vote does not count") {
    StateHashes hashes(disk(1));
    hashes.note(disk(1), 10, 7);
    hashes.note(disk(2), 10, 8);
    hashes.note(disk(4), 10, 8);
    CHECK_FALSE(hashes.alone(voters(3)));
}

TEST_CASE("state hashes: when no majority agrees nobody is wrong, and that is told once") {
    StateHashes hashes(disk(1));
    hashes.note(disk(1), 10, 7);
    hashes.note(disk(2), 10, 8);
    CHECK_FALSE(hashes.alone(voters(2)));
    CHECK(hashes.take_split(voters(2)) == 10);
    CHECK_FALSE(hashes.take_split(voters(2)));
}

TEST_CASE("state hashes: old places are forgotten") {
    StateHashes hashes(disk(1));
    hashes.note(disk(1), 1, 7);
    for (std::uint64_t place = 2; place < 2 + StateHashes::most_places; ++place) hashes.note(disk(1), place, 0);
    hashes.note(disk(2), 1, 8);
    hashes.note(disk(3), 1, 8);
    CHECK_FALSE(hashes.alone(voters(3)));
}

}  // namespace cluster::state_hashes_test
