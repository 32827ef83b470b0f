#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

/// A full mesh in which everybody has been found by dialling.
struct Mesh : Lab {
    std::vector<Node*> nodes;

    explicit Mesh(std::uint8_t count, Duration settled = 5s) {
        options.suspicion = 2s;
        for (std::uint8_t i = 1; i <= count; ++i) nodes.push_back(&start(i));
        for (std::size_t i = 1; i < nodes.size(); ++i) nodes[i]->add(nodes[0]->address);
        REQUIRE(wait([&] { return complete_but(nullptr); }));
        advance(settled);
    }
    Node& operator[](std::size_t i) { return *nodes[i]; }
    /// All but `without` have each other in view, alive.
    bool complete_but(const Node* without) {
        return std::all_of(nodes.begin(), nodes.end(), [&](Node* a) {
            return a == without || std::all_of(nodes.begin(), nodes.end(), [&](Node* b) {
                       return a == b || b == without || (a->sees(b->id) && a->state_of(b->id) == PeerState::alive);
                   });
        });
    }
    bool nobody_sees(const Node& gone) {
        return std::none_of(nodes.begin(), nodes.end(), [&](Node* node) { return node->alive && node->sees(gone.id); });
    }
    /// Nothing gets from one to the other any more, nor is a dial answered.
    void part(Node& a, Node& b) {
        for (Wire* wire : wires(&a, &b)) wire->held[0] = wire->held[1] = true;
    }
    /// As when its machine loses power: nothing comes from it, and nothing tells so.
    void silence(Node& node) {
        for (Wire* wire : wires(&node)) wire->held[0] = wire->held[1] = true;
        silent.insert(node.address.to_string());
        node.alive = false;
    }
    std::size_t lists() {
        std::size_t sum = 0;
        for (Node* node : nodes) sum += (*node)->counters().lists_sent;
        return sum;
    }
};

std::size_t times(const Node& node, std::string_view what) {
    return static_cast<std::size_t>(std::count(node.news.begin(), node.news.end(), what));
}

}  // namespace

TEST_CASE("a process that ends is failed by all at once, whoever had dialled whom") {
    for (std::size_t victim = 0; victim < 5; ++victim) {
        CAPTURE(victim);
        Mesh mesh(5);
        const Time before = mesh.now;
        mesh.kill(mesh[victim]);
        REQUIRE(mesh.wait([&] { return mesh.nobody_sees(mesh[victim]); }));
        CHECK(mesh.now - before <= 200ms);
        for (Node* node : mesh.nodes) {
            if (node != &mesh[victim]) CHECK(node->news.back() == "failed " + std::to_string(victim + 1));
        }
    }
}

TEST_CASE("a process that ends a moment after it came is failed by all at once, whoever had dialled whom") {
    for (std::size_t victim = 0; victim < 5; ++victim) {
        CAPTURE(victim);
        Mesh mesh(5, 50ms);
        const Time before = mesh.now;
        mesh.kill(mesh[victim]);
        REQUIRE(mesh.wait([&] { return mesh.nobody_sees(mesh[victim]); }));
        CHECK(mesh.now - before <= 50ms);
    }
}

TEST_CASE("who dialled us is dialled back once, and not before those who come together have come") {
    Mesh mesh(6, 0s);
    std::uint64_t before = 0;
    for (Node* node : mesh.nodes) before += (*node)->counters().links_accepted;
    CHECK(before < 15 + 6);  // of each node the first
    mesh.advance(5s);
    std::uint64_t after = 0;
    for (Node* node : mesh.nodes) after += (*node)->counters().links_accepted;
    CHECK(after == 30);
    mesh.advance(30s);
    for (Node* node : mesh.nodes) after -= (*node)->counters().links_accepted;
    CHECK(after == 0);
    CHECK(mesh.wires().size() == 15);
}

TEST_CASE("who comes alone is dialled back at once, and who cannot be reached holds up nobody for long") {
    Lab lab;
    lab.options.max_peers = 20;
    Node& ann = lab.start(1);
    lab.hold_dials = true;
    for (std::uint8_t i = 2; i < 12; ++i) {
        lab.silent.insert("10.0.0." + std::to_string(i) + ":7000");
        const std::size_t before = lab.dialled.size();
        lab.puppet(ann, i).join();
        lab.advance(1ms);
        if (i < 6) CHECK(lab.dialled.size() == before + 1);
        lab.advance(1s);
    }
    lab.advance(10s);
    CHECK(ann->counters().dials >= 10);
}

