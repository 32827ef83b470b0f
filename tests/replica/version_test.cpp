#include "group/version.hpp"
#include "replica/applier.hpp"
#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace cluster::version_test {

// Versions of the application: in terms, in snapshots, and what does not go together.

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

namespace {

constexpr ApplicationVersion none{};

ApplicationVersion pair(std::uint32_t both) {
    return {static_cast<std::uint16_t>(both >> 16), static_cast<std::uint16_t>(both)};
}

/// Notes which versions it meets.
class Versioned final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte>) override {
        ++messages;
        const ApplicationVersion version = context.version();
        context.reply(std::to_string(version.major) + "." + std::to_string(version.minor));
    }
    void on_term(Context& context) override {
        term_version = static_cast<std::uint32_t>(context.version().major) << 16 | context.version().minor;
    }
    void save(SnapshotWriter&) const override {}
    void load(SnapshotReader& in) override {
        loaded = static_cast<std::uint32_t>(in.version().major) << 16 | in.version().minor;
    }
    std::atomic<int> messages{0};
    std::atomic<std::uint32_t> term_version{0};
    std::atomic<std::uint32_t> loaded{0};
};

consensus::Entry term(std::uint64_t index, std::uint64_t number, ApplicationVersion version) {
    consensus::Entry entry;
    entry.id = {number, index};
    entry.body = group::pack(version);
    return entry;
}

/// A group of one, started again and again on the same directory.
struct Place {
    Place() {
        Options of_node = support::quick();
        of_node.name = "ann";
        of_node.log = lines.sink();
        node = std::make_unique<Node>(of_node);
        options.directory = folder / "data";
        options.voters = {"ann"};
        options.election_timeout = 100ms;
        options.heartbeat = 20ms;
    }
    Replica& start(ApplicationVersion version) {
        replica.reset();
        service = std::make_unique<Versioned>();
        options.version = version;
        replica = std::make_unique<Replica>(*node, *service, options);
        return *replica;
    }
    /// The text with which the replica is not started.
    std::string refusal(ApplicationVersion version) {
        try {
            start(version);
        } catch (const std::system_error& error) {
            CHECK(error.code() == errc::version_refused);
            return error.what();
        }
        return "it was started";
    }
    std::string ask() { return std::string(replica->submit("which", patience).text()); }

    storage::support::Folder folder;
    support::Lines lines;
    std::unique_ptr<Node> node;
    ReplicaOptions options;
    std::unique_ptr<Versioned> service;
    std::unique_ptr<Replica> replica;
};

}  // namespace

TEST_CASE("versions: as bytes they are nothing, or four, and what is longer is for others to come") {
    CHECK(group::pack(none).size() == 0);
    const Bytes packed = group::pack({2, 770});
    CHECK(packed.size() == 4);
    consensus::Entry entry = term(1, 1, {2, 770});
    CHECK(group::version_of(entry) == ApplicationVersion{2, 770});
    const std::string whole(packed.text());
    for (std::size_t size = 0; size < 4; ++size) {
        entry.body = Bytes(std::string_view(whole).substr(0, size));
        CHECK(group::version_of(entry) == none);
    }
    entry.body = Bytes(whole + "more");
    CHECK(group::version_of(entry) == ApplicationVersion{2, 770});
    entry.kind = consensus::EntryKind::command;
    CHECK(group::version_of(entry) == none);
}

TEST_CASE("applier: the version of a term is that of its leader, and another major one is refused before it is seen") {
    Versioned service;
    replica::Applier applier({{"only", service}}, {}, 1, [](auto, auto) {}, {{1, 2}, {}});
    applier.apply(term(1, 1, none));
    CHECK(applier.state().version == none);
    applier.apply(term(2, 2, {1, 9}));
    CHECK(applier.state().version == ApplicationVersion{1, 9});
    CHECK(pair(service.term_version) == ApplicationVersion{1, 9});
    CHECK_THROWS_AS(applier.apply(term(3, 3, {2, 0})), replica::VersionRefused);
    CHECK(pair(service.term_version) == ApplicationVersion{1, 9});
    Versioned old;
    replica::Applier unversioned({{"only", old}}, {}, 1, [](auto, auto) {});
    unversioned.apply(term(1, 1, {7, 0}));
    CHECK(pair(old.term_version) == ApplicationVersion{7, 0});
    Versioned strict;
    const auto exact = [](ApplicationVersion own, ApplicationVersion other) { return own == other; };
    replica::Applier ruled({{"only", strict}}, {}, 1, [](auto, auto) {}, {{1, 2}, exact});
    ruled.apply(term(1, 1, none));
    ruled.apply(term(2, 2, {1, 2}));
    CHECK_THROWS_AS(ruled.apply(term(3, 3, {1, 3})), replica::VersionRefused);
}

TEST_CASE("replica: the version stands in the log and in snapshots, and another major one is not started") {
    Place place;
    place.start({1, 0}).wait_for_leader(patience);
    CHECK(place.ask() == "1.0");
    place.start({1, 1}).wait_for_leader(patience);
    CHECK(place.ask() == "1.1");
    CHECK(place.service->messages == 2);

    CHECK(place.refusal({2, 0}).find("leader of version 1.0") != std::string::npos);

    place.start({1, 2}).wait_for_leader(patience);
    CHECK(place.ask() == "1.2");
    place.replica->snapshot();
    CHECK(place.refusal({2, 0}).find("snapshot of version 1.2") != std::string::npos);

    place.options.accepts_version = [](ApplicationVersion own, ApplicationVersion other) {
        return own.major - other.major <= 1;
    };
    place.start({2, 0}).wait_for_leader(patience);
    CHECK(place.ask() == "2.0");
    CHECK(pair(place.service->loaded) == ApplicationVersion{1, 2});
}

TEST_CASE("replica: a leader of another major version stops those who do not go on behind it") {
    ReplicaOptions options;
    options.version = {1, 0};
    Group group({"ann", "bob", "eve"}, options);
    group.start();
    group.leader().replica->submit("one", patience);
    Voter& newer = group.follower();
    newer.replica.reset();
    newer.options.version = {2, 0};
    CHECK_THROWS_AS(newer.open(), std::system_error);
    newer.options.accepts_version = [](ApplicationVersion, ApplicationVersion) { return true; };
    newer.open();
    newer.replica->submit("two", patience);
    for (const auto& each : group.members) CHECK_FALSE(each->replica->status().stopped);
    group.leader().replica->transfer(newer.name);
    for (const auto& each : group.members) {
        if (each.get() == &newer) continue;
        each->replica->wait_until_stopped();
        CHECK(each->replica->status().error == errc::version_refused);
    }
}

}  // namespace cluster::version_test
