#include "client/client.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::client;
using namespace std::chrono_literals;

// What a client does with its session. Peer 1 leads.

namespace {

/// It has opened session 7, a while ago.
struct Attached1 : Client {
    explicit Attached1(MachineOptions options = {}) : Client(std::move(options)) {
        came(1);
        came(2);
        hears(1, Opened{7});
        run(1s);
        told();
        happened();
    }
    /// Peer 2 leads now.
    void fail_over(std::uint64_t applied) {
        went(1);
        told();
        hears(2, client::Attached{applied, 1000});
    }
};

}  // namespace

TEST_CASE("client: the session is asked for under the same key everywhere") {
    MachineOptions options;
    options.session_timeout = 2500us * 1000;
    options.name = "ann";
    options.credentials = "secret";
    Client client(std::move(options));
    client.came(1);
    client.came(2);
    client.run(1s);
    REQUIRE(client.tells.size() == 2);
    const Open expected{"orders", {1, 2, 3}, 2500, "ann", "secret"};
    CHECK(std::get<Open>(client.tells[0].message) == expected);
    CHECK(std::get<Open>(client.tells[1].message) == expected);
}

TEST_CASE("client: commands wait for the session, and have numbers from 1 on") {
    Client client;
    client.call(10, "one");
    client.came(1);
    CHECK(client.cast("two") == errc{});
    CHECK(client.told() == "1: Open");
    client.hears(1, Opened{7});
    CHECK(client.told() == "1: Ask 1(0,0) one; 1: Ask 2(0,0) two");
    client.hears(1, Reply{1, 5, bytes("1st")});
    client.hears(1, Reply{2, 6, bytes("2nd")});
    CHECK(client.happened() == "attached; 10 1st");
    client.call(11, "three");
    CHECK(client.told() == "1: Ask 3(2,0) three");
}

TEST_CASE("client: the next leader is told what was received, and gets again what did not take effect there") {
    Attached1 client;
    for (std::uint64_t i = 1; i <= 5; ++i) client.call(i, std::to_string(i));
    client.hears(1, Reply{1, 1, bytes("a")});
    client.hears(1, Push{1, 1, bytes("push")});
    client.told();
    client.went(1);
    CHECK(client.told() == "2: Attach 7(1,1)");
    client.call(6, "6");
    CHECK(client.told() == "");
    client.hears(2, client::Attached{3, 1000});
    CHECK(client.told() == "2: Ask 4(1,1) 4; 2: Ask 5(1,1) 5; 2: Ask 6(1,1) 6");
    for (std::uint64_t i = 2; i <= 6; ++i) client.hears(2, Reply{i, i, bytes("b")});
    CHECK(client.happened() == "1 a; seeking no_leader; attached; 2 b; 3 b; 4 b; 5 b; 6 b");
}

TEST_CASE("client: no more commands are without a reply than may be") {
    MachineOptions options;
    options.max_outstanding = 2;
    Attached1 client(std::move(options));
    for (std::uint64_t i = 1; i <= 4; ++i) client.call(i, std::to_string(i));
    CHECK(client.told() == "1: Ask 1(0,0) 1; 1: Ask 2(0,0) 2");
    client.hears(1, Reply{1, 1, {}});
    CHECK(client.told() == "1: Ask 3(1,0) 3");
    client.fail_over(3);  // what has taken effect still has no reply
    CHECK(client.told() == "");
    client.hears(2, Reply{2, 1, {}});
    CHECK(client.told() == "2: Ask 4(2,0) 4");
}

TEST_CASE("client: the bytes of commands without a reply have a limit, but for one command") {
    MachineOptions options;
    options.max_outstanding_bytes = 10;
    Attached1 client(std::move(options));
    client.call(1, std::string(100, 'a'));
    client.call(2, "bbbbbb");
    client.call(3, "cccc");
    client.call(4, "d");
    CHECK(client.told() == "1: Ask 1(0,0) aaaaaaaa");
    client.hears(1, Reply{1, 1, {}});
    CHECK(client.told() == "1: Ask 2(1,0) bbbbbb; 1: Ask 3(1,0) cccc");
}

