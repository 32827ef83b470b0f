#include "sim/replicas/invariants.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;
using sim::replicas::Command;
using sim::replicas::Disk;
using sim::replicas::Invariants;
using sim::replicas::Service;
using sim::replicas::Violation;

namespace {

DiskId id(std::size_t place) {
    DiskId made;
    made.bytes[0] = static_cast<std::uint8_t>(place + 1);
    return made;
}

Entry entry(Term term, Index index, std::uint64_t number = 0) {
    Entry made{{term, index}, EntryKind::empty, Duration(1), {}};
    if (number != 0) {
        made.kind = EntryKind::command;
        made.body = Command{number, 0, Command::Kind::write, number, 0}.encode(0);
    }
    return made;
}

/// Three voters of which nothing is real: what they do is told to the invariants.
struct Group {
    Group() : configuration{{id(0), id(1), id(2)}, {}, {}} {
        for (std::size_t i = 0; i < 3; ++i) begin(i);
        invariants.emplace(configuration, std::vector<Invariants::Member>{
                                              {id(0), &*disks[0]}, {id(1), &*disks[1]}, {id(2), &*disks[2]}});
    }
    /// With an empty disk.
    void begin(std::size_t place) {
        disks[place].emplace(Disk::Options{id(place), "ann", configuration.encode(), place, {.segment_bytes = 4096}});
    }
    /// Orders a write; with `durable` it is done at once.
    void write(std::size_t place, HardState state, std::vector<Entry> entries, bool durable = true, Term leads = 0) {
        Write made{++numbers[place], state, {}, std::move(entries)};
        invariants->wrote(place, made, leads);
        disks[place]->order(made);
        if (durable && disks[place]->begin_group()) disks[place]->finish_group();
    }
    /// Votes of 0 and 1 make 0 the leader of a term.
    void elect(Term term, std::size_t place = 0) {
        for (const std::size_t each : {std::size_t{0}, std::size_t{1}}) write(each, {term, id(place), 0}, {});
        invariants->elected(place, term);
    }
    void send(std::size_t place, std::size_t to, Term term, Body body) {
        invariants->sent(place, {id(place), id(to), term, std::move(body)}, RaftOptions());
    }
    template <class Does>
    std::string violation(Does&& does) {
        try {
            does();
        } catch (const Violation& found) {
            return found.what();
        }
        return "";
    }

    Configuration configuration;
    std::optional<Disk> disks[3];
    std::optional<Invariants> invariants;
    std::uint64_t numbers[3]{};
};

}  // namespace

TEST_CASE("replicas: what is right breaks no invariant") {
    Group group;
    group.elect(1);
    group.write(0, {1, id(0), 0}, {entry(1, 1), entry(1, 2, 7)});
    group.write(1, {1, id(0), 0}, {entry(1, 1), entry(1, 2, 7)});
    group.send(1, 0, 1, AppendAnswer{2, 0, {}});
    group.invariants->committed(0, 2, 1);
    Service service;
    for (const Entry& each : {entry(1, 1), entry(1, 2, 7)}) {
        service.apply(each);
        group.invariants->applied(0, each, service.hash());
    }
    Service restored;
    restored.load(service.save());
    group.invariants->loaded(1, {1, 2}, restored.hash());
    CHECK(group.invariants->committed() == 2);
    CHECK(group.invariants->happened(7));
}

TEST_CASE("replicas: two leaders in one term, and a leader without what is committed, are found") {
    Group group;
    group.elect(1);
    CHECK(group.violation([&] { group.invariants->elected(1, 1); }) == "two replicas are elected in the same term");
    for (const std::size_t each : {std::size_t{0}, std::size_t{1}}) group.write(each, {1, id(0), 0}, {entry(1, 1)});
    group.invariants->committed(0, 1, 1);
    CHECK(group.violation([&] { group.invariants->elected(2, 2); }) ==
          "a leader is elected that lacks a committed entry");
    CHECK(group.violation([&] { group.invariants->elected(1, 3); }) == "");
}

TEST_CASE("replicas: a commit without a majority of disks, by counting of an old term, or of something else is found") {
    Group group;
    group.elect(1);
    group.write(0, {1, id(0), 0}, {entry(1, 1)});
    CHECK(group.violation([&] { group.invariants->committed(0, 1, 1); }) ==
          "a leader commits what no majority has on its disks");
    group.write(1, {1, id(0), 0}, {entry(1, 1)}, false);
    CHECK(group.violation([&] { group.invariants->committed(0, 1, 1); }) ==
          "a leader commits what no majority has on its disks");
    CHECK(group.violation([&] { group.invariants->committed(0, 1, 2); }) ==
          "a leader commits an entry of an earlier term by counting");
    CHECK(group.violation([&] { group.invariants->committed(0, 2, 1); }) ==
          "a replica takes for committed what its log does not have");
    CHECK(group.violation([&] { group.invariants->committed(1, 1, 0); }) ==
          "a replica that does not lead takes for committed what nobody has");
}

