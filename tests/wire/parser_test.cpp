#include "wire/parser.hpp"

#include "wire/codec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace {

using namespace cluster;

using Bytes = std::vector<std::byte>;

void append(Bytes& out, core::FrameHeader header, std::size_t body) {
    header.length = static_cast<std::uint32_t>(body);
    const std::size_t begin = out.size();
    out.resize(begin + core::FrameHeader::size + body);
    header.write(out.data() + begin);
    for (std::size_t i = 0; i != body; ++i) {
        out[begin + core::FrameHeader::size + i] = static_cast<std::byte>(begin + i);
    }
}

void data(Bytes& out, std::size_t body, std::uint16_t channel = 0, std::uint8_t flags = 0) {
    append(out, {.flags = flags, .channel = channel}, body);
}

Bytes bytes_of(const core::Control& frame) {
    Bytes out;
    wire::encode(frame, out);
    return out;
}

core::Control hello() {
    core::Hello hello;
    hello.cluster = "demo";
    hello.self.name = "ann";
    return hello;
}

/// What came out of a stream, however it was cut: messages one by one, frames with MORE marked.
struct Seen {
    struct Data {
        Bytes frame;
        std::uint16_t channel;
        bool more;
        friend bool operator==(const Data&, const Data&) = default;
    };
    std::vector<std::variant<Data, core::Control>> frames;
    std::optional<core::Rule> broken;
    std::size_t runs = 0;
    std::size_t left = 0;     ///< bytes of an incomplete frame
    std::size_t missing = 0;  ///< what the parser says it lacks
};

/// Feeds a stream as a connection does: reads of given sizes into one block, the tail copied to its front.
template <class NextSize>
Seen parse(std::span<const std::byte> stream, NextSize next_size) {
    wire::Parser parser;
    Seen seen;
    const auto block = detail::Block::allocate(std::size_t{128} << 10);
    std::size_t end = 0;
    while (!stream.empty() && !seen.broken) {
        const std::size_t size = std::min({next_size(), stream.size(), block->size() - end});
        std::memcpy(block->data() + end, stream.data(), size);
        stream = stream.subspan(size);
        end += size;
        std::size_t begin = 0;
        for (;;) {
            wire::Parser::Item item = parser.next(block, begin, end);
            if (const auto* run = std::get_if<core::DataRun>(&item)) {
                CHECK(run->block == block);
                ++seen.runs;
                std::size_t messages = 0;
                for (auto rest = run->frames; !rest.empty(); ++messages) {
                    const std::size_t frame = core::FrameHeader::size + core::FrameHeader::read(rest.data()).length;
                    seen.frames.push_back(
                        Seen::Data{Bytes(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(frame)), run->channel,
                                   run->more});
                    rest = rest.subspan(frame);
                }
                CHECK(messages == run->messages);
            } else if (auto* control = std::get_if<core::Control>(&item)) {
                seen.frames.push_back(std::move(*control));
            } else if (const auto* rule = std::get_if<core::Rule>(&item)) {
                seen.broken = *rule;
                break;
            } else {
                seen.missing = std::get<wire::Parser::Incomplete>(item).missing;
                break;
            }
        }
        std::memmove(block->data(), block->data() + begin, end - begin);
        end -= begin;
        if (!seen.broken) CHECK(end < core::max_data_frame);
    }
    seen.left = end;
    return seen;
}

Seen parse(std::span<const std::byte> stream) {
    return parse(stream, [] { return SIZE_MAX; });
}

Seen greeted(const Bytes& rest) {
    Bytes stream = bytes_of(hello());
    stream.insert(stream.end(), rest.begin(), rest.end());
    return parse(stream);
}

/// What a header alone brings about, nothing of its body being there.
std::optional<core::Rule> broken_by_header(core::FrameHeader header, bool after_hello) {
    Bytes stream = after_hello ? bytes_of(hello()) : Bytes();
    const std::size_t begin = stream.size();
    stream.resize(begin + core::FrameHeader::size);
    header.write(stream.data() + begin);
    return parse(stream).broken;
}

Bytes varied_stream() {
    Bytes stream = bytes_of(hello());
    const auto control = [&stream](const core::Control& frame) { wire::encode(frame, stream); };
    control(core::Offer{});
    for (std::size_t i = 0; i != 50; ++i) data(stream, i);
    control(core::Ack{{{0, 100, 200}}});
    for (std::size_t i = 0; i != 20; ++i) data(stream, 64, static_cast<std::uint16_t>(i / 7), core::flag_call);
    data(stream, 1000, 0, core::flag_more);
    control(core::Ping{1, 2});
    data(stream, core::max_chunk, 0, core::flag_more);
    data(stream, 0);
    append(stream, {.kind = core::FrameKind{77}, .flags = core::flag_skippable, .channel = 5}, core::max_control_body);
    data(stream, core::max_chunk);
    control(core::Gap{3, 4096, 2});
    append(stream, {.kind = core::FrameKind{200}, .flags = 0xff}, 0);
    for (std::size_t i = 0; i != 3000; ++i) data(stream, 40);
    control(core::Goodbye{core::Farewell::leaving, {{0, 1, 2}}});
    return stream;
}

