#include "net/runner.hpp"
#include "base/thread_kind.hpp"
#include "net/support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// Puts out the numbers that it is given, and notes when it was ticked.
struct Numbers {
    using Output = std::vector<int>;

    std::vector<int> waiting;
    Time due = never;
    std::vector<Time> ticks;

    Time deadline() const { return due; }
    void tick(Time now) {
        due = never;
        ticks.push_back(now);
    }
    bool has_output() const { return !waiting.empty(); }
    bool take_output(Output& out) {
        out = std::exchange(waiting, {});
        return !out.empty();
    }
};

struct Owner {
    Owner(std::shared_ptr<net::Loop> loop, std::function<void(int)> carry_out)
        : runner(std::move(loop), [carry_out = std::move(carry_out)](Numbers::Output& numbers) {
              for (const int number : numbers) carry_out(number);
          }) {}

    void put(int number) {
        runner.enqueue([&](Numbers& numbers) { numbers.waiting.push_back(number); });
    }
    void set_deadline(Duration from_now) {
        runner.with([&](Numbers& numbers, Time now) { numbers.due = now + from_now; });
    }
    std::vector<Time> ticks() {
        return runner.enqueue([](Numbers& numbers) { return numbers.ticks; });
    }

    net::Runner<Numbers> runner;
};

/// A machine whose I/O thread is that of the test.
struct OneThread {
    std::shared_ptr<net::Loop> loop = std::make_shared<net::Loop>();
    std::vector<int> carried_out;
    std::function<void(int)> meanwhile = [](int) {};  ///< while this number is carried out
    std::shared_ptr<Owner> owner = std::make_shared<Owner>(loop, [this](int number) {
        carried_out.push_back(number);
        meanwhile(number);
    });
    std::weak_ptr<Owner> weak = owner;

    OneThread() {
        owner->runner.start(owner);
        poll();  // what the loop itself had to do first
    }
    ~OneThread() {
        if (const auto alive = weak.lock()) alive->runner.end();
        poll();
    }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

    /// Does what there is to do now. The number of things done: how often the I/O thread was woken for something.
    std::size_t poll() const { return loop->io().poll(); }
    /// Until the timer rings.
    std::size_t run_one() const { return loop->io().run_one_for(patience); }
};

/// Machines on the I/O thread of a runtime.
struct Machines {
    net::Context context;
    std::vector<std::shared_ptr<Owner>> owners;

    void start(std::function<void(int)> carry_out) {
        owners.push_back(std::make_shared<Owner>(context.loop(), std::move(carry_out)));
        asio::post(context.loop()->io(), [owner = owners.back()] { owner->runner.start(owner); });
    }
    Owner& operator[](std::size_t index) { return *owners.at(index); }
};

}  // namespace

TEST_CASE("runner: output is carried out on the I/O thread, while other threads may use the machine") {
    struct Seen {
        bool io_thread;
        bool free;
    };
    Events<Seen> seen;
    std::jthread other;
    {
        Machines machines;
        Events<int> used;
        machines.start([&](int) {
            other = std::jthread([&] { used.put(machines[0].runner.enqueue([](Numbers&) { return 1; })); });
            const bool free = used.take().has_value();
            seen.put({detail::kind_of_this_thread() == detail::ThreadKind::io, free});
        });
        machines[0].put(1);
        const auto result = seen.take(2 * patience);
        REQUIRE(result.has_value());
        CHECK(result->io_thread);
        CHECK(result->free);
        other.join();
    }
}

TEST_CASE_FIXTURE(OneThread, "runner: before its start nothing is carried out, and afterwards what came before") {
    std::vector<int> seen;
    const auto late = std::make_shared<Owner>(loop, [&](int number) { seen.push_back(number); });
    late->put(1);
    late->set_deadline(0s);
    CHECK(poll() == 0);
    late->runner.start(late);
    CHECK(seen == std::vector<int>{1});
    poll();
    CHECK(late->ticks().size() == 1);
}

TEST_CASE_FIXTURE(OneThread, "runner: many callers wake the I/O thread once") {
    for (const int number : {1, 2, 3}) owner->put(number);
    CHECK(poll() == 1);
    CHECK(carried_out == std::vector<int>{1, 2, 3});
    owner->put(4);
    CHECK(poll() == 1);
    CHECK(carried_out.back() == 4);
}

TEST_CASE_FIXTURE(OneThread, "runner: who wants nothing done wakes nobody") {
    owner->runner.enqueue([](Numbers&) {});
    owner->runner.with([](Numbers&, Time) {});
    CHECK(poll() == 0);
}

TEST_CASE_FIXTURE(OneThread, "runner: while the I/O thread will look again anyway, nobody wakes it") {
    SUBCASE("a call from what is carried out") {
        meanwhile = [&](int number) {
            if (number < 3) owner->put(number + 1);
        };
    }
    SUBCASE("a call from another thread") {
        meanwhile = [&](int number) {
            if (number < 3) std::thread([&] { owner->put(number + 1); }).join();
        };
    }
    owner->put(1);
    CHECK(poll() == 1);
    CHECK(carried_out == std::vector<int>{1, 2, 3});
}

TEST_CASE_FIXTURE(OneThread, "runner: a machine that always has output lets others have their turn") {
    bool others = false;
    bool in_time = false;
    meanwhile = [&](int number) {
        in_time = others;
        if (number < 1000) owner->put(number + 1);
    };
    owner->put(1);
    asio::post(loop->io(), [&] { others = true; });
    poll();
    CHECK(carried_out.size() == 1000);
    CHECK(in_time);
}

TEST_CASE_FIXTURE(OneThread, "runner: what is served has been carried out on return") {
    owner->runner.serve([](Numbers& numbers, Time) { numbers.waiting = {1, 2}; });
    CHECK(carried_out == std::vector<int>{1, 2});
    CHECK(poll() == 0);
}

