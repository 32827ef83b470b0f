#include "storage/directory.hpp"

#include "storage/support.hpp"

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

namespace {

DirectoryOptions directory_options(std::uint64_t seed = 1) {
    DirectoryOptions made;
    made.node = "ann";
    made.group_name = "orders";
    made.random = [dice = Dice(seed)](std::span<std::uint8_t> out) mutable {
        for (std::uint8_t& each : out) each = static_cast<std::uint8_t>(dice.next());
    };
    made.log.segment_bytes = 1024;
    return made;
}

struct Opened {
    DirectoryFinding finding;
    std::unique_ptr<Directory> directory;
};

Opened open_directory(Disk& disk, const DirectoryOptions& with = directory_options()) {
    Opened opened;
    opened.directory = Directory::open(disk, with, opened.finding);
    CHECK((opened.directory != nullptr) == opened.finding.may_vote());
    return opened;
}

void fill(Log& log, Index from, Index to, Term term) {
    for (Index i = from; i <= to; ++i) {
        const Write write = entries({entry(i, term, std::string(100, 'x'))});
        REQUIRE_FALSE(log.write({&write, 1}));
    }
}

void snapshot(Directory& directory, Term term, Index index) {
    std::error_code error;
    const auto output = directory.snapshots().begin({{term, index}, {}, {}}, error);
    REQUIRE_MESSAGE(!error, error.message());
    const std::vector<std::byte> contents(1000, std::byte(index));
    REQUIRE_FALSE(output->write(contents));
    REQUIRE_FALSE(output->finish());
}

std::string snapshot_file(Term term, Index index) {
    return "snapshots/" + segment_name(term) + '-' + segment_name(index);
}

const Promise promise{{disk_id(0x20).bytes}, {{"ann", disk_id(1)}, {"bob", disk_id(2)}}};

}  // namespace

TEST_CASE("storage: an empty directory becomes a fresh one with a disk of its own, and is the same one later") {
    SimulatedDisk disk(1), other(2);
    Opened first = open_directory(disk);
    CHECK(first.finding.condition == DirectoryFinding::Condition::fresh);
    const Identity identity = first.directory->identity().value();
    CHECK(identity.disk);
    CHECK(identity.node == "ann");
    CHECK(identity.group_name == "orders");
    CHECK_FALSE(first.directory->snapshot());
    CHECK(open_directory(other, directory_options(2)).directory->identity().value().disk != identity.disk);
    fill(first.directory->log(), 1, 20, 1);
    first.directory.reset();
    disk.lose_power();
    Opened again = open_directory(disk);
    CHECK(again.finding.condition == DirectoryFinding::Condition::clean);
    CHECK(again.directory->identity().value() == identity);
    CHECK(again.directory->log().index().last() == LogId{1, 20});
}

TEST_CASE("storage: a directory is open once at a time") {
    SimulatedDisk disk(1);
    Opened first = open_directory(disk);
    Opened second = open_directory(disk);
    CHECK(second.finding.condition == DirectoryFinding::Condition::refused);
    CHECK(second.finding.error == Fault::locked);
    CHECK(second.finding.text.find("in use by another replica") != std::string::npos);
    first.directory.reset();
    CHECK(open_directory(disk).finding.condition == DirectoryFinding::Condition::clean);
}

TEST_CASE("storage: a directory of another node or group is refused by name") {
    SimulatedDisk disk(1);
    open_directory(disk);
    DirectoryOptions wrong = directory_options();
    wrong.node = "bob";
    Opened opened = open_directory(disk, wrong);
    CHECK(opened.finding.condition == DirectoryFinding::Condition::refused);
    CHECK(opened.finding.text.find("belongs to the node \"ann\", and this one is \"bob\"") == 0);
    wrong = directory_options();
    wrong.group_name = "audit";
    opened = open_directory(disk, wrong);
    CHECK(opened.finding.condition == DirectoryFinding::Condition::refused);
    CHECK(opened.finding.text.find("belongs to the group \"orders\"") == 0);
}