TEST_SUITE("parser") {
    TEST_CASE("messages of one channel that stand side by side are one run") {
        Bytes stream;
        for (int i = 0; i != 100; ++i) data(stream, 64);
        const Seen seen = greeted(stream);
        CHECK_FALSE(seen.broken);
        CHECK(seen.runs == 1);
        CHECK(seen.frames.size() == 101);
        CHECK(seen.left == 0);
    }

    TEST_CASE("a run ends at another channel, at a chunk, and at a control frame") {
        Bytes stream;
        data(stream, 1);
        data(stream, 2);
        data(stream, 3, 2);
        data(stream, 4, 2, core::flag_more);
        data(stream, 5, 2, core::flag_more);
        data(stream, 6, 2);
        data(stream, 7, 2);
        wire::encode(core::Pong{1}, stream);
        data(stream, 8, 2);
        const Seen seen = greeted(stream);
        CHECK_FALSE(seen.broken);
        CHECK(seen.runs == 6);
        REQUIRE(seen.frames.size() == 10);
        CHECK(std::get<Seen::Data>(seen.frames[4]).more);
        CHECK(std::get<Seen::Data>(seen.frames[5]).more);
        CHECK_FALSE(std::get<Seen::Data>(seen.frames[6]).more);
        CHECK(std::get<core::Control>(seen.frames[8]) == core::Control(core::Pong{1}));
    }

    TEST_CASE("however the stream is cut, the same comes out") {
        const Bytes stream = varied_stream();
        const Seen whole = parse(stream);
        REQUIRE_FALSE(whole.broken);
        REQUIRE(whole.left == 0);
        REQUIRE(whole.frames.size() == 1 + 1 + 50 + 1 + 20 + 1 + 1 + 1 + 1 + 1 + 1 + 3000 + 1);

        const Seen single = parse(stream, [] { return std::size_t{1}; });
        CHECK_FALSE(single.broken);
        CHECK(single.frames == whole.frames);
        for (unsigned seed = 0; seed != 30; ++seed) {
            CAPTURE(seed);
            std::minstd_rand random(seed);
            const std::size_t most = std::size_t{1} << (1 + seed % 17);
            const Seen cut = parse(stream, [&] { return 1 + random() % most; });
            CHECK_FALSE(cut.broken);
            CHECK(cut.left == 0);
            CHECK((cut.frames == whole.frames));
        }
    }

    TEST_CASE("an incomplete frame is left where it is, and its missing bytes are known from its header on") {
        Bytes stream;
        data(stream, 10);
        data(stream, 1000);
        const std::size_t whole = stream.size();
        for (std::size_t size = 18; size != whole; ++size) {
            const Bytes rest(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size));
            const Seen seen = greeted(rest);
            CHECK(seen.frames.size() == 2);
            CHECK(seen.left == size - 18);
            CHECK(seen.missing == (size < 26 ? 0 : whole - size));
        }
    }

    TEST_CASE("an empty message is a message, an empty chunk is not a chunk") {
        Bytes stream;
        data(stream, 0);
        data(stream, 0);
        CHECK(greeted(stream).frames.size() == 3);
        CHECK(broken_by_header({.flags = core::flag_more}, true) == core::Rule::malformed_body);
    }

    TEST_CASE("unknown kinds are skipped if they allow it, else they break a rule") {
        Bytes stream;
        append(stream, {.kind = core::FrameKind{17}, .flags = core::flag_skippable}, 0);
        append(stream, {.kind = core::FrameKind{0}, .flags = 0xff, .channel = 9}, core::max_control_body);
        data(stream, 3);
        const Seen seen = greeted(stream);
        CHECK_FALSE(seen.broken);
        CHECK(seen.frames.size() == 2);
        for (const int kind : {0, 17, 255}) {
            for (const bool after_hello : {false, true}) {
                const auto unknown = static_cast<core::FrameKind>(kind);
                CHECK(broken_by_header({.kind = unknown}, after_hello) == core::Rule::unknown_kind);
                CHECK(broken_by_header({.kind = unknown, .flags = 0x7f}, after_hello) == core::Rule::unknown_kind);
            }
        }
    }

    TEST_CASE("a length beyond its limit is found in the header") {
        const auto broken = [](core::FrameKind kind, std::size_t length, bool after_hello) {
            const std::uint8_t flags = kind == core::FrameKind{99} ? core::flag_skippable : std::uint8_t{0};
            return broken_by_header({static_cast<std::uint32_t>(length), kind, flags, 0}, after_hello);
        };
        const auto too_long = core::Rule::frame_too_long;
        for (const auto kind : {core::FrameKind::hello, core::FrameKind::data, core::FrameKind::peers,
                                core::FrameKind::refuse, core::FrameKind{99}}) {
            CHECK_FALSE(broken(kind, core::max_hello_body, false));
            CHECK(broken(kind, core::max_hello_body + 1, false) == too_long);
            CHECK(broken(kind, UINT32_MAX, false) == too_long);
            CHECK(broken(kind, core::max_chunk + 1, true) == too_long);
            CHECK(broken(kind, UINT32_MAX, true) == too_long);
        }
        CHECK_FALSE(broken(core::FrameKind::data, core::max_chunk, true));
        CHECK_FALSE(broken(core::FrameKind::peers, core::max_control_body, true));
        CHECK_FALSE(broken(core::FrameKind{99}, core::max_control_body, true));
        CHECK(broken(core::FrameKind::hello, core::max_hello_body + 1, true) == too_long);
    }

    TEST_CASE("a link that begins with TLS is told apart, and only at its beginning") {
        const auto broken = [](std::uint32_t length, std::uint8_t kind, bool after_hello) {
            return broken_by_header({length, core::FrameKind{kind}, 0, 0}, after_hello);
        };
        constexpr std::uint32_t client_hello = 0x02010316;  // 16 03 01 02
        constexpr std::uint32_t alert = 0x00030315;         // 15 03 03 00
        CHECK(broken(client_hello, 0, false) == core::Rule::encrypted);
        CHECK(broken(alert, 2, false) == core::Rule::encrypted);
        CHECK(broken(client_hello, 5, true) == core::Rule::frame_too_long);
        CHECK(broken(0x02000316, 0, false) != core::Rule::encrypted);
        CHECK(broken(0x02010317, 0, false) != core::Rule::encrypted);
        CHECK(broken(0x02010216, 0, false) != core::Rule::encrypted);
        CHECK_FALSE(broken(0x00000316, 1, false));  // the length of a HELLO
    }

    TEST_CASE("the rule is found behind a run, too, and the run is handed out first") {
        Bytes stream;
        data(stream, 5);
        data(stream, 5);
        append(stream, {.flags = 0x40}, 5);
        const Seen seen = greeted(stream);
        CHECK(seen.frames.size() == 3);
        CHECK(seen.broken == core::Rule::wrong_flags);

        stream.clear();
        data(stream, 5);
        data(stream, core::max_chunk + 1);
        const Seen too_long = greeted(stream);
        CHECK(too_long.frames.size() == 2);
        CHECK(too_long.broken == core::Rule::frame_too_long);
    }

    TEST_CASE("flags that mean nothing are refused") {
        for (unsigned flags = 0; flags != 256; ++flags) {
            const auto with = [flags](core::FrameKind kind) {
                return broken_by_header({.length = 1, .kind = kind, .flags = static_cast<std::uint8_t>(flags)}, true);
            };
            CHECK((with(core::FrameKind::data) == core::Rule::wrong_flags) == (flags > 3));
            CHECK((with(core::FrameKind::ack) == core::Rule::wrong_flags) == (flags != 0 && flags != 0x80));
        }
        CHECK(broken_by_header({.length = 8, .kind = core::FrameKind::ack, .channel = 1}, true) ==
              core::Rule::wrong_flags);
        CHECK_FALSE(broken_by_header({.length = 8, .kind = core::FrameKind::gap, .channel = 1}, true));
        for (const unsigned more : {0u, 1u}) {
            const auto reply = [&](unsigned flags, std::uint16_t channel = core::reply_channel) {
                return broken_by_header({.length = 12,
                                         .kind = core::FrameKind::data,
                                         .flags = static_cast<std::uint8_t>(flags | more),
                                         .channel = channel},
                                        true);
            };
            CHECK(reply(0) == core::Rule::wrong_flags);
            CHECK_FALSE(reply(core::flag_call));
            CHECK(reply(core::flag_error) == core::Rule::wrong_flags);
            CHECK(reply(core::flag_call | core::flag_error, core::user_channel) == core::Rule::wrong_flags);
            CHECK(reply(core::flag_call | core::flag_error).has_value() == (more != 0));
            for (const std::uint16_t channel : {core::replica_channel, core::client_channel}) {
                CHECK_FALSE(reply(0, channel));
                CHECK(reply(core::flag_call, channel) == core::Rule::wrong_flags);
                CHECK(reply(core::flag_error, channel) == core::Rule::wrong_flags);
                CHECK(reply(core::flag_call | core::flag_error, channel) == core::Rule::wrong_flags);
            }
        }
    }

    TEST_CASE("a control frame that does not decode breaks a rule") {
        Bytes stream = bytes_of(hello());
        stream[8] = std::byte{'X'};
        CHECK(parse(stream).broken == core::Rule::bad_magic);
        Bytes ack;
        append(ack, {.kind = core::FrameKind::ack}, 7);
        CHECK(greeted(ack).broken == core::Rule::malformed_body);
    }
}

}  // namespace
