#include "net/support.hpp"

#include "core/frame.hpp"
#include "wire/codec.hpp"

#include <cluster/archive.hpp>
#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// What breaks the protocol, on real sockets, one row each: how far the stranger has come, what it says then, and the
// rule that is logged, counted, and ends its link. Next to the node that it speaks to stands a healthy one.

namespace cluster::malformed_test {

using namespace cluster::support;
using core::FrameHeader;
using core::FrameKind;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t window = 1 << 20;

/// How far a stranger has come before it breaks a rule.
enum class Stage {
    connected,  ///< has said nothing
    greeted,    ///< both have said HELLO; its id is the larger one, so it would have to say OFFER
    offered,    ///< its id is the smaller one; it has read OFFER, so it would have to say ATTACH
    offering,   ///< has said OFFER and read ATTACH, so it would have to say ATTACHED
    attached,   ///< is in view
    spoken_to,  ///< the same, and has been sent a message of 13 bytes
    guest,      ///< is attached as a guest
};

struct Case {
    Stage stage;
    std::string what;
    Bytes bytes;
    core::Rule rule;
};

// How bytes are made.

Bytes frame(FrameKind kind, std::span<const std::byte> body, std::uint8_t flags = 0, std::uint16_t channel = 0) {
    Bytes bytes(FrameHeader::size + body.size());
    FrameHeader{static_cast<std::uint32_t>(body.size()), kind, flags, channel}.write(bytes.data());
    std::ranges::copy(body, bytes.begin() + FrameHeader::size);
    return bytes;
}

/// As `wire::encode` writes it, but for that this one may break the rules, which that one refuses.
Bytes encoded(const core::Control& control) {
    // All kinds in their order, but for DATA.
    const std::size_t place = control.index() + (control.index() < 4 ? 1 : 2);
    const auto kind = static_cast<FrameKind>(place);
    Bytes body;
    std::visit([&](const auto& each) { detail::write(body, each); }, control);
    const auto* const gap = std::get_if<core::Gap>(&control);
    return frame(kind, body, kind >= FrameKind::peers ? core::flag_skippable : std::uint8_t{0},
                 gap == nullptr ? std::uint16_t{0} : gap->channel);
}

Bytes data(std::size_t size, std::uint8_t flags = 0, std::uint16_t channel = 0) {
    return frame(FrameKind::data, Bytes(size, std::byte{0x61}), flags, channel);
}

/// A header whose body never comes.
Bytes announced(std::uint32_t length, FrameKind kind) {
    Bytes bytes(FrameHeader::size);
    FrameHeader{length, kind, 0, 0}.write(bytes.data());
    return bytes;
}

FrameKind kind_of(const Bytes& frame) {
    return FrameHeader::read(frame.data()).kind;
}

/// The same frame with another body.
Bytes with_body(const Bytes& original, std::span<const std::byte> body) {
    FrameHeader header = FrameHeader::read(original.data());
    return frame(header.kind, body, header.flags, header.channel);
}
Bytes body_of(const Bytes& frame) {
    return {frame.begin() + FrameHeader::size, frame.end()};
}
Bytes cut(const core::Control& control, std::size_t less) {
    const Bytes whole = encoded(control);
    Bytes body = body_of(whole);
    body.resize(body.size() - less);
    return with_body(whole, body);
}
Bytes longer(const core::Control& control) {
    const Bytes whole = encoded(control);
    Bytes body = body_of(whole);
    body.push_back(std::byte{});
    return with_body(whole, body);
}
/// One byte of its body is another one; counted from the end if negative.
Bytes changed(const core::Control& control, std::ptrdiff_t place, unsigned value) {
    Bytes bytes = encoded(control);
    const auto size = static_cast<std::ptrdiff_t>(bytes.size());
    const auto header = static_cast<std::ptrdiff_t>(FrameHeader::size);
    bytes[static_cast<std::size_t>(place < 0 ? size + place : header + place)] = static_cast<std::byte>(value);
    return bytes;
}
Bytes with_header(const core::Control& control, std::uint8_t flags, std::uint16_t channel = 0) {
    const Bytes whole = encoded(control);
    return frame(kind_of(whole), body_of(whole), flags, channel);
}
Bytes joined(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& each : parts) all.insert(all.end(), each.begin(), each.end());
    return all;
}
Bytes text(std::string_view words) {
    const auto bytes = std::as_bytes(std::span(words));
    return {bytes.begin(), bytes.end()};
}

