#include "core/own_addresses.hpp"

#include "base/random.hpp"
#include "core/frame.hpp"
#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace cluster::core::test {

namespace {

using Addresses = std::vector<Address>;

Addresses at(std::initializer_list<const char*> hosts) {
    Addresses addresses;
    for (const char* host : hosts) addresses.push_back({host, 7000});
    return addresses;
}

/// A machine with nine bridges, whose network card the system names last.
Addresses bridges_first() {
    Addresses all;
    for (int i = 0; i < 9; ++i) all.push_back({"172.17." + std::to_string(i) + ".1", 7000});
    all.push_back({"192.168.1.5", 7000});
    all.push_back({"127.0.0.1", 7000});
    return all;
}

}  // namespace

TEST_CASE("own addresses: without witnesses those of the system in its order, loopback last, at most eight") {
    CHECK(OwnAddresses(at({"127.0.0.1", "10.0.0.1", "172.17.0.1"})).published() ==
          at({"10.0.0.1", "172.17.0.1", "127.0.0.1"}));
    CHECK(OwnAddresses(bridges_first()).published().size() == max_addresses);
    CHECK(OwnAddresses({}).published().empty());
}

TEST_CASE("own addresses: what one peer saw comes first and is never cut off, loopback stays last") {
    OwnAddresses own(bridges_first());
    own.observed(id_of(2), "192.168.1.9", "192.168.1.5");
    own.observed(id_of(3), "127.0.0.1", "127.0.0.1");
    const Addresses published = own.published();
    CHECK(published.size() == max_addresses);
    CHECK(published.front() == Address{"192.168.1.5", 7000});
    CHECK(published.back() == Address{"127.0.0.1", 7000});
}

TEST_CASE("own addresses: one that the interface loses is published no more, however often it changes") {
    OwnAddresses own(at({"10.0.0.1", "127.0.0.1"}));
    for (int i = 2; i < 20; ++i) {
        const std::string host = "10.0.0." + std::to_string(i);
        own.listen({{host, 7000}, {"127.0.0.1", 7000}});
        own.observed(id_of(2), "10.0.0.99", host);
        CHECK(own.published() == Addresses{{host, 7000}, {"127.0.0.1", 7000}});
        CHECK(own.listens_on({host, 7000}));
        CHECK_FALSE(own.listens_on({"10.0.0." + std::to_string(i - 1), 7000}));
    }
}

TEST_CASE("own addresses: a host of no interface takes two peers on different hosts, and goes with the last of them") {
    OwnAddresses own(at({"192.168.1.5"}));
    own.observed(id_of(2), "203.0.113.2", "198.51.100.7");
    CHECK(own.published() == at({"192.168.1.5"}));
    own.observed(id_of(3), "203.0.113.2", "198.51.100.7");  // another peer, but on the same host
    CHECK(own.published() == at({"192.168.1.5"}));
    own.observed(id_of(4), "203.0.113.4", "198.51.100.7");
    CHECK(own.published() == at({"198.51.100.7", "192.168.1.5"}));
    CHECK_FALSE(own.listens_on({"198.51.100.7", 7000}));  // it may lead to somebody else
    own.forget(id_of(4));
    own.observed(id_of(3), "203.0.113.2", "192.168.1.5");
    CHECK(own.published() == at({"192.168.1.5", "198.51.100.7"}));
    own.forget(id_of(2));
    CHECK(own.published() == at({"192.168.1.5"}));
    own.observed(id_of(2), "203.0.113.2", "198.51.100.7");
    CHECK(own.published() == at({"192.168.1.5"}));
}

TEST_CASE("own addresses: six invented hosts of one liar are not published, nor is nonsense of many") {
    OwnAddresses own(at({"10.0.0.1", "127.0.0.1"}));
    for (int i = 0; i < 6; ++i) own.observed(id_of(2), "10.0.0.2", "198.51.100." + std::to_string(i));
    for (const char* nonsense : {"", "example.org", "0.0.0.0", "::", "127.0.0.9", "::1", "169.254.1.1", "fe80::1",
                                 "2001:db8::1", "10.0.0.1%eth0"}) {
        for (std::uint8_t i = 3; i < 9; ++i) own.observed(id_of(i), "10.0.0." + std::to_string(i), nonsense);
        CHECK(own.published() == at({"10.0.0.1", "127.0.0.1"}));
    }
}

