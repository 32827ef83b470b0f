#include "consensus/raft.hpp"

#include "consensus/ids.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <variant>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;
using cluster::support::disk;
using namespace std::chrono_literals;

namespace {

// What a transcript cannot show, because no replica would do it.

/// The replica a of the group a, b, c. Its disk is quick.
struct One {
    explicit One(RaftOptions options = {}) {
        options.self = disk('a');
        const Configuration configuration{{disk('a'), disk('b'), disk('c')}, {}, {}};
        const SnapshotId begin{{}, {}, configuration.encode()};
        raft.emplace(options, Recovered{{}, begin, begin, {}, {}, {}}, now);
        work();
    }
    void work() {
        for (Raft::Output output; raft->take_output(output);) {
            for (Effect& effect : output) {
                if (const auto* write = std::get_if<Write>(&effect)) raft->written(write->number, now);
                effects.push_back(std::move(effect));
            }
        }
    }
    void receive(char from, Term term, Body body) {
        raft->receive({disk(from), disk('a'), term, std::move(body)}, now);
        work();
    }
    void elect() {
        now.steady = raft->deadline();
        raft->tick(now);
        work();
        receive('b', raft->term() + 1, VoteAnswer{sent<VoteRequest>().back().trial, true});
        receive('b', raft->term(), VoteAnswer{0, true});
        REQUIRE(raft->role() == Role::leader);
    }
    template <class T>
    std::vector<T> sent() const {
        std::vector<T> all;
        for (const Effect& effect : effects) {
            const auto* send = std::get_if<Send>(&effect);
            const auto* body = send == nullptr ? nullptr : std::get_if<T>(&send->message.body);
            if (body != nullptr) all.push_back(*body);
        }
        return all;
    }
    bool stopped() const {
        return raft->stopped() && std::any_of(effects.begin(), effects.end(), [](const Effect& effect) {
                   return std::holds_alternative<Stopped>(effect);
               });
    }

    Moment now{1s, 1000h};
    std::optional<Raft> raft;
    Raft::Output effects;
};

}  // namespace

TEST_CASE("raft: whoever meets another leader of its own term stops, and does nothing any more") {
    One one;
    one.elect();
    one.receive('c', one.raft->term(), Heartbeat{1, 0});
    CHECK(one.stopped());
    one.effects.clear();
    one.raft->tick({one.now.steady + 10s, one.now.wall});
    one.receive('b', 99, Heartbeat{1, 0});
    LogId first;
    CHECK(one.raft->propose({}, first, one.now) == Refused::not_leader);
    CHECK(one.effects.empty());
    CHECK(one.raft->deadline() == never);
}

TEST_CASE("raft: a follower that hears of two leaders in one term stops") {
    One one;
    one.receive('b', 1, Heartbeat{1, 0});
    CHECK_FALSE(one.raft->stopped());
    one.receive('c', 1, Heartbeat{1, 0});
    CHECK(one.stopped());
}

TEST_CASE("raft: what is committed is never replaced") {
    One one;
    const Entry mine{{1, 1}, EntryKind::command, {}, Bytes(std::string_view("mine"))};
    const Entry other{{2, 1}, EntryKind::command, {}, Bytes(std::string_view("other"))};
    one.receive('b', 1, Append{{}, 1, {mine}});
    CHECK(one.raft->commit() == 1);
    one.receive('c', 2, Append{{}, 1, {other}});  // from before what is committed: not even looked at
    one.receive('c', 2, Heartbeat{1, 7});         // of that this log is not known to have anything
    CHECK_FALSE(one.raft->stopped());
    CHECK(one.raft->log().term_at(1) == 1);
    CHECK(one.raft->commit() == 1);
}

TEST_CASE("raft: a member that claims more than its leader has is not believed") {
    One one;
    one.elect();
    one.receive('b', one.raft->term(), AppendAnswer{100, 0, {}});
    CHECK_FALSE(one.raft->stopped());
    CHECK(one.raft->commit() == 0);
    one.receive('b', one.raft->term(), AppendAnswer{1, 0, {}});
    CHECK(one.raft->commit() == 1);
}

