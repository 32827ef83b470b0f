#include "core/intake.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::core;

namespace {

using Bytes = std::vector<std::byte>;

void put(Bytes& bytes, std::string_view payload, bool more = false) {
    const std::size_t at = bytes.size();
    bytes.resize(at + FrameHeader::size + payload.size());
    FrameHeader{static_cast<std::uint32_t>(payload.size()), FrameKind::data, more ? flag_more : std::uint8_t{0}, 0}
        .write(bytes.data() + at);
    if (!payload.empty()) std::memcpy(bytes.data() + at + FrameHeader::size, payload.data(), payload.size());
}

/// Frames in a block of which they use all but `unused` bytes.
DataRun run_of(const std::vector<std::string>& payloads, bool more = false, std::size_t unused = 0) {
    Bytes bytes;
    for (const std::string& payload : payloads) put(bytes, payload, more);
    const std::size_t size = bytes.size();
    bytes.resize(size + unused);
    DataRun run;
    run.block = detail::Block::adopt(std::move(bytes));
    run.frames = {run.block->data(), size};
    run.messages = payloads.size();
    run.more = more;
    return run;
}

std::vector<std::string> payloads(const Batch& batch) {
    std::vector<std::string> found;
    for (auto rest = batch.frames; !rest.empty();) {
        const FrameHeader header = FrameHeader::read(rest.data());
        const auto body = rest.subspan(FrameHeader::size, header.length);
        found.emplace_back(reinterpret_cast<const char*>(body.data()), body.size());
        rest = rest.subspan(FrameHeader::size + header.length);
    }
    return found;
}

using Texts = std::vector<std::string>;

/// An intake with room for `limit` bytes, and what it handed out.
struct Taker {
    detail::BlockPool blocks;
    Intake in;
    std::vector<Batch> out;

    explicit Taker(std::uint64_t limit = 100000, std::size_t max_message = 1000) : in(max_message, blocks) {
        in.allow(limit);
    }
    std::optional<Rule> take(const DataRun& run) {
        Batch stamp;
        stamp.session = 7;
        return in.accept(run, std::move(stamp), out);
    }
    std::optional<Rule> skip(std::uint64_t to, std::uint64_t messages) {
        Batch stamp;
        stamp.session = 7;
        return in.skip({user_channel, to, messages}, std::move(stamp), out);
    }
};

}  // namespace

TEST_CASE("a run of messages is handed on as one batch that owes what it used of the credit") {
    Taker receiver;
    CHECK(receiver.take(run_of({"one", "", "three"})) == std::nullopt);
    REQUIRE(receiver.out.size() == 1);
    const Batch& batch = receiver.out[0];
    CHECK(batch.session == 7);
    CHECK(batch.messages == 3);
    CHECK(batch.charge == 32);
    CHECK(batch.lost == 0);
    CHECK(payloads(batch) == Texts{"one", "", "three"});
    CHECK(receiver.in.received() == 32);
    CHECK(receiver.in.consumed() == 0);
    receiver.in.consume(batch.charge);
    CHECK(receiver.in.consumed() == 32);
}

TEST_CASE("a message in chunks that come one by one is handed on once, whole, with the charge of all of them") {
    Taker receiver;
    CHECK(receiver.take(run_of({"begin "}, true)) == std::nullopt);
    CHECK(receiver.in.partial());
    CHECK(receiver.in.partial_charge() == 14);
    CHECK(receiver.take(run_of({"middle "}, true)) == std::nullopt);
    CHECK(receiver.out.empty());
    CHECK(receiver.in.received() == 29);
    CHECK(receiver.take(run_of({"end", "next", "last"})) == std::nullopt);
    REQUIRE(receiver.out.size() == 2);
    CHECK(payloads(receiver.out[0]) == Texts{"begin middle end"});
    CHECK(receiver.out[0].messages == 1);
    CHECK(receiver.out[0].charge == 14 + 15 + 11);
    CHECK(receiver.out[0].session == 7);
    CHECK(payloads(receiver.out[1]) == Texts{"next", "last"});
    CHECK(receiver.out[1].messages == 2);
    CHECK(receiver.out[1].charge == 24);
    CHECK(receiver.out[1].session == 7);
    CHECK_FALSE(receiver.in.partial());
    CHECK(receiver.in.partial_charge() == 0);
    CHECK(receiver.in.received() == 64);
}

