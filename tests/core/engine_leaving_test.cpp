#include "lab.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

TEST_CASE("leaving takes round trips, not the time for which acknowledgements are held back") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    REQUIRE(ann.send(bob.id, "last words").error == errc{});
    ann->leave(lab.now);
    lab.settle();
    REQUIRE(ann.left);
    CHECK(ann.left->messages == 0);
}

TEST_CASE("who leaves while a link is attaching says goodbye to the one that lists it already") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.say_hello();
    peer.say(Offer{});
    REQUIRE(peer.count<Attach>() == 1);
    node->leave(lab.now);
    lab.settle();
    CHECK_FALSE(peer.finished());
    CHECK_FALSE(node.left);
    SUBCASE("the answer comes") {
        peer.say(Attached{peer.last<Attach>().epoch, {{user_channel, 0, 1000}}, 0});
        lab.settle();
        CHECK(name_of(std::get<Control>(peer.heard.back())) == "GOODBYE");
        CHECK(peer.finished());
        peer.say(Goodbye{Farewell::leaving, {}});
        peer.hang_up();
        lab.settle();
    }
    SUBCASE("the answer does not come: nobody waits for it longer than linger") { lab.advance(4s); }
    CHECK(node.left);
    CHECK(node.news.empty());
    CHECK(node->link_count() == 0);
}

TEST_CASE("leaving ends at once when the only peer with messages to come turns out to be dead") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    lab.hold_dials = true;
    lab.kill(bob);
    REQUIRE(ann.send(bob.id, "too late").error == errc{});
    ann->leave(lab.now);
    lab.advance(10ms);
    CHECK_FALSE(ann.left);
    const auto dials = lab.take_dials();
    REQUIRE(dials.size() == 1);
    lab.refuse(dials.front());
    lab.settle();
    REQUIRE(ann.left);
    CHECK(ann.left->messages == 1);
    CHECK(ann.left->peers == 1);
    CHECK(ann->link_count() == 0);
}

TEST_CASE("leaving waits no longer than linger when another node answers in the place of the only peer") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    lab.hold_dials = true;
    lab.kill(bob);
    REQUIRE(ann.send(bob.id, "too late").error == errc{});
    ann->leave(lab.now);
    lab.advance(10ms);
    const auto dials = lab.take_dials();
    REQUIRE(dials.size() == 1);
    lab.play(bob.address, 7);
    lab.complete(dials.front());
    lab.settle();
    SUBCASE("one of another cluster") {
        lab.last_puppet().hello.cluster = "other";
        lab.last_puppet().say_hello();
    }
    SUBCASE("one that closes without a word") { lab.last_puppet().hang_up(); }
    SUBCASE("one that says nothing at all") { lab.advance(5s); }
    lab.advance(3s);
    REQUIRE(ann.left);
    CHECK(ann.left->messages == 1);
}

TEST_CASE("the late answer to a goodbye means nothing to the session that has begun since") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    for (int i = 0; i < 5; ++i) ann.send(bob.id, "before");
    Wire& old = *lab.wires(&ann, &bob).at(0);
    old.held[old.end[0] == &bob ? 0 : 1] = true;
    ann->remove(bob.id, lab.now);
    lab.settle();
    lab.join(ann, bob);
    old.held[0] = old.held[1] = false;
    lab.settle();
    CHECK(ann->counters().protocol_errors == 0);
    ann.send(bob.id, "after");
    CHECK(bob.inbox.back() == "after");
    CHECK(ann.news == std::vector<std::string>{"added 2", "removed 2", "added 2"});
}

TEST_CASE("what a leaving node could not send in time shows as a gap at the receiver, and counts as unacknowledged") {
    Lab lab;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    bob.reads = false;
    const std::string payload(60000, 'x');
    std::size_t sent = 0;
    while (ann.send(bob.id, payload).error == errc{}) ++sent;
    lab.advance(100ms);
    const std::size_t arrived = bob.unread.size();
    REQUIRE(arrived < sent);
    ann->leave(lab.now);
    REQUIRE(lab.wait([&] { return ann.left.has_value(); }));
    CHECK(ann.left->messages == sent - arrived);
    bob.read();
    REQUIRE(bob.inbox.size() == arrived + 1);
    CHECK(bob.inbox.back() == "gap " + std::to_string(sent - arrived));
    CHECK(bob.news.back() == "left 1");
}

TEST_CASE("whoever says goodbye as soon as it has accepted a link answers the ATTACH first") {
    for (const bool leaves : {true, false}) {
        CAPTURE(leaves);
        Lab lab;
        Node& node = lab.start(2);
        Puppet& peer = lab.puppet(node, 1);
        peer.say_hello();
        node->received(peer.link, Attach{Token{5}, true, 1, {{user_channel, 0, 1000}}, 0}, lab.now);
        if (leaves) {
            node->leave(lab.now);
        } else {
            node->remove(peer.id, lab.now);
        }
        lab.settle();
        std::vector<std::string> names;
        for (const Packet& packet : peer.heard) names.push_back(name_of(std::get<Control>(packet)));
        CHECK(names == std::vector<std::string>{"HELLO", "OFFER", "ATTACHED", "GOODBYE"});
        CHECK(peer.last<Attached>().epoch == 1);
        CHECK(peer.last<Goodbye>().why == (leaves ? Farewell::leaving : Farewell::removed));
    }
}

TEST_CASE("whoever says goodbye as soon as its ATTACH is answered is understood") {
    for (const bool leaves : {true, false}) {
        CAPTURE(leaves);
        Lab lab;
        Node& node = lab.start(1);
        Puppet& peer = lab.puppet(node, 2);
        peer.say_hello();
        peer.say(Offer{});
        node->received(peer.link, Attached{peer.last<Attach>().epoch, {{user_channel, 0, 1000}}, 0}, lab.now);
        if (leaves) {
            node->leave(lab.now);
        } else {
            node->remove(peer.id, lab.now);
        }
        lab.settle();
        CHECK(name_of(std::get<Control>(peer.heard.back())) == "GOODBYE");
        CHECK(peer.finished());
    }
}
