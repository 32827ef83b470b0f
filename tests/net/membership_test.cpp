#include "membership/membership_conformance.hpp"
#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// A node that is alone.
class OneNode : public conformance::Subject {
public:
    Membership create_membership() override { return ann_.create_membership(); }
    Members own_members() override { return ann_.members(); }
    Members members() override { return ann_.members(); }
    void close() override { ann_.close(); }
    void lose(const MemberId&) override { FAIL("a node does not lose itself"); }
    void find(const MemberId&) override {}

protected:
    Node ann_{quick()};
};

/// Members of one node, watched at another.
class WatchedAtAnother final : public OneNode {
public:
    WatchedAtAnother() {
        bob_.add(ann_.address());
        // From now on only what a test does is news.
        MemberWatch watch = bob_.members().watch();
        while (!watch.next_for(patience).value().view.complete()) continue;
    }

    Members members() override { return bob_.members(); }
    void close() override { bob_.close(); }
    void lose(const MemberId&) override { CHECK(bob_.remove(ann_.id())); }
    void find(const MemberId&) override { bob_.add(ann_.address()); }

private:
    Node bob_{quick()};
};

template <class Kind>
std::unique_ptr<conformance::Subject> make() {
    return std::make_unique<Kind>();
}

/// Waits until `condition` holds for what `members` show.
template <class Condition>
bool shows(const Members& members, Condition condition) {
    MemberWatch watch = members.watch();
    while (const auto update = watch.next_for(patience)) {
        if (condition(update->view)) return true;
    }
    return false;
}

bool shows_just(const Members& members, const conformance::Expected& expected) {
    return shows(members, [&](const MemberView& view) { return conformance::content(view) == expected; });
}

}  // namespace

