#include "core/outbox.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::core;

namespace {

constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t plenty = std::size_t{1} << 30;

using Bytes = std::vector<std::byte>;

Bytes frame(std::string_view payload, bool more = false) {
    Bytes bytes(FrameHeader::size + payload.size());
    FrameHeader{static_cast<std::uint32_t>(payload.size()), FrameKind::data, more ? flag_more : std::uint8_t{0}, 0}
        .write(bytes.data());
    if (!payload.empty()) std::memcpy(bytes.data() + FrameHeader::size, payload.data(), payload.size());
    return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

struct Sink final : OutputSink {
    Bytes data;
    std::size_t pieces = 0;
    std::vector<Gap> gaps;

    void frame(const Control& control) override { gaps.push_back(std::get<Gap>(control)); }
    void bytes(const detail::BlockRef& block, std::span<const std::byte> bytes) override {
        CHECK(bytes.data() >= block->data());
        CHECK(bytes.data() + bytes.size() <= block->data() + block->size());
        data.insert(data.end(), bytes.begin(), bytes.end());
        ++pieces;
    }
};

/// An outbox without a limit, and the arena for what it holds.
struct Box {
    Arena arena;
    Outbox out;

    explicit Box(std::uint64_t limit = everything) { out.allow(limit); }
    void add(const Bytes& bytes) { out.append(arena.append(bytes, {})); }
    void add(std::string_view payload, bool more = false) { add(frame(payload, more)); }
    /// Header and body lie apart, as for a buffer that was handed over.
    void adopt(std::string payload, bool more = false) {
        const Bytes all = frame(payload, more);
        Span header = arena.append(std::span(all).first(FrameHeader::size), {});
        out.append(std::move(header), arena.adopt(detail::Block::adopt(std::move(payload))));
    }
    Sink pull(std::size_t budget = plenty) {
        Sink sink;
        out.pull(user_channel, budget, sink);
        return sink;
    }
};

}  // namespace

TEST_CASE("what is abandoned becomes a gap that counts as sent, and what was sent stays") {
    Box box(3 * (FrameHeader::size + 4));
    for (const char* text : {"aaaa", "bbbb", "cccc", "dddd"}) box.add(text);
    box.adopt("eeee", true);
    box.adopt("ffff");
    CHECK(box.pull().data.size() == 36);
    std::optional<Gap> gap;
    const Outbox::Amount given_up = box.out.abandon(user_channel, gap);
    CHECK(given_up.messages == 2);  // dddd, and the one in two chunks
    CHECK(given_up.bytes == 36);
    REQUIRE(gap.has_value());
    CHECK(*gap == Gap{user_channel, 72, 2});
    CHECK(box.out.next() == 72);
    CHECK(box.out.unacknowledged().messages == 3);
    CHECK_FALSE(box.out.ready());

    box.out.abandon(user_channel, gap);
    CHECK_FALSE(gap.has_value());

    // Another link starts before the end of what was sent.
    REQUIRE_FALSE(box.out.rewind(24));
    box.out.allow(everything);
    const Sink again = box.pull();
    CHECK(again.data == frame("cccc"));
    REQUIRE(again.gaps.size() == 1);
    CHECK(again.gaps[0] == Gap{user_channel, 72, 2});
    REQUIRE_FALSE(box.out.acknowledge(72));
    CHECK(box.out.empty());
}

TEST_CASE("frames that lie one behind the other leave an outbox in one piece") {
    Box box;
    box.add("one");
    box.add("two");
    CHECK(box.out.ready());
    Sink sink = box.pull();
    CHECK(sink.pieces == 1);
    CHECK(sink.data == frame("one") + frame("two"));
    CHECK_FALSE(box.out.ready());
    box.add("three");
    sink = box.pull();
    CHECK(sink.data == frame("three"));
    CHECK(box.out.rewind(0) == std::nullopt);
    CHECK(box.pull().pieces == 1);
}

TEST_CASE("frames with those of another outbox between them leave in their order") {
    Box box;
    box.add("one");
    const Span other = box.arena.append(frame("not ours"), {});
    box.add("two");
    const Sink sink = box.pull();
    CHECK(sink.pieces == 2);
    CHECK(sink.data == frame("one") + frame("two"));
}

TEST_CASE("a header and the body that was handed over with it leave together or not at all") {
    Box box(30);
    box.add("small");                // 13
    box.adopt(std::string(20, 'x'));  // 41
    box.add("behind");               // 55
    CHECK(box.pull().data == frame("small"));
    CHECK_FALSE(box.out.ready());
    box.out.allow(40);
    CHECK_FALSE(box.out.ready());
    box.out.allow(41);
    CHECK(box.out.ready());
    CHECK(box.pull(1).data == frame(std::string(20, 'x')));
    box.out.allow(55);
    CHECK(box.pull().data == frame("behind"));
}

TEST_CASE("credit cuts what is sent at the end of a frame") {
    Box box(0);
    box.add("one");    // 11
    box.add("two");    // 22
    box.add("three");  // 35
    CHECK_FALSE(box.out.ready());
    box.out.allow(10);
    CHECK(box.pull().data.empty());
    box.out.allow(34);
    CHECK(box.pull().data == frame("one") + frame("two"));
    CHECK(box.out.next() == 22);
    CHECK_FALSE(box.out.ready());
    box.out.allow(20);
    CHECK(box.out.limit() == 34);
    box.out.allow(35);
    CHECK(box.pull().data == frame("three"));
}

TEST_CASE("an acknowledgement of some of the frames releases just these") {
    Box box;
    box.add("one");
    box.add("two");
    box.adopt("three");
    box.pull();
    CHECK(box.out.size() == 35);
    CHECK(box.out.acknowledge(11) == std::nullopt);
    CHECK(box.out.acknowledged() == 11);
    CHECK(box.out.size() == 24);
    CHECK(box.out.unacknowledged().messages == 2);
    CHECK(box.out.unacknowledged().bytes == 24);
    CHECK(box.out.acknowledge(22) == std::nullopt);
    CHECK(box.out.acknowledge(22) == std::nullopt);
    CHECK(box.out.size() == 13);
    CHECK(box.out.acknowledge(35) == std::nullopt);
    CHECK(box.out.empty());
    CHECK(box.out.size() == 0);
    CHECK(box.arena.pinned() == 0);
}

TEST_CASE("an acknowledgement that cannot be true is refused and changes nothing") {
    Box box(35);
    box.add("one");    // 11
    box.add("two");    // 22
    box.adopt("three");  // 35, its header ends at 30
    box.add("unsent");
    box.pull();
    REQUIRE(box.out.acknowledge(11) == std::nullopt);
    CHECK(box.out.acknowledge(10) == Rule::offset_goes_back);
    CHECK(box.out.acknowledge(36) == Rule::offset_beyond_sent);
    CHECK(box.out.acknowledge(box.out.end()) == Rule::offset_beyond_sent);
    CHECK(box.out.acknowledge(everything) == Rule::offset_beyond_sent);
    CHECK(box.out.acknowledge(25) == Rule::offset_inside_frame);
    CHECK(box.out.acknowledge(30) == Rule::offset_inside_frame);
    CHECK(box.out.acknowledge(33) == Rule::offset_inside_frame);
    CHECK(box.out.acknowledged() == 11);
    CHECK(box.out.size() == 38);
    CHECK(box.out.unacknowledged().messages == 3);
}

TEST_CASE("an acknowledgement inside a frame is refused, also where many lie in one piece and after they were moved") {
    Arena arena;
    Outbox slow;
    slow.allow(everything);
    {
        // What another outbox held between them makes the memory sparse.
        Outbox quick;
        for (int i = 0; i < 3000; ++i) {
            quick.append(arena.append(frame(std::string(1000, 'x')), {}));
            slow.append(arena.append(frame("12345678"), {}));
            slow.append(arena.append(frame("abcdefgh"), {}));
        }
    }
    for (const bool moved : {false, true}) {
        CAPTURE(moved);
        if (moved) slow.compact(arena);
        Sink sink;
        slow.pull(user_channel, plenty, sink);
        const std::uint64_t from = slow.acknowledged();
        for (std::uint64_t at = from + 1; at < from + 64; ++at) {
            CAPTURE(at);
            if ((at - from) % 16 == 0) {
                CHECK(slow.acknowledge(at) == std::nullopt);
            } else {
                CHECK(slow.acknowledge(at) == Rule::offset_inside_frame);
                CHECK(slow.rewind(at) == Rule::offset_inside_frame);
            }
        }
    }
}

TEST_CASE("a gap of which a part had arrived tells of no more messages than have room in the rest") {
    Box box;
    for (int i = 0; i < 12; ++i) box.add("");
    box.pull();
    CHECK(box.out.give_up().messages == 12);
    REQUIRE(box.out.rewind(88) == std::nullopt);
    const Sink sink = box.pull();
    CHECK(sink.gaps == std::vector<Gap>{{user_channel, 96, 1}});
}

TEST_CASE("a new link starts where the peer stands, before or behind what this side sent") {
    Box box;
    box.add("one");    // 11
    box.adopt("two");  // 22
    box.add("three");  // 35
    box.pull();
    SUBCASE("back to the start") {
        CHECK(box.out.rewind(0) == std::nullopt);
        CHECK(box.pull().data == frame("one") + frame("two") + frame("three"));
    }
    SUBCASE("back to the second frame, which acknowledges the first") {
        CHECK(box.out.rewind(11) == std::nullopt);
        CHECK(box.out.acknowledged() == 11);
        CHECK(box.pull().data == frame("two") + frame("three"));
    }
    SUBCASE("forward to what was sent before an earlier step back") {
        REQUIRE(box.out.rewind(0) == std::nullopt);
        CHECK(box.out.next() == 0);
        CHECK(box.out.rewind(22) == std::nullopt);
        CHECK(box.out.acknowledged() == 22);
        CHECK(box.pull().data == frame("three"));
    }
    SUBCASE("to the very end") {
        CHECK(box.out.rewind(35) == std::nullopt);
        CHECK(box.out.empty());
        CHECK_FALSE(box.out.ready());
    }
    CHECK(box.out.next() == 35);
}

TEST_CASE("a link that would start inside a frame or where nothing was sent is refused") {
    Box box(35);
    box.add("one");      // 11
    box.add("two");      // 22
    box.adopt("three");  // 35, its header ends at 30
    box.add("unsent");
    box.pull();
    REQUIRE(box.out.acknowledge(11) == std::nullopt);
    for (const std::uint64_t inside : {12u, 19u, 21u, 23u, 30u, 31u, 34u}) {
        CAPTURE(inside);
        CHECK(box.out.rewind(inside) == Rule::offset_inside_frame);
    }
    CHECK(box.out.rewind(0) == Rule::offset_goes_back);
    CHECK(box.out.rewind(36) == Rule::offset_beyond_sent);
    CHECK(box.out.rewind(box.out.end()) == Rule::offset_beyond_sent);
    CHECK(box.out.acknowledged() == 11);
    CHECK(box.out.next() == 35);
}

TEST_CASE("neighbouring gaps become one, and take no credit and no memory") {
    Box box(11);
    box.add("one");
    for (int i = 0; i < 1000; ++i) box.out.append_gap(108, 1);
    CHECK(box.out.size() == 11);
    CHECK(box.out.outstanding() == 1001);
    const Sink sink = box.pull();
    CHECK(sink.data == frame("one"));
    CHECK(sink.gaps == std::vector<Gap>{{user_channel, 11 + 108000, 1000}});
    CHECK(box.out.next() == box.out.end());
}

TEST_CASE("gaps that were sent one by one are few when they are sent again") {
    Box box;
    std::uint64_t sent = 0;
    for (int i = 0; i < 100; ++i) {
        box.out.append_gap(50, 2);
        const Sink sink = box.pull();
        REQUIRE(sink.gaps.size() == 1);
        CHECK(sink.gaps[0].to == box.out.end());
        sent += sink.gaps[0].messages;
    }
    CHECK(sent == 200);
    CHECK(box.out.rewind(0) == std::nullopt);
    const Sink again = box.pull();
    CHECK(again.gaps.size() <= 2);
    std::uint64_t messages = 0;
    for (const Gap& gap : again.gaps) messages += gap.messages;
    CHECK(messages == 200);
    CHECK(again.gaps.back().to == 5000);
}

TEST_CASE("a gap is sent to whoever stands below its end and to nobody else") {
    Box box;
    box.add("one");             // 11
    box.out.append_gap(20, 1);  // 31
    box.add("two");             // 42
    box.pull();
    const struct {
        std::uint64_t stands;
        bool gap;
        Bytes data;
    } cases[] = {
        {0, true, frame("one") + frame("two")},
        {11, true, frame("two")},
        {12, true, frame("two")},
        {30, true, frame("two")},
        {31, false, frame("two")},
        {42, false, {}},
    };
    for (const auto& each : cases) {
        CAPTURE(each.stands);
        REQUIRE(box.out.rewind(each.stands) == std::nullopt);
        const Sink sink = box.pull();
        CHECK(sink.gaps == (each.gap ? std::vector<Gap>{{user_channel, 31, 1}} : std::vector<Gap>{}));
        CHECK(sink.data == each.data);
    }
}

TEST_CASE("what is given up keeps its place, and a message in chunks counts once") {
    Box box;
    box.add("arrived");          // 15
    box.add("begin", true);      // 28
    box.add("middle", true);     // 42
    box.adopt("rest", true);     // 54
    box.add("end");              // 65
    box.adopt("another");        // 80
    box.out.append_gap(108, 3);  // 188
    box.pull();
    SUBCASE("from its start") { REQUIRE(box.out.acknowledge(15) == std::nullopt); }
    SUBCASE("after its first chunk has arrived") { REQUIRE(box.out.acknowledge(28) == std::nullopt); }
    const std::uint64_t before = box.out.acknowledged();
    const Outbox::Amount given_up = box.out.give_up();
    CHECK(given_up.messages == 2);
    CHECK(given_up.bytes == 80 - before);
    CHECK(box.out.acknowledged() == before);
    CHECK(box.out.end() == 188);
    CHECK(box.out.size() == 0);
    CHECK(box.out.outstanding() == 5);
    CHECK(box.arena.pinned() == 0);
    REQUIRE(box.out.rewind(before) == std::nullopt);
    box.add("new");
    const Sink sink = box.pull();
    CHECK(sink.gaps == std::vector<Gap>{{user_channel, 188, 5}});
    CHECK(sink.data == frame("new"));
    CHECK(box.out.give_up().messages == 1);
}

TEST_CASE("giving up an empty outbox gives up nothing and leaves no gap") {
    Box box;
    CHECK(box.out.give_up().messages == 0);
    box.add("one");
    box.pull();
    REQUIRE(box.out.acknowledge(11) == std::nullopt);
    CHECK(box.out.give_up().messages == 0);
    CHECK(box.out.empty());
    CHECK_FALSE(box.out.ready());
}

TEST_CASE("a budget is kept to about one piece, and nothing is lost by it") {
    Box box;
    Bytes all;
    for (int i = 0; i < 20; ++i) {
        const std::string payload(100, static_cast<char>('a' + i));
        box.adopt(payload);
        all = all + frame(payload);
    }
    Bytes got;
    std::size_t calls = 0;
    while (box.out.ready()) {
        const Sink sink = box.pull(200);
        CHECK(sink.data.size() <= 2 * 108);
        got = got + sink.data;
        ++calls;
    }
    CHECK(calls == 10);
    CHECK(got == all);
}

TEST_CASE("moving sparse memory together keeps every byte and frees the rest") {
    Arena arena;
    Outbox slow;
    Outbox quick;
    slow.allow(everything);
    quick.allow(everything);
    Bytes all;
    for (int i = 0; i < 4000; ++i) {
        const Bytes bytes = frame(std::string(1000, static_cast<char>('a' + i % 26)));
        if (i % 10 == 0) {
            slow.append(arena.append(bytes, {}));
            all = all + bytes;
        } else {
            quick.append(arena.append(bytes, {}));
        }
    }
    Sink sink;
    slow.pull(user_channel, 100 * 1008, sink);
    quick.pull(user_channel, plenty, sink);
    REQUIRE(quick.acknowledge(quick.end()) == std::nullopt);
    CHECK(arena.wasteful());
    CHECK(arena.pinned() > std::size_t{3} << 20);
    const std::uint64_t next = slow.next();
    slow.compact(arena);
    CHECK_FALSE(arena.wasteful());
    CHECK(arena.pinned() < all.size() + 3 * Arena::segment_size);
    CHECK(slow.size() == all.size());
    CHECK(slow.next() == next);
    REQUIRE(slow.rewind(0) == std::nullopt);
    Sink again;
    slow.pull(user_channel, plenty, again);
    CHECK(again.data == all);
    REQUIRE(slow.acknowledge(slow.end()) == std::nullopt);
    CHECK(arena.pinned() == 0);
}

TEST_CASE("what goes to several receivers is held once, until the last has it") {
    Arena arena;
    Outbox outs[3];
    const Bytes bytes = frame(std::string(50000, 'x'));
    for (int i = 0; i < 4; ++i) {
        const Span span = arena.append(bytes, {});
        for (Outbox& out : outs) out.append(span);
    }
    CHECK(arena.pinned() == Arena::segment_size);
    for (Outbox& out : outs) {
        CHECK(arena.pinned() == Arena::segment_size);
        out.allow(everything);
        Sink sink;
        out.pull(user_channel, plenty, sink);
        CHECK(sink.data == bytes + bytes + bytes + bytes);
        REQUIRE(out.acknowledge(out.end()) == std::nullopt);
    }
    CHECK(arena.pinned() == 0);
}

TEST_CASE("memory that is still being written is not used again") {
    Arena arena;
    const Bytes first = frame("first");
    detail::BlockRef writing;
    std::span<const std::byte> bytes;
    {
        const Span span = arena.append(first, {});
        writing = span.segment()->block();
        bytes = span.bytes();
    }
    CHECK(arena.pinned() == 0);
    const Span second = arena.append(frame("other"), {});
    CHECK(second.segment()->block() == writing);
    CHECK(Bytes(bytes.begin(), bytes.end()) == first);
}

TEST_CASE("an arena starts over in the same memory when nothing of it is needed") {
    Arena arena;
    const std::byte* place = nullptr;
    for (int i = 0; i < 10000; ++i) {
        const Span span = arena.append(frame("again"), {});
        if (place == nullptr) place = span.bytes().data();
        CHECK(span.bytes().data() == place);
    }
}

namespace {

/// The whole stream of an outbox byte by byte, and what became of it.
struct Model {
    Bytes stream;
    std::vector<bool> gone;                    ///< by byte
    std::vector<std::uint64_t> ends{0};        ///< where frames and gaps end
    std::vector<std::uint64_t> message_ends;   ///< one entry for each message
    std::uint64_t acknowledged = 0;
    std::uint64_t next = 0;
    std::uint64_t sent = 0;
    std::uint64_t limit = 0;

