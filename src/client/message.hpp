#pragma once

#include "base/bytes.hpp"
#include "group/command.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>
#include <cluster/session.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace cluster::client {

// What a client of a replicated service and the replicas say to each other on the client channel. Only the leader
// serves a client; whoever else is asked says who leads.

inline constexpr std::size_t max_credentials = std::size_t{16} << 10;
inline constexpr std::size_t max_text = 1024;
/// What stands before a message for the service, in each of these, and more.
inline constexpr std::size_t around_message = 128;

// From a client.

/// "I want a session." The key is drawn once: asked again, there is no second session.
struct Open {
    std::string group;
    group::SessionKey key{};
    std::uint64_t timeout_ms = 0;
    std::string name;
    std::string credentials;
    friend bool operator==(const Open&, const Open&) = default;
};
/// The answer to a `Challenge`. After it the node goes on with the `Open` of that key.
struct Response {
    group::SessionKey key{};
    std::string response;
    friend bool operator==(const Response&, const Response&) = default;
};
/// "I have this session. From now on I am here."
struct Attach {
    std::string group;
    std::uint64_t session = 0;
    group::SessionKey key{};
    group::Received received;
    friend bool operator==(const Attach&, const Attach&) = default;
};
/// A command. Numbers begin with 1 and rise by 1.
struct Ask {
    std::uint64_t number = 0;
    group::Received received;
    Bytes message;
    friend bool operator==(const Ask&, const Ask&) = default;
};
/// "I am here, and have received this."
struct Alive {
    group::Received received;
    friend bool operator==(const Alive&, const Alive&) = default;
};
/// "I do not need the session any more."
struct Leave {
    friend bool operator==(const Leave&, const Leave&) = default;
};
/// A read. Numbers rise, but are none of those of commands.
struct Query {
    std::uint64_t number = 0;
    bool linearizable = true;
    std::uint64_t at_least = 0;  ///< a position
    Bytes query;
    friend bool operator==(const Query&, const Query&) = default;
};

using ToNode = std::variant<Open, Response, Attach, Ask, Alive, Leave, Query>;

// To a client.

/// It has the session of its key, and is attached.
struct Opened {
    std::uint64_t session = 0;
    friend bool operator==(const Opened&, const Opened&) = default;
};
/// "Prove that." To be answered by a `Response`.
struct Challenge {
    std::string challenge;
    friend bool operator==(const Challenge&, const Challenge&) = default;
};
/// What follows are replies and pushes that it has not received.
struct Attached {
    std::uint64_t applied = 0;      ///< the number of its last command that took effect
    std::uint64_t max_message = 0;  ///< the longest one
    friend bool operator==(const Attached&, const Attached&) = default;
};
/// "I do not lead." What was asked here is to be asked at the leader; if there is none, somewhere else or later.
struct NotLeader {
    PeerId leader;  ///< none if it is not known
    std::vector<Address> addresses;
    friend bool operator==(const NotLeader&, const NotLeader&) = default;
};
/// "I have no room for commands from that number on. Ask again a little later."
struct Busy {
    std::uint64_t number = 0;
    friend bool operator==(const Busy&, const Busy&) = default;
};
/// "You are not attached here (any more)."
struct Detached {
    friend bool operator==(const Detached&, const Detached&) = default;
};
struct Reply {
    std::uint64_t number = 0;
    std::uint64_t position = 0;
    Bytes message;
    friend bool operator==(const Reply&, const Reply&) = default;
};
/// What the service sends by itself. Numbers begin with 1 and rise by 1.
struct Push {
    std::uint64_t number = 0;
    std::uint64_t position = 0;
    Bytes message;
    friend bool operator==(const Push&, const Push&) = default;
};
/// Of a query. `code` 0: no error.
struct Answer {
    std::uint64_t number = 0;
    std::uint32_t code = 0;  ///< an `errc`
    std::uint64_t position = 0;
    Bytes message;  ///< or a text about the error
    friend bool operator==(const Answer&, const Answer&) = default;
};
/// The session is over.
struct Closed {
    CloseReason reason{};
    friend bool operator==(const Closed&, const Closed&) = default;
};
enum class Refusal : std::uint8_t {
    no_such_group = 1,  ///< no replica of it runs on this node
    rejected = 2,       ///< its credentials were not accepted
    full = 3,           ///< there are `max_sessions`
    no_session = 4,     ///< there is none with that id and key: it is over
};
/// The answer to an `Open`, `Response` or `Attach`.
struct Refused {
    Refusal reason{};
    std::string text;
    friend bool operator==(const Refused&, const Refused&) = default;
};

using ToClient =
    std::variant<Opened, Challenge, Attached, NotLeader, Busy, Detached, Reply, Push, Answer, Closed, Refused>;

/// One client of a node: several may share a link.
struct Seat {
    PeerId peer;
    std::uint64_t client = 0;  ///< drawn by it
    friend auto operator<=>(const Seat&, const Seat&) = default;
};

}  // namespace cluster::client
