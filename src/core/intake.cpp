#include "core/intake.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cluster::core {

namespace {

/// A block may be shared only if most of it is needed. Otherwise a few bytes would hold a whole read buffer.
void keep(Batch& batch, const detail::BlockRef& block, std::span<const std::byte> frames) {
    if (frames.size() >= block->size() / 4 * 3) {
        batch.block = block;
        batch.frames = frames;
    } else {
        batch.block = detail::Block::copy(frames);
        batch.frames = {batch.block->data(), frames.size()};
    }
}

/// Whether the frames, which have the same flags, hold what these require. With `flag_call` that is the number of the
/// call. With `flag_error` it is also a code, and no more text than allowed.
bool well_formed(std::span<const std::byte> frames) {
    const std::uint8_t flags = frames.empty() ? std::uint8_t{0} : FrameHeader::read(frames.data()).flags;
    if ((flags & flag_call) == 0) return true;
    const bool error = (flags & flag_error) != 0;
    const std::size_t least = call_size + (error ? code_size : 0);
    const std::size_t most = error ? least + max_error_text : max_chunk;
    for (std::size_t at = 0; at < frames.size();) {
        const std::size_t length = FrameHeader::read(frames.data() + at).length;
        if (length < least || length > most || read_call(frames.data() + at + FrameHeader::size) == 0) return false;
        at += FrameHeader::size + length;
    }
    return true;
}

std::uint8_t kind_of(const FrameHeader& header) {
    return static_cast<std::uint8_t>(header.flags & ~flag_more);
}

}  // namespace

void Intake::add_part(std::uint8_t flags, std::span<const std::byte> body) {
    parts_flags_ = flags;
    const std::size_t had = parts_size_ == 0 ? FrameHeader::size : parts_size_;
    const std::size_t needed = had + body.size();
    if (discards_) {
        parts_size_ = needed;
        consume(FrameHeader::size + body.size());
        return;
    }
    if (!parts_ || needed > parts_->size()) {
        detail::BlockRef larger = blocks_->take(needed + needed / 2, 2 * std::max(needed, last_size_));
        if (parts_) {
            std::memcpy(larger->data(), parts_->data(), had);
            blocks_->keep(parts_);
        }
        parts_ = std::move(larger);
    }
    if (!body.empty()) std::memcpy(parts_->data() + had, body.data(), body.size());
    parts_size_ = needed;
    parts_charge_ += FrameHeader::size + body.size();
}

void Intake::discard(bool tell) noexcept {
    if (!kept()) return;
    discards_ = true;
    tells_ = tell;
    parts_ = {};
    consume(std::exchange(parts_charge_, 0));
}

std::uint64_t Intake::partial_call() const noexcept {
    return kept() && (parts_flags_ & flag_call) != 0 ? read_call(parts_->data() + FrameHeader::size) : 0;
}

void Intake::finish(Batch& stamp, std::vector<Batch>& out) {
    if (std::exchange(discards_, false)) {
        parts_size_ = 0;
        if (tells_) out.emplace_back(stamp).lost = 1;
        return;
    }
    FrameHeader{static_cast<std::uint32_t>(parts_size_ - FrameHeader::size), FrameKind::data, parts_flags_}.write(
        parts_->data());
    last_size_ = std::exchange(parts_size_, 0);
    Batch& batch = out.emplace_back(stamp);
    // A reader that keeps a message keeps no more than twice its length.
    batch.block = last_size_ < parts_->size() / 2 ? detail::Block::copy({parts_->data(), last_size_}) : parts_;
    batch.frames = {batch.block->data(), last_size_};
    batch.messages = 1;
    batch.charge = std::exchange(parts_charge_, 0);
    blocks_->keep(std::exchange(parts_, {}));
}

std::optional<Rule> Intake::check(const DataRun& run) const {
    std::span<const std::byte> whole = run.frames;
    if (whole.size() > limit_ - received_) return Rule::beyond_credit;
    if (run.more || partial()) {
        const FrameHeader first = FrameHeader::read(whole.data());
        if (partial() && kind_of(first) != parts_flags_) return Rule::wrong_flags;
        const std::size_t had = partial() ? parts_size_ - FrameHeader::size : 0;
        if (had + first.length > max_message_) return Rule::message_too_long;
        if (!partial() && !well_formed(whole.first(FrameHeader::size + first.length))) return Rule::malformed_body;
        whole = whole.subspan(FrameHeader::size + first.length);
    }
    if (!well_formed(whole)) return Rule::malformed_body;
    return std::nullopt;
}

std::optional<Rule> Intake::accept(const DataRun& run, Batch stamp, std::vector<Batch>& out) {
    if (const auto rule = check(run)) return rule;
    std::span<const std::byte> frames = run.frames;
    std::uint64_t messages = run.messages;
    if (run.more || partial()) {
        const FrameHeader first = FrameHeader::read(frames.data());
        add_part(kind_of(first), frames.subspan(FrameHeader::size, first.length));
        if (!run.more) finish(stamp, out);
        frames = frames.subspan(FrameHeader::size + first.length);
        --messages;
    }
    if (!frames.empty()) {
        Batch& batch = out.emplace_back(stamp);
        keep(batch, run.block, frames);
        batch.messages = messages;
        batch.charge = frames.size();
    }
    received_ += run.frames.size();
    return std::nullopt;
}

std::optional<Rule> Intake::skip(const Gap& gap, Batch stamp, std::vector<Batch>& out) {
    if (gap.to <= received_) return Rule::offset_goes_back;
    const std::uint64_t skipped = gap.to - received_;
    const bool too_many = gap.messages > skipped / FrameHeader::size;
    if (gap.to > max_gap_end || gap.messages == 0 || too_many) return Rule::malformed_body;
    // What was begun is part of the gap: nobody will take its bytes.
    consume(skipped + std::exchange(parts_charge_, 0));
    parts_ = {};
    parts_size_ = 0;
    discards_ = false;
    received_ = gap.to;
    limit_ += skipped;
    stamp.lost = gap.messages;
    out.push_back(std::move(stamp));
    return std::nullopt;
}

}  // namespace cluster::core
