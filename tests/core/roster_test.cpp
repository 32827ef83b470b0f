#include "core/roster.hpp"

#include "core/ids.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;
using namespace std::chrono_literals;

namespace {

Facts facts_of(std::uint64_t number, std::uint64_t version, std::string name = "somebody") {
    Facts facts;
    facts.id = numbered(number);
    facts.version = version;
    facts.name = std::move(name);
    return facts;
}

const Address here{"10.0.0.1", 7000};
const Address there{"10.0.0.2", 7000};

}  // namespace

TEST_CASE("what a node publishes gets a new version only where it differs") {
    Roster roster(facts_of(1, 1));
    roster.publish(Tags{});
    roster.publish(std::vector<Address>{});
    CHECK(roster.self().version == 1);
    roster.publish(Tags{{"role", "db"}});
    CHECK(roster.self().version == 2);
    roster.publish(Tags{{"role", "db"}});
    CHECK(roster.self().version == 2);
    roster.publish(std::vector<Address>{here});
    CHECK(roster.self().version == 3);
    roster.publish(std::vector<Address>{here});
    CHECK(roster.self().version == 3);
    CHECK(roster.self().tags == Tags{{"role", "db"}});
    CHECK(roster.self().addresses == std::vector<Address>{here});
}

TEST_CASE("hearsay counts only with a higher version") {
    Roster roster(facts_of(1, 1));
    CHECK(roster.find(numbered(2)) == nullptr);
    CHECK(roster.learn(facts_of(2, 5, "five")) == Roster::News::unknown);
    CHECK(roster.learn(facts_of(2, 5, "forged")) == Roster::News::none);
    CHECK(roster.learn(facts_of(2, 4, "four")) == Roster::News::none);
    CHECK(roster.find(numbered(2))->name == "five");
    CHECK(roster.learn(facts_of(2, 6, "six")) == Roster::News::changed);
    CHECK(roster.find(numbered(2))->name == "six");
    roster.forget(numbered(2));
    CHECK(roster.find(numbered(2)) == nullptr);
    CHECK(roster.learn(facts_of(2, 1)) == Roster::News::unknown);
}

TEST_CASE("what the owner itself states replaces what others said in its name, whatever the version") {
    Roster roster(facts_of(1, 1));
    CHECK(roster.state(facts_of(2, 3, "new")));
    CHECK_FALSE(roster.state(facts_of(2, 3, "new")));
    roster.learn(facts_of(2, 99, "forged"));
    CHECK(roster.state(facts_of(2, 3, "true")));
    CHECK(roster.find(numbered(2))->name == "true");
    CHECK(roster.find(numbered(2))->version == 3);
}

TEST_CASE("a departed id is remembered until its time is over, and then forgotten") {
    Roster roster(facts_of(1, 1));
    CHECK(roster.next_expiry() == never);
    roster.learn(facts_of(2, 1));
    roster.bury(numbered(2), 100s);
    roster.bury(numbered(3), 50s);
    CHECK(roster.find(numbered(2)) == nullptr);
    CHECK(roster.departed(numbered(2)));
    CHECK_FALSE(roster.departed(numbered(4)));
    CHECK(roster.next_expiry() == 50s);
    roster.expire(50s);
    CHECK_FALSE(roster.departed(numbered(3)));
    CHECK(roster.departed(numbered(2)));
    CHECK(roster.next_expiry() == 100s);
    SUBCASE("being buried twice does not make it longer") { roster.bury(numbered(2), 500s); }
    roster.expire(100s);
    CHECK_FALSE(roster.departed(numbered(2)));
    CHECK(roster.next_expiry() == never);
}

TEST_CASE("beyond the most departed ids the oldest is forgotten first") {
    Roster roster(facts_of(1, 1));
    for (std::uint64_t i = 0; i < Roster::max_departed; ++i) {
        roster.bury(numbered(100 + i), 1000s + std::chrono::nanoseconds(i));
    }
    CHECK(roster.departed(numbered(100)));
    roster.bury(numbered(7), 2000s);
    CHECK(roster.departed(numbered(7)));
    CHECK_FALSE(roster.departed(numbered(100)));
    CHECK(roster.departed(numbered(101)));
    roster.bury(numbered(101), 3000s);
    CHECK(roster.departed(numbered(102)));
}

