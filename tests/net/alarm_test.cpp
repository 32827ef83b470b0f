#include "net/alarm.hpp"
#include "net/support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <memory>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

Time in(std::chrono::nanoseconds time) {
    return std::chrono::steady_clock::now().time_since_epoch() + time;
}

struct Fixture {
    struct Owner {
        Owner(const std::shared_ptr<net::Loop>& loop, Events<Time>& rings) : alarm(loop, [&] { rings.put(in(0s)); }) {}
        net::Alarm alarm;
    };

    net::Context context;
    Events<Time> rings;
    std::shared_ptr<Owner> owner = std::make_shared<Owner>(context.loop(), rings);

    bool set(Time at) const { return owner->alarm.set(at, owner); }
    /// Until the I/O thread has done what it was asked before.
    template <class Work>
    void on_io_thread(Work&& work) const {
        std::promise<void> done;
        asio::post(context.loop()->io(), [&] {
            work();
            done.set_value();
        });
        done.get_future().wait();
    }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "alarm: rings once at the earliest time for which it was set, and then anew") {
    const Time first = in(5ms);
    CHECK(set(in(1h)));
    CHECK(set(first));
    CHECK(set(in(2h)));
    const auto rung = rings.take();
    REQUIRE(rung.has_value());
    CHECK(*rung >= first);
    CHECK_FALSE(rings.take(20ms).has_value());
    CHECK(set(in(0s)));
    CHECK(rings.take().has_value());
}

TEST_CASE_FIXTURE(Fixture, "alarm: does not ring after its end, nor when its owner is gone") {
    CHECK(set(in(10ms)));
    SUBCASE("its end") {
        on_io_thread([&] { owner->alarm.end(); });
        CHECK_FALSE(set(in(0s)));
    }
    SUBCASE("its owner") { owner.reset(); }
    SUBCASE("its owner, once the timer is set") {
        on_io_thread([] {});
        owner.reset();
    }
    CHECK_FALSE(rings.take(30ms).has_value());
}
