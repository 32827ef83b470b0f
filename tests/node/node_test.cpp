#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

std::string payload_of(std::size_t size, char seed) {
    std::string text(size, seed);
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(seed + static_cast<char>(i * 7 % 101));
    return text;
}

}  // namespace

TEST_CASE("node: one added address is enough for a message to arrive, and the loop ends when its node closes") {
    Node ann("127.0.0.1:0");
    Node bob("127.0.0.1:0");

    ann.add(bob.address());
    CHECK(ann.broadcast("Hello, world!") == 1);

    std::vector<std::string> heard;
    for (const Message& message : bob.inbox()) {
        CHECK(message.from() == ann.id());
        heard.emplace_back(message.text());
        CHECK_FALSE(bob.close());
    }
    CHECK(heard == std::vector<std::string>{"Hello, world!"});
}

TEST_CASE("node: add returns the peer when each side lists the other") {
    Options options = quick();
    options.name = "bob";
    options.tags = {{"role", "store"}};
    Node ann(quick());
    Node bob(options);
    const Peer peer = ann.add(bob.address());
    CHECK(peer.id == bob.id());
    CHECK(peer.name == "bob");
    CHECK(peer.address == bob.address());
    CHECK(peer.tags == options.tags);
    CHECK(peer.state == PeerState::alive);
    CHECK(ann.peers() == std::vector<Peer>{peer});
    REQUIRE(bob.peers().size() == 1);
    CHECK(bob.peers()[0].id == ann.id());
    CHECK(ann.peer(bob.id()) == peer);
    CHECK_FALSE(ann.peer(ann.id()).has_value());
}

TEST_CASE("node: adding a peer again is harmless") {
    Node ann(quick());
    Node bob(quick());
    const Peer first = ann.add(bob.address());
    CHECK(ann.add(bob.address()) == first);
    CHECK(bob.add(ann.address()).id == ann.id());
    CHECK(ann.peers().size() == 1);
    CHECK(ann.stats().by_peer.at(0).attachments == 1);
}

TEST_CASE("node: without a name it is called by its process and its id") {
    const Node node(quick());
    CHECK(node.name() == std::to_string(::getpid()) + "-" + node.id().to_string().substr(0, 8));
}

TEST_CASE("node: many that all add the first one become one full mesh with one link per pair") {
    const Runtime runtime;
    Options options = quick();
    options.runtime = runtime;
    std::vector<std::unique_ptr<Node>> nodes;
    for (int i = 0; i < 8; ++i) nodes.push_back(std::make_unique<Node>(options));
    std::vector<std::jthread> adders;
    for (std::size_t i = 1; i < nodes.size(); ++i) {
        adders.emplace_back([&, i] { nodes[i]->add(nodes[0]->address()); });
    }
    for (std::jthread& adder : adders) adder.join();
    for (const auto& node : nodes) CHECK(node->wait_for_peers(nodes.size() - 1, patience));
    for (const auto& node : nodes) {
        const std::vector<Peer> peers = node->peers();
        CHECK(peers.size() == nodes.size() - 1);
        CHECK(std::is_sorted(peers.begin(), peers.end(), [](const Peer& a, const Peer& b) { return a.id < b.id; }));
    }
}

TEST_CASE("node: all may have the same seeds, their own address among them") {
    Events<std::string> complaints;
    Events<std::string> led_to_themselves;
    Options options = quick();
    options.log = [&](LogLevel level, std::string_view text) {
        if (level >= LogLevel::warning) complaints.put(std::string(text));
        if (text.find("reason=self") != std::string_view::npos) led_to_themselves.put(std::string(text));
    };
    const Address address = free_address();
    Address other_address = free_address();
    while (other_address == address) other_address = free_address();
    options.listen = address.to_string();
    options.seeds = {address.to_string(), other_address.to_string()};
    Node ann(options);
    const auto line = complaints.take();
    REQUIRE(line.has_value());
    CHECK(line->find("seed_unreachable address=" + options.seeds[1]) != std::string::npos);
    options.listen = options.seeds[1];
    Node bob(options);
    CHECK(ann.wait_for_peers(1, patience));
    CHECK(bob.wait_for_peers(1, patience));
    ann.close();
    bob.close();
    while (const auto other = complaints.take(0s)) {
        CHECK(other->find("self") == std::string::npos);
        CHECK(other->find("this node itself") == std::string::npos);
    }
    CHECK_FALSE(led_to_themselves.take(0s).has_value());  // a duplicate may be refused: both dial
}

