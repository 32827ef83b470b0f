#include "membership/membership_conformance.hpp"

#include <cluster/testing.hpp>
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

class InMemory final : public conformance::Subject {
public:
    Membership create_membership() override { return cluster_.create_membership(); }
    Members own_members() override { return cluster_.members(); }
    Members members() override { return cluster_.members(); }
    void close() override { cluster_.close(); }
    void lose(const MemberId& id) override { CHECK(cluster_.expire(id)); }
    void find(const MemberId& id) override { CHECK(cluster_.restore(id)); }

private:
    testing::MemoryCluster cluster_;
};

std::unique_ptr<conformance::Subject> in_memory() {
    return std::make_unique<InMemory>();
}

}  // namespace

TEST_CASE("membership in memory: members are invisible, appear, change and go, one after the other") {
    conformance::happy_path(in_memory);
}

TEST_CASE("membership in memory: watchers are independent of each other and end when they are closed, or all is") {
    conformance::watchers(in_memory);
}

TEST_CASE("membership in memory: any bytes are data, too many are refused, and nobody else notices") {
    conformance::invalid_values(in_memory);
}

TEST_CASE("membership in memory: who is lost and found again has its id and its newest data") {
    conformance::persistent_lease(in_memory);
}

TEST_CASE("membership in memory: a watch tells what is there and then each change in its order") {
    conformance::watch_in_order(in_memory);
}

TEST_CASE("membership in memory: a reader waits for what comes, takes what is there, and gives up in time") {
    conformance::waiting(in_memory);
}

TEST_CASE("membership in memory: what was written is read, 200 times") {
    conformance::read_your_writes(in_memory);
}

TEST_CASE("membership in memory: a watch that is never read delays nobody, one that is read late gets the newest") {
    conformance::slow_watchers(in_memory);
}

TEST_CASE("membership in memory: several threads write several members, and one, at the same time") {
    conformance::concurrent_writers(in_memory);
}

TEST_CASE("membership in memory: data that is set while withdrawn goes with the next enrolment") {
    conformance::data_while_withdrawn(in_memory);
}

TEST_CASE("membership in memory: a member goes with the object that stands for it") {
    conformance::destruction_withdraws(in_memory);
}

TEST_CASE("membership in memory: closing ends whoever waits, may be done from anywhere, and again") {
    conformance::closing(in_memory);
}

TEST_CASE("membership in memory: closing a watch ends those who wait on it, and nobody else") {
    conformance::closing_a_watch(in_memory);
}

TEST_CASE("membership in memory: a callback is told what is there, then of changes, until its subscription ends") {
    conformance::callbacks(in_memory);
}

TEST_CASE("membership in memory: a callback may change members, end its subscription, and throw") {
    conformance::callbacks_that_act(in_memory);
}

TEST_CASE("membership in memory: what all have seen is there") {
    conformance::seen_by_all(in_memory);
}

TEST_CASE("membership in memory: a member id is a random UUID whose text can be read again") {
    testing::MemoryCluster cluster;
    std::set<MemberId> seen;
    for (int i = 0; i < 100; ++i) {
        const MemberId id = cluster.create_membership().id();
        CHECK(seen.insert(id).second);
        const std::string text = to_string(id);
        REQUIRE(text.size() == 36);
        CHECK(text[14] == '4');
        CHECK(std::string("89ab").find(text[19]) != std::string::npos);
        CHECK(MemberId::parse(text) == id);
    }
    const auto id = MemberId::parse("123e4567-E89B-42d3-a456-426614174000");
    REQUIRE(id.has_value());
    CHECK(id->to_string() == "123e4567-e89b-42d3-a456-426614174000");
    std::ostringstream out;
    out << *id;
    CHECK(out.str() == id->to_string());
    CHECK(std::hash<MemberId>()(*id) == std::hash<MemberId>()(*MemberId::parse(out.str())));
    CHECK(MemberId::parse("123e4567-e89b-42d3-a456-426614174001") > id);
    for (const char* const wrong :
         {"", "123e4567-e89b-42d3-a456-42661417400", "123e4567-e89b-42d3-a456-4266141740000",
          "123e4567e89b-42d3-a456-4266141740000", "123e4567-e89b-42d3-a456-42661417400g",
          "{23e4567-e89b-42d3-a456-42661417400}", "123e4567-e89b-42d3-a456 426614174000"}) {
        CHECK_FALSE(MemberId::parse(wrong).has_value());
    }
}

