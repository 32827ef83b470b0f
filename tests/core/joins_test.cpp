#include "core/joins.hpp"

#include "part_lab.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

struct Adding : PartLab {
    Joins joins{shared};

    std::uint64_t begin(std::uint64_t number) {
        const std::uint64_t target = shared.plan_.seek(Address{"10.0.0.9", 7000}, DialPlan::Kind::added, now);
        joins.begin(number, target, now + 3s);
        return target;
    }
};

}  // namespace

TEST_CASE("joins: an add is answered once, when its peer lists this node") {
    Adding lab;
    const std::uint64_t target = lab.begin(7);
    CHECK(lab.joins.await(target));
    lab.know(2);
    lab.joins.reached(target, id_of(2));
    lab.joins.completed(id_of(3));
    CHECK(lab.take<AddDone>().empty());
    lab.joins.completed(id_of(2));
    lab.joins.completed(id_of(2));
    lab.joins.answer(7, errc::timed_out);
    const auto answers = lab.take<AddDone>();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].number == 7);
    CHECK(answers[0].error == errc{});
    CHECK(answers[0].peer.id == id_of(2));
    CHECK_FALSE(lab.joins.await(target));
    CHECK_FALSE(lab.shared.timers_.pending({Timer::join, 7}));
    CHECK(lab.shared.plan_.bound(target) != nullptr);  // kept for whoever comes after that one
}

TEST_CASE("joins: an add that comes to nothing is answered with the reason, and its address is dialled no more") {
    Adding lab;
    const std::uint64_t target = lab.begin(7);
    CHECK_FALSE(lab.joins.failed(target + 1, errc::connection_refused));
    CHECK(lab.joins.failed(target, errc::connection_refused));
    const auto answers = lab.take<AddDone>();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].error == errc::connection_refused);
    CHECK(lab.shared.plan_.bound(target) == nullptr);
}

TEST_CASE("joins: a refusal that may pass is no answer while another link of the pair is under way") {
    Adding lab;
    const std::uint64_t target = lab.begin(7);
    Pair& pair = lab.know(2);
    lab.joins.reached(target, pair.id);
    Link& link = lab.shared.peers_.open({"10.0.0.9", 7000});
    link.pair = &pair;
    pair.links = {link.id, link.id + 1};
    lab.joins.refused(link, Refusal::duplicate, errc::connection_lost);
    lab.joins.refused(link, Refusal::id_in_use, errc::id_in_use);
    CHECK(lab.take<AddDone>().empty());
    SUBCASE("one that does not pass is an answer at once") {
        lab.joins.refused(link, Refusal::leaving, errc::leaving);
        CHECK(lab.take<AddDone>().at(0).error == errc::leaving);
    }
    SUBCASE("so is this one when nothing else is left") {
        pair.links = {link.id};
        lab.joins.refused(link, Refusal::id_in_use, errc::id_in_use);
        CHECK(lab.take<AddDone>().at(0).error == errc::id_in_use);
    }
}

TEST_CASE("joins: when the node leaves each add has its answer") {
    Adding lab;
    lab.begin(7);
    lab.begin(8);
    lab.joins.answer_all(errc::closed);
    const auto answers = lab.take<AddDone>();
    REQUIRE(answers.size() == 2);
    CHECK(answers[0].error == errc::closed);
    CHECK(answers[1].error == errc::closed);
    CHECK(lab.shared.timers_.next() == never);
}