TEST_CASE("node: seeds are found whenever they appear") {
    Socket reserved;
    const Address address = reserved.bind();
    Options options = quick();
    options.seeds = {address.to_string()};
    Node ann(options);
    CHECK_FALSE(ann.wait_for_peers(1, 0s));
    reserved.close();
    Options late = quick();
    late.listen = address.to_string();
    const Node bob(late);
    CHECK(ann.wait_for_peers(1, patience));
}

TEST_CASE("node: messages of every size arrive unaltered and in order") {
    Node ann(quick());
    Node bob(quick());
    const PeerId to = ann.add(bob.address()).id;
    const std::vector<std::size_t> sizes = {0,     1,     7,         8,       4095,    4096,        16383,  16384,
                                            65527, 65528, 65536 - 8, 1 << 16, 65537,   100000,      262143, 262144,
                                            1,     0,     1 << 20,   3,       5000000, 16u << 20u, 2};
    std::jthread sender([&] {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const std::string text = payload_of(sizes[i], static_cast<char>('a' + i));
            if (i % 3 == 0) ann.send(to, text);
            if (i % 3 == 1) ann.send(to, std::string(text));
            if (i % 3 == 2) {
                const auto bytes = std::as_bytes(std::span(text));
                ann.send(to, std::vector<std::byte>(bytes.begin(), bytes.end()));
            }
        }
    });
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        const auto message = bob.inbox().receive_for(patience);
        REQUIRE(message.has_value());
        INFO("size " << sizes[i]);
        CHECK(message->size() == sizes[i]);
        CHECK((message->text() == payload_of(sizes[i], static_cast<char>('a' + i))));
        CHECK(message->lost() == 0);
    }
    sender.join();
}

TEST_CASE("node: a message longer than either side takes is refused before anything is queued") {
    Options small = quick();
    small.max_message = 1 << 16;
    Node ann(quick());
    Node bob(small);
    const PeerId to = ann.add(bob.address()).id;
    std::error_code error;
    ann.send(to, std::string((1 << 16) + 1, 'x'), error);
    CHECK(error == errc::message_too_large);
    CHECK(ann.broadcast(std::string((1 << 16) + 1, 'x'), error) == 0);
    CHECK(error == errc::message_too_large);
    CHECK(ann.try_broadcast(std::string((16u << 20u) + 1, 'x')).error == errc::message_too_large);
    CHECK(ann.broadcast(std::string(1 << 16, 'x'), error) == 1);
    CHECK_FALSE(error);
    CHECK(ann.stats().messages_sent == 1);
}

TEST_CASE("node: sending to somebody who is not in view says so, and a broadcast to nobody is for nobody") {
    Node ann(quick());
    std::error_code error;
    ann.send(ann.id(), "to myself", error);
    CHECK(error == errc::not_in_view);
    CHECK_THROWS_AS(ann.send(PeerId{}, "to nobody"), std::system_error);
    CHECK(ann.broadcast("anybody") == 0);
    const TryResult result = ann.try_send(PeerId{}, "to nobody");
    CHECK(result.error == errc::not_in_view);
    CHECK_FALSE(result);
}

TEST_CASE("node: several readers share the inbox, each message goes to one of them") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    constexpr int messages = 20000;
    std::mutex mutex;
    std::multiset<int> heard;
    std::vector<std::jthread> readers;
    for (int i = 0; i < 4; ++i) {
        readers.emplace_back([&] {
            std::vector<int> mine;
            for (const Message& message : bob.inbox()) mine.push_back(std::stoi(std::string(message.text())));
            CHECK(std::is_sorted(mine.begin(), mine.end()));
            const std::lock_guard lock(mutex);
            heard.insert(mine.begin(), mine.end());
        });
    }
    for (int i = 0; i < messages; ++i) ann.broadcast(std::to_string(i));
    CHECK_FALSE(ann.close());
    bob.close();
    for (std::jthread& reader : readers) reader.join();
    CHECK(heard.size() == messages);
    CHECK(std::set<int>(heard.begin(), heard.end()).size() == messages);
}

TEST_CASE("node: concurrent broadcasts have one order, the same for every receiver") {
    Node ann(quick());
    Node bob(quick());
    Node eve(quick());
    ann.add(bob.address());
    ann.add(eve.address());
    std::vector<std::jthread> senders;
    for (int i = 0; i < 3; ++i) {
        senders.emplace_back([&, i] {
            for (int k = 0; k < 2000; ++k) ann.broadcast(std::to_string(i) + ":" + std::to_string(k));
        });
    }
    const auto listen = [](Node& node) {
        std::vector<std::string> heard;
        while (heard.size() < 6000) {
            const auto message = node.inbox().receive_for(patience);
            if (!message) break;
            heard.emplace_back(message->text());
        }
        return heard;
    };
    const std::vector<std::string> by_bob = listen(bob);
    const std::vector<std::string> by_eve = listen(eve);
    for (std::jthread& sender : senders) sender.join();
    CHECK(by_bob.size() == 6000);
    CHECK((by_bob == by_eve));
}

