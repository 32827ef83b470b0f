#pragma once

#include "net/support.hpp"

#include <cluster/membership.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

// What everything that offers shared membership has to do, as functions that are run against each: in memory, and with
// nodes. Nothing here relies on how soon a change is seen elsewhere, only that it is.

namespace cluster::conformance {

using support::patience;

/// What is tested: somewhere members are made, and somewhere, perhaps on another node, they are watched.
class Subject {
public:
    virtual ~Subject() = default;
    virtual Membership create_membership() = 0;
    /// The view of where memberships are created.
    virtual Members own_members() = 0;
    /// The view that is watched.
    virtual Members members() = 0;
    /// Closes what `members` belongs to.
    virtual void close() = 0;
    /// `members` loses the owner of that member, which lives and does not notice ...
    virtual void lose(const MemberId& id) = 0;
    /// ... and finds it again.
    virtual void find(const MemberId& id) = 0;
};

using Make = std::function<std::unique_ptr<Subject>()>;
using Expected = std::map<MemberId, std::string>;

inline Expected content(const MemberView& view) {
    Expected found;
    for (const Member& member : view) found.emplace(member.id(), member.text());
    return found;
}

/// Reads a watch and checks that each update is sound: its version is higher, its view is sorted, and its changes make
/// this view of the one before.
class Follower {
public:
    explicit Follower(const Members& members) : members_(members), watch_(members.watch()) {}

    MemberWatch& watch() { return watch_; }
    const MemberView& view() const { return view_; }
    /// What the last update told.
    const std::vector<MemberChange>& changes() const { return changes_; }

    void accept(const MemberUpdate& update) {
        REQUIRE(update.view.version() > view_.version());
        REQUIRE(std::is_sorted(update.view.begin(), update.view.end(),
                               [](const Member& a, const Member& b) { return a.id() < b.id(); }));
        for (const MemberChange& change : update.changes) {
            const auto key = std::make_pair(change.member.id(), change.member.owner());
            const auto known = mirror_.find(key);
            REQUIRE((known == mirror_.end()) == (change.event == MemberEvent::joined));
            if (change.event == MemberEvent::left || change.event == MemberEvent::expired) {
                REQUIRE(known->second == change.member);
                mirror_.erase(known);
                continue;
            }
            if (change.event == MemberEvent::updated) REQUIRE_FALSE(known->second == change.member);
            mirror_.insert_or_assign(key, change.member);
        }
        REQUIRE(mirror_.size() == update.view.size());
        REQUIRE(std::equal(update.view.begin(), update.view.end(), mirror_.begin(),
                           [](const Member& member, const auto& mirrored) { return member == mirrored.second; }));
        view_ = update.view;
        changes_ = update.changes;
    }

    /// Reads one update, which comes in time.
    void read() {
        const std::optional<MemberUpdate> update = watch_.next_for(patience);
        REQUIRE(update.has_value());
        accept(*update);
    }
    /// Reads until the view shows exactly that.
    void expect(const Expected& expected) {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (view_.version() == 0 || content(view_) != expected) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            read();
        }
        CHECK(content(members_.snapshot()) == expected);
    }

private:
    Members members_;
    MemberWatch watch_;
    MemberView view_;
    std::vector<MemberChange> changes_;
    std::map<std::pair<MemberId, PeerId>, Member> mirror_;
};