TEST_CASE("raft: nobody who is no member takes the place of a leader, or stops one") {
    One one;
    one.receive('b', 1, Heartbeat{1, 0});
    one.receive('x', 1, Heartbeat{1, 0});
    CHECK_FALSE(one.raft->stopped());
    CHECK(one.raft->leader() == disk('b'));
    one.elect();
    one.receive('x', one.raft->term(), Append{});
    CHECK(one.raft->role() == Role::leader);
}

TEST_CASE("raft: entries that were read while the log was cut are not sent without what they follow") {
    RaftOptions options;
    options.memory = 1;
    One one(options);
    one.elect();
    LogId first;
    for (Index index = 1; index <= 6; ++index) {
        one.receive('b', one.raft->term(), AppendAnswer{index, 0, {}});
        one.raft->applied(index, one.now);
        const Bytes command(std::string_view("x"));
        REQUIRE(one.raft->propose({&command, 1}, first, one.now) == Refused::no);
        one.work();
    }
    std::vector<Entry> read;
    for (const Effect& effect : one.effects) {
        const auto* write = std::get_if<Write>(&effect);
        if (write != nullptr) read.insert(read.end(), write->entries.begin(), write->entries.end());
    }
    one.now.steady += 250ms;
    one.receive('c', one.raft->term(), HeartbeatAnswer{0, {}, 0});
    REQUIRE(std::any_of(one.effects.begin(), one.effects.end(),
                        [](const Effect& effect) { return std::holds_alternative<Fetch>(effect); }));
    const SnapshotId snapshot = one.raft->snapshot_at({1, 4}, read[3].time);
    one.raft->snapshot_taken(snapshot, snapshot, one.now);
    one.raft->fetched(disk('c'), read, one.now);
    one.effects.clear();
    one.work();
    CHECK_FALSE(one.raft->stopped());
    CHECK(std::any_of(one.effects.begin(), one.effects.end(),
                      [](const Effect& effect) { return std::holds_alternative<FetchChunk>(effect); }));
}

TEST_CASE("raft: however many reads are asked, whoever owes an answer is asked again by time only") {
    One one;
    one.elect();
    one.receive('b', one.raft->term(), AppendAnswer{1, 0, {}});
    one.receive('c', one.raft->term(), AppendAnswer{1, 0, {}});
    const Bytes command(std::string_view("x"));
    LogId first;
    REQUIRE(one.raft->propose({&command, 1}, first, one.now) == Refused::no);
    one.work();
    const auto before = one.sent<Append>().size();
    for (std::uint64_t number = 1; number <= 100; ++number) {
        one.now.steady += 100us;
        REQUIRE(one.raft->read(number, one.now) == Refused::no);
        one.work();
        one.receive('c', one.raft->term(), HeartbeatAnswer{one.sent<Heartbeat>().back().round, {}, 0});
    }
    CHECK(one.sent<Append>().size() == before);
    one.now.steady += 250ms;
    one.receive('c', one.raft->term(), HeartbeatAnswer{1, {}, 0});
    CHECK(one.sent<Append>().size() == before + 1);
}

TEST_CASE("raft: a member that owes much is not told of each commit") {
    RaftOptions options;
    options.max_in_flight = 1;
    One one(options);
    one.elect();
    one.receive('b', one.raft->term(), AppendAnswer{1, 0, {}});
    one.receive('c', one.raft->term(), AppendAnswer{1, 0, {}});
    const Bytes command(std::string_view("x"));
    LogId first;
    std::size_t to_c = 0;
    for (int i = 0; i < 100; ++i) {
        REQUIRE(one.raft->propose({&command, 1}, first, one.now) == Refused::no);
        one.work();
        one.receive('b', one.raft->term(), AppendAnswer{first.index, 0, {}});
    }
    for (const Effect& effect : one.effects) {
        const auto* send = std::get_if<Send>(&effect);
        const bool there = send != nullptr && send->message.to == disk('c');
        if (there && std::holds_alternative<Append>(send->message.body)) ++to_c;
    }
    CHECK(one.raft->commit() == first.index);
    CHECK(to_c <= 4);
}