core::Hello hello(Stage stage) {
    core::Hello hello;
    hello.cluster = "cluster";
    hello.max_message = 1 << 20;
    hello.resume_for_ms = 1000;
    hello.self.id.bytes.fill(stage == Stage::offered ? 0x00 : 0xff);
    hello.self.id.bytes[15] = 0x01;
    hello.self.version = 1;
    hello.self.name = "stranger";
    hello.features = stage == Stage::guest ? core::feature_guest | core::feature_clients
                                           : core::feature_members | core::feature_calls | core::feature_errors |
                                                 core::feature_replicas | core::feature_clients;
    return hello;
}
core::Hello hello() {
    return hello(Stage::greeted);
}
template <class Change>
Bytes hello_with(Change change) {
    core::Hello one = hello();
    change(one);
    return encoded(one);
}
template <class Change>
Bytes list_with(Change change) {
    core::PeerList list;
    list.peers.push_back(hello().self);
    list.peers[0].id.bytes[0] = 0x55;
    change(list);
    return encoded(list);
}

std::vector<core::Offset> offsets(std::initializer_list<std::uint16_t> channels, std::uint64_t received = 0) {
    std::vector<core::Offset> all;
    for (const std::uint16_t channel : channels) all.push_back({channel, received, received + window});
    return all;
}
core::Ack ack(std::uint16_t channel, std::uint64_t received, std::uint64_t limit) {
    return {{{channel, received, limit}}};
}
core::MemberList members(bool whole, std::uint64_t from, std::size_t count, std::size_t size = 1) {
    core::MemberList list{whole, true, from, from + 1, {}};
    for (std::size_t i = 0; i < count; ++i) {
        list.members.push_back({{}, true, std::vector<std::uint8_t>(size)});
        std::memcpy(list.members.back().id.bytes.data(), &i, sizeof i);
    }
    return list;
}

/// One frame of each kind, each well-formed, but for HELLO and DATA.
std::vector<std::pair<const char*, core::Control>> one_of_each() {
    core::PeerList list;
    list.peers.push_back(hello().self);
    return {{"OFFER", core::Offer{}},
            {"ATTACH", core::Attach{{}, true, 1, offsets({0}), 0}},
            {"ATTACHED", core::Attached{1, offsets({0}), 0}},
            {"GAP", core::Gap{0, 64, 1}},
            {"ACK", core::Ack{}},
            {"GOODBYE", core::Goodbye{core::Farewell::leaving, {{0, 0, 0}}}},
            {"PEERS", list},
            {"PING", core::Ping{1, 2}},
            {"PONG", core::Pong{1}},
            {"INQUIRY", core::Inquiry{hello().self.id, true}},
            {"FINDING", core::Finding{hello().self.id, true}},
            {"MEMBERS", members(true, 0, 1)},
            {"MEMBERS_SEEN", core::MembersSeen{1}}};
}

class Table {
public:
    std::vector<Case> take() {
        before_hello();
        in_hello();
        out_of_turn();
        in_attaching();
        in_data();
        in_offsets();
        in_lists();
        in_small_frames();
        of_guests();
        return std::move(cases_);
    }

private:
    using enum Stage;
    using enum core::Rule;

    void add(Stage stage, std::string what, Bytes bytes, core::Rule rule) {
        cases_.push_back({stage, std::move(what), std::move(bytes), rule});
    }

    void before_hello() {
        add(connected, "words of HTTP", text("GET / HTTP/1.1\r\nHost: cluster\r\n\r\n"), unknown_kind);
        add(connected, "words of SSH", text("SSH-2.0-OpenSSH_9.2\r\n"), unknown_kind);
        add(connected, "nothing but zeros", Bytes(64), unknown_kind);
        add(connected, "nothing but ones", Bytes(64, std::byte{0xff}), frame_too_long);
        add(connected, "an unknown kind", frame(FrameKind{17}, {}), unknown_kind);
        add(connected, "an unknown kind to skip, too long before HELLO",
            joined({frame(FrameKind{200}, Bytes(core::max_hello_body + 1), core::flag_skippable)}), frame_too_long);
        add(connected, "a HELLO too long by one", announced(core::max_hello_body + 1, FrameKind::hello),
            frame_too_long);
        add(connected, "a HELLO of 2 GiB", announced(1U << 31, FrameKind::hello), frame_too_long);
        add(connected, "a HELLO of 4 GiB", announced(~0U, FrameKind::hello), frame_too_long);
        add(connected, "DATA of the longest length in place of HELLO", announced(core::max_chunk, FrameKind::data),
            frame_too_long);
        add(connected, "DATA in place of HELLO", data(5), unexpected_frame);
        for (const auto& [name, control] : one_of_each()) add(connected, name, encoded(control), unexpected_frame);
    }

