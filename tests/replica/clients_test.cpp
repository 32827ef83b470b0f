#include "replica/clients.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace cluster::clients_test {

// Whom a replica serves, what it puts into the log for clients, and whose time is over.

using namespace std::chrono_literals;
using namespace cluster::client;
using cluster::Bytes;
using cluster::CloseReason;
using cluster::PeerId;
using cluster::Time;
using cluster::group::SessionKey;
using cluster::replica::AttachSession;
using cluster::replica::Authenticate;
using cluster::replica::Clients;
using cluster::replica::DetachSession;
using cluster::replica::TellClient;
using cluster::replica::Verdict;

namespace {

PeerId peer(std::uint8_t number) {
    PeerId id;
    id.bytes.fill(number);
    return id;
}

struct Hub {
    explicit Hub(bool authenticates = false) : clients({"group", 10, 100, 10s, authenticates}) {}

    void say(const Seat& seat, ToNode message) { clients.received(seat, std::move(message), now); }
    void open(const Seat& seat, std::uint8_t key, std::uint64_t timeout_ms = 1000) {
        say(seat, Open{"group", SessionKey{key}, timeout_ms, "ann", "secret"});
    }
    void ask(const Seat& seat, std::uint64_t number, std::uint64_t replies = 0) {
        say(seat, Ask{number, {replies, 0}, Bytes(std::string_view("x"))});
    }
    /// A session that is open, and attached there.
    void have(std::uint64_t session, const Seat& seat, std::uint64_t applied = 0, std::uint64_t timeout_ms = 1000) {
        clients.changed(cluster::group::SessionOpened{SessionKey{9}, {session, timeout_ms}}, now);
        say(seat, Attach{"group", session, SessionKey{9}, {}});
        CHECK(clients.attached(seat, session, applied, now));
        take();
    }
    /// What comes out, the entries for the log last.
    std::vector<std::string> take(std::size_t room = 1000) {
        std::vector<std::string> texts;
        for (const auto& each : clients.take_effects()) texts.push_back(text(each));
        while (clients.proposes(now)) {
            const auto all = clients.proposals(1000);
            const std::size_t taken = std::min(room, all.size());
            for (std::size_t i = 0; i < taken; ++i) texts.push_back(text(*cluster::group::unpack(all[i].view())));
            room -= taken;
            clients.proposed(taken, all.size(), now);
        }
        for (const auto& each : clients.take_effects()) texts.push_back(text(each));
        return texts;
    }
    static std::string at(const Seat& seat) {
        return std::to_string(seat.peer.bytes[0]) + "." + std::to_string(seat.client);
    }
    static std::string text(const cluster::replica::ClientEffect& effect) {
        if (const auto* each = std::get_if<AttachSession>(&effect))
            return "attach " + at(each->seat) + " " + std::to_string(each->session);
        if (const auto* each = std::get_if<DetachSession>(&effect))
            return each->session == 0 ? "detach all" : "detach " + at(each->seat) + " " + std::to_string(each->session);
        if (const auto* each = std::get_if<Authenticate>(&effect))
            return "who " + std::to_string(each->ticket) + " " + each->credentials + "/" + each->challenge + "/" +
                   each->response;
        const auto& told = std::get<TellClient>(effect);
        std::string text = "tell " + at(told.to) + " ";
        if (const auto* opened = std::get_if<Opened>(&told.message))
            text += "opened " + std::to_string(opened->session);
        if (const auto* elsewhere = std::get_if<NotLeader>(&told.message))
            text += "leader " + std::to_string(elsewhere->leader.bytes[0]);
        if (const auto* busy = std::get_if<Busy>(&told.message)) text += "busy " + std::to_string(busy->number);
        if (std::holds_alternative<Detached>(told.message)) text += "detached";
        if (const auto* closed = std::get_if<Closed>(&told.message))
            text += "closed " + std::string(to_string(closed->reason));
        if (const auto* refused = std::get_if<Refused>(&told.message))
            text += "refused " + std::to_string(static_cast<int>(refused->reason));
        if (const auto* challenge = std::get_if<Challenge>(&told.message)) text += "challenge " + challenge->challenge;
        return text;
    }
    static std::string text(const cluster::group::Command& command) {
        if (const auto* open = std::get_if<cluster::group::OpenSession>(&command))
            return "log open " + std::to_string(open->key[0]) + " " + open->principal + " " +
                   std::to_string(open->timeout_ms);
        if (const auto* close = std::get_if<cluster::group::CloseSession>(&command))
            return "log close " + std::to_string(close->session) + " " + std::string(to_string(close->reason));
        if (const auto* ask = std::get_if<cluster::group::SessionCommand>(&command))
            return "log ask " + std::to_string(ask->session) + " " + std::to_string(ask->number);
        if (const auto* received = std::get_if<cluster::group::Acknowledge>(&command))
            return "log received " + std::to_string(received->session) + " " +
                   std::to_string(received->received.replies) + " " + std::to_string(received->received.pushes);
        return "something else";
    }

