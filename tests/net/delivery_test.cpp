#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

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
