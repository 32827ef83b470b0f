#include "lab.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

const std::string chunk(max_chunk, 'c');

/// Begins a message and goes on as far as credit allows.
void begin_long_message(Puppet& peer) {
    peer.say_data(chunk, true);
}

}  // namespace

TEST_CASE("a long message goes on when the one that held the permit for it loses its link or leaves") {
    for (const bool says_goodbye : {false, true}) {
        CAPTURE(says_goodbye);
        Lab lab;
        lab.options.inbox_bytes = 2 << 20;  // room for a single permit, so there are two
        Node& node = lab.start(1);
        Puppet& holder = lab.puppet(node, 2);
        Puppet& other = lab.puppet(node, 4);
        Puppet& waiter = lab.puppet(node, 3);
        holder.join();
        other.join();
        waiter.join();
        begin_long_message(holder);
        begin_long_message(other);
        lab.advance(10ms);
        begin_long_message(waiter);
        lab.advance(10ms);
        REQUIRE(holder.last<Ack>().offsets.at(0).limit >= 3 * max_data_frame);
        REQUIRE(waiter.last<Ack>().offsets.at(0).limit == CreditPool::base_window);
        if (says_goodbye) {
            holder.say(Goodbye{Farewell::leaving, {{user_channel, max_data_frame, 0}}});
        } else {
            holder.hang_up();
        }
        lab.advance(10ms);
        CHECK(waiter.last<Ack>().offsets.at(0).limit >= 3 * max_data_frame);
    }
}

TEST_CASE("a permit of who finishes nothing goes to the next after a few heartbeats, and comes back in its turn") {
    Lab lab;
    lab.options.inbox_bytes = 2 << 20;
    Node& node = lab.start(1);
    std::vector<Puppet*> lazy{&lab.puppet(node, 2), &lab.puppet(node, 3)};
    Puppet& honest = lab.puppet(node, 4);
    for (Puppet* each : {lazy[0], lazy[1], &honest}) {
        each->join();
        begin_long_message(*each);
        lab.advance(10ms);
    }
    const auto limit = [](const Puppet& peer) { return peer.last<Ack>().offsets.at(0).limit; };
    REQUIRE(limit(honest) == CreditPool::base_window);
    for (int i = 0; i < 40 && limit(honest) == CreditPool::base_window; ++i) {
        for (Puppet* each : {lazy[0], lazy[1], &honest}) each->say(Ping{});
        lazy[0]->say_data("x", true);  // a byte is no progress
        lab.advance(100ms);
    }
    CHECK(limit(honest) >= 3 * max_data_frame);
    for (int i = 0; i < 5; ++i) {
        honest.say_data(chunk, true);
        lab.advance(10ms);
    }
    honest.say_data("the end");
    CHECK(node.inbox.size() == 1);
    // They can still finish.
    for (Puppet* each : lazy) {
        for (int i = 0; i < 5; ++i) {
            each->say_data(chunk, true);
            lab.advance(10ms);
        }
        each->say_data("the end");
        CHECK_FALSE(each->closed());
    }
    CHECK(node.inbox.size() == 3);
}

TEST_CASE("a permit is not given to a peer that was lost while it waited") {
    Lab lab;
    lab.options.inbox_bytes = 2 << 20;
    Node& node = lab.start(1);
    Puppet& holder = lab.puppet(node, 2);
    Puppet& other = lab.puppet(node, 5);
    Puppet& lost = lab.puppet(node, 3);
    Puppet& waiter = lab.puppet(node, 4);
    for (Puppet* each : {&holder, &other, &lost, &waiter}) {
        each->join();
        begin_long_message(*each);
        lab.advance(10ms);
    }
    lost.hang_up();
    REQUIRE(lab.wait([&] {
        holder.say(Ping{});
        waiter.say(Ping{});
        other.say(Ping{});
        return !node.sees(lost.id);
    }));
    holder.say_data("the end");
    lab.advance(10ms);
    CHECK(node.inbox.size() == 1);
    CHECK(waiter.last<Ack>().offsets.at(0).limit >= 3 * max_data_frame);
}

TEST_CASE("peers that are gone keep none of the credit that others could use") {
    Lab lab;
    Node& node = lab.start(1);
    node.reads = false;
    for (int round = 0; round < 40; ++round) {
        Puppet& guest = lab.puppet(node, static_cast<std::uint8_t>(10 + round));
        guest.join();
        guest.say_data("left behind");
        guest.hang_up();
        REQUIRE(lab.wait([&] { return !node.sees(guest.id); }));
        node.read();
        lab.settle();
    }
    node.reads = true;
    Puppet& peer = lab.puppet(node, 2);
    peer.join();
    peer.say_data("hello");
    lab.advance(10ms);
    CHECK(peer.last<Ack>().offsets.at(0).limit > 1 << 20);
}

TEST_CASE("sessions that never come to anything leave no credit behind") {
    Lab lab;
    Node& node = lab.start(9);
    for (std::size_t i = 0; i < 2 * lab.options.max_peers; ++i) {
        Puppet& stranger = lab.puppet(node, 1);
        stranger.say_hello();
        Attach attach;
        attach.epoch = 1;
        stranger.say(attach);
        REQUIRE(stranger.last<Refuse>().reason == Refusal::unknown_session);
        stranger.hang_up();
    }
    Puppet& peer = lab.puppet(node, 2);
    peer.lead({});
    REQUIRE(node.sees(peer.id));
    const std::vector<Offset>& offsets = peer.last<Attached>().offsets;
    REQUIRE(offsets.size() == 4);
    CHECK(offsets[0].limit == CreditPool::base_window);
    CHECK(offsets[1] == Offset{reply_channel, 0, reply_window});
    CHECK(offsets[2] == Offset{replica_channel, 0, replica_window});
    CHECK(offsets[3] == Offset{client_channel, 0, client_window});
}
