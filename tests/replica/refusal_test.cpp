#include "replica/support.hpp"

#include "storage/directory.hpp"
#include "storage/system_disk.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

TEST_CASE("replica: bad options are refused, with the name of the option") {
    Lone<Ledger> lone;
    const auto text_of = [&](const auto& change) {
        ReplicaOptions options = lone.options;
        change(options);
        try {
            const Replica replica(*lone.node, lone.service, options);
        } catch (const std::system_error& error) {
            CHECK(error.code() == errc::invalid_options);
            return std::string(error.what());
        }
        return std::string("taken");
    };
    const auto names = [](const std::string& text, const std::string& option) {
        return text.find("ReplicaOptions::" + option) != std::string::npos;
    };
    CHECK(names(text_of([](ReplicaOptions& options) { options.directory = ""; }), "directory"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.group = ""; }), "group"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.group = std::string(65, 'x'); }), "group"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.voters = {}; }), "voters"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.voters = {"bob"}; }), "voters"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.voters = {"ann", "ann"}; }), "voters"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.voters = {"ann", ""}; }), "voters"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.appointed_leader = "bob"; }), "appointed_leader"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.election_timeout = 1ms; }), "election_timeout"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.heartbeat = 200ms; }), "heartbeat"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.snapshot_every = 1; }), "snapshot_every"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.max_message = 9 << 20; }), "max_message"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.max_uncommitted = 1; }), "max_uncommitted"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.compare_every = 1; }), "compare_every"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.max_sessions = (1 << 20) + 1; }), "max_sessions"));
    CHECK(names(text_of([](ReplicaOptions& options) { options.max_session_timeout = 99ms; }), "max_session_timeout"));
}

TEST_CASE("replica: it takes 1 to 16 services, each with a name of its own") {
    Lone<Ledger> lone;
    const auto refused = [&](const std::vector<std::string>& names) {
        std::vector<NamedService> services;
        for (const std::string& name : names) services.push_back({name, lone.service});
        try {
            const Replica replica(*lone.node, services, lone.options);
        } catch (const std::system_error& error) {
            return error.code() == errc::invalid_options;
        }
        return false;
    };
    std::vector<std::string> many;
    for (int i = 0; i < 17; ++i) many.push_back(std::to_string(i));
    CHECK(refused({}));
    CHECK(refused(many));
    CHECK(refused({"one", "one"}));
    CHECK(refused({""}));
    CHECK(refused({std::string(65, 'x')}));
    many.pop_back();
    CHECK_FALSE(refused(many));
}

TEST_CASE("replica: a directory that is not this replica's is refused, and nothing of it is changed") {
    Lone<Ledger> lone;
    lone.start().submit("one", patience);
    Ledger other;
    CHECK(refusal(*lone.node, other, lone.options) == errc::directory_in_use);
    lone.replica->close();
    ReplicaOptions options = lone.options;
    options.group = "orders";
    CHECK(refusal(*lone.node, other, options) == errc::wrong_directory);
    CHECK(lone.lines.wait_for("replica_refused why="));
    Options node_options = support::quick();
    node_options.name = "bob";
    Node bob(node_options);
    options = lone.options;
    options.voters = {"ann", "bob"};
    CHECK(refusal(bob, other, options) == errc::wrong_directory);
    options = lone.options;
    options.directory = "/proc/nothing/here";
    CHECK(refusal(*lone.node, other, options) == errc::storage_failed);
    std::filesystem::remove(lone.options.directory + "/identity");
    CHECK(refusal(*lone.node, other, lone.options) == errc::directory_damaged);
    CHECK(other.started == 0);
}

TEST_CASE("replica: a directory that contradicts itself is refused, and no replica begins and stops") {
    Lone<Ledger> lone;
    lone.start().submit("one", patience);
    lone.replica->close();
    {
        storage::SystemDisk disk(lone.options.directory);
        storage::DirectoryOptions options;
        options.node = "ann";
        options.group_name = lone.options.group;
        storage::DirectoryFinding finding;
        const auto directory = storage::Directory::open(disk, options, finding);
        REQUIRE(directory);
        const consensus::LogId last = directory->log().index().last();
        const consensus::Write write = storage::support::entries({{{last.term, last.index + 1},
                                                                   consensus::EntryKind::configuration,
                                                                   std::chrono::hours(1'000'000),
                                                                   Bytes(std::string_view("no configuration"))}});
        REQUIRE_FALSE(directory->log().write({&write, 1}));
    }
    Ledger other;
    CHECK(refusal(*lone.node, other, lone.options) == errc::directory_damaged);
    CHECK(lone.lines.wait_for("replica_refused why="));
    CHECK(other.started == 0);
}

TEST_CASE("replica: a node has one replica of a group") {
    Lone<Ledger> lone;
    lone.start().submit("one", patience);
    Ledger other;
    ReplicaOptions options = lone.options;
    options.directory += "-other";
    CHECK(refusal(*lone.node, other, options) == errc::invalid_options);
    CHECK(lone.replica->submit("two", patience).text() == "2 two");
    lone.replica->close();
    CHECK_FALSE(refusal(*lone.node, other, options));
}
