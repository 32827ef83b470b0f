#include "core/dial_plan.hpp"

#include "core/ids.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <set>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;
using namespace cluster::core::test::people;
using namespace std::chrono_literals;

namespace {

constexpr Duration shortest = 100ms;
constexpr Duration longest = 5s;
const Address name{"db.example", 7000};

Address at(std::uint16_t port) {
    return {"10.0.0.1", port};
}

struct Plan : DialPlan {
    Time now = 1000s;
    Occupied occupied = [](const PeerId&, const Address&) { return false; };
    Earliest earliest = [](const PeerId&) { return Time(); };
    Linked linked = [](const Address&) { return false; };

    explicit Plan(std::uint64_t jitter = 42) : DialPlan(shortest, longest, jitter) {}

    std::optional<Step> ask() { return step(now, occupied, earliest, linked); }
    /// The step that is due now.
    Step must() {
        const auto found = ask();
        REQUIRE(found);
        return *found;
    }
    /// Lets time pass until something is due, and says how much did.
    Duration wait() {
        const Time due = next();
        REQUIRE(due != never);
        return due - std::exchange(now, due);
    }
    std::optional<Round> fail(const Step& dial, errc error = errc::connection_refused) {
        return failed({dial.target, dial.round}, error, now);
    }
    /// Resolves a name that is due, and hands out the first dial.
    Step resolve(const std::vector<Address>& addresses) {
        const Step asked = must();
        REQUIRE(asked.resolve);
        resolved(asked.target, addresses, now);
        const Step dial = must();
        REQUIRE_FALSE(dial.resolve);
        return dial;
    }
    /// Bob is met, attached and lost again.
    void meet_and_lose() {
        engaged(bob);
        attached(bob);
        released(bob, true, now);
    }
};

void check_pause(Duration pause, Duration base) {
    CHECK(pause >= base * 3 / 4);
    CHECK(pause <= base * 5 / 4);
    CHECK(pause <= longest);
}

}  // namespace

TEST_CASE("a round tries all addresses, each a stagger after one that does not answer") {
    Plan plan;
    plan.seek(bob, {at(1), at(2), at(3)}, plan.now + 10ms);
    CHECK_FALSE(plan.ask());
    CHECK(plan.wait() == 10ms);
    const auto first = plan.must();
    CHECK(first.address == at(1));
    CHECK_FALSE(first.resolve);
    CHECK_FALSE(plan.ask());
    CHECK(plan.wait() == DialPlan::stagger);
    const auto second = plan.must();
    CHECK(second.address == at(2));
    CHECK(plan.wait() == DialPlan::stagger);
    const auto third = plan.must();
    CHECK(third.address == at(3));
    CHECK(plan.next() == never);
    CHECK_FALSE(plan.fail(third, errc::timed_out));
    CHECK_FALSE(plan.fail(first));
    const auto round = plan.fail(second);
    REQUIRE(round);
    CHECK(round->peer == bob);
    CHECK(round->error == errc::timed_out);
}

TEST_CASE("where a link was just lost the addresses of its peer are dialled in quick succession, once") {
    Plan plan;
    plan.seek(bob, {at(1), at(2), at(3)}, plan.now);
    plan.meet_and_lose();
    const auto first = plan.must();
    CHECK(plan.wait() == DialPlan::short_stagger);
    const auto second = plan.must();
    CHECK(plan.wait() == DialPlan::short_stagger);
    const auto third = plan.must();
    plan.fail(first), plan.fail(second);
    REQUIRE(plan.fail(third));
    plan.wait();
    plan.must();
    CHECK(plan.wait() == DialPlan::stagger);
}

TEST_CASE("an address that fails makes way for the next one at once") {
    Plan plan;
    plan.seek(bob, {at(1), at(2)}, plan.now);
    CHECK_FALSE(plan.fail(plan.must()));
    CHECK(plan.next() == plan.now);
    CHECK(plan.must().address == at(2));
}

TEST_CASE("pauses double with jitter, never exceed the longest, and start anew after an attach") {
    std::set<Duration> firsts;
    for (std::uint64_t jitter = 1; jitter <= 50; ++jitter) {
        Plan plan(jitter);
        plan.seek(bob, {at(1)}, plan.now);
        Duration base = shortest;
        for (int round = 0; round < 50; ++round) {
            REQUIRE(plan.fail(plan.must()));
            const Duration pause = plan.wait();
            check_pause(pause, base);
            if (round == 0) firsts.insert(pause);
            base = std::min(base * 2, longest);
        }
        plan.meet_and_lose();
        REQUIRE(plan.wait() == 0ms);
        REQUIRE(plan.fail(plan.must()));
        check_pause(plan.wait(), shortest);
    }
    CHECK(firsts.size() > 20);
}

