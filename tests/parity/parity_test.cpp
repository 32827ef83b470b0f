#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

// What BurntSushi/cluster can do and its own tests show, done with this library. The table in tests/README.md names the
// counterpart of everything it offers.

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// Two nodes, each of which has been told of the other within a second of one `add`.
struct TwoNodes {
    explicit TwoNodes(const Options& options = quick()) : ann(options), bob(options) {
        Events<Address> by_ann;
        Events<Address> by_bob;
        const Subscription one = ann.on_peer_added([&](const Peer& peer) { by_ann.put(peer.address); });
        const Subscription two = bob.on_peer_added([&](const Peer& peer) { by_bob.put(peer.address); });
        ann.add(bob.address());
        CHECK(by_ann.take(1s) == bob.address());
        CHECK(by_bob.take(1s) == ann.address());
    }

    /// Both are alone and stay so. Of dials there is at most the one by which the other finds out that it is unwanted.
    void are_apart() {
        CHECK(ann.peers().empty());
        CHECK(bob.peers().empty());
        const std::uint64_t dials = ann.stats().dials + bob.stats().dials;
        CHECK_FALSE(bob.wait_for_peers(1, 10 * eager().reconnect_max));
        CHECK(ann.stats().dials + bob.stats().dials <= dials + 1);
    }

    Node ann;
    Node bob;
};

std::string text_in(Node& node) {
    const auto message = node.inbox().receive_for(patience);
    return message ? std::string(message->text()) : "nothing came";
}

/// Where nobody listens, and nobody can for as long as it lives.
class Nowhere {
public:
    const Address& address() const { return address_; }

private:
    Socket socket_;
    Address address_ = socket_.bind();
};

}  // namespace

TEST_CASE("parity: both nodes are told of each other within a second, and a callback may greet the newcomer") {
    Node ann(quick());
    Node bob(quick());
    const Subscription greeting = ann.on_peer_added([&](const Peer&) { ann.broadcast("Hello, world!"); });
    ann.add(bob.address());
    const auto message = bob.inbox().receive_for(patience);
    REQUIRE(message.has_value());
    CHECK(message->text() == "Hello, world!");
    CHECK(message->from() == ann.id());
    const TwoNodes others;
}

TEST_CASE("parity: each receives the text that the other broadcast") {
    TwoNodes nodes;
    nodes.ann.broadcast("from ann");
    nodes.bob.broadcast("from bob");
    CHECK(text_in(nodes.ann) == "from bob");
    CHECK(text_in(nodes.bob) == "from ann");
}

TEST_CASE("parity: after a graceful close nobody has peers, and nobody goes on dialling") {
    TwoNodes nodes(eager());
    Events<RemovalReason> reasons;
    const Subscription removed =
        nodes.bob.on_peer_removed([&](const Peer&, RemovalReason reason) { reasons.put(reason); });
    nodes.ann.close();
    CHECK(reasons.take(1s) == RemovalReason::left);
    nodes.are_apart();
}

TEST_CASE("parity: after the removal of one peer nobody has peers, and nobody goes on dialling") {
    TwoNodes nodes(eager());
    Events<RemovalReason> reasons;
    const Subscription removed =
        nodes.bob.on_peer_removed([&](const Peer&, RemovalReason reason) { reasons.put(reason); });
    CHECK(nodes.ann.remove(nodes.bob.id()));
    CHECK(reasons.take(1s) == RemovalReason::refused);
    nodes.are_apart();
}

TEST_CASE("parity: a peer that is cut off fails after suspicion, is sought on, and returns under its id") {
    Options options = eager();
    options.heartbeat = 50ms;
    options.suspicion = 200ms;
    Reached ann(options);
    Reached bob(options);
    ann.node->add(bob.node->address());
    Events<std::pair<PeerId, RemovalReason>> removed;
    const Subscription one = ann.node->on_peer_removed(
        [&](const Peer& peer, RemovalReason reason) { removed.put({peer.id, reason}); });

    const Nowhere nowhere;
    ann.proxy.lead_to(nowhere.address());
    bob.proxy.lead_to(nowhere.address());
    ann.proxy.cut();
    bob.proxy.cut();
    const auto cut = removed.take();
    CHECK(cut == std::make_pair(bob.node->id(), RemovalReason::failed));
    CHECK_FALSE(ann.node->peer(bob.node->id()).has_value());
    CHECK(ann.node->peers().empty());

    const std::uint64_t dials = ann.node->stats().dials;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (ann.node->stats().dials < dials + 5) {  // it does not give up
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::yield();
    }
    bob.proxy.lead_to(bob.real);
    CHECK(ann.node->wait_for_peers(1, patience));
    REQUIRE(ann.node->peer(bob.node->id()).has_value());
    CHECK(ann.node->peer(bob.node->id())->state == PeerState::alive);
    CHECK(bob.node->wait_for_peers(1, patience));
    ann.node->broadcast("welcome back");
    CHECK(text_in(*bob.node) == "welcome back");
}