    void in_hello() {
        add(connected, "HELLO: another magic", changed(hello(), 0, 0x44), bad_magic);
        add(connected, "HELLO: MORE", with_header(hello(), core::flag_more), wrong_flags);
        add(connected, "HELLO: a flag of no meaning", with_header(hello(), 0x40), wrong_flags);
        add(connected, "HELLO: a channel", with_header(hello(), 0, 1), wrong_flags);
        add(connected, "HELLO: no body", frame(FrameKind::hello, {}), malformed_body);
        add(connected, "HELLO: only a magic", cut(hello(), body_of(encoded(hello())).size() - 4), malformed_body);
        add(connected, "HELLO: ends in the name of the cluster", cut(hello(), body_of(encoded(hello())).size() - 20),
            malformed_body);
        add(connected, "HELLO: ends a byte early", cut(hello(), 1), malformed_body);
        const std::string long_name(65, 'n');
        add(connected, "HELLO: a cluster's name too long", hello_with([&](auto& h) { h.cluster = long_name; }),
            too_many_facts);
        add(connected, "HELLO: a name too long", hello_with([&](auto& h) { h.self.name = long_name; }), too_many_facts);
        add(connected, "HELLO: a second name too long", hello_with([&](auto& h) { h.self.member = long_name; }),
            too_many_facts);
        add(connected, "HELLO: a line's end in a name", hello_with([](auto& h) { h.self.name = "a\nb"; }),
            malformed_body);
        add(connected, "HELLO: a zero in the cluster's name",
            hello_with([](auto& h) { h.cluster = std::string(3, '\0'); }), malformed_body);
        add(connected, "HELLO: an escape in an observed host",
            hello_with([](auto& h) { h.observed.host = "\x1b[31m"; }), malformed_body);
        add(connected, "HELLO: an observed host too long",
            hello_with([](auto& h) { h.observed.host = std::string(256, 'h'); }), too_many_facts);
        add(connected, "HELLO: nine addresses", hello_with([](auto& h) {
                h.self.addresses.assign(9, Address{"10.0.0.1", 1});
            }),
            too_many_facts);
        add(connected, "HELLO: an address without a host", hello_with([](auto& h) {
                h.self.addresses.assign(1, Address{"", 1});
            }),
            malformed_body);
        add(connected, "HELLO: a host too long", hello_with([](auto& h) {
                h.self.addresses.assign(1, Address{std::string(256, 'h'), 1});
            }),
            too_many_facts);
        add(connected, "HELLO: a tab in a host", hello_with([](auto& h) {
                h.self.addresses.assign(1, Address{"a\tb", 1});
            }),
            malformed_body);
        add(connected, "HELLO: 33 tags", hello_with([](auto& h) {
                for (int i = 0; i < 33; ++i) h.self.tags[std::to_string(i)] = "v";
            }),
            too_many_facts);
        add(connected, "HELLO: a key too long", hello_with([](auto& h) { h.self.tags[std::string(65, 'k')] = "v"; }),
            too_many_facts);
        add(connected, "HELLO: a value too long", hello_with([](auto& h) { h.self.tags["k"] = std::string(257, 'v'); }),
            too_many_facts);
        // Tags are last: each is a size, a letter, a size, a letter.
        core::Hello tagged = hello();
        tagged.self.tags = {{"a", "1"}, {"b", "2"}};
        add(connected, "HELLO: a key twice", changed(tagged, -3, 'a'), malformed_body);
        add(connected, "HELLO: keys that descend", changed(tagged, -7, 'c'), malformed_body);
        add(connected, "HELLO: more tags than there are", changed(tagged, -9, 3), malformed_body);
        add(connected, "HELLO: fewer tags than there are, and something behind", changed(tagged, -9, 1),
            malformed_body);
        Bytes twice_as_long = encoded(hello());
        twice_as_long[FrameHeader::size + 16] = std::byte{0x87};  // the cluster's name has 7 bytes: 87 00 means as much
        twice_as_long.insert(twice_as_long.begin() + FrameHeader::size + 17, std::byte{0x00});
        add(connected, "HELLO: a size of two bytes where one would do",
            with_body(twice_as_long, body_of(twice_as_long)), malformed_body);
        Bytes endless = encoded(hello());
        std::fill(endless.begin() + FrameHeader::size + 16, endless.end(), std::byte{0xff});
        add(connected, "HELLO: a size without end", endless, malformed_body);
        add(connected, "HELLO: a name longer than what is left", changed(hello(), 16, 0x7f), malformed_body);
    }