TEST_CASE("storage: whose identity or log is missing has lost what it said, and may not vote") {
    SimulatedDisk disk(1);
    {
        Opened opened = open_directory(disk);
        fill(opened.directory->log(), 1, 3, 1);
        CHECK_FALSE(opened.directory->identity().give(promise));
    }
    const std::vector<std::byte> identity = disk.contents("identity");
    disk.remove("identity");
    Opened opened = open_directory(disk);
    CHECK(opened.finding.condition == DirectoryFinding::Condition::lost);
    CHECK(opened.finding.text.find("the file identity is missing") != std::string::npos);
    CHECK_FALSE(disk.exists("identity"));
    disk.put("identity", identity);
    CHECK(open_directory(disk).finding.condition == DirectoryFinding::Condition::clean);
    disk.flip("identity", 20, 1);
    CHECK(open_directory(disk).finding.condition == DirectoryFinding::Condition::damaged);
    disk.put("identity", identity);
    disk.remove("log/" + segment_name(1));
    opened = open_directory(disk);
    CHECK(opened.finding.condition == DirectoryFinding::Condition::lost);
    CHECK(opened.finding.text.find("has lost its log") == 0);
    CHECK(disk.exists("identity"));
    disk.wipe();
    CHECK(open_directory(disk, directory_options(9)).finding.condition == DirectoryFinding::Condition::fresh);
}

TEST_CASE("storage: a log that was damaged is said with its place, and the directory stays as it is") {
    SimulatedDisk disk(1);
    {
        Opened opened = open_directory(disk);
        fill(opened.directory->log(), 1, 9, 1);
    }
    const std::string file = "log/" + segment_name(1);
    disk.flip(file, 300, 3);
    const std::vector<std::byte> before = disk.contents(file);
    for (int i = 0; i < 2; ++i) {
        const Opened opened = open_directory(disk);
        CHECK(opened.finding.condition == DirectoryFinding::Condition::damaged);
        CHECK(opened.finding.text.find("has a damaged log: " + file + ", byte ") == 0);
        CHECK(disk.contents(file) == before);
    }
}

TEST_CASE("storage: a damaged newest snapshot gives way to the one before, if the log reaches that") {
    for (int kind = 0; kind < 3; ++kind) {
        INFO(kind);
        SimulatedDisk disk(1);
        {
            Opened opened = open_directory(disk);
            fill(opened.directory->log(), 1, 30, 1);
            snapshot(*opened.directory, 1, 10);
            snapshot(*opened.directory, 1, 20);
            CHECK_FALSE(opened.directory->log().cut(kind == 1 ? 20 : 10));
        }
        disk.flip(snapshot_file(1, 20), kind == 2 ? 20 : 500, 0);  // its head, or its contents
        Opened opened = open_directory(disk);
        if (kind == 1) {
            CHECK(opened.finding.condition == DirectoryFinding::Condition::damaged);
            CHECK(opened.finding.text.find("no snapshot that reaches so far") != std::string::npos);
            continue;
        }
        REQUIRE(opened.directory);
        CHECK(opened.finding.condition == DirectoryFinding::Condition::clean);
        CHECK(opened.finding.damaged_snapshots == std::vector<std::string>{snapshot_file(1, 20)});
        CHECK(opened.directory->snapshot()->id.last == LogId{1, 10});
        CHECK(opened.directory->log().index().base().index <= 10);
        snapshot(*opened.directory, 1, 25);
        CHECK_FALSE(disk.exists(snapshot_file(1, 20)));
        opened.directory.reset();
        CHECK(open_directory(disk).finding.damaged_snapshots.empty());
    }
}

TEST_CASE("storage: a log that begins behind what any snapshot has is damage") {
    SimulatedDisk disk(1);
    {
        Opened opened = open_directory(disk);
        fill(opened.directory->log(), 1, 30, 1);
        snapshot(*opened.directory, 1, 20);
        CHECK_FALSE(opened.directory->log().cut(20));
    }
    disk.remove(snapshot_file(1, 20));
    CHECK(open_directory(disk).finding.condition == DirectoryFinding::Condition::damaged);
    SimulatedDisk other(1);
    {
        Opened opened = open_directory(other);
        fill(opened.directory->log(), 1, 30, 1);
    }
    other.remove("log/" + segment_name(1));
    CHECK(open_directory(other).finding.condition == DirectoryFinding::Condition::damaged);
}

TEST_CASE("storage: a snapshot that came before the log could begin anew behind it is where it begins") {
    for (const LogId last : {LogId{1, 100}, LogId{3, 5}, LogId{1, 5}}) {
        INFO(last.index << ' ' << last.term);
        SimulatedDisk disk(1);
        {
            Opened opened = open_directory(disk);
            fill(opened.directory->log(), 1, 9, 1);
            snapshot(*opened.directory, last.term, last.index);
        }
        for (int again = 0; again < 2; ++again) {
            Opened opened = open_directory(disk);
            REQUIRE(opened.directory);
            CHECK(opened.directory->snapshot()->id.last == last);
            const LogIndex index = opened.directory->log().index();
            const bool kept = last == LogId{1, 5};
            CHECK(index.base() == (kept ? LogId{} : last));
            CHECK(index.last() == (kept ? LogId{1, 9} : last));
        }
    }
}