inline std::string bytes_of(const Membership& membership) {
    const std::vector<std::byte> data = membership.data();
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// TestHappyPath.
inline void happy_path(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    follower.expect({});
    CHECK(follower.changes().empty());
    std::vector<Membership> memberships;
    for (int i = 0; i < 10; ++i) memberships.push_back(subject->create_membership());
    CHECK_FALSE(follower.watch().try_next().has_value());
    CHECK(subject->own_members().snapshot().empty());

    Expected expected;
    for (Membership& membership : memberships) {
        CHECK_FALSE(membership.enrolled());
        const std::string data = "first of " + membership.id().to_string();
        membership.set_data(data);
        membership.enroll();
        membership.enroll();
        CHECK(membership.enrolled());
        expected[membership.id()] = data;
        CHECK(content(subject->own_members().snapshot()) == expected);
        follower.expect(expected);
    }
    for (Membership& membership : memberships) {
        membership.set_data(expected[membership.id()] = "second of " + membership.id().to_string());
        CHECK(content(subject->own_members().snapshot()) == expected);
        follower.expect(expected);
    }
    for (Membership& membership : memberships) {
        membership.withdraw();
        membership.withdraw();
        CHECK_FALSE(membership.enrolled());
        expected.erase(membership.id());
        CHECK(content(subject->own_members().snapshot()) == expected);
        follower.expect(expected);
        REQUIRE(follower.changes().size() == 1);
        CHECK(follower.changes()[0].event == MemberEvent::left);
    }
}

/// TestWatchers.
inline void watchers(const Make& make) {
    const auto subject = make();
    std::vector<Follower> followers(5, Follower(subject->members()));
    for (Follower& follower : followers) {
        follower = Follower(subject->members());  // copies of a watch are the same watch
        follower.expect({});
    }
    Membership membership = subject->create_membership();
    membership.enroll();
    for (Follower& follower : followers) follower.expect({{membership.id(), ""}});
    for (const std::size_t i : {0U, 2U, 4U}) followers[i].watch().close();
    membership.set_data("data");
    for (const std::size_t i : {1U, 3U}) followers[i].expect({{membership.id(), "data"}});
    for (const std::size_t i : {0U, 2U, 4U}) {
        CHECK(followers[i].watch().at_end());
        CHECK_FALSE(followers[i].watch().next().has_value());
    }
    subject->close();
    for (Follower& follower : followers) CHECK_FALSE(follower.watch().next().has_value());
    CHECK_FALSE(subject->members().watch().next().has_value());
    membership.set_data("after the end");
    CHECK(bytes_of(membership) == "after the end");
    CHECK(content(subject->members().snapshot()) == Expected{{membership.id(), "data"}});
}

/// TestInvalidValues: there is no value that could not be read, only one that is refused; nobody else notices.
inline void invalid_values(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    Membership membership = subject->create_membership();
    membership.set_data("valid");
    membership.enroll();
    follower.expect({{membership.id(), "valid"}});
    std::error_code error;
    membership.set_data(std::string((64 << 10) + 1, 'x'), error);
    CHECK(error == errc::member_data_too_large);
    CHECK(bytes_of(membership) == "valid");
    CHECK_THROWS_AS(membership.set_data(std::string(1 << 20, 'x')), std::system_error);
    CHECK_FALSE(follower.watch().try_next().has_value());
    CHECK(content(subject->members().snapshot()) == Expected{{membership.id(), "valid"}});

    std::string every_byte;
    for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
    const std::string longest = every_byte + std::string((64 << 10) - 256, '\xff');
    for (const std::string& data : {every_byte, longest, std::string(), std::string(3, '\0')}) {
        membership.set_data(data, error);
        CHECK_FALSE(error);
        follower.expect({{membership.id(), data}});
    }
}

/// TestPersistentLease: whoever is lost without having left is back when it is found, with its id and its newest data.
inline void persistent_lease(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    Membership membership = subject->create_membership();
    std::string data = "value";
    membership.set_data(data);
    membership.enroll();
    follower.expect({{membership.id(), data}});
    for (int round = 0; round < 5; ++round) {
        subject->lose(membership.id());
        follower.expect({});
        REQUIRE(follower.changes().size() == 1);
        CHECK(follower.changes()[0].event == MemberEvent::expired);
        if (round % 2 == 1) membership.set_data(data = "value " + std::to_string(round));
        subject->find(membership.id());
        follower.expect({{membership.id(), data}});
        CHECK(membership.enrolled());
    }
    membership.set_data("last");
    follower.expect({{membership.id(), "last"}});
    { const Membership gone = std::move(membership); }
    follower.expect({});
}

/// TestWatch: what is there at the start, then each change, in the order in which they are made.
inline void watch_in_order(const Make& make) {
    const auto subject = make();
    Membership first = subject->create_membership();
    Membership second = subject->create_membership();
    first.set_data("1");
    second.set_data("2");
    first.enroll();
    second.enroll();
    Follower follower(subject->members());
    follower.expect({{first.id(), "1"}, {second.id(), "2"}});
    first.withdraw();
    follower.expect({{second.id(), "2"}});
    CHECK(follower.changes().at(0).event == MemberEvent::left);
    second.set_data("3");
    follower.expect({{second.id(), "3"}});
    CHECK(follower.changes().at(0).event == MemberEvent::updated);
    first.enroll();
    follower.expect({{first.id(), "1"}, {second.id(), "3"}});
    CHECK(follower.changes().at(0).event == MemberEvent::joined);
}

/// TestWaitCreate, TestWaitDelete and TestWaitTimeout: a reader waits for what comes, takes what is there, and gives up
/// when its time is over.
inline void waiting(const Make& make) {
    const auto subject = make();
    MemberWatch watch = subject->members().watch();
    CHECK(watch.next_for(std::chrono::nanoseconds(0)).has_value());
    CHECK_FALSE(watch.next_for(std::chrono::milliseconds(5)).has_value());
    Membership membership = subject->create_membership();
    std::jthread enrolling([&] { membership.enroll(); });
    CHECK(watch.next_for(patience)->view.size() == 1);
    enrolling.join();
    std::jthread withdrawing([&] { membership.withdraw(); });
    CHECK(watch.next_for(patience)->view.empty());
    withdrawing.join();
    CHECK_FALSE(watch.next_for(std::chrono::milliseconds(5)).has_value());
    CHECK_FALSE(watch.at_end());
}

/// Where a member is enrolled, changed or withdrawn, the view shows it when the call returns.
inline void read_your_writes(const Make& make) {
    const auto subject = make();
    const Members members = subject->own_members();
    Membership membership = subject->create_membership();
    for (int i = 0; i < 200; ++i) {
        membership.enroll();
        REQUIRE(members.snapshot().find(membership.id()) != nullptr);
        membership.set_data(std::to_string(i));
        REQUIRE(members.snapshot().find(membership.id())->text() == std::to_string(i));
        membership.withdraw();
        REQUIRE(members.snapshot().find(membership.id()) == nullptr);
    }
}

/// A watch that is never read delays nobody, and one that is read late gets the newest view and nothing else.
inline void slow_watchers(const Make& make) {
    const auto subject = make();
    MemberWatch never = subject->members().watch();
    Follower once(subject->members());
    once.expect({});
    MemberWatch closed = subject->members().watch();
    CHECK(closed.next().has_value());
    Follower quick(subject->members());
    Membership membership = subject->create_membership();
    membership.enroll();
    for (int i = 0; i < 1000; ++i) {
        membership.set_data(std::to_string(i));
        if (i == 500) closed.close();
    }
    quick.expect({{membership.id(), "999"}});
    once.read();
    CHECK(content(once.view()) == Expected{{membership.id(), "999"}});
    CHECK(once.changes().at(0).event == MemberEvent::joined);
    CHECK_FALSE(closed.next().has_value());
    CHECK(content(never.next()->view) == Expected{{membership.id(), "999"}});
    CHECK_FALSE(never.try_next().has_value());
}

/// Several threads change several members, and one, at once; readers see each state of the view that they see whole.
inline void concurrent_writers(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    Membership shared = subject->create_membership();
    shared.enroll();
    Expected expected;
    std::vector<Membership> own;
    for (int i = 0; i < 4; ++i) {
        own.push_back(subject->create_membership());
        expected[own.back().id()] = "last";
    }
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < own.size(); ++i) {
            threads.emplace_back([&, i] {
                for (int round = 0; round < 100; ++round) {
                    own[i].enroll();
                    own[i].set_data(std::to_string(round));
                    shared.set_data(std::to_string(i) + " " + std::to_string(round));
                    own[i].withdraw();
                }
                own[i].set_data("last");
                own[i].enroll();
            });
        }
        for (int i = 0; i < 50; ++i) {
            if (const auto update = follower.watch().next_for(std::chrono::milliseconds(1))) follower.accept(*update);
        }
    }
    expected[shared.id()] = bytes_of(shared);
    follower.expect(expected);
}

