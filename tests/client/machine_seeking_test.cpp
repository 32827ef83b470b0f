#include "client/client.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

using namespace cluster;
using namespace cluster::client;
using namespace std::chrono_literals;

// How a client finds the leader. Peers and hosts have numbers.

namespace {

MachineOptions guest(std::uint8_t addresses) {
    MachineOptions options;
    for (std::uint8_t i = 1; i <= addresses; ++i) options.addresses.push_back(address(i));
    return options;
}

NotLeader leads(std::uint8_t who) {
    return {peer(who), {address(who)}};
}

/// How often it asks within that time.
std::size_t asked_within(Client& client, Duration time) {
    client.told();
    client.run(time);
    return std::exchange(client.tells, {}).size();
}

}  // namespace

TEST_CASE("client: it dials its addresses in turn until one answers") {
    Client client(guest(3));
    CHECK(client.linked() == "dial host1");
    client.dial_failed(address(1));
    CHECK(client.linked() == "dial host2");
    client.dial_failed(address(1));  // comes twice
    CHECK(client.linked() == "");
    client.came(2, address(2));
    CHECK(client.told() == "2: Open");
}

TEST_CASE("client: why no node can be reached is told with the address that was dialled last") {
    Client client(guest(2));
    client.linked();
    client.dial_failed(address(1), "another secret");
    client.linked();
    client.dial_failed(address(2), "another secret still");
    CHECK(client.state.why == "no node can be reached; host2:7000: another secret still");
    CHECK(client.state.error == errc::no_leader);
}

TEST_CASE("client: who does not answer within a second is left for the next one") {
    Client client(guest(3));
    client.linked();
    client.run(999ms);
    CHECK(client.linked() == "");
    client.run(1ms);
    CHECK(client.linked() == "dial host2");
    client.came(2, address(2));
    CHECK(client.told() == "2: Open");
    client.run(999ms);
    CHECK(client.linked() == "");
    client.run(1ms);
    CHECK(client.linked() == "dial host3");
}

TEST_CASE("client: a dial that took too long is as good as the one that is under way") {
    Client client(guest(2));
    client.run(1s);
    CHECK(client.linked() == "dial host1; dial host2");
    client.came(1, address(1));
    CHECK(client.told() == "1: Open");
    client.came(2, address(2));
    CHECK(client.told() == "");
    client.hears(1, NotLeader{});
    client.run(3s);
    CHECK(client.told().find("2: Open") != std::string::npos);  // its link is used, not dialled again
    CHECK(client.linked() == "");
}

TEST_CASE("client: after a round in vain it waits, each time longer, at most a second") {
    Client client(guest(1));
    const auto pause = [&] {
        client.linked();
        client.dial_failed(address(1));
        const Time from = client.now;
        while (client.linked().empty()) client.run(1ms);
        return client.now - from;
    };
    Duration last = pause();
    CHECK((last >= 37ms && last <= 51ms));
    for (const Duration most : {101ms, 201ms, 401ms, 801ms, 1001ms, 1001ms}) {
        last = pause();
        CHECK((last >= (most - 1ms) * 3 / 4 && last <= most));
    }
    CHECK(client.happened() == "connecting no_leader");
    CHECK(client.state.why == "no node can be reached; host1:7000: connection refused");
}

TEST_CASE("client: a leader that is named is asked next, over the link that there is or at its addresses") {
    Client client(guest(3));
    client.came(1, address(1));
    client.told();
    client.linked();
    client.hears(1, NotLeader{peer(3), {{"elsewhere", 1}, address(3)}});
    CHECK(client.linked() == "dial elsewhere");
    client.dial_failed({"elsewhere", 1});
    CHECK(client.linked() == "dial host3");
    client.came(3, address(3));
    CHECK(client.told() == "3: Open");
    client.hears(3, leads(1));
    CHECK(client.told() == "1: Open");
    CHECK(client.linked() == "");
}

TEST_CASE("client: nodes that name each other are not asked without a pause") {
    Client client;
    client.came(1);
    client.came(2);
    std::size_t asked = 0;
    for (const Time end = client.now + 1s; client.now < end; client.run(1ms)) {
        for (int i = 0; i < 10; ++i) {
            for (const Tell& each : std::exchange(client.tells, {})) {
                ++asked;
                client.hears(each.to.bytes[0], leads(each.to == peer(1) ? 2 : 1));
            }
        }
    }
    CHECK(asked > 20);
    CHECK(asked < 80);
}

TEST_CASE("client: a node that knows no leader is asked again soon, and left after a second") {
    Client client;
    client.came(1);
    client.came(2);
    CHECK(client.told() == "1: Open");
    client.hears(1, NotLeader{});
    client.run(10ms);
    CHECK(client.told() == "1: Open");
    std::string all;
    const Time from = client.now;
    while (all.find("2: Open") == std::string::npos && client.now < from + 3s) {
        client.hears(1, NotLeader{});
        client.run(5ms);
        all += client.told();
    }
    CHECK(client.now - from >= 900ms);
    CHECK(client.now - from <= 1200ms);
    CHECK(std::count(all.begin(), all.end(), 'O') >= 10);
    CHECK(std::count(all.begin(), all.end(), 'O') <= 30);
}