TEST_CASE("raft: a snapshot that cannot be had is not asked for again and again") {
    RaftOptions options;
    One one(options);
    one.elect();
    one.receive('b', one.raft->term(), AppendAnswer{1, 0, {}});
    one.raft->applied(1, one.now);
    const SnapshotId snapshot = one.raft->snapshot_at({1, 1}, 1000h);
    one.raft->snapshot_taken(snapshot, snapshot, one.now);
    one.now.steady += 250ms;
    one.receive('c', one.raft->term(), HeartbeatAnswer{0, {}, 0});
    const auto fetches = [&] {
        return std::count_if(one.effects.begin(), one.effects.end(),
                             [](const Effect& effect) { return std::holds_alternative<FetchChunk>(effect); });
    };
    one.work();
    const auto before = fetches();
    REQUIRE(before > 0);
    CHECK(one.raft->sends({1, 1}));
    for (int i = 0; i < 10; ++i) {
        one.raft->chunk_fetched(disk('c'), std::nullopt, one.now);
        one.work();
    }
    CHECK(fetches() == before);
    one.now.steady += 250ms;
    one.receive('c', one.raft->term(), HeartbeatAnswer{0, {}, 0});
    CHECK(fetches() == before + 1);
}

TEST_CASE("raft: messages that are not for it, from itself, or from strangers do no harm") {
    One one;
    one.elect();
    const Term term = one.raft->term();
    one.raft->receive({disk('b'), disk('c'), term + 5, Heartbeat{}}, one.now);
    one.raft->receive({disk('a'), disk('a'), term + 5, Heartbeat{}}, one.now);
    one.receive('x', term, AppendAnswer{1, 0, {}});
    one.receive('x', term, HeartbeatAnswer{1, {}, 0});
    one.receive('x', term, ChunkAnswer{});
    one.receive('x', term, VoteAnswer{0, true});
    CHECK(one.raft->role() == Role::leader);
    CHECK(one.raft->term() == term);
    CHECK(one.raft->commit() == 0);
}

TEST_CASE("raft: whoever finds a snapshot of a term that its log does not know yet knows that it has begun") {
    RaftOptions options;
    options.self = disk('a');
    const Bytes configuration = Configuration{{disk('a'), disk('b'), disk('c')}, {}, {}}.encode();
    const Moment now{1s, 1000h};
    Raft raft(options, {{}, {{}, {}, configuration}, {{2, 1}, 1000h, configuration}, {}, {}, {}}, now);
    CHECK(raft.term() == 2);
    CHECK(raft.log().last() == LogId{2, 1});
    raft.tick({raft.deadline(), now.wall});
    Raft::Output output;
    REQUIRE(raft.take_output(output));
    const auto asks = std::find_if(output.begin(), output.end(),
                                   [](const Effect& effect) { return std::holds_alternative<Send>(effect); });
    REQUIRE(asks != output.end());
    CHECK(std::get<Send>(*asks).message.term == 3);
}

TEST_CASE("raft: reads are limited, and all end when their leader does not lead any more") {
    One one;
    one.elect();
    for (std::uint64_t number = 1; number <= Reads::most; ++number) {
        REQUIRE(one.raft->read(number, one.now) == Refused::no);
    }
    CHECK(one.raft->read(0, one.now) == Refused::full);
    one.receive('c', one.raft->term() + 1, Append{});
    const auto refused = std::count_if(one.effects.begin(), one.effects.end(), [](const Effect& effect) {
        return std::holds_alternative<ReadRefused>(effect);
    });
    CHECK(refused == static_cast<std::ptrdiff_t>(Reads::most));
}