TEST_CASE("of what several addresses answered the one that got further is told") {
    Plan plan;
    plan.seek(bob, {at(1), at(2)}, plan.now);
    SUBCASE("refused twice") {
        CHECK_FALSE(plan.fail(plan.must()));
        CHECK(plan.fail(plan.must()).value().error == errc::connection_refused);
    }
    SUBCASE("refused once, silent once") {
        CHECK_FALSE(plan.fail(plan.must()));
        CHECK(plan.fail(plan.must(), errc::timed_out).value().error == errc::timed_out);
    }
    SUBCASE("silent once, refused once") {
        CHECK_FALSE(plan.fail(plan.must(), errc::timed_out));
        CHECK(plan.fail(plan.must()).value().error == errc::timed_out);
    }
    SUBCASE("what one round found out does not count in the next") {
        CHECK_FALSE(plan.fail(plan.must(), errc::timed_out));
        REQUIRE(plan.fail(plan.must()));
        plan.wait();
        CHECK_FALSE(plan.fail(plan.must()));
        CHECK(plan.fail(plan.must()).value().error == errc::connection_refused);
    }
}

TEST_CASE("an address that belongs to somebody else by now is passed over") {
    Plan plan;
    plan.seek(bob, {at(1), at(2)}, plan.now);
    SUBCASE("one of them") {
        plan.occupied = [](const PeerId& id, const Address& address) { return id == bob && address == at(1); };
        const auto dial = plan.must();
        CHECK(dial.address == at(2));
        CHECK(plan.fail(dial));
    }
    SUBCASE("all of them") {
        plan.occupied = [](const PeerId&, const Address&) { return true; };
        CHECK_FALSE(plan.ask());
        const auto ended = plan.take_ended();
        REQUIRE(ended.size() == 1);
        CHECK(ended[0].peer == bob);
        CHECK(plan.take_ended().empty());
        check_pause(plan.wait(), shortest);
    }
}

TEST_CASE("the outcome of a dial of a former round is ignored") {
    Plan plan;
    plan.seek(bob, {at(1), at(2)}, plan.now);
    const auto first = plan.must();
    plan.wait();
    const auto late = plan.must();
    plan.answered({first.target, first.round}, bob, plan.now);
    plan.meet_and_lose();
    const auto again = plan.must();
    CHECK(again.address == at(1));
    CHECK(again.round != late.round);
    plan.wait();
    const auto other = plan.must();
    CHECK_FALSE(plan.fail(late));
    CHECK_FALSE(plan.fail(late));
    CHECK_FALSE(plan.fail(again, errc::timed_out));
    CHECK(plan.fail(other));
    CHECK_FALSE(plan.fail(other));
}

TEST_CASE("a target whose peer has a link is left alone") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.engaged(bob);
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
    plan.released(bob, true, plan.now);
    check_pause(plan.wait(), shortest);
    CHECK(plan.must().address == at(1));
}

TEST_CASE("a lost link is dialled again at once, but not again and again") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.meet_and_lose();
    CHECK(plan.next() == plan.now);
    plan.now += 1ms;
    plan.meet_and_lose();
    check_pause(plan.wait(), shortest);
    plan.now += shortest;
    plan.meet_and_lose();
    CHECK(plan.next() == plan.now);
}

TEST_CASE("a link that was never attached is not dialled again at once") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    Duration base = shortest;
    for (int i = 0; i < 4; ++i, base *= 2) {
        plan.engaged(bob);
        plan.released(bob, true, plan.now);
        check_pause(plan.wait(), base);
    }
}

TEST_CASE("dials beyond the burst come at the rate") {
    Plan plan;
    for (std::size_t i = 0; i < 1000; ++i) plan.seek(numbered(i), {at(1)}, plan.now);
    std::size_t dials = 0;
    while (plan.ask()) ++dials;
    CHECK(dials == 256);
    const Time end = plan.now + 1s;
    while (plan.next() <= end) {
        plan.now = plan.next();
        while (plan.ask()) ++dials;
    }
    CHECK(dials > 256 + 90);
    CHECK(dials <= 256 + 100);
}