TEST_CASE("node: an unread inbox stops the sender after send_timeout, and nothing was queued for anyone") {
    Options small = quick();
    small.inbox_bytes = 1 << 20;
    small.max_message = 1 << 16;
    small.max_peers = 4;
    small.outbox_bytes = 256 << 10;
    small.total_outbox_bytes = 8 << 20;
    small.send_timeout = 1s;  // neither of those who read takes so long
    Node ann(small);
    Node bob(small);
    Node eve(small);
    ann.add(bob.address());
    ann.add(eve.address());
    eve.on_message([](const Message&) {});

    const std::string payload(1 << 14, 'x');
    std::atomic<std::uint64_t> accepted{0};
    std::error_code error;
    while (!error) {
        if (ann.broadcast(payload, error) == 2) ++accepted;
    }
    CHECK(error == errc::timed_out);
    const TryResult result = ann.try_broadcast(payload);
    CHECK(result.error == errc::outbox_full);
    CHECK(result.full == std::vector<PeerId>{bob.id()});
    CHECK(ann.stats().messages_sent == accepted);

    // Reading makes room again, for all that waits.
    std::jthread waiting([&] {
        std::error_code later;
        for (int i = 0; i < 100; ++i) {
            if (ann.broadcast(payload, later) == 2) ++accepted;
            CHECK_FALSE(later);
        }
        ann.broadcast("end", later);
    });
    std::uint64_t heard = 0;
    for (;;) {
        const auto message = bob.inbox().receive_for(patience);
        REQUIRE(message);
        if (message->text() == "end") break;
        CHECK(message->size() == payload.size());
        ++heard;
    }
    waiting.join();
    CHECK(heard == accepted);
}

TEST_CASE("node: with give_up the full ones see a gap, and the sender is told") {
    Options small = quick();
    small.inbox_bytes = 1 << 20;
    small.max_message = 1 << 16;
    small.max_peers = 4;
    small.outbox_bytes = 256 << 10;
    small.send_timeout = 0ms;
    small.when_full = WhenFull::give_up;
    Node ann(small);
    Node bob(small);
    Node eve(small);
    Events<GivenUp> given_up;
    const Subscription subscription = ann.on_given_up([&](const GivenUp& each) { given_up.put(each); });
    ann.add(bob.address());
    ann.add(eve.address());
    Events<std::string> by_eve;
    eve.on_message([&](const Message& message) { by_eve.put(std::string(message.text().substr(0, 8))); });

    constexpr std::uint64_t messages = 400;
    for (std::uint64_t i = 0; i < messages; ++i) {
        std::string payload(1 << 14, 'x');
        const std::string number = std::to_string(10000000 + i);
        std::copy(number.begin(), number.end(), payload.begin());
        ann.broadcast(payload);
        if (by_eve.take() != number) FAIL("eve was not served");  // so that only bob is ever full
    }
    std::uint64_t told = 0;
    while (const auto each = given_up.take(told == 0 ? patience : 0ms)) {
        CHECK(each->peer.id == bob.id());
        CHECK(each->reason == errc::outbox_full);
        told += each->messages;
    }
    CHECK(told > 0);
    std::uint64_t next = 0;
    std::uint64_t lost = 0;
    while (next < messages) {
        const auto message = bob.inbox().receive_for(patience);
        REQUIRE(message.has_value());
        if (message->lost() != 0) {
            lost += message->lost();
            next += message->lost();
        } else {
            CHECK(message->text().substr(0, 8) == std::to_string(10000000 + next));
            ++next;
        }
    }
    CHECK(next == messages);
    CHECK(lost == ann.stats().messages_given_up);
    CHECK(lost == bob.stats().messages_lost);
}

TEST_CASE("node: a handler gets what is in the inbox first, then what comes, and clearing it returns to the inbox") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    for (int i = 0; i < 100; ++i) ann.broadcast(std::to_string(i));
    // What was acknowledged is in the inbox.
    ann.broadcast("last before");
    Events<std::string> heard;
    bob.on_message([&](const Message& message) { heard.put(std::string(message.text())); });
    for (int i = 0; i < 100; ++i) CHECK(heard.take() == std::to_string(i));
    CHECK(heard.take() == "last before");
    ann.broadcast("with handler");
    CHECK(heard.take() == "with handler");
    CHECK_FALSE(bob.inbox().try_receive().has_value());
    bob.on_message({});
    ann.broadcast("without");
    const auto message = bob.inbox().receive_for(patience);
    REQUIRE(message.has_value());
    CHECK(message->text() == "without");
    CHECK(heard.size() == 0);
}