TEST_CASE_FIXTURE(OneThread, "runner: one output is carried out to its end before the next is taken") {
    meanwhile = [&](int number) {
        if (number == 1) owner->put(3);
    };
    owner->runner.serve([](Numbers& numbers, Time) { numbers.waiting = {1, 2}; });
    CHECK(carried_out == std::vector<int>{1, 2, 3});
}

TEST_CASE_FIXTURE(OneThread, "runner: the machine is ticked once at its deadline, also if it was a later one before") {
    SUBCASE("the first one") {}
    SUBCASE("a nearer one") {
        owner->set_deadline(1h);
        CHECK(poll() == 1);
    }
    const Time due = net::Loop::now() + 5ms;
    owner->runner.with([&](Numbers& numbers, Time) { numbers.due = due; });
    while (owner->ticks().empty() && run_one() != 0) {
    }
    REQUIRE(owner->ticks().size() == 1);
    CHECK(owner->ticks()[0] >= due);
    CHECK(poll() == 0);
}

TEST_CASE_FIXTURE(OneThread, "runner: a deadline that moves away wakes nobody") {
    owner->set_deadline(1h);
    CHECK(poll() == 1);
    for (int i = 0; i < 100; ++i) owner->set_deadline(2h);
    CHECK(poll() == 0);
}

TEST_CASE_FIXTURE(OneThread, "runner: a machine whose deadline has moved away is not ticked when the timer rings") {
    Time due = never;
    std::size_t before = 0;
    while (due == never) {  // on a slow machine, the first deadline may come before it can be moved
        owner->set_deadline(5ms);
        poll();
        owner->runner.with([&](Numbers& numbers, Time now) {
            before = numbers.ticks.size();
            if (numbers.due != never) due = numbers.due = now + 20ms;
        });
    }
    while (owner->ticks().size() == before && run_one() != 0) {
    }
    REQUIRE(owner->ticks().size() == before + 1);
    CHECK(owner->ticks().back() >= due);
}

TEST_CASE_FIXTURE(OneThread, "runner: a machine is not judged by time before what had come by then was read") {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    asio::posix::stream_descriptor reader(loop->io(), pipe[0]);
    bool read = false;
    std::size_t ticks_before = 0;
    reader.async_wait(asio::posix::stream_descriptor::wait_read, [&](const std::error_code& cancelled) {
        if (cancelled) return;
        read = true;
        ticks_before = owner->ticks().size();
        owner->runner.serve([](Numbers& numbers, Time) { numbers.due = never; });
    });
    // The I/O thread is late: its deadline has come, and the byte lies there.
    owner->set_deadline(0s);
    SUBCASE("an answer has come") {
        REQUIRE(::write(pipe[1], "", 1) == 1);
        poll();
        CHECK(read);
        CHECK(ticks_before == 0);
        CHECK(owner->ticks().empty());
    }
    SUBCASE("no answer has come") {
        CHECK(poll() == 2);  // it looks, asks for what has come, and looks again
        CHECK(owner->ticks().size() == 1);
        owner->set_deadline(0s);  // the next deadline, in the same way
        CHECK(poll() == 2);
        CHECK(owner->ticks().size() == 2);
    }
    reader.close();
    ::close(pipe[1]);
    poll();
}

TEST_CASE_FIXTURE(OneThread, "runner: work under way keeps its owner alive, and nothing else does") {
    owner->put(1);
    owner.reset();
    CHECK_FALSE(weak.expired());
    poll();
    CHECK(carried_out == std::vector<int>{1});
    CHECK(weak.expired());
}

TEST_CASE_FIXTURE(OneThread, "runner: after its end nothing is carried out or ticked, and its owner is freed") {
    SUBCASE("it ends while its timer is set") {
        owner->set_deadline(1h);
        CHECK(poll() == 1);
        owner->runner.end();
    }
    SUBCASE("it ends before it has looked") {
        owner->put(2);
        owner->set_deadline(0s);
        owner->runner.end();
    }
    SUBCASE("it ends while it waits for what has come") {
        owner->set_deadline(0s);
        CHECK(loop->io().poll_one() == 1);
        owner->runner.end();
    }
    SUBCASE("it ends while it carries something out") {
        meanwhile = [&](int) {
            owner->put(2);
            owner->runner.end();
        };
        owner->put(1);
        CHECK(poll() == 1);
        REQUIRE(carried_out == std::vector<int>{1});
        carried_out.clear();
    }
    poll();
    owner->put(3);
    owner->set_deadline(0s);
    CHECK(poll() == 0);
    CHECK(carried_out.empty());
    CHECK(owner->ticks().empty());
    owner.reset();
    CHECK(weak.expired());
}

TEST_CASE("runner: two machines on one I/O thread have two locks, and each may call the other") {
    Events<int> ended;
    Machines machines;
    const auto hand_to = [&](std::size_t other) {
        return [&, other](int number) {
            if (number == 0) return ended.put(0);
            machines[other].runner.with([&](Numbers& numbers, Time) { numbers.waiting.push_back(number - 1); });
        };
    };
    machines.start(hand_to(1));
    machines.start(hand_to(0));
    machines[0].put(1001);
    CHECK(ended.take().has_value());
    Events<int> held;
    Events<int> release;
    bool released = false;
    std::thread holder([&] {
        machines[0].runner.enqueue([&](Numbers&) {
            held.put(0);
            released = release.take().has_value();
        });
    });
    CHECK(held.take().has_value());
    machines[1].put(0);
    CHECK(ended.take().has_value());
    release.put(0);
    holder.join();
    CHECK(released);
}