TEST_CASE("who keeps a message that came in chunks keeps at most twice its length") {
    Taker receiver(std::size_t{10} << 20, std::size_t{1} << 20);
    const auto take = [&](std::size_t chunks) {
        for (std::size_t i = 1; i < chunks; ++i) {
            REQUIRE(receiver.take(run_of({std::string(10000, 'a')}, true)) == std::nullopt);
        }
        REQUIRE(receiver.take(run_of({"end"})) == std::nullopt);
        const std::string expected = std::string((chunks - 1) * 10000, 'a') + "end";
        REQUIRE(receiver.out.size() == 1);
        CHECK((payloads(receiver.out[0]) == Texts{expected}));
        CHECK(receiver.out[0].block->size() <= 2 * (FrameHeader::size + expected.size()));
        receiver.out.clear();
    };
    for (const std::size_t chunks : {100u, 2u, 100u, 30u, 3u, 60u}) take(chunks);
}

TEST_CASE("messages that come in chunks and are taken are put together in the same memory again") {
    Taker receiver(std::size_t{10} << 20, std::size_t{1} << 20);
    const detail::Block* last = nullptr;
    for (int i = 0; i < 5; ++i) {
        for (int j = 0; j < 50; ++j) {
            REQUIRE(receiver.take(run_of({std::string(10000, 'a')}, true)) == std::nullopt);
        }
        REQUIRE(receiver.take(run_of({"end"})) == std::nullopt);
        const detail::Block* const block = receiver.out.at(0).block.get();
        if (i > 1) CHECK(block == last);
        last = block;
        receiver.out.clear();
    }
}

TEST_CASE("the last chunk of a message may be empty") {
    Taker receiver;
    CHECK(receiver.take(run_of({"all of it"}, true)) == std::nullopt);
    CHECK(receiver.take(run_of({""})) == std::nullopt);
    REQUIRE(receiver.out.size() == 1);
    CHECK(payloads(receiver.out[0]) == Texts{"all of it"});
}

TEST_CASE("a gap throws half a message away and returns the credit of all that it covers") {
    Taker receiver(1000);
    REQUIRE(receiver.take(run_of({"half"}, true)) == std::nullopt);  // 12
    CHECK(receiver.skip(112, 5) == std::nullopt);
    REQUIRE(receiver.out.size() == 1);
    CHECK(receiver.out[0].lost == 5);
    CHECK(receiver.out[0].messages == 0);
    CHECK(receiver.out[0].charge == 0);
    CHECK_FALSE(receiver.in.partial());
    CHECK(receiver.in.partial_charge() == 0);
    CHECK(receiver.in.received() == 112);
    CHECK(receiver.in.consumed() == 112);
    CHECK(receiver.in.limit() == 1100);
    CHECK(receiver.take(run_of({"whole"})) == std::nullopt);
    REQUIRE(receiver.out.size() == 2);
    CHECK(payloads(receiver.out[1]) == Texts{"whole"});
}

TEST_CASE("a gap needs no credit") {
    Taker receiver(11);
    REQUIRE(receiver.take(run_of({"one"})) == std::nullopt);
    CHECK(receiver.skip(5000, 1) == std::nullopt);
    CHECK(receiver.in.received() == 5000);
    CHECK(receiver.in.limit() == 5000);
    CHECK(receiver.take(run_of({""})) == Rule::beyond_credit);
}