TEST_CASE("raft: an answer to a question that was never asked confirms nothing") {
    One one;
    one.elect();
    one.receive('b', one.raft->term(), AppendAnswer{1, 0, {}});
    REQUIRE(one.raft->commit() == 1);
    one.receive('b', one.raft->term(), HeartbeatAnswer{1000, {}, 0});
    REQUIRE(one.raft->read(1, one.now) == Refused::no);
    one.work();
    const auto ready = [&] {
        return std::any_of(one.effects.begin(), one.effects.end(),
                           [](const Effect& effect) { return std::holds_alternative<ReadReady>(effect); });
    };
    CHECK_FALSE(ready());
    one.receive('b', one.raft->term(), HeartbeatAnswer{one.sent<Heartbeat>().back().round, {}, 0});
    CHECK(ready());
}

TEST_CASE("raft: election time-outs differ, and lie between one and 1.4 of the option") {
    Time least = never;
    Time most{};
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        RaftOptions options;
        options.seed = seed;
        const One one(options);
        least = std::min(least, one.raft->deadline() - one.now.steady);
        most = std::max(most, one.raft->deadline() - one.now.steady);
    }
    CHECK(least >= 1s);
    CHECK(least < 1050ms);
    CHECK(most > 1350ms);
    CHECK(most < 1400ms);
}

TEST_CASE("raft: who votes with the appointed leader asked for stands for election only if it is appointed") {
    RaftOptions options;
    options.may_campaign = false;
    One one(options);
    one.now.steady = one.raft->deadline();
    one.raft->tick(one.now);
    one.work();
    CHECK(one.raft->role() == Role::follower);
    CHECK(one.raft->deadline() > one.now.steady);
    one.receive('b', 1, Heartbeat{1, 0});
    one.receive('c', 1, Appoint{});
    CHECK(one.raft->role() == Role::follower);
    one.receive('b', 1, Appoint{});
    CHECK(one.raft->role() == Role::candidate);
    CHECK(one.sent<VoteRequest>().size() == 2);
    CHECK(one.sent<VoteRequest>().front().appointed);
}

TEST_CASE("raft: the entries of a leader carry a time that never goes back") {
    One one;
    one.elect();
    for (int i = 0; i < 5; ++i) {
        one.now.steady += 10ms;
        one.now.wall += i == 2 ? Duration(-5h) : Duration(10ms);
        LogId first;
        const Bytes command(std::string_view("x"));
        REQUIRE(one.raft->propose({&command, 1}, first, one.now) == Refused::no);
        CHECK(first.index == static_cast<Index>(2 + i));
        one.work();
    }
    Duration last{};
    for (Index index = 1; index <= 6; ++index) {
        const Entry* entry = one.raft->log().find(index);
        REQUIRE(entry != nullptr);
        CHECK(entry->time >= last);
        CHECK(entry->time >= 1000h);
        last = entry->time;
    }
}

TEST_CASE("raft: another snapshot is not taken before the service has the last one") {
    One one;
    const Configuration configuration{{disk('a'), disk('b'), disk('c')}, {}, {}};
    const auto chunk = [&](Index index) {
        return Chunk{{{1, index}, {}, configuration.encode()}, 1, 0, Bytes(std::string_view("x"))};
    };
    const auto stored = [&] {
        return std::count_if(one.effects.begin(), one.effects.end(),
                             [](const Effect& effect) { return std::holds_alternative<StoreChunk>(effect); });
    };
    one.receive('b', 1, chunk(100));
    REQUIRE(stored() == 1);
    one.raft->chunk_stored({disk('b'), 1, chunk(100)}, 1, true, one.now);
    one.work();
    one.receive('b', 1, chunk(200));
    CHECK(stored() == 1);
    one.raft->applied(100, one.now);
    one.receive('b', 1, chunk(200));
    CHECK(stored() == 2);
}

TEST_CASE("raft: when all begin anew, a vote of before keeps nobody from asking at once") {
    const Configuration configuration{{disk('a')}, {}, {}};
    const SnapshotId begin{{}, {}, configuration.encode()};
    for (const char vote : {'a', 'b'}) {
        RaftOptions options;
        options.self = disk('a');
        options.election_timeout = 60s;
        Moment now{1s, 1'000'000s};
        Raft raft(options, Recovered{{3, disk(vote), 0}, begin, begin, {}, {}, {}}, now);
        raft.gone({}, now);
        CHECK(raft.deadline() <= now.steady + Raft::step);
    }
}