    Clients clients;
    Time now{1s};
};

const Seat ann{peer(1), 1};
const Seat bob{peer(2), 1};
using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("clients: a session is opened by an entry of the log, and then its client is attached") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.open(ann, 7);
    CHECK(replica.take() == Lines{"log open 7  1000"});
    replica.clients.changed(cluster::group::SessionOpened{SessionKey{7}, {42, 1000}}, replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 opened 42", "attach 1.1 42"});
    CHECK(replica.clients.attached(ann, 42, 0, replica.now));
    replica.ask(ann, 1);
    CHECK(replica.take() == Lines{"log ask 42 1"});
    replica.open(bob, 8);
    replica.take();
    replica.clients.changed(cluster::group::SessionOpened{SessionKey{8}, {}}, replica.now);
    CHECK(replica.take() == Lines{"tell 2.1 refused 3"});
}

TEST_CASE("clients: a session timeout that is too short or too long is set right") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.open(ann, 7, 1);
    replica.open(ann, 8, std::uint64_t{1} << 60);
    CHECK(replica.take() == Lines{"log open 7  100", "log open 8  10000"});
}

TEST_CASE("clients: who comes before it is known who leads waits, and is told or served then") {
    Hub replica;
    replica.open(ann, 7);
    CHECK(replica.take().empty());
    replica.clients.follow(peer(5), replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 leader 5"});
    replica.clients.prepare();
    replica.open(bob, 8);
    CHECK(replica.take().empty());
    replica.clients.serve(replica.now);
    CHECK(replica.take() == Lines{"log open 8  1000"});
}

TEST_CASE("clients: a follower says once who leads, however much it is sent") {
    Hub replica;
    replica.clients.follow(peer(5), replica.now);
    for (std::uint64_t number = 1; number <= 10; ++number) replica.ask(ann, number);
    CHECK(replica.take() == Lines{"tell 1.1 leader 5"});
    replica.say(ann, Attach{"group", 42, SessionKey{7}, {}});
    CHECK(replica.take() == Lines{"tell 1.1 leader 5"});
}

TEST_CASE("clients: commands come into the log in order and once, however often they come") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann, 3);
    replica.ask(ann, 5);
    replica.ask(ann, 4);
    replica.ask(ann, 4);
    replica.ask(ann, 5);
    CHECK(replica.take() == Lines{"log ask 42 4", "log ask 42 5"});
    // Its link broke, and those two are on their way: what was applied does not tell all that is in the log.
    replica.clients.gone(peer(1));
    CHECK(replica.take() == Lines{"detach 1.1 42"});
    replica.say(ann, Attach{"group", 42, SessionKey{9}, {}});
    CHECK(replica.clients.attached(ann, 42, 3, replica.now));
    replica.take();
    replica.ask(ann, 4);
    replica.ask(ann, 6);
    CHECK(replica.take() == Lines{"log ask 42 6"});
}

TEST_CASE("clients: without room the first command that was not taken is named, and taken when it comes again") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    for (std::uint64_t number = 1; number <= 4; ++number) replica.ask(ann, number);
    CHECK(replica.take(2) == Lines{"log ask 42 1", "log ask 42 2", "tell 1.1 busy 3"});
    replica.ask(ann, 5);
    replica.now += 10ms;
    CHECK(replica.take().empty());
    replica.ask(ann, 3);
    CHECK(replica.take() == Lines{"log ask 42 3"});
}