    void out_of_turn() {
        add(greeted, "HELLO twice", encoded(hello()), unexpected_frame);
        add(greeted, "DATA before a session", data(5), unexpected_frame);
        for (const auto& [name, control] : one_of_each()) {
            if (std::holds_alternative<core::Offer>(control)) continue;
            add(greeted, name, encoded(control), unexpected_frame);
        }
        add(offered, "OFFER of the smaller id", encoded(core::Offer{}), unexpected_frame);
        add(offered, "ATTACHED in place of ATTACH", encoded(core::Attached{1, offsets({0}), 0}), unexpected_frame);
        add(offered, "DATA before ATTACH", data(5), unexpected_frame);
        add(offered, "ACK before ATTACH", encoded(core::Ack{}), unexpected_frame);
        add(offering, "OFFER twice", encoded(core::Offer{}), unexpected_frame);
        add(offering, "ATTACH of the larger id", encoded(core::Attach{{}, true, 1, offsets({0}), 0}), unexpected_frame);
        add(offering, "DATA before ATTACHED", data(5), unexpected_frame);
        add(attached, "HELLO in a session", encoded(hello()), unexpected_frame);
        add(attached, "OFFER in a session", encoded(core::Offer{}), unexpected_frame);
        add(attached, "ATTACH in a session", encoded(core::Attach{{}, true, 1, offsets({0}), 0}), unexpected_frame);
        add(attached, "ATTACHED twice", encoded(core::Attached{1, offsets({0}), 0}), unexpected_frame);
        add(attached, "REFUSE in a session", encoded(core::Refuse{core::Refusal::full, {}, ""}), unexpected_frame);
        add(attached, "an unknown kind in a session", frame(FrameKind{17}, {}), unknown_kind);
        add(attached, "kind 0 in a session", frame(FrameKind{0}, {}), unknown_kind);
        add(attached, "kind 255 in a session, not to be skipped", frame(FrameKind{255}, {}), unknown_kind);
    }

    void in_attaching() {
        const core::Offer offer;
        add(greeted, "OFFER: a truth value of 2", changed(offer, 0, 2), malformed_body);
        add(greeted, "OFFER: holds 2", changed(offer, 9, 2), malformed_body);
        add(greeted, "OFFER: defended 255", changed(offer, 10, 255), malformed_body);
        add(greeted, "OFFER: a proof that is not there", changed(offer, 0, 1), malformed_body);
        add(greeted, "OFFER: ends early", cut(offer, 1), malformed_body);
        add(greeted, "OFFER: something behind it", longer(offer), malformed_body);
        const core::Attach attach{{}, true, 1, offsets({0}), 0};
        add(offered, "ATTACH: first 2", changed(attach, 16, 2), malformed_body);
        add(offered, "ATTACH: ends early", cut(attach, 8), malformed_body);
        add(offered, "ATTACH: something behind it", longer(attach), malformed_body);
        add(offered, "ATTACH: a channel twice", encoded(core::Attach{{}, true, 1, offsets({0, 0}), 0}), malformed_body);
        add(offered, "ATTACH: channels that descend", encoded(core::Attach{{}, true, 1, offsets({1, 0}), 0}),
            malformed_body);
        add(offered, "ATTACH: more lost than there may be",
            encoded(core::Attach{{}, true, 1, offsets({0}), core::max_outstanding + 1}), malformed_body);
        const core::Attached attached_now{1, offsets({0}), 0};
        add(offering, "ATTACHED: epoch 0", encoded(core::Attached{0, offsets({0}), 0}), wrong_epoch);
        add(offering, "ATTACHED: the next epoch", encoded(core::Attached{2, offsets({0}), 0}), wrong_epoch);
        add(offering, "ATTACHED: ends early", cut(attached_now, 1), malformed_body);
        add(offering, "ATTACHED: something behind it", longer(attached_now), malformed_body);
        add(offering, "ATTACHED: has what was never sent", encoded(core::Attached{1, offsets({0}, 8), 0}),
            offset_beyond_sent);
        add(offering, "ATTACHED: has something of a channel that there is not",
            encoded(core::Attached{1, offsets({7}, 8), 0}), offset_beyond_sent);
        add(offering, "ATTACHED: an offset out of all reason",
            encoded(core::Attached{1, {{0, core::max_offset + 1, core::max_offset + 1}}, 0}), malformed_body);
        add(offering, "ATTACHED: 17 channels", encoded(core::Attached{1, {17, core::Offset{}}, 0}), malformed_body);
        add(offering, "ATTACHED: more channels than there are", changed(attached_now, 8, 9), malformed_body);
    }

