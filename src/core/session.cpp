#include "core/session.hpp"

#include "base/siphash.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

Session::Judgement Session::judge(const Offer& offer, bool proof_holds) const noexcept {
    using enum Judgement::Verdict;
    if (!proof_holds) {
        if (offer.proof && offer.defended) return {refuse, Refusal::unknown_session};
        if (confirmed_) return {refuse, Refusal::id_in_use};
    }
    if (attaching_ != 0) return {wait};
    // "I no longer hold this epoch" stays true for ever. What an offer says about an older epoch says nothing about
    // this one.
    if (attached_ != 0 && (offer.epoch < epoch_ || offer.holds)) return {refuse, Refusal::duplicate};
    return {accept};
}

Session::Judgement Session::judge(const Attach& attach, bool token_holds) const noexcept {
    using enum Judgement::Verdict;
    if (!token_) {
        const bool nothing_received = std::all_of(attach.offsets.begin(), attach.offsets.end(),
                                                  [](const Offset& offset) { return offset.received == 0; });
        const bool fresh = attach.first && attach.epoch != 0 && nothing_received;
        return fresh ? Judgement{accept} : Judgement{refuse, Refusal::unknown_session};
    }
    if (!token_holds) return {refuse, Refusal::id_in_use};
    if (attach.epoch <= epoch_) return {refuse, Refusal::duplicate};
    return {accept};
}

void Session::attach(LinkId link) noexcept {
    attached_ = link;
    attaching_ = 0;
    defended_ = true;
}

bool Session::lose(LinkId link) noexcept {
    if (attaching_ == link) attaching_ = 0;
    if (attached_ != link) return false;
    attached_ = 0;
    for (Channel& channel : channels_) {
        if (channel.row.outlives_link) continue;
        channel.out.give_up();
        channel.in.discard(false);  // the peer gives up the rest of it
    }
    return true;
}

Session::State Session::state() const noexcept {
    if (attached_ != 0) return State::attached;
    if (attaching_ != 0) return State::attaching;
    return decides_ && !confirmed_ ? State::proposed : State::detached;
}

Session::Channel* Session::channel(std::uint16_t id) noexcept {
    const auto found = std::find_if(channels_.begin(), channels_.end(),
                                    [id](const Channel& channel) { return channel.row.id == id; });
    return found == channels_.end() ? nullptr : &*found;
}

std::vector<Offset> Session::state_offsets() {
    std::vector<Offset> offsets;
    for (Channel& channel : channels_) {
        offsets.push_back({channel.row.id, channel.in.received(), channel.in.limit()});
        channel.in.told();
    }
    return offsets;
}

std::vector<Offset> Session::changed_offsets() {
    std::vector<Offset> offsets;
    for (Channel& channel : channels_) {
        if (!channel.in.acknowledgement_due()) continue;
        offsets.push_back({channel.row.id, channel.in.received(), channel.in.limit()});
        channel.in.told();
    }
    return offsets;
}

bool Session::acknowledgement_due() const noexcept {
    return std::any_of(channels_.begin(), channels_.end(),
                       [](const Channel& channel) { return channel.in.acknowledgement_due(); });
}

std::optional<Rule> Session::rewind(std::span<const Offset> offsets) {
    for (const Offset& offset : offsets) {
        if (channel(offset.channel) == nullptr && offset.received != 0) return Rule::offset_beyond_sent;
    }
    for (Channel& channel : channels_) {
        const auto stated = std::find_if(offsets.begin(), offsets.end(),
                                         [&](const Offset& offset) { return offset.channel == channel.row.id; });
        // A peer that does not use the channel has received nothing of it and takes nothing.
        const Offset offset = stated == offsets.end() ? Offset{channel.row.id, 0, 0} : *stated;
        if (auto rule = channel.out.rewind(offset.received)) return rule;
        channel.out.allow(offset.limit);
    }
    return std::nullopt;
}

std::optional<Rule> Session::acknowledge(std::span<const Offset> offsets) {
    for (const Offset& offset : offsets) {
        Channel* channel = this->channel(offset.channel);
        if (channel == nullptr) {
            if (offset.received != 0) return Rule::offset_beyond_sent;
            continue;
        }
        if (auto rule = channel->out.acknowledge(offset.received)) return rule;
        channel->out.allow(offset.limit);
    }
    return std::nullopt;
}

bool Session::has_output() const noexcept {
    return std::any_of(channels_.begin(), channels_.end(), [](const Channel& channel) { return channel.out.ready(); });
}

bool Session::all_acknowledged() const noexcept {
    return std::all_of(channels_.begin(), channels_.end(),
                       [](const Channel& channel) { return channel.out.empty() || !channel.row.counted; });
}

bool Session::owed_acknowledgement() const noexcept {
    return std::any_of(channels_.begin(), channels_.end(), [](const Channel& channel) { return !channel.out.empty(); });
}

void Session::come_back(const Outbox::Amount& broadcast) {
    const auto then = std::exchange(departed_at_, std::nullopt);
    if (!then || then->messages == broadcast.messages) return;
    user().out.append_gap(broadcast.bytes - then->bytes, broadcast.messages - then->messages);
}

void Session::renew(Channel& channel, std::span<const Batch> batches) {
    if (channel.row.window == 0) return;
    for (const Batch& batch : batches) channel.in.consume(batch.charge);
    channel.in.allow(channel.in.received() + channel.row.window);
}

Proof prove(const Token& token, const Nonce& speaker, const Nonce& listener, ProofUse use) noexcept {
    std::array<std::uint8_t, 33> message{};
    std::copy(speaker.begin(), speaker.end(), message.begin());
    std::copy(listener.begin(), listener.end(), message.begin() + 16);
    message[32] = static_cast<std::uint8_t>(use);
    return siphash128(token, message);
}

}  // namespace cluster::core
