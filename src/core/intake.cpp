#include "core/intake.hpp"

#include <utility>

namespace cluster::core {

namespace {

/// A block may be shared only where most of it is needed; otherwise a few bytes would hold a whole read buffer.
void keep(Batch& batch, const BlockRef& block, std::span<const std::byte> frames) {
    if (frames.size() >= block->size() / 4 * 3) {
        batch.block = block;
        batch.frames = frames;
    } else {
        batch.block = Block::copy(frames);
        batch.frames = {batch.block->data(), frames.size()};
    }
}

}  // namespace

std::optional<Rule> Intake::add_part(std::span<const std::byte> body) {
    if (parts_.empty()) parts_.resize(FrameHeader::size);
    const std::size_t needed = parts_.size() + body.size();
    if (needed - FrameHeader::size > max_message_) return Rule::message_too_long;
    if (needed > parts_.capacity()) parts_.reserve(needed + needed / 2);
    parts_.insert(parts_.end(), body.begin(), body.end());
    parts_charge_ += FrameHeader::size + body.size();
    return std::nullopt;
}

void Intake::finish(Batch& stamp, std::vector<Batch>& out) {
    FrameHeader{static_cast<std::uint32_t>(parts_.size() - FrameHeader::size)}.write(parts_.data());
    Batch& batch = out.emplace_back(stamp);
    batch.block = Block::adopt(std::exchange(parts_, {}));
    batch.frames = {batch.block->data(), batch.block->size()};
    batch.messages = 1;
    batch.charge = std::exchange(parts_charge_, 0);
}

std::optional<Rule> Intake::accept(const DataRun& run, Batch stamp, std::vector<Batch>& out) {
    std::span<const std::byte> frames = run.frames;
    if (frames.size() > limit_ - received_) return Rule::beyond_credit;
    std::uint64_t messages = run.messages;
    if (run.more || !parts_.empty()) {
        const FrameHeader first = FrameHeader::read(frames.data());
        if (auto rule = add_part(frames.subspan(FrameHeader::size, first.length))) return rule;
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
    if (gap.to > max_offset || gap.messages == 0) return Rule::malformed_body;
    const std::uint64_t skipped = gap.to - received_;
    // What was begun is part of the gap: its bytes will not be taken by anybody.
    consume(skipped + std::exchange(parts_charge_, 0));
    parts_ = {};
    received_ = gap.to;
    limit_ += skipped;
    stamp.lost = gap.messages;
    out.push_back(std::move(stamp));
    return std::nullopt;
}

}  // namespace cluster::core
