#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <thread>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

TEST_CASE("callbacks: added is called for the peers already there, then for each that comes") {
    Node ann(quick());
    Node bob(quick());
    Node eve(quick());
    ann.add(bob.address());
    Events<PeerId> added;
    const Subscription subscription = ann.on_peer_added([&](const Peer& peer) { added.put(peer.id); });
    CHECK(added.take() == bob.id());
    ann.add(eve.address());
    CHECK(added.take() == eve.id());
    CHECK(added.size() == 0);
}

TEST_CASE("callbacks: who registers while peers come and go hears of each once, added and removed in turn") {
    Node ann(quick());
    std::atomic<bool> stop{false};
    std::jthread coming_and_going([&] {
        while (!stop) {
            Node bob(quick());
            bob.add(ann.address());
        }
    });
    for (int i = 0; i < 50; ++i) {
        std::mutex mutex;
        std::map<PeerId, int> balance;
        bool wrong = false;
        const auto change = [&](const PeerId& id, int by) {
            const std::lock_guard lock(mutex);
            const int now = balance[id] += by;
            if (now < 0 || now > 1) wrong = true;
        };
        Events<int> some;
        const Subscription removed = ann.on_peer_removed([&](const Peer& peer, RemovalReason) {
            const std::lock_guard lock(mutex);
            // One that went between the two registrations was never added here.
            if (const auto found = balance.find(peer.id); found != balance.end()) --found->second;
            some.put(0);
        });
        const Subscription added = ann.on_peer_added([&](const Peer& peer) { change(peer.id, 1); });
        REQUIRE(some.take().has_value());
        const std::lock_guard lock(mutex);
        CHECK_FALSE(wrong);
        for (const auto& [id, each] : balance) CHECK((each == 0 || each == 1));
    }
    stop = true;
}

TEST_CASE("callbacks: they run one at a time on one thread, which is neither the caller's nor that of the handler") {
    Node ann(quick());
    Node bob(quick());
    Events<std::thread::id> threads;
    const Subscription one = ann.on_peer_added([&](const Peer&) { threads.put(std::this_thread::get_id()); });
    const Subscription two =
        ann.on_peer_removed([&](const Peer&, RemovalReason) { threads.put(std::this_thread::get_id()); });
    Events<std::thread::id> handler;
    ann.on_message([&](const Message&) { handler.put(std::this_thread::get_id()); });
    ann.add(bob.address());
    bob.broadcast("x");
    const auto io = handler.take();
    const auto first = threads.take();
    bob.close();
    CHECK(threads.take() == first);
    CHECK(first != io);
    CHECK(first != std::this_thread::get_id());
}

TEST_CASE("callbacks: ending a subscription waits for the call under way") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    std::promise<void> entered;
    std::promise<void> leave;
    std::atomic<bool> left{false};
    Subscription subscription = ann.on_peer_added([&](const Peer&) {
        entered.set_value();
        leave.get_future().wait();
        left = true;
    });
    entered.get_future().wait();
    std::promise<bool> ended;
    std::jthread ender([&] {
        subscription.reset();
        ended.set_value(left);
    });
    auto result = ended.get_future();
    CHECK(result.wait_for(20ms) == std::future_status::timeout);
    leave.set_value();
    CHECK(result.get());
}

TEST_CASE("callbacks: a subscription may end itself, and is then not called again") {
    Node ann(quick());
    Node bob(quick());
    Node eve(quick());
    Events<PeerId> added;
    Subscription subscription;
    std::mutex mutex;
    {
        const std::lock_guard lock(mutex);
        subscription = ann.on_peer_added([&](const Peer& peer) {
            const std::lock_guard inner(mutex);
            subscription.reset();
            added.put(peer.id);
        });
    }
    Events<PeerId> control;
    const Subscription other = ann.on_peer_added([&](const Peer& peer) { control.put(peer.id); });
    ann.add(bob.address());
    ann.add(eve.address());
    CHECK(control.take() == bob.id());
    CHECK(control.take() == eve.id());
    CHECK(added.take() == bob.id());
    CHECK(added.size() == 0);
}

TEST_CASE("callbacks: assigning another subscription ends the former one, and moving ends nothing") {
    Node ann(quick());
    Node bob(quick());
    Events<int> calls;
    Subscription first = ann.on_peer_added([&](const Peer&) { calls.put(1); });
    Subscription second = ann.on_peer_added([&](const Peer&) { calls.put(2); });
    Subscription moved(std::move(second));
    first = std::move(moved);
    ann.add(bob.address());
    CHECK(calls.take() == 2);
    const Subscription last = ann.on_peer_added([&](const Peer&) { calls.put(3); });
    CHECK(calls.take() == 3);
}

TEST_CASE("callbacks: a subscription may outlive its node, which calls nothing once it is destroyed") {
    Events<int> calls;
    Subscription subscription;
    {
        Node ann(quick());
        Node bob(quick());
        subscription = ann.on_peers_changed([&](const std::vector<Peer>&) { calls.put(0); });
        ann.add(bob.address());
        CHECK(calls.take().has_value());
    }
    while (calls.take(0s)) {
    }
    subscription.reset();
    CHECK(calls.size() == 0);
}

TEST_CASE("callbacks: peers_changed tells of states, and changes that come together once") {
    Node ann(quick());
    Node bob(quick());
    std::promise<void> leave;
    std::promise<void> entered;
    const Subscription blocker = ann.on_peer_added([&](const Peer&) {
        entered.set_value();
        leave.get_future().wait();
    });
    Events<std::vector<Peer>> views;
    const Subscription subscription = ann.on_peers_changed([&](const std::vector<Peer>& peers) { views.put(peers); });
    ann.add(bob.address());
    entered.get_future().wait();
    for (int i = 0; i < 10; ++i) bob.set_tags({{"count", std::to_string(i)}});
    while (ann.peer(bob.id())->tags != Tags{{"count", "9"}}) std::this_thread::yield();
    leave.set_value();
    const auto view = views.take();
    REQUIRE(view.has_value());
    REQUIRE(view->size() == 1);
    CHECK(view->at(0).tags == Tags{{"count", "9"}});
    CHECK(views.size() <= 1);
}

TEST_CASE("callbacks: one that throws is logged and counted, and the others are called") {
    Lines lines;
    Options options = quick();
    options.log = lines.sink();
    Node ann(options);
    Node bob(quick());
    const Subscription one = ann.on_peer_added([](const Peer&) { throw std::runtime_error("no peers, please"); });
    Events<PeerId> added;
    const Subscription two = ann.on_peer_added([&](const Peer& peer) { added.put(peer.id); });
    ann.add(bob.address());
    CHECK(added.take() == bob.id());
    CHECK(lines.wait_for("no peers, please"));
    CHECK(ann.stats().handler_exceptions == 1);
}

TEST_CASE("callbacks: in a callback everything may be called, what waits too") {
    Node ann(quick());
    Node bob(quick());
    Node eve(quick());
    Events<std::size_t> done;
    const Subscription subscription = ann.on_peer_added([&](const Peer& peer) {
        if (peer.id != bob.id()) return;
        ann.add(eve.address());
        done.put(ann.broadcast("hello, both"));
    });
    ann.add(bob.address());
    CHECK(done.take() == 2);
    CHECK(eve.inbox().receive_for(patience)->text() == "hello, both");
}