TEST_CASE("client: a leader that has no room gets the same commands again, later each time") {
    Attached1 client;
    client.call(1, "1");
    client.call(2, "2");
    client.call(3, "3");
    client.told();
    const auto pause = [&] {
        const Time from = client.now;
        client.hears(1, Busy{2});
        client.hears(1, Busy{3});
        client.call(4, "4", 2ms);
        while (client.tells.empty()) client.run(1ms);
        REQUIRE(client.tells.size() == 2);
        CHECK(std::get<Ask>(client.tells[0].message).number == 2);
        CHECK(std::get<Ask>(client.tells[1].message).number == 3);
        client.told();
        CHECK(client.happened() == "4 failed: overloaded");
        return client.now - from;
    };
    for (const Duration most : {11ms, 21ms, 41ms, 81ms, 161ms, 201ms, 201ms}) {
        const Duration last = pause();
        CHECK((last >= (most - 1ms) * 3 / 4 && last <= most));
    }
    client.hears(1, Reply{1, 1, {}});
    client.happened();
    CHECK(pause() <= 11ms);
}

TEST_CASE("client: a reply is taken once, and only when it is the next one") {
    Attached1 client;
    for (std::uint64_t i = 1; i <= 3; ++i) client.call(i, std::to_string(i));
    client.told();
    client.hears(1, Reply{1, 1, bytes("a")});
    client.hears(1, Reply{1, 1, bytes("a")});
    client.hears(1, Reply{9, 1, bytes("never asked for")});
    CHECK(client.told() == "");
    client.hears(1, Reply{3, 1, bytes("c")});
    CHECK(client.happened() == "1 a");
    CHECK(client.told() == "1: Attach 7(1,0)");
    client.hears(1, Reply{3, 1, bytes("c")});
    CHECK(client.told() == "");
    client.hears(1, client::Attached{3, 1000});
    client.hears(1, Reply{2, 1, bytes("b")});
    client.hears(1, Reply{3, 1, bytes("c")});
    CHECK(client.happened() == "2 b; 3 c");
    CHECK(client.told() == "");
}

TEST_CASE("client: a push is taken once, and only when it is the next one") {
    Attached1 client;
    client.hears(1, Push{1, 1, bytes("a")});
    client.hears(1, Push{1, 1, bytes("a")});
    CHECK(client.told() == "");
    client.hears(1, Push{3, 1, bytes("c")});
    CHECK(client.pushes == std::vector<Bytes>{bytes("a")});
    CHECK(client.told() == "1: Attach 7(0,1)");
    client.hears(1, client::Attached{0, 1000});
    client.hears(1, Push{2, 1, bytes("b")});
    client.hears(1, Push{3, 1, bytes("c")});
    CHECK(client.pushes == std::vector<Bytes>{bytes("a"), bytes("b"), bytes("c")});
}

TEST_CASE("client: a push for which there is no room is not received, and comes again when there is") {
    MachineOptions options;
    options.inbox_messages = 4;
    Attached1 client(std::move(options));
    for (std::uint64_t i = 1; i <= 6; ++i) client.hears(1, Push{i, 1, bytes("p")});
    CHECK(client.pushes.size() == 4);
    client.run(100ms);
    CHECK(client.told() == "1: Alive(0,4)");
    client.taken(1, 1);
    CHECK(client.told() == "");  // all that wait would come for one
    client.taken(1, 1);
    CHECK(client.told() == "1: Attach 7(0,4)");
    client.hears(1, client::Attached{0, 1000});
    client.hears(1, Push{5, 1, bytes("p")});
    client.hears(1, Push{6, 1, bytes("p")});
    CHECK(client.pushes.size() == 6);
    client.taken(4, 4);
    CHECK(client.told() == "");
}

TEST_CASE("client: the inbox takes so many bytes, and one push however long it is") {
    MachineOptions options;
    options.inbox_bytes = 10;
    Attached1 client(std::move(options));
    client.hears(1, Push{1, 1, bytes(std::string(100, 'a'))});
    client.hears(1, Push{2, 1, bytes("b")});
    CHECK(client.pushes.size() == 1);
    client.taken(1, 100);
    CHECK(client.told() == "1: Attach 7(0,1)");
}

