#pragma once

#include "base/block.hpp"

#include <cluster/address.hpp>
#include <cluster/member.hpp>
#include <cluster/peer.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The words that two nodes exchange. `wire/` turns the control frames into bytes and back; DATA frames are bytes from
// the start, because they are written once and sent to many.

namespace cluster::core {

enum class FrameKind : std::uint8_t {
    hello = 1,
    offer = 2,
    attach = 3,
    attached = 4,
    data = 5,
    gap = 6,
    ack = 7,
    goodbye = 8,
    refuse = 9,
    peers = 10,
    ping = 11,
    pong = 12,
    inquiry = 13,
    finding = 14,
    members = 15,
    members_seen = 16,
};

/// DATA: more chunks of the same message follow on this channel.
inline constexpr std::uint8_t flag_more = 0x01;
/// DATA: the message begins with the number of a call, a `u64`. On the user channel it wants a reply. On the reply
/// channel, where all messages are of this kind, it is that reply.
inline constexpr std::uint8_t flag_call = 0x02;
/// DATA with `flag_call` on the reply channel: the number is followed by a code and a text that say why there is no
/// reply.
inline constexpr std::uint8_t flag_error = 0x04;
/// A receiver that does not know this kind of frame skips it.
inline constexpr std::uint8_t flag_skippable = 0x80;

/// What stands before every body:
///
///     | 0        4      5       6         8
///     | length   | kind | flags | channel | body of `length` bytes
///
/// All little-endian. `channel` is 0 except in DATA and GAP.
struct FrameHeader {
    static constexpr std::size_t size = 8;

    std::uint32_t length = 0;
    FrameKind kind = FrameKind::data;
    std::uint8_t flags = 0;
    std::uint16_t channel = 0;

    static FrameHeader read(const std::byte* from) noexcept {
        static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");
        FrameHeader header;
        std::memcpy(&header.length, from, 4);
        std::memcpy(&header.kind, from + 4, 1);
        std::memcpy(&header.flags, from + 5, 1);
        std::memcpy(&header.channel, from + 6, 2);
        return header;
    }
    void write(std::byte* to) const noexcept {
        std::memcpy(to, &length, 4);
        std::memcpy(to + 4, &kind, 1);
        std::memcpy(to + 5, &flags, 1);
        std::memcpy(to + 6, &channel, 2);
    }

    friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

// Limits of the protocol, the same for every node.
inline constexpr std::size_t max_chunk = std::size_t{64} << 10;  ///< body of one DATA frame
inline constexpr std::size_t max_data_frame = max_chunk + FrameHeader::size;
inline constexpr std::size_t max_control_body = std::size_t{64} << 10;  ///< body of any other frame
inline constexpr std::size_t max_hello_body = std::size_t{16} << 10;    ///< body of any frame before the HELLO was read
inline constexpr std::size_t max_listed_peers = 1024;                   ///< entries of one PEERS frame
inline constexpr std::size_t max_channels = 16;                         ///< entries of one list of offsets
inline constexpr std::size_t max_name = 64;                             ///< cluster, name, member
inline constexpr std::size_t max_host = 255;
inline constexpr std::size_t max_addresses = 8;
inline constexpr std::size_t max_tags = 32;
inline constexpr std::size_t max_tag_key = 64;
inline constexpr std::size_t max_tag_value = 256;
inline constexpr std::size_t max_refuse_text = 256;
inline constexpr std::size_t max_error_text = 1024;
inline constexpr std::size_t max_member_data = std::size_t{64} << 10;   ///< of one member
inline constexpr std::size_t max_members = 65536;                       ///< of one node
inline constexpr std::size_t max_member_bytes = std::size_t{64} << 20;  ///< the data of all members of one node
inline constexpr std::size_t max_listed_members = 1024;                 ///< entries of one MEMBERS frame
inline constexpr std::size_t max_members_body = max_member_data + 1024;

inline constexpr std::uint64_t max_offset = std::uint64_t{1} << 62;   ///< so that no sum of two overflows
inline constexpr std::uint64_t max_gap_end = std::uint64_t{1} << 61;  ///< so that credit beyond it is an offset, too
/// Each message takes at least a header, so no more fit before the end of a gap. `outstanding` is limited likewise.
inline constexpr std::uint64_t max_outstanding = max_gap_end / FrameHeader::size;

inline constexpr std::uint32_t protocol_magic = 0x53554c43;  // "CLUS"
inline constexpr std::uint16_t protocol_version = 1;

/// In `Hello::features`: MEMBERS are read and acknowledged.
inline constexpr std::uint64_t feature_members = 0x01;
/// In `Hello::features`: messages that want a reply are read, and replies come on the reply channel.
inline constexpr std::uint64_t feature_calls = 0x02;
/// In `Hello::features`: replies with `flag_error` are read.
inline constexpr std::uint64_t feature_errors = 0x04;
/// In `Hello::features`: an observer, to whom no broadcast goes.
inline constexpr std::uint64_t feature_observer = 0x08;
/// In `Hello::features`: what replicas say is read on the replica channel.
inline constexpr std::uint64_t feature_replicas = 0x10;
/// In `Hello::features`: the client channel is read.
inline constexpr std::uint64_t feature_clients = 0x20;
/// In `Hello::features`: a guest. It is no node of the cluster, and only the client channel joins it with one.
inline constexpr std::uint64_t feature_guest = 0x40;

inline constexpr std::uint16_t user_channel = 0;
inline constexpr std::uint16_t reply_channel = 1;
inline constexpr std::uint16_t replica_channel = 3;
inline constexpr std::uint16_t client_channel = 4;

inline constexpr std::size_t call_size = 8;  ///< of the number that a message with `flag_call` begins with

inline std::uint64_t read_call(const std::byte* from) noexcept {
    std::uint64_t call = 0;
    std::memcpy(&call, from, call_size);
    return call;
}
inline void write_call(std::uint64_t call, std::byte* to) noexcept {
    std::memcpy(to, &call, call_size);
}

inline constexpr std::size_t code_size = 4;  ///< of the code after the number of a call with `flag_error`

/// Code 0: the node that was asked has dropped the question. All other codes are the application's.
inline std::int32_t read_code(const std::byte* from) noexcept {
    std::int32_t code = 0;
    std::memcpy(&code, from, code_size);
    return code;
}
inline void write_code(std::int32_t code, std::byte* to) noexcept {
    std::memcpy(to, &code, code_size);
}

using Nonce = std::array<std::uint8_t, 16>;
using Token = std::array<std::uint8_t, 16>;
using Proof = std::array<std::uint8_t, 16>;

/// What a node says about itself. Only the owner writes it; the higher version is the newer one.
struct Facts {
    PeerId id;
    std::uint64_t version = 0;
    std::string name;
    std::string member = {};
    std::vector<Address> addresses;
    Tags tags;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(id, version, name, member, addresses, tags);
    }
    friend bool operator==(const Facts&, const Facts&) = default;
};

/// The first frame of each side. The fields up to `version_max` keep their place in all versions.
struct Hello {
    std::uint32_t magic = protocol_magic;
    std::uint16_t version_min = protocol_version;
    std::uint16_t version_max = protocol_version;
    std::uint64_t features = 0;
    std::string cluster;
    Nonce nonce{};
    std::uint64_t resume_for_ms = 0;
    /// The longest message this node takes.
    std::uint64_t max_message = 0;
    /// The address from which the other side seems to come, for its own use. The host may be empty.
    Address observed;
    Facts self;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(magic, version_min, version_max, features, cluster, nonce, resume_for_ms, max_message, observed, self);
    }
    friend bool operator==(const Hello&, const Hello&) = default;
};

