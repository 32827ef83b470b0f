#include "storage/identity.hpp"

#include "storage/support.hpp"

using namespace cluster;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

namespace {

GroupId group_id(std::uint8_t first) {
    return {disk_id(first).bytes};
}

Identity ann_identity() {
    Identity identity;
    identity.disk = disk_id(1);
    identity.node = "ann";
    identity.group_name = "orders";
    return identity;
}

}  // namespace

TEST_CASE("storage: an identity has the bytes that FORMAT.md draws") {
    Identity identity = ann_identity();
    CHECK(hex(pack(identity)) ==
          "434c555354494459"
          "01000000"
          "0102030405060708090a0b0c0d0e0f10"
          "0300"
          "616e6e"
          "0600"
          "6f7264657273"
          "00"
          "00"
          "1b960315");
    identity.promise = Promise{group_id(0x20), {{"ann", disk_id(1)}, {"bob", disk_id(0x30)}}};
    identity.group = group_id(0x20);
    CHECK(hex(pack(identity)) ==
          "434c555354494459"
          "01000000"
          "0102030405060708090a0b0c0d0e0f10"
          "0300"
          "616e6e"
          "0600"
          "6f7264657273"
          "01"
          "202122232425262728292a2b2c2d2e2f"
          "0200"
          "0300"
          "616e6e"
          "0102030405060708090a0b0c0d0e0f10"
          "0300"
          "626f62"
          "303132333435363738393a3b3c3d3e3f"
          "01"
          "202122232425262728292a2b2c2d2e2f"
          "79c123b5");
    CHECK(unpack_identity(pack(identity)) == identity);
}

TEST_CASE("storage: an identity with any bit turned, any part missing or more behind it is damaged") {
    Identity identity = ann_identity();
    identity.promise = Promise{group_id(2), {{"ann", disk_id(1)}, {"bob", disk_id(3)}}};
    const std::vector<std::byte> good = pack(identity);
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::vector<std::byte> bad = good;
        bad[bit / 8] ^= std::byte{1} << (bit % 8);
        REQUIRE_FALSE(unpack_identity(bad));
    }
    for (std::size_t length = 0; length < good.size(); ++length) {
        REQUIRE_FALSE(unpack_identity(std::span(good).first(length)));
    }
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    CHECK_FALSE(unpack_identity(longer));
}

TEST_CASE("storage: a disk promises itself once, and belongs to one group") {
    SimulatedDisk disk(1);
    IdentityFile file(disk);
    CHECK(file.read() == std::errc::no_such_file_or_directory);
    CHECK_FALSE(file.create(ann_identity()));
    const Promise promise{group_id(2), {{"ann", disk_id(1)}, {"bob", disk_id(3)}}};
    CHECK_FALSE(file.give(promise));
    CHECK_FALSE(file.give(promise));
    CHECK(file.give({group_id(4), promise.disks}) == Fault::promised);
    CHECK(file.give({group_id(2), {{"ann", disk_id(1)}}}) == Fault::promised);
    CHECK(file.belong_to(group_id(4)) == Fault::promised);
    disk.lose_power();
    IdentityFile again(disk);
    CHECK_FALSE(again.read());
    CHECK(again.value().promise == promise);
    CHECK_FALSE(again.belong_to(group_id(2)));
    CHECK_FALSE(again.belong_to(group_id(2)));
    CHECK(again.belong_to(group_id(3)) == Fault::promised);
    CHECK(again.give({group_id(4), promise.disks}) == Fault::promised);
    // A newcomer has promised nothing.
    SimulatedDisk other(2);
    IdentityFile newcomer(other);
    CHECK_FALSE(newcomer.create(ann_identity()));
    CHECK_FALSE(newcomer.belong_to(group_id(2)));
    CHECK(newcomer.give(promise) == Fault::promised);
}

TEST_CASE("storage: an identity is the old or the new one after a crash anywhere, and the new one once that was said") {
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        SimulatedDisk disk(seed);
        IdentityFile file(disk);
        REQUIRE_FALSE(file.create(ann_identity()));
        const Promise promise{group_id(2), {{"ann", disk_id(1)}, {"bob", disk_id(3)}}};
        disk.stop_in(disk.operations() + 1 + seed % 7);
        const bool said = !file.give(promise);
        disk.lose_power();
        IdentityFile again(disk);
        REQUIRE_FALSE(again.read());
        REQUIRE((again.value() == ann_identity() || again.value().promise == promise));
        REQUIRE((!said || again.value().promise == promise));
        disk.lose_power();
        IdentityFile third(disk);
        REQUIRE_FALSE(third.read());
        REQUIRE(third.value() == again.value());
        REQUIRE_FALSE(third.give(promise));
    }
}

TEST_CASE("storage: an identity that could not be written is not written again") {
    SimulatedDisk disk(1);
    IdentityFile file(disk);
    REQUIRE_FALSE(file.create(ann_identity()));
    disk.fail_sync_in(disk.operations() + 4);
    const Promise promise{group_id(2), {{"ann", disk_id(1)}}};
    CHECK(file.give(promise) == std::errc::io_error);
    CHECK(file.give(promise) == std::errc::io_error);
    CHECK_FALSE(file.value().promise);
    Identity longer = ann_identity();
    longer.node = std::string(Identity::longest_name + 1, 'n');
    IdentityFile other(disk);
    CHECK(other.create(longer) == Fault::too_large);
    longer.node.pop_back();
    CHECK_FALSE(other.create(longer));
}
