#include "core/outbox.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace cluster::core {

void Outbox::push(Span span, bool header) {
    const std::uint64_t begin = end_;
    end_ += span.size();
    held_ += span.size();
    const std::size_t count = items_.size();
    const bool follows_frames = count > 0 && !items_.back().gap() && !items_.back().header &&
                                (count == 1 || !items_[count - 2].header);
    if (!header && follows_frames && items_.back().span.merge(span)) {
        items_.back().end = end_;
        cursor_ = std::min(cursor_, items_.size() - 1);
        return;
    }
    items_.push_back({std::move(span), begin, end_, 0, header});
}

void Outbox::append(Span frames) {
    push(std::move(frames), false);
}

void Outbox::append(Span header, Span body) {
    push(std::move(header), true);
    push(std::move(body), false);
}

void Outbox::append_gap(std::uint64_t bytes, std::uint64_t messages) {
    const std::uint64_t begin = end_;
    end_ += bytes;
    // A gap that was sent as a whole is not extended: the peer knows its end.
    if (!items_.empty() && items_.back().gap() && next_ < begin) {
        items_.back().end = end_;
        items_.back().messages += messages;
        return;
    }
    const std::size_t count = items_.size();
    if (count > 1 && items_[count - 1].gap() && items_[count - 2].gap() && cursor_ == count) {
        items_[count - 2].end = items_[count - 1].end;
        items_[count - 2].messages += items_[count - 1].messages;
        items_.pop_back();
        --cursor_;
    }
    items_.push_back({{}, begin, end_, messages, false});
}

/// The last end of a frame in `item` that is at most `limit`, counted from the frame that starts at `from`. A result
/// below both `limit` and the item's end means that no frame starts where one should.
std::uint64_t Outbox::frames_until(const Item& item, std::uint64_t from, std::uint64_t limit, std::uint64_t* messages) {
    const std::span<const std::byte> bytes = item.span.bytes();
    std::uint64_t at = from;
    while (at < item.end && item.end - at >= FrameHeader::size) {
        const FrameHeader header = FrameHeader::read(bytes.data() + (at - item.begin));
        const std::uint64_t next = at + FrameHeader::size + header.length;
        if (next > limit || next > item.end) break;
        if (messages != nullptr && (header.flags & flag_more) == 0) ++*messages;
        at = next;
    }
    return at;
}

std::size_t Outbox::find(std::uint64_t offset) const {
    const auto item = std::upper_bound(items_.begin(), items_.end(), offset,
                                       [](std::uint64_t value, const Item& each) { return value < each.end; });
    return static_cast<std::size_t>(item - items_.begin());
}

/// Whether no frame ends at `offset`. A gap may have been sent as frames before, so any offset in it will do.
bool Outbox::inside_frame(std::uint64_t offset) const {
    const std::size_t at = find(offset);
    if (at > 0 && items_[at - 1].header) return true;
    if (at == items_.size() || items_[at].gap() || items_[at].begin >= offset) return false;
    return items_[at].header || !items_[at].span.frame_begins(offset - items_[at].begin);
}

std::optional<Rule> Outbox::acknowledge(std::uint64_t to) {
    if (to < acknowledged_) return Rule::offset_goes_back;
    if (to > next_) return Rule::offset_beyond_sent;
    if (inside_frame(to)) return Rule::offset_inside_frame;
    while (!items_.empty() && items_.front().end <= to) {
        if (!items_.front().gap()) held_ -= items_.front().span.size();
        items_.pop_front();
        if (cursor_ > 0) --cursor_;
    }
    if (!items_.empty() && items_.front().begin < to) {
        Item& front = items_.front();
        if (!front.gap()) {
            const std::uint64_t dropped = to - front.begin;
            front.span.drop_front(dropped);
            held_ -= dropped;
        }
        front.begin = to;
        // Part of it had arrived: the rest cannot be more messages than it has headers.
        if (front.gap()) {
            const std::uint64_t most = std::max<std::uint64_t>(1, (front.end - to) / FrameHeader::size);
            front.messages = std::min(front.messages, most);
        }
    }
    acknowledged_ = to;
    return std::nullopt;
}

void Outbox::allow(std::uint64_t limit) noexcept {
    limit_ = std::max(limit_, limit);
}

std::optional<Rule> Outbox::rewind(std::uint64_t to) {
    if (to < acknowledged_) return Rule::offset_goes_back;
    if (to > std::max(sent_, next_)) return Rule::offset_beyond_sent;
    if (inside_frame(to)) return Rule::offset_inside_frame;
    next_ = std::max(next_, to);  // forward, too: what the peer has is acknowledged even if this side forgot sending it
    if (auto rule = acknowledge(to)) return rule;
    next_ = to;
    cursor_ = find(to);
    return std::nullopt;
}

