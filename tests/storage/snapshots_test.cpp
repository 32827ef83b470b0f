#include "storage/snapshots.hpp"

#include "storage/support.hpp"

#include <algorithm>

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

namespace {

std::vector<std::byte> random_contents(std::size_t size, std::uint64_t seed = 1) {
    Dice dice(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& each : bytes) each = std::byte(dice.below(256));
    return bytes;
}

SnapshotId snapshot_id(Term term, Index index) {
    return {{term, index}, Duration(static_cast<std::int64_t>(index)), Bytes("ann bob eve")};
}

void put_snapshot(Snapshots& snapshots, const SnapshotId& which, std::span<const std::byte> bytes) {
    std::error_code error;
    const auto output = snapshots.begin(which, error);
    REQUIRE_MESSAGE(!error, error.message());
    REQUIRE_FALSE(output->write(bytes));
    REQUIRE_FALSE(output->finish());
}

std::vector<std::byte> all_of(const Snapshots& snapshots, const LogId& last) {
    std::error_code error;
    const auto input = snapshots.read(last, error);
    REQUIRE_MESSAGE(!error, error.message());
    CHECK_FALSE(input->verify());
    std::vector<std::byte> bytes(input->facts().size + 10);
    bytes.resize(input->read(0, bytes, error));
    CHECK_FALSE(error);
    return bytes;
}

std::string file_of_snapshot(const LogId& last) {
    return "snapshots/" + segment_name(last.term) + '-' + segment_name(last.index);
}

}  // namespace

TEST_CASE("storage: a snapshot has the bytes that FORMAT.md draws") {
    SimulatedDisk disk(1);
    Snapshots snapshots(disk);
    REQUIRE_FALSE(snapshots.open());
    SnapshotId which{{3, 258}, Duration(77), Bytes("ann")};
    put_snapshot(snapshots, which, std::as_bytes(std::span(std::string_view("state"))));
    CHECK(hex(disk.contents("snapshots/0000000000000003-0000000000000102")) ==
          "434c555354534e50"
          "01000000"
          "03000000"
          "0201000000000000"
          "0300000000000000"
          "4d00000000000000"
          "0500000000000000"
          "df68db66"
          "0000000000000000"
          "04217061"
          "616e6e"
          "7374617465"
          "df68db66");
}