/// Data that is set while a member is not enrolled is seen by nobody, and goes with the next enrolment.
inline void data_while_withdrawn(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    follower.expect({});
    Membership membership = subject->create_membership();
    membership.set_data("before");
    CHECK_FALSE(follower.watch().try_next().has_value());
    membership.enroll();
    follower.expect({{membership.id(), "before"}});
    membership.withdraw();
    follower.expect({});
    membership.set_data("between");
    CHECK(bytes_of(membership) == "between");
    CHECK_FALSE(follower.watch().next_for(std::chrono::milliseconds(5)).has_value());
    CHECK(subject->own_members().snapshot().empty());
    const MemberId id = membership.id();
    membership.enroll();
    CHECK(membership.id() == id);
    follower.expect({{id, "between"}});
    membership.set_data("between");  // the same again is no change
    CHECK_FALSE(follower.watch().next_for(std::chrono::milliseconds(5)).has_value());
}

/// A member goes with the object that stands for it, also where another takes its place.
inline void destruction_withdraws(const Make& make) {
    const auto subject = make();
    Follower follower(subject->members());
    follower.expect({});
    {
        Membership membership = subject->create_membership();
        membership.enroll();
        follower.expect({{membership.id(), ""}});
        Membership moved(std::move(membership));
        CHECK(moved.enrolled());
        CHECK(subject->own_members().snapshot().size() == 1);
        moved = subject->create_membership();
        CHECK_FALSE(moved.enrolled());
        follower.expect({});
        moved.enroll();
        follower.expect({{moved.id(), ""}});
    }
    follower.expect({});
    CHECK(follower.changes().at(0).event == MemberEvent::left);
}

