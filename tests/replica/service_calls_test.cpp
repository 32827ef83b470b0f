#include "replica/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace cluster::service_calls_test {

// What a service is told, and what becomes of a replica whose service fails.

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

namespace {

/// Whether it was told so, or is in time.
bool hears(support::Events<Role>& roles, Role expected) {
    while (const auto role = roles.take()) {
        if (*role == expected) return true;
    }
    return false;
}

/// Reads no snapshot.
class Forgetful final : public Ledger {
public:
    void load(SnapshotReader&) override { throw std::runtime_error("a form that it does not know"); }
};

/// Writes no snapshot.
class Unsaved final : public Service {
public:
    void on_message(Context&, std::span<const std::byte>) override { ++count; }
    void save(SnapshotWriter&) const override { throw std::runtime_error("no words for it"); }
    void load(SnapshotReader&) override {}
    std::atomic<int> count{0};
};

/// Has no state.
class Stateless final : public Service {
public:
    void on_message(Context&, std::span<const std::byte>) override { ++count; }
    void save(SnapshotWriter&) const override {}
    void load(SnapshotReader& in) override {
        ++loaded;
        whole = in.at_end();
    }
    std::atomic<int> count{0};
    std::atomic<int> loaded{0};
    std::atomic<bool> whole{false};
};

}  // namespace

TEST_CASE("replica: a service learns what its replica does, and of each new term once, as the others do") {
    Lone<Ledger> lone;
    lone.start();
    CHECK(hears(lone.service.roles, Role::leader));

    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& first = group.leader();
    Voter& next = group.follower();
    first.replica->transfer(next.name);
    next.replica->submit("one", patience);
    REQUIRE(group.settles(1));
    CHECK(hears(first.service->roles, Role::leader));
    CHECK(hears(first.service->roles, Role::follower));
    CHECK(hears(next.service->roles, Role::leader));
    std::vector<std::vector<std::uint64_t>> heard(group.members.size());
    std::size_t least = 100;
    for (std::size_t i = 0; i < heard.size(); ++i) {
        while (const auto term = group[i].service->terms.take(0ns)) heard[i].push_back(*term);
        least = std::min(least, heard[i].size());
        CHECK(std::adjacent_find(heard[i].begin(), heard[i].end(), std::greater_equal<>()) == heard[i].end());
    }
    // One may have heard of another term meanwhile.
    CHECK(least >= 2);
    for (auto& each : heard) each.resize(least);
    CHECK((heard[0] == heard[1] && heard[1] == heard[2]));
}

TEST_CASE("replica: a service that cannot read its snapshot stops its replica before any message, until it is mended") {
    Forgetful forgetful;
    Ledger mended;
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    replica.submit("one", patience);
    replica.snapshot();
    replica.submit("two", patience);
    lone.replica.reset();
    {
        Replica second(*lone.node, forgetful, lone.options);
        second.wait_until_stopped();
        CHECK(second.status().error == errc::service_failed);
        CHECK(second.status().why.find("a form that it does not know") != std::string::npos);
        CHECK(forgetful.count() == 0);
        CHECK(forgetful.ended == 1);
    }
    Replica third(*lone.node, mended, lone.options);
    CHECK(third.submit("three", patience).text() == "3 three");
    CHECK(mended.loaded == 1);
}

TEST_CASE("replica: if one of several services cannot be saved there is no snapshot, and a restart repeats the log") {
    Unsaved unsaved;
    Unsaved again;
    Ledger other;
    Lone<Ledger> lone;  // its replica ends before them
    lone.replica = std::make_unique<Replica>(
        *lone.node, std::vector<NamedService>{{"ledger", lone.service}, {"unsaved", unsaved}}, lone.options);
    lone.replica->submit("one", patience);
    std::error_code error;
    lone.replica->snapshot(error);
    CHECK(error == errc::service_failed);
    CHECK(lone.lines.wait_for("replica_snapshot_failed why=\"no words for it\""));
    CHECK(lone.replica->status().snapshot == 0);
    CHECK(lone.replica->submit("two", patience).text() == "2 two");
    lone.replica = nullptr;
    lone.replica = std::make_unique<Replica>(
        *lone.node, std::vector<NamedService>{{"ledger", other}, {"unsaved", again}}, lone.options);
    CHECK(lone.replica->submit("three", patience).text() == "3 three");
    CHECK(other.loaded == 0);
    CHECK(again.count == 3);
}

TEST_CASE("replica: an empty state is a snapshot like any other, and only what follows it is repeated") {
    Stateless again;
    Lone<Stateless> lone;
    Replica& replica = lone.start();
    replica.submit("one", patience);
    CHECK(replica.snapshot() != 0);
    replica.submit("two", patience);
    lone.replica = nullptr;
    lone.replica = std::make_unique<Replica>(*lone.node, again, lone.options);
    lone.replica->submit("three", patience);
    CHECK(again.loaded == 1);
    CHECK(again.whole);
    CHECK(again.count == 2);
}

}  // namespace cluster::service_calls_test
