#pragma once

#include "base/block.hpp"
#include "base/time.hpp"
#include "core/arena.hpp"
#include "core/channels.hpp"
#include "core/outbox.hpp"
#include "core/part.hpp"

#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cluster::core {

/// Puts messages into the outboxes of their receivers, and reports which of the application's are given up. Not
/// thread-safe; lives in its engine.
///
/// 1. A message is written once into the arena, however many receivers it has.
/// 2. It is queued for all its receivers or for none, except those that are skipped, which get a gap in its place.
class Sending : private Part {
public:
    explicit Sending(Shared& shared) noexcept
        : Part(shared),
          arena_(shared.arena_),
          replica_arena_(shared.replica_arena_),
          client_arena_(shared.client_arena_) {}

    /// A message. `owner` is set if the bytes may be kept instead of copied.
    struct Body {
        std::span<const std::byte> bytes;
        detail::BlockRef owner;
        std::uint64_t call = 0;  ///< not 0: it wants a reply, or is the reply, to the call of this number
        std::uint16_t channel = user_channel;
        bool error = false;  ///< of a reply: the bytes are a code and a text of at most `max_error_text` bytes

        bool is_reply() const noexcept { return channel == reply_channel; }
        /// Features that its receiver must have in its HELLO.
        std::uint64_t features() const noexcept {
            const std::uint64_t of_call = (call != 0 ? feature_calls : 0) | (error ? feature_errors : 0);
            return row_of(channel).feature | of_call;
        }
        std::size_t size() const noexcept { return bytes.size() + (call == 0 ? 0 : call_size); }
        /// Its size with the headers of the frames that it takes.
        std::size_t framed_size() const noexcept {
            const std::size_t frames = size() == 0 ? 1 : (size() + max_chunk - 1) / max_chunk;
            return size() + frames * FrameHeader::size;
        }
    };
    struct Outcome {
        errc error{};  ///< outbox_full, not_in_view, message_too_large, unsupported, closed; zero for success
        std::size_t count = 0;
        std::vector<PeerId> full;  ///< peers whose outbox has no room; empty if it is the node's that has none
        Time again = never;        ///< with `Skip::slow`: when it is worth asking again even if no room was freed
    };
    /// Which receivers get a gap in place of a message, instead of keeping it from all.
    enum class Skip : std::uint8_t {
        nobody,
        slow,  ///< those that are slow, see `Backlog`
        full,  ///< all that have no room
    };
    Outcome broadcast(const Body& body, Skip skip, std::optional<Time> now);
    Outcome send(const PeerId& to, const Body& body, Skip skip, std::optional<Time> now);
    Outcome send(std::span<const PeerId> to, const Body& body, Skip skip, std::optional<Time> now);
    /// All messages that were ever broadcast, whichever peers were in view.
    const Outbox::Amount& broadcasts() const noexcept { return broadcasts_; }

    /// Callers that wait for room in an outbox may try again.
    void room_freed();
    std::size_t pinned() const noexcept { return arena_.pinned() + replica_arena_.pinned() + client_arena_.pinned(); }
    /// What has been acknowledged leaves holes: moves the rest together if that is worth it.
    void tidy();

    /// Gives up what is queued for the pair and tells the application.
    void surrender(Pair& pair, errc reason);
    void report_given_up(Pair& pair, const Outbox::Amount& given_up, errc reason);
    /// A flood that meets a slow peer skips many messages: they are reported together.
    void report_skipped(Pair& pair);
    void report_skipped();
    bool has_reports() const noexcept { return !skipped_.empty(); }
    /// What this node leaves with: what it gave up since it began to leave, and what nobody has acknowledged.
    LeaveDone unacknowledged() const;

private:
    Outcome room(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now);
    Outcome queue(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now);
    void enqueue(std::span<Pair* const> pairs, const Body& body, std::span<const PeerId> skipped);
    void compact();
    bool fits(const ChannelRow& row, std::size_t held, std::size_t size) const;
    bool fits_in_total(const Body& body);
    Arena& arena_of(const ChannelRow& row) noexcept;

    Arena& arena_;
    Arena& replica_arena_;
    Arena& client_arena_;
    std::vector<Pair*> skipped_;  ///< pairs in view with skipped messages to report
    Outbox::Amount broadcasts_;
    LeaveDone given_up_;  ///< since this node began to leave
    bool room_wanted_ = false;
};

}  // namespace cluster::core