TEST_CASE("node: a handler that replaces itself in the middle of a batch loses nothing") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    Events<std::string> heard;
    bob.on_message([&](const Message& message) {
        heard.put("first " + std::string(message.text()));
        bob.on_message([&](const Message& later) { heard.put("second " + std::string(later.text())); });
    });
    for (int i = 0; i < 1000; ++i) ann.broadcast(std::to_string(i));
    CHECK(heard.take() == "first 0");
    for (int i = 1; i < 1000; ++i) CHECK(heard.take() == "second " + std::to_string(i));
}

TEST_CASE("node: a handler is not running any more when on_message returns") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    Events<int> entered;
    auto alive = std::make_unique<std::atomic<bool>>(true);
    std::atomic<bool> seen_dead{false};
    bob.on_message([&, alive = alive.get()](const Message&) {
        entered.put(0);
        if (!*alive) seen_dead = true;
    });
    std::jthread sender([&] {
        for (int i = 0; i < 10000; ++i) ann.broadcast("x");
    });
    REQUIRE(entered.take().has_value());
    bob.on_message({});
    *alive = false;
    sender.join();
    CHECK_FALSE(seen_dead);
}

TEST_CASE("node: a handler that throws is logged and counted, and called again for the next message") {
    Lines lines;
    Options options = quick();
    options.log = lines.sink();
    Node ann(quick());
    Node bob(options);
    ann.add(bob.address());
    Events<std::string> heard;
    bob.on_message([&](const Message& message) {
        heard.put(std::string(message.text()));
        if (message.text() == "one") throw std::runtime_error("this message is bad");
        if (message.text() == "two") throw 2;
    });
    ann.broadcast("one");
    ann.broadcast("two");
    ann.broadcast("three");
    CHECK(heard.take() == "one");
    CHECK(heard.take() == "two");
    CHECK(heard.take() == "three");
    CHECK(lines.wait_for("this message is bad"));
    CHECK(bob.stats().handler_exceptions == 2);
}

TEST_CASE("node: tags are published, and changes of them are seen") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    Events<Tags> seen;
    const Subscription subscription = ann.on_peers_changed([&](const std::vector<Peer>& peers) {
        if (!peers.empty()) seen.put(peers[0].tags);
    });
    bob.set_tags({{"zone", "north"}});
    std::optional<Tags> tags;
    do {
        tags = seen.take();
        REQUIRE(tags.has_value());
    } while (tags->empty());
    CHECK(*tags == Tags{{"zone", "north"}});
    CHECK(ann.peer(bob.id())->tags == *tags);
    CHECK_THROWS_AS(bob.set_tags({{std::string(65, 'k'), "v"}}), std::system_error);
}

TEST_CASE("node: who is removed is out of view on both sides until it is added again") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    Events<RemovalReason> by_ann;
    Events<RemovalReason> by_bob;
    const Subscription one = ann.on_peer_removed([&](const Peer&, RemovalReason reason) { by_ann.put(reason); });
    const Subscription two = bob.on_peer_removed([&](const Peer&, RemovalReason reason) { by_bob.put(reason); });
    CHECK(ann.remove(bob.id()));
    CHECK(ann.peers().empty());
    const std::vector<Peer> all = ann.peers(everybody);
    REQUIRE(all.size() == 1);
    CHECK(all.front().id == bob.id());
    CHECK(all.front().name == bob.name());
    CHECK(all.front().address == bob.address());
    CHECK(all.front().state == PeerState::removed);
    CHECK(by_ann.take() == RemovalReason::removed);
    CHECK(by_bob.take() == RemovalReason::refused);
    CHECK(add_error(bob, ann.address().to_string()) == errc::removed);
    CHECK_FALSE(ann.remove(PeerId{}));
    CHECK(ann.add(bob.address()).id == bob.id());
    CHECK(ann.peers(everybody) == ann.peers());
    ann.broadcast("again");
    const auto message = bob.inbox().receive_for(patience);
    REQUIRE(message.has_value());
    CHECK(message->text() == "again");
}

TEST_CASE("node: nodes of two clusters do not link") {
    Options one = quick();
    one.cluster = "one";
    Options two = quick();
    two.cluster = "two";
    Node ann(one);
    Node bob(two);
    CHECK(add_error(ann, bob.address().to_string()) == errc::wrong_cluster);
    CHECK(ann.peers().empty());
    CHECK(bob.peers().empty());
}