TEST_CASE("client: who was said to lead and does not answer is not sought again in this round") {
    Client client(guest(2));
    client.came(1, address(1));
    client.linked();
    client.hears(1, leads(9));
    CHECK(client.linked() == "dial host9");
    client.run(1s);
    CHECK(client.linked() == "dial host2");
    client.came(2, address(2));
    client.told();
    client.hears(2, leads(9));
    CHECK(client.linked() == "");
    client.run(10ms);
    CHECK(client.told() == "2: Open");
}

TEST_CASE("client: who was said to lead and does not answer is sought again when others have named it for a second") {
    Client client(guest(5));
    client.came(1, address(1));
    client.hears(1, leads(9));
    client.run(1s);
    client.came(2, address(2));
    client.linked();
    client.told();
    for (Duration passed{}; passed < 1100ms; passed += 5ms) {
        client.hears(2, leads(9));
        client.run(5ms);
    }
    CHECK(client.linked() == "dial host3");
    client.came(3, address(3));
    client.linked();
    client.hears(3, leads(9));
    CHECK(client.linked() == "dial host9");
}

TEST_CASE("client: in the next round who was said to lead is sought again") {
    Client client(guest(2));
    client.came(1, address(1));
    client.hears(1, leads(9));
    client.run(1s);
    client.dial_failed(address(2));
    client.linked();
    for (int i = 0; i < 50; ++i) {
        client.run(100ms);
        if (!std::exchange(client.tells, {}).empty()) client.hears(1, leads(9));
    }
    CHECK(client.linked().find("dial host9") != std::string::npos);
}

TEST_CASE("client: what it was told about the leader before it found it counts no more") {
    Client client(guest(1));
    client.came(1, address(1));
    client.hears(1, NotLeader{peer(3), {address(3), address(4)}});
    client.came(3, address(3));
    client.hears(3, Opened{7});
    client.linked();
    client.went(3);
    CHECK(client.linked() == "dial host1");
}

TEST_CASE("client: after it has found the leader its pauses are short again") {
    Client client(guest(1));
    for (int i = 0; i < 10; ++i) {
        client.dial_failed(address(1));
        client.run(1s);
    }
    client.came(1, address(1));
    client.hears(1, Opened{7});
    client.went(1);
    client.dial_failed(address(1));
    client.linked();
    client.run(50ms);
    CHECK(client.linked() == "dial host1");
}

TEST_CASE("client: inside of a node nobody is dialled, and its own node is asked first") {
    Client client;
    client.machine.prefer(peer(5));
    client.came(5);
    CHECK(client.told() == "5: Open");
    client.came(3);
    client.came(4);
    CHECK(client.told() == "");
    client.hears(5, leads(4));
    CHECK(client.told() == "4: Open");
    client.hears(4, Opened{7});
    client.went(4);
    CHECK(client.told() == "5: Attach 7(0,0)");
    client.hears(5, leads(9));  // not in view
    CHECK(client.told() == "3: Attach 7(0,0)");
    client.came(9);
    client.hears(3, leads(9));
    CHECK(client.told() == "9: Attach 7(0,0)");
    CHECK(client.linked() == "");
}

TEST_CASE("client: inside of a node in whose view is nobody it begins as soon as one comes") {
    Client client;
    client.run(10s);
    CHECK(client.told() == "");
    CHECK(client.state.why == "no node can be reached");
    client.came(4);
    CHECK(client.told() == "4: Open");
}

TEST_CASE("client: a guest keeps one link, and two while it seeks") {
    Client client(guest(4));
    client.came(1, address(1));
    client.hears(1, leads(2));
    client.came(2, address(2));
    client.linked();
    client.hears(2, leads(3));
    client.came(3, address(3));
    CHECK(client.linked() == "dial host3; drop 1");
    client.hears(3, Opened{7});
    CHECK(client.linked() == "drop 2");
    client.came(4, address(4));
    CHECK(client.linked() == "drop 4");
    client.came(3, Address{"same", 1});
    CHECK(client.linked() == "");
}

TEST_CASE("client: when the node of the leader is lost the others are tried before its address") {
    Client client(guest(2));
    client.came(1, address(1));
    client.hears(1, Opened{7});
    client.linked();
    client.happened();
    client.went(1);
    CHECK(client.linked() == "dial host2");
    CHECK(client.happened() == "seeking no_leader");
    client.dial_failed(address(2));
    CHECK(client.linked() == "dial host1");
}

TEST_CASE("client: if nobody has the group the state says so, and it goes on") {
    Client client(guest(2));
    client.came(1, address(1));
    client.hears(1, Refused{Refusal::no_such_group, {}});
    client.came(2, address(2));
    CHECK(client.told() == "1: Open; 2: Open");
    client.hears(2, Refused{Refusal::no_such_group, {}});
    CHECK(client.state.why == "no replica of group \"orders\" runs on any node that was asked");
    client.run(50ms);
    CHECK(client.told() == "1: Open");
}