/// What the larger id says about the pair's session; the smaller id decides on it.
struct Offer {
    std::optional<Proof> proof;
    /// The highest epoch accepted so far.
    std::uint64_t epoch = 0;
    /// The link of that epoch is still in use.
    bool holds = false;
    /// The session still excludes others from its id.
    bool defended = false;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(proof, epoch, holds, defended);
    }
    friend bool operator==(const Offer&, const Offer&) = default;
};

/// The receiving end of one channel: bytes of whole DATA frames, counted from the start of the session.
struct Offset {
    std::uint16_t channel = 0;
    std::uint64_t received = 0;
    std::uint64_t limit = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(channel, received, limit);
    }
    friend bool operator==(const Offset&, const Offset&) = default;
};

/// The smaller id puts the session on this link.
struct Attach {
    /// The token itself with `first`; later a proof of it.
    std::array<std::uint8_t, 16> token{};
    bool first = false;
    std::uint64_t epoch = 0;
    std::vector<Offset> offsets;
    /// With `first`: how many messages of a former session with this peer were never acknowledged. At most
    /// `max_outstanding`.
    std::uint64_t outstanding = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(token, first, epoch, offsets, outstanding);
    }
    friend bool operator==(const Attach&, const Attach&) = default;
};

/// The larger id agrees.
struct Attached {
    std::uint64_t epoch = 0;
    std::vector<Offset> offsets;
    std::uint64_t outstanding = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(epoch, offsets, outstanding);
    }
    friend bool operator==(const Attached&, const Attached&) = default;
};

/// At most `messages` are given up below offset `to`, which is at most `max_gap_end`: at most one for each
/// `FrameHeader::size` bytes. The channel stands in the header.
struct Gap {
    std::uint16_t channel = 0;
    std::uint64_t to = 0;
    std::uint64_t messages = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(to, messages);
    }
    friend bool operator==(const Gap&, const Gap&) = default;
};

struct Ack {
    std::vector<Offset> offsets;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(offsets);
    }
    friend bool operator==(const Ack&, const Ack&) = default;
};

enum class Farewell : std::uint8_t { leaving = 1, removed = 2 };

/// Both ends of one channel as the speaker leaves it.
struct FinalOffset {
    std::uint16_t channel = 0;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(channel, sent, received);
    }
    friend bool operator==(const FinalOffset&, const FinalOffset&) = default;
};

struct Goodbye {
    Farewell why = Farewell::leaving;
    std::vector<FinalOffset> offsets;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(why, offsets);
    }
    friend bool operator==(const Goodbye&, const Goodbye&) = default;
};

/// Later versions may have more reasons; an unknown one is a refusal all the same.
enum class Refusal : std::uint8_t {
    duplicate = 1,
    id_in_use = 2,
    unknown_session = 3,
    over = 4,
    removed = 5,
    self = 6,
    cluster = 7,
    version = 8,
    full = 9,
    leaving = 10,
    unsupported = 11,
    secret = 12,
};

struct Refuse {
    Refusal reason = Refusal::duplicate;
    std::optional<Proof> proof;
    std::string text;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(reason, proof, text);
    }
    friend bool operator==(const Refuse&, const Refuse&) = default;
};

/// The peers that the speaker has in view, or only those that are news.
struct PeerList {
    std::vector<Facts> peers;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(peers);
    }
    friend bool operator==(const PeerList&, const PeerList&) = default;
};

struct Ping {
    std::uint64_t sequence = 0;
    /// Of the owner-written facts of all in the speaker's view; if it differs from the listener's, lists are exchanged.
    std::uint64_t digest = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(sequence, digest);
    }
    friend bool operator==(const Ping&, const Ping&) = default;
};

struct Pong {
    std::uint64_t sequence = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(sequence);
    }
    friend bool operator==(const Pong&, const Pong&) = default;
};