TEST_CASE("node: closing waits for what was sent, tells the others, and leaves the inbox readable") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    Events<RemovalReason> reasons;
    const Subscription subscription = bob.on_peer_removed([&](const Peer& peer, RemovalReason reason) {
        CHECK(peer.id == ann.id());
        reasons.put(reason);
    });
    bob.broadcast("for ann");
    for (int i = 0; i < 1000; ++i) ann.broadcast(std::to_string(i));
    CHECK_FALSE(ann.close());
    CHECK_FALSE(ann.close());
    CHECK(reasons.take() == RemovalReason::left);
    CHECK(bob.peers().empty());
    for (int i = 0; i < 1000; ++i) {
        const auto message = bob.inbox().receive_for(patience);
        REQUIRE(message.has_value());
        CHECK(message->text() == std::to_string(i));
    }
    const auto message = ann.inbox().receive();
    REQUIRE(message.has_value());
    CHECK(message->text() == "for ann");
    CHECK_FALSE(ann.inbox().receive().has_value());
    CHECK(ann.inbox().at_end());
}

TEST_CASE("node: after closing everything says so and nothing waits") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    ann.close();
    std::error_code error;
    CHECK(ann.broadcast("x", error) == 0);
    CHECK(error == errc::closed);
    ann.send(bob.id(), "x", error);
    CHECK(error == errc::closed);
    CHECK(ann.try_broadcast("x").error == errc::closed);
    CHECK(add_error(ann, bob.address().to_string()) == errc::closed);
    CHECK_FALSE(ann.wait_for_peers(1, patience));
    CHECK_FALSE(ann.remove(bob.id()));
    CHECK(ann.peers().empty());
    ann.set_tags({});
    ann.on_message([](const Message&) {});
    CHECK(ann.stats().links == 0);
}

TEST_CASE("node: all who close at the same time get the same result") {
    Options impatient = quick();
    impatient.linger = 100ms;
    impatient.inbox_bytes = 1 << 20;
    impatient.max_message = 1 << 16;
    impatient.max_peers = 4;
    Node ann(impatient);
    Node bob(impatient);
    ann.add(bob.address());
    while (ann.try_broadcast(std::string(1 << 14, 'x'))) {
        if (ann.stats().messages_sent == 200) break;  // more than an inbox that nobody reads takes
    }
    std::vector<Unacknowledged> results(3);
    std::vector<std::jthread> closers;
    for (Unacknowledged& result : results) closers.emplace_back([&] { result = ann.close(); });
    for (std::jthread& closer : closers) closer.join();
    CHECK(results[0].peers == 1);
    CHECK(results[0].messages > 0);
    CHECK(results[0].bytes > results[0].messages << 14);
    for (const Unacknowledged& result : results) CHECK(result.messages == results[0].messages);
}

TEST_CASE("node: stats count what happened, by peer too") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    REQUIRE(wait_for_dial_back(ann, bob));
    for (int i = 0; i < 10; ++i) ann.broadcast(std::string(100, 'x'));
    for (int i = 0; i < 10; ++i) REQUIRE(bob.inbox().receive_for(patience).has_value());
    const Stats by_bob = bob.stats();
    CHECK(by_bob.peers == 1);
    CHECK(by_bob.messages_received == 10);
    CHECK(by_bob.links == 1);
    REQUIRE(by_bob.by_peer.size() == 1);
    CHECK(by_bob.by_peer[0].id == ann.id());
    CHECK(by_bob.by_peer[0].name == ann.name());
    CHECK(by_bob.by_peer[0].bytes_received == 10 * 108);
    const Stats by_ann = ann.stats();
    CHECK(by_ann.messages_sent == 10);
    CHECK(by_ann.dials == 1);
    CHECK(by_ann.by_peer.at(0).bytes_sent == 10 * 108);
    CHECK(to_prometheus(by_ann).find("messages_sent") != std::string::npos);
}

TEST_CASE("node: the log gets one line per event with the name of the node, and what it throws is its own matter") {
    Lines lines;
    Options options = quick();
    options.name = "bob";
    options.log = [sink = lines.sink()](LogLevel level, std::string_view text) {
        sink(level, text);
        throw std::runtime_error("a log that fails");
    };
    Options other = quick();
    other.cluster = "another";
    Node ann(other);
    Node bob(options);
    add_error(ann, bob.address().to_string());
    CHECK(lines.wait_for("node=bob"));
    Node eve(quick());
    CHECK(eve.add(bob.address()).name == "bob");
}
