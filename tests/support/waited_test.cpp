#include "base/thread_kind.hpp"
#include "support/waited.hpp"

#include <cluster/error.hpp>
#include <cluster/operation.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <system_error>
#include <thread>

using namespace cluster;
using namespace cluster::detail;
using namespace std::chrono_literals;

TEST_CASE("waited: a thread goes on when its operation is woken, before or while it waits, once for each time") {
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    CHECK_FALSE(operation->wait(no_wait));
    operation->wake();
    CHECK(operation->wait(no_wait));
    CHECK_FALSE(operation->wait(deadline_after(1ms)));
    std::jthread other([operation] { operation->wake(); });
    CHECK(operation->wait());
}

TEST_CASE("waited: when time is over who waits is stopped, and goes on when it is woken for that") {
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    int stops = 0;
    CHECK_FALSE(operation->wait(deadline_after(1ms), [&] {
        ++stops;
        operation->wake();
    }));
    CHECK(stops == 1);
    operation->wake();
    CHECK(operation->wait(for_ever, [&] { ++stops; }));
    CHECK(stops == 1);
}

TEST_CASE("waited: a result is waited for where a thread may wait, and elsewhere nothing is started") {
    std::error_code error = errc::closed;
    const auto answer = [](const std::shared_ptr<SendOperation>& operation) {
        operation->result = 7;
        operation->wake();
    };
    CHECK(wait_for_result<SendOperation>(error, answer) == 7);
    CHECK_FALSE(error);
    std::thread([&] {
        set_kind_of_this_thread(ThreadKind::io);
        CHECK_FALSE(may_wait());
        CHECK(wait_for_result<SendOperation>(error, answer) == 0);
        CHECK(error == errc::would_block);
        CHECK_THROWS_AS(require_may_wait("a test"), std::system_error);
    }).join();
    CHECK(may_wait());
    require_may_wait("a test");
}
