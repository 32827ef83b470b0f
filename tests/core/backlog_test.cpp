#include "core/backlog.hpp"

#include "lab.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

constexpr std::size_t most = 100;
constexpr Duration patience = 10s;

struct Judged {
    Backlog backlog;
    Backlog::Verdict operator()(std::size_t held, std::optional<Time> now = std::nullopt, std::size_t size = 10) {
        return backlog.judge(held, size, most, now, patience);
    }
};

}  // namespace

TEST_CASE("an outbox that has filled up is waited for until it has drained by half") {
    Judged judge;
    CHECK(judge(0) == Backlog::Verdict::room);
    CHECK(judge(90) == Backlog::Verdict::room);
    CHECK(judge(91, 1s) == Backlog::Verdict::wait);
    CHECK(judge.backlog.filled() == 1s);
    CHECK(judge(60, 2s) == Backlog::Verdict::wait);
    CHECK(judge(51, 10s) == Backlog::Verdict::wait);
    CHECK(judge(50) == Backlog::Verdict::room);
    CHECK(judge(90) == Backlog::Verdict::room);
    CHECK(judge(95, 11s) == Backlog::Verdict::wait);
    CHECK(judge.backlog.filled() == 11s);
}

TEST_CASE("a peer is slow if its outbox has not drained by half in time, however often there was a little room") {
    Judged judge;
    for (Time now = 1s; now < 11s; now += 1s) CHECK(judge(now % 2s == 0s ? 80 : 95, now) == Backlog::Verdict::wait);
    CHECK(judge(80, 11s) == Backlog::Verdict::slow);
    CHECK(judge(51) == Backlog::Verdict::slow);
    CHECK(judge(50) == Backlog::Verdict::wait);  // to be asked again with the time
    CHECK(judge(50, 20s) == Backlog::Verdict::room);
    CHECK(judge(60) == Backlog::Verdict::room);
}

TEST_CASE("a peer that was slow is not waited for again before it has drained by half in time, or altogether") {
    Judged judge;
    judge(95, 0s);
    REQUIRE(judge(95, 10s) == Backlog::Verdict::slow);
    REQUIRE(judge(50, 20s) == Backlog::Verdict::room);
    CHECK(judge(95) == Backlog::Verdict::wait);
    CHECK(judge(95, 21s) == Backlog::Verdict::slow);
    SUBCASE("in time") {
        CHECK(judge(50, 22s) == Backlog::Verdict::room);
        CHECK(judge(95, 23s) == Backlog::Verdict::wait);
    }
    SUBCASE("altogether") {
        CHECK(judge(0, 100s) == Backlog::Verdict::room);
        CHECK(judge(95, 101s) == Backlog::Verdict::wait);
    }
    SUBCASE("neither") {
        CHECK(judge(40, 100s) == Backlog::Verdict::room);
        CHECK(judge(95, 101s) == Backlog::Verdict::slow);
    }
}

TEST_CASE("without the time nobody becomes slow") {
    Judged judge;
    CHECK(judge(95) == Backlog::Verdict::wait);
    CHECK(judge(60) == Backlog::Verdict::room);
    CHECK(judge(95, 1s) == Backlog::Verdict::wait);
    CHECK(judge(95) == Backlog::Verdict::wait);
    CHECK(judge(95, 11s) == Backlog::Verdict::slow);
    CHECK(judge(95) == Backlog::Verdict::slow);
}

TEST_CASE("a message that is too long for what is left counts, even if the outbox is less than half full") {
    Judged judge;
    CHECK(judge(40, 0s, 70) == Backlog::Verdict::wait);
    CHECK(judge(40, 10s, 70) == Backlog::Verdict::slow);
    CHECK(judge(40, 11s) == Backlog::Verdict::room);
}

TEST_CASE("a peer that takes a message each 5 ms costs a sender of one each 1 ms a fifth of its speed at most") {
    Lab lab;
    lab.options.send_timeout = 100ms;
    Node& ann = lab.start(1);
    Node& fast = lab.start(2);
    Node& slow = lab.start(3);
    lab.join(ann, fast);
    lab.join(ann, slow);
    slow.reads = false;
    const std::string payload(10000, 'x');
    const std::uint64_t framed = FrameHeader::size + payload.size();
    const Time begin = lab.now;
    constexpr std::uint64_t rounds = 4000;
    std::uint64_t sent = 0;
    std::uint64_t read = 0;
    std::uint64_t unread = 0;
    std::uint64_t session = 0;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        if (round % 5 == 0) {
            for (; !slow.unread.empty(); slow.unread.pop_front()) {
                session = slow.unread.front().session;
                unread += slow.unread.front().charge;
            }
            if (unread >= framed) slow->taken(session, framed, lab.now);
            if (unread >= framed) unread -= framed;
        }
        const auto outcome = ann.broadcast(payload, Engine::Skip::slow);
        if (outcome.error == errc{}) ++sent;
        read += fast.inbox.size();
        fast.inbox.clear();
        lab.advance(begin + static_cast<Duration::rep>(round + 1) * Duration(1ms) - lab.now);
    }
    read += fast.inbox.size();
    CHECK(sent >= rounds * 8 / 10);
    CHECK(read == sent);
    REQUIRE_FALSE(ann.surrendered.empty());
    for (const Surrender& each : ann.surrendered) CHECK(each.peer.id == slow.id);
}

TEST_CASE("messages that are skipped are reported together, and before what becomes of their peer") {
    Lab lab;
    Node& node = lab.start(1);
    Puppet& peer = lab.puppet(node, 2);
    peer.join();
    const std::string large(100000, 'x');
    while (node.broadcast(large, Engine::Skip::nobody).error == errc{}) {
    }
    for (int i = 0; i < 1000; ++i) {
        const Engine::Body body{std::as_bytes(std::span(large)), {}};
        REQUIRE(node->broadcast(body, Engine::Skip::full, lab.now).full == std::vector<PeerId>{peer.id});
    }
    REQUIRE(node->has_actions());
    const auto is_report = [](const Action& action) {
        const auto* of_node = std::get_if<NodeAction>(&action);
        return of_node != nullptr && std::holds_alternative<Surrender>(*of_node);
    };
    std::vector<Action> actions;
    SUBCASE("the peer stays") {
        node->take_actions(actions);
        REQUIRE(actions.size() == 1);
    }
    SUBCASE("the peer is removed") {
        node->remove(peer.id, lab.now);
        node->take_actions(actions);
        std::size_t reports = 0;
        for (const Action& action : actions) reports += is_report(action) ? 1 : 0;
        CHECK(reports == 2);
    }
    const auto& report = std::get<Surrender>(std::get<NodeAction>(actions.at(0)));
    CHECK(report.reason == errc::outbox_full);
    CHECK(report.messages == 1000);
    CHECK(report.bytes == 1000 * (large.size() + 2 * FrameHeader::size));
    CHECK_FALSE(node->has_actions());
}
