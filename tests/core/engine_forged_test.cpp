#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <malloc.h>

// A stranger that knows the id of a peer, and nothing else of it.

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

TEST_CASE("whatever a stranger says in the name of a peer, it is not heard, not believed and not talked to") {
    struct Forgery {
        const char* what;
        void (*say)(Puppet&);
    };
    const Forgery forgeries[] = {
        {"a message", [](Puppet& p) { p.say_data("forged"); }},
        {"the answer to a session that was never proposed", [](Puppet& p) { p.say(Attached{}); }},
        {"a list of peers", [](Puppet& p) {
             PeerList list;
             list.peers.push_back(p.hello.self);
             list.peers[0].id = id_of(9);
             list.peers[0].addresses = {{"10.6.6.6", 666}};
             p.say(list);
         }},
        {"a goodbye", [](Puppet& p) { p.say(Goodbye{Farewell::leaving, {}}); }},
        {"a parting", [](Puppet& p) { p.say(Goodbye{Farewell::removed, {}}); }},
        {"a refusal for having been removed", [](Puppet& p) { p.say(Refuse{Refusal::removed, Proof{}, {}}); }},
        {"a refusal because all is over", [](Puppet& p) { p.say(Refuse{Refusal::over, {}, {}}); }},
        {"an acknowledgement", [](Puppet& p) { p.say(Ack{{{user_channel, 0, 1 << 20}}}); }},
        {"a gap", [](Puppet& p) { p.say(Gap{user_channel, 8, 1}); }},
        {"a probe", [](Puppet& p) { p.say(Ping{1, 0}); }},
        {"an offer of a new session", [](Puppet& p) { p.say(Offer{}); }},
        {"a new session", [](Puppet& p) { p.say(Attach{{}, true, 7, {}, 0}); }},
        {"a session to be resumed", [](Puppet& p) { p.say(Attach{{}, false, 7, {}, 0}); }},
    };
    for (const std::uint8_t us : {std::uint8_t{1}, std::uint8_t{3}}) {
        for (const Forgery& forgery : forgeries) {
            CAPTURE(us);
            CAPTURE(forgery.what);
            Lab lab;
            Node& node = lab.start(us);
            Node& peer = lab.start(2);
            lab.join(node, peer);
            const Peer before = node->peer(peer.id).value();
            Puppet& stranger = lab.puppet(node, 2);
            stranger.hello.self.addresses = {{"10.6.6.6", 666}};
            stranger.say_hello();
            forgery.say(stranger);
            CHECK(node.inbox.empty());
            CHECK(node->peer(peer.id).value() == before);
            CHECK(node.broadcast("for the peer").count == 1);
            CHECK(peer.inbox == std::vector<std::string>{"for the peer"});
            lab.advance(10s);
            CHECK(stranger.payloads().empty());
            CHECK(node->peer_count() == 1);
            CHECK(node.news == std::vector<std::string>{"added 2"});
            CHECK(std::none_of(lab.dialled.begin(), lab.dialled.end(),
                               [](const Lab::Pending& dial) { return dial.address.host == "10.6.6.6"; }));
        }
    }
}

TEST_CASE("of a hundred thousand strangers under ever new ids nothing is kept") {
    Lab lab;
    Node& node = lab.start(1);
    std::vector<Action> actions;
    std::vector<LinkId> ready;
    const auto visit = [&](std::uint64_t number) {
        const LinkId link = node->accepted({"10.9.0.1", 1}, lab.now);
        REQUIRE(link != 0);
        Hello hello;
        hello.cluster = lab.options.cluster;
        hello.self.id = id_of(200);
        for (std::size_t at = 0; at < 8; ++at) {
            hello.self.id.bytes[4 + at] = static_cast<std::uint8_t>(number >> (8 * at));
        }
        hello.self.version = 1;
        hello.self.name = std::string(max_name, 'x');
        hello.self.addresses = {{"10.6.6.6", 666}};
        node->received(link, Control(hello), lab.now);
        node->link_ended(link, lab.now);
        node->tick(lab.now);
        node->take_actions(actions);
        node->take_ready(ready);
        actions.clear();
        ready.clear();
    };
    for (std::uint64_t i = 0; i < 1000; ++i) visit(i);
    const std::size_t before = ::mallinfo2().uordblks;
    for (std::uint64_t i = 1000; i < 100000; ++i) visit(i);
    CHECK(::mallinfo2().uordblks < before + (std::size_t{256} << 10));
    CHECK(node->link_count() == 0);
    CHECK(lab.dialled.empty());
}

TEST_CASE("a mesh that is idle costs at most four small frames for each link and heartbeat, and no dial") {
    Lab lab;
    std::vector<Node*> nodes;
    for (std::uint8_t i = 1; i <= 6; ++i) nodes.push_back(&lab.start(i));
    for (std::size_t i = 1; i < nodes.size(); ++i) nodes[i]->add(nodes[0]->address);
    REQUIRE(lab.wait([&] {
        return std::all_of(nodes.begin(), nodes.end(),
                           [&](Node* node) { return (*node)->peer_count() == nodes.size() - 1; });
    }));
    lab.advance(10s);
    const auto frames = [&] {
        std::size_t count = 0;
        for (const Wire* wire : lab.wires()) count += wire->passed[0].size() + wire->passed[1].size();
        return count;
    };
    const std::size_t links = nodes.size() * (nodes.size() - 1) / 2;
    REQUIRE(lab.wires().size() == links);
    const std::size_t before = frames();
    const std::size_t dials = lab.dialled.size();
    constexpr std::size_t heartbeats = 600;
    lab.advance(heartbeats * lab.options.heartbeat);
    // Each end of a silent link may probe the other once for each heartbeat, and is answered.
    CHECK(frames() - before <= heartbeats * 4 * links);
    CHECK(frames() > before);
    CHECK(lab.dialled.size() == dials);
    CHECK(lab.wires().size() == links);
}
