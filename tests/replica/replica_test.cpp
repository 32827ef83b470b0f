#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

TEST_CASE("replica: a voter that is alone founds its group, and replies to what it is sent") {
    Group group({"ann"});
    group.start();
    Voter& ann = group[0];
    REQUIRE(ann.replica->wait_for_leader(patience));
    CHECK(ann.replica->submit("one", patience).text() == "1 one");
    CHECK(ann.replica->submit("two", patience).text() == "2 two");
    const ReplicaStatus status = ann.replica->status();
    CHECK(status.role == Role::leader);
    CHECK(status.leader == "ann");
    CHECK(status.founded);
    CHECK_FALSE(status.error);
    CHECK(status.applied == status.committed);
}

TEST_CASE("replica: three voters keep the same state, whoever a message is submitted to") {
    Group group({"ann", "bob", "eve"});
    group.start();
    group.leader();
    std::uint64_t count = 0;
    for (int round = 0; round < 5; ++round) {
        for (const auto& each : group.members) {
            const std::string text = each->name + std::to_string(round);
            CHECK(each->replica->submit(text, patience).text() == std::to_string(++count) + " " + text);
        }
    }
    CHECK(group.settles(count));
}

TEST_CASE("replica: what was submitted survives the restart of all") {
    Group group({"ann", "bob", "eve"});
    group.start();
    for (int i = 0; i < 20; ++i) group.leader().replica->submit(std::to_string(i), patience);
    CHECK(group.settles(20));
    const std::uint64_t hash = group[0].service->hash();
    for (const auto& each : group.members) each->stop();
    group.start();
    CHECK(group.settles(20));
    CHECK(group[1].service->hash() == hash);
    CHECK(group.follower().replica->submit("more", patience).text() == "21 more");
}
