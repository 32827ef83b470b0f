#include "consensus/quorum.hpp"

#include "consensus/ids.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>

using namespace cluster::consensus;
using cluster::Bytes;
using cluster::support::disk;

namespace {

std::set<DiskId> first(int count) {
    std::set<DiskId> disks;
    for (int i = 0; i < count; ++i) disks.insert(disk(static_cast<char>('a' + i)));
    return disks;
}

/// By the definition, not by the way in which it is found.
std::uint64_t agreed_by_definition(const std::set<DiskId>& voters, const std::map<DiskId, std::uint64_t>& reached) {
    std::uint64_t best = 0;
    for (std::uint64_t value = 0; value <= 3; ++value) {
        std::size_t count = 0;
        for (const DiskId& voter : voters) count += reached.at(voter) >= value ? 1 : 0;
        if (2 * count > voters.size()) best = value;
    }
    return best;
}

}  // namespace

TEST_CASE("quorum: what a majority has reached, for all groups of up to five and all that they can have reached") {
    for (int size = 1; size <= 5; ++size) {
        const std::set<DiskId> voters = first(size);
        std::map<DiskId, std::uint64_t> reached;
        for (int number = 0; number < 1 << (2 * size); ++number) {
            int rest = number;
            for (const DiskId& voter : voters) {
                reached[voter] = static_cast<std::uint64_t>(rest % 4);
                rest /= 4;
            }
            CAPTURE(size);
            CAPTURE(number);
            REQUIRE(agreed(voters, [&](const DiskId& voter) { return reached.at(voter); }) ==
                    agreed_by_definition(voters, reached));
        }
    }
}

TEST_CASE("quorum: in a joint configuration both sets must agree") {
    const Configuration joint{{disk('a'), disk('b'), disk('c')}, {disk('c'), disk('d'), disk('e')}, {disk('l')}};
    std::map<DiskId, std::uint64_t> reached{{disk('a'), 9}, {disk('b'), 9}, {disk('c'), 9}};
    const auto of = [&](const DiskId& voter) { return reached[voter]; };
    CHECK(agreed(joint, of) == 0);
    reached[disk('l')] = 9;
    CHECK(agreed(joint, of) == 0);
    reached[disk('d')] = 5;
    CHECK(agreed(joint, of) == 5);
    CHECK(ballot(joint, {{disk('a'), true}, {disk('b'), true}}) == Ballot::open);
    CHECK(ballot(joint, {{disk('a'), true}, {disk('c'), true}, {disk('e'), true}}) == Ballot::won);
    CHECK(ballot(joint, {{disk('a'), true}, {disk('b'), true}, {disk('d'), false}, {disk('e'), false}}) ==
          Ballot::lost);
}

TEST_CASE("quorum: a ballot is won by a majority, lost as soon as there can be none, and open before") {
    const Configuration three{first(3), {}, {}};
    const Configuration four{first(4), {}, {}};
    CHECK(ballot(three, {}) == Ballot::open);
    CHECK(ballot(three, {{disk('a'), true}}) == Ballot::open);
    CHECK(ballot(three, {{disk('a'), true}, {disk('b'), true}}) == Ballot::won);
    CHECK(ballot(three, {{disk('a'), true}, {disk('b'), false}}) == Ballot::open);
    CHECK(ballot(three, {{disk('a'), true}, {disk('b'), false}, {disk('c'), false}}) == Ballot::lost);
    CHECK(ballot(four, {{disk('a'), true}, {disk('b'), true}}) == Ballot::open);
    CHECK(ballot(four, {{disk('c'), false}, {disk('d'), false}}) == Ballot::lost);
    // Whoever is no voter is not counted, whatever it says.
    CHECK(ballot(three, {{disk('a'), true}, {disk('x'), true}, {disk('y'), true}}) == Ballot::open);
}

TEST_CASE("configuration: reads back what it wrote, and nothing else") {
    const Configuration all{first(3), {disk('c'), disk('d')}, {disk('l')}};
    const Configuration one{first(1), {}, {}};
    CHECK(Configuration::decode(all.encode().view()) == all);
    CHECK(Configuration::decode(one.encode().view()) == one);
    CHECK(all.members().size() == 5);
    CHECK(all.votes(disk('d')));
    CHECK_FALSE(all.votes(disk('l')));
    const Bytes bytes = all.encode();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK_FALSE(Configuration::decode(bytes.view().first(size)).has_value());
    }
    std::string text(bytes.text());
    CHECK_FALSE(Configuration::decode(Bytes(text + '\0').view()).has_value());
    CHECK_FALSE(Configuration::decode(Bytes(std::string(3, '\0')).view()).has_value());  // nobody votes
    text[0] = 65;
    CHECK_FALSE(Configuration::decode(Bytes(text).view()).has_value());
    const std::string twice = std::string("\x02") + std::string(bytes.text().substr(1, 16)) +
                              std::string(bytes.text().substr(1, 16)) + std::string(2, '\0');
    CHECK_FALSE(Configuration::decode(Bytes(twice).view()).has_value());
}