TEST_CASE("newcomers without end do not keep a node from dialling back those who came before") {
    Lab lab;
    lab.options.max_peers = 200;
    lab.options.inbox_bytes = 64 << 20;
    lab.options.suspicion = 2s;
    Node& ann = lab.start(1);
    std::vector<Puppet*> all;
    for (std::uint8_t i = 2; i < 152; ++i) {
        all.push_back(&lab.puppet(ann, i));
        all.back()->join();
        lab.advance(20ms);
        if (i % 10 != 0) continue;
        for (Puppet* each : all) each->say(Pong{});
    }
    CHECK(ann->peer_count() == 150);
    CHECK(ann->counters().links_lost == 0);
    CHECK(lab.dialled.size() > 50);
}

TEST_CASE("several that end together are failed at once: the dead are not waited for as witnesses") {
    Mesh mesh(5);
    const Time before = mesh.now;
    for (const std::size_t victim : {1u, 2u, 3u}) mesh[victim].alive = false;  // none of them answers any more
    for (const std::size_t victim : {1u, 2u, 3u}) mesh.kill(mesh[victim]);
    REQUIRE(mesh.wait([&] { return mesh[0]->peer_count() == 1 && mesh[4]->peer_count() == 1; }));
    CHECK(mesh.now - before <= 20ms);
}

TEST_CASE("a peer that no dial ever reached is given the whole suspicion when its link breaks") {
    Lab lab;
    lab.options.suspicion = 2s;
    lab.hold_dials = true;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);  // what is dialled at his address is refused by somebody else's machine
    bob.add(ann.address);
    const auto serve = [&] {
        for (const Lab::Pending& dial : lab.take_dials()) {
            dial.address == bob.address ? lab.refuse(dial) : lab.complete(dial);
        }
        lab.settle();
    };
    serve();
    REQUIRE(ann.sees(bob.id));
    for (int i = 0; i < 50; ++i) lab.advance(100ms), serve();

    const Time lost = lab.now;
    lab.cut(*lab.wires(&ann, &bob).at(0));
    for (int i = 0; i < 19; ++i) {
        for (const Lab::Pending& dial : lab.take_dials()) {
            if (dial.node == &ann) lab.refuse(dial);  // bob's own dial is still under way
        }
        lab.advance(100ms);
        CHECK(ann.state_of(bob.id) == PeerState::suspect);
    }
    CHECK(lab.wait([&] { return !ann.sees(bob.id); }));
    CHECK(lab.now - lost == 2s);
    CHECK(ann.news.back() == "failed 2");
}

TEST_CASE("who answers in place of a peer that has lost its link is evidence against nobody") {
    Lab lab;
    lab.options.suspicion = 2s;
    Node& ann = lab.start(1);
    const Address place{"10.0.0.2", 7000};
    lab.play(place, 2);
    ann.add(place);
    lab.last_puppet().join();
    REQUIRE(ann.sees(id_of(2)));
    void (*answer)(Puppet&) = nullptr;
    SUBCASE("another peer") {
        lab.play(place, 3);
        answer = [](Puppet& other) { other.say_hello(); };
    }
    SUBCASE("this node itself") {
        lab.play(place, 1);
        answer = [](Puppet& other) { other.say_hello(); };
    }
    SUBCASE("a node of another cluster") {
        answer = [](Puppet& other) {
            other.hello.cluster = "another";
            other.say_hello();
        };
    }
    SUBCASE("a program of another kind") {
        answer = [](Puppet& other) { other.say(Ping{}); };
    }
    SUBCASE("something that hangs up") {
        answer = [](Puppet& other) { other.hang_up(); };
    }
    const Time lost = lab.now;
    std::size_t seen = lab.puppet_count();
    lab.last_puppet().hang_up();
    while (lab.now - lost < 1900ms) {
        if (seen != lab.puppet_count()) {
            seen = lab.puppet_count();
            answer(lab.last_puppet());
        }
        lab.advance(1ms);
        REQUIRE(ann.state_of(id_of(2)) == PeerState::suspect);
    }
    CHECK(seen > 1);
    CHECK(lab.wait([&] { return !ann.sees(id_of(2)); }, 200ms));
}

