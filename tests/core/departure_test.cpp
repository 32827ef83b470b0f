#include "core/departure.hpp"

#include "part_lab.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

struct Departing : PartLab {
    Departure departure{shared};

    void owe(Pair& pair) {
        const std::array<std::byte, FrameHeader::size> empty{std::byte{0}, {}, {}, {}, std::byte{5}};
        pair.session->user().out.append(shared.arena_.append(empty, {}));
    }
};

}  // namespace

TEST_CASE("departure: goodbye is said to who has acknowledged all, to the others when the linger is over") {
    Departing lab;
    Pair& done = lab.show(2);
    Pair& owed = lab.show(3);
    lab.show(4, false);
    lab.owe(owed);
    lab.shared.leaving_ = true;
    lab.departure.begin(lab.now);
    auto links = lab.departure.farewells();
    REQUIRE(links.size() == 1);
    CHECK(links[0]->pair == &done);
    CHECK(lab.departure.linger_ends(lab.now));
    links = lab.departure.farewells();
    CHECK(links.size() == 2);
    CHECK(lab.shared.timers_.pending({Timer::linger, 0}));
    CHECK_FALSE(lab.departure.linger_ends(lab.now));  // the time for answers is over, too
}

TEST_CASE("departure: it is complete when nobody is in view and no goodbye waits for its answer") {
    Departing lab;
    Pair& pair = lab.show(2);
    CHECK_FALSE(lab.departure.complete());
    lab.departure.look_later();
    CHECK_FALSE(lab.departure.look_due());  // it does not leave
    lab.shared.leaving_ = true;
    lab.departure.look_later();
    CHECK(lab.departure.look_due());
    CHECK_FALSE(lab.departure.complete());
    CHECK_FALSE(lab.departure.look_due());
    lab.shared.peers_.hide(pair);
    Link& link = *lab.shared.peers_.attached_link(pair);
    link.state = LinkState::parting;
    CHECK_FALSE(lab.departure.complete());
    lab.shared.peers_.links.clear();
    CHECK(lab.departure.complete());
    lab.departure.end();
    CHECK(lab.departure.left());
    CHECK_FALSE(lab.departure.complete());
}