    void in_data() {
        using core::flag_call;
        using core::flag_error;
        using core::flag_more;
        for (const unsigned bit : {0x08U, 0x10U, 0x20U, 0x40U, 0x80U}) {
            add(attached, "DATA: a flag of no meaning", data(5, static_cast<std::uint8_t>(bit)), wrong_flags);
        }
        add(attached, "DATA: too long by one", announced(core::max_chunk + 1, FrameKind::data), frame_too_long);
        add(attached, "DATA: 4 GiB", announced(~0U, FrameKind::data), frame_too_long);
        add(attached, "DATA: MORE of nothing", data(0, flag_more), malformed_body);
        add(attached, "DATA: on channel 2", data(5, 0, 2), unknown_channel);
        add(attached, "DATA: on channel 5", data(5, 0, 5), unknown_channel);
        add(attached, "DATA: on the last channel", data(5, 0, 0xffff), unknown_channel);
        add(attached, "DATA: a call without a whole number", data(7, flag_call), malformed_body);
        add(attached, "DATA: call 0", frame(FrameKind::data, Bytes(8), flag_call), malformed_body);
        add(attached, "DATA: the first part of a call without a whole number", data(7, flag_call | flag_more),
            malformed_body);
        add(attached, "DATA: a reply that is none", data(9, 0, core::reply_channel), wrong_flags);
        add(attached, "DATA: a call of a replica", data(9, flag_call, core::replica_channel), wrong_flags);
        add(attached, "DATA: a call of a client", data(9, flag_call, core::client_channel), wrong_flags);
        add(attached, "DATA: an error that is no reply", data(12, flag_call | flag_error), wrong_flags);
        add(attached, "DATA: an error without a call", data(12, flag_error, core::reply_channel), wrong_flags);
        add(attached, "DATA: an error in parts", data(12, flag_call | flag_error | flag_more, core::reply_channel),
            wrong_flags);
        add(attached, "DATA: an error without a code", data(8, flag_call | flag_error, core::reply_channel),
            malformed_body);
        add(attached, "DATA: an error with a text too long",
            data(core::call_size + core::code_size + core::max_error_text + 1, flag_call | flag_error,
                 core::reply_channel),
            malformed_body);
        add(attached, "DATA: a message that becomes a call", joined({data(9, flag_more), data(9, flag_call)}),
            wrong_flags);
        add(attached, "DATA: a call that becomes a message", joined({data(9, flag_call | flag_more), data(9)}),
            wrong_flags);
        add(attached, "DATA: a message beyond max_message", joined({data(core::max_chunk, flag_more), data(1)}),
            message_too_long);
        Bytes flood;
        for (int i = 0; i < 20; ++i) flood = joined({flood, data(core::max_chunk)});
        add(attached, "DATA: more than anybody has room for", flood, beyond_credit);
    }

