#include "wire/codec.hpp"

#include <cluster/archive.hpp>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <variant>

namespace cluster::wire {

namespace {

using core::FrameHeader;
using core::FrameKind;
using core::Rule;
using detail::Reader;
using detail::TooLong;

/// In the order of the alternatives of `core::Control`.
constexpr FrameKind kinds[] = {FrameKind::hello,   FrameKind::offer,   FrameKind::attach,      FrameKind::attached,
                               FrameKind::gap,     FrameKind::ack,     FrameKind::goodbye,     FrameKind::refuse,
                               FrameKind::peers,   FrameKind::ping,    FrameKind::pong,        FrameKind::inquiry,
                               FrameKind::finding, FrameKind::members, FrameKind::members_seen};
static_assert(std::size(kinds) == std::variant_size_v<core::Control>);

constexpr std::size_t longest_body(FrameKind kind) {
    switch (kind) {
        case FrameKind::hello: return core::max_hello_body;
        case FrameKind::data: return core::max_chunk;
        case FrameKind::members: return core::max_members_body;
        default: return core::max_control_body;
    }
}

/// No list and no text in any frame may have more elements, so memory for more is never allocated.
constexpr std::size_t longest_container = core::max_listed_peers;

// Whether what was decoded, or is about to be encoded, obeys the protocol. Names, hosts and reasons are printed in
// logs and so must not contain control characters.

bool printable(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

std::optional<Rule> broken_by(std::string_view text, std::size_t longest) {
    if (text.size() > longest) return Rule::too_many_facts;
    if (!printable(text)) return Rule::malformed_body;
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::Facts& facts) {
    if (const auto rule = broken_by(facts.name, core::max_name)) return rule;
    if (const auto rule = broken_by(facts.member, core::max_name)) return rule;
    if (facts.addresses.size() > core::max_addresses || facts.tags.size() > core::max_tags) return Rule::too_many_facts;
    for (const Address& address : facts.addresses) {
        if (const auto rule = broken_by(address.host, core::max_host)) return rule;
        if (address.host.empty()) return Rule::malformed_body;
    }
    for (const auto& [key, value] : facts.tags) {
        if (key.size() > core::max_tag_key || value.size() > core::max_tag_value) return Rule::too_many_facts;
    }
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::Hello& hello) {
    if (const auto rule = broken_by(hello.cluster, core::max_name)) return rule;
    if (const auto rule = broken_by(hello.observed.host, core::max_host)) return rule;
    return broken_by(hello.self);
}

std::optional<Rule> broken_by(const core::PeerList& list) {
    if (list.peers.size() > core::max_listed_peers) return Rule::too_many_facts;
    for (const core::Facts& facts : list.peers) {
        if (const auto rule = broken_by(facts)) return rule;
    }
    return std::nullopt;
}

bool in_range(const core::Offset& offset) {
    return offset.received <= core::max_offset && offset.limit <= core::max_offset;
}
bool in_range(const core::FinalOffset& offset) {
    return offset.sent <= core::max_offset && offset.received <= core::max_offset;
}

template <class List>
std::optional<Rule> broken_by_channels(const List& list) {
    if (list.size() > core::max_channels) return Rule::malformed_body;
    for (std::size_t i = 0; i != list.size(); ++i) {
        if (i != 0 && list[i].channel <= list[i - 1].channel) return Rule::malformed_body;
        if (!in_range(list[i])) return Rule::malformed_body;
    }
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::Attach& attach) {
    if (attach.outstanding > core::max_outstanding) return Rule::malformed_body;
    return broken_by_channels(attach.offsets);
}
std::optional<Rule> broken_by(const core::Attached& attached) {
    if (attached.outstanding > core::max_outstanding) return Rule::malformed_body;
    return broken_by_channels(attached.offsets);
}
std::optional<Rule> broken_by(const core::Ack& ack) {
    return broken_by_channels(ack.offsets);
}

std::optional<Rule> broken_by(const core::Gap& gap) {
    // How much of the gap the reader lacks is decided where its offsets are known.
    const bool too_many = gap.messages > gap.to / FrameHeader::size;
    if (gap.to > core::max_gap_end || gap.messages == 0 || too_many) return Rule::malformed_body;
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::Goodbye& goodbye) {
    if (goodbye.why != core::Farewell::leaving && goodbye.why != core::Farewell::removed) return Rule::malformed_body;
    return broken_by_channels(goodbye.offsets);
}

std::optional<Rule> broken_by(const core::Refuse& refuse) {
    // Any reason is well-formed: later versions may have more of them.
    if (refuse.text.size() > core::max_refuse_text || !printable(refuse.text)) return Rule::malformed_body;
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::Offer&) {
    return std::nullopt;
}
std::optional<Rule> broken_by(const core::Ping&) {
    return std::nullopt;
}
std::optional<Rule> broken_by(const core::Pong&) {
    return std::nullopt;
}
std::optional<Rule> broken_by(const core::Inquiry&) {
    return std::nullopt;
}
std::optional<Rule> broken_by(const core::Finding&) {
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::MembersSeen&) {
    return std::nullopt;
}

std::optional<Rule> broken_by(const core::MemberList& list) {
    if (list.members.size() > core::max_listed_members) return Rule::malformed_body;
    if (list.whole && list.from != 0) return Rule::malformed_body;
    const auto valid = [](const core::MemberEntry& entry) {
        return entry.data.size() <= core::max_member_data && (entry.enrolled || entry.data.empty());
    };
    if (!std::all_of(list.members.begin(), list.members.end(), valid)) return Rule::malformed_body;
    return std::nullopt;
}

/// Keys of maps could come twice or in any order and still be read. One value must have only one form. Without tags
/// there is no other.
template <class Frame>
bool canonical(const Frame& frame, std::span<const std::byte> body) {
    std::vector<std::byte> again;
    again.reserve(body.size());
    detail::write(again, frame);
    return std::equal(again.begin(), again.end(), body.begin(), body.end());
}

template <class Frame>
std::optional<Rule> parse(std::span<const std::byte> body, Frame& frame) {
    Reader reader(body, longest_container);
    reader(frame);
    reader.finish();
    return broken_by(frame);
}

std::optional<Rule> parse(std::span<const std::byte> body, core::PeerList& list) try {
    Reader reader(body, longest_container);
    reader(list);
    reader.finish();
    const auto has_tags = [](const core::Facts& facts) { return !facts.tags.empty(); };
    const bool tagged = std::any_of(list.peers.begin(), list.peers.end(), has_tags);
    if (tagged && !canonical(list, body)) return Rule::malformed_body;
    return broken_by(list);
} catch (const TooLong&) {
    return Rule::too_many_facts;
}

std::optional<Rule> parse(std::span<const std::byte> body, core::Hello& hello) try {
    Reader start(body);
    start(hello.magic);
    if (hello.magic != core::protocol_magic) return Rule::bad_magic;
    start(hello.version_min, hello.version_max);
    if (hello.version_min > core::protocol_version || hello.version_max < core::protocol_version) return std::nullopt;

    Reader reader(body, longest_container);
    reader(hello);
    // A later version may have more fields after those that all versions understand.
    if (hello.version_max == core::protocol_version) reader.finish();
    if (!canonical(hello, body.first(body.size() - reader.rest().size()))) return Rule::malformed_body;
    return broken_by(hello);
} catch (const TooLong&) {
    return Rule::too_many_facts;
}

std::optional<Rule> parse(std::span<const std::byte> body, core::MemberList& list) {
    Reader reader(body, core::max_member_data);
    reader(list);
    reader.finish();
    return broken_by(list);
}

template <class Frame>
std::optional<Rule> parse(std::span<const std::byte> body, core::Control& out) {
    return parse(body, out.emplace<Frame>());
}

}  // namespace

void encode(const core::Control& frame, std::vector<std::byte>& out) {
    FrameHeader header{.kind = kinds[frame.index()]};
    if (header.kind >= FrameKind::peers) header.flags = core::flag_skippable;
    if (const auto* gap = std::get_if<core::Gap>(&frame)) header.channel = gap->channel;

    const std::size_t begin = out.size();
    out.resize(begin + FrameHeader::size);
    std::visit(
        [&out](const auto& body) {
            assert(!broken_by(body));
            detail::write(out, body);
        },
        frame);
    const std::size_t length = out.size() - begin - FrameHeader::size;
    assert(length <= longest_body(header.kind));
    header.length = static_cast<std::uint32_t>(length);
    header.write(out.data() + begin);
}

namespace {

/// A record of TLS that begins a link: a handshake (22) or an alert (21), version 3.1 to 3.4. No HELLO is that long.
bool looks_encrypted(const FrameHeader& header) {
    const std::uint32_t type = header.length & 0xff;
    const std::uint32_t minor = header.length >> 16 & 0xff;
    return (type == 21 || type == 22) && (header.length >> 8 & 0xff) == 3 && minor >= 1 && minor <= 4;
}

}  // namespace

std::optional<Rule> check(const FrameHeader& header, bool greeted) noexcept {
    if (!greeted && looks_encrypted(header)) return Rule::encrypted;
    const bool may_skip = (header.flags & core::flag_skippable) != 0;
    if (!known(header.kind) && !may_skip) return Rule::unknown_kind;
    if (header.length > (greeted ? longest_body(header.kind) : core::max_hello_body)) return Rule::frame_too_long;
    if (!known(header.kind)) return std::nullopt;
    if (header.kind == FrameKind::data) {
        if ((header.flags & ~(core::flag_more | core::flag_call | core::flag_error)) != 0) return Rule::wrong_flags;
        const bool call = (header.flags & core::flag_call) != 0;
        if (!call && header.channel == core::reply_channel) return Rule::wrong_flags;
        const bool of_library = header.channel == core::replica_channel || header.channel == core::client_channel;
        if (call && of_library) return Rule::wrong_flags;
        const bool more = (header.flags & core::flag_more) != 0;
        if ((header.flags & core::flag_error) != 0 && (more || header.channel != core::reply_channel)) {
            return Rule::wrong_flags;
        }
        if (more && header.length == 0) return Rule::malformed_body;
        return std::nullopt;
    }
    if ((header.flags & ~core::flag_skippable) != 0) return Rule::wrong_flags;
    if (header.kind != FrameKind::gap && header.channel != 0) return Rule::wrong_flags;
    return std::nullopt;
}

std::optional<Rule> decode(const FrameHeader& header, std::span<const std::byte> body, core::Control& out) noexcept {
    assert(header.length == body.size());
    if (const auto rule = check(header, true)) return rule;
    try {
        switch (header.kind) {
            case FrameKind::hello: return parse<core::Hello>(body, out);
            case FrameKind::offer: return parse<core::Offer>(body, out);
            case FrameKind::attach: return parse<core::Attach>(body, out);
            case FrameKind::attached: return parse<core::Attached>(body, out);
            case FrameKind::gap: {
                core::Gap& gap = out.emplace<core::Gap>();
                gap.channel = header.channel;
                return parse(body, gap);
            }
            case FrameKind::ack: return parse<core::Ack>(body, out);
            case FrameKind::goodbye: return parse<core::Goodbye>(body, out);
            case FrameKind::refuse: return parse<core::Refuse>(body, out);
            case FrameKind::peers: return parse<core::PeerList>(body, out);
            case FrameKind::ping: return parse<core::Ping>(body, out);
            case FrameKind::pong: return parse<core::Pong>(body, out);
            case FrameKind::inquiry: return parse<core::Inquiry>(body, out);
            case FrameKind::finding: return parse<core::Finding>(body, out);
            case FrameKind::members: return parse<core::MemberList>(body, out);
            case FrameKind::members_seen: return parse<core::MembersSeen>(body, out);
            case FrameKind::data: break;
        }
    } catch (...) {
        return Rule::malformed_body;
    }
    return Rule::unknown_kind;
}

}  // namespace cluster::wire
