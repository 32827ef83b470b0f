#include "wire/codec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace cluster;
using core::Rule;

using Bytes = std::vector<std::byte>;

Bytes encoded(const core::Control& frame) {
    Bytes out;
    wire::encode(frame, out);
    return out;
}

std::optional<Rule> decoded(const Bytes& frame, core::Control& out) {
    return wire::decode(core::FrameHeader::read(frame.data()), std::span(frame).subspan(core::FrameHeader::size), out);
}

std::optional<Rule> broken_by(const Bytes& frame) {
    core::Control out;
    return decoded(frame, out);
}

/// A frame of any body, as a stranger may send it.
Bytes framed(core::FrameHeader header, const Bytes& body) {
    header.length = static_cast<std::uint32_t>(body.size());
    Bytes frame(core::FrameHeader::size + body.size());
    header.write(frame.data());
    std::copy(body.begin(), body.end(), frame.begin() + core::FrameHeader::size);
    return frame;
}

class Body {
public:
    template <class T>
    Body& number(T value) {
        for (std::size_t i = 0; i != sizeof value; ++i) {
            bytes_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i)));
        }
        return *this;
    }
    Body& size(std::uint64_t value) {
        for (; value > 0x7f; value >>= 7) number(static_cast<std::uint8_t>(value | 0x80));
        return number(static_cast<std::uint8_t>(value));
    }
    Body& text(std::string_view text) {
        size(text.size());
        return raw(text);
    }
    Body& raw(std::string_view text) {
        for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
        return *this;
    }
    Body& zeros(std::size_t count) {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    Body& offset(std::uint16_t channel, std::uint64_t a, std::uint64_t b) {
        return number(channel).number(a).number(b);
    }
    const Bytes& bytes() const { return bytes_; }

private:
    Bytes bytes_;
};

std::array<std::uint8_t, 16> counting_from(std::uint8_t value) {
    std::array<std::uint8_t, 16> bytes{};
    std::iota(bytes.begin(), bytes.end(), value);
    return bytes;
}

std::array<std::uint8_t, 16> from_hex(std::string_view digits) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i != 16; ++i) {
        bytes[i] = static_cast<std::uint8_t>(std::stoi(std::string(digits.substr(2 * i, 2)), nullptr, 16));
    }
    return bytes;
}

core::Facts some_facts() {
    return {{counting_from(1)}, 1, "ann", "", {{"127.0.0.1", 7001}}, {{"role", "db"}}};
}

core::Hello some_hello() {
    core::Hello hello;
    hello.cluster = "demo";
    hello.nonce.fill(0x11);
    hello.resume_for_ms = 300'000;
    hello.max_message = 16u << 20;
    hello.observed = {"127.0.0.1", 7002};
    hello.self = some_facts();
    return hello;
}

core::MemberList some_members() {
    core::MemberEntry primary;
    primary.id.bytes.fill(0x77);
    for (const char c : std::string_view("primary")) primary.data.push_back(static_cast<std::uint8_t>(c));
    return {true, true, 0, 2, {primary}};
}

struct Example {
    std::string name;
    core::Control frame;
};

