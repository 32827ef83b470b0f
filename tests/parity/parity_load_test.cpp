#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

// What made BurntSushi/cluster stand still, crash or lose the order of messages, done to nodes of this library.

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// Waits until `what` is true.
void eventually(const std::function<bool()>& what) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!what()) {
        if (std::chrono::steady_clock::now() >= deadline) FAIL("it never happened");
        std::this_thread::yield();
    }
}

std::size_t entries_of(const char* folder) {
    using Entries = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(std::distance(Entries(folder), Entries()));
}

/// `size` bytes that begin with `number`.
std::string numbered(int number, std::size_t size) {
    std::string text = std::to_string(number) + ' ';
    text.resize(std::max(size, text.size()), 'x');
    return text;
}

/// True if the next `count` messages are those with the numbers from 0 on.
bool hears(Node& node, int count) {
    for (int i = 0; i < count; ++i) {
        const auto message = node.inbox().receive_for(patience);
        if (!message || message->lost() != 0 || number_of(*message) != i) return false;
    }
    return true;
}

/// Reads until each of `speakers` others has said that it ends. False if a message is out of order, or none comes.
bool hears_out(Node& node, std::size_t speakers) {
    std::map<PeerId, int> next;
    while (speakers > 0) {
        const auto message = node.inbox().receive_for(patience);
        if (!message || message->lost() != 0 || number_of(*message) != next[message->from()]++) return false;
        if (message->text().ends_with("end")) --speakers;
    }
    return true;
}

/// `count` nodes broadcast at each other as fast as they can, at least until `guests` have come, spoken and gone.
void all_talk_at_once(std::size_t count, int guests) {
    constexpr int most = 1000000;
    Options options = narrow();
    options.max_peers = 16;
    options.inbox_bytes = 4 << 20;
    options.heartbeat = 1s;  // there are many more busy threads than cores
    options.suspicion = 5s;
    std::vector<std::unique_ptr<Node>> nodes;
    for (std::size_t i = 0; i < count; ++i) {
        nodes.push_back(std::make_unique<Node>(options));
        if (i > 0) nodes[i]->add(nodes[0]->address());
    }
    for (const auto& node : nodes) REQUIRE(node->wait_for_peers(count - 1, patience));

    std::atomic<int> gone{0};
    std::atomic<bool> all_gone{false};
    std::jthread door([&] {
        while (gone < guests) {
            Node guest(options);
            guest.on_message([](const Message&) {});
            guest.add(nodes[0]->address());
            guest.wait_for_peers(count, patience);
            for (int i = 0; i < 10; ++i) guest.broadcast(numbered(i, 0));
            guest.close();
            ++gone;
        }
        all_gone = true;
    });
    std::vector<std::jthread> speakers;
    std::vector<std::future<bool>> listeners;
    for (const auto& node : nodes) {
        speakers.emplace_back([&] {
            int i = 0;
            for (; i < 1000 || (!all_gone && i < most); ++i) node->broadcast(numbered(i, 250));
            node->broadcast(std::to_string(i) + " end");
            CHECK(i < most);  // else the guests were kept out
        });
        listeners.push_back(std::async(std::launch::async, [&] { return hears_out(*node, count - 1); }));
    }
    for (std::future<bool>& listener : listeners) CHECK(listener.get());
    CHECK(gone == guests);
    for (const auto& node : nodes) {
        CHECK(node->peers().size() == count - 1);
        CHECK(node->stats().messages_lost == 0);
    }
}

/// Sends without end, until it is destroyed.
class Flood {
public:
    explicit Flood(Node& node) : thread_([this, &node] {
        while (!stop_) {
            if (!node.try_broadcast(payload_)) std::this_thread::yield();
        }
    }) {}
    ~Flood() { stop_ = true; }

private:
    std::string payload_ = std::string(1000, 'x');
    std::atomic<bool> stop_{false};
    std::jthread thread_;
};

