#include "core/arena.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace cluster::core {

Span::Span(Segment& segment, std::size_t begin, std::size_t end) noexcept
    : segment_(&segment), begin_(begin), end_(end) {
    const bool was_sparse = segment.sparse();
    ++segment.references_;
    segment.live_ += size();
    segment.arena_->changed(segment, was_sparse);
}

Span::~Span() {
    if (segment_ == nullptr) return;
    const bool was_sparse = segment_->sparse();
    --segment_->references_;
    segment_->live_ -= size();
    segment_->arena_->changed(*segment_, was_sparse);
}

bool Span::merge(const Span& next) noexcept {
    if (segment_ == nullptr || next.segment_ != segment_ || next.begin_ != end_) return false;
    // An open segment is never sparse and a closed one is not appended to, so only the count of bytes moves.
    segment_->live_ += next.size();
    end_ = next.end_;
    return true;
}

void Span::drop_front(std::size_t bytes) noexcept {
    assert(bytes <= size());
    const bool was_sparse = segment_->sparse();
    begin_ += bytes;
    segment_->live_ -= bytes;
    segment_->arena_->changed(*segment_, was_sparse);
}

Span Arena::append(std::span<const std::byte> head, std::span<const std::byte> body) {
    const std::size_t size = head.size() + body.size();
    assert(size <= segment_size);
    Segment& segment = open_segment(size);
    const std::size_t begin = segment.used_;
    std::byte* to = segment.block_->data() + begin;
    std::memcpy(to, head.data(), head.size());
    if (!body.empty()) std::memcpy(to + head.size(), body.data(), body.size());
    segment.used_ += size;
    mark(segment, begin);
    return {segment, begin, segment.used_};
}

Span Arena::append_frames(std::span<const std::byte> frames) {
    Span span = append(frames, {});
    for (std::size_t at = 0; at + FrameHeader::size <= frames.size();) {
        mark(*span.segment_, span.begin_ + at);
        at += FrameHeader::size + FrameHeader::read(frames.data() + at).length;
    }
    return span;
}

void Arena::mark(Segment& segment, std::size_t begin) noexcept {
    segment.begins_[begin / 64] |= std::uint64_t{1} << begin % 64;
}

Span Arena::adopt(detail::BlockRef block) {
    const std::size_t size = block->size();
    Segment& segment = segments_.emplace_front();
    segment.arena_ = this;
    segment.block_ = std::move(block);
    segment.used_ = size;
    segment.place_ = segments_.begin();
    pinned_ += size;
    return {segment, 0, size};
}

Segment& Arena::open_segment(std::size_t room) {
    if (open_ != nullptr) {
        if (open_->block_->size() - open_->used_ >= room) return *open_;
        close(*open_);
    }
    Segment& segment = segments_.emplace_front();
    segment.arena_ = this;
    if (spare_.empty()) {
        segment.block_ = detail::Block::allocate(segment_size);
    } else {
        segment.block_ = std::move(spare_.back());
        spare_.pop_back();
    }
    segment.begins_.resize(segment_size / 64);
    segment.place_ = segments_.begin();
    segment.open_ = true;
    segment.made_here_ = true;
    pinned_ += segment_size;
    open_ = &segment;
    return segment;
}

void Arena::close(Segment& segment) noexcept {
    open_ = nullptr;
    segment.open_ = false;
    if (segment.references_ == 0) {
        erase(segment);
    } else if (segment.sparse()) {
        sparse_ += segment.block_->size();
    }
}

void Arena::changed(Segment& segment, bool was_sparse) noexcept {
    const bool is_sparse = segment.sparse();
    if (was_sparse != is_sparse) {
        if (is_sparse) {
            sparse_ += segment.block_->size();
        } else {
            sparse_ -= segment.block_->size();
        }
    }
    if (segment.references_ != 0) return;
    if (!segment.open_) {
        erase(segment);
    } else if (!segment.block_->shared()) {
        // Nothing of it is needed, and no socket writes it: start over in the same memory, which is warm.
        std::fill_n(segment.begins_.begin(), (segment.used_ + 63) / 64, std::uint64_t{0});
        segment.used_ = 0;
    }
}

void Arena::erase(Segment& segment) noexcept {
    pinned_ -= segment.block_->size();
    const bool reusable = segment.made_here_ && !segment.block_->shared() && spare_.size() < most_spare;
    if (reusable) spare_.push_back(std::move(segment.block_));
    segments_.erase(segment.place_);
}

}  // namespace cluster::core
