#include "asio/support.hpp"

#include <cluster/testing.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

namespace {

/// The error with which an update comes, and how many members it shows.
using Update = std::pair<std::error_code, std::size_t>;

auto into(Events<Update>& results) {
    return [&results](std::error_code error, const MemberUpdate& update) { results.put({error, update.view.size()}); };
}

struct Fixture {
    cluster::testing::MemoryCluster cluster;
    Membership membership = cluster.create_membership();
    MemberWatch watch = cluster.members().watch();
};

}  // namespace

TEST_CASE("async_next: a callback without an executor gets the first view and then the newest one") {
    Fixture test;
    Events<Update> results;
    test.watch.async_next(into(results));
    CHECK(results.take() == Update({}, 0));
    test.watch.async_next(into(results));
    CHECK(results.size() == 0);
    test.membership.enroll();
    CHECK(results.take() == Update({}, 1));
    test.membership.set_data("1");
    test.membership.withdraw();
    test.watch.async_next(into(results));
    CHECK(results.take() == Update({}, 0));
}

TEST_CASE("async_next: a future") {
    Fixture test;
    CHECK(get(test.watch.async_next(asio::use_future)).view.empty());
    auto next = test.watch.async_next(asio::use_future);
    CHECK(next.wait_for(1ms) == std::future_status::timeout);
    test.membership.enroll();
    const MemberUpdate update = get(std::move(next));
    REQUIRE(update.changes.size() == 1);
    CHECK(update.changes[0].event == MemberEvent::joined);
    CHECK(update.changes[0].member.id() == test.membership.id());
    auto last = test.watch.async_next(asio::use_future);
    test.cluster.close();
    CHECK(error_of(std::move(last)) == errc::closed);
    CHECK(error_of(test.watch.async_next(asio::use_future)) == errc::closed);
}

TEST_CASE("async_next: a coroutine follows the members until the cluster closes, and never misses the last change") {
    Fixture test;
    asio::io_context io;
    std::vector<std::uint64_t> versions;
    std::string last;
    std::error_code end;
    const auto follow = [](MemberWatch watch, std::vector<std::uint64_t>& seen, std::string& text,
                           std::error_code& error, Fixture& fixture) -> asio::awaitable<void> {
        try {
            for (;;) {
                const MemberUpdate update = co_await watch.async_next(asio::use_awaitable);
                seen.push_back(update.view.version());
                if (!update.view.empty()) text = update.view[0].text();
                if (text == "999") fixture.cluster.close();
            }
        } catch (const std::system_error& thrown) {
            error = thrown.code();
        }
    };
    asio::co_spawn(io, follow(test.watch, versions, last, end, test), asio::detached);
    std::jthread writing([&] {
        test.membership.enroll();
        for (int i = 0; i < 1000; ++i) test.membership.set_data(std::to_string(i));
    });
    CHECK(run(io));
    CHECK(end == errc::closed);
    CHECK(last == "999");
    for (std::size_t i = 1; i < versions.size(); ++i) CHECK(versions[i] > versions[i - 1]);
}

TEST_CASE("async_next: a handler runs on its own executor, and finds what is newest when it runs") {
    Fixture test;
    asio::io_context io;
    Events<Update> results;
    CHECK(test.watch.try_next().has_value());
    test.watch.async_next(asio::bind_executor(io, into(results)));
    test.membership.enroll();
    Membership other = test.cluster.create_membership();
    other.enroll();
    CHECK(results.size() == 0);
    SUBCASE("both changes in one") {
        CHECK(run(io));
        CHECK(results.take() == Update({}, 2));
    }
    SUBCASE("another reader of the same watch was quicker, so it waits for the next") {
        CHECK(test.watch.try_next()->view.size() == 2);
        std::jthread later([&] { other.withdraw(); });
        CHECK(run(io));
        CHECK(results.take() == Update({}, 1));
    }
    SUBCASE("what has changed is again as it was, so there is nothing to tell") {
        other.withdraw();
        test.membership.withdraw();
        std::jthread later([&] { test.watch.close(); });
        CHECK(run(io));
        CHECK(results.take() == Update(errc::closed, 0));
    }
}

TEST_CASE("async_next: cancelling loses no update, before and after it was woken") {
    Fixture test;
    asio::io_context io;
    Events<Update> cancelled;
    Events<Update> results;
    asio::cancellation_signal signal;
    CHECK(test.watch.try_next().has_value());
    test.watch.async_next(
        asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(cancelled))));
    SUBCASE("before there is a change") {
        signal.emit(asio::cancellation_type::total);
        test.membership.enroll();
    }
    SUBCASE("after it") {
        test.membership.enroll();
        signal.emit(asio::cancellation_type::terminal);
    }
    CHECK(run(io));
    CHECK(cancelled.take() == Update(asio::error::operation_aborted, 0));
    test.watch.async_next(asio::bind_executor(io, into(results)));
    CHECK(run(io));
    CHECK(results.take() == Update({}, 1));
}

TEST_CASE("async_next: of two that wait on one watch, each update goes to one, and both end with it") {
    Fixture test;
    asio::io_context io;
    Events<Update> results;
    CHECK(test.watch.try_next().has_value());
    for (int i = 0; i < 2; ++i) test.watch.async_next(asio::bind_executor(io, into(results)));
    test.membership.enroll();
    io.poll();
    CHECK(results.size() == 1);
    CHECK(results.take() == Update({}, 1));
    test.watch.close();
    CHECK(run(io));
    CHECK(results.take() == Update(errc::closed, 0));
    CHECK(results.size() == 0);
}

TEST_CASE("async_next: its context may end before it does, and the cluster, too") {
    Events<Update> results;
    auto test = std::make_unique<Fixture>();
    MemberWatch watch = test->watch;
    CHECK(watch.try_next().has_value());
    {
        asio::io_context io;
        watch.async_next(asio::bind_executor(asio::make_strand(io), into(results)));
        watch.async_next(asio::bind_executor(io, into(results)));
        test->membership.enroll();
    }
    CHECK(results.size() == 0);
    CHECK(watch.try_next()->view.size() == 1);
    watch.async_next(into(results));
    test->cluster.close();
    test.reset();
    CHECK(results.take() == Update(errc::closed, 0));
}

TEST_CASE("async_next: a timer that races with changes loses none of them") {
    constexpr int count = 2000;
    Fixture test;
    asio::io_context io;
    std::atomic<int> seen{-1};
    std::atomic<int> timed_out{0};
    const auto follow = [&](MemberWatch watch) -> asio::awaitable<void> {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        for (int i = 0; seen < count; ++i) {
            timer.expires_after(std::chrono::microseconds(i % 50));
            const auto result =
                co_await (watch.async_next(asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
            if (result.index() == 1) {
                ++timed_out;
            } else if (const MemberView& view = std::get<0>(result).view; !view.empty() && !view[0].text().empty()) {
                seen = std::stoi(std::string(view[0].text()));
            }
        }
    };
    asio::co_spawn(io, follow(test.watch), asio::detached);
    std::jthread writing([&] {
        test.membership.enroll();
        for (int i = 0; i <= count; ++i) {
            // Every now and then nothing changes until all has been seen: a lost update would be missed for ever.
            while (i % 10 == 0 && i > 0 && (seen < i - 1 || timed_out == 0)) std::this_thread::yield();
            test.membership.set_data(std::to_string(i));
        }
    });
    CHECK(run(io));
    CHECK(timed_out > 0);
    CHECK(seen == count);
}
