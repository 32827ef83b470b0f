#include "replica/machines.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

using namespace cluster;
using namespace cluster::machine_support;

namespace {

using Numbers = std::vector<std::uint64_t>;
using Failures = std::vector<std::pair<std::uint64_t, errc>>;

bool is_question(const wire::ReplicaMessage& message) {
    const auto* read = std::get_if<wire::ReadMessage>(&message);
    return read != nullptr && std::holds_alternative<consensus::ReadIndex>(read->body);
}

void read(Place& place, std::uint64_t number, const Machines& group, Duration patience = 10s) {
    place.machine->read(number, {}, group.now + patience, group.now);
}

ReadOptions stale(std::uint64_t at_least) {
    return {Consistency::stale, at_least};
}

}  // namespace

TEST_CASE("machine: one question of a follower stands for all reads that wait there") {
    Founded group;
    Place& follows = *group.followers().front();
    int questions = 0;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        if (is_question(message)) ++questions;
        return false;
    };
    for (std::uint64_t number = 1; number <= 100; ++number) read(follows, number, group);
    group.settle();
    CHECK(follows.served.size() == 100);
    CHECK(questions == 1);
}

TEST_CASE("machine: a question that is lost is asked again after half an election time-out") {
    Founded group;
    Place& follows = *group.followers().front();
    int lost = 0;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        return is_question(message) && ++lost == 1;
    };
    read(follows, 1, group);
    group.run(400ms);
    CHECK(follows.served.empty());
    group.run(200ms);
    CHECK(follows.served == Numbers{1});
}

TEST_CASE("machine: a question that found no room on its way is asked again soon") {
    Founded group;
    Place& follows = *group.followers().front();
    Place& leads = *group.leader();
    int lost = 0;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        if (!is_question(message) || ++lost != 1) return false;
        follows.machine->not_sent(leads.peer, group.now);
        return true;
    };
    read(follows, 1, group);
    group.run(60ms);
    CHECK(follows.served.empty());
    group.run(100ms);
    CHECK(follows.served == Numbers{1});
}

TEST_CASE("machine: the next leader is asked at once") {
    Founded group;
    Place& first = *group.leader();
    Place& follows = *group.followers().front();
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        return is_question(message) && group.leader() == &first;
    };
    read(follows, 1, group);
    group.settle();
    first.machine->halt(errc::storage_failed, "the disk is full", group.now);
    group.run(200ms);
    CHECK(follows.served == Numbers{1});
}

TEST_CASE("machine: a leader whom nobody answers serves no read, and it is served when it follows the next one") {
    Founded group;
    Place& first = *group.leader();
    group.loses = [&](const Place& from, const wire::ReplicaMessage&) { return &from != &first; };
    read(first, 1, group);
    read(first, 2, group, 1s);
    group.run(800ms);
    CHECK(first.machine->status().role == Role::leader);
    CHECK(first.served.empty());
    group.run(3s);
    CHECK(first.served.empty());
    CHECK(first.unserved.size() == 1);
    group.loses = [](const Place&, const wire::ReplicaMessage&) { return false; };
    group.run(4s);
    CHECK(first.served == Numbers{1});
}

TEST_CASE("machine: a read waits until the service has had what it must see") {
    Founded group;
    Place& follows = *group.followers().front();
    follows.slow = true;
    group.leader()->machine->submit(1, Bytes(std::string_view("x")), group.now + 1s, group.now);
    group.run(200ms);
    const std::uint64_t committed = follows.machine->status().committed;
    REQUIRE(follows.machine->status().applied < committed);
    read(follows, 1, group);
    follows.machine->read(2, stale(0), group.now + 10s, group.now);
    follows.machine->read(3, stale(committed), group.now + 10s, group.now);
    group.run(100ms);
    CHECK(follows.served == Numbers{2});
    follows.machine->applied({follows.machine->status().term, committed}, {}, never, group.now);
    group.settle();
    CHECK(follows.served == Numbers{2, 1, 3});
}

TEST_CASE("machine: without a leader a read says so when its time is over, and a stale one is served") {
    Founded group;
    Place& alone = *group.followers().front();
    for (const auto& each : group.members) {
        if (each.get() != &alone) each->machine->halt(errc::closed, "it was closed", group.now);
    }
    group.run(1s);
    read(alone, 1, group, 500ms);
    alone.machine->read(2, stale(0), group.now + 500ms, group.now);
    alone.machine->read(3, stale(1'000'000), group.now + 500ms, group.now);
    group.run(1s);
    CHECK(alone.served == Numbers{2});
    CHECK(alone.unserved == Failures{{1, errc::no_leader}, {3, errc::timed_out}});
}

TEST_CASE("machine: reads beyond what it keeps are refused, and none is begun where nothing is done any more") {
    Founded group;
    Place& follows = *group.followers().front();
    for (std::uint64_t number = 1; number <= consensus::Questions::most; ++number) {
        follows.machine->read(number, stale(1'000'000), group.now + 1s, group.now);
    }
    read(follows, 1'000'000, group);
    group.settle();
    CHECK(follows.unserved == Failures{{1'000'000, errc::too_many_requests}});
    group.run(2s);
    CHECK(follows.unserved.size() == consensus::Questions::most + 1);
    follows.unserved.clear();
    follows.machine->leave(group.now);
    read(follows, 2'000'000, group);
    follows.machine->halt(errc::closed, "it was closed", group.now);
    read(follows, 2'000'001, group);
    group.settle();
    CHECK(follows.unserved == Failures{{2'000'000, errc::closed}, {2'000'001, errc::replica_stopped}});
}
