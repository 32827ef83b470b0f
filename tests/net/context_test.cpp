#include "net/context.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <thread>

using namespace cluster;

TEST_CASE("loop: what comes after the I/O thread has ended is dropped, and does not keep the loop for ever") {
    auto loop = std::make_shared<net::Loop>();
    bool early = false;
    bool late = false;
    loop->post([&early, loop] { early = true; });
    loop->finish();
    std::thread([&loop] { loop->run_io(); }).join();
    loop->post([&late, loop] { late = true; });
    const std::weak_ptr<net::Loop> observed = loop;
    loop.reset();
    CHECK(observed.expired());
    CHECK(early);
    CHECK_FALSE(late);
}