TEST_CASE("where the budget is used up one target is looked at, not all of them") {
    Plan plan;
    std::size_t looks = 0;
    plan.occupied = [&](const PeerId&, const Address&) { return ++looks == 0; };
    for (std::size_t i = 0; i < 2000; ++i) plan.seek(numbered(i), {at(1)}, plan.now);
    for (int turn = 0; turn < 10; ++turn) {
        while (plan.ask()) {}
        plan.wait();
    }
    CHECK(looks < 300);
}

TEST_CASE("a seed is sought for ever, and its name is resolved anew in each round") {
    Plan plan;
    const std::uint64_t seed = plan.seek(name, DialPlan::Kind::seed, plan.now);
    CHECK(plan.kind(seed) == DialPlan::Kind::seed);
    for (std::uint16_t i = 0; i < 100; ++i) {
        const auto dial = plan.resolve({at(i)});
        CHECK(dial.target == seed);
        CHECK(dial.address == at(i));
        const auto round = plan.fail(dial);
        REQUIRE(round);
        CHECK(round->kind == DialPlan::Kind::seed);
        CHECK(plan.wait() <= longest);
    }
}

TEST_CASE("a name that cannot be resolved ends the round, and is tried again") {
    Plan plan;
    plan.seek(name, DialPlan::Kind::seed, plan.now);
    const auto asked = plan.must();
    CHECK(asked.resolve);
    CHECK(asked.address == name);
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
    const auto round = plan.fail(asked, errc::unresolvable_host);
    REQUIRE(round);
    CHECK(round->error == errc::unresolvable_host);
    check_pause(plan.wait(), shortest);
    CHECK(plan.must().resolve);
}

TEST_CASE("a seed is a way to many: each of its addresses is dialled, whoever answers") {
    Plan plan;
    const std::uint64_t seed = plan.seek(name, DialPlan::Kind::seed, plan.now);
    const auto first = plan.resolve({at(1), at(2), at(3), at(4)});
    plan.answered({first.target, first.round}, bob, plan.now);
    const auto second = plan.must();
    CHECK(second.address == at(2));
    CHECK_FALSE(plan.fail(second));
    plan.linked = [](const Address& address) { return address == at(3); };
    const auto last = plan.must();
    CHECK(last.address == at(4));
    plan.answered({last.target, last.round}, numbered(3), plan.now);
    CHECK_FALSE(plan.ask());
    check_pause(plan.wait(), shortest);
    CHECK(plan.resolve({at(5)}).target == seed);
}

TEST_CASE("a seed that leads to somebody is looked at ever more seldom, and anew when a peer goes out of view") {
    Plan plan;
    plan.seek(name, DialPlan::Kind::seed, plan.now);
    const auto look = [&](std::optional<errc> other) {
        const auto dial = plan.resolve({at(1), at(2)});
        plan.answered({dial.target, dial.round}, bob, plan.now);
        const auto more = plan.must();
        if (other) {
            CHECK_FALSE(plan.fail(more, *other));
        } else {
            plan.answered({more.target, more.round}, numbered(3), plan.now);
        }
        return plan.wait();
    };
    std::optional<errc> other;
    Duration most = DialPlan::seed_rest * longest;
    SUBCASE("linked") {}
    SUBCASE("refused") { other = errc::connection_refused; }
    SUBCASE("itself") { other = errc::self; }
    SUBCASE("silent") {
        other = errc::timed_out;
        most = longest;
    }
    Duration base = shortest;
    for (int i = 0; i < 20; ++i) {
        const Duration pause = look(other);
        CHECK(pause >= std::min(base, most) * 3 / 4);
        CHECK(pause <= std::min(base * 5 / 4, most));
        base = std::min(2 * base, most);
    }
    look(other);
    const auto dial = plan.resolve({at(1)});
    plan.answered({dial.target, dial.round}, bob, plan.now);
    plan.unbind(bob, plan.now, never);
    check_pause(plan.wait(), shortest);
    CHECK(plan.must().resolve);
}