/// Calls every function of `node` that does not end it.
void call_everything(Node& node, const Node& known, Events<std::string>& failures) {
    const auto expect = [&](bool holds, const char* what) {
        if (!holds) failures.put(what);
    };
    std::error_code error;
    expect(!node.name().empty() && node.address() == node.addresses().at(0), "name and address");
    node.add(known.address(), error);
    expect(!error, "add");
    node.add("nothing", error);
    expect(error == errc::invalid_address, "add of no address");
    expect(node.wait_for_peers(1, patience), "wait_for_peers");
    expect(!node.wait_for_peers(100, 1ms), "wait_for_peers in vain");
    expect(!node.peers().empty() && node.peer(known.id()).has_value(), "peers");
    expect(node.broadcast("x") > 0 && node.try_broadcast("x"), "broadcast");
    node.send(known.id(), "x", error);
    expect(!error && node.try_send(known.id(), "x"), "send");
    expect(!node.inbox().receive_for(1ms) && !node.inbox().at_end(), "inbox");
    node.on_message([](const Message&) {});
    node.on_message({});
    Subscription added = node.on_peer_added([](const Peer&) {});
    Subscription removed = node.on_peer_removed([](const Peer&, RemovalReason) {});
    Subscription changed = node.on_peers_changed([](const std::vector<Peer>&) {});
    Subscription given_up = node.on_given_up([](const GivenUp&) {});
    added.reset();
    removed = std::move(changed);
    expect(!node.remove(PeerId{}), "remove");
    node.set_tags({{"called", "back"}});
    expect(!to_prometheus(node.stats()).empty(), "stats");
}

}  // namespace

TEST_CASE("parity: two nodes that broadcast at each other deliver all in order while others come and go") {
    all_talk_at_once(2, 3);
}

TEST_CASE("parity: eight nodes that broadcast at each other deliver all in order while others come and go") {
    all_talk_at_once(8, 3);
}

TEST_CASE("parity: an inbox that nobody reads takes a bounded amount, its node stays a member, and nothing is lost") {
    Options options = quick();
    options.max_message = 1 << 20;
    options.max_peers = 8;
    options.inbox_bytes = 8 << 20;
    options.outbox_bytes = 8 << 20;
    options.suspicion = 700ms;
    options.send_timeout = 20ms;
    Node ann(options);
    Node bob(options);
    const PeerId to = ann.add(bob.address()).id;
    const std::uint64_t before = process_bytes("VmRSS");
    constexpr std::size_t size = 64 << 10;
    int accepted = 0;
    int refused = 0;
    std::error_code error;
    for (int i = 0; i < 5000; ++i) {
        if (!error) {
            ann.send(to, numbered(accepted, size), error);
            if (!error) ++accepted;
        } else if (const TryResult result = ann.try_send(to, numbered(accepted, size))) {
            ++accepted;
        } else {
            CHECK(result.error == errc::outbox_full);
            ++refused;
        }
    }
    CHECK(error == errc::timed_out);
    CHECK(refused > 4000);
    CHECK_FALSE(bob.wait_for_peers(2, options.suspicion + 300ms));  // time enough to be suspected
    CHECK(ann.peer(to)->state == PeerState::alive);
    CHECK(bob.peer(ann.id())->state == PeerState::alive);
    CHECK(ann.stats().links_lost == 0);
    CHECK(bob.stats().inbox_bytes > 0);
    CHECK(bob.stats().inbox_bytes <= options.inbox_bytes);
    CHECK(ann.stats().by_peer.at(0).outbox_bytes <= options.outbox_bytes);
    CHECK(ann.stats().outbox_bytes <= options.outbox_bytes + (1 << 20));
    if (memory_is_ours) CHECK(process_bytes("VmRSS") < before + options.inbox_bytes + options.outbox_bytes + (8 << 20));

    for (int i = 0; i < accepted; ++i) {
        const auto message = bob.inbox().receive_for(patience);
        REQUIRE(message.has_value());
        REQUIRE(number_of(*message) == i);
        REQUIRE(message->size() == size);
    }
    ann.send(to, "the next one");
    CHECK(bob.inbox().receive_for(patience)->text() == "the next one");
}

