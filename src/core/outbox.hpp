#pragma once

#include "core/arena.hpp"
#include "core/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace cluster::core {

/// Takes what goes onto a link next, in order.
class OutputSink {
public:
    virtual void frame(const Control& frame) = 0;
    /// `bytes` lie in `block` and are part of DATA frames; after the last call of one `pull` all frames are whole.
    virtual void bytes(const detail::BlockRef& block, std::span<const std::byte> bytes) = 0;

protected:
    ~OutputSink() = default;
};

/// What one session sends on one channel, from the first byte not yet acknowledged on. Not thread-safe.
///
/// Offsets count bytes of DATA frames, headers included, from the start of the session.
/// 1. `acknowledged() <= next() <= end()`; the last two are ends of frames.
/// 2. Everything from `acknowledged()` on is kept, as bytes or as a gap, so it can be sent again.
/// 3. A gap takes no memory but its place; neighbouring gaps are one.
/// 4. A gap has at most one message for each `FrameHeader::size` of its bytes, and at least one.
class Outbox {
public:
    /// A whole frame, or several.
    void append(Span frames);
    /// A frame in two pieces: its header, and a body that lies elsewhere.
    void append(Span header, Span body);
    /// A message that is given up before it was queued. `bytes` is its length with its headers.
    void append_gap(std::uint64_t bytes, std::uint64_t messages);

    /// The peer has everything up to `to`, which must be the end of a frame.
    std::optional<Rule> acknowledge(std::uint64_t to);
    /// The peer will take up to `limit`. It only grows; a smaller one changes nothing.
    void allow(std::uint64_t limit) noexcept;
    /// A new link starts at `to`, as the peer stated.
    std::optional<Rule> rewind(std::uint64_t to);

    /// So many messages, in so many bytes with their headers.
    struct Amount {
        std::uint64_t messages = 0;
        std::uint64_t bytes = 0;

        Amount& operator+=(const Amount& other) noexcept {
            messages += other.messages;
            bytes += other.bytes;
            return *this;
        }
    };
    /// Turns everything that is not acknowledged into a gap, and returns what that was.
    Amount give_up();
    /// Turns everything that was never sent into a gap which counts as sent, and returns what that was. `gap` reports
    /// it to the peer and must be the next thing that is sent on this channel. It is empty if nothing was left.
    Amount abandon(std::uint16_t channel, std::optional<Gap>& gap);
    /// What is queued and not acknowledged, without gaps.
    Amount unacknowledged() const;

    /// Messages of which this side does not know that they have arrived, with those in gaps.
    std::uint64_t outstanding() const;

    /// Hands out about `budget` bytes of what may be sent now, in whole frames. Returns the number of bytes.
    std::size_t pull(std::uint16_t channel, std::size_t budget, OutputSink& sink);
    /// Whether `pull` would hand out anything.
    bool ready() const noexcept;

    /// Moves the contents of sparse segments together.
    void compact(Arena& arena);

    std::uint64_t acknowledged() const noexcept { return acknowledged_; }
    std::uint64_t next() const noexcept { return next_; }
    std::uint64_t end() const noexcept { return end_; }
    std::uint64_t limit() const noexcept { return limit_; }
    /// Bytes held.
    std::uint64_t size() const noexcept { return held_; }
    bool empty() const noexcept { return items_.empty(); }

private:
    struct Item {
        Span span;                   ///< empty for a gap
        std::uint64_t begin = 0;     ///< offset
        std::uint64_t end = 0;
        std::uint64_t messages = 0;  ///< of a gap
        bool header = false;         ///< its body is the next item

        bool gap() const noexcept { return span.segment() == nullptr; }
    };

    void push(Span span, bool header);
    std::size_t find(std::uint64_t offset) const;
    bool inside_frame(std::uint64_t offset) const;
    Amount count(std::size_t first, std::uint64_t from) const;
    static std::uint64_t frames_until(const Item& item, std::uint64_t from, std::uint64_t limit,
                                      std::uint64_t* messages = nullptr);

    std::deque<Item> items_;
    std::size_t cursor_ = 0;  ///< the item that contains `next_`
    std::uint64_t acknowledged_ = 0;
    std::uint64_t next_ = 0;
    std::uint64_t sent_ = 0;  ///< the furthest `next_` has been
    std::uint64_t end_ = 0;
    std::uint64_t limit_ = 0;
    std::uint64_t held_ = 0;
};

}  // namespace cluster::core
