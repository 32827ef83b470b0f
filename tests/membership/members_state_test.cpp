#include "membership/members_state.hpp"

#include "membership/membership_conformance.hpp"
#include "net/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::detail;
using namespace cluster::support;
using conformance::Follower;

namespace {

template <class Id>
Id id_of(int number) {
    Id id;
    id.bytes[0] = static_cast<std::uint8_t>(number);
    return id;
}

std::shared_ptr<const MemberRecord> record(int id, int owner, std::string_view text = "") {
    const auto bytes = std::as_bytes(std::span(text));
    return std::make_shared<const MemberRecord>(
        MemberRecord{id_of<MemberId>(id), id_of<PeerId>(owner), {bytes.begin(), bytes.end()}});
}

MembersState::Change present(int id, int owner, std::string_view text = "") {
    return {record(id, owner, text), true, false};
}

MembersState::Change left(int id, int owner) {
    return {record(id, owner), false, true};
}

MembersState::Change expired(int id, int owner) {
    return {record(id, owner), false, false};
}

void change(MembersState& state, const std::vector<MembersState::Change>& changes) {
    state.apply(changes);
}

/// Counts how often it is woken.
struct Counted final : Operation {
    void wake() noexcept override { ++woken; }
    int woken = 0;
};

}  // namespace

TEST_CASE("members: several changes are one version, and no change is none") {
    const auto state = std::make_shared<MembersState>();
    Follower follower{Members(state)};
    follower.read();
    const std::uint64_t version = follower.view().version();
    change(*state, {present(2, 1, "b"), present(1, 1, "a"), present(3, 1), left(3, 1)});
    follower.read();
    CHECK(follower.view().version() == version + 1);
    CHECK(follower.changes().size() == 2);
    change(*state, {present(1, 1, "a"), left(9, 1), expired(1, 2)});
    change(*state, {});
    state->set_complete(true);
    state->set_suspect(id_of<PeerId>(7), true);
    state->set_suspect(id_of<PeerId>(7), false);
    CHECK(state->snapshot().version() == version + 1);
}

TEST_CASE("members: two owners that claim one id are two members, and neither can touch the other's") {
    const auto state = std::make_shared<MembersState>();
    Follower follower{Members(state)};
    change(*state, {present(1, 2, "two"), present(1, 1, "one")});
    follower.read();
    REQUIRE(follower.view().size() == 2);
    CHECK(follower.view()[0].text() == "one");
    CHECK(follower.view().find(id_of<MemberId>(1)) == &follower.view()[0]);
    change(*state, {expired(1, 1)});
    follower.read();
    CHECK(follower.changes().at(0).member.owner() == id_of<PeerId>(1));
    CHECK(follower.view()[0].text() == "two");
}

TEST_CASE("members: whether all are known is told, too, even where no member changes") {
    const auto state = std::make_shared<MembersState>();
    Follower follower{Members(state)};
    follower.read();
    CHECK(follower.view().complete());
    state->set_complete(false);
    follower.read();
    CHECK_FALSE(follower.view().complete());
    CHECK(follower.changes().empty());
    state->set_complete(true);
    state->set_complete(false);
    CHECK_FALSE(follower.watch().try_next().has_value());
}

TEST_CASE("members: who is suspect stays so for members to come, until it is said otherwise") {
    const auto state = std::make_shared<MembersState>();
    Follower follower{Members(state)};
    state->set_suspect(id_of<PeerId>(1), true);
    change(*state, {present(1, 1), present(2, 2)});
    follower.read();
    CHECK(follower.view()[0].suspect());
    CHECK_FALSE(follower.view()[1].suspect());
    change(*state, {expired(1, 1)});
    state->set_suspect(id_of<PeerId>(1), false);
    change(*state, {present(1, 1)});
    follower.read();
    CHECK(follower.changes().at(0).event == MemberEvent::updated);
    CHECK_FALSE(follower.view()[0].suspect());
}

TEST_CASE("members: what a watch tells is what a naive model tells, however seldom it is read") {
    struct Known {
        Member member;
        std::optional<MemberEvent> gone;  ///< how it went first since it was read
    };
    using Key = std::pair<MemberId, PeerId>;
    std::mt19937 random(20);
    const auto state = std::make_shared<MembersState>();
    std::vector<Follower> followers;
    for (int i = 0; i < 4; ++i) followers.emplace_back(Members(state));
    std::vector<std::map<Key, Known>> known(followers.size());
    for (int step = 0; step < 5000; ++step) {
        const int id = static_cast<int>(random() % 6);
        const int owner = static_cast<int>(random() % 2);
        const int kind = static_cast<int>(random() % 8);
        const auto forget = [&](int each, MemberEvent event) {
            for (auto& of_one : known) {
                const auto found = of_one.find({id_of<MemberId>(each), id_of<PeerId>(owner)});
                if (found != of_one.end() && !found->second.gone) found->second.gone = event;
            }
        };
        if (kind < 4) {
            change(*state, {present(id, owner, random() % 2 == 0 ? "a" : "b")});
        } else if (kind == 4) {
            forget(id, MemberEvent::left);
            change(*state, {left(id, owner)});
        } else if (kind == 5) {
            std::vector<MembersState::Change> changes;
            for (int each = 0; each < 6; ++each) {
                forget(each, MemberEvent::expired);
                changes.push_back(expired(each, owner));
            }
            change(*state, changes);
        } else {
            state->set_suspect(id_of<PeerId>(owner), kind == 6);
        }
        for (std::size_t i = 0; i < followers.size(); ++i) {
            if (random() % (1 + 7 * i) != 0) continue;
            const auto update = followers[i].watch().try_next();
            const MemberView now = state->snapshot();
            std::map<Key, MemberEvent> events;
            for (const auto& before : known[i]) {
                const Member* const found = std::find_if(now.begin(), now.end(), [&](const Member& member) {
                    return Key{member.id(), member.owner()} == before.first;
                });
                if (found == now.end()) {
                    events[before.first] = before.second.gone.value();
                } else if (!(*found == before.second.member)) {
                    events[before.first] = MemberEvent::updated;
                }
            }
            for (const Member& member : now) {
                const Key key{member.id(), member.owner()};
                if (!known[i].contains(key)) events[key] = MemberEvent::joined;
            }
            const bool first = followers[i].view().version() == 0;
            REQUIRE(update.has_value() == (first || !events.empty()));
            if (!update) {
                // Who went and is back as before counts as never gone: the watch knows the newest enrolment now.
                for (auto& [key, each] : known[i]) each.gone.reset();
                continue;
            }
            followers[i].accept(*update);
            std::map<Key, MemberEvent> told;
            for (const MemberChange& change : update->changes) {
                told[{change.member.id(), change.member.owner()}] = change.event;
            }
            REQUIRE(told == events);
            REQUIRE(std::is_sorted(update->changes.begin(), update->changes.end(),
                                   [](const auto& a, const auto& b) { return a.member.id() < b.member.id(); }));
            known[i].clear();
            for (const Member& member : now) known[i][{member.id(), member.owner()}] = {member, std::nullopt};
        }
    }
}