/// The speaker got no answer from a peer. The listener may probe it, and says what it finds if `wants_answer`.
struct Inquiry {
    PeerId id;
    bool wants_answer = false;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(id, wants_answer);
    }
    friend bool operator==(const Inquiry&, const Inquiry&) = default;
};

struct Finding {
    PeerId id;
    /// Bytes have come from it since the question was read. If not, there is no link, or no answer on it.
    bool heard = false;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(id, heard);
    }
    friend bool operator==(const Finding&, const Finding&) = default;
};

/// A member that the speaker has enrolled, or has withdrawn.
struct MemberEntry {
    MemberId id;
    bool enrolled = true;
    std::vector<std::uint8_t> data;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(id, enrolled, data);
    }
    friend bool operator==(const MemberEntry&, const MemberEntry&) = default;
};

/// What has changed among the speaker's own members from one of its versions to another.
struct MemberList {
    /// The first part of the complete set; `from` is 0.
    bool whole = false;
    /// After this the listener knows all up to `to`. Members that the set did not contain are withdrawn.
    bool complete = false;
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::vector<MemberEntry> members;

    /// About its size on the wire.
    std::size_t size() const noexcept {
        std::size_t sum = FrameHeader::size + 24;
        for (const MemberEntry& entry : members) sum += 20 + entry.data.size();
        return sum;
    }

    template <class Archive>
    void serialize(Archive& archive) {
        archive(whole, complete, from, to, members);
    }
    friend bool operator==(const MemberList&, const MemberList&) = default;
};

/// The speaker knows the listener's members as of this version.
struct MembersSeen {
    std::uint64_t version = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(version);
    }
    friend bool operator==(const MembersSeen&, const MembersSeen&) = default;
};

/// Every frame but DATA.
using Control = std::variant<Hello, Offer, Attach, Attached, Gap, Ack, Goodbye, Refuse, PeerList, Ping, Pong, Inquiry,
                             Finding, MemberList, MembersSeen>;

/// A rule of the protocol that the other side broke; the log and the counters name it.
enum class Rule : std::uint8_t {
    bad_magic,
    frame_too_long,
    unknown_kind,
    malformed_body,
    wrong_flags,
    unexpected_frame,
    beyond_credit,
    offset_goes_back,
    offset_beyond_sent,
    offset_inside_frame,
    unknown_channel,
    message_too_long,
    wrong_epoch,
    too_many_facts,
    goodbye_before_the_end,
    too_many_members,
    encrypted,
};

constexpr std::string_view to_string(Rule rule) noexcept {
    switch (rule) {
        case Rule::bad_magic: return "bad_magic";
        case Rule::frame_too_long: return "frame_too_long";
        case Rule::unknown_kind: return "unknown_kind";
        case Rule::malformed_body: return "malformed_body";
        case Rule::wrong_flags: return "wrong_flags";
        case Rule::unexpected_frame: return "unexpected_frame";
        case Rule::beyond_credit: return "beyond_credit";
        case Rule::offset_goes_back: return "offset_goes_back";
        case Rule::offset_beyond_sent: return "offset_beyond_sent";
        case Rule::offset_inside_frame: return "offset_inside_frame";
        case Rule::unknown_channel: return "unknown_channel";
        case Rule::message_too_long: return "message_too_long";
        case Rule::wrong_epoch: return "wrong_epoch";
        case Rule::too_many_facts: return "too_many_facts";
        case Rule::goodbye_before_the_end: return "goodbye_before_the_end";
        case Rule::too_many_members: return "too_many_members";
        case Rule::encrypted: return "encrypted";
    }
    return "unknown";
}

/// Complete DATA frames without MORE, one after the other on one channel; or a single frame with MORE.
struct DataRun {
    detail::BlockRef block;             ///< holds the frames
    std::span<const std::byte> frames;  ///< headers included
    std::uint64_t messages = 0;         ///< how many frames
    std::uint16_t channel = 0;
    bool more = false;
};

}  // namespace cluster::core
