#include "replica/machines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

using namespace cluster;
using namespace cluster::machine_support;

TEST_CASE("machine: two with copies of one directory vote no more, and say so") {
    Machines group({"ann", "bob", "eve"});
    group.meet_all();
    group.run(2s);
    Place& bob = *group.members[1];
    REQUIRE(bob.machine->status().founded);
    Place& twin = group.add("bob", 2, {"ann", "bob", "eve"});
    Machines::meet(bob, twin, group.now);
    group.run(1s);
    CHECK(bob.halted == std::vector{errc::directory_in_use});
    CHECK(bob.machine->status().why.find("a copy of this directory") != std::string::npos);
}

TEST_CASE("machine: no message that passes commands on is longer than other nodes take") {
    Machines group({"ann", "bob"}, 1000);
    std::size_t messages = 0;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        const auto* submit = std::get_if<wire::SubmitMessage>(&message);
        if (submit == nullptr || !std::holds_alternative<consensus::Submit>(submit->body)) return false;
        std::vector<std::byte> bytes;
        wire::encode(message, bytes);
        CHECK(bytes.size() < 1200);
        ++messages;
        return false;
    };
    group.meet_all();
    group.run(2s);
    Machine& follower = *group.members[group.members[0]->machine->status().role == Role::leader ? 1 : 0]->machine;
    REQUIRE_FALSE(follower.status().leader.empty());
    for (std::uint64_t number = 1; number <= 50; ++number) {
        follower.submit(number, Bytes(std::string_view("1234567890")), group.now + 1s, group.now);
    }
    const std::uint64_t before = follower.status().committed;
    group.run(500ms);
    CHECK(messages >= 3);
    CHECK(follower.status().committed == before + 50);
}

TEST_CASE("machine: a leader that halts while its node lives on is replaced at once") {
    Founded group;
    Place& first = *group.leader();
    first.machine->halt(errc::storage_failed, "the disk is full", group.now);
    group.run(200ms);
    REQUIRE(group.leader() != nullptr);
    for (const Place* each : group.followers()) {
        if (each == &first) continue;
        CHECK(each->machine->status().leader == group.leader()->name);
        CHECK_FALSE(Founded::sees(*each, first));
    }
}

TEST_CASE("machine: a farewell that is lost is said again to whoever still relies on that replica") {
    Founded group;
    Place& late = *group.followers().front();
    bool lost = false;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        if (!is_farewell(message)) return false;
        return !std::exchange(lost, true);
    };
    // The first farewell goes to the other one with the smallest number.
    late.machine->halt(errc::storage_failed, "the disk is full", group.now);
    group.run(300ms);
    CHECK(lost);
    CHECK_FALSE(Founded::sees(*group.leader(), late));
}

TEST_CASE("machine: whoever has said farewell is back when it introduces itself anew") {
    Founded group;
    Place& leads = *group.leader();
    Place& late = *group.followers().front();
    late.machine->halt(errc::closed, "it was closed", group.now);
    group.run(100ms);
    CHECK_FALSE(Founded::sees(leads, late));
    group.open(late, late.disk, {"ann", "bob", "eve"}, late.promise);
    for (const auto& each : group.members) {
        if (each.get() != &late) late.machine->came(each->peer, each->name, group.now);
    }
    group.run(1s);
    CHECK(Founded::sees(leads, late));
    CHECK(leads.machine->status().role == Role::leader);
    CHECK(late.machine->status().leader == leads.name);
}

TEST_CASE("machine: leadership is not handed over to who has said farewell, and nobody waits for that") {
    for (const std::size_t gone : {std::size_t{0}, std::size_t{1}}) {
        Founded group;
        Place& leads = *group.leader();
        Place& closed = *group.followers()[gone];
        Place& other = *group.followers()[1 - gone];
        closed.machine->halt(errc::closed, "it was closed", group.now);
        group.settle();
        CHECK(leads.machine->transfer(1, {}, group.now) == errc{});
        group.run(100ms);
        CHECK(other.machine->status().role == Role::leader);
    }
    Founded group;
    Place& leads = *group.leader();
    Place& next = *group.followers()[0];
    group.loses = [&](const Place& from, const wire::ReplicaMessage& message) {
        return &from == &next && !is_farewell(message);
    };
    CHECK(leads.machine->transfer(1, next.name, group.now) == errc{});
    group.run(50ms);
    next.machine->halt(errc::closed, "it was closed", group.now);
    group.run(50ms);
    leads.machine->submit(1, Bytes(std::string_view("x")), group.now + 1s, group.now);
    const std::uint64_t before = leads.machine->status().committed;
    group.run(50ms);
    CHECK(leads.machine->status().committed == before + 1);
}

