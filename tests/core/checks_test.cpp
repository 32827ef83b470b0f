#include "core/checks.hpp"

#include "part_lab.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

struct Checking : PartLab {
    Checks checks{shared};

    /// Lets what is due until then happen, and says how many peers were chosen.
    std::size_t run_until(Time end) {
        const std::size_t before = shared.plan_.checks();
        while (shared.timers_.next() <= end) {
            now = shared.timers_.next();
            shared.timers_.pop(now);
            checks.next(now);
        }
        now = end;
        return shared.plan_.checks() - before;
    }
};

}  // namespace

TEST_CASE("checks: a newcomer that comes alone is checked at once") {
    Checking lab;
    lab.checks.add(lab.show(2), lab.now);
    CHECK(lab.shared.timers_.next() == lab.now);
    CHECK(lab.run_until(lab.now) == 1);
}

TEST_CASE("checks: while newcomers come none is checked, but no longer than a suspicion takes") {
    Checking lab;
    const Time begun = lab.now;
    for (std::uint8_t each = 2; lab.now < begun + lab.lab.options.suspicion; ++each) {
        if (each == 250) each = 2;
        lab.checks.add(lab.know(each), lab.now);
        lab.now += 10ms;
        if (each > 2 && lab.now > begun + 200ms) CHECK(lab.shared.timers_.next() >= lab.now);
    }
    CHECK(lab.shared.timers_.next() <= begun + lab.lab.options.suspicion);
}

TEST_CASE("checks: only a few are under way at a time, and who was found meanwhile needs none") {
    Checking lab;
    for (std::uint8_t each = 2; each < 12; ++each) {
        Pair& pair = lab.show(each);
        if (each < 5) pair.proven = {{"10.0.0.2", 7000}};
        lab.checks.add(pair, lab.now);
    }
    CHECK(lab.run_until(lab.now + 1s) == 4);
    CHECK(lab.run_until(lab.now + 1s) == 0);
}

TEST_CASE("checks: a node that leaves checks nobody") {
    Checking lab;
    lab.shared.leaving_ = true;
    lab.checks.add(lab.show(2), lab.now);
    CHECK(lab.shared.timers_.next() == never);
}
