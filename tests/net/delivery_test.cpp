#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

TEST_CASE("delivery: a node that stood still and is found again reads a gap for what was broadcast meanwhile") {
    // Like a stopped process, a node whose I/O thread does not go on neither reads nor notices anything.
    std::latch goes_on(1);
    Events<std::string> read;
    Node ann(quick());
    Node bob(quick());
    bob.on_message([&](const Message& message) {
        read.put(message.lost() != 0 ? "gap " + std::to_string(message.lost()) : std::string(message.text()));
        if (message.text() == "stand still") goes_on.wait();
    });
    Events<bool> in_view;
    const Subscription added = ann.on_peer_added([&](const Peer&) { in_view.put(true); });
    const Subscription removed = ann.on_peer_removed([&](const Peer&, RemovalReason) { in_view.put(false); });
    ann.add(bob.address());
    CHECK(in_view.take() == true);
    CHECK(ann.broadcast("stand still") == 1);
    CHECK(read.take() == "stand still");
    CHECK(in_view.take() == false);
    for (int i = 0; i < 370; ++i) CHECK(ann.broadcast("unseen") == 0);
    goes_on.count_down();
    CHECK(in_view.take() == true);
    CHECK(ann.broadcast("found again") == 1);
    CHECK(read.take() == "gap 370");
    CHECK(read.take() == "found again");
    CHECK(bob.stats().messages_lost == 370);
}

TEST_CASE("delivery: whoever leaves at once, or removes a peer when it is added, breaks no rule") {
    for (const bool leaves : {true, false}) {
        CAPTURE(leaves);
        // Ids are drawn: each has the smaller one in half of the rounds.
        for (int round = 0; round < 40; ++round) {
            Node other(quick());
            Options options = quick();
            options.seeds = {other.address().to_string()};
            Events<RemovalReason> gone;
            const Subscription removed = other.on_peer_removed([&](const Peer&, RemovalReason why) { gone.put(why); });
            {
                Node node(options);
                const Subscription added = node.on_peer_added([&](const Peer& peer) {
                    if (!leaves) node.remove(peer.id);
                });
                REQUIRE((!leaves || node.wait_for_peers(1, patience)));
                REQUIRE((leaves || gone.take() == RemovalReason::refused));
                node.close();
                REQUIRE(node.stats().protocol_errors == 0);
            }
            REQUIRE((!leaves || gone.take() == RemovalReason::left));
            REQUIRE(other.stats().protocol_errors == 0);
        }
    }
}

TEST_CASE("delivery: with give_up a peer that does not read is waited for once, and nobody else misses anything") {
    constexpr int messages = 300;
    Options options = quick();
    options.when_full = WhenFull::give_up;
    options.send_timeout = 2s;
    options.max_message = 1 << 16;
    options.outbox_bytes = 1 << 20;
    Events<int> read;
    Node slow(quick());
    Node fast(quick());
    fast.on_message([&](const Message& message) { read.put(message.lost() != 0 ? 0 : 1); });
    Node ann(options);
    std::atomic<bool> only_the_slow_one{true};
    const Subscription given_up = ann.on_given_up([&](const GivenUp& each) {
        if (each.peer.id != slow.id()) only_the_slow_one = false;
    });
    ann.add(slow.address());
    ann.add(fast.address());
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < messages; ++i) REQUIRE(ann.broadcast(std::string(1 << 14, 'x')) >= 1);
    for (int i = 0; i < messages; ++i) REQUIRE(read.take() == 1);
    CHECK(ann.stats().messages_given_up > 100);
    // What is for the slow one alone is not waited for, either.
    std::error_code error;
    ann.request(slow.id(), "what time is it?", std::chrono::minutes(10), error);
    CHECK(error == errc::timed_out);
    CHECK(std::chrono::steady_clock::now() - begin < 100 * options.send_timeout / 4);
    CHECK(only_the_slow_one);
}

TEST_CASE("delivery: a thread that waits for room keeps to send_timeout, though the I/O thread stands still") {
    Options options = quick();
    options.send_timeout = 50ms;
    options.max_message = 1 << 16;
    options.outbox_bytes = 1 << 20;
    std::latch goes_on(1);
    Events<int> stands_still;
    Node ann(options);
    Node bob(quick());
    ann.on_message([&](const Message&) {
        stands_still.put(0);
        goes_on.wait();
    });
    ann.add(bob.address());
    bob.broadcast("stand still");
    REQUIRE(stands_still.take().has_value());
    std::error_code error;
    while (!error) ann.broadcast(std::string(1 << 14, 'x'), error);
    CHECK(error == errc::timed_out);
    goes_on.count_down();
}

TEST_CASE("delivery: what is given up while a report of it waits joins it") {
    Options options = quick();
    options.when_full = WhenFull::give_up;
    options.send_timeout = 0s;
    options.max_message = 1 << 16;
    options.outbox_bytes = 1 << 20;
    std::latch goes_on(1);
    Events<GivenUp> reports;
    Node busy(quick());  // it does not read
    Node ann(options);
    const Subscription given_up = ann.on_given_up([&](const GivenUp& each) {
        reports.put(each);
        goes_on.wait();
    });
    ann.add(busy.address());
    while (reports.size() == 0) ann.broadcast("64 bytes of a reading of some sensor, which may well be given up");
    for (int i = 0; i < 100000; ++i) ann.broadcast("another");
    const std::uint64_t all = ann.stats().messages_given_up;
    goes_on.count_down();
    std::uint64_t told = 0;
    std::uint64_t calls = 0;
    while (told < all) {
        const auto report = reports.take();
        REQUIRE(report);
        CHECK(report->reason == errc::outbox_full);
        told += report->messages;
        ++calls;
    }
    CHECK(told == all);
    CHECK(calls <= 3);  // the first, perhaps one that was about to be made, and all others together
}