TEST_CASE("client: a command that was not sent in its time never is") {
    Client client;
    client.call(1, "one", 100ms);
    client.call(2, "two");
    client.run(99ms);
    CHECK(client.happened() == "connecting no_leader");
    client.run(1ms);
    CHECK(client.happened() == "1 failed: no_leader");
    client.came(1);
    client.told();
    client.hears(1, Opened{7});
    CHECK(client.told() == "1: Ask 1(0,0) two");
    // Nor is it if its time is over and that was not looked at yet.
    client.went(1);
    client.call(3, "three", 10ms);
    client.call(4, "four");
    client.now += 20ms;
    client.came(1);
    client.told();
    client.hears(1, client::Attached{1, 1000});
    CHECK(client.told() == "1: Ask 2(0,0) four");
    CHECK(client.happened().find("3 failed") != std::string::npos);
}

TEST_CASE("client: a command that was sent and is late keeps its place, and its reply is nobody's") {
    Attached1 client;
    client.call(1, "one", 100ms);
    client.call(2, "two");
    client.told();
    client.run(100ms);
    CHECK(client.happened() == "1 failed: timed_out");
    client.went(1);
    client.told();
    client.hears(2, client::Attached{0, 1000});
    CHECK(client.told() == "2: Ask 1(0,0) one; 2: Ask 2(0,0) two");
    client.happened();
    client.hears(2, Reply{1, 1, bytes("a")});
    client.hears(2, Reply{2, 1, bytes("b")});
    CHECK(client.happened() == "2 b");
}

TEST_CASE(
    "client: when the node says that it is not attached it attaches, not without a pause if that was a moment ago") {
    Attached1 client;
    client.call(1, "one");
    client.told();
    client.hears(1, Detached{});
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, Detached{});  // for what was sent before
    CHECK(client.told() == "");
    CHECK(client.happened() == "");
    client.hears(1, client::Attached{0, 1000});
    CHECK(client.told() == "1: Ask 1(0,0) one");
    client.hears(1, Detached{});
    CHECK(client.told() == "");
    client.run(10ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
}

TEST_CASE("client: an answer that comes twice, or to a former question, changes nothing") {
    Attached1 client;
    client.call(1, "one");
    client.told();
    client.hears(1, client::Attached{0, 1000});
    CHECK(client.told() == "");
    client.hears(1, Detached{});
    client.hears(1, Opened{9});
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, client::Attached{0, 1000});
    CHECK(client.told() == "1: Ask 1(0,0) one");
}

TEST_CASE("client: a leader that had no room is not waited for behind the next attachment") {
    Attached1 client;
    client.call(1, "one");
    client.hears(1, Busy{1});
    client.hears(1, Detached{});
    client.told();
    client.hears(1, client::Attached{0, 1000});
    CHECK(client.told() == "1: Ask 1(0,0) one");
}

TEST_CASE("client: a leader that leads no more is asked who does") {
    Attached1 client;
    client.hears(1, NotLeader{});
    CHECK(client.happened() == "seeking no_leader");
    client.run(10ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, NotLeader{peer(2), {}});
    CHECK(client.told() == "2: Attach 7(0,0)");
}

TEST_CASE("client: after a third of the session timeout in silence it says that it is there") {
    MachineOptions options;
    options.session_timeout = 3s;
    Attached1 client(std::move(options));
    client.told();
    client.run(1s);
    CHECK(client.told() == "1: Alive(0,0)");
    client.run(500ms);
    client.call(1, "one");
    client.hears(1, Reply{1, 1, {}});
    client.told();
    client.run(999ms);
    CHECK(client.told() == "");
    client.run(1ms);
    CHECK(client.told() == "1: Alive(1,0)");
    client.run(10s);
    CHECK(client.tells.size() == 10);
}

