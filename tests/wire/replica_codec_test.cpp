#include "wire/replica_codec.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;
using namespace std::chrono_literals;
using wire::decode;
using wire::FoundingMessage;
using wire::RaftMessage;
using wire::ReplicaMessage;

namespace {

DiskId disk(std::uint8_t number) {
    DiskId id;
    id.bytes.fill(number);
    return id;
}

cluster::Bytes encoded(const ReplicaMessage& message) {
    std::vector<std::byte> out;
    wire::encode(message, out);
    return cluster::Bytes(out);
}

std::string hex(const cluster::Bytes& bytes) {
    std::string text;
    for (const std::byte byte : bytes.view()) {
        text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
        text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
    }
    return text;
}

RaftMessage raft(Body body) {
    return {GroupId{{1, 2, 3}}, {disk(7), disk(8), 5, std::move(body)}};
}

Entry entry(Index index, Term term, std::string_view text) {
    return {{term, index}, EntryKind::command, 1000h + std::chrono::seconds(index), cluster::Bytes(text)};
}

/// One of each kind.
std::vector<ReplicaMessage> samples() {
    const std::set<std::string> voters{"ann", "bob"};
    const Promise promise{GroupId{{9}}, {{"ann", disk(1)}, {"bob", disk(2)}}};
    const SnapshotId snapshot{{3, 17}, 5h, Configuration{{disk(1)}, {}, {}}.encode()};
    const Entry configuration{{5, 12}, EntryKind::configuration, 1h, Configuration{{disk(1)}, {}, {}}.encode()};
    return {
        FoundingMessage{"orders", disk(1), {}, Introduction{disk(1), "ann", voters, {}, false}},
        FoundingMessage{"orders", disk(1), {}, Introduction{disk(1), "ann", voters, promise, true}},
        FoundingMessage{"orders", disk(1), disk(2), AskPromise{promise}},
        FoundingMessage{"", disk(1), disk(2), Promised{GroupId{{9}}}},
        FoundingMessage{"orders", disk(1), {}, Farewell{}},
        raft(VoteRequest{{4, 9}, 77, false}),
        raft(VoteAnswer{0, true}),
        raft(Append{{4, 9}, 8, {}}),
        raft(Append{{4, 9}, 8, {entry(10, 4, ""), entry(11, 5, "command"), configuration}}),
        raft(AppendAnswer{9, 0, {}}),
        raft(AppendAnswer{0, 12, {3, 10}}),
        raft(Heartbeat{77, 8}),
        raft(HeartbeatAnswer{77, 5h, 8, false}),
        raft(Appoint{}),
        raft(Chunk{snapshot, 1000, 10, cluster::Bytes(std::string_view("piece"))}),
        raft(ChunkAnswer{{3, 17}, 15, true}),
        wire::SubmitMessage{GroupId{{1}}, disk(1), disk(2), 5, Submit{~std::uint64_t{0}, 3, 4, {}}},
        wire::SubmitMessage{GroupId{{1}}, disk(1), disk(2), 5,
                            Submit{6, 3, 4, {cluster::Bytes(std::string_view("one")), cluster::Bytes()}}},
        wire::SubmitMessage{GroupId{{1}}, disk(2), disk(1), 5, SubmitAnswer{6, 4, true}},
        wire::ReadMessage{GroupId{{1}}, disk(1), disk(2), 5, ReadIndex{~std::uint64_t{0}, 3, false}},
        wire::ReadMessage{GroupId{{1}}, disk(2), disk(1), 5, ReadIndexAnswer{~std::uint64_t{0}, 3, 17}},
    };
}

}  // namespace

TEST_CASE("replica codec: what is written reads back to the same bytes, and nothing shorter or longer does") {
    for (const ReplicaMessage& sample : samples()) {
        const cluster::Bytes bytes = encoded(sample);
        CAPTURE(hex(bytes));
        const auto read = decode(bytes);
        REQUIRE(read.has_value());
        CHECK(encoded(*read) == bytes);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            CHECK_FALSE(decode(cluster::Bytes(bytes.view().first(size))).has_value());
        }
        CHECK_FALSE(decode(cluster::Bytes(std::string(bytes.text()) + "x")).has_value());
    }
}

