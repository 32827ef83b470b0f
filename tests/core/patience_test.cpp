#include "core/patience.hpp"

#include "part_lab.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

struct Waiting : PartLab {
    Joins joins{shared};
    Patience patience{shared, joins};
};

}  // namespace

TEST_CASE("patience: a redial is waited for as long as a heartbeat, a dial for an add as long as that may take") {
    Waiting lab;
    Link link;
    link.state = LinkState::dialling;
    link.target = 5;
    CHECK(lab.patience.with(link) == lab.lab.options.heartbeat);
    lab.joins.begin(1, 5, lab.now + 3s);
    CHECK(lab.patience.with(link) == lab.lab.options.connect_timeout);
    link.state = LinkState::attaching;
    CHECK(lab.patience.with(link) == lab.lab.options.attach_timeout);
    link.state = LinkState::offered;
    CHECK(lab.patience.with(link) == lab.lab.options.handshake_timeout);
    link.state = LinkState::parting;
    CHECK(lab.patience.with(link) == 1s);
}

TEST_CASE("patience: a node that is late judges nobody for a moment, gives others that time, and then gets on") {
    Waiting lab;
    Pair& pair = lab.show(2);
    pair.watch.suspected = lab.now;
    lab.shared.timers_.set({Timer::beat, 0}, lab.now + 1s);
    lab.shared.timers_.set({Timer::resume, pair.number}, lab.now + 20s);
    CHECK_FALSE(lab.patience.holds_back(lab.now + 1s));
    const Time late = lab.now + 4s;
    CHECK(lab.patience.holds_back(late));
    CHECK(lab.patience.holds_back(late));
    CHECK(lab.shared.detector_.slowness() == 1);
    CHECK(pair.watch.suspected == lab.now + 3s);
    CHECK(lab.patience.deadline() == late + lab.shared.detector_.tolerance());
    CHECK_FALSE(lab.patience.holds_back(lab.patience.deadline()));
    SUBCASE("however late it is each time") {
        CHECK_FALSE(lab.patience.holds_back(late + 10s));
        lab.patience.caught_up();
        CHECK(lab.patience.holds_back(late + 20s));
    }
}