TEST_CASE("client: what was received is acknowledged after a while, or when it is much") {
    Attached1 client;
    client.hears(1, Push{1, 1, {}});
    client.run(50ms);
    client.hears(1, Push{2, 1, {}});
    client.run(49ms);
    CHECK(client.told() == "");
    client.run(1ms);
    CHECK(client.told() == "1: Alive(0,2)");
    client.run(500ms);
    CHECK(client.told() == "");
    for (std::uint64_t i = 3; i <= 65; ++i) client.hears(1, Push{i, 1, {}});
    CHECK(client.told() == "");
    client.hears(1, Push{66, 1, {}});
    CHECK(client.told() == "1: Alive(0,66)");
    client.hears(1, Push{67, 1, bytes(std::string(std::size_t{256} << 10, 'a'))});
    CHECK(client.told() == "1: Alive(0,67)");
    client.hears(1, Push{68, 1, {}});
    client.call(1, "one");
    client.run(500ms);
    CHECK(client.told() == "1: Ask 1(0,68) one");  // says it, too
}

TEST_CASE("client: what came while the leader was asked is acknowledged when it has answered") {
    Attached1 client;
    client.hears(1, Detached{});
    client.hears(1, Push{1, 1, {}});
    client.run(200ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, client::Attached{0, 1000});
    client.run(99ms);
    CHECK(client.told() == "");
    client.run(1ms);
    CHECK(client.told() == "1: Alive(0,1)");
}

TEST_CASE("client: many replies are acknowledged, too, when nothing more is asked") {
    Attached1 client;
    for (std::uint64_t i = 1; i <= 64; ++i) client.call(i, "c");
    client.told();
    for (std::uint64_t i = 1; i <= 63; ++i) client.hears(1, Reply{i, 1, {}});
    CHECK(client.told() == "");
    client.hears(1, Reply{64, 1, {}});
    CHECK(client.told() == "1: Alive(64,0)");
}

TEST_CASE("client: the end of a session is told with its reason before anything fails") {
    const auto end_of = [](const ToClient& message) {
        MachineOptions options;
        options.max_outstanding = 1;
        Attached1 client(std::move(options));
        client.call(1, "one");
        client.call(2, "two");
        client.query(3, "three");
        client.told();
        client.hears(1, message);
        client.call(4, "four");
        client.query(5, "five");
        const errc error = client.cast("six");
        CHECK(error == client.state.error);
        client.run(60s);
        CHECK(client.told() == "");
        return client.happened();
    };
    const auto all = [](const std::string& error) {
        return "ended " + error + "; 1 failed: outcome_unknown; 2 failed: " + error + "; 3 failed: " + error +
               "; over; 4 failed: " + error + "; 5 failed: " + error;
    };
    CHECK(end_of(Closed{CloseReason::service}) == all("closed_by_service"));
    CHECK(end_of(Closed{CloseReason::timed_out}) == all("session_expired"));
    CHECK(end_of(Closed{CloseReason::slow}) == all("too_slow"));
    CHECK(end_of(Closed{CloseReason::client}) == all("closed"));
    CHECK(end_of(Refused{Refusal::no_session, {}}) == all("session_expired"));
}

TEST_CASE("client: a group that does not know the session any more has ended it") {
    Attached1 client;
    client.went(1);
    client.hears(2, Refused{Refusal::rejected, {}});  // no answer to what was asked
    client.hears(2, Refused{Refusal::full, {}});
    CHECK(client.ends == 0);
    client.hears(2, Refused{Refusal::no_session, "gone"});
    CHECK(client.happened() == "seeking no_leader; ended session_expired; over");
}