TEST_CASE("a peer that is refused where it was found is sought at its other addresses before it is given up") {
    Lab lab;
    lab.options.suspicion = 2s;
    const Address tunnel{"10.5.0.1", 7000};
    const Address own{"10.0.0.2", 7000};
    Node& ann = lab.start(1);
    lab.play(tunnel, 2);
    ann.add(tunnel);
    Puppet& bob = lab.last_puppet();
    bob.hello.self.addresses = {{"10.8.0.1", 7000}, {"10.8.0.2", 7000}, own};
    bob.join();
    REQUIRE(ann.sees(bob.id));
    lab.hold_dials = true;
    const Time lost = lab.now;
    bob.hang_up();
    const auto serve = [&] {
        lab.settle();
        for (const Lab::Pending& dial : lab.take_dials()) {
            if (dial.address == tunnel) lab.refuse(dial);
            if (dial.address == own) lab.dials.push_back(dial);
        }
        lab.settle();
    };
    serve();
    while (lab.dials.empty() && lab.now - lost < 1s) lab.advance(1ms), serve();
    CHECK(lab.now - lost <= 3 * DialPlan::short_stagger);
    REQUIRE(lab.dials.size() == 1);
    CHECK(ann.state_of(bob.id) == PeerState::suspect);
    SUBCASE("it is there") {
        const Token token = bob.token;
        lab.advance(150ms);
        lab.play(own, 2);
        lab.complete(lab.take_dials().at(0));
        lab.last_puppet().resume(token, {{user_channel, 0, 1 << 20}});
        CHECK(ann.state_of(bob.id) == PeerState::alive);
        CHECK(ann.news.size() == 1);
    }
    SUBCASE("nobody answers there") {
        CHECK(lab.wait([&] { return !ann.sees(bob.id); }));
        CHECK(lab.now - lost <= 300ms);
    }
    SUBCASE("it refuses there, too") {
        lab.refuse(lab.take_dials().at(0));
        lab.settle();
        CHECK(lab.wait([&] { return !ann.sees(bob.id); }));
        CHECK(lab.now - lost <= 300ms);
        CHECK(ann.said("why=refused_everywhere") == 1);
    }
}

TEST_CASE("an address that has led to somebody else tells nothing about those who were found there before") {
    Lab lab;
    Node& ann = lab.start(1);
    const Address balancer{"10.5.0.1", 7000};
    lab.play(balancer, 2);
    ann.add(balancer);
    Puppet& bob = lab.last_puppet();
    bob.join();
    lab.play(balancer, 3);
    ann.add(balancer);
    Puppet& eve = lab.last_puppet();
    eve.join();
    const Address own{"10.0.0.2", 7000};
    lab.play(own, 2);
    for (int i = 0; i < 50 && lab.dialled.back().address != own; ++i) {
        for (Puppet* each : {&bob, &eve}) each->say(Ping{});
        lab.advance(100ms);
    }
    REQUIRE(lab.dialled.back().address == own);
    lab.last_puppet().say_hello();  // bob is checked where he says he is
    lab.hold_dials = true;
    bob.hang_up();
    for (int i = 0; i < 10 && ann.sees(bob.id); ++i) {
        for (const Lab::Pending& dial : lab.take_dials()) {
            if (dial.address != balancer) lab.refuse(dial);
        }
        lab.advance(100ms);
    }
    CHECK_FALSE(ann.sees(bob.id));
}

TEST_CASE("whoever is found where another was sought has not refused") {
    Lab lab;
    Node& ann = lab.start(1);
    const Address place{"10.0.0.2", 7000};
    lab.play(place, 2);
    ann.add(place);
    Puppet& bob = lab.last_puppet();
    bob.join();
    REQUIRE(ann.sees(bob.id));
    bob.say(PeerList{{{id_of(3), 1, "his former run", "", {place}, {}}}});
    lab.hold_dials = true;
    bob.hang_up();
    CHECK(ann.state_of(bob.id) == PeerState::suspect);
    for (int i = 0; i < 10; ++i) {
        for (const Lab::Pending& dial : lab.take_dials()) {
            lab.complete(dial);
            lab.last_puppet().say_hello();
            CHECK(ann.sees(bob.id));
        }
        lab.advance(50ms);
    }
    CHECK(lab.dialled.size() > 2);
    CHECK(times(ann, "failed 2") == 0);
}

