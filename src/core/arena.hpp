#pragma once

#include "base/block.hpp"

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace cluster::core {

class Arena;

/// A block of memory to which frames are appended, or one buffer that a caller handed over. Bytes once written never
/// change, so that they can be sent while others are appended after them.
class Segment {
public:
    const detail::BlockRef& block() const noexcept { return block_; }
    /// What is still needed is less than a quarter of the block.
    bool sparse() const noexcept { return !open_ && references_ != 0 && live_ * 4 < block_->size(); }

private:
    friend class Arena;
    friend class Span;

    detail::BlockRef block_;
    Arena* arena_ = nullptr;
    std::vector<std::uint64_t> begins_;  ///< a bit for each byte: a frame begins there. Only where `made_here_`
    std::size_t used_ = 0;        ///< bytes written
    std::size_t live_ = 0;        ///< bytes of all spans, each counted for itself
    std::size_t references_ = 0;  ///< spans
    bool open_ = false;           ///< more is appended here
    bool made_here_ = false;      ///< of `Arena::segment_size`, not adopted
    std::list<Segment>::iterator place_;
};

/// A reference to some bytes of a segment; keeps the segment alive.
class Span {
public:
    Span() noexcept = default;
    Span(Segment& segment, std::size_t begin, std::size_t end) noexcept;
    Span(const Span& other) noexcept : Span() {
        if (other.segment_ != nullptr) *this = Span(*other.segment_, other.begin_, other.end_);
    }
    Span(Span&& other) noexcept
        : segment_(std::exchange(other.segment_, nullptr)), begin_(other.begin_), end_(other.end_) {}
    Span& operator=(Span other) noexcept {
        std::swap(segment_, other.segment_);
        std::swap(begin_, other.begin_);
        std::swap(end_, other.end_);
        return *this;
    }
    ~Span();

    std::size_t size() const noexcept { return end_ - begin_; }
    const Segment* segment() const noexcept { return segment_; }
    std::span<const std::byte> bytes() const noexcept {
        return {segment_->block()->data() + begin_, size()};
    }
    /// Whether a frame begins at this byte of the span. Known only for frames that were appended, not adopted.
    bool frame_begins(std::size_t at) const noexcept {
        const std::size_t place = begin_ + at;
        const std::size_t word = place / 64;
        return word < segment_->begins_.size() && (segment_->begins_[word] >> place % 64 & 1) != 0;
    }
    /// The bytes from `begin` to `end` of this span.
    Span part(std::size_t begin, std::size_t end) const noexcept { return {*segment_, begin_ + begin, begin_ + end}; }
    /// Grows by `next` if that continues it in the same segment.
    bool merge(const Span& next) noexcept;
    void drop_front(std::size_t bytes) noexcept;

private:
    friend class Arena;

    Segment* segment_ = nullptr;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

/// Holds what was accepted for sending until the last receiver has acknowledged it. What goes to several receivers is
/// written once. A segment that was made here takes an eighth more memory, to know where its frames begin. Not
/// thread-safe; outlives its spans.
class Arena {
public:
    static constexpr std::size_t segment_size = std::size_t{256} << 10;

    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// Copies one frame, or a part of one, given in two pieces; together at most `segment_size`.
    Span append(std::span<const std::byte> head, std::span<const std::byte> body);
    /// Copies several whole frames; together at most `segment_size`.
    Span append_frames(std::span<const std::byte> frames);
    /// All of `block`, without a copy.
    Span adopt(detail::BlockRef block);

    /// Memory held for messages: whole segments, even if little of them is still needed. An empty open one does not
    /// count.
    std::size_t pinned() const noexcept {
        return pinned_ - (open_ != nullptr && open_->references_ == 0 ? segment_size : 0);
    }
    /// Whether to move what is left of sparse segments together: that frees more than half of all that is held.
    bool wasteful() const noexcept { return sparse_ > std::size_t{1} << 20 && sparse_ * 2 > pinned_; }

private:
    friend class Span;
    Segment& open_segment(std::size_t room);
    static void mark(Segment& segment, std::size_t begin) noexcept;
    void close(Segment& segment) noexcept;
    void changed(Segment& segment, bool was_sparse) noexcept;
    void erase(Segment& segment) noexcept;

    static constexpr std::size_t most_spare = 8;

    std::list<Segment> segments_;
    std::vector<detail::BlockRef> spare_;  ///< of segments that are gone: fresh memory costs more than a copy into it
    Segment* open_ = nullptr;
    std::size_t pinned_ = 0;
    std::size_t sparse_ = 0;  ///< sizes of all sparse segments
};

}  // namespace cluster::core