TEST_CASE("a gap that goes back, says nothing or has no end is refused and changes nothing") {
    Taker receiver;
    REQUIRE(receiver.take(run_of({"one"})) == std::nullopt);
    CHECK(receiver.skip(11, 1) == Rule::offset_goes_back);
    CHECK(receiver.skip(3, 1) == Rule::offset_goes_back);
    CHECK(receiver.skip(12, 0) == Rule::malformed_body);
    CHECK(receiver.skip(max_gap_end + 1, 1) == Rule::malformed_body);
    CHECK(receiver.skip(11 + 23, 3) == Rule::malformed_body);
    CHECK(receiver.out.size() == 1);
    CHECK(receiver.in.received() == 11);
    CHECK(receiver.in.consumed() == 0);
    CHECK(receiver.skip(11 + 24, 3) == std::nullopt);
    CHECK(receiver.skip(max_gap_end, 1) == std::nullopt);
    CHECK(receiver.in.limit() <= max_offset);
}

TEST_CASE("what is discarded of a message in chunks is counted, takes no credit, and is lost when its end has come") {
    for (const bool tell : {false, true}) {
        CAPTURE(tell);
        Taker receiver(1000);
        REQUIRE(receiver.take(run_of({"begin"}, true)) == std::nullopt);  // 13
        receiver.in.discard(tell);
        CHECK(receiver.in.partial());
        CHECK_FALSE(receiver.in.kept());
        CHECK(receiver.in.partial_charge() == 0);
        CHECK(receiver.in.consumed() == 13);
        REQUIRE(receiver.take(run_of({"more"}, true)) == std::nullopt);  // 25
        CHECK(receiver.in.consumed() == 25);
        CHECK(receiver.out.empty());
        REQUIRE(receiver.take(run_of({"end", "next"})) == std::nullopt);  // 36, 48
        CHECK_FALSE(receiver.in.partial());
        CHECK(receiver.in.consumed() == 36);
        REQUIRE(receiver.out.size() == (tell ? 2 : 1));
        if (tell) CHECK(receiver.out.front().lost == 1);
        CHECK(payloads(receiver.out.back()) == Texts{"next"});
        CHECK(receiver.out.back().charge == 12);
        CHECK(receiver.take(run_of({"whole"}, true)) == std::nullopt);
        CHECK(receiver.in.kept());
    }
}

TEST_CASE("what is discarded still has its longest length, and a gap over its rest ends it") {
    Taker receiver(1000, 10);
    REQUIRE(receiver.take(run_of({"12345"}, true)) == std::nullopt);
    receiver.in.discard(true);
    CHECK(receiver.take(run_of({"678901"}, true)) == Rule::message_too_long);
    CHECK(receiver.skip(113, 2) == std::nullopt);
    REQUIRE(receiver.out.size() == 1);
    CHECK(receiver.out[0].lost == 2);
    CHECK(receiver.in.consumed() == 113);
    CHECK(receiver.take(run_of({"whole"})) == std::nullopt);
    CHECK(payloads(receiver.out.back()) == Texts{"whole"});
}

TEST_CASE("data beyond the credit is refused, and data up to its last byte is not") {
    Taker receiver(22);
    CHECK(receiver.take(run_of({"one", "four"})) == Rule::beyond_credit);
    CHECK(receiver.out.empty());
    CHECK(receiver.in.received() == 0);
    CHECK(receiver.take(run_of({"one", "two"})) == std::nullopt);
    CHECK(receiver.take(run_of({""})) == Rule::beyond_credit);
    CHECK(receiver.take(run_of({"x"}, true)) == Rule::beyond_credit);
    receiver.in.allow(30);
    CHECK(receiver.take(run_of({""})) == std::nullopt);
    receiver.in.allow(0);
    CHECK(receiver.in.limit() == 30);
}

TEST_CASE("a message in chunks longer than the limit is refused as soon as it is known") {
    Taker receiver(100000, 10);
    SUBCASE("at its first chunk") {
        CHECK(receiver.take(run_of({"12345678901"}, true)) == Rule::message_too_long);
    }
    SUBCASE("at a later chunk") {
        REQUIRE(receiver.take(run_of({"123456"}, true)) == std::nullopt);
        CHECK(receiver.take(run_of({"78901"}, true)) == Rule::message_too_long);
    }
    SUBCASE("at its last chunk") {
        REQUIRE(receiver.take(run_of({"123456"}, true)) == std::nullopt);
        CHECK(receiver.take(run_of({"78901"})) == Rule::message_too_long);
    }
    CHECK(receiver.out.empty());
}