TEST_CASE("machine: while the leader's process fills all room, what a follower submits has its part of it") {
    Founded group(500, 2000);
    Place& leads = *group.leader();
    Place& follows = *group.followers()[0];
    // In one moment a follower answers once only, so that it takes a while until an entry is committed.
    std::map<const Place*, Time> answered;
    group.loses = [&](const Place& from, const wire::ReplicaMessage& message) {
        const auto* raft = std::get_if<wire::RaftMessage>(&message);
        if (raft == nullptr || !std::holds_alternative<consensus::AppendAnswer>(raft->message.body)) return false;
        return std::exchange(answered[&from], group.now) == group.now;
    };
    for (std::uint64_t number = 1; number <= 200; ++number) {
        leads.machine->submit(number, Bytes("l" + std::string(100, 'x')), group.now + 60s, group.now);
    }
    group.settle();
    for (std::uint64_t number = 1; number <= 10; ++number) {
        follows.machine->submit(number, Bytes("f" + std::string(100, 'x')), group.now + 60s, group.now);
    }
    group.run(30s);
    REQUIRE(leads.applied.size() == 210);
    INFO(leads.applied);
    CHECK(leads.applied.find_last_of('f') < 50);
}

TEST_CASE("machine: a transfer ends when another one leads, and says whether that is the one that was named") {
    Founded group;
    Place& first = *group.leader();
    Place& next = *group.followers()[0];
    bool loses_votes = true;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        const auto* raft = std::get_if<wire::RaftMessage>(&message);
        return loses_votes && raft != nullptr && std::holds_alternative<consensus::VoteAnswer>(raft->message.body);
    };
    CHECK(first.machine->transfer(1, next.name, group.now) == errc{});
    CHECK(first.machine->transfer(2, {}, group.now) == errc{});
    group.run(500ms);
    CHECK(group.leader() == nullptr);
    CHECK(first.transfers.empty());
    loses_votes = false;
    while (group.leader() == nullptr) group.run(10ms);
    group.run(50ms);
    const bool reached = group.leader() == &next;
    const bool again = group.leader() == &first;
    using Ends = std::vector<std::pair<std::uint64_t, errc>>;
    CHECK(first.transfers ==
          Ends{{1, reached ? errc{} : errc::another_leads}, {2, again ? errc::another_leads : errc{}}});
}

TEST_CASE("machine: a second transfer joins the first one, unless it names another voter") {
    Founded group;
    Place& first = *group.leader();
    Place& next = *group.followers()[1];
    CHECK(first.machine->transfer(1, next.name, group.now) == errc{});
    CHECK(first.machine->transfer(2, group.followers()[0]->name, group.now) == errc::transfer_under_way);
    CHECK(first.machine->transfer(3, next.name, group.now) == errc{});
    CHECK(first.machine->transfer(4, {}, group.now) == errc{});
    group.run(200ms);
    CHECK(group.leader() == &next);
    CHECK(first.transfers == std::vector<std::pair<std::uint64_t, errc>>{{1, errc{}}, {3, errc{}}, {4, errc{}}});
    CHECK(first.machine->transfer(5, next.name, group.now) == errc::not_leader);
}

TEST_CASE("machine: a transfer ends when its voter goes, and its end is not taken for that of the next one") {
    Founded group;
    Place& first = *group.leader();
    Place& gone = *group.followers()[0];
    Place& other = *group.followers()[1];
    group.loses = [&](const Place& from, const wire::ReplicaMessage&) { return &from == &gone; };
    CHECK(first.machine->transfer(1, gone.name, group.now) == errc{});
    group.run(50ms);
    CHECK(first.transfers.empty());
    first.machine->went(gone.peer, group.now);
    CHECK(first.machine->transfer(2, gone.name, group.now) == errc::voter_absent);
    CHECK(first.machine->transfer(3, other.name, group.now) == errc{});
    group.run(200ms);
    CHECK(group.leader() == &other);
    CHECK(first.transfers == std::vector<std::pair<std::uint64_t, errc>>{{1, errc::voter_absent}, {3, errc{}}});
}