/// Closing ends whoever waits, in every way, and may be done from anywhere.
inline void closing(const Make& make) {
    const auto subject = make();
    Membership membership = subject->create_membership();
    membership.enroll();
    MemberWatch watch = subject->members().watch();
    CHECK(support::wait_for([&] { return subject->members().snapshot().size() == 1; }, patience));
    std::jthread waiting([watch]() mutable {
        while (watch.next()) {
        }
    });
    std::jthread looping([members = subject->members()] {
        MemberWatch own = members.watch();
        for ([[maybe_unused]] const MemberUpdate& update : own) {
        }
        CHECK(own.at_end());
    });
    support::Events<int> called;
    const Subscription subscription = subject->members().on_change([&](const MemberUpdate&) {
        subject->close();
        called.put(1);
    });
    CHECK(called.take() == 1);
    waiting.join();
    looping.join();
    std::jthread again([&] { subject->close(); });
    subject->close();
    again.join();
    CHECK(watch.at_end());
    CHECK(called.size() == 0);
    watch.close();
    CHECK_FALSE(watch.next_for(patience).has_value());
    CHECK(subject->members().watch().at_end());
    const Subscription late = subject->members().on_change([&](const MemberUpdate&) { called.put(2); });
    CHECK(content(subject->members().snapshot()) == Expected{{membership.id(), ""}});
    CHECK(called.size() == 0);
}

/// A watch that is closed wakes those who wait on it and on its copies, and nobody else.
inline void closing_a_watch(const Make& make) {
    const auto subject = make();
    MemberWatch watch = subject->members().watch();
    Follower other(subject->members());
    CHECK(watch.next().has_value());
    other.expect({});
    std::vector<std::jthread> threads;
    std::atomic<int> ended{0};
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([watch, &ended]() mutable {
            if (!watch.next()) ++ended;
        });
    }
    watch.close();
    threads.clear();
    CHECK(ended == 3);
    Membership membership = subject->create_membership();
    membership.enroll();
    other.expect({{membership.id(), ""}});
}

/// The first call shows what is there; then each change, or several together, until the subscription ends.
inline void callbacks(const Make& make) {
    const auto subject = make();
    Membership membership = subject->create_membership();
    membership.enroll();
    CHECK(support::wait_for([&] { return subject->members().snapshot().size() == 1; }, patience));
    Follower follower(subject->members());
    support::Events<Expected> views;
    Subscription subscription = subject->members().on_change([&](const MemberUpdate& update) {
        follower.accept(update);
        views.put(content(update.view));
    });
    CHECK(views.take() == Expected{{membership.id(), ""}});
    for (const char* const data : {"1", "2", "3"}) {
        membership.set_data(data);
        CHECK(views.take() == Expected{{membership.id(), data}});
    }
    for (int i = 0; i <= 100; ++i) membership.set_data(std::to_string(i));
    std::optional<Expected> last;
    do {
        last = views.take();
        REQUIRE(last.has_value());
    } while (*last != Expected{{membership.id(), "100"}});
    subscription.reset();
    membership.withdraw();
    Follower(subject->members()).expect({});
    CHECK(views.size() == 0);
}

/// A callback may change members, end its own subscription, and throw.
inline void callbacks_that_act(const Make& make) {
    const auto subject = make();
    Membership counter = subject->create_membership();
    counter.enroll();
    support::Events<int> done;
    Subscription subscription;
    subscription = subject->members().on_change([&](const MemberUpdate& update) {
        if (update.changes.empty() || update.view[0].text().empty()) return;
        const int count = std::stoi(std::string(update.view[0].text()));
        if (count < 100) {
            counter.set_data(std::to_string(count + 1));
        } else {
            subscription.reset();
            done.put(count);
        }
        throw count;
    });
    counter.set_data("1");
    CHECK(done.take() == 100);
    counter.set_data("101");
    CHECK(done.size() == 0);
}

/// What everybody has been told of is waited for.
inline void seen_by_all(const Make& make) {
    const auto subject = make();
    Membership membership = subject->create_membership();
    membership.set_data("data");
    membership.enroll(seen_by::all_peers);
    CHECK(content(subject->members().snapshot()) == Expected{{membership.id(), "data"}});
    std::error_code error = errc::closed;
    membership.withdraw(seen_by::all_peers, patience, error);
    CHECK_FALSE(error);
    CHECK(subject->members().snapshot().empty());
    error = errc::closed;
    membership.enroll(seen_by::all_peers, error);
    CHECK_FALSE(error);
    CHECK(subject->members().snapshot().size() == 1);
    membership.withdraw(error);
    CHECK_FALSE(error);
}

}  // namespace cluster::conformance