TEST_CASE("a former run whose link is half-open does not stand for a refusal of the one that is there now") {
    Lab lab;
    Node& ann = lab.start(1);
    const Address place{"10.0.0.2", 7000};
    lab.play(place, 2);
    ann.add(place);
    lab.last_puppet().join();  // and is never heard of again
    lab.play(place, 3);
    ann.add(place);
    Puppet& next = lab.last_puppet();
    next.join();
    REQUIRE(ann.sees(next.id));
    lab.hold_dials = true;
    next.hang_up();
    lab.advance(300ms);
    CHECK(ann.state_of(next.id) == PeerState::suspect);
    CHECK_FALSE(lab.dials.empty());
}

TEST_CASE("a peer that falls silent is suspect first, and failed by all after suspicion") {
    Mesh mesh(6);
    Node& victim = mesh[3];
    const Time before = mesh.now;
    mesh.silence(victim);
    REQUIRE(mesh.wait([&] { return mesh[0].state_of(victim.id) == PeerState::suspect; }));
    CHECK(mesh.now - before <= 2s);
    CHECK(std::none_of(mesh.nodes.begin(), mesh.nodes.end(), [](Node* node) { return node->said("peer_failed") > 0; }));
    mesh.nodes.erase(mesh.nodes.begin() + 3);
    REQUIRE(mesh.wait([&] { return mesh.nobody_sees(victim); }));
    CHECK(mesh.now - before <= 3500ms);
    CHECK(mesh.now - before >= 2s);
    for (Node* node : mesh.nodes) {
        CHECK(times(*node, "failed 4") == 1);
        CHECK((*node)->counters().suspicions == 1);
        CHECK((*node)->counters().failures == 1);
        CHECK((*node)->suspect_count() == 0);
    }
}

TEST_CASE("a peer that speaks again within suspicion was never out of view") {
    Mesh mesh(4);
    const std::vector<Wire*> wires = mesh.wires(&mesh[2]);
    for (Wire* wire : wires) wire->held[0] = wire->held[1] = true;
    mesh.silent.insert(mesh[2].address.to_string());
    mesh.advance(1900ms);
    CHECK_FALSE(mesh.complete_but(nullptr));
    for (Wire* wire : wires) wire->held[0] = wire->held[1] = false;
    mesh.silent.clear();
    REQUIRE(mesh.wait([&] { return mesh.complete_but(nullptr); }, 2s));
    for (Node* node : mesh.nodes) CHECK(node->news.size() == 3);
}

TEST_CASE("data from a suspect ends the suspicion") {
    Mesh mesh(3);
    Wire& wire = *mesh.wires(&mesh[0], &mesh[1]).at(0);
    const int to_first = wire.end[0] == &mesh[1] ? 0 : 1;
    wire.held[1 - to_first] = true;  // the probes of the first do not arrive
    REQUIRE(mesh.wait([&] { return mesh[0].state_of(mesh[1].id) == PeerState::suspect; }));
    mesh[1].send(mesh[0].id, "I am here");
    CHECK(mesh[0].state_of(mesh[1].id) == PeerState::alive);
}

TEST_CASE("what others say makes a node probe, and never makes it drop a peer") {
    Mesh mesh(3);
    Puppet& liar = mesh.puppet(mesh[0], 9);
    liar.join();
    const std::size_t pings = mesh.wires(&mesh[0], &mesh[1]).at(0)->passed[0].size();
    for (int i = 0; i < 10; ++i) {
        liar.say(Inquiry{mesh[1].id, false});
        liar.say(Finding{mesh[1].id, false});
        mesh.advance(300ms);
        liar.say(Pong{});
    }
    CHECK(mesh.wires(&mesh[0], &mesh[1]).at(0)->passed[0].size() > pings);
    CHECK(mesh.complete_but(nullptr));
    CHECK(times(mesh[0], "failed 2") == 0);
}