    void add(const Bytes& bytes, bool lost, std::uint64_t messages) {
        stream.insert(stream.end(), bytes.begin(), bytes.end());
        gone.resize(stream.size(), lost);
        ends.push_back(stream.size());
        message_ends.insert(message_ends.end(), messages, stream.size());
    }
    bool lost(std::uint64_t at) const { return gone[static_cast<std::size_t>(at)]; }
    std::uint64_t end_in(std::uint64_t low, std::uint64_t high, Dice& dice) const {
        std::vector<std::uint64_t> found;
        for (const std::uint64_t end : ends) {
            if (low <= end && end <= high) found.push_back(end);
        }
        return found[dice.below(found.size())];
    }
    std::uint64_t held() const {
        std::uint64_t bytes = 0;
        for (std::uint64_t at = acknowledged; at < stream.size(); ++at) bytes += lost(at) ? 0 : 1;
        return bytes;
    }
    std::uint64_t waiting() const {
        return static_cast<std::uint64_t>(std::count_if(message_ends.begin(), message_ends.end(), [&](auto end) {
            return end > acknowledged && !lost(end - 1);
        }));
    }
    /// Whether something may be sent now.
    bool ready() const {
        if (next == stream.size()) return false;
        if (lost(next)) return true;
        return *std::upper_bound(ends.begin(), ends.end(), next) <= limit;
    }
};

/// Compares what is pulled with the model at once.
struct Checker final : OutputSink {
    Model& model;
    explicit Checker(Model& of) : model(of) {}