TEST_CASE("replicas: logs that differ, or that a leader or a follower may not have, are found") {
    Group group;
    group.elect(1);
    group.write(0, {1, id(0), 0}, {entry(1, 1, 5), entry(1, 2)}, true, 1);
    CHECK(group.violation([&] {
        group.write(1, {1, id(0), 0}, {entry(1, 1, 6)});
    }) == "two logs have an entry with the same term and index, but are not the same");
    CHECK(group.violation([&] {
        group.write(2, {1, {}, 0}, {entry(1, 2)});
    }) == "entries are written that leave a gap");
    CHECK(group.violation([&] {
        group.write(0, {1, id(0), 0}, {entry(1, 2)}, true, 1);
    }) == "a leader replaces entries of its own log");
    Group other;
    other.elect(1);
    CHECK(other.violation([&] {
        other.write(1, {1, id(0), 0}, {entry(1, 1)});
    }) == "an entry is made by one that does not lead");
}

TEST_CASE("replicas: a committed entry that is replaced is found") {
    Group group;
    group.elect(1);
    for (const std::size_t each : {std::size_t{0}, std::size_t{1}}) group.write(each, {1, id(0), 0}, {entry(1, 1)});
    group.invariants->committed(0, 1, 1);
    group.write(2, {2, id(2), 0}, {});
    group.invariants->started(2);
    CHECK(group.violation([&] { group.write(1, {2, id(2), 0}, {entry(2, 1)}); }) == "a committed entry is replaced");
}

TEST_CASE("replicas: votes and terms that change are found") {
    Group group;
    group.write(0, {2, id(0), 0}, {});
    CHECK(group.violation([&] { group.write(0, {1, id(0), 0}, {}); }) == "a term goes backwards");
    CHECK(group.violation([&] { group.write(1, {1, {}, 3}, {}); }) == "a commit is written that is none");
    group.write(2, {2, id(0), 0}, {});
    CHECK(group.violation([&] { group.write(2, {2, id(1), 0}, {}); }) == "a vote was changed");
}

TEST_CASE("replicas: messages that leave before what they depend on is on disk are found") {
    Group group;
    group.write(1, {1, id(0), 0}, {}, false);
    CHECK(group.violation([&] {
        group.send(1, 0, 1, VoteAnswer{false, true});
    }) == "a message leaves before its term is on disk");
    CHECK(group.violation([&] { group.send(1, 0, 1, VoteAnswer{true, true}); }) == "");
    Group second;
    second.write(1, {1, id(0), 0}, {});
    CHECK(second.violation([&] {
        second.send(1, 2, 1, VoteAnswer{false, true});
    }) == "a vote leaves before it is on disk");
    CHECK(second.violation([&] {
        second.send(1, 0, 1, VoteAnswer{false, true});
    }) == "a replica votes twice in the same term");
    Group third;
    third.elect(1);
    third.write(0, {1, id(0), 0}, {entry(1, 1)});
    third.write(1, {1, id(0), 0}, {entry(1, 1)}, false);
    CHECK(third.violation([&] {
        third.send(1, 0, 1, AppendAnswer{1, 0, {}});
    }) == "entries are acknowledged before they are on disk");
    CHECK(third.violation([&] {
        third.send(1, 0, 1, Heartbeat{1, 0});
    }) == "one that was not elected speaks as a leader");
    CHECK(third.violation([&] { third.send(0, 1, 1, Append{{}, 1, {}}); }) == "a leader tells a commit that is none");
    CHECK(third.violation([&] {
        third.send(0, 1, 1, Append{{}, 0, {entry(1, 1, 9)}});
    }) == "an entry is sent that nobody has made");
}

TEST_CASE("replicas: states that differ, and commands that are applied twice or uncommitted, are found") {
    Group group;
    group.elect(1);
    const std::vector<Entry> entries{entry(1, 1, 5), entry(1, 2, 5), entry(1, 3)};
    for (const std::size_t each : {std::size_t{0}, std::size_t{1}}) group.write(each, {1, id(0), 0}, entries);
    CHECK(group.violation([&] { group.invariants->applied(0, entries[0], 0); }) ==
          "an entry is applied that is not committed");
    group.invariants->committed(0, 3, 1);
    CHECK(group.violation([&] { group.invariants->applied(0, entries[0], 0); }) ==
          "two replicas have different states at the same place");
    CHECK(group.violation([&] {
        group.invariants->loaded(0, {1, 1}, 0);
    }) == "a snapshot is not the state of its place");
    CHECK(group.violation([&] { group.invariants->applied(0, entries[2], 0); }) ==
          "an entry is applied before those before it");
    CHECK(group.violation([&] { group.invariants->applied(0, entries[1], 0); }) ==
          "a command is applied for the second time");
}

TEST_CASE("replicas: a disk that forgets what was told is found after the restart") {
    Group group;
    group.elect(1);
    group.write(0, {1, id(0), 0}, {entry(1, 1)});
    group.write(1, {1, id(0), 0}, {entry(1, 1)});
    group.send(1, 0, 1, AppendAnswer{1, 0, {}});
    CHECK(group.violation([&] { group.invariants->started(1); }) == "");
    group.begin(1);
    CHECK(group.violation([&] { group.invariants->started(1); }) ==
          "after a restart a replica has forgotten a term that it told others");
    group.disks[1]->order({1, HardState{1, id(0), 0}, {}, {}});
    REQUIRE(group.disks[1]->begin_group());
    group.disks[1]->finish_group();
    CHECK(group.violation([&] { group.invariants->started(1); }) ==
          "after a restart a replica has lost what it had acknowledged");
}
