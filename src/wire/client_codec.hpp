#pragma once

#include "base/bytes.hpp"
#include "client/message.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

// What clients and replicas say to each other, as bytes: the messages of the client channel. PROTOCOL.md describes it
// for other implementations.

namespace cluster::wire {

/// What stands for the name of a group in each message: the first eight bytes of its SipHash under the key 0.
std::uint64_t group_tag(std::string_view group);

struct ClientToNode {
    std::uint64_t group = 0;   ///< `group_tag`
    std::uint64_t client = 0;  ///< `Seat::client`
    client::ToNode body;
};
struct NodeToClient {
    std::uint64_t client = 0;
    client::ToClient body;
};

std::vector<std::byte> encode(const ClientToNode& message);
std::vector<std::byte> encode(const NodeToClient& message);

/// Nothing if these bytes are no such message. Messages for services share the memory of `bytes`.
std::optional<ClientToNode> decode_to_node(const Bytes& bytes);
std::optional<NodeToClient> decode_to_client(const Bytes& bytes);
/// Whether it is for a client, and for which one.
std::optional<std::uint64_t> client_of(const Bytes& bytes);

struct Asked {
    std::uint64_t group = 0;   ///< `group_tag`
    std::uint64_t client = 0;  ///< `Seat::client`
    friend bool operator==(const Asked&, const Asked&) = default;
};
/// Whether a client so asks a node for a session, or to go on with one, and waits for an answer.
std::optional<Asked> asks_to_be_served(const Bytes& bytes);

}  // namespace cluster::wire