static_assert(std::input_iterator<MemberWatch::Iterator>);
static_assert(!std::is_copy_constructible_v<Membership> && std::is_nothrow_move_constructible_v<Membership>);

TEST_CASE("membership in memory: what is not a member is empty") {
    const Member none;
    CHECK(none.id() == MemberId());
    CHECK(none.owner() == PeerId());
    CHECK(none.data().empty());
    CHECK(none.text().empty());
    CHECK(none == Member());
    const MemberView view;
    CHECK(view.version() == 0);
    CHECK(view.empty());
    CHECK(view.begin() == view.end());
    CHECK(view.find(MemberId()) == nullptr);
    CHECK(to_string(MemberEvent::joined) == "joined");
    CHECK(to_string(MemberEvent::updated) == "updated");
    CHECK(to_string(MemberEvent::left) == "left");
    CHECK(to_string(MemberEvent::expired) == "expired");
}

TEST_CASE("membership in memory: views stay as they are, and share what they show") {
    testing::MemoryCluster cluster;
    Membership membership = cluster.create_membership();
    membership.set_data("before");
    membership.enroll();
    const MemberView before = cluster.members().snapshot();
    CHECK(before.complete());
    CHECK(cluster.members().snapshot().version() == before.version());
    const Member member = before[0];
    membership.set_data("after");
    const MemberView after = cluster.members().snapshot();
    CHECK(after.version() > before.version());
    CHECK(before.find(membership.id())->text() == "before");
    CHECK(after.find(membership.id())->text() == "after");
    CHECK(member.data().data() == before[0].data().data());
    CHECK_FALSE(before[0] == after[0]);
}

TEST_CASE("membership in memory: a suspect owner marks its members, and an update says so") {
    testing::MemoryCluster cluster;
    PeerId owner;
    owner.bytes[0] = 7;
    Membership one = cluster.create_membership(owner);
    Membership other = cluster.create_membership(owner);
    Membership stranger = cluster.create_membership();
    for (Membership* each : {&one, &other, &stranger}) each->enroll();
    conformance::Follower follower(cluster.members());
    follower.read();
    CHECK(follower.view().find(one.id())->owner() == owner);
    CHECK_FALSE(follower.view().find(stranger.id())->owner() == owner);

    CHECK(cluster.suspect(one.id()));
    follower.read();
    CHECK(follower.changes().size() == 2);
    CHECK(follower.changes()[0].event == MemberEvent::updated);
    CHECK(follower.view().find(one.id())->suspect());
    CHECK(follower.view().find(other.id())->suspect());
    CHECK_FALSE(follower.view().find(stranger.id())->suspect());
    CHECK(cluster.suspect(one.id(), false));
    follower.read();
    CHECK_FALSE(follower.view().find(other.id())->suspect());

    SUBCASE("it expires, and returns unsuspected") {
        CHECK(cluster.suspect(one.id()));
        CHECK(cluster.expire(other.id()));
        follower.expect({{stranger.id(), ""}});
        CHECK(follower.changes().size() == 2);
        CHECK(follower.changes()[1].event == MemberEvent::expired);
        CHECK_FALSE(cluster.expire(one.id()));
        one.set_data("at another place");
        Membership late = cluster.create_membership(owner);
        late.enroll();
        other.withdraw();
        CHECK_FALSE(follower.watch().try_next().has_value());
        CHECK(cluster.restore(one.id()));
        follower.expect({{stranger.id(), ""}, {one.id(), "at another place"}, {late.id(), ""}});
        CHECK_FALSE(follower.view().find(one.id())->suspect());
        CHECK_FALSE(cluster.restore(one.id()));
    }
    SUBCASE("who is suspected and cleared unread is as before") {
        CHECK(cluster.suspect(one.id()));
        CHECK(cluster.suspect(one.id(), false));
        CHECK_FALSE(follower.watch().try_next().has_value());
    }
    SUBCASE("only who is enrolled can fail") {
        stranger.withdraw();
        CHECK_FALSE(cluster.suspect(stranger.id()));
        CHECK_FALSE(cluster.expire(stranger.id()));
        CHECK_FALSE(cluster.restore(stranger.id()));
        cluster.close();
        CHECK_FALSE(cluster.expire(one.id()));
    }
}