TEST_CASE("the addresses of a parted peer are blocked until it is added again") {
    Roster roster(facts_of(1, 1));
    CHECK(roster.parted(numbered(2)) == nullptr);
    CHECK_FALSE(roster.blocked(here));
    roster.part(numbered(2), {{}, {here, there}, Token{}, false, 100s});
    roster.part(numbered(3), {{}, {{"10.0.0.3", 7000}}, {}, true, never});
    CHECK(roster.blocked(here));
    CHECK(roster.blocked(there));
    CHECK_FALSE(roster.blocked({"10.0.0.1", 7001}));
    REQUIRE(roster.parted(numbered(2)) != nullptr);
    SUBCASE("at one of its addresses") { roster.unblock(there, false); }
    SUBCASE("by its id") { roster.unblock(numbered(2)); }
    CHECK(roster.parted(numbered(2)) == nullptr);
    CHECK_FALSE(roster.blocked(here));
    CHECK_FALSE(roster.blocked(there));
    CHECK(roster.parted(numbered(3)) != nullptr);
}

TEST_CASE("what a parted peer said of its addresses blocks nobody who is not where it was found") {
    Roster roster(facts_of(1, 1));
    const Address elsewhere{"10.0.0.9", 7000};
    roster.part(numbered(2), {{here, there}, {here}, Token{}, false, 100s});
    CHECK(roster.blocked({here}));
    CHECK(roster.blocked({here, there}));
    CHECK_FALSE(roster.blocked({there}));
    CHECK_FALSE(roster.blocked({here, elsewhere}));
    CHECK_FALSE(roster.blocked(std::vector<Address>()));
    CHECK_FALSE(roster.blocked(there));
    roster.unblock(there, false);
    roster.unblock(std::vector<Address>{there});
    CHECK(roster.parted(numbered(2)) != nullptr);
    SUBCASE("until somebody is added there") { roster.unblock(there, true); }
    SUBCASE("until it is reached again itself") { roster.unblock({here, there}); }
    CHECK(roster.parted(numbered(2)) == nullptr);
}

TEST_CASE("a parted peer stays blocked when the token of its session is forgotten") {
    Roster roster(facts_of(1, 1));
    roster.part(numbered(2), {{}, {here}, Token{}, false, 100s});
    roster.bury(numbered(3), 200s);
    CHECK(roster.next_expiry() == 100s);
    roster.expire(99s);
    CHECK(roster.parted(numbered(2))->token.has_value());
    roster.expire(100s);
    CHECK_FALSE(roster.parted(numbered(2))->token.has_value());
    CHECK(roster.blocked(here));
    CHECK(roster.next_expiry() == 200s);
}

TEST_CASE("the digest is the sum that the protocol gives as an example, in any order") {
    Facts ann;
    ann.version = 1;
    Facts bob;
    bob.version = 1;
    for (std::size_t i = 0; i < 16; ++i) {
        ann.id.bytes[i] = static_cast<std::uint8_t>(i + 1);
        bob.id.bytes[i] = static_cast<std::uint8_t>(0xf0 - 15 * i);
    }
    REQUIRE(bob.id.to_string() == "f0e1d2c3b4a5968778695a4b3c2d1e0f");
    CHECK(Roster::digest(ann) == 0x03ea2611d9575ab7);
    CHECK(Roster::digest(bob) == 0x4acbbf36669abcdd);
    CHECK(Roster::digest(ann) + Roster::digest(bob) == 0x4eb5e5483ff21794);
    CHECK(Roster::digest(bob) + Roster::digest(ann) == 0x4eb5e5483ff21794);
}

TEST_CASE("the digest sees a new version of each node, and nothing but id and version") {
    const std::uint64_t before = Roster::digest(facts_of(2, 1)) + Roster::digest(facts_of(3, 2));
    CHECK(Roster::digest(facts_of(2, 2)) + Roster::digest(facts_of(3, 2)) != before);
    CHECK(Roster::digest(facts_of(2, 2)) + Roster::digest(facts_of(3, 1)) != before);
    CHECK(Roster::digest(facts_of(2, 1, "another name")) == Roster::digest(facts_of(2, 1)));
}