TEST_CASE("parity: who starts anew at the place of a failed peer is found without adding anybody") {
    Options options = eager();
    options.heartbeat = 50ms;
    options.suspicion = 200ms;
    options.linger = 0s;
    Reached ann(options);
    Reached bob(options);
    ann.node->add(bob.node->address());
    const PeerId first = bob.node->id();
    const Nowhere nowhere;
    ann.proxy.lead_to(nowhere.address());  // so that only ann can dial
    bob.proxy.lead_to(nowhere.address());
    ann.proxy.cut();
    bob.proxy.cut();
    bob.node.reset();  // it cannot say goodbye

    const Address real = free_address();
    options.listen = real.to_string();
    options.advertise = {bob.proxy.address().to_string()};
    Node another(options);
    bob.proxy.lead_to(real);
    CHECK(another.wait_for_peers(1, patience));
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (ann.node->peers().size() != 1 || ann.node->peers()[0].id == first) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::yield();
    }
    CHECK(ann.node->peers()[0].id == another.id());
}

TEST_CASE("parity: a node that is added under two addresses is one peer over one link") {
    Node ann(quick());
    Node bob(quick());
    const Peer peer = ann.add(bob.address());
    CHECK(ann.add(Address{"localhost", bob.address().port}).id == peer.id);
    CHECK(ann.peers().size() == 1);
    CHECK(bob.peers().size() == 1);
    CHECK(ann.stats().by_peer.at(0).attachments == 1);
    CHECK(bob.stats().by_peer.at(0).attachments == 1);
}

TEST_CASE("parity: adding oneself under another name is refused, and the node goes on") {
    Node ann(quick());
    Node bob(quick());
    CHECK(add_error(ann, "localhost:" + std::to_string(ann.address().port)) == errc::self);
    CHECK(ann.peers().empty());
    ann.add(bob.address());
    CHECK(ann.peers().size() == 1);
}

TEST_CASE("parity: a peer that was reached through a tunnel is dialled there again") {
    const Nowhere nowhere;
    Options options = eager();
    options.advertise = {nowhere.address().to_string()};  // nobody else can be reached by what it says
    Options hidden = options;
    hidden.listen = free_address().to_string();
    Proxy tunnel;
    tunnel.lead_to(Address::parse(hidden.listen));
    Node ann(options);
    Node bob(hidden);
    CHECK(ann.add(tunnel.address()).id == bob.id());
    for (int i = 0; i < 3; ++i) {
        tunnel.cut();
        ann.send(bob.id(), std::to_string(i));
        CHECK(text_in(bob) == std::to_string(i));
    }
    CHECK(ann.stats().sessions_resumed >= 3);
}

TEST_CASE("parity: an address says as text where to dial, and is a copy") {
    Node ann("127.0.0.1:0");
    Address address = ann.address();
    CHECK(address.to_string() == "127.0.0.1:" + std::to_string(address.port));
    address.host = "elsewhere";
    CHECK(ann.address().host == "127.0.0.1");
    Node bob("127.0.0.1:0");
    CHECK(bob.add(ann.address().to_string()).address.to_string() == ann.address().to_string());
}

TEST_CASE("parity: everything that happens to links and peers is logged with its level where the log wants it") {
    Events<std::pair<LogLevel, std::string>> lines;
    Options options = quick();
    options.log = [&](LogLevel level, std::string_view text) { lines.put({level, std::string(text)}); };
    {
        Node ann(options);
        Node bob(quick());
        ann.add(bob.address());
        ann.remove(bob.id());
        ann.close();
    }
    std::map<std::string, LogLevel> levels;
    while (const auto line = lines.take(0s)) {
        CHECK(line->second.find(" node=") != std::string::npos);
        levels.emplace(line->second.substr(0, line->second.find(' ')), line->first);
    }
    for (const char* name : {"peer_added", "peer_removed"}) {
        INFO(name);
        REQUIRE(levels.contains(name));
        CHECK(levels.at(name) == LogLevel::info);
    }
}
