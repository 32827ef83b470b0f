#include "replica/support.hpp"

#include <cluster/replica.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace cluster::read_test {

using namespace cluster;
using namespace cluster::replica_support;

namespace {

/// What the ledger has counted, as a reply says.
std::uint64_t count_in(const Message& reply) {
    return reply.size() == 0 ? 0 : std::stoull(std::string(reply.text()));
}

ReadOptions stale(std::uint64_t at_least = 0) {
    return {Consistency::stale, at_least};
}

/// Answers no queries.
class Silent final : public Service {
public:
    void on_message(Context&, std::span<const std::byte>) override {}
};

/// With what a read fails, and its text.
std::pair<std::error_code, std::string> failure(Replica& replica, Payload query) {
    try {
        replica.read(std::move(query).view(), patience);
    } catch (const std::system_error& error) {
        return {error.code(), error.what()};
    }
    return {};
}

}  // namespace

TEST_CASE("replica: a read sees what was acknowledged before it, wherever it is, and puts nothing into the log") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& leader = group.leader();
    std::uint64_t count = 0;
    for (int round = 0; round < 50; ++round) {
        for (const auto& writer : group.members) {
            const Message reply = writer->replica->submit("more", patience);
            ++count;
            CHECK(reply.position() != 0);
            for (const auto& reader : group.members) {
                const Message seen = reader->replica->read("how many", patience);
                CHECK(seen.text() == std::to_string(count) + " how many");
                CHECK(seen.position() >= reply.position());
                CHECK(seen.from() == reader->node->id());
            }
        }
    }
    const std::uint64_t appended = leader.replica->status().appended;
    for (int i = 0; i < 100; ++i) group.follower().replica->read("how many", patience);
    CHECK(leader.replica->status().appended == appended);
}

TEST_CASE("replica: a stale read sees at least what its caller was told, at whatever replica that was") {
    Group group({"ann", "bob", "eve"});
    group.start();
    group.leader();
    for (std::uint64_t count = 1; count <= 100; ++count) {
        Replica& writer = *group[count % 3].replica;
        Replica& reader = *group[(count + 1) % 3].replica;
        const Message reply = writer.submit("more", patience);
        const Message seen = reader.read("how many", patience, stale(reply.position()));
        CHECK(count_in(seen) == count);
        CHECK(seen.position() >= reply.position());
        CHECK(count_in(group[count % 3].replica->read("how many", patience, stale(seen.position()))) >= count);
    }
}

TEST_CASE("replica: without a majority a read says that nobody leads, and a stale one is served") {
    Group group({"ann", "bob", "eve"});
    group.start();
    Voter& alone = group.follower();
    const Message reply = alone.replica->submit("one", patience);
    for (const auto& each : group.members) {
        if (each.get() != &alone) each->stop();
    }
    std::error_code error;
    for (const auto deadline = std::chrono::steady_clock::now() + patience;
         error != errc::no_leader && std::chrono::steady_clock::now() < deadline;) {
        alone.replica->read("how many", 50ms, error);
        CHECK((error == errc::no_leader || error == errc::timed_out));
    }
    CHECK(error == errc::no_leader);
    const Message seen = alone.replica->read("how many", patience, stale());
    CHECK(seen.text() == "1 how many");
    alone.replica->read("how many", 50ms, error, stale(seen.position() + 1000));
    CHECK(error == errc::timed_out);
}

TEST_CASE("replica: a query at which the service throws fails alone, with the text of the exception") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    const auto [error, text] = failure(replica, "throw");
    CHECK(error == errc::service_failed);
    CHECK(text.find("the ledger does not say") != std::string::npos);
    support::Events<std::string> ends;
    replica.read("throw", patience, [&](std::error_code code, const Message& reply) {
        ends.put(code == errc::service_failed ? std::string(reply.text()) : "another end");
    });
    CHECK(ends.take() == "the ledger does not say");
    CHECK(replica.submit("one", patience).text() == "1 one");
    CHECK(replica.read("how many", patience).text() == "1 how many");
}