TEST_CASE("membership in memory: limits are kept, and say what they refused") {
    testing::MemoryCluster cluster({.max_member_data = 4, .max_members = 2});
    Membership one = cluster.create_membership();
    Membership two = cluster.create_membership();
    Membership three = cluster.create_membership();
    std::error_code error;
    one.set_data("1234", error);
    CHECK_FALSE(error);
    one.set_data("12345", error);
    CHECK(error == errc::member_data_too_large);
    one.enroll();
    two.enroll();
    three.set_data("kept");
    three.enroll(error);
    CHECK(error == errc::too_many_members);
    CHECK_FALSE(three.enrolled());
    CHECK(cluster.members().snapshot().size() == 2);
    try {
        three.enroll();
        FAIL("it was enrolled");
    } catch (const std::system_error& thrown) {
        CHECK(thrown.code() == errc::too_many_members);
        CHECK(std::string(thrown.what()).find(three.id().to_string()) != std::string::npos);
    }
    one.enroll(error);
    CHECK_FALSE(error);
    one.withdraw();
    three.enroll();
    CHECK(cluster.members().snapshot().find(three.id())->text() == "kept");
}

TEST_CASE("membership in memory: after closing nothing can be enrolled, and nothing is lost") {
    std::optional<testing::MemoryCluster> cluster(std::in_place);
    const Members members = cluster->members();
    Membership enrolled = cluster->create_membership();
    Membership other = cluster->create_membership();
    enrolled.enroll();
    SUBCASE("by closing") { cluster->close(); }
    SUBCASE("by destroying") { cluster.reset(); }
    std::error_code error;
    other.set_data("kept", error);
    CHECK_FALSE(error);
    other.enroll(error);
    CHECK(error == errc::closed);
    CHECK_FALSE(other.enrolled());
    enrolled.enroll(error);
    CHECK(error == errc::closed);
    CHECK(enrolled.enrolled());
    enrolled.withdraw(error);
    CHECK_FALSE(error);
    enrolled.withdraw(seen_by::all_peers, error);
    CHECK(error == errc::closed);
    CHECK(members.snapshot().size() == 1);
}

TEST_CASE("membership in memory: a callback is called where the change is made, before that returns") {
    testing::MemoryCluster cluster;
    Membership membership = cluster.create_membership();
    std::vector<std::thread::id> threads;
    const Subscription subscription =
        cluster.members().on_change([&](const MemberUpdate&) { threads.push_back(std::this_thread::get_id()); });
    CHECK(threads.size() == 1);
    membership.enroll();
    CHECK(threads.size() == 2);
    std::thread::id another;
    std::jthread changing([&] {
        another = std::this_thread::get_id();
        membership.withdraw();
    });
    changing.join();
    CHECK(threads == std::vector<std::thread::id>{std::this_thread::get_id(), std::this_thread::get_id(), another});
}

TEST_CASE("membership in memory: callbacks on two threads that change each other's member do not wait for each other") {
    testing::MemoryCluster cluster;
    std::vector<Membership> members;
    for (int i = 0; i < 2; ++i) members.push_back(cluster.create_membership());
    for (Membership& each : members) each.enroll();
    std::array<std::atomic<int>, 2> changes{};
    std::vector<Subscription> subscriptions;
    for (std::size_t i = 0; i < 2; ++i) {
        subscriptions.push_back(cluster.members().on_change([&, i](const MemberUpdate&) {
            if (changes[i] < 200) members[1 - i].set_data(std::to_string(i) + " " + std::to_string(++changes[i]));
        }));
    }
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
            for (int round = 0; round < 200; ++round) members[i].set_data(std::to_string(round));
        });
    }
    threads.clear();
    CHECK(changes[0] > 0);
    CHECK(changes[1] > 0);
}

TEST_CASE("membership in memory: the view may hold thousands, and a change of one is told as one") {
    testing::MemoryCluster cluster;
    std::vector<Membership> memberships;
    for (int i = 0; i < 3000; ++i) {
        memberships.push_back(cluster.create_membership());
        memberships.back().enroll();
    }
    conformance::Follower follower(cluster.members());
    follower.read();
    CHECK(follower.changes().size() == 3000);
    memberships[17].set_data("changed");
    follower.read();
    REQUIRE(follower.changes().size() == 1);
    CHECK(follower.changes()[0].member.id() == memberships[17].id());
    CHECK(follower.changes()[0].member.text() == "changed");
}