TEST_CASE("membership of nodes: members are invisible, appear, change and go, one after the other") {
    conformance::happy_path(make<OneNode>);
    conformance::happy_path(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: watchers are independent of each other and end when they are closed, or all is") {
    conformance::watchers(make<OneNode>);
    conformance::watchers(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: any bytes are data, too many are refused, and nobody else notices") {
    conformance::invalid_values(make<OneNode>);
    conformance::invalid_values(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: who is lost and found again has its id and its newest data") {
    conformance::persistent_lease(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: a watch tells what is there and then each change in its order") {
    conformance::watch_in_order(make<OneNode>);
    conformance::watch_in_order(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: a reader waits for what comes, takes what is there, and gives up in time") {
    conformance::waiting(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: what was written is read, 200 times") {
    conformance::read_your_writes(make<OneNode>);
    conformance::read_your_writes(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: a watch that is never read delays nobody, one that is read late gets the newest") {
    conformance::slow_watchers(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: several threads write several members, and one, at the same time") {
    conformance::concurrent_writers(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: data that is set while withdrawn goes with the next enrolment") {
    conformance::data_while_withdrawn(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: a member goes with the object that stands for it") {
    conformance::destruction_withdraws(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: closing ends whoever waits, may be done from anywhere, and again") {
    conformance::closing(make<OneNode>);
    conformance::closing(make<WatchedAtAnother>);
}

TEST_CASE("membership of nodes: what many members of a peer took is given back to the system when it has gone") {
    if (!memory_is_ours) return;
    constexpr std::size_t count = 20000;
    // What the owner itself gives back is not at stake, so there are several who knew its members.
    Node ann(quick());
    Node eve(quick());
    Node dan(quick());
    eve.add(ann.address());
    dan.add(ann.address());
    REQUIRE(ann.wait_for_peers(2, patience));
    const Node* const knew[] = {&ann, &eve, &dan};
    const std::uint64_t before = process_bytes("VmRSS");
    std::uint64_t full = 0;
    {
        Node bob(quick());
        bob.add(ann.address());
        std::vector<Membership> all;
        for (std::size_t i = 0; i < count; ++i) {
            Membership& membership = all.emplace_back(bob.create_membership());
            membership.set_data(std::string(1000, 'm'));
            membership.enroll();
        }
        for (const Node* each : knew) {
            REQUIRE(shows(each->members(), [](const MemberView& view) { return view.size() == count; }));
        }
        full = process_bytes("VmRSS");
    }
    for (const Node* each : knew) {
        REQUIRE(shows(each->members(), [](const MemberView& view) { return view.empty(); }));
    }
    REQUIRE(full > before + count * 2000);
    CHECK(wait_for([&] { return process_bytes("VmRSS") < before + (full - before) / 2; }, patience));
}

TEST_CASE("membership of nodes: an enrolment that all peers have seen is in the views of all") {
    Node ann(quick());
    Node bob(quick());
    Node eve(quick());
    bob.add(ann.address());
    eve.add(ann.address());
    REQUIRE(ann.wait_for_peers(2, patience));
    for (int i = 0; i < 50; ++i) {
        Membership membership = ann.create_membership();
        membership.set_data(std::to_string(i));
        membership.enroll(seen_by::all_peers, patience);
        for (const Node* node : {&bob, &eve}) {
            const MemberView view = node->members().snapshot();
            REQUIRE(view.find(membership.id()) != nullptr);
            CHECK(view.find(membership.id())->text() == std::to_string(i));
            CHECK(view.find(membership.id())->owner() == ann.id());
        }
        membership.withdraw(seen_by::all_peers, patience);
        for (const Node* node : {&bob, &eve}) CHECK(node->members().snapshot().empty());
    }
}

TEST_CASE("membership of nodes: a node that is alone has nobody to wait for") {
    Node ann(quick());
    Membership membership = ann.create_membership();
    membership.enroll(seen_by::all_peers, 0s);
    CHECK(ann.members().snapshot().size() == 1);
    CHECK(ann.members().snapshot().complete());
}

TEST_CASE("membership of nodes: whoever joins late knows all before it says that it does") {
    Node ann(quick());
    std::vector<Membership> members;
    conformance::Expected expected;
    const std::string large(20000, 'x');
    for (int i = 0; i < 50; ++i) {
        members.push_back(ann.create_membership());
        expected[members.back().id()] = large + std::to_string(i);
        members.back().set_data(expected[members.back().id()]);
        members.back().enroll();
    }
    Node bob(quick());
    MemberWatch watch = bob.members().watch();
    bob.add(ann.address());
    while (const auto update = watch.next_for(patience)) {
        if (!update->view.complete() || bob.peers().empty() || update->view.empty()) continue;
        CHECK(conformance::content(update->view) == expected);
        break;
    }
    CHECK(shows_just(bob.members(), expected));
}

TEST_CASE("membership of nodes: members leave with a node that closes, and expire with one that is lost") {
    Node ann(quick());
    auto bob = std::make_unique<Node>(quick());
    bob->add(ann.address());
    Membership first = bob->create_membership();
    first.set_data("first");
    first.enroll(seen_by::all_peers, patience);
    MemberWatch watch = ann.members().watch();
    REQUIRE(watch.next()->view.size() == 1);
    bob->close();
    const auto gone = watch.next_for(patience);
    REQUIRE(gone);
    REQUIRE(gone->changes.size() == 1);
    CHECK(gone->changes[0].event == MemberEvent::left);
    CHECK(gone->changes[0].member.text() == "first");

    Node eve(quick());
    eve.add(ann.address());
    Membership second = eve.create_membership();
    second.enroll(seen_by::all_peers, patience);
    REQUIRE(watch.next_for(patience)->view.size() == 1);
    CHECK(ann.remove(eve.id()));
    const auto lost = watch.next_for(patience);
    REQUIRE(lost);
    REQUIRE(lost->changes.size() == 1);
    CHECK(lost->changes[0].event == MemberEvent::expired);
}

TEST_CASE("membership of nodes: after close nobody is enrolled, data can still be set, and the last view stays") {
    Node ann(quick());
    Membership one = ann.create_membership();
    one.set_data("one");
    one.enroll();
    Membership two = ann.create_membership();
    ann.close();
    std::error_code error;
    two.enroll(error);
    CHECK(error == errc::closed);
    one.set_data("changed", error);
    CHECK(!error);
    one.enroll(seen_by::all_peers, error);
    CHECK((!error || error == errc::closed));
    CHECK(conformance::content(ann.members().snapshot()) == conformance::Expected{{one.id(), "one"}});
    CHECK(ann.members().watch().at_end());
    CHECK_FALSE(ann.members().watch().next().has_value());
}

TEST_CASE("membership of nodes: memberships and readers may outlive their node") {
    std::optional<Membership> membership;
    std::optional<Members> members;
    std::optional<MemberWatch> watch;
    {
        Node ann(quick());
        membership.emplace(ann.create_membership());
        membership->enroll();
        members.emplace(ann.members());
        watch.emplace(members->watch());
    }
    membership->set_data("still mine");
    std::error_code error;
    membership->withdraw(error);
    CHECK(watch->at_end());
    CHECK(members->snapshot().size() <= 1);
}

TEST_CASE("membership of nodes: a callback is told of all there is and then of each change, on the callback thread") {
    Node ann(quick());
    Node bob(quick());
    bob.add(ann.address());
    Membership membership = ann.create_membership();
    membership.set_data("a");
    membership.enroll(seen_by::all_peers, patience);
    Events<std::string> seen;
    const Subscription subscription = bob.members().on_change([&](const MemberUpdate& update) {
        std::string text;
        for (const Member& member : update.view) text += std::string(member.text()) + ' ';
        seen.put(text);
    });
    CHECK(seen.take() == "a ");
    membership.set_data("b");
    CHECK(seen.take() == "b ");
    membership.withdraw();
    CHECK(seen.take() == "");
}

TEST_CASE("membership of nodes: enrolling may not wait on an I/O thread") {
    Node ann(quick());
    Node bob(quick());
    bob.add(ann.address());
    Membership membership = ann.create_membership();
    Events<std::error_code> errors;
    ann.on_message([&](const Message&) {
        std::error_code error;
        membership.enroll(error);
        errors.put(error);
        membership.withdraw(seen_by::all_peers, patience, error);
        errors.put(error);
    });
    bob.send(ann.id(), "now");
    CHECK(errors.take() == std::error_code());
    CHECK(errors.take() == errc::would_block);
    ann.on_message({});
}

TEST_CASE("membership of nodes: data beyond what one node may enrol are refused, and a member keeps the data it had") {
    Node ann(quick());
    const std::string longest(std::size_t{64} << 10, 'x');
    std::vector<Membership> all;
    for (int i = 0; i < 1024; ++i) {  // 64 MiB
        all.push_back(ann.create_membership());
        all.back().set_data(longest);
        all.back().enroll();
    }
    Membership last = ann.create_membership();
    last.enroll();
    std::error_code error;
    last.set_data("a", error);
    CHECK(error == errc::too_many_members);
    CHECK(last.data().empty());
    CHECK(ann.members().snapshot().find(last.id())->data().empty());
    all.back().set_data("");
    last.set_data("a");
    CHECK(last.data().size() == 1);
    CHECK(ann.members().snapshot().find(last.id())->text() == "a");
}