TEST_CASE("replica: of several services all are asked, the last reply counts, and those that answer none do not") {
    Silent silent;
    Ledger other;
    Lone<Ledger> lone;  // its replica ends before them
    lone.replica = std::make_unique<Replica>(
        *lone.node, std::vector<NamedService>{{"one", lone.service}, {"other", other}, {"silent", silent}},
        lone.options);
    REQUIRE(lone.replica->wait_for_leader(patience));
    CHECK(lone.replica->read("how many", patience).text() == "0 how many");
    CHECK(failure(*lone.replica, "throw").first == errc::service_failed);
}

TEST_CASE("replica: a service that answers no queries says so") {
    Lone<Silent> lone;
    Replica& replica = lone.start();
    const auto [error, text] = failure(replica, "how many");
    CHECK(error == errc::unsupported);
    CHECK(text.find("the service does not override Service::on_query") != std::string::npos);
    replica.submit("one", patience);
}

TEST_CASE("replica: a read ends in time although the service hangs, and others are served when it goes on") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    lone.service.hangs = true;
    support::Events<std::error_code> ends;
    const auto end = [&](std::error_code error, const Message&) { ends.put(error); };
    replica.read("hang", 100ms, end);
    while (lone.service.hanging == 0) std::this_thread::yield();
    replica.read("how many", 50ms, end);
    CHECK(ends.take() == errc::timed_out);
    CHECK(ends.take() == errc::timed_out);
    support::Events<std::error_code> others;
    replica.read("how many", patience, [&](std::error_code error, const Message&) { others.put(error); });
    lone.service.hangs = false;
    CHECK(others.take() == std::error_code());
}

TEST_CASE("replica: a query longer than a message is refused, and the longest one is not") {
    Lone<Ledger> lone;
    lone.options.max_message = 100;
    Replica& replica = lone.start();
    CHECK(replica.read(std::string(100, 'x'), patience).size() == 102);
    std::error_code error;
    replica.read(std::string(101, 'x'), patience, error);
    CHECK(error == errc::message_too_large);
}

TEST_CASE("replica: reads that wait when their replica closes end, and later ones are refused") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    std::atomic<int> closed{0};
    for (int i = 0; i < 10; ++i) {
        replica.read(
            "how many", patience,
            [&](std::error_code error, const Message&) {
                if (error == errc::closed) ++closed;
            },
            stale(1'000'000));
    }
    replica.close();
    CHECK(closed == 10);
    std::error_code error;
    replica.read("how many", patience, error);
    CHECK(error == errc::replica_stopped);
    Lone<Ledger> broken;
    broken.start().submit("throw", patience, error);
    broken.replica->read("how many", patience, error);
    CHECK(error == errc::replica_stopped);
}

TEST_CASE("replica: after a restart a stale read waits for what the disk knows to be committed") {
    Lone<Ledger> lone;
    lone.start();
    for (int i = 0; i < 50; ++i) lone.replica->submit("more", patience);
    lone.replica.reset();
    Ledger again;
    Replica replica(*lone.node, again, lone.options);
    CHECK(count_in(replica.read("how many", patience, stale())) >= 45);
}

TEST_CASE("replica: what many threads read while others submit never goes back") {
    Group group({"ann", "bob", "eve"});
    group.start();
    group.leader();
    std::atomic<std::uint64_t> acknowledged{0};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (const auto& each : group.members) {
        threads.emplace_back([&, replica = each->replica.get()] {
            for (int i = 0; i < 200; ++i) {
                const std::uint64_t count = count_in(replica->submit("more", patience));
                std::uint64_t before = acknowledged;
                while (before < count && !acknowledged.compare_exchange_weak(before, count)) {
                }
            }
        });
        for (const bool old : {false, true}) {
            threads.emplace_back([&, old, replica = each->replica.get()] {
                std::uint64_t least = 0;
                for (int i = 0; i < 200; ++i) {
                    if (!old) least = acknowledged;
                    const std::uint64_t count =
                        count_in(replica->read("how many", patience, old ? stale() : ReadOptions()));
                    if (count < least) ++wrong;
                    least = count;
                }
            });
        }
    }
    for (std::thread& each : threads) each.join();
    CHECK(wrong == 0);
    CHECK(group.settles(600));
}

}  // namespace cluster::read_test