TEST_CASE("client: a leader that owes an answer and is silent is asked again, and then left") {
    Attached1 client;
    client.run(10s);
    client.call(1, "one");
    client.told();
    client.run(999ms);
    CHECK(client.told() == "");
    client.run(1ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.hears(1, client::Attached{0, 1000});
    CHECK(client.told() == "1: Ask 1(0,0) one");
    client.run(1999ms);  // now it has more time
    CHECK(client.told() == "");
    CHECK(client.happened() == "");
    client.run(1ms);
    CHECK(client.told() == "1: Attach 7(0,0)");
    client.run(1s);
    CHECK(client.told() == "2: Attach 7(0,0)");
    CHECK(client.happened() == "seeking no_leader");
}

TEST_CASE("client: a leader that has answered has a second again") {
    Attached1 client;
    client.call(1, "one");
    client.run(1s);
    client.hears(1, client::Attached{0, 1000});
    client.hears(1, Reply{1, 1, {}});
    client.run(10s);
    client.call(2, "two");
    client.told();
    client.run(1s);
    CHECK(client.told() == "1: Attach 7(1,0)");
}

TEST_CASE("client: a leader that owes nothing may be silent") {
    Attached1 client;
    client.call(1, "one");
    client.hears(1, Reply{1, 1, {}});
    client.told();
    client.run(999ms);
    CHECK(client.told() == "");
    client.call(2, "two");
    client.told();
    client.run(999ms);  // its time begins anew
    CHECK(client.told() == "");
    client.hears(1, Reply{2, 1, {}});
    client.run(1s);
    CHECK(client.told() == "");
}

TEST_CASE("client: closing tells the leader, and waits a second for its answer") {
    Attached1 client;
    client.call(1, "one");
    client.told();
    client.close();
    CHECK(client.told() == "1: Leave");
    CHECK(client.happened() == "ended closed; 1 failed: closed");
    SUBCASE("the answer comes") {
        client.hears(1, Reply{1, 1, bytes("late")});
        CHECK(client.ends == 0);
        client.hears(1, Closed{CloseReason::client});
    }
    SUBCASE("the node goes") {
        client.went(1);
    }
    SUBCASE("it cannot be sent") {
        client.not_sent(1);
    }
    SUBCASE("another one leads") {
        client.hears(1, NotLeader{});
    }
    SUBCASE("nothing comes") {
        client.run(999ms);
        CHECK(client.ends == 0);
        client.run(1ms);
    }
    CHECK(client.happened() == "over");
    CHECK(client.machine.ended());
    client.close();
    client.run(60s);
    CHECK(client.happened() == "");
    CHECK(client.told() == "");
}

TEST_CASE("client: closing tells the leader also while it is asked once more") {
    Attached1 client;
    client.hears(1, Push{1, 1, {}});
    client.hears(1, Detached{});
    CHECK(client.told() == "1: Attach 7(0,1)");
    client.run(500ms);
    client.close();
    CHECK(client.told() == "1: Leave");
}

TEST_CASE("client: what attaching has acknowledged is not acknowledged again") {
    Attached1 client;
    client.hears(1, Push{1, 1, {}});
    client.hears(1, Detached{});
    client.hears(1, client::Attached{0, 1000});
    client.told();
    client.run(1s);
    CHECK(client.told() == "");
}

TEST_CASE("client: closing without a session is done at once") {
    Client client;
    client.came(1);
    client.call(1, "one");
    client.told();
    client.close();
    CHECK(client.told() == "");
    CHECK(client.happened() == "ended closed; 1 failed: closed; over");
}

TEST_CASE("client: queries have numbers of their own, are asked again at the next leader, and answered in any order") {
    Attached1 client;
    client.call(1, "one");
    client.query(2, "a");
    client.query(3, "b");
    CHECK(client.told() == "1: Ask 1(0,0) one; 1: Query 1 a; 1: Query 2 b");
    client.hears(1, Answer{2, 0, 9, bytes("B")});
    client.hears(1, Answer{2, 0, 9, bytes("B")});
    client.fail_over(1);
    CHECK(client.told() == "2: Query 1 a");
    client.hears(2, Answer{1, static_cast<std::uint32_t>(errc::service_failed), 0, bytes("no")});
    CHECK(client.happened() == "3 B; seeking no_leader; attached; 2 failed: the service has thrown an exception no");
}

TEST_CASE("client: a query that a replica cannot answer because it leads no more, or ends, is asked again") {
    for (const errc why : {errc::no_leader, errc::not_leader, errc::closed, errc::replica_stopped, errc::timed_out}) {
        Attached1 client;
        client.query(1, "a");
        client.told();
        client.hears(1, Answer{1, static_cast<std::uint32_t>(why), 0, {}});
        CHECK(client.told() == "1: Attach 7(0,0)");
        client.hears(1, client::Attached{0, 1000});
        CHECK(client.told() == "1: Query 1 a");
        client.hears(1, Answer{1, 0, 9, bytes("A")});
        CHECK(client.happened() == "1 A");
    }
}

TEST_CASE("client: a query whose time is over has failed, and so have those that are too many") {
    Attached1 client;
    client.query(1, "a", 100ms);
    client.run(100ms);
    CHECK(client.happened() == "1 failed: timed_out");
    client.hears(1, Answer{1, 0, 9, bytes("A")});
    CHECK(client.happened() == "");
    client.went(1);
    client.happened();
    client.query(2, "b", 100ms);
    client.run(100ms);
    CHECK(client.happened() == "2 failed: no_leader");
    for (std::uint64_t i = 1; i <= 1024; ++i) client.query(i, "a");
    CHECK(client.happened() == "");
    client.query(1025, "a");
    CHECK(client.happened() == "1025 failed: too_many_requests");
}

TEST_CASE("client: what has ended leaves no deadline behind") {
    MachineOptions options;
    options.session_timeout = 1h;
    options.max_outstanding = 1;
    Attached1 client(std::move(options));
    client.call(1, "one", 10s);
    client.query(2, "two", 10s);
    client.call(3, "three", 10s);
    client.hears(1, client::Attached{0, 1000});
    client.hears(1, Answer{1, 0, 1, {}});
    client.hears(1, Detached{});
    client.hears(1, client::Attached{0, 4});
    client.hears(1, Reply{1, 1, {}});
    CHECK(client.happened() == "2 ; 3 failed: message_too_large; 1 ");
    client.run(2s);
    CHECK(client.machine.deadline() - client.now > 1min);
}

TEST_CASE("client: commands that wait have a limit, and who casts is told when there is room") {
    MachineOptions options;
    options.max_outstanding = 1;
    options.max_waiting = 2;
    Attached1 client(std::move(options));
    client.call(1, "one");
    client.call(2, "two");
    client.call(3, "three");
    client.call(4, "four");
    CHECK(client.happened() == "4 failed: too_many_requests");
    CHECK(client.cast("five") == errc::too_many_requests);
    CHECK(client.rooms == 0);
    client.hears(1, Reply{1, 1, {}});
    CHECK(client.rooms == 1);
    CHECK(client.cast("five") == errc{});
    client.hears(1, Reply{2, 1, {}});
    CHECK(client.rooms == 1);
}

TEST_CASE("client: who casts is told of room when half of it is free, not at each command") {
    MachineOptions options;
    options.max_outstanding = 1;
    options.max_waiting = 4;
    Attached1 client(std::move(options));
    for (int i = 0; i < 5; ++i) CHECK(client.cast("a") == errc{});
    CHECK(client.cast("b") == errc::too_many_requests);
    client.hears(1, Reply{1, 1, {}});
    CHECK(client.rooms == 0);
    client.hears(1, Reply{2, 1, {}});
    CHECK(client.rooms == 1);
}

TEST_CASE("client: bytes that wait have a limit, but for one command") {
    MachineOptions options;
    options.max_waiting_bytes = 10;
    Client client(std::move(options));
    CHECK(client.cast(std::string(100, 'a')) == errc{});
    CHECK(client.cast("b") == errc::too_many_requests);
    client.came(1);
    client.hears(1, Opened{7});
    CHECK(client.rooms == 1);
    CHECK(client.cast("b") == errc{});
}

TEST_CASE("client: a message that is longer than the group takes is refused as soon as that is known") {
    Client client;
    client.call(1, "long");
    client.came(1);
    client.hears(1, Opened{7});
    client.went(1);
    client.call(2, "longer");
    client.came(1);
    client.told();
    client.happened();
    client.hears(1, client::Attached{0, 5});
    CHECK(client.told() == "1: Ask 1(0,0) long");
    client.call(3, "longer");
    client.query(4, "longer");
    CHECK(client.cast("longer") == errc::message_too_large);
    CHECK(client.happened() ==
          "attached; 2 failed: message_too_large; 3 failed: message_too_large; "
          "4 failed: message_too_large");
}