TEST_CASE("of a name with very many addresses a bounded number is dialled") {
    Plan plan;
    plan.seek(name, DialPlan::Kind::seed, plan.now);
    std::vector<Address> many;
    for (std::uint16_t i = 1; i <= 5000; ++i) many.push_back(at(i));
    const auto asked = plan.must();
    plan.resolved(asked.target, many, plan.now);
    std::size_t dials = 0;
    for (;;) {
        const auto dial = plan.ask();
        if (!dial) {
            plan.wait();
        } else if (dial->resolve) {
            break;
        } else {
            ++dials;
            plan.fail(*dial);
        }
    }
    CHECK(dials == DialPlan::most_addresses);
}

TEST_CASE("an added address is kept when it has led to a peer, and sought again when that one is gone") {
    Plan plan;
    const std::uint64_t added = plan.seek(at(1), DialPlan::Kind::added, plan.now);
    const auto dial = plan.resolve({at(1)});
    plan.answered({dial.target, dial.round}, bob, plan.now);
    plan.engaged(bob);
    plan.attached(bob);
    plan.keep(added, bob);
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
    plan.unbind(bob, plan.now, plan.now + 1h);
    SUBCASE("whoever is there") {
        for (int i = 0; i < 5; ++i) {
            plan.wait();
            REQUIRE(plan.fail(plan.resolve({at(1)})));
        }
        plan.wait();
        const auto again = plan.resolve({at(1)});
        plan.answered({again.target, again.round}, numbered(3), plan.now);
        plan.engaged(numbered(3));
        plan.attached(numbered(3));
        CHECK(plan.next() == never);
        plan.unbind(numbered(3), plan.now, plan.now + 1h);
        CHECK(plan.wait() <= longest);
    }
    SUBCASE("until its time is over") {
        const Time end = plan.now + 1h;
        while (plan.next() != never) {
            plan.wait();
            const auto asked = plan.ask();
            if (!asked) continue;
            plan.resolved(asked->target, {at(1)}, plan.now);
            plan.fail(plan.must());
        }
        CHECK(plan.now >= end);
        CHECK(plan.now <= end + longest);
    }
    SUBCASE("until whoever was there last is removed") {
        CHECK_FALSE(plan.drop_added(numbered(3)));
        CHECK(plan.drop_added(bob));
        CHECK(plan.next() == never);
    }
}

TEST_CASE("of added addresses each is kept once, and the newest of too many") {
    Plan plan;
    const auto add = [&](std::size_t i) {
        const std::uint64_t added = plan.seek(at(static_cast<std::uint16_t>(i)), DialPlan::Kind::added, plan.now);
        const auto dial = plan.resolve({at(static_cast<std::uint16_t>(i))});
        plan.answered({dial.target, dial.round}, numbered(i), plan.now);
        plan.keep(added, numbered(i));
    };
    for (std::size_t i = 1; i <= 100; ++i) add(i);
    for (int i = 0; i < 10; ++i) add(100);
    std::set<Address> sought;
    for (std::size_t i = 1; i <= 100; ++i) plan.unbind(numbered(i), plan.now, never);
    for (plan.now += 1s; sought.size() < DialPlan::most_added;) {
        const auto asked = plan.must();
        CHECK(asked.address.port > 100 - DialPlan::most_added);
        sought.insert(asked.address);
    }
    CHECK_FALSE(plan.ask());
}

TEST_CASE("what one peer tells of others is worth few dials, however many it tells of") {
    Plan plan;
    const PeerId liar = numbered(9);
    std::size_t dials = 0;
    const auto let_fail = [&](Time until) {
        while (plan.next() <= until) {
            plan.now = std::max(plan.now, plan.next());
            while (const auto dial = plan.ask()) {
                ++dials;
                plan.fail(*dial);
            }
        }
        plan.now = until;
    };
    SUBCASE("all at the same addresses: each is dialled once, and then again at growing pauses") {
        for (std::size_t i = 100; i < 580; ++i) {
            plan.hear(numbered(i), liar, {at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)}, plan.now);
        }
        let_fail(plan.now + shortest / 2);
        CHECK(dials == 8);
        let_fail(plan.now + 60s);
        CHECK(dials <= static_cast<std::size_t>(DialPlan::hearsay_burst) + 7);
    }
    SUBCASE("each at others") {
        std::uint16_t port = 0;
        for (std::size_t i = 100; i < 580; ++i) {
            std::vector<Address> addresses;
            for (int each = 0; each < 8; ++each) addresses.push_back(at(++port));
            plan.hear(numbered(i), liar, addresses, plan.now);
        }
        let_fail(plan.now + 1s);
        CHECK(dials == static_cast<std::size_t>(DialPlan::hearsay_burst));
        let_fail(plan.now + 100s);
        CHECK(dials <= static_cast<std::size_t>(DialPlan::hearsay_burst) + 11);
    }
    // What others tell, and a seed, are dialled at once.
    const std::uint64_t seed = plan.seek(name, DialPlan::Kind::seed, plan.now);
    CHECK(plan.must().target == seed);
    plan.hear(bob, numbered(3), {{"10.0.0.2", 7000}}, plan.now);
    CHECK(plan.must().address.host == "10.0.0.2");
}