TEST_CASE("machine: without any other voter a transfer is refused, and who does not answer is not waited for long") {
    Founded group;
    Place& first = *group.leader();
    Place& mute = *group.followers()[0];
    group.loses = [&](const Place& from, const wire::ReplicaMessage&) { return &from == &mute; };
    CHECK(first.machine->transfer(1, mute.name, group.now) == errc{});
    group.run(1100ms);
    CHECK(first.transfers == std::vector<std::pair<std::uint64_t, errc>>{{1, errc::timed_out}});
    CHECK(group.leader() == &first);
    for (Place* each : group.followers()) first.machine->went(each->peer, group.now);
    CHECK(first.machine->transfer(2, {}, group.now) == errc::voter_absent);
    CHECK(first.machine->transfer(3, mute.name, group.now) == errc::voter_absent);
    CHECK(first.machine->transfer(4, "nobody", group.now) == errc::unknown_voter);
}

TEST_CASE("machine: without the appointed leader, the status says who is waited for") {
    Machines group({});
    group.appointed = "eve";
    for (const std::string name : {"ann", "bob", "eve"}) {
        group.add(name, static_cast<std::uint8_t>(group.members.size() + 1), {"ann", "bob", "eve"});
    }
    group.meet_all();
    group.run(3s);
    Machine& ann = *group.members[0]->machine;
    CHECK(ann.status().leader == "eve");
    group.members[2]->machine->halt(errc::closed, "it was closed", group.now);
    group.run(3s);
    CHECK(ann.status().error == errc::no_leader);
    CHECK(ann.status().why == "only the appointed leader stands for election, eve, which is not in view");
}

TEST_CASE("machine: what a snapshot holds counts as applied when the service has it, and not before") {
    replica::MachineOptions options;
    options.node = "ann";
    options.voters = {"ann"};
    options.raft.self.bytes.fill(1);
    options.promise = consensus::Promise{consensus::GroupId{{7}}, {{"ann", options.raft.self}}};
    options.founded = true;
    options.recovered.state.term = 3;
    options.recovered.newest = {{3, 17}, 1s, consensus::Configuration{{options.raft.self}, {}, {}}.encode()};
    options.recovered.base = options.recovered.newest;
    options.wall = [] { return Duration(1s); };
    Machine machine(std::move(options), 1s);
    CHECK(machine.status().committed == 17);
    CHECK(machine.status().applied == 0);
    machine.loaded({3, 17}, never, 1s);
    CHECK(machine.status().applied == 17);
}

TEST_CASE("machine: a copy of a directory that is gone before there is a group stands in nobody's way") {
    Machines group({"ann", "bob"});
    Place& ann = *group.members[0];
    Place& bob = *group.members[1];
    Place& copy = group.add("bob's copy", bob.disk, {"ann", "bob"});
    Machines::meet(bob, copy, group.now);
    group.run(100ms);
    Machines::meet(ann, bob, group.now);
    group.run(2s);
    CHECK(bob.machine->status().error == errc::directory_in_use);
    bob.machine->went(copy.peer, group.now);
    copy.machine->went(bob.peer, group.now);
    group.run(2s);
    CHECK_FALSE(bob.machine->status().error);
    CHECK_FALSE(ann.machine->status().error);
}

TEST_CASE("machine: a replica whose disk hangs says so, and says when it goes on") {
    Founded group;
    Place& leads = *group.leader();
    Place& slow = *group.followers().front();
    slow.hangs = true;
    leads.machine->submit(1, Bytes(std::string_view("x")), group.now + 1s, group.now);
    group.run(900ms);
    CHECK_FALSE(slow.machine->status().error);
    group.run(200ms);
    CHECK(slow.machine->status().error == errc::disk_hangs);
    CHECK(Founded::has_line(slow, "replica_disk_hangs why="));
    CHECK_FALSE(Founded::has_line(slow, "replica_disk_goes_on"));
    CHECK_FALSE(leads.machine->status().error);
    slow.hangs = false;
    slow.machine->written(slow.written, group.now);
    group.run(100ms);
    CHECK_FALSE(slow.machine->status().error);
    CHECK(Founded::has_line(slow, "replica_disk_goes_on milliseconds=1100"));
}

TEST_CASE("machine: a leader whose disk hangs says so and leads no more") {
    Founded group;
    Place& first = *group.leader();
    first.hangs = true;
    first.machine->submit(1, Bytes(std::string_view("x")), group.now + 1s, group.now);
    group.run(5s);
    CHECK(first.machine->status().error == errc::disk_hangs);
    CHECK(std::count_if(first.lines.begin(), first.lines.end(),
                        [](const std::string& line) { return line.starts_with("replica_disk_hangs"); }) == 1);
    CHECK(group.leader() != nullptr);
    CHECK(group.leader() != &first);
}