    void in_offsets() {
        add(attached, "GAP: on a channel that there is not", encoded(core::Gap{9, 64, 1}), unknown_channel);
        add(attached, "GAP: to where we are", encoded(core::Gap{0, 0, 0}), malformed_body);
        add(attached, "GAP: of no messages", encoded(core::Gap{0, 64, 0}), malformed_body);
        add(attached, "GAP: of more messages than bytes", encoded(core::Gap{0, 64, 9}), malformed_body);
        add(attached, "GAP: of all messages that there are", encoded(core::Gap{0, 64, ~0ULL}), malformed_body);
        add(attached, "GAP: out of all reason", encoded(core::Gap{0, core::max_gap_end + 1, 1}), malformed_body);
        add(attached, "GAP: back", joined({data(5), encoded(core::Gap{0, 13, 1})}), offset_goes_back);
        add(attached, "GAP: something behind it", longer(core::Gap{0, 64, 1}), malformed_body);
        add(attached, "ACK: of what was never sent", encoded(ack(0, 8, window)), offset_beyond_sent);
        add(attached, "ACK: of what was never sent to a client", encoded(ack(4, 8, window)), offset_beyond_sent);
        add(attached, "ACK: of a channel that there is not", encoded(ack(9, 8, window)), offset_beyond_sent);
        add(attached, "ACK: a limit out of all reason", encoded(ack(0, 0, ~0ULL)), malformed_body);
        add(attached, "ACK: a channel twice", encoded(core::Ack{offsets({0, 0})}), malformed_body);
        add(attached, "ACK: channels that descend", encoded(core::Ack{offsets({3, 1})}), malformed_body);
        add(attached, "ACK: 17 channels", encoded(core::Ack{{17, core::Offset{}}}), malformed_body);
        add(attached, "ACK: more channels than there are", changed(core::Ack{offsets({0})}, 0, 2), malformed_body);
        add(attached, "ACK: fewer channels than there are", changed(core::Ack{offsets({0, 1})}, 0, 1), malformed_body);
        add(spoken_to, "ACK: of half a message", encoded(ack(0, 5, window)), offset_inside_frame);
        add(spoken_to, "ACK: of more than a message", encoded(ack(0, 22, window)), offset_beyond_sent);
        add(spoken_to, "ACK: back", joined({encoded(ack(0, 21, window)), encoded(ack(0, 0, window))}),
            offset_goes_back);
        const core::Goodbye goodbye{core::Farewell::leaving, {{0, 0, 0}}};
        add(attached, "GOODBYE: for no reason", changed(goodbye, 0, 0), malformed_body);
        add(attached, "GOODBYE: for a third reason", changed(goodbye, 0, 3), malformed_body);
        add(attached, "GOODBYE: ends early", cut(goodbye, 1), malformed_body);
        add(attached, "GOODBYE: a channel twice",
            encoded(core::Goodbye{core::Farewell::leaving, {{0, 0, 0}, {0, 0, 0}}}), malformed_body);
        add(attached, "GOODBYE: before the end", encoded(core::Goodbye{core::Farewell::leaving, {{0, 99, 0}}}),
            goodbye_before_the_end);
        add(attached, "GOODBYE: after something else has come", joined({data(5), encoded(goodbye)}),
            goodbye_before_the_end);
        add(attached, "GOODBYE: has what was never sent", encoded(core::Goodbye{core::Farewell::removed, {{0, 0, 8}}}),
            offset_beyond_sent);
    }