TEST_CASE("clients: what opens or closes a session waits for room by itself") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.open(ann, 7);
    CHECK(replica.take(0).empty());
    CHECK(replica.clients.deadline() <= replica.now + Clients::pause);
    replica.now += Clients::pause;
    CHECK(replica.take() == Lines{"log open 7  1000"});
}

TEST_CASE("clients: when another one leads, all that were served are told, and nothing is kept for them") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.open(bob, 7);
    replica.ask(ann, 1);
    replica.clients.follow({}, replica.now);
    CHECK(replica.take() == Lines{"detach all"});
    replica.clients.follow(peer(5), replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 leader 5", "tell 2.1 leader 5"});
    replica.clients.serve(replica.now);
    replica.ask(ann, 2);
    CHECK(replica.take() == Lines{"tell 1.1 detached"});
}

TEST_CASE("clients: those who were served by a leader that is cut off are told so when it has heard of no other one") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.clients.follow({}, replica.now);
    CHECK(replica.take() == Lines{"detach all"});
    CHECK(replica.clients.deadline() == replica.now + Clients::stray_patience);
    replica.now += Clients::stray_patience;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 leader 0"});
    CHECK(replica.clients.deadline() == cluster::never);
    replica.clients.follow(peer(5), replica.now);
    CHECK(replica.take().empty());

    // Who leads again meanwhile serves them without that.
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.clients.follow({}, replica.now);
    replica.clients.prepare();
    replica.clients.serve(replica.now);
    replica.now += Clients::stray_patience;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"detach all"});
}

TEST_CASE("clients: who asks again and again while nobody leads is answered once") {
    for (const bool leads : {false, true}) {
        Hub replica;
        replica.clients.changed(cluster::group::SessionOpened{SessionKey{9}, {42, 1000}}, replica.now);
        for (int i = 0; i < 3; ++i) replica.say(ann, Attach{"group", 42, SessionKey{9}, {}});
        CHECK(replica.take().empty());
        if (leads) {
            replica.clients.serve(replica.now);
            CHECK(replica.take() == Lines{"attach 1.1 42"});
        } else {
            replica.clients.follow(peer(5), replica.now);
            CHECK(replica.take() == Lines{"tell 1.1 leader 5"});
        }
    }
}

TEST_CASE("clients: a new term begins with what is applied, not with what the former one had accepted") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.ask(ann, 1);
    replica.ask(ann, 2);
    replica.take();
    replica.clients.prepare();
    replica.clients.serve(replica.now);
    replica.take();
    replica.say(ann, Attach{"group", 42, SessionKey{9}, {}});
    CHECK(replica.clients.attached(ann, 42, 1, replica.now));
    replica.take();
    replica.ask(ann, 2);
    CHECK(replica.take() == Lines{"log ask 42 2"});
}

TEST_CASE("clients: whoever is not heard of for its timeout is closed, once") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.have(43, bob);
    replica.now += 600ms;
    replica.say(ann, Alive{});
    replica.now += 400ms;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"log close 43 timed out"});
    replica.now += 600ms;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"log close 42 timed out"});
    replica.now += 500ms;
    replica.clients.tick(replica.now);
    CHECK(replica.take().empty());
    replica.clients.changed(cluster::group::SessionClosed{43, CloseReason::timed_out}, replica.now);
    CHECK(replica.take() == Lines{"tell 2.1 closed timed out"});
}

TEST_CASE("clients: a replica that was stopped itself gives everybody more time") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.now += 20s;
    replica.clients.tick(replica.now);
    CHECK(replica.take().empty());
    replica.now += 500ms;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"log close 42 timed out"});
}

TEST_CASE("clients: a new leader gives every session its whole timeout") {
    Hub replica;
    replica.clients.changed(cluster::group::SessionOpened{SessionKey{9}, {42, 1000}}, replica.now);
    replica.now += 5s;
    replica.clients.serve(replica.now);
    replica.clients.tick(replica.now);
    CHECK(replica.take().empty());
    replica.now += 1s;
    replica.clients.tick(replica.now);
    CHECK(replica.take() == Lines{"log close 42 timed out"});
}