TEST_CASE("machine: a replica may be closed, and another directory opened in its place, before there is a group") {
    Machines group({"ann", "bob", "eve"});
    Place& ann = *group.members[0];
    Place& bob = *group.members[1];
    Machines::meet(ann, bob, group.now);
    group.run(100ms);
    group.open(bob, 7, {"ann", "bob", "eve"});
    bob.machine->came(ann.peer, ann.name, group.now);
    group.run(100ms);
    for (Place* each : {&ann, &bob}) Machines::meet(*each, *group.members[2], group.now);
    group.run(2s);
    for (const auto& each : group.members) CHECK(each->machine->status().founded);
}

TEST_CASE("machine: who does not hear that the group was founded asks again") {
    Machines group({"ann", "bob"});
    bool lost = false;
    group.loses = [&](const Place&, const wire::ReplicaMessage& message) {
        const auto* introduction = introduction_in(message);
        return introduction != nullptr && introduction->founded && !std::exchange(lost, true);
    };
    group.meet_all();
    group.run(5s);
    CHECK(lost);
    for (const auto& each : group.members) {
        CHECK(each->machine->status().founded);
        CHECK_FALSE(each->machine->status().leader.empty());
    }
}

TEST_CASE("machine: a late word of a former process does not hide the present one for long") {
    Machines group({"ann", "bob"});
    Place& ann = *group.members[0];
    Place& bob = *group.members[1];
    std::optional<wire::ReplicaMessage> word;
    group.loses = [&](const Place& from, const wire::ReplicaMessage& message) {
        const auto* founding = std::get_if<wire::FoundingMessage>(&message);
        const bool introduces = founding != nullptr && std::holds_alternative<consensus::Introduction>(founding->body);
        if (from.name == "bob" && introduces) word = message;
        return false;
    };
    group.meet_all();
    group.run(3s);
    REQUIRE(ann.machine->status().leader != "");
    REQUIRE(word.has_value());
    PeerId former;
    former.bytes.fill(77);
    ann.machine->came(former, "bob", group.now);
    ann.machine->received(former, wire::ReplicaMessage(*word), group.now);
    group.run(100ms);
    ann.machine->went(former, group.now);
    group.run(4s);
    for (const Place* each : {&ann, &bob}) {
        CHECK(each->machine->status().leader != "");
        for (const auto& voter : each->machine->status().voters) CHECK(voter.in_view);
    }
}

TEST_CASE("machine: a copy of a directory whose replica says farewell stands in nobody's way") {
    const std::set<std::string> names{"ann", "bob"};
    Machines group(names);
    Place& copy = group.add("bob", 2, names);  // the directory of bob, on another node
    Machines::meet(*group.members[1], copy, group.now);
    group.settle();
    CHECK(group.members[1]->machine->status().error == errc::directory_in_use);
    copy.machine->halt(errc::closed, "it was closed", group.now);
    group.settle();
    Machines::meet(*group.members[0], *group.members[1], group.now);
    group.run(3s);
    CHECK(group.members[1]->machine->status().founded);
}

TEST_CASE("machine: when the service wants an entry at some time, the leader appends one, and no follower does") {
    Founded group;
    const Duration at = group.leader()->last.time + 5s;
    for (const auto& each : group.members) {
        each->wants_entry_at = at;
        each->machine->applied(each->last.id, {}, at, group.now);
    }
    const consensus::Index before = group.leader()->last.id.index;
    const Time begin = group.now;
    while (group.leader()->last.id.index == before && group.now < begin + 10s) group.run(10ms);
    for (const auto& each : group.members) {
        CHECK(each->last.id.index == before + 1);
        CHECK(each->last.time >= at);
        CHECK(each->last.time < at + 100ms);
    }
    group.run(5s);
    CHECK(group.leader()->last.id.index == before + 1);
}

TEST_CASE("machine: what the service wanted before a failover the next leader gives it") {
    Founded group;
    const Duration at = group.leader()->last.time + 2s;
    for (const auto& each : group.members) {
        each->wants_entry_at = at;
        each->machine->applied(each->last.id, {}, at, group.now);
    }
    group.leader()->machine->halt(errc::storage_failed, "the disk is full", group.now);
    group.run(3s);
    REQUIRE(group.leader() != nullptr);
    CHECK(group.leader()->last.time >= at);
    CHECK(group.leader()->wants_entry_at == never);
}