/// The examples of PROTOCOL.md as values.
std::vector<Example> examples() {
    const core::Token token = counting_from(0x30);
    core::Facts carol;
    carol.id.bytes.fill(0x5c);
    carol.version = 300;
    carol.name = "carol";
    carol.member = "c";
    carol.addresses = {{"::1", 7003}, {"carol.example", 7003}};
    core::Hello observer;
    observer.features = core::feature_members | core::feature_calls | core::feature_errors | core::feature_observer;
    observer.cluster = "demo";
    observer.nonce.fill(0x22);
    observer.resume_for_ms = 300'000;
    observer.max_message = 65'536;
    observer.self.id.bytes.fill(0x77);
    observer.self.version = 1;
    observer.self.name = "top";
    core::Hello guest = observer;
    guest.features = core::feature_clients | core::feature_guest;
    guest.nonce.fill(0x33);
    guest.self.id.bytes.fill(0x88);
    guest.self.name = "gus";
    return {
        {"hello", some_hello()},
        {"hello-observer", observer},
        {"hello-guest", guest},
        {"offer", core::Offer{}},
        {"offer-again", core::Offer{from_hex("1da67b098ceee33ff0710b814f86969c"), 1, false, true}},
        {"attach", core::Attach{token, true, 1, {{0, 0, 131'072}}, 0}},
        {"attach-again",
         core::Attach{from_hex("8b768b2f7ca5d8a0764460e98d2b873c"), false, 2, {{0, 0, 131'072}, {2, 96, 65'536}}, 0}},
        {"attached", core::Attached{1, {{0, 0, 131'072}}, 0}},
        {"gap", core::Gap{2, 4096, 3}},
        {"ack-empty", core::Ack{}},
        {"ack", core::Ack{{{0, 21, 131'093}}}},
        {"goodbye", core::Goodbye{core::Farewell::leaving, {{0, 21, 0}}}},
        {"refuse", core::Refuse{core::Refusal::cluster, std::nullopt, "this is \"demo\""}},
        {"refuse-removed", core::Refuse{core::Refusal::removed, from_hex("0aed4ced2ff30f5ae0cc0c12f24cd579"), ""}},
        {"peers", core::PeerList{{carol}}},
        {"ping", core::Ping{7, 0x4eb5e5483ff21794}},
        {"pong", core::Pong{7}},
        {"inquiry", core::Inquiry{carol.id, true}},
        {"finding", core::Finding{carol.id, false}},
        {"members", some_members()},
        {"members-seen", core::MembersSeen{2}},
    };
}

/// The dumps of PROTOCOL.md: blocks that begin with "```hex name"; in each line what stands before a semicolon.
std::map<std::string, Bytes> dumps() {
    std::ifstream file(CLUSTER_SOURCE_DIR "/src/wire/PROTOCOL.md");
    REQUIRE(file.is_open());
    std::map<std::string, Bytes> dumps;
    Bytes* dump = nullptr;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("```")) {
            dump = line.starts_with("```hex ") ? &dumps[line.substr(7)] : nullptr;
        } else if (dump != nullptr) {
            std::istringstream digits(line.substr(0, line.find(';')));
            for (std::string byte; digits >> byte;) {
                dump->push_back(static_cast<std::byte>(std::stoi(byte, nullptr, 16)));
            }
        }
    }
    return dumps;
}

core::Facts longest_facts() {
    core::Facts facts;
    facts.name.assign(core::max_name, 'n');
    facts.member.assign(core::max_name, 'm');
    for (std::uint16_t i = 0; i != core::max_addresses; ++i) {
        facts.addresses.push_back({std::string(core::max_host, 'h'), i});
    }
    for (std::size_t i = 0; i != core::max_tags; ++i) {
        std::string key(core::max_tag_key, 'k');
        key[0] = static_cast<char>('0' + i);
        facts.tags[key].assign(core::max_tag_value, 'v');
    }
    return facts;
}

/// HELLO and PEERS, whose facts are `facts` however wrong they are.
std::array<Bytes, 2> carrying(const core::Facts& facts) {
    Body body;
    body.raw({reinterpret_cast<const char*>(facts.id.bytes.data()), 16}).number(facts.version);
    body.text(facts.name).text(facts.member).size(facts.addresses.size());
    for (const Address& address : facts.addresses) body.text(address.host).number(address.port);
    body.size(facts.tags.size());
    for (const auto& [key, value] : facts.tags) body.text(key).text(value);

    const Bytes hello = encoded(some_hello());
    const std::size_t before = hello.size() - encoded(core::PeerList{{some_facts()}}).size() + 1;
    Bytes hello_body(hello.begin() + core::FrameHeader::size,
                     hello.begin() + static_cast<std::ptrdiff_t>(core::FrameHeader::size + before));
    hello_body.insert(hello_body.end(), body.bytes().begin(), body.bytes().end());
    Bytes list{std::byte{1}};
    list.insert(list.end(), body.bytes().begin(), body.bytes().end());
    return {framed({.kind = core::FrameKind::hello}, hello_body),
            framed({.kind = core::FrameKind::peers, .flags = core::flag_skippable}, list)};
}

template <class Change>
void check_facts(std::optional<Rule> expected, Change change) {
    core::Facts facts = longest_facts();
    change(facts);
    for (const Bytes& frame : carrying(facts)) CHECK(broken_by(frame) == expected);
}

TEST_SUITE("codec") {
    TEST_CASE("every example in PROTOCOL.md is what the encoder writes and the decoder reads") {
        auto dumps = ::dumps();
        for (const Example& example : examples()) {
            CAPTURE(example.name);
            REQUIRE(dumps.contains(example.name));
            CHECK(dumps[example.name] == encoded(example.frame));
            core::Control out;
            CHECK(decoded(dumps[example.name], out) == std::nullopt);
            CHECK(out == example.frame);
            dumps.erase(example.name);
        }
        CHECK(dumps.size() == 4);
        const std::string_view greeting = "Hello, world!";
        CHECK(dumps["data"] == framed({.kind = core::FrameKind::data}, Body().raw(greeting).bytes()));
        const std::string_view number("\7\0\0\0\0\0\0\0", core::call_size);
        CHECK(dumps["data-request"] == framed({.kind = core::FrameKind::data, .flags = core::flag_call},
                                              Body().raw(number).raw(std::string_view("time")).bytes()));
        CHECK(dumps["data-reply"] ==
              framed({.kind = core::FrameKind::data, .flags = core::flag_call, .channel = core::reply_channel},
                     Body().raw(number).raw(std::string_view("12:30")).bytes()));
        const std::string_view code("\x2a\0\0\0", core::code_size);
        CHECK(dumps["data-error"] == framed({.kind = core::FrameKind::data,
                                             .flags = core::flag_call | core::flag_error,
                                             .channel = core::reply_channel},
                                            Body().raw(number).raw(code).raw(std::string_view("no clock")).bytes()));
    }

    TEST_CASE("PROTOCOL.md has an example of every kind of frame") {
        std::set<core::FrameKind> kinds;
        for (const auto& [name, bytes] : dumps()) kinds.insert(core::FrameHeader::read(bytes.data()).kind);
        CHECK(kinds.size() == 16);
        CHECK(*kinds.begin() == core::FrameKind::hello);
        CHECK(*kinds.rbegin() == core::FrameKind::members_seen);
    }

    TEST_CASE("frames are appended to what is there") {
        Bytes out{std::byte{42}};
        wire::encode(core::Ping{1, 2}, out);
        wire::encode(core::Pong{3}, out);
        const Bytes ping = encoded(core::Ping{1, 2});
        const Bytes pong = encoded(core::Pong{3});
        REQUIRE(out.size() == 1 + ping.size() + pong.size());
        CHECK(std::equal(ping.begin(), ping.end(), out.begin() + 1));
        CHECK(std::equal(pong.begin(), pong.end(), out.end() - static_cast<std::ptrdiff_t>(pong.size())));
    }

    TEST_CASE("no frame is read whose body is a byte too short or too long") {
        for (const Example& example : examples()) {
            CAPTURE(example.name);
            const Bytes whole = encoded(example.frame);
            const core::FrameHeader header = core::FrameHeader::read(whole.data());
            Bytes body(whole.begin() + core::FrameHeader::size, whole.end());
            body.push_back(std::byte{0});
            CHECK(broken_by(framed(header, body)) == Rule::malformed_body);
            body.pop_back();
            while (!body.empty()) {
                body.pop_back();
                CHECK(broken_by(framed(header, body)) == Rule::malformed_body);
            }
        }
    }

    TEST_CASE("the longest facts fit into a HELLO and into PEERS") {
        check_facts(std::nullopt, [](core::Facts&) {});
        core::Hello hello = some_hello();
        hello.cluster.assign(core::max_name, 'c');
        hello.observed.host.assign(core::max_host, 'h');
        hello.self = longest_facts();
        const Bytes frame = encoded(hello);
        CHECK(frame.size() <= core::FrameHeader::size + core::max_hello_body);
        core::Control out;
        CHECK(decoded(frame, out) == std::nullopt);
        CHECK(out == core::Control(hello));
    }

    TEST_CASE("facts beyond a limit are too many facts") {
        const auto rule = Rule::too_many_facts;
        check_facts(rule, [](core::Facts& facts) { facts.name += 'x'; });
        check_facts(rule, [](core::Facts& facts) { facts.member += 'x'; });
        check_facts(rule, [](core::Facts& facts) { facts.addresses.push_back({"h", 1}); });
        check_facts(rule, [](core::Facts& facts) { facts.addresses.front().host += 'x'; });
        check_facts(rule, [](core::Facts& facts) { facts.tags["key"] = "value"; });
        check_facts(rule, [](core::Facts& facts) { facts.tags.begin()->second += 'x'; });
        check_facts(rule, [](core::Facts& facts) {
            facts.tags.clear();
            facts.tags[std::string(core::max_tag_key + 1, 'k')] = "";
        });
        check_facts(rule, [](core::Facts& facts) { facts.name.assign(2000, 'x'); });
    }

    TEST_CASE("control characters are refused where people will read them and allowed in tags") {
        const auto rule = Rule::malformed_body;
        check_facts(rule, [](core::Facts& facts) { facts.name = "a\nb"; });
        check_facts(rule, [](core::Facts& facts) { facts.member = std::string("\0", 1); });
        check_facts(rule, [](core::Facts& facts) { facts.addresses.back().host = "\x1f"; });
        check_facts(std::nullopt, [](core::Facts& facts) { facts.name = " \x7f\xff\xc3"; });
        check_facts(std::nullopt, [](core::Facts& facts) { facts.tags.begin()->second = "a\nb"; });
        Body refuse;
        refuse.number(std::uint8_t{1}).number(std::uint8_t{0}).text("a\tb");
        CHECK(broken_by(framed({.kind = core::FrameKind::refuse}, refuse.bytes())) == rule);
        Bytes hello = encoded(some_hello());
        REQUIRE(hello[25] == std::byte{'d'});
        hello[25] = std::byte{'\r'};
        CHECK(broken_by(hello) == rule);
    }

    TEST_CASE("an address in a list has a host, an observed one need not") {
        check_facts(Rule::malformed_body, [](core::Facts& facts) { facts.addresses.front().host.clear(); });
        core::Hello hello = some_hello();
        hello.observed = {};
        CHECK(broken_by(encoded(hello)) == std::nullopt);
    }

    TEST_CASE("the keys of tags ascend and come once") {
        const auto with_keys = [](std::string_view first, std::string_view second) {
            Body list;
            list.size(1).zeros(16).number(std::uint64_t{1}).text("").text("").size(0);
            list.size(2).text(first).text("1").text(second).text("2");
            return broken_by(framed({.kind = core::FrameKind::peers, .flags = core::flag_skippable}, list.bytes()));
        };
        CHECK(with_keys("a", "b") == std::nullopt);
        CHECK(with_keys("b", "a") == Rule::malformed_body);
        CHECK(with_keys("a", "a") == Rule::malformed_body);
    }

    TEST_CASE("a list of a million peers is refused and nothing is allocated for it") {
        for (const std::uint64_t claimed : {std::uint64_t{1025}, std::uint64_t{1'000'000}, UINT64_MAX}) {
            Body list;
            list.size(claimed).zeros(60'000);
            core::Control out;
            const Bytes frame = framed({.kind = core::FrameKind::peers, .flags = core::flag_skippable}, list.bytes());
            CHECK(decoded(frame, out) == Rule::too_many_facts);
            CHECK(std::get<core::PeerList>(out).peers.capacity() == 0);
        }
    }

    TEST_CASE("a list of offsets has ascending channels and at most sixteen") {
        const auto ack = [](std::initializer_list<std::uint16_t> channels) {
            Body body;
            body.size(channels.size());
            for (const std::uint16_t channel : channels) body.offset(channel, 1, 2);
            return broken_by(framed({.kind = core::FrameKind::ack}, body.bytes()));
        };
        CHECK(ack({}) == std::nullopt);
        CHECK(ack({0, 1, 65'535}) == std::nullopt);
        CHECK(ack({1, 0}) == Rule::malformed_body);
        CHECK(ack({3, 3}) == Rule::malformed_body);
        CHECK(ack({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) == std::nullopt);
        CHECK(ack({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}) == Rule::malformed_body);

        Body twice;
        twice.size(2).offset(1, 0, 0).offset(1, 0, 0);
        Body attached;
        attached.number(std::uint64_t{1}).raw({reinterpret_cast<const char*>(twice.bytes().data()), 37}).zeros(8);
        CHECK(broken_by(framed({.kind = core::FrameKind::attached}, attached.bytes())) == Rule::malformed_body);
        Body attach;
        attach.zeros(17).raw({reinterpret_cast<const char*>(attached.bytes().data()), attached.bytes().size()});
        CHECK(broken_by(framed({.kind = core::FrameKind::attach}, attach.bytes())) == Rule::malformed_body);
        Body goodbye;
        goodbye.number(std::uint8_t{1}).raw({reinterpret_cast<const char*>(twice.bytes().data()), 37});
        CHECK(broken_by(framed({.kind = core::FrameKind::goodbye}, goodbye.bytes())) == Rule::malformed_body);
    }

    TEST_CASE("offsets are small enough to be added") {
        const auto most = core::max_offset;
        const auto ack = [](std::uint64_t received, std::uint64_t limit) {
            return broken_by(framed({.kind = core::FrameKind::ack}, Body().size(1).offset(0, received, limit).bytes()));
        };
        CHECK(ack(most, most) == std::nullopt);
        CHECK(ack(most + 1, most) == Rule::malformed_body);
        CHECK(ack(0, most + 1) == Rule::malformed_body);
        const auto gap = [](std::uint64_t to, std::uint64_t messages) {
            return broken_by(framed({.kind = core::FrameKind::gap}, Body().number(to).number(messages).bytes()));
        };
        const auto end = core::max_gap_end;
        CHECK(gap(end, 1) == std::nullopt);
        CHECK(gap(end, end / 8) == std::nullopt);
        CHECK(gap(end, end / 8 + 1) == Rule::malformed_body);
        CHECK(gap(15, 2) == Rule::malformed_body);
        CHECK(gap(end + 1, 1) == Rule::malformed_body);
        CHECK(gap(end, 0) == Rule::malformed_body);
        const auto attach = [](std::uint64_t outstanding) {
            const Body body = Body().zeros(25).size(0).number(outstanding);
            return broken_by(framed({.kind = core::FrameKind::attach}, body.bytes()));
        };
        CHECK(attach(core::max_outstanding) == std::nullopt);
        CHECK(attach(core::max_outstanding + 1) == Rule::malformed_body);
        const auto attached = [](std::uint64_t outstanding) {
            const Body body = Body().number(std::uint64_t{1}).size(0).number(outstanding);
            return broken_by(framed({.kind = core::FrameKind::attached}, body.bytes()));
        };
        CHECK(attached(core::max_outstanding) == std::nullopt);
        CHECK(attached(core::max_outstanding + 1) == Rule::malformed_body);
        const auto goodbye = [](std::uint64_t sent, std::uint64_t received) {
            const Body body = Body().number(std::uint8_t{2}).size(1).offset(0, sent, received);
            return broken_by(framed({.kind = core::FrameKind::goodbye}, body.bytes()));
        };
        CHECK(goodbye(most, most) == std::nullopt);
        CHECK(goodbye(most + 1, 0) == Rule::malformed_body);
        CHECK(goodbye(0, most + 1) == Rule::malformed_body);
    }

    TEST_CASE("a goodbye has one of two reasons, and a refusal any, because later versions may have more") {
        for (unsigned value = 0; value != 256; ++value) {
            CAPTURE(value);
            const Body refuse = Body().number(static_cast<std::uint8_t>(value)).zeros(2);
            CHECK(!broken_by(framed({.kind = core::FrameKind::refuse}, refuse.bytes())));
            const Body goodbye = Body().number(static_cast<std::uint8_t>(value)).size(0);
            CHECK(broken_by(framed({.kind = core::FrameKind::goodbye}, goodbye.bytes())).has_value() ==
                  (value < 1 || value > 2));
        }
    }

    TEST_CASE("the text of a REFUSE has its limit") {
        const auto refuse = [](std::size_t size) {
            const Body body = Body().number(std::uint8_t{1}).number(std::uint8_t{0}).text(std::string(size, 'x'));
            return broken_by(framed({.kind = core::FrameKind::refuse}, body.bytes()));
        };
        CHECK(refuse(core::max_refuse_text) == std::nullopt);
        CHECK(refuse(core::max_refuse_text + 1) == Rule::malformed_body);
    }

    TEST_CASE("the magic is looked at before anything else") {
        const auto hello = [](const Body& body) {
            return broken_by(framed({.kind = core::FrameKind::hello}, body.bytes()));
        };
        CHECK(hello(Body().raw("GET / HTTP/1.1")) == Rule::bad_magic);
        CHECK(hello(Body().raw("SULC")) == Rule::bad_magic);
        CHECK(hello(Body().raw("CLU")) == Rule::malformed_body);
        CHECK(hello(Body().raw("CLUS")) == Rule::malformed_body);
    }

    TEST_CASE("a HELLO of versions that we do not speak is read just so far that it can be refused") {
        const auto read = [](std::uint16_t min, std::uint16_t max) {
            const Body body = Body().raw("CLUS").number(min).number(max).raw("whatever that version says");
            core::Control out;
            CHECK(decoded(framed({.kind = core::FrameKind::hello}, body.bytes()), out) == std::nullopt);
            core::Hello expected;
            expected.version_min = min;
            expected.version_max = max;
            CHECK(out == core::Control(expected));
        };
        read(2, 3);
        read(0, 0);
        read(65'535, 65'535);
        read(3, 0);
    }

    TEST_CASE("a HELLO that speaks later versions too may say more at its end") {
        core::Hello later = some_hello();
        later.version_max = 2;
        Bytes frame = encoded(later);
        frame.push_back(std::byte{7});
        core::FrameHeader header = core::FrameHeader::read(frame.data());
        ++header.length;
        header.write(frame.data());
        core::Control out;
        CHECK(decoded(frame, out) == std::nullopt);
        CHECK(out == core::Control(later));
    }

    TEST_CASE("flags and channels that a kind does not have are refused") {
        for (const Example& example : examples()) {
            CAPTURE(example.name);
            Bytes bytes = encoded(example.frame);
            const core::FrameHeader header = core::FrameHeader::read(bytes.data());
            core::FrameHeader wrong = header;
            wrong.flags ^= core::flag_skippable;
            wrong.write(bytes.data());
            CHECK(broken_by(bytes) == std::nullopt);
            for (unsigned bit = 0; bit != 7; ++bit) {
                wrong = header;
                wrong.flags = static_cast<std::uint8_t>(header.flags | 1u << bit);
                wrong.write(bytes.data());
                CHECK(broken_by(bytes) == Rule::wrong_flags);
            }
            wrong = header;
            ++wrong.channel;
            wrong.write(bytes.data());
            CHECK(broken_by(bytes).has_value() == (header.kind != core::FrameKind::gap));
        }
    }

    TEST_CASE("a gap is on the channel of its header") {
        core::Control out;
        const Bytes frame = encoded(core::Gap{513, 48, 6});
        CHECK(core::FrameHeader::read(frame.data()).channel == 513);
        REQUIRE(decoded(frame, out) == std::nullopt);
        CHECK(std::get<core::Gap>(out).channel == 513);
    }
}

}  // namespace
