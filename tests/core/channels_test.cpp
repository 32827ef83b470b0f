#include "core/channels.hpp"

#include "core/session.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::core;

namespace {

/// One channel whose queue outlives a link, and one whose queue does not.
constexpr std::array rows{ChannelRow{.id = 0}, ChannelRow{.id = 1, .window = 1000, .outlives_link = false}};

struct Gaps final : OutputSink {
    std::vector<Gap> gaps;
    std::size_t bytes_written = 0;
    void frame(const Control& frame) override { gaps.push_back(std::get<Gap>(frame)); }
    void bytes(const detail::BlockRef&, std::span<const std::byte> bytes) override { bytes_written += bytes.size(); }
};

struct Queued {
    detail::BlockPool blocks;
    Arena arena;
    Session session{1, true, 1000, blocks, rows};

    void queue(std::uint16_t channel, std::string_view payload) {
        std::array<std::byte, FrameHeader::size> header{};
        FrameHeader{static_cast<std::uint32_t>(payload.size()), FrameKind::data, 0, channel}.write(header.data());
        session.channel(channel)->out.append(arena.append(header, std::as_bytes(std::span(payload))));
    }
    Gaps pull(std::uint16_t channel) {
        Gaps sink;
        session.channel(channel)->out.pull(channel, 1 << 20, sink);
        return sink;
    }
};

}  // namespace

TEST_CASE("channels: they are ordered by id, each is found by it, and no two have the same receiver") {
    for (std::size_t i = 0; i < channel_table.size(); ++i) {
        CHECK(&row_of(channel_table[i].id) == &channel_table[i]);
        for (std::size_t j = 0; j < i; ++j) {
            CHECK(channel_table[j].id < channel_table[i].id);
            CHECK(channel_table[j].receiver != channel_table[i].receiver);
        }
    }
    CHECK(channel_table.size() <= max_channels);
}

TEST_CASE("channels: a session has those of its table, and none between them") {
    detail::BlockPool blocks;
    Session session(1, true, 1000, blocks);
    for (const ChannelRow& row : channel_table) {
        REQUIRE(session.channel(row.id) != nullptr);
        CHECK(&session.channel(row.id)->row == &row);
    }
    CHECK(&session.user() == session.channel(user_channel));
    for (const std::uint16_t unknown : {std::uint16_t{2}, std::uint16_t{5}, std::uint16_t{0xffff}}) {
        CHECK(session.channel(unknown) == nullptr);
        const Offset nothing{unknown, 0, 1000};
        CHECK(session.acknowledge({&nothing, 1}) == std::nullopt);
        const Offset something{unknown, 8, 1000};
        CHECK(session.acknowledge({&something, 1}) == Rule::offset_beyond_sent);
    }
}

TEST_CASE("channels: between a node and a guest there is that of clients and no other") {
    REQUIRE(guest_channels.size() == 1);
    CHECK(&guest_channels.front() == &row_of(client_channel));
    detail::BlockPool blocks;
    Session session(1, true, 1000, blocks, guest_channels);
    CHECK(session.state_offsets() == std::vector<Offset>{{client_channel, 0, client_window}});
    for (const std::uint16_t other : {user_channel, reply_channel, replica_channel}) {
        CHECK(session.channel(other) == nullptr);
    }
}

TEST_CASE("channels: what is not counted is owed an acknowledgement, but not waited for") {
    constexpr std::array uncounted{ChannelRow{.id = 0}, ChannelRow{.id = 3, .window = 1000, .counted = false}};
    detail::BlockPool blocks;
    Arena arena;
    Session session(1, true, 1000, blocks, uncounted);
    CHECK_FALSE(session.owed_acknowledgement());
    std::array<std::byte, FrameHeader::size> empty{};
    for (const std::uint16_t channel : {std::uint16_t{3}, std::uint16_t{0}}) {
        CHECK(session.all_acknowledged());
        FrameHeader{0, FrameKind::data, 0, channel}.write(empty.data());
        session.channel(channel)->out.append(arena.append(empty, {}));
        CHECK(session.owed_acknowledgement());
    }
    CHECK_FALSE(session.all_acknowledged());
}