TEST_CASE("parity: closing while messages arrive works from every kind of thread, and from several at once") {
    for (const char* place : {"user thread", "callback", "handler", "several", "full inbox"}) {
        INFO(place);
        const std::string at = place;
        Events<bool> closed;  // outlives the handlers of the nodes
        Node ann(narrow());
        Node bob(narrow());
        ann.add(bob.address());
        Events<RemovalReason> removed;
        const Subscription by_ann =
            ann.on_peer_removed([&](const Peer&, RemovalReason reason) { removed.put(reason); });
        const Flood flood(ann);
        Inbox inbox = bob.inbox();
        if (at == "full inbox") {
            eventually([&] { return bob.stats().inbox_bytes > 64 << 10; });
            eventually([&] { return ann.try_broadcast("x").error == errc::outbox_full; });
            CHECK_FALSE(bob.close());
        } else if (at == "callback") {
            REQUIRE(inbox.receive_for(patience).has_value());
            const Subscription closing =
                bob.on_peer_added([&](const Peer&) { closed.put(static_cast<bool>(bob.close())); });
            CHECK(closed.take() == false);
        } else if (at == "handler") {
            bob.on_message([&](const Message&) { closed.put(static_cast<bool>(bob.close())); });
            CHECK(closed.take() == false);
        } else {
            REQUIRE(inbox.receive_for(patience).has_value());
            std::vector<std::jthread> closers;
            for (int i = 0; i < (at == "several" ? 4 : 1); ++i) {
                closers.emplace_back([&] { CHECK_FALSE(bob.close()); });
            }
        }
        CHECK_FALSE(bob.close());
        CHECK(removed.take() == RemovalReason::left);
        std::size_t readable = 0;
        while (inbox.receive()) ++readable;
        CHECK(inbox.at_end());
        CHECK(bob.stats().inbox_bytes == 0);
        if (at == "full inbox") CHECK(readable > 0);
    }
}

TEST_CASE("parity: every function may be called back from every callback") {
    Options options = narrow();
    options.send_timeout = 0s;
    Node ann(options);
    Node bob(options);
    Node eve(options);
    ann.add(eve.address());
    eve.on_message([](const Message&) {});
    Events<std::string> failures;
    Events<std::string> calls;
    const auto call = [&](const char* which) {
        call_everything(ann, eve, failures);
        calls.put(which);
    };
    std::atomic<bool> bob_was_there{false};
    const Subscription added = ann.on_peer_added([&](const Peer& peer) {
        if (peer.id == bob.id()) call("added");
    });
    const Subscription removed = ann.on_peer_removed([&](const Peer&, RemovalReason) { call("removed"); });
    const Subscription given_up = ann.on_given_up([&](const GivenUp& each) {
        CHECK(each.peer.id == bob.id());
        CHECK(each.reason == errc::removed);
        call("given up");
    });
    const Subscription changed = ann.on_peers_changed([&](const std::vector<Peer>& peers) {
        if (peers.size() == 2 && !bob_was_there.exchange(true)) call("changed");
    });
    ann.add(bob.address());
    const std::set<std::string> first = {calls.take().value(), calls.take().value()};
    CHECK((first == std::set<std::string>{"added", "changed"}));
    while (ann.try_send(bob.id(), std::string(10000, 'x'))) {
    }
    CHECK(ann.remove(bob.id()));
    std::set<std::string> second;
    while (second.size() < 2) {
        const auto each = calls.take();
        REQUIRE(each.has_value());
        second.insert(*each);
    }
    CHECK((second == std::set<std::string>{"removed", "given up"}));
    while (const auto failure = failures.take(0s)) FAIL_CHECK(*failure);
}

TEST_CASE("parity: two that send before they read wait for each other at most send_timeout, and lose nothing") {
    Options options = narrow();
    options.send_timeout = 100ms;
    Node ann(options);
    Node bob(options);
    ann.add(bob.address());
    const auto send_until_stuck = [](Node& node) {
        std::size_t accepted = 0;
        std::error_code error;
        while (!error) accepted += node.broadcast(std::string(10000, 'x'), error);
        CHECK(error == errc::timed_out);
        return accepted;
    };
    auto by_bob = std::async(std::launch::async, [&] { return send_until_stuck(bob); });
    const std::size_t by_ann = send_until_stuck(ann);
    for (std::size_t i = by_bob.get(); i > 0; --i) REQUIRE(ann.inbox().receive_for(patience).has_value());
    for (std::size_t i = by_ann; i > 0; --i) REQUIRE(bob.inbox().receive_for(patience).has_value());
    CHECK(ann.broadcast("again") == 1);
    CHECK(bob.inbox().receive_for(patience)->text() == "again");
}