TEST_CASE("own addresses: one that needs a zone is published without it, and only when a peer saw this node there") {
    OwnAddresses own({{"fe80::1%eth0", 7000}, {"::1", 7000}});
    CHECK(own.published() == at({"::1"}));
    own.observed(id_of(2), "fe80::2%wlan0", "fe80::1%eth7");
    CHECK(own.published() == at({"fe80::1", "::1"}));
    CHECK(own.listens_on({"fe80::1%eth0", 7000}));
}

TEST_CASE("own addresses: whatever witnesses say, come and go, the rules hold") {
    Dice dice(3);
    const auto host = [&](std::uint64_t kinds) {
        return (dice.below(2) != 0 ? "10.0.0." : "198.51.100.") + std::to_string(dice.below(kinds));
    };
    OwnAddresses own({});
    Addresses system;
    std::map<PeerId, std::pair<std::string, std::string>> words;
    std::set<std::string> agreed;
    for (int step = 0; step < 20000; ++step) {
        const PeerId witness = id_of(static_cast<std::uint8_t>(dice.below(6)));
        switch (dice.below(8)) {
            case 0: {
                system.clear();
                std::set<std::string> hosts;
                for (std::uint64_t i = dice.below(12); i != 0; --i) hosts.insert("10.0.0." + std::to_string(i));
                for (const std::string& each : hosts) system.push_back({each, 7000});
                own.listen(system);
                break;
            }
            case 1:
                words.erase(witness);
                own.forget(witness);
                break;
            default: {
                words[witness] = {"192.0.2." + std::to_string(dice.below(4)), host(6)};
                own.observed(witness, words[witness].first, words[witness].second);
            }
        }
        const auto on_interface = [&](const std::string& each) {
            return std::any_of(system.begin(), system.end(), [&](const Address& own_one) {
                return own_one.host == each;
            });
        };
        const auto named = [&](const std::string& each) {
            std::set<std::string> from;
            for (const auto& [id, word] : words) {
                if (word.second == each) from.insert(word.first);
            }
            return from.size();
        };
        for (const auto& [id, word] : words) {
            if (named(word.second) >= 2) agreed.insert(word.second);
        }
        std::erase_if(agreed, [&](const std::string& each) { return named(each) == 0; });

        const Addresses published = own.published();
        REQUIRE(published.size() <= max_addresses);
        const std::set<Address> once(published.begin(), published.end());
        REQUIRE(once.size() == published.size());
        bool unseen_before = false;
        for (const Address& each : published) {
            REQUIRE((on_interface(each.host) || agreed.contains(each.host)));
            const bool seen = named(each.host) != 0;
            REQUIRE_FALSE((seen && unseen_before));
            unseen_before = unseen_before || !seen;
        }
        for (const Address& each : system) {
            if (named(each.host) != 0) REQUIRE(once.contains(each));
        }
    }
}

// In the engine.

TEST_CASE("a host that two peers see in place of this node's own is told to all, until none of them is left") {
    Lab lab;
    lab.options.publish_observed = true;
    Node& node = lab.start(1);
    Puppet& first = lab.puppet(node, 2);
    first.hello.observed = {"198.51.100.7", 50000};
    first.join();
    lab.advance(1s);
    CHECK(node->self().addresses == Addresses{node.address});
    Puppet& second = lab.puppet(node, 3);
    second.hello.observed = {"198.51.100.7", 50001};
    second.join();
    const Addresses both = {{"198.51.100.7", 7000}, node.address};
    CHECK(node->self().addresses == both);
    lab.advance(10ms);
    const std::vector<Facts> told = first.last<PeerList>().peers;
    const auto own = std::find_if(told.begin(), told.end(), [&](const Facts& each) { return each.id == node.id; });
    REQUIRE(own != told.end());
    CHECK(own->addresses == both);
    first.hang_up();
    second.hang_up();
    REQUIRE(lab.wait([&] { return node->peer_count() == 0; }));
    CHECK(node->self().addresses == Addresses{node.address});
}

TEST_CASE("where a host listens now is told to its peers, and a seed that was itself leads to who took its address") {
    Lab lab;
    lab.options.publish_observed = true;
    lab.options.seeds = {{"10.0.0.1", 7000}};
    Node& node = lab.start(1);
    lab.options.seeds.clear();
    Node& peer = lab.start(2);
    lab.join(node, peer);
    const Address before = node.address;
    const Address after{"10.0.0.77", 7000};
    node.address = after;
    node->listening({after}, {}, lab.now);
    lab.settle();
    CHECK(node->self().addresses == Addresses{after});
    lab.advance(10ms);
    CHECK(peer->whereabouts().value().front().addresses.back() == after);
    lab.play(before, 9);
    REQUIRE(lab.wait([&] { return lab.puppet_count() == 1; }));
    lab.last_puppet().join();
    CHECK(node.sees(id_of(9)));
}