TEST_CASE("channels: what is queued goes with its link where a channel does not outlive it, and a gap stands there") {
    Queued pair;
    pair.session.attach(7);
    const std::array<Offset, 2> room{Offset{0, 0, 1000}, Offset{1, 0, 1000}};
    CHECK(pair.session.rewind(room) == std::nullopt);
    for (const std::uint16_t channel : {user_channel, reply_channel}) {
        pair.queue(channel, "first");
        pair.pull(channel);
        pair.queue(channel, "second");
    }
    REQUIRE(pair.session.lose(7));
    const std::uint64_t first_end = FrameHeader::size + 5;
    const std::uint64_t end = first_end + FrameHeader::size + 6;
    CHECK(pair.session.channel(0)->out.unacknowledged().messages == 2);
    CHECK(pair.session.channel(1)->out.unacknowledged().messages == 0);
    // The first of both arrived.
    const std::array<Offset, 2> stated{Offset{0, first_end, 1000}, Offset{1, first_end, 1000}};
    CHECK(pair.session.rewind(stated) == std::nullopt);
    const Gaps kept = pair.pull(0);
    CHECK(kept.gaps.empty());
    CHECK(kept.bytes_written == end - first_end);
    const Gaps gone = pair.pull(1);
    REQUIRE(gone.gaps.size() == 1);
    CHECK(gone.gaps[0].to == end);
    CHECK(gone.bytes_written == 0);
    pair.queue(1, "third");
    CHECK(pair.pull(1).bytes_written == FrameHeader::size + 5);
}

TEST_CASE("channels: half a message is kept for the next link where what is queued outlives its link") {
    Queued pair;
    pair.session.attach(7);
    pair.session.user().in.allow(1000);
    std::array<std::byte, FrameHeader::size + 1> part{};
    for (const std::uint16_t channel : {user_channel, reply_channel}) {
        FrameHeader{1, FrameKind::data, flag_more, channel}.write(part.data());
        DataRun run;
        run.block = detail::Block::copy(part);
        run.frames = {run.block->data(), part.size()};
        run.messages = 1;
        run.more = true;
        std::vector<Batch> batches;
        CHECK(pair.session.channel(channel)->in.accept(run, Batch{}, batches) == std::nullopt);
        CHECK(pair.session.channel(channel)->in.kept());
    }
    REQUIRE(pair.session.lose(7));
    CHECK(pair.session.channel(0)->in.kept());
    CHECK_FALSE(pair.session.channel(1)->in.kept());
    CHECK(pair.session.channel(1)->in.consumed() == part.size());
}

TEST_CASE("channels: a link that carries no session takes nothing along") {
    Queued pair;
    pair.session.attach(7);
    pair.queue(1, "stays");
    CHECK_FALSE(pair.session.lose(8));
    CHECK(pair.session.channel(1)->out.unacknowledged().messages == 1);
}

TEST_CASE("channels: a window begins behind what has come, the share of the pool does not grow by itself") {
    Queued pair;
    Session::Channel& windowed = *pair.session.channel(1);
    CHECK(windowed.in.limit() == 1000);
    CHECK(pair.session.channel(0)->in.limit() == 0);
    const std::array<std::byte, FrameHeader::size> empty{std::byte{0}, {}, {}, {}, std::byte{5}};
    DataRun run;
    run.block = detail::Block::copy(empty);
    run.frames = {run.block->data(), empty.size()};
    run.messages = 1;
    std::vector<Batch> batches;
    CHECK(windowed.in.accept(run, Batch{}, batches) == std::nullopt);
    CHECK(windowed.in.limit() == 1000);
    Session::renew(windowed, batches);
    CHECK(windowed.in.limit() == 1000 + empty.size());
    CHECK(windowed.in.consumed() == empty.size());
    Session::renew(pair.session.user());
    CHECK(pair.session.user().in.limit() == 0);
}