TEST_CASE("who is asked about a peer probes it, and answers as soon as it knows") {
    Mesh mesh(2);
    Puppet& asker = mesh.puppet(mesh[0], 9);
    asker.join();
    asker.say(Inquiry{mesh[1].id, true});
    REQUIRE(asker.count<Finding>() == 1);
    CHECK(asker.last<Finding>() == Finding{mesh[1].id, true});
    asker.say(Inquiry{id_of(77), true});
    CHECK(asker.last<Finding>() == Finding{id_of(77), false});
    mesh.kill(mesh[1]);
    asker.say(Inquiry{mesh[1].id, true});
    CHECK(asker.last<Finding>() == Finding{mesh[1].id, false});
}

TEST_CASE("of somebody who asks without end and reads nothing, not more than a few answers are kept") {
    Mesh mesh(2);
    Puppet& asker = mesh.puppet(mesh[0], 9);
    asker.join();
    for (int i = 0; i < 2000; ++i) {
        PeerId id = id_of(100);
        id.bytes[14] = static_cast<std::uint8_t>(i >> 8);
        id.bytes[15] = static_cast<std::uint8_t>(i);
        mesh[0]->received(asker.link, Inquiry{id, true}, mesh.now);
    }
    mesh.settle();
    CHECK(asker.count<Finding>() == 256);
}

TEST_CASE("a peer that others hear from is unreachable, not failed, and nothing but a question goes on about it") {
    Mesh mesh(5);
    Node& ann = mesh[0];
    Node& bob = mesh[1];
    mesh.hold_dials = true;
    const auto serve = [&] {
        for (const Lab::Pending& dial : mesh.take_dials()) {
            const bool across = (dial.node == &ann && dial.address == bob.address) ||
                                (dial.node == &bob && dial.address == ann.address);
            if (!across) mesh.complete(dial);
        }
        mesh.settle();
    };
    mesh.part(ann, bob);
    REQUIRE(mesh.wait([&] { return serve(), !ann.sees(bob.id) && !bob.sees(ann.id); }));
    CHECK(ann.news.back() == "unreachable 2");
    CHECK(bob.news.back() == "unreachable 1");
    CHECK(times(ann, "failed 2") == 0);
    CHECK(ann->unreachable_count() == 1);

    for (int i = 0; i < 50; ++i) mesh.advance(100ms), serve();
    const std::size_t lists = mesh.lists();
    for (int i = 0; i < 200; ++i) mesh.advance(100ms), serve();
    CHECK(mesh.lists() == lists);

    // The network is mended.
    const Time mended = mesh.now;
    REQUIRE(mesh.wait([&] {
        for (const Lab::Pending& dial : mesh.take_dials()) mesh.complete(dial);
        mesh.settle();
        return mesh.complete_but(nullptr);
    }));
    CHECK(mesh.now - mended <= mesh.options.reconnect_max + 1s);
    CHECK(ann.news.back() == "added 2");
}

TEST_CASE("two that cannot dial each other are said to be out of reach, once, with the reason") {
    Lab lab;
    Node& ann = lab.start(1);
    lab.options.self.addresses = {{"127.0.0.1", 7000}};  // known to nobody but the own machine
    Node& bob = lab.start(2);
    Node& eve = lab.start(3);
    bob.add(ann.address);
    eve.add(ann.address);
    lab.advance(4s);
    CHECK(bob.said("peer_out_of_reach") == 0);
    lab.advance(60s);
    for (Node* node : {&bob, &eve}) {
        const Node& other = node == &bob ? eve : bob;
        CHECK(node->said("peer_out_of_reach") == 1);
        CHECK(node->said("peer_out_of_reach peer=" + other.id.to_string() + " name=\"node " +
                         std::to_string(other.id.bytes[0]) + "\" why=\"the peer tells of no address") == 1);
        const std::vector<Peer> all = (*node)->everybody();
        REQUIRE(all.size() == 2);
        CHECK(all[0].id == ann.id);
        CHECK(all[0].state == PeerState::alive);
        CHECK(all[0].why == std::error_code());
        CHECK(all[1].id == other.id);
        CHECK(all[1].state == PeerState::unreachable);
        CHECK(all[1].why == errc::no_address);
    }
    CHECK(ann.said("peer_out_of_reach") == 0);
    CHECK(ann->everybody() == ann->peers());
}

