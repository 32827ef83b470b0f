#pragma once

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "group/command.hpp"

#include <cluster/session.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::group {

/// What is kept for a client until it says that it has it: a reply, under the number of the command; or what a service
/// has sent by itself, numbered from 1 on.
struct Kept {
    std::uint64_t number = 0;
    std::uint64_t position = 0;  ///< in the log: of the event that made it
    Bytes bytes;

    friend bool operator==(const Kept&, const Kept&) = default;
};

/// One client, as all replicas know it.
struct Session {
    /// Beyond one of these the session is closed: `CloseReason::slow`.
    static constexpr std::size_t most_bytes = std::size_t{16} << 20;
    static constexpr std::size_t most_pushes = 65536;
    /// A client that has so many replies outstanding sends no further command.
    static constexpr std::size_t most_outstanding = 1024;

    ClientSession facts;
    SessionKey key{};
    std::uint64_t timeout_ms = 0;
    std::uint64_t applied = 0;  ///< the number of its last command that took effect
    std::uint64_t pushed = 0;   ///< the number of the last push
    std::deque<Kept> replies;
    std::deque<Kept> pushes;
    std::size_t bytes = 0;  ///< of both

    void reply(std::uint64_t number, std::uint64_t position, Bytes bytes);
    const Kept& push(std::uint64_t position, Bytes bytes);
    void received(const Received& received);
    bool is_slow() const noexcept {
        return bytes > most_bytes || pushes.size() > most_pushes || replies.size() > most_outstanding;
    }

private:
    void keep(std::deque<Kept>& in, Kept kept);
    void drop(std::deque<Kept>& from, std::uint64_t up_to);
};

/// All clients of a group. Not thread-safe. References stay good until that session is closed.
class Sessions {
public:
    /// `id`: the index of the entry that opens it. Null if a session has this key, or if there are `OpenSession::most`.
    Session* open(std::uint64_t id, const OpenSession& open, Duration time);
    /// As it was in a snapshot.
    void restore(Session session);
    Session* find(std::uint64_t id);
    const Session* find(std::uint64_t id) const;
    const Session* find(const SessionKey& key) const;
    /// Nothing is left of it but what the caller gets.
    Session close(Session& session);

    std::size_t size() const noexcept { return by_id_.size(); }
    const std::map<std::uint64_t, Session>& all() const noexcept { return by_id_; }

private:
    std::map<std::uint64_t, Session> by_id_;
    std::map<SessionKey, std::uint64_t> by_key_;
};

}  // namespace cluster::group