    void in_lists() {
        add(attached, "PEERS: more than there may be",
            list_with([](auto& list) { list.peers.assign(core::max_listed_peers + 1, {}); }), too_many_facts);
        add(attached, "PEERS: a name too long",
            list_with([](auto& list) { list.peers[0].name = std::string(65, 'n'); }), too_many_facts);
        add(attached, "PEERS: a line's end in a name", list_with([](auto& list) { list.peers[0].name = "a\nb"; }),
            malformed_body);
        add(attached, "PEERS: nine addresses", list_with([](auto& list) {
                list.peers[0].addresses.assign(9, Address{"10.0.0.1", 1});
            }),
            too_many_facts);
        add(attached, "PEERS: an address without a host", list_with([](auto& list) {
                list.peers[0].addresses.assign(1, Address{"", 1});
            }),
            malformed_body);
        add(attached, "PEERS: a value too long",
            list_with([](auto& list) { list.peers[0].tags["k"] = std::string(257, 'v'); }), too_many_facts);
        core::PeerList list;
        list.peers.push_back(hello().self);
        add(attached, "PEERS: a million", frame(FrameKind::peers, text("\xc0\x84\x3d")), too_many_facts);
        add(attached, "PEERS: one more than there are", changed(list, 0, 2), malformed_body);
        add(attached, "PEERS: none, and something behind", changed(list, 0, 0), malformed_body);
        add(attached, "PEERS: ends early", cut(list, 1), malformed_body);
        add(attached, "PEERS: no body", frame(FrameKind::peers, {}, core::flag_skippable), malformed_body);
        add(attached, "PEERS: too long", announced(core::max_control_body + 1, FrameKind::peers), frame_too_long);
        add(attached, "MEMBERS: a whole set from the middle", encoded(members(true, 5, 1)), malformed_body);
        add(attached, "MEMBERS: more than there may be in one list", encoded(members(true, 0, 1025)), malformed_body);
        add(attached, "MEMBERS: ends early", cut(members(true, 0, 1), 1), malformed_body);
        add(attached, "MEMBERS: something behind it", longer(members(true, 0, 1)), malformed_body);
        add(attached, "MEMBERS: whole is 2", changed(members(true, 0, 1), 0, 2), malformed_body);
        core::MemberList withdrawn = members(false, 0, 1);
        withdrawn.members[0].enrolled = false;
        add(attached, "MEMBERS: data of one that is withdrawn", encoded(withdrawn), malformed_body);
        add(attached, "MEMBERS: data longer than what is left", changed(members(true, 0, 1), -2, 0x7f), malformed_body);
        add(attached, "MEMBERS: a member too long", announced(core::max_members_body + 1, FrameKind::members),
            frame_too_long);
    }

    void in_small_frames() {
        const PeerId id = hello().self.id;
        add(attached, "PING: no body", frame(FrameKind::ping, {}), malformed_body);
        add(attached, "PING: ends early", cut(core::Ping{1, 2}, 1), malformed_body);
        add(attached, "PING: something behind it", longer(core::Ping{1, 2}), malformed_body);
        add(attached, "PING: MORE", with_header(core::Ping{1, 2}, core::flag_more), wrong_flags);
        add(attached, "PING: a channel", with_header(core::Ping{1, 2}, 0, 1), wrong_flags);
        add(attached, "PING: too long", announced(core::max_control_body + 1, FrameKind::ping), frame_too_long);
        add(attached, "PONG: ends early", cut(core::Pong{1}, 1), malformed_body);
        add(attached, "PONG: a flag of no meaning", with_header(core::Pong{1}, 0x20), wrong_flags);
        add(attached, "INQUIRY: wants 2", changed(core::Inquiry{id, true}, 16, 2), malformed_body);
        add(attached, "INQUIRY: ends early", cut(core::Inquiry{id, true}, 1), malformed_body);
        add(attached, "FINDING: heard 7", changed(core::Finding{id, true}, 16, 7), malformed_body);
        add(attached, "FINDING: something behind it", longer(core::Finding{id, true}), malformed_body);
        add(attached, "MEMBERS_SEEN: ends early", cut(core::MembersSeen{1}, 3), malformed_body);
        add(attached, "MEMBERS_SEEN: something behind it", longer(core::MembersSeen{1}), malformed_body);
    }

    void of_guests() {
        core::PeerList list;
        list.peers.push_back(hello().self);
        add(guest, "guest: PEERS", encoded(list), unexpected_frame);
        add(guest, "guest: INQUIRY", encoded(core::Inquiry{hello().self.id, true}), unexpected_frame);
        add(guest, "guest: FINDING", encoded(core::Finding{hello().self.id, true}), unexpected_frame);
        add(guest, "guest: MEMBERS", encoded(members(true, 0, 1)), unexpected_frame);
        add(guest, "guest: MEMBERS_SEEN", encoded(core::MembersSeen{1}), unexpected_frame);
        add(guest, "guest: a message", data(5), unknown_channel);
        add(guest, "guest: a reply", data(9, core::flag_call, core::reply_channel), unknown_channel);
        add(guest, "guest: words of a replica", data(9, 0, core::replica_channel), unknown_channel);
        add(guest, "guest: a gap among messages", encoded(core::Gap{0, 64, 1}), unknown_channel);
        add(guest, "guest: a request on its own channel", data(9, core::flag_call, core::client_channel), wrong_flags);
        add(guest, "guest: has what was never sent", encoded(ack(core::client_channel, 8, window)), offset_beyond_sent);
        add(guest, "guest: a gap of nothing", encoded(core::Gap{core::client_channel, 64, 0}), malformed_body);
    }