TEST_CASE("storage: snapshots of every size are read in parts of every size") {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, Snapshots::block_bytes - 1, Snapshots::block_bytes,
                                   Snapshots::block_bytes + 1, 3 * Snapshots::block_bytes + 17}) {
        SimulatedDisk disk(1);
        Snapshots snapshots(disk);
        REQUIRE_FALSE(snapshots.open());
        const std::vector<std::byte> bytes = random_contents(size);
        std::error_code error;
        {
            const auto output = snapshots.begin(snapshot_id(2, 9), error);
            Dice dice(size);
            for (std::size_t at = 0; at < size;) {
                const std::size_t count = std::min<std::size_t>(size - at, 1 + dice.below(100'000));
                CHECK(output->position() == at);
                REQUIRE_FALSE(output->write(std::span(bytes).subspan(at, count)));
                at += count;
            }
            REQUIRE_FALSE(output->finish());
            CHECK(output->finish() == Fault::closed);
        }
        disk.lose_power();
        Snapshots again(disk);
        REQUIRE_FALSE(again.open());
        REQUIRE(again.list().size() == 1);
        CHECK(again.list()[0].id == snapshot_id(2, 9));
        CHECK(again.list()[0].size == size);
        CHECK(all_of(again, {2, 9}) == bytes);
        const auto input = again.read({2, 9}, error);
        Dice dice(size + 1);
        for (int i = 0; i < 30; ++i) {
            const std::size_t from = dice.below(size + 1);
            std::vector<std::byte> part(dice.below(100'000));
            const std::size_t count = input->read(from, part, error);
            REQUIRE_FALSE(error);
            REQUIRE(count == std::min(part.size(), size - from));
            REQUIRE(
                std::equal(part.begin(), part.begin() + std::ptrdiff_t(count), bytes.begin() + std::ptrdiff_t(from)));
        }
    }
}

TEST_CASE("storage: the newest two snapshots are kept, one is written at a time, and older ones are refused") {
    SimulatedDisk disk(1);
    Snapshots snapshots(disk);
    REQUIRE_FALSE(snapshots.open());
    std::error_code error;
    for (Index i = 1; i <= 4; ++i) put_snapshot(snapshots, snapshot_id(1, i * 10), random_contents(100, i));
    REQUIRE(snapshots.list().size() == 2);
    CHECK(snapshots.list()[0].id.last == LogId{1, 30});
    CHECK(snapshots.list()[1].id.last == LogId{1, 40});
    CHECK_FALSE(disk.exists(file_of_snapshot({1, 20})));
    CHECK(snapshots.read({1, 20}, error) == nullptr);
    CHECK(error == Fault::not_there);
    CHECK(snapshots.begin(snapshot_id(1, 40), error) == nullptr);
    CHECK(error == Fault::contradiction);
    auto output = snapshots.begin(snapshot_id(2, 50), error);
    REQUIRE(output);
    CHECK(snapshots.begin(snapshot_id(2, 60), error) == nullptr);
    CHECK(error == Fault::busy);
    CHECK(snapshots.receive({snapshot_id(2, 60), 1, 1}, error) == nullptr);
    CHECK(error == Fault::busy);
    // Given up: nothing is left, and the next one may begin.
    CHECK_FALSE(output->write(random_contents(200'000)));
    output.reset();
    CHECK(disk.names() == std::set<std::string>{file_of_snapshot({1, 30}), file_of_snapshot({1, 40})});
    // What is being read stays until it has been read.
    const auto input = snapshots.read({1, 30}, error);
    for (Index i = 5; i <= 8; ++i) put_snapshot(snapshots, snapshot_id(2, i * 10), random_contents(100, i));
    CHECK_FALSE(disk.exists(file_of_snapshot({1, 30})));
    CHECK_FALSE(input->verify());
    SnapshotId longest = snapshot_id(3, 90);
    longest.configuration = Bytes(std::string(Snapshots::longest_configuration + 1, 'c'));
    CHECK(snapshots.begin(longest, error) == nullptr);
    CHECK(error == Fault::too_large);
}

TEST_CASE("storage: a snapshot is received in parts, goes on after a break, and must be the one that was announced") {
    SimulatedDisk there(1), here(2);
    Snapshots theirs(there), ours(here);
    REQUIRE_FALSE(theirs.open());
    REQUIRE_FALSE(ours.open());
    const std::vector<std::byte> bytes = random_contents(200'000);
    put_snapshot(theirs, snapshot_id(4, 100), bytes);
    std::error_code error;
    const auto input = theirs.read({4, 100}, error);
    const auto output = ours.receive(input->facts(), error);
    REQUIRE(output);
    CHECK(output->expected() == input->facts());
    std::vector<std::byte> part(7'000);
    Dice dice(3);
    while (output->position() < input->facts().size) {
        // A link broke: something comes twice, or something is missing.
        const std::uint64_t from = output->position() - std::min<std::uint64_t>(output->position(), dice.below(9'000));
        const std::size_t count = input->read(from, part, error);
        REQUIRE_FALSE(output->write_at(from, std::span(part).first(count)));
        CHECK(output->write_at(output->position() + 1, part) == Fault::not_there);
    }
    CHECK_FALSE(output->finish());
    CHECK(all_of(ours, {4, 100}) == bytes);

    for (int wrong = 0; wrong < 3; ++wrong) {
        SnapshotFacts facts = input->facts();
        facts.id.last.index += 1;
        if (wrong == 0) facts.checksum ^= 1;
        if (wrong == 1) facts.size += 1;
        if (wrong == 2) facts.size -= 1;
        const auto other = ours.receive(facts, error);
        REQUIRE(other);
        REQUIRE_FALSE(other->write(bytes));
        CHECK(other->finish() == Fault::damaged);
        CHECK(other->finish() == Fault::damaged);
        CHECK(ours.list().size() == 1);
    }
}

TEST_CASE("storage: any bit that turns in a snapshot is found, by its head or when it is read") {
    SimulatedDisk disk(1);
    {
        Snapshots snapshots(disk);
        REQUIRE_FALSE(snapshots.open());
        put_snapshot(snapshots, snapshot_id(1, 5), random_contents(70'000));
    }
    const std::string file = file_of_snapshot({1, 5});
    const std::size_t size = disk.contents(file).size();
    Dice dice(1);
    for (int i = 0; i < 600; ++i) {
        const std::uint64_t byte = i < 200 ? std::uint64_t(i) : dice.below(size);
        const auto bit = static_cast<unsigned>(dice.below(8));
        INFO(byte << ' ' << bit);
        disk.flip(file, byte, bit);
        Snapshots snapshots(disk);
        REQUIRE_FALSE(snapshots.open());
        if (snapshots.list().empty()) {
            REQUIRE(snapshots.damaged() == std::vector<std::string>{file});
        } else {
            std::error_code error;
            REQUIRE(snapshots.read({1, 5}, error)->verify() == Fault::damaged);
        }
        disk.flip(file, byte, bit);
    }
    std::vector<std::byte> shorter = disk.contents(file);
    shorter.pop_back();
    disk.put(file, shorter);
    Snapshots snapshots(disk);
    REQUIRE_FALSE(snapshots.open());
    std::error_code error;
    CHECK(snapshots.read({1, 5}, error)->verify() == Fault::damaged);
    snapshots.mark_damaged({1, 5});
    CHECK(snapshots.list().empty());
    put_snapshot(snapshots, snapshot_id(1, 5), random_contents(10));
    CHECK(snapshots.damaged().empty());
    CHECK(snapshots.list().size() == 1);
}

TEST_CASE("storage: after a crash anywhere the snapshot of before is there, and the new one once that was said") {
    int there = 0;
    const std::uint64_t crashes = 1000;
    for (std::uint64_t seed = 0; seed < crashes; ++seed) {
        INFO("seed " << seed);
        SimulatedDisk disk(seed);
        bool said = false;
        {
            Snapshots snapshots(disk);
            REQUIRE_FALSE(snapshots.open());
            for (Index i = 1; i <= 3; ++i) put_snapshot(snapshots, snapshot_id(1, i), random_contents(10'000, i));
            disk.stop_in(disk.operations() + 1 + seed % 9);
            std::error_code error;
            const auto output = snapshots.begin(snapshot_id(1, 4), error);
            if (output && !output->write(random_contents(100'000, 4))) said = !output->finish();
            seed % 5 == 0 ? disk.end_processes() : disk.lose_power();
        }
        Snapshots snapshots(disk);
        REQUIRE_FALSE(snapshots.open());
        REQUIRE_FALSE(disk.exists("snapshots/unfinished"));
        REQUIRE(snapshots.damaged().empty());
        bool third = false, fourth = false;
        for (const SnapshotFacts& each : snapshots.list()) {
            third = third || each.id.last.index == 3;
            fourth = fourth || each.id.last.index == 4;
            REQUIRE(all_of(snapshots, each.id.last) ==
                    random_contents(each.id.last.index == 4 ? 100'000 : 10'000, each.id.last.index));
        }
        REQUIRE(third);
        REQUIRE((fourth || !said));
        there += fourth;
        if (!fourth) put_snapshot(snapshots, snapshot_id(1, 4), random_contents(10, 4));
        REQUIRE(snapshots.list().back().id.last.index == 4);
    }
    CHECK(there > 100);
    CHECK(there < 900);
}

TEST_CASE("storage: a snapshot that cannot be written says so, leaves nothing, and does not stop the next one") {
    SimulatedDisk disk(1);
    Snapshots snapshots(disk);
    REQUIRE_FALSE(snapshots.open());
    put_snapshot(snapshots, snapshot_id(1, 1), random_contents(1000));
    std::error_code error;
    {
        const auto output = snapshots.begin(snapshot_id(1, 2), error);
        disk.set_room(150'000);
        CHECK(output->write(random_contents(200'000)) == std::errc::no_space_on_device);
        disk.set_room(UINT64_MAX);
        CHECK(output->write(random_contents(1)) == std::errc::no_space_on_device);
        CHECK(output->finish() == std::errc::no_space_on_device);
    }
    {
        const auto output = snapshots.begin(snapshot_id(1, 2), error);
        CHECK_FALSE(output->write(random_contents(20)));
        disk.fail_sync_in(disk.operations() + 3);
        CHECK(output->finish() == std::errc::io_error);
        CHECK(output->finish() == std::errc::io_error);
    }
    CHECK(disk.names().size() == 1);
    put_snapshot(snapshots, snapshot_id(1, 2), random_contents(200'000));
}
