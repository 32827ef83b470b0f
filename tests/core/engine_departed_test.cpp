#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

/// A thousand processes, one after the other, join one node and are gone again.
struct Procession {
    Lab lab;
    Node* ann = nullptr;

    Procession() {
        lab.options.forget_after = 30min;
        ann = &lab.start(1);
    }
    PeerId id(std::size_t number) const {
        PeerId id = id_of(200);
        id.bytes[1] = static_cast<std::uint8_t>(number >> 8);
        id.bytes[2] = static_cast<std::uint8_t>(number);
        return id;
    }
    Address place(std::size_t number) const {
        return {"10.1." + std::to_string(number >> 8) + "." + std::to_string(number & 255), 7000};
    }
    /// It dials, is attached, and publishes where it listens.
    Puppet& come(std::size_t number, const Address& listens) {
        Puppet& puppet = lab.puppet(*ann, 200);
        puppet.id = puppet.hello.self.id = id(number);
        puppet.hello.self.addresses = {listens};
        puppet.join();
        return puppet;
    }
    void fail(Puppet& puppet) {
        puppet.hang_up();
        REQUIRE(lab.wait([&] { return !ann->sees(puppet.id); }, 10s));
    }
    void leave(Puppet& puppet) {
        puppet.say(Goodbye{Farewell::leaving, {{user_channel, 0, 0}}});
        puppet.hang_up();
        REQUIRE_FALSE(ann->sees(puppet.id));
    }
    /// The addresses dialled within `time`, each as often as it was.
    std::multiset<std::string> dialled_within(Duration time) {
        const std::size_t before = lab.dialled.size();
        lab.advance(time);
        std::multiset<std::string> addresses;
        for (std::size_t i = before; i < lab.dialled.size(); ++i) addresses.insert(lab.dialled[i].address.to_string());
        return addresses;
    }
    void check_nothing_is_left() {
        lab.advance(lab.options.forget_after + 1s);
        CHECK(dialled_within(10min).empty());
        CHECK((*ann)->link_count() == 0);
        CHECK((*ann)->peer_count() == 0);
        // All that is still due is what is due in a node that never met anybody.
        Lab other;
        other.options.forget_after = lab.options.forget_after;
        other.now = lab.now;
        Node& fresh = other.start(1);
        for (int i = 0; i < 100; ++i) {
            const Time step = (*ann)->deadline() - lab.now;
            CHECK(step > 0s);
            CHECK(step <= fresh->deadline() - other.now + lab.options.heartbeat);
            lab.advance(lab.options.heartbeat);
            other.advance(other.options.heartbeat);
        }
        Puppet& late = come(5000, place(5000));
        lab.advance(lab.options.heartbeat * 2);
        CHECK(late.last<Ping>().digest == Roster::digest((*ann)->self()) + Roster::digest(late.hello.self));
    }
};

}  // namespace

TEST_CASE("departed: a thousand that failed in as many places cost a bounded number of dials, then nothing") {
    Procession procession;
    for (std::size_t i = 0; i < 1000; ++i) procession.fail(procession.come(i, procession.place(i)));
    const std::multiset<std::string> dialled = procession.dialled_within(60s);
    const std::size_t known = 2 * procession.lab.options.max_peers;
    CHECK(std::set<std::string>(dialled.begin(), dialled.end()).size() <= known);
    CHECK(dialled.size() <= known * 60s / procession.lab.options.reconnect_max * 2);
    CHECK(dialled.count(procession.place(999).to_string()) > 0);
    CHECK(dialled.count(procession.place(0).to_string()) == 0);
    procession.check_nothing_is_left();
}

TEST_CASE("departed: a thousand that left are not dialled, and their ids are forgotten in time") {
    Procession procession;
    for (std::size_t i = 0; i < 1000; ++i) procession.leave(procession.come(i, procession.place(i)));
    CHECK(procession.dialled_within(60s).empty());
    Puppet& again = procession.lab.puppet(*procession.ann, 200);
    again.id = again.hello.self.id = procession.id(0);
    again.say_hello();
    CHECK(again.last<Refuse>().reason == Refusal::over);
    procession.check_nothing_is_left();
    CHECK(procession.ann->sees(procession.come(0, procession.place(0)).id));
}

TEST_CASE("departed: a thousand that failed in one place, one after the other, leave nothing behind") {
    Procession procession;
    const Address place = procession.place(7);
    for (std::size_t i = 0; i < 1000; ++i) procession.fail(procession.come(i, place));
    const std::multiset<std::string> dialled = procession.dialled_within(60s);
    CHECK(dialled.size() <= 2 * (60s / procession.lab.options.reconnect_max));  // as for one
    procession.check_nothing_is_left();
}