TEST_CASE("client: it ends when nobody has led for longer than it is to wait") {
    MachineOptions options;
    options.give_up_after = 5s;
    Client client(std::move(options));
    client.came(1);
    client.hears(1, Opened{7});
    client.run(20s);
    client.call(1, "one");
    client.went(1);
    client.call(2, "two");
    client.happened();
    client.run(4900ms);
    CHECK(client.ends == 0);
    client.run(100ms);
    CHECK(client.happened() == "ended no_leader; 1 failed: outcome_unknown; 2 failed: no_leader; over");
}

TEST_CASE("client: a message of a peer that was not asked, or not last, changes nothing") {
    Client client;
    client.came(1);
    client.came(2);
    client.hears(2, Opened{5});
    CHECK(client.state.state == State::connecting);
    client.run(1s);  // now the other one is asked
    client.hears(1, Opened{5});
    client.hears(1, Refused{Refusal::rejected, {}});
    client.hears(1, Closed{CloseReason::slow});
    CHECK(client.state.state == State::connecting);
    client.hears(2, Opened{6});
    client.call(1, "one");
    client.told();
    client.hears(1, Reply{1, 1, bytes("no")});
    client.hears(1, Push{1, 1, bytes("no")});
    client.hears(1, Busy{1});
    client.hears(1, Detached{});
    client.hears(1, leads(1));
    CHECK(client.told() == "");
    CHECK(client.pushes.empty());
    client.hears(2, Reply{1, 1, bytes("yes")});
    CHECK(client.happened() == "attached; 1 yes");
}

TEST_CASE("client: a challenge is answered by the application, and a late answer goes nowhere") {
    Client client;
    client.came(1);
    client.hears(1, Challenge{"what"});
    REQUIRE(client.challenges.size() == 1);
    CHECK(client.challenges[0].challenge == "what");
    client.told();
    client.run(9s);  // people may be asked
    CHECK(client.told() == "");
    client.respond(client.challenges[0].number, "that");
    CHECK(client.told() == "1: Response that");
    client.respond(client.challenges[0].number, "that");
    CHECK(client.told() == "");
    client.run(1500ms);
    client.hears(1, Challenge{"and"});
    REQUIRE(client.challenges.size() == 2);
    client.told();
    client.respond(client.challenges[0].number, "late");
    CHECK(client.told() == "");
    client.run(10500ms);
    CHECK(client.told() == "1: Open");
    client.respond(client.challenges[1].number, "late");
    CHECK(client.told() == "");
    client.hears(1, Challenge{"again"});
    REQUIRE(client.challenges.size() == 3);
    client.respond(client.challenges[2].number, "this");
    CHECK(client.told() == "1: Response this");
    client.hears(1, Opened{7});
    CHECK(client.state.state == State::attached);
}

TEST_CASE("client: an answer to a challenge that is too long is not cut short, but empty") {
    for (const std::size_t beyond : {std::size_t{0}, std::size_t{1}}) {
        Client client;
        client.came(1);
        client.hears(1, Challenge{"what"});
        client.told();
        const std::string answer((std::size_t{16} << 10) + beyond, 'a');
        client.respond(client.challenges[0].number, answer);
        CHECK(client.told() == "1: Response " + (beyond == 0 ? answer : ""));
    }
}

TEST_CASE("client: credentials that are not accepted end it, and so do too many sessions") {
    for (const auto& [reason, text] :
         {std::pair(Refusal::rejected, "ended rejected; 1 failed: rejected; over"),
          std::pair(Refusal::full, "ended too_many_sessions; 1 failed: too_many_sessions; over")}) {
        Client client;
        client.call(1, "one");
        client.came(1);
        client.hears(1, Refused{reason, "go away"});
        CHECK(client.happened() == text);
        CHECK(client.state.why == "go away");
        CHECK(asked_within(client, 10s) == 0);
    }
}

TEST_CASE("client: when nothing can be sent to the leader it is asked again a little later") {
    Client client;
    client.came(1);
    client.came(2);
    client.hears(1, Opened{7});
    client.run(1s);
    client.told();
    client.call(1, "one");
    client.not_sent(1);
    client.not_sent(1);
    CHECK(client.told() == "1: Ask 1(0,0) one");
    client.run(10ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, Attached{0, 1000});
    CHECK(client.told() == "1: Ask 1(0,0) one");
    // Longer each time, until something comes again.
    client.not_sent(1);
    client.run(14ms);
    CHECK(client.told() == "");
    client.run(6ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, Attached{0, 1000});
    client.hears(1, Reply{1, 1, {}});
    client.told();
    client.not_sent(1);
    client.run(10ms);
    CHECK(client.told() == "1: Attach 7(1,0)");
    // If that lasts, somebody else is asked.
    client.not_sent(1);
    for (int i = 0; i < 20; ++i) {
        client.run(100ms);
        if (!client.tells.empty() && client.tells.back().to == peer(1)) client.not_sent(1);
    }
    CHECK(client.told().find("2: Attach") != std::string::npos);
}