TEST_CASE("a seed that leads to this node by a translated address is asked again, until somebody else is there") {
    Lab lab;
    const Address outside{"198.51.100.7", 7000};
    lab.options.self.addresses = {outside};
    lab.options.listening = {{"10.0.0.1", 7000}};
    lab.options.seeds = {outside};
    Node& node = lab.start(1);
    const Address inside = std::exchange(node.address, outside);  // who dials the outside gets here
    lab.advance(60s);
    const std::size_t in_vain = lab.dialled.size();
    CHECK(in_vain > 1);
    CHECK(in_vain < 30);
    node.address = inside;
    lab.play(outside, 9);
    REQUIRE(lab.wait([&] { return lab.puppet_count() == 1; }));
    lab.last_puppet().join();
    CHECK(node.sees(id_of(9)));
}

TEST_CASE("however many addresses stand behind the name of a seed, each of them is dialled") {
    Lab lab;
    lab.options.seeds = {{"all.example", 7000}};
    lab.hold_resolving = true;
    Node& node = lab.start(1);
    REQUIRE(lab.wait([&] { return lab.resolving.size() == 1; }));
    Addresses all;
    for (int i = 0; i < 40; ++i) all.push_back({"10.1.0." + std::to_string(i), 7000});
    node->resolved(lab.resolving.front().first, all, {}, lab.now);
    REQUIRE(lab.wait([&] { return lab.dialled.size() >= all.size(); }));
    std::set<Address> dialled;
    for (const auto& each : lab.dialled) dialled.insert(each.address);
    CHECK(dialled == std::set<Address>(all.begin(), all.end()));
}

TEST_CASE("a link-local address is dialled over each of this host's own interfaces, and told without any") {
    Lab lab;
    lab.options.zones = {"eth0", "wlan0"};
    lab.options.self.addresses = {{"fe80::1%eth0", 7000}};
    lab.hold_dials = true;
    Node& node = lab.start(1);
    lab.play({"fe80::2%wlan0", 7000}, 2);
    node.add({"fe80::2", 7000});
    lab.advance(300ms);
    const auto dials = lab.take_dials();
    REQUIRE(dials.size() == 2);
    CHECK(dials[0].address == Address{"fe80::2%eth0", 7000});
    CHECK(dials[1].address == Address{"fe80::2%wlan0", 7000});
    lab.complete(dials[1]);
    Puppet& peer = lab.last_puppet();
    peer.from = dials[1].address;
    peer.hello.self.addresses = {{"fe80::2%en5", 7000}};
    peer.join();
    CHECK(peer.last<Hello>().observed.host == "fe80::2");
    CHECK(peer.last<Hello>().self.addresses == Addresses{{"fe80::1", 7000}});
    REQUIRE(node.sees(peer.id));
    CHECK(node->peer(peer.id)->address == dials[1].address);
    // A third one, named by the second with a zone of its own.
    Facts third = peer.hello.self;
    third.id = id_of(3);
    third.addresses = {{"fe80::3%en5", 7000}};
    peer.say(PeerList{{third}});
    lab.advance(2s);
    std::set<std::string> hosts;
    for (const auto& each : lab.take_dials()) {
        if (each.address.host.starts_with("fe80::3")) hosts.insert(each.address.host);
    }
    CHECK(hosts == std::set<std::string>{"fe80::3%eth0", "fe80::3%wlan0"});
}

TEST_CASE("a node on loopback that dials other hosts says once what to change, and others say nothing") {
    Lab lab;
    lab.options.self.addresses = {{"127.0.0.1", 7000}};
    lab.options.seeds = {{"10.0.0.8", 7000}, {"10.0.0.9", 7000}};
    Node& node = lab.start(1);
    lab.advance(60s);
    CHECK(node.said("listens_on_loopback") == 1);
    CHECK(node.said("set Options::listen") == 1);
    lab.options.seeds = {{"127.0.0.1", 7001}, {"::1", 7001}};
    Node& alone = lab.start(2);
    lab.options.self.addresses = {{"10.0.0.3", 7000}};
    lab.options.seeds = {{"10.0.0.8", 7000}};
    Node& reached = lab.start(3);
    lab.advance(60s);
    CHECK(alone.said("listens_on_loopback") == 0);
    CHECK(reached.said("listens_on_loopback") == 0);
}

}  // namespace cluster::core::test