TEST_CASE("of everybody each says why it is out of view: it failed, it parted from us, or we from it") {
    Mesh mesh(5);
    Node& ann = mesh[0];
    mesh.kill(mesh[1]);
    REQUIRE(ann->remove(mesh[2].id, mesh.now));
    REQUIRE(mesh[3]->remove(ann.id, mesh.now));
    mesh.advance(20s);
    const std::vector<Peer> all = ann->everybody();
    REQUIRE(all.size() == 4);
    CHECK(all[0].state == PeerState::failed);
    CHECK(all[0].why == errc::connection_refused);
    CHECK(all[1].state == PeerState::removed);
    CHECK(all[1].name == "node 3");
    CHECK(all[1].address == mesh[2].address);
    CHECK(all[2].state == PeerState::unreachable);  // the fifth has it in view
    CHECK(all[2].why == errc::removed);
    CHECK(ann.said("peer_out_of_reach") == 1);
    CHECK(all[3].state == PeerState::alive);
    ann->leave(mesh.now);
    mesh.advance(1s);
    CHECK(mesh[4]->everybody().size() == 3);  // who left is not listed
}

TEST_CASE("however many a peer tells of whom nobody reaches, few lines say so") {
    Lab lab;
    lab.options.max_peers = 100;
    lab.options.inbox_bytes = 64 << 20;
    Node& ann = lab.start(1);
    Puppet& liar = lab.puppet(ann, 9);
    liar.join();
    PeerList list;
    for (std::uint8_t i = 100; i < 200; ++i) list.peers.push_back({id_of(i), 1, "nobody", "", {}, {}});
    for (int i = 0; i < 55; ++i) {
        liar.say(list);
        lab.advance(1s);
        liar.say(Pong{});
    }
    CHECK(ann.said("peer_out_of_reach") == 16);
}

TEST_CASE("whoever dies while it is unreachable is forgotten by all in the end") {
    Mesh mesh(4);
    Node& ann = mesh[0];
    Node& bob = mesh[1];
    mesh.part(ann, bob);
    mesh.silent = {ann.address.to_string(), bob.address.to_string()};
    REQUIRE(mesh.wait([&] { return !ann.sees(bob.id); }));
    CHECK(ann.news.back() == "unreachable 2");
    mesh.kill(bob);
    REQUIRE(mesh.wait([&] { return ann.said("peer_gone") == 1; }));
    mesh.advance(5s);
    const std::size_t lists = mesh.lists();
    mesh.advance(20s);
    CHECK(mesh.lists() == lists);
}

TEST_CASE("a node that was stopped for long judges nobody before it has read what came meanwhile") {
    Mesh mesh(4);
    mesh.now += 20s;  // nobody's timers ran
    for (Node* node : mesh.nodes) (*node)->tick(mesh.now);
    mesh.settle();
    mesh.advance(5s);
    for (Node* node : mesh.nodes) {
        CHECK(node->news.size() == 3);
        CHECK((*node)->counters().links_lost == 0);
        CHECK(node->said("late") == 1);
    }
}

TEST_CASE("a node that was stopped gives nobody up for what it finds first when it goes on") {
    for (const bool again : {false, true}) {
        CAPTURE(again);
        Mesh mesh(3);
        Node& ann = mesh[0];
        Node& bob = mesh[1];
        Wire& wire = *mesh.wires(&ann, &bob).at(0);
        wire.held[0] = wire.held[1] = true;
        REQUIRE(mesh.wait([&] { return ann.state_of(bob.id) == PeerState::suspect; }));
        mesh.now += 20s;
        if (again) {
            ann->tick(mesh.now);
            mesh.now += 20s;
            ann->tick(mesh.now);
        }
        CHECK(ann.sees(bob.id));
        mesh.cut(wire);  // before any timer
        CHECK(ann.sees(bob.id));
        REQUIRE(mesh.wait([&] { return mesh.complete_but(nullptr); }, 3s));
        CHECK(ann.news.size() == 2);
    }
}