/// What lies in the items from `first` on; the first item counts from the frame that starts at `from`.
Outbox::Amount Outbox::count(std::size_t first, std::uint64_t from) const {
    Amount amount;
    for (std::size_t i = first; i < items_.size(); ++i) {
        const Item& item = items_[i];
        if (item.gap()) continue;
        const std::uint64_t begin = i == first ? std::max(from, item.begin) : item.begin;
        amount.bytes += item.end - begin;
        if (item.header) {
            if ((FrameHeader::read(item.span.bytes().data()).flags & flag_more) == 0) ++amount.messages;
        } else if (i == 0 || !items_[i - 1].header) {
            frames_until(item, begin, item.end, &amount.messages);
        }
    }
    return amount;
}

Outbox::Amount Outbox::unacknowledged() const {
    return count(0, acknowledged_);
}

Outbox::Amount Outbox::abandon(std::uint16_t channel, std::optional<Gap>& gap) {
    gap.reset();
    if (next_ == end_) return {};
    const Amount given_up = count(cursor_, next_);
    std::uint64_t messages = given_up.messages;
    for (std::size_t i = cursor_; i < items_.size(); ++i) messages += items_[i].messages;
    gap = Gap{channel, end_, messages};

    // What was sent of the present item stays, in whole frames.
    std::uint64_t kept = acknowledged_;
    if (cursor_ < items_.size() && items_[cursor_].begin < next_ && !items_[cursor_].gap()) {
        Item& item = items_[cursor_];
        item.span = item.span.part(0, next_ - item.begin);
        item.end = next_;
        ++cursor_;
    }
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(cursor_), items_.end());
    held_ = 0;
    for (const Item& item : items_) {
        if (!item.gap()) held_ += item.span.size();
        kept = item.end;
    }
    items_.push_back({{}, kept, end_, messages, false});
    cursor_ = items_.size();
    next_ = sent_ = end_;
    return given_up;
}

Outbox::Amount Outbox::give_up() {
    const Amount given_up = unacknowledged();
    const std::uint64_t messages = outstanding();
    if (items_.empty()) return given_up;
    items_.clear();
    held_ = 0;
    cursor_ = 0;
    items_.push_back({{}, acknowledged_, end_, messages, false});
    return given_up;
}

std::uint64_t Outbox::outstanding() const {
    std::uint64_t messages = unacknowledged().messages;
    for (const Item& item : items_) messages += item.messages;
    return messages;
}

bool Outbox::ready() const noexcept {
    if (cursor_ >= items_.size()) return false;
    const Item& item = items_[cursor_];
    if (item.gap()) return true;
    if (item.header) return items_[cursor_ + 1].end <= limit_;
    if (item.end <= limit_) return true;
    return frames_until(item, next_, limit_) > next_;
}

std::size_t Outbox::pull(std::uint16_t channel, std::size_t budget, OutputSink& sink) {
    std::size_t pulled = 0;
    const auto hand_out = [&](const Item& item, std::uint64_t to) {
        const std::size_t size = to - next_;
        sink.bytes(item.span.segment()->block(), item.span.bytes().subspan(next_ - item.begin, size));
        next_ = to;
        pulled += size;
    };
    while (cursor_ < items_.size() && pulled < budget) {
        const Item& item = items_[cursor_];
        if (item.gap()) {
            sink.frame(Gap{channel, item.end, item.messages});
            next_ = item.end;
            pulled += FrameHeader::size;
        } else if (item.header) {
            const Item& body = items_[cursor_ + 1];
            if (body.end > limit_) break;
            hand_out(item, item.end);
            hand_out(body, body.end);
            ++cursor_;
        } else {
            const std::uint64_t to = item.end <= limit_ ? item.end : frames_until(item, next_, limit_);
            if (to == next_) break;
            hand_out(item, to);
            if (to != item.end) break;
        }
        ++cursor_;
    }
    sent_ = std::max(sent_, next_);
    return pulled;
}

void Outbox::compact(Arena& arena) {
    bool body = false;
    for (Item& item : items_) {
        const bool part = std::exchange(body, item.header) || item.header;
        // A body that is larger than a segment came as one buffer and is not worth a copy.
        if (item.gap() || !item.span.segment()->sparse() || item.span.size() > Arena::segment_size) continue;
        item.span = part ? arena.append(item.span.bytes(), {}) : arena.append_frames(item.span.bytes());
    }
}

}  // namespace cluster::core