TEST_CASE("members: an operation is woken once by a change, by the end of its watch and by the end of all") {
    const auto state = std::make_shared<MembersState>();
    WatchState one(state);
    WatchState other(state);
    const auto of_one = std::make_shared<Counted>();
    const auto of_other = std::make_shared<Counted>();
    CHECK_FALSE(one.wait(of_one));  // there is a first view
    CHECK(one.next(no_wait).has_value());
    CHECK(other.next(no_wait).has_value());
    CHECK(one.wait(of_one));
    CHECK(other.wait(of_other));
    {
        const std::vector<MembersState::Change> changes{present(1, 1)};
        const Woken woken = state->apply(changes);
        CHECK(of_one->woken == 0);  // not before the one who made the change says so
        CHECK_FALSE(one.stop_waiting(*of_one));
    }
    change(*state, {present(2, 1)});
    CHECK(of_one->woken == 1);
    CHECK(of_other->woken == 1);
    CHECK(one.next(no_wait).has_value());
    CHECK(other.next(no_wait).has_value());
    CHECK(one.wait(of_one));
    CHECK(other.wait(of_other));
    one.close();
    CHECK(of_one->woken == 2);
    CHECK(of_other->woken == 1);
    CHECK_FALSE(one.wait(of_one));
    CHECK(other.stop_waiting(*of_other));
    CHECK_FALSE(other.stop_waiting(*of_other));
    CHECK(other.wait(of_other));
    state->close();
    CHECK(of_other->woken == 2);
    CHECK(of_one->woken == 2);
    change(*state, {present(3, 1)});
    CHECK(state->snapshot().size() == 2);
}

TEST_CASE("members: a callback that is slow hears of many changes as one, and of nothing after the end") {
    std::vector<std::function<void()>> posted;
    const auto state = std::make_shared<MembersState>([&](std::function<void()> work) {
        posted.push_back(std::move(work));
        return true;
    });
    const auto run = [&] {
        for (const auto& work : std::exchange(posted, {})) work();
    };
    std::vector<std::size_t> sizes;
    Subscription subscription =
        Members(state).on_change([&](const MemberUpdate& update) { sizes.push_back(update.view.size()); });
    CHECK(sizes.empty());
    change(*state, {present(1, 1)});
    run();
    CHECK(sizes == std::vector<std::size_t>{1});
    for (int i = 2; i < 100; ++i) change(*state, {present(i, 1)});
    CHECK(posted.size() == 1);
    run();
    CHECK(sizes == std::vector<std::size_t>{1, 99});
    run();
    change(*state, {left(1, 1)});
    SUBCASE("of the subscription") { subscription.reset(); }
    SUBCASE("of all") { state->close(); }
    run();
    change(*state, {left(2, 1)});
    run();
    CHECK(sizes.size() == 2);
    CHECK(posted.empty());
}

TEST_CASE("members: what a callback throws is told, and the next change is told to it all the same") {
    std::vector<std::string> thrown;
    const auto state = std::make_shared<MembersState>(
        MembersState::CallBack(), [&](std::string_view what) { thrown.emplace_back(what); });
    const Subscription subscription =
        Members(state).on_change([](const MemberUpdate&) { throw std::runtime_error("of the test"); });
    change(*state, {present(1, 1)});
    CHECK(thrown == std::vector<std::string>{"of the test", "of the test"});
}

TEST_CASE("members: whatever a callback holds goes with its subscription, though nothing changes") {
    const auto state = std::make_shared<MembersState>();
    const auto held = std::make_shared<int>();
    {
        const Subscription subscription = Members(state).on_change([held](const MemberUpdate&) {});
        CHECK(held.use_count() == 2);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("members: on an I/O thread a watch is read without waiting, and says where it would have to") {
    const auto state = std::make_shared<MembersState>();
    Node ann(quick());
    Node bob(quick());
    Events<std::error_code> errors;
    bob.on_message([&](const Message&) {
        MemberWatch watch = Members(state).watch();
        CHECK(watch.next().has_value());
        CHECK_FALSE(watch.try_next().has_value());
        try {
            watch.next();
        } catch (const std::system_error& error) {
            errors.put(error.code());
        }
        watch.close();
        CHECK_FALSE(watch.next().has_value());
        errors.put({});
    });
    ann.add(bob.address());
    ann.broadcast("go");
    CHECK(errors.take() == errc::would_block);
    CHECK(errors.take() == std::error_code());
}