TEST_CASE("a node that was stopped gives dials, greetings and attaching the time in which it did not run") {
    for (const std::string_view stopped : {"while it dialled", "while they greeted", "while it attached"}) {
        CAPTURE(stopped);
        Lab lab;
        lab.hold_dials = true;
        Node& ann = lab.start(1);
        const Address place{"10.0.0.2", 7000};
        lab.play(place, 2);
        const auto stop = [&](std::string_view when) {
            if (stopped != when) return;
            lab.now += 20s;
            ann->tick(lab.now);
            lab.settle();
            lab.advance(300ms);
        };
        const std::uint64_t request = ann.add(place);
        stop("while it dialled");
        REQUIRE(lab.dials.size() == 1);
        lab.complete(lab.take_dials().front());
        Puppet& bob = lab.last_puppet();
        stop("while they greeted");
        bob.say_hello();
        bob.say(Offer{});
        const std::uint64_t epoch = bob.last<Attach>().epoch;
        stop("while it attached");
        bob.say(Attached{epoch, {{user_channel, 0, 1 << 20}}, 0});
        CHECK(ann.sees(bob.id));
        REQUIRE(ann.answers.contains(request));
        CHECK(ann.answers[request].error == errc{});
        CHECK(lab.dialled.size() == 1);
        CHECK(ann->counters().dials_failed == 0);
    }
}

TEST_CASE("the larger id waits as much longer for the smaller one's dial as it did not run, or while others come") {
    Lab lab;
    Node& eve = lab.start(9);
    Puppet& bob = lab.puppet(eve, 10);
    bob.hello.self.addresses = {};
    bob.join();
    bob.say(PeerList{{{id_of(3), 1, "cleo", "", {{"10.0.0.3", 7000}}, {}}}});
    SUBCASE("it did not run") {
        lab.now += 20s;
        eve->tick(lab.now);
        lab.settle();
        lab.advance(100ms);
        CHECK(lab.dialled.empty());
    }
    SUBCASE("others come") {
        for (std::uint8_t i = 11; i < 14; ++i) {
            lab.advance(150ms);
            Puppet& other = lab.puppet(eve, i);
            other.hello.self.addresses = {};
            other.join();
        }
        CHECK(lab.dialled.empty());
    }
    lab.advance(1s);
    CHECK_FALSE(lab.dialled.empty());
}

TEST_CASE("a node that was stopped dials whom it has lost before it judges") {
    Mesh mesh(2);
    mesh.hold_dials = true;
    mesh.now += 20s;
    for (Node* node : mesh.nodes) (*node)->tick(mesh.now);
    mesh.cut(*mesh.wires(&mesh[0], &mesh[1]).at(0));
    CHECK(mesh.wait([&] { return !mesh.dials.empty(); }, 100ms));
}

TEST_CASE("a node that is late all the time still finds out who is gone") {
    Mesh mesh(3);
    mesh.silence(mesh[2]);
    for (int i = 0; i < 200 && mesh[0].sees(mesh[2].id); ++i) {
        mesh.now += 400ms;
        for (Node* node : mesh.nodes) {
            if (node->alive && (*node)->deadline() <= mesh.now) (*node)->tick(mesh.now);
        }
        mesh.settle();
    }
    CHECK_FALSE(mesh[0].sees(mesh[2].id));
    CHECK(mesh[0].sees(mesh[1].id));
}

TEST_CASE("of a process that is restarted a thousand times at one address only the last run is dialled") {
    Lab lab;
    lab.options.max_peers = 8;
    lab.options.suspicion = 2s;
    lab.options.seeds = {};
    Node& ann = lab.start(1);
    const Address place{"10.0.0.200", 7000};
    for (int run = 0; run < 1000; ++run) {
        Puppet& puppet = lab.puppet(ann, 200);
        puppet.id.bytes[14] = static_cast<std::uint8_t>(run >> 8);
        puppet.id.bytes[15] = static_cast<std::uint8_t>(run);
        puppet.hello.self.id = puppet.id;
        puppet.hello.self.addresses = {place};
        puppet.join();
        REQUIRE(ann.sees(puppet.id));
        puppet.hang_up();
        lab.advance(3s);
        REQUIRE_FALSE(ann.sees(puppet.id));
    }
    const std::size_t before = lab.dialled.size();
    lab.advance(60s);
    CHECK(lab.dialled.size() - before <= 20);  // one target, a round each five seconds
    CHECK(lab.dialled.size() > before);
    lab.advance(lab.options.forget_after);
    const std::size_t after = lab.dialled.size();
    lab.advance(60s);
    CHECK(lab.dialled.size() == after);
}