TEST_CASE("hearsay that proves true costs its teller nothing, and is sought like a peer from then on") {
    Plan plan;
    const PeerId teller = numbered(9);
    for (std::size_t i = 100; i < 300; ++i) {
        plan.hear(numbered(i), teller, {at(static_cast<std::uint16_t>(i))}, plan.now);
        const auto dial = plan.must();
        plan.answered({dial.target, dial.round}, numbered(i), plan.now);
        plan.engaged(numbered(i));
        plan.attached(numbered(i));
        plan.now += 10ms;
    }
    plan.released(numbered(100), true, plan.now);
    plan.wait();
    for (int i = 0; i < 100; ++i) {
        REQUIRE(plan.fail(plan.must()));
        plan.wait();
    }
}

TEST_CASE("of many of whom one teller tells, the next is dialled as soon as a dial has proven true") {
    Plan plan;
    for (std::size_t i = 100; i < 200; ++i) {
        plan.hear(numbered(i), numbered(9), {at(static_cast<std::uint16_t>(i))}, plan.now);
    }
    std::deque<DialPlan::Step> open;
    const auto dial_all = [&] {
        std::size_t dials = 0;
        for (; const auto dial = plan.ask(); ++dials) open.push_back(*dial);
        return dials;
    };
    CHECK(dial_all() == static_cast<std::size_t>(DialPlan::hearsay_burst));
    for (std::size_t met = 0; met < 36; ++met) {
        const PeerId peer = numbered(open.front().address.port);
        plan.answered({open.front().target, open.front().round}, peer, plan.now);
        open.pop_front();
        plan.engaged(peer);
        plan.attached(peer);
        REQUIRE(dial_all() == 1);
    }
}

TEST_CASE("hearsay of a teller that is not worth a dial any more is that of the next one who tells it") {
    Plan plan;
    for (std::size_t i = 100; i < 400; ++i) {
        plan.hear(numbered(i), numbered(9), {{"10.9.0.1", static_cast<std::uint16_t>(i)}}, plan.now);
    }
    plan.hear(bob, numbered(9), {at(1)}, plan.now);
    while (const auto dial = plan.ask()) plan.fail(*dial);
    plan.hear(bob, numbered(3), {at(1)}, plan.now);
    CHECK(plan.must().address == at(1));
}

TEST_CASE("a peer out of view stays sought as a peer") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.unbind(bob, plan.now, never);
    CHECK(plan.must().address == at(1));
}

TEST_CASE("a peer that is sought twice is one target with the newer addresses") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.seek(bob, {at(2)}, plan.now);
    CHECK(plan.must().address == at(2));
    CHECK_FALSE(plan.ask());
}

TEST_CASE("addresses that become known during a round are dialled at once, and in the rounds that follow") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    const auto unanswered = plan.must();
    plan.seek(bob, {at(1)}, plan.now);
    CHECK_FALSE(plan.ask());
    plan.seek(bob, {at(2)}, plan.now);
    CHECK_FALSE(plan.fail(unanswered));
    for (int round = 0; round < 3; ++round) {
        const auto dial = plan.must();
        CHECK(dial.address == at(2));
        REQUIRE(plan.fail(dial));
        plan.wait();
    }
}

TEST_CASE("a peer that published no address is not dialled, and its round is not one in vain") {
    Plan plan;
    plan.seek(bob, {}, plan.now);
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
    CHECK(plan.take_ended().empty());
    plan.seek(bob, {at(1)}, plan.now);
    plan.hurry(bob, 1s, plan.now);
    CHECK(plan.must().address == at(1));
}