TEST_CASE("parity: threads that send without a pause keep nobody from joining, and their link stays") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    bob.on_message([](const Message&) {});
    std::atomic<bool> stop{false};
    std::vector<std::jthread> speakers;
    for (int i = 0; i < 8; ++i) {
        speakers.emplace_back([&] {
            std::error_code error;
            while (!stop) ann.send(bob.id(), "x", error);
        });
    }
    for (int i = 0; i < 20; ++i) {
        Node guest(quick());
        CHECK_FALSE(add_error(guest, ann.address().to_string()));
    }
    stop = true;
    speakers.clear();
    for (const PeerStats& each : ann.stats().by_peer) CHECK(each.attachments == 1);
}

TEST_CASE("parity: ten thousand messages use one connection") {
    Node ann(quick());
    Node bob(quick());
    const PeerId to = ann.add(bob.address()).id;
    std::jthread sender([&] {
        for (int i = 0; i < 10000; ++i) ann.send(to, numbered(i, 0));
    });
    CHECK(hears(bob, 10000));
    CHECK(ann.stats().dials == 1);
    CHECK(bob.stats().dials <= 1);  // to see whether it can
    CHECK(bob.stats().links_accepted == 1);
    CHECK(bob.stats().by_peer.at(0).attachments == 1);
}

TEST_CASE("parity: a mesh of sixteen costs one or two dials and a few lists for each pair") {
    constexpr std::size_t count = 16;
    constexpr std::size_t pairs = count * (count - 1) / 2;
    const Runtime runtime;
    Options options = quick();
    options.runtime = runtime;
    options.heartbeat = 2s;  // views that differ at a heartbeat cost lists, too
    options.suspicion = 4s;
    std::vector<std::unique_ptr<Node>> nodes;
    for (std::size_t i = 0; i < count; ++i) {
        nodes.push_back(std::make_unique<Node>(options));
        if (i > 0) nodes[i]->add(nodes[0]->address());
    }
    std::uint64_t dials = 0;
    std::uint64_t lists = 0;
    for (const auto& node : nodes) CHECK(node->wait_for_peers(count - 1, patience));
    for (const auto& node : nodes) {
        CHECK(node->peers().size() == count - 1);
        dials += node->stats().dials;
        lists += node->stats().lists_sent;
    }
    INFO("dials " << dials << ", lists " << lists);
    CHECK(dials >= pairs);
    CHECK(dials <= 2 * pairs);
    CHECK(lists <= 8 * pairs);
}

TEST_CASE("parity: a peer that does not move delays nobody, neither the caller nor the other receivers") {
    Options options = Options::lan();
    options.log = quick().log;
    Node ann(options);
    Node eve(options);
    Reached bob(options);
    ann.add(bob.node->address());
    ann.add(eve.address());
    REQUIRE(bob.node->wait_for_peers(2, patience));
    bob.proxy.hold();
    for (int i = 0; i < 1000; ++i) CHECK(ann.try_broadcast(numbered(i, 1000)).count == 2);
    CHECK(hears(eve, 1000));
    CHECK(ann.peers().size() == 2);
    bob.proxy.release();
    CHECK(hears(*bob.node, 1000));
}

TEST_CASE("parity: nodes that are gone leave no thread and no descriptor behind") {
    const auto live = [] {
        const auto ann = std::make_unique<Node>(quick());
        const auto bob = std::make_unique<Node>(quick());
        ann->add(bob->address());
        const Flood flood(*ann);
        REQUIRE(bob->inbox().receive_for(patience).has_value());
    };
    live();  // what the process makes once stays
    const std::size_t threads = entries_of("/proc/self/task");
    const std::size_t descriptors = entries_of("/proc/self/fd");
    for (int i = 0; i < 3; ++i) live();
    eventually([&] { return entries_of("/proc/self/task") <= threads; });
    CHECK(entries_of("/proc/self/fd") <= descriptors);
}

TEST_CASE("parity under load: however many come, say a little and leave, the inbox has room for the next") {
    Options options = narrow();
    Node host(options);
    const std::string little(20000, 'x');
    for (int i = 0; i < 80; ++i) {
        CAPTURE(i);
        Node guest(options);
        guest.add(host.address());
        guest.send(host.id(), little);
        const std::optional<Message> message = host.inbox().receive_for(patience);
        REQUIRE(message.has_value());
        CHECK(message->size() == little.size());
    }
}