TEST_CASE("storage: a disk that cannot sync, is full or cannot be written is refused, and says what to do") {
    {
        SimulatedDisk disk(1);
        disk.fail_sync_in(5);
        const Opened opened = open_directory(disk);
        CHECK(opened.finding.condition == DirectoryFinding::Condition::refused);
        CHECK(opened.finding.error == Fault::cannot_sync);
        CHECK(opened.finding.text.find("use ext4 or xfs") != std::string::npos);
    }
    {
        SimulatedDisk disk(1);
        disk.set_room(0);
        const Opened opened = open_directory(disk);
        CHECK(opened.finding.condition == DirectoryFinding::Condition::refused);
        CHECK(opened.finding.error == std::errc::no_space_on_device);
        CHECK(opened.finding.text.find("make room") != std::string::npos);
    }
    {
        SimulatedDisk disk(1);
        open_directory(disk);
        disk.make_unreadable("log/" + segment_name(1));
        const Opened opened = open_directory(disk);
        CHECK(opened.finding.condition == DirectoryFinding::Condition::refused);
        CHECK(opened.finding.error == std::errc::io_error);
    }
}

TEST_CASE("storage: after a crash anywhere in the making of a directory it is made, or made anew") {
    for (std::uint64_t seed = 0; seed < 600; ++seed) {
        INFO("seed " << seed);
        SimulatedDisk disk(seed);
        disk.stop_in(1 + seed % 24);
        bool promised = false;
        {
            Opened opened;
            opened.directory = Directory::open(disk, directory_options(seed), opened.finding);
            if (opened.directory) promised = !opened.directory->identity().give(promise);
        }
        seed % 3 == 0 ? disk.end_processes() : disk.lose_power();
        Opened opened = open_directory(disk, directory_options(seed + 1000));
        INFO(opened.finding.text);
        REQUIRE(opened.directory);
        REQUIRE((!promised || opened.directory->identity().value().promise == promise));
        fill(opened.directory->log(), 1, 10, 1);
        opened.directory.reset();
        disk.lose_power();
        opened = open_directory(disk);
        REQUIRE(opened.finding.condition == DirectoryFinding::Condition::clean);
        REQUIRE(opened.directory->log().index().last().index == 10);
    }
}

TEST_CASE("storage: a whole life with snapshots, cuts and crashes anywhere loses nothing that was acknowledged") {
    std::uint64_t crashes = 0;
    const std::uint64_t lives = sanitized ? 60 : 400;
    for (std::uint64_t seed = 1; seed <= lives; ++seed) {
        INFO("seed " << seed);
        Dice dice(seed);
        SimulatedDisk disk(dice.next());
        Index acknowledged = 0, snapshot_at = 0;
        for (int turn = 0; turn < 12; ++turn) {
            Opened opened = open_directory(disk, directory_options(seed));
            INFO(opened.finding.text);
            REQUIRE(opened.directory);
            Directory& directory = *opened.directory;
            Log& log = directory.log();
            const LogIndex index = log.index();
            REQUIRE(index.last().index >= acknowledged);
            REQUIRE((directory.snapshot() ? directory.snapshot()->id.last.index : 0) >= snapshot_at);
            REQUIRE(index.base().index <= (directory.snapshot() ? directory.snapshot()->id.last.index : 0));
            REQUIRE(all_of(log).size() == index.last().index - index.base().index);
            disk.stop_in(disk.operations() + 1 + dice.below(60));
            Index last = index.last().index;
            for (;;) {
                const Write write = entries({entry(last + 1, 1, std::string(dice.below(200), 'x'))});
                if (log.write({&write, 1})) break;
                acknowledged = ++last;
                if (dice.below(10) != 0 || last < 3) continue;
                std::error_code error;
                const Index at = last - dice.below(3);
                const auto output = directory.snapshots().begin({{1, at}, {}, {}}, error);
                if (!output) continue;
                if (output->write(std::vector<std::byte>(dice.below(3000), std::byte(at))) || output->finish()) break;
                snapshot_at = at;
                const auto list = directory.snapshots().list();
                if (list.size() == 2 && log.cut(list[0].id.last.index)) break;
            }
            ++crashes;
            opened.directory.reset();
            dice.below(3) == 0 ? disk.end_processes() : disk.lose_power();
        }
    }
    MESSAGE(crashes << " crashes");
}