TEST_CASE("who is hurried is dialled at once, even where a dial is under way, but not again and again") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now + 10s);
    plan.hurry(bob, 1s, plan.now);
    const auto unanswered = plan.must();
    plan.now += 999ms;
    plan.hurry(bob, 1s, plan.now);
    CHECK_FALSE(plan.ask());
    plan.now += 1ms;
    plan.hurry(bob, 1s, plan.now);
    const auto accepted = plan.must();
    CHECK(accepted.address == at(1));
    CHECK_FALSE(plan.fail(unanswered));
    plan.connected({unanswered.target, unanswered.round});  // of a former round
    plan.now += 1s;
    plan.hurry(bob, 1s, plan.now);
    const auto again = plan.must();
    plan.connected({again.target, again.round});
    plan.now += 1s;
    plan.hurry(bob, 1s, plan.now);
    CHECK_FALSE(plan.ask());  // they greet each other
    plan.seek(bob, {at(1), at(2)}, plan.now);
    CHECK_FALSE(plan.ask());
    plan.fail(again);
    CHECK(plan.must().address == at(2));
}

TEST_CASE("who accepts without a greeting when its link was just lost is dialled again in milliseconds") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.meet_and_lose();
    REQUIRE(plan.fail(plan.must(), errc::connection_lost));
    for (const auto pause : {2ms, 4ms, 8ms, 16ms, 32ms}) {
        CHECK(plan.wait() == pause);
        plan.fail(plan.must(), errc::connection_lost);
    }
    CHECK(plan.wait() >= shortest * 3 / 4);
}

TEST_CASE("a round whose last addresses are occupied waits for the dials under way") {
    Plan plan;
    plan.occupied = [](const PeerId&, const Address& address) { return address.port == 2; };
    plan.seek(bob, {at(1), at(2)}, plan.now);
    const auto dial = plan.must();
    plan.now += DialPlan::stagger;
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
    CHECK(plan.fail(dial));
}

TEST_CASE("who did not run gives the dials under way as much more time, and not more than if they had just begun") {
    Plan plan;
    plan.seek(bob, {at(1), at(2)}, plan.now);
    plan.must();
    const Time due = plan.next();
    CHECK(due == plan.now + DialPlan::stagger);
    plan.now += 100ms;
    plan.forgive(100ms, plan.now);
    CHECK(plan.next() == due + 100ms);
    plan.now += 10s;
    plan.forgive(10s, plan.now);
    CHECK(plan.next() == plan.now + DialPlan::stagger);
    plan.wait();
    plan.fail(plan.must());
    CHECK(plan.next() == never);  // the first one may yet be answered
    plan.forgive(10s, plan.now);
    CHECK(plan.next() == never);
}

TEST_CASE("a check dials a peer that has a link, once") {
    Plan plan;
    plan.seek(bob, {at(1)}, plan.now);
    plan.engaged(bob);
    plan.check(bob, {at(1), at(2)}, plan.now);
    const auto first = plan.must();
    CHECK(first.address == at(1));
    CHECK(plan.kind(first.target) == DialPlan::Kind::check);
    CHECK_FALSE(plan.fail(first));
    const auto round = plan.fail(plan.must());
    REQUIRE(round);
    CHECK(round->kind == DialPlan::Kind::check);
    plan.drop(round->target);
    CHECK(plan.next() == never);
}

TEST_CASE("what is dropped is not dialled, and its outcomes mean nothing") {
    Plan plan;
    const std::uint64_t seed = plan.seek(name, DialPlan::Kind::seed, plan.now);
    plan.seek(bob, {at(1)}, plan.now);
    plan.seek(eve, {at(2)}, plan.now);
    SUBCASE("by number and peer") {
        plan.drop(seed);
        plan.drop(bob);
        CHECK(plan.must().address == at(2));
    }
    SUBCASE("all but some peers") {
        plan.keep_only({eve});
        CHECK(plan.must().address == at(2));
    }
    SUBCASE("all") { plan.drop_all(); }
    SUBCASE("while it is dialled") {
        const auto asked = plan.must();
        const auto dial = plan.must();
        plan.drop_all();
        plan.resolved(asked.target, {at(9)}, plan.now);
        plan.answered({asked.target, asked.round}, bob, plan.now);
        CHECK_FALSE(plan.fail(dial));
    }
    CHECK(plan.bound(seed) == nullptr);
    CHECK_FALSE(plan.ask());
    CHECK(plan.next() == never);
}
