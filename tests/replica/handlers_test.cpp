#include "replica/support.hpp"

#include <cluster/replica.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

using namespace cluster;
using namespace cluster::replica_support;

namespace {

/// Whether `done` comes true.
bool comes(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!done() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return done();
}

/// What the ledger counts up to a message; 0 if there is no reply.
std::uint64_t count_in(const Message& reply) {
    const std::string text(reply.text());
    return text.empty() ? 0 : std::stoull(text);
}

}  // namespace

TEST_CASE("replica: what handlers submit is applied in their order, on a leader and on a follower") {
    Group group({"ann", "bob", "eve"});
    group.start();
    for (Voter* voter : {&group.leader(), &group.follower()}) {
        constexpr int chains = 16;
        constexpr int length = 50;
        std::atomic<int> ended{0};
        std::atomic<int> wrong{0};
        std::function<void(int)> next = [&](int left) {
            if (left == 0) {
                ++ended;
                return;
            }
            const auto first = std::make_shared<std::uint64_t>(0);
            voter->replica->submit("first", 10s, [&, first](std::error_code error, const Message& reply) {
                *first = count_in(reply);
                if (error) ++wrong;
            });
            voter->replica->submit("second", 10s, [&, first, left](std::error_code error, const Message& reply) {
                if (error || count_in(reply) <= *first) ++wrong;
                next(left - 1);
            });
        };
        for (int i = 0; i < chains; ++i) next(length);
        CHECK(comes([&] { return ended == chains; }));
        CHECK(wrong == 0);
    }
    CHECK(group.settles(2 * 16 * 50 * 2));
}

TEST_CASE("replica: what a handler throws is logged, and counted in the stats of the node") {
    Lone<Ledger> lone;
    Replica& replica = lone.start();
    replica.submit("one", 10s, [](std::error_code, const Message&) { throw std::runtime_error("no"); });
    CHECK(lone.lines.wait_for("handler_threw text=\"no\" group=group"));
    CHECK(comes([&] { return lone.node->stats().handler_exceptions == 1; }));
}

TEST_CASE("replica: what a handler submits before the service throws, or while the replica closes, ends") {
    for (const bool throws : {true, false}) {
        Group group({"ann"});
        group.start();
        Voter& solo = group.leader();
        std::atomic<int> begun{1};
        std::atomic<int> ended{0};
        std::function<void(std::error_code, const Message&)> again = [&](std::error_code error, const Message&) {
            if (!error) {
                begun += 2;
                for (int i = 0; i < 2; ++i) solo.replica->submit("again", 10s, again);
            }
            ++ended;
        };
        solo.replica->submit("again", 10s, again);
        REQUIRE(comes([&] { return ended > 100; }));
        std::error_code error;
        if (throws) solo.replica->submit("throw", 10s, error);
        if (throws) CHECK(error == errc::replica_stopped);
        solo.replica->close();
        CHECK(begun == ended);
    }
}

TEST_CASE("replica: who waits for a reply gets it, although the service throws at the next message of the same batch") {
    Group group({"ann"});
    group.start();
    Voter& solo = group.leader();
    support::Events<std::error_code> ends;
    // What one handler submits comes into the log together, and so to the service.
    solo.replica->submit("begin", 10s, [&](std::error_code, const Message&) {
        for (const char* each : {"one", "two", "throw", "three"}) {
            solo.replica->submit(each, 10s, [&](std::error_code error, const Message&) { ends.put(error); });
        }
    });
    int replies = 0;
    for (int i = 0; i < 4; ++i) {
        const auto end = ends.take();
        REQUIRE(end.has_value());
        if (*end) CHECK(*end == errc::replica_stopped);
        if (!*end) ++replies;
    }
    CHECK(replies == 2);
    solo.replica->close();
}