TEST_CASE("replica codec: the layout") {
    const std::string id(32, '0');
    const std::string seven = "07070707070707070707070707070707";
    const std::string eight = "08080808080808080808080808080808";
    const std::string group = "01020300000000000000000000000000";
    const std::string head = group + seven + eight + "0500000000000000";
    CHECK(hex(encoded(raft(VoteRequest{{4, 9}, 3, false}))) == "10" + head +
                                                                   "0400000000000000"
                                                                   "0900000000000000"
                                                                   "0300000000000000"
                                                                   "00");
    CHECK(hex(encoded(raft(Append{{4, 9}, 8, {entry(10, 4, "hi")}}))) == "12" + head +
                                                                             "0400000000000000"
                                                                             "0900000000000000"
                                                                             "0800000000000000"
                                                                             "01000000"
                                                                             "0400000000000000"
                                                                             "0a00000000000000"
                                                                             "02"
                                                                             "00e43ca530ca0c00"
                                                                             "02000000"
                                                                             "6869");
    CHECK(hex(encoded(FoundingMessage{"g", disk(7), {}, Introduction{disk(7), "ann", {"ann"}, {}, false}})) ==
          "01"
          "01000000"
          "67" +
              seven + id +
              "03000000"
              "616e6e"
              "01000000"
              "03000000"
              "616e6e"
              "00"
              "00");
    CHECK(hex(encoded(FoundingMessage{"g", disk(7), {}, Farewell{}})) ==
          "04"
          "01000000"
          "67" +
              seven + id);
    CHECK(hex(encoded(wire::ReadMessage{GroupId{{1, 2, 3}}, disk(7), disk(8), 5, ReadIndex{6, 9, true}})) ==
          "22" + head +
              "0600000000000000"
              "0900000000000000"
              "01");
    CHECK(hex(encoded(wire::ReadMessage{GroupId{{1, 2, 3}}, disk(7), disk(8), 5, ReadIndexAnswer{6, 9, 10}})) ==
          "23" + head +
              "0600000000000000"
              "0900000000000000"
              "0a00000000000000");
    CHECK(encoded(raft(Append{{4, 9}, 8, {}})).size() == wire::append_header);
    CHECK(encoded(raft(Append{{4, 9}, 8, {entry(10, 4, "")}})).size() == wire::append_header + wire::entry_header);
}

TEST_CASE("replica codec: entries share the memory of the message") {
    const cluster::Bytes bytes = encoded(raft(Append{{4, 9}, 8, {entry(10, 4, "command")}}));
    const auto read = decode(bytes);
    REQUIRE(read.has_value());
    const auto& append = std::get<Append>(std::get<RaftMessage>(*read).message.body);
    CHECK(append.entries[0].body.text() == "command");
    CHECK(append.entries[0].body.view().data() > bytes.view().data());
    CHECK(append.entries[0].body.view().data() < bytes.view().data() + bytes.size());
}

TEST_CASE("replica codec: entries that do not follow each other are no message") {
    CHECK_FALSE(decode(encoded(raft(Append{{4, 9}, 8, {entry(11, 4, "")}}))).has_value());
    CHECK_FALSE(decode(encoded(raft(Append{{4, 9}, 8, {entry(10, 4, ""), entry(10, 4, "")}}))).has_value());
    CHECK_FALSE(decode(encoded(raft(Append{{4, 9}, 8, {entry(10, 3, "")}}))).has_value());
}

TEST_CASE("replica codec: what would break a replica that believed it is no message") {
    const Entry unreadable{{4, 10}, EntryKind::configuration, 1h, cluster::Bytes(std::string_view("no"))};
    CHECK_FALSE(decode(encoded(raft(Append{{4, 9}, 8, {unreadable}}))).has_value());
    CHECK_FALSE(decode(encoded(raft(Append{{4, 9}, 8, {entry(10, 6, "")}}))).has_value());  // the leader's term is 5
    CHECK_FALSE(decode(encoded(raft(Append{{6, 9}, 8, {}}))).has_value());
    CHECK_FALSE(decode(encoded(raft(Chunk{{{3, 17}, 5h, unreadable.body}, 9, 0, {}}))).has_value());
    CHECK_FALSE(decode(encoded(raft(HeartbeatAnswer{1, -1ns, 0}))).has_value());
    CHECK_FALSE(decode(encoded(raft(Heartbeat{std::uint64_t{1} << 62, 0}))).has_value());
    RaftMessage endless = raft(Heartbeat{1, 0});
    endless.message.term = ~std::uint64_t{0};
    CHECK_FALSE(decode(encoded(endless)).has_value());
    RaftMessage nobody = raft(Heartbeat{1, 0});
    nobody.message.from = {};
    CHECK_FALSE(decode(encoded(nobody)).has_value());
    using wire::ReadMessage;
    constexpr std::uint64_t too_much = std::uint64_t{1} << 62;
    CHECK_FALSE(decode(encoded(ReadMessage{GroupId{{1}}, {}, disk(2), 5, ReadIndex{1, 2, true}})).has_value());
    CHECK_FALSE(
        decode(encoded(ReadMessage{GroupId{{1}}, disk(1), disk(2), 5, ReadIndex{1, too_much, true}})).has_value());
    CHECK_FALSE(
        decode(encoded(ReadMessage{GroupId{{1}}, disk(1), disk(2), 5, ReadIndexAnswer{1, 2, too_much}})).has_value());
    CHECK_FALSE(
        decode(encoded(ReadMessage{GroupId{{1}}, disk(1), disk(2), too_much, ReadIndex{1, 2, true}})).has_value());
}

TEST_CASE("replica codec: whatever comes, it is read as what it writes, or not at all") {
    Dice dice(1);
    const auto all = samples();
    for (int round = 0; round < 20000; ++round) {
        std::string text(encoded(all[dice.below(all.size())]).text());
        for (std::uint64_t changes = dice.below(4) + 1; changes != 0; --changes) {
            text[dice.below(text.size())] = static_cast<char>(dice.next());
        }
        if (dice.below(4) == 0) text.resize(dice.below(text.size() + 1));
        const cluster::Bytes bytes(text);
        const auto read = decode(bytes);
        if (read) REQUIRE(encoded(*read) == bytes);
    }
}
