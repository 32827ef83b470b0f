#pragma once

#include "base/bytes.hpp"
#include "consensus/founding.hpp"
#include "consensus/message.hpp"
#include "consensus/questions.hpp"
#include "consensus/submissions.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

// What replicas say to each other, as bytes: the messages of channel 3. PROTOCOL.md describes it for other
// implementations.

namespace cluster::wire {

/// Until there is a group, replicas know it by its name only.
struct FoundingMessage {
    std::string group;
    consensus::DiskId from;
    /// In an introduction none if its sender wants to be introduced to whoever belongs to that group on the peer; the
    /// one to whom it is the answer. In a farewell none: it is for all.
    consensus::DiskId to;
    std::variant<consensus::Introduction, consensus::AskPromise, consensus::Promised, consensus::Farewell> body;
};

struct RaftMessage {
    consensus::GroupId group;
    consensus::Message message;
};

struct SubmitMessage {
    consensus::GroupId group;
    consensus::DiskId from;
    consensus::DiskId to;
    consensus::Term term = 0;  ///< in which one of them leads, or is taken to lead
    std::variant<consensus::Submit, consensus::SubmitAnswer> body;
};

struct ReadMessage {
    consensus::GroupId group;
    consensus::DiskId from;
    consensus::DiskId to;
    consensus::Term term = 0;  ///< in which one of them leads, or is taken to lead
    std::variant<consensus::ReadIndex, consensus::ReadIndexAnswer> body;
};

/// "My state behind that entry is this." The log asks for it.
struct StateHash {
    consensus::Index index = 0;
    std::uint64_t hash = 0;
    friend bool operator==(const StateHash&, const StateHash&) = default;
};

struct StateMessage {
    consensus::GroupId group;
    consensus::DiskId from;
    consensus::DiskId to;
    consensus::Term term = 0;
    std::variant<StateHash> body;
};

using ReplicaMessage = std::variant<FoundingMessage, RaftMessage, SubmitMessage, ReadMessage, StateMessage>;

/// Appends the whole message.
void encode(const ReplicaMessage& message, std::vector<std::byte>& out);

/// Nothing if these bytes are no message. Entries and pieces of snapshots in it share the memory of `bytes`.
std::optional<ReplicaMessage> decode(const Bytes& bytes);

/// How many bytes an entry with that body takes in a message, and how many everything else in it, at most.
inline constexpr std::size_t entry_header = 8 + 8 + 1 + 8 + 4;
inline constexpr std::size_t append_header = 1 + 3 * 16 + 8 + 16 + 8 + 4;

}  // namespace cluster::wire