TEST_CASE("clients: the application says who a client is, if need be after a challenge") {
    Hub replica(true);
    replica.clients.serve(replica.now);
    replica.open(ann, 7);
    CHECK(replica.take() == Lines{"who 1 secret//"});
    replica.clients.authenticated(1, {Verdict::Kind::challenged, "prove"}, replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 challenge prove"});
    replica.say(bob, Response{SessionKey{7}, "stolen"});
    CHECK(replica.take() == Lines{"tell 2.1 detached"});
    replica.say(ann, Response{SessionKey{7}, "proof"});
    CHECK(replica.take() == Lines{"who 2 secret/prove/proof"});
    replica.clients.authenticated(2, {Verdict::Kind::accepted, "staff"}, replica.now);
    CHECK(replica.take() == Lines{"log open 7 staff 1000"});
    replica.open(bob, 8);
    replica.take();
    replica.clients.authenticated(3, {Verdict::Kind::rejected, "unknown"}, replica.now);
    CHECK(replica.take() == Lines{"tell 2.1 refused 2"});
}

TEST_CASE("clients: a principal or a challenge that is too long is not cut short, but rejected") {
    Hub replica(true);
    replica.clients.serve(replica.now);
    const std::string principal(4096, 'p');
    const std::string challenge(std::size_t{16} << 10, 'c');
    replica.open(ann, 7);
    replica.clients.authenticated(1, {Verdict::Kind::accepted, principal + "x"}, replica.now);
    CHECK(replica.take().back() == "tell 1.1 refused 2");
    replica.open(ann, 7);
    replica.clients.authenticated(2, {Verdict::Kind::challenged, challenge + "x"}, replica.now);
    CHECK(replica.take().back() == "tell 1.1 refused 2");
    replica.open(ann, 7);
    replica.clients.authenticated(3, {Verdict::Kind::challenged, challenge}, replica.now);
    CHECK(replica.take().back() == "tell 1.1 challenge " + challenge);
    replica.say(ann, Response{SessionKey{7}, "proof"});
    replica.clients.authenticated(4, {Verdict::Kind::accepted, principal}, replica.now);
    CHECK(replica.take().back() == "log open 7 " + principal + " 1000");
}

TEST_CASE("clients: a verdict that comes when another one leads lets nobody in") {
    Hub replica(true);
    replica.clients.serve(replica.now);
    replica.open(ann, 7);
    replica.clients.follow(peer(5), replica.now);
    replica.take();
    replica.clients.authenticated(1, {Verdict::Kind::accepted, "staff"}, replica.now);
    CHECK(replica.take().empty());
}

TEST_CASE("clients: a session has one client, the last that came") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.say(bob, Attach{"group", 42, SessionKey{9}, {}});
    CHECK(replica.take() == Lines{"attach 2.1 42"});
    CHECK(replica.clients.attached(bob, 42, 0, replica.now));
    CHECK(replica.take() == Lines{"tell 1.1 detached"});
    replica.ask(ann, 1);
    replica.ask(bob, 1);
    CHECK(replica.take() == Lines{"tell 1.1 detached", "log ask 42 1"});
}

TEST_CASE("clients: a session that is over, or another key, is refused") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.say(ann, Attach{"group", 41, SessionKey{9}, {}});
    // Only the log tells that it is over: this one may have been deposed without knowing.
    CHECK(replica.take() == Lines{"log received 41 0 0"});
    replica.clients.changed(cluster::group::SessionClosed{41, CloseReason::timed_out}, replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 refused 4"});
    replica.clients.changed(cluster::group::SessionOpened{SessionKey{9}, {42, 1000}}, replica.now);
    replica.say(ann, Attach{"group", 42, SessionKey{8}, {}});
    CHECK_FALSE(replica.clients.attached(ann, 42, std::nullopt, replica.now));
    CHECK(replica.take() == Lines{"attach 1.1 42", "tell 1.1 refused 4"});
    replica.say(ann, Attach{"other", 42, SessionKey{9}, {}});
    CHECK(replica.take() == Lines{"tell 1.1 refused 1"});
}