TEST_CASE("after a broken rule nothing has been taken") {
    const auto call = [](std::initializer_list<std::size_t> sizes, bool more, std::uint8_t number = 1) {
        Bytes bytes;
        for (const std::size_t size : sizes) {
            const std::size_t at = bytes.size();
            put(bytes, std::string(size, '\0'), more);
            bytes[at + 5] |= std::byte{flag_call};
            if (size > 0) bytes[at + FrameHeader::size] = std::byte{number};
        }
        DataRun run;
        run.block = detail::Block::adopt(std::move(bytes));
        run.frames = {run.block->data(), run.block->size()};
        run.messages = sizes.size();
        run.more = more;
        return run;
    };
    Taker receiver;
    CHECK(receiver.take(call({7}, true)) == Rule::malformed_body);
    CHECK(receiver.take(call({8}, true, 0)) == Rule::malformed_body);
    CHECK(receiver.take(call({20, 7}, false)) == Rule::malformed_body);
    CHECK(receiver.take(call({20}, false, 0)) == Rule::malformed_body);
    CHECK_FALSE(receiver.in.partial());
    CHECK(receiver.in.received() == 0);

    REQUIRE(receiver.take(call({8}, true)) == std::nullopt);
    CHECK(receiver.take(run_of({"goes on otherwise"})) == Rule::wrong_flags);
    CHECK(receiver.take(call({0, 7}, false)) == Rule::malformed_body);
    CHECK(receiver.in.partial());
    CHECK(receiver.in.received() == 16);
    CHECK(receiver.in.partial_charge() == 16);
    CHECK(receiver.out.empty());

    REQUIRE(receiver.take(call({0, 8}, false)) == std::nullopt);
    REQUIRE(receiver.out.size() == 2);
    CHECK(receiver.out[0].charge == 24);
    CHECK(receiver.in.received() == 40);
}

TEST_CASE("a message in chunks of just the longest length is taken") {
    Taker receiver(100000, 10);
    REQUIRE(receiver.take(run_of({"12345"}, true)) == std::nullopt);
    CHECK(receiver.take(run_of({"67890"})) == std::nullopt);
    REQUIRE(receiver.out.size() == 1);
    CHECK(payloads(receiver.out[0]) == Texts{"1234567890"});
}

TEST_CASE("a block is kept where three quarters of it are used, otherwise the messages are copied out of it") {
    const std::string payload(292, 'x');  // 300 with its header
    const struct {
        std::size_t unused;
        bool kept;
    } cases[] = {{0, true}, {100, true}, {104, false}, {5000, false}};
    for (const auto& each : cases) {
        CAPTURE(each.unused);
        Taker receiver;
        const DataRun run = run_of({payload}, false, each.unused);
        REQUIRE(receiver.take(run) == std::nullopt);
        REQUIRE(receiver.out.size() == 1);
        CHECK((receiver.out[0].block == run.block) == each.kept);
        CHECK(receiver.out[0].block->size() <= 400);
        CHECK(payloads(receiver.out[0]) == Texts{payload});
    }
}

TEST_CASE("an acknowledgement is due when data came and when only the limit grew, until it was told") {
    Taker receiver(100);
    receiver.in.told();
    CHECK_FALSE(receiver.in.acknowledgement_due());
    REQUIRE(receiver.take(run_of({"one"})) == std::nullopt);
    CHECK(receiver.in.acknowledgement_due());
    CHECK(receiver.in.unacknowledged() == 11);
    CHECK_FALSE(receiver.in.limit_grew());
    CHECK(receiver.in.room_told() == 89);
    receiver.in.told();
    CHECK_FALSE(receiver.in.acknowledgement_due());
    receiver.in.allow(111);
    CHECK(receiver.in.acknowledgement_due());
    CHECK(receiver.in.limit_grew());
    CHECK(receiver.in.room_told() == 89);
    receiver.in.told();
    CHECK(receiver.in.room_told() == 100);
    CHECK_FALSE(receiver.in.acknowledgement_due());
}
