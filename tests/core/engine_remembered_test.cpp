#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

const Address second{"10.0.0.2", 7000};

}  // namespace

TEST_CASE("remembered: an address is dialled again and again, quietly, until a peer is there") {
    Lab lab;
    lab.options.remembered = {second};
    Node& ann = lab.start(1);
    lab.advance(60s);
    CHECK(lab.dials_of(second) > 10);
    CHECK(lab.dials_of(second) < 30);
    CHECK(ann.said("remembered_unreachable address=10.0.0.2:7000") == lab.dials_of(second));
    CHECK(ann.said("seed_unreachable") == 0);
    lab.options.remembered.clear();
    Node& bob = lab.start(2);
    CHECK(lab.wait([&] { return ann.sees(bob.id) && bob.sees(ann.id); }, 10s));
}

TEST_CASE("remembered: once it has led to a peer that peer is sought, and not when it has left") {
    Lab lab;
    lab.options.remembered = {second};
    Node& ann = lab.start(1);
    lab.options.remembered.clear();
    Node& bob = lab.start(2);
    REQUIRE(lab.wait([&] { return ann.sees(bob.id); }));
    SUBCASE("it left") {
        bob->leave(lab.now);
        REQUIRE(lab.wait([&] { return !ann.sees(bob.id); }));
        const std::size_t before = lab.dialled.size();
        lab.advance(60s);
        CHECK(lab.dialled.size() == before);
    }
    SUBCASE("it failed") {
        lab.kill(bob);
        REQUIRE(lab.wait([&] { return !ann.sees(bob.id); }));
        lab.options.self.addresses = {second};
        Node& next = lab.start(3);  // started where the failed one was
        next.address = second;
        CHECK(lab.wait([&] { return ann.sees(next.id); }, 10s));
    }
}

TEST_CASE("remembered: several addresses of one peer end with it") {
    Lab lab;
    lab.options.remembered = {second, {"10.0.0.3", 7000}};
    lab.play(second, 2);
    lab.play({"10.0.0.3", 7000}, 2);
    Node& ann = lab.start(1);
    REQUIRE(lab.wait([&] { return lab.puppet_count() == 2; }));
    Puppet& puppet = lab.last_puppet();
    puppet.join();
    REQUIRE(ann.sees(puppet.id));
    puppet.say(Goodbye{Farewell::leaving, {{user_channel, 0, 0}}});
    puppet.hang_up();
    lab.advance(10s);
    REQUIRE_FALSE(ann.sees(puppet.id));
    lab.advance(60s);
    const std::size_t before = lab.dialled.size();
    lab.advance(60s);
    // The other one never said who it is, so it is still sought.
    CHECK(lab.dialled.size() > before);
    for (std::size_t i = before; i < lab.dialled.size(); ++i) CHECK(lab.dialled[i].address == second);
}

TEST_CASE("remembered: what nobody answered at is let go after forget_after") {
    Lab lab;
    lab.options.forget_after = 10min;
    lab.options.remembered = {second, {"10.0.0.3", 7000}};
    lab.start(1);
    lab.advance(599s);
    CHECK(lab.dials_of(second) > 100);
    lab.advance(10s);
    const std::size_t before = lab.dialled.size();
    lab.advance(600s);
    CHECK(lab.dialled.size() == before);
}

TEST_CASE("remembered: its own address and another cluster's node are left alone") {
    Lab lab;
    lab.options.remembered = {{"10.0.0.1", 7000}, second};
    lab.play(second, 2);
    Node& ann = lab.start(1);
    lab.advance(1s);
    REQUIRE(lab.puppet_count() == 1);
    Puppet& stranger = lab.last_puppet();
    stranger.hello.cluster = "another";
    stranger.say_hello();
    stranger.hang_up();
    lab.advance(60s);
    CHECK(lab.dialled.size() == 1);
    CHECK(lab.dialled.front().address == second);
    CHECK(ann->link_count() == 0);
}

TEST_CASE("remembered: many dead addresses keep nobody from a peer, and few are dialled at the same time") {
    Lab lab;
    for (int i = 0; i < 1000; ++i) {
        const Address dead{"10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250), 7000};
        lab.options.remembered.push_back(dead);
        lab.silent.insert(dead.to_string());
    }
    Node& ann = lab.start(1);
    lab.options.remembered.clear();
    Node& bob = lab.start(2);
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i) {
        lab.advance(100ms);
        most = std::max(most, ann->link_count());
    }
    CHECK(most == DialPlan::most_remembered);
    const std::uint64_t request = ann.add(bob.address);
    CHECK(lab.wait([&] { return ann.answers.contains(request); }, 100ms));
    CHECK(ann.sees(bob.id));
    // With a second for each that is silent, all have had their turn after a minute.
    lab.advance(60s);
    std::set<std::string> tried;
    for (const auto& dial : lab.dialled) {
        if (dial.node == &ann) tried.insert(dial.address.to_string());
    }
    CHECK(tried.size() == 1001);
}

TEST_CASE("remembered: many addresses that refuse leave the budget to others") {
    Lab lab;
    for (int i = 0; i < 1000; ++i) {
        lab.options.remembered.push_back({"10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250), 7000});
    }
    Node& ann = lab.start(1);
    lab.options.remembered.clear();
    Node& bob = lab.start(2);
    for (int i = 0; i < 50; ++i) {
        lab.advance(20ms);
        const std::size_t now = lab.dialled.size();
        CHECK(now <= DialPlan::burst - DialPlan::reserved + DialPlan::rate * 0.02 * (i + 1) + 1);
    }
    const std::uint64_t request = ann.add(bob.address);
    CHECK(ann.answers.contains(request));
}

TEST_CASE("remembered: what is to be remembered is where each peer in view was reached, then what it publishes") {
    Lab lab;
    Node& ann = lab.start(1);
    lab.options.self.addresses = {{"192.0.2.2", 7000}, second};
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    const auto known = ann->whereabouts();
    REQUIRE(known.has_value());
    const Whereabouts expected{bob.id, "node 2", {second, {"192.0.2.2", 7000}}};
    CHECK(*known == std::vector<Whereabouts>{expected});
    ann->leave(lab.now);
    CHECK_FALSE(ann->whereabouts().has_value());
}