    void frame(const Control& control) override {
        const Gap& gap = std::get<Gap>(control);
        CHECK(gap.channel == 3);
        REQUIRE(gap.to > model.next);
        REQUIRE(gap.to <= model.stream.size());
        const auto messages = static_cast<std::uint64_t>(
            std::count_if(model.message_ends.begin(), model.message_ends.end(),
                          [&](auto end) { return model.next < end && end <= gap.to; }));
        CHECK(gap.messages >= messages);
        while (model.next < gap.to) REQUIRE(model.lost(model.next++));
    }
    void bytes(const detail::BlockRef&, std::span<const std::byte> bytes) override {
        REQUIRE(bytes.size() <= model.stream.size() - model.next);
        CHECK(model.next + bytes.size() <= model.limit);
        const auto from = model.stream.begin() + static_cast<std::ptrdiff_t>(model.next);
        REQUIRE(std::equal(bytes.begin(), bytes.end(), from));
        for (std::size_t i = 0; i < bytes.size(); ++i) REQUIRE_FALSE(model.lost(model.next++));
    }
};

void random_life(std::uint64_t seed) {
    Dice dice(seed);
    Box box(0);
    Model model;
    std::vector<Span> strangers;  // what other outboxes hold in the same memory
    for (int i = 0; i < 300; ++i) {
        switch (dice.below(11)) {
            case 0:
            case 1:
            case 2: {
                const bool more = dice.below(3) == 0;
                const std::string payload(more + dice.below(60), static_cast<char>('a' + i % 26));
                if (dice.below(3) == 0) {
                    box.adopt(payload + "!", more);
                    model.add(frame(payload + "!", more), false, more ? 0 : 1);
                } else {
                    box.add(payload, more);
                    model.add(frame(payload, more), false, more ? 0 : 1);
                }
                break;
            }
            case 3: {
                const std::uint64_t bytes = 24 + dice.below(60);
                const std::uint64_t messages = 1 + dice.below(3);
                box.out.append_gap(bytes, messages);
                model.add(Bytes(bytes), true, messages);
                break;
            }
            case 4: strangers.push_back(box.arena.append(frame("other"), {})); break;
            case 5:
            case 6: {
                Checker checker(model);
                box.out.pull(3, 1 + dice.below(200), checker);
                model.sent = std::max(model.sent, model.next);
                break;
            }
            case 7:
                model.limit = std::max(model.limit, model.next + dice.below(300));
                box.out.allow(model.limit);
                break;
            case 8:
                model.acknowledged = model.end_in(model.acknowledged, model.next, dice);
                REQUIRE(box.out.acknowledge(model.acknowledged) == std::nullopt);
                break;
            case 9:
                model.acknowledged = model.next = model.end_in(model.acknowledged, model.sent, dice);
                REQUIRE(box.out.rewind(model.next) == std::nullopt);
                break;
            default:
                if (dice.below(8) == 0) {
                    const std::uint64_t messages = model.waiting();
                    const std::uint64_t bytes = model.held();
                    const Outbox::Amount given_up = box.out.give_up();
                    CHECK(given_up.messages == messages);
                    CHECK(given_up.bytes == bytes);
                    std::fill(model.gone.begin() + static_cast<std::ptrdiff_t>(model.acknowledged), model.gone.end(),
                              true);
                    // It is given up when the link is gone; the next one starts where the peer stands.
                    model.acknowledged = model.next = model.end_in(model.acknowledged, model.sent, dice);
                    REQUIRE(box.out.rewind(model.next) == std::nullopt);
                } else {
                    box.out.compact(box.arena);
                }
        }
        REQUIRE(box.out.acknowledged() == model.acknowledged);
        REQUIRE(box.out.next() == model.next);
        REQUIRE(box.out.end() == model.stream.size());
        REQUIRE(box.out.size() == model.held());
        REQUIRE(box.out.unacknowledged().messages == model.waiting());
        REQUIRE(box.out.ready() == model.ready());
    }
    model.limit = everything;
    box.out.allow(everything);
    while (box.out.ready()) {
        Checker checker(model);
        box.out.pull(3, 100, checker);
    }
    CHECK(model.next == model.stream.size());
}

}  // namespace

TEST_CASE("an outbox agrees with a plain vector of bytes over many random lives") {
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        CAPTURE(seed);
        random_life(seed);
    }
}