TEST_CASE("clients: one whose session this leader does not know is told who leads, if this one does no more") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.say(ann, Attach{"group", 41, SessionKey{9}, {}});
    replica.clients.follow(peer(5), replica.now);
    CHECK(replica.take() == Lines{"detach all", "tell 1.1 leader 5"});
}

TEST_CASE("clients: what a client has received is told to the log, once") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.say(ann, Alive{{0, 3}});
    replica.say(ann, Alive{{0, 3}});
    CHECK(replica.take() == Lines{"log received 42 0 3"});
    replica.ask(ann, 1);
    replica.say(ann, Alive{{1, 3}});
    CHECK(replica.take() == Lines{"log ask 42 1", "log received 42 1 3"});
}

TEST_CASE("clients: one that asks for too much at once, or too long, is not served until it attaches again") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann, 2000);
    replica.ask(ann, 2001);
    CHECK(replica.take() == Lines{"detach 1.1 42", "tell 1.1 detached"});
    replica.have(43, bob);
    replica.say(bob, Ask{1, {}, Bytes(std::string(101, 'x'))});
    CHECK(replica.take() == Lines{"detach 2.1 43", "tell 2.1 detached"});
}

TEST_CASE("clients: what was lost on the way is asked for again, and what is too long closes the session") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.clients.lost(42, false);
    replica.ask(ann, 1);
    CHECK(replica.take() == Lines{"detach 1.1 42", "tell 1.1 detached"});
    replica.have(43, bob);
    replica.clients.lost(43, true);
    CHECK(replica.take() == Lines{"log close 43 slow"});
}

TEST_CASE("clients: who could not be told to turn elsewhere is told when it speaks again, attached or not") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(7, ann);
    replica.clients.lost(7, false);
    replica.ask(ann, 1);
    CHECK(replica.take() == Lines{"detach 1.1 7", "tell 1.1 detached"});
    replica.say(ann, Alive{});
    CHECK(replica.take() == Lines{});
    replica.clients.not_told(ann);
    replica.say(ann, Alive{});
    CHECK(replica.take() == Lines{"tell 1.1 detached"});
    replica.clients.follow(peer(2), replica.now);
    replica.take();
    replica.say(ann, Alive{});
    CHECK(replica.take() == Lines{"tell 1.1 leader 2"});
    replica.clients.not_told(ann);
    replica.say(ann, Alive{});
    CHECK(replica.take() == Lines{"tell 1.1 leader 2"});
}

TEST_CASE("clients: who could not be told that there was no room attaches again, though it hears of other things") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(7, ann);
    replica.ask(ann, 1);
    CHECK(replica.take(0) == Lines{"tell 1.1 busy 1"});
    replica.clients.not_told(ann);
    CHECK(replica.take() == Lines{"detach 1.1 7"});
    replica.say(ann, Alive{});
    CHECK(replica.take() == Lines{"tell 1.1 detached"});
    replica.have(7, ann);
    replica.now += Clients::pause;
    replica.ask(ann, 1);
    CHECK(replica.take() == Lines{"log ask 7 1"});
}

TEST_CASE("clients: a replica that ends turns all away") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.clients.end(replica.now);
    CHECK(replica.take() == Lines{"detach all", "tell 1.1 leader 0"});
    replica.say(bob, Leave{});
    CHECK(replica.take() == Lines{"tell 2.1 leader 0"});
}

TEST_CASE("clients: one that leaves is closed") {
    Hub replica;
    replica.clients.serve(replica.now);
    replica.have(42, ann);
    replica.say(ann, Leave{});
    replica.say(ann, Leave{});
    CHECK(replica.take() == Lines{"log close 42 client"});
    replica.clients.changed(cluster::group::SessionClosed{42, CloseReason::client}, replica.now);
    CHECK(replica.take() == Lines{"tell 1.1 closed client"});
}

}  // namespace cluster::clients_test