    std::vector<Case> cases_;
};

/// A connection on which the protocol is spoken by hand.
class Stranger {
public:
    explicit Stranger(const Address& to) {
        socket_.bind(INADDR_LOOPBACK + 1);
        REQUIRE(socket_.connect(to));
    }

    bool write(std::span<const std::byte> bytes) const { return socket_.write(bytes); }
    void say(const core::Control& control) const { REQUIRE(write(encoded(control))); }
    /// The next frame of that kind. What comes before it is read and forgotten.
    template <class Frame>
    Frame hear() {
        for (;;) {
            const auto [header, body] = next();
            core::Control control;
            if (header.kind == FrameKind::data || wire::decode(header, body, control)) continue;
            if (Frame* wanted = std::get_if<Frame>(&control)) return *wanted;
        }
    }
    void hear_message() {
        while (next().first.kind != FrameKind::data) {
        }
    }
    bool closed_by_other() const { return socket_.closed_by_other(); }

    void come_to(Stage stage) {
        if (stage == Stage::connected) return;
        say(hello(stage));
        hear<core::Hello>();
        if (stage == Stage::greeted) return;
        if (stage == Stage::offered) return static_cast<void>(hear<core::Offer>());
        say(core::Offer{});
        const auto attach = hear<core::Attach>();
        if (stage == Stage::offering) return;
        const auto channels = stage == Stage::guest ? offsets({core::client_channel}) : offsets({0, 1, 3, 4});
        say(core::Attached{attach.epoch, channels, 0});
    }

private:
    std::pair<FrameHeader, Bytes> next() {
        const FrameHeader header = FrameHeader::read(read(FrameHeader::size).data());
        return {header, read(header.length)};
    }
    Bytes read(std::size_t size) {
        while (read_.size() < size) {
            const Bytes more = socket_.read();
            REQUIRE_FALSE(more.empty());
            read_.insert(read_.end(), more.begin(), more.end());
        }
        const auto end = read_.begin() + static_cast<std::ptrdiff_t>(size);
        Bytes first(read_.begin(), end);
        read_.erase(read_.begin(), end);
        return first;
    }

    Socket socket_;
    Bytes read_;
};

void check(const Case& each) {
    Lines lines;
    Options options = narrow();
    options.log = lines.sink();
    Node bob(options);
    Node ann(narrow());
    ann.add(bob.address());

    Stranger stranger(bob.address());
    stranger.come_to(each.stage);
    if (each.stage == Stage::attached || each.stage == Stage::spoken_to) REQUIRE(bob.wait_for_peers(2, patience));
    if (each.stage == Stage::guest) REQUIRE(wait_for([&] { return bob.stats().guests == 1; }, patience));
    if (each.stage == Stage::spoken_to) {
        bob.send(hello().self.id, "Hello, world!");
        stranger.hear_message();
    }
    stranger.write(each.bytes);
    CHECK(stranger.closed_by_other());
    const std::string line = lines.find("protocol_error");
    CHECK_MESSAGE(line.find("rule=" + std::string(core::to_string(each.rule)) + " ") != std::string::npos, line);
    CHECK(bob.stats().protocol_errors == 1);

    // The healthy one has noticed nothing.
    ann.broadcast("still there");
    const auto message = [&] {
        for (;;) {
            auto next = bob.inbox().receive_for(patience);
            if (!next || next->from() == ann.id()) return next;
        }
    }();
    REQUIRE(message.has_value());
    CHECK(message->text() == "still there");
    const auto peers = bob.stats().by_peer;
    const auto of_ann = std::ranges::find(peers, ann.id(), &PeerStats::id);
    REQUIRE(of_ann != peers.end());
    CHECK(of_ann->attachments == 1);
    bob.remove(hello(each.stage).self.id);  // otherwise its end would wait for an answer
}

TEST_CASE("malformed: each of more than two hundred inputs ends its link with the rule, and nobody else notices") {
    const std::vector<Case> cases = Table().take();
    CHECK(cases.size() >= 200);
    for (const Case& each : cases) {
        CAPTURE(static_cast<int>(each.stage));
        INFO(each.what);
        check(each);
    }
}

}  // namespace cluster::malformed_test
