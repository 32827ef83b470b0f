#include "world_parts.hpp"

#include <algorithm>
#include <cstring>

namespace cluster::sim {

/// Some messages to a single peer want a reply. Their call has their own number.
std::uint64_t World::call_of(std::uint64_t number) {
    return conditions_.requests && calls_.below(3) == 0 ? number : 0;
}

namespace {

/// Short replies with such a number are sent as errors: the beginning of the number is the code.
bool is_error(std::uint64_t number, std::size_t size) {
    return number % 3 == 0 && size <= core::code_size + core::max_error_text;
}

}  // namespace

/// The reply to a request that was taken from the inbox: its own number, that of the call, and more.
void World::reply(Node& node, const PeerId& to, std::uint64_t call) {
    std::vector<std::byte> payload(16 + (calls_.below(10) == 0 ? calls_.below(150000) : calls_.below(300)));
    const std::uint64_t number = ++result_.accepted;
    std::memcpy(payload.data(), &number, 8);
    std::memcpy(payload.data() + 8, &call, 8);
    std::fill(payload.begin() + 16, payload.end(), static_cast<std::byte>(number));
    core::Engine::Body body{payload, {}};
    body.call = call;
    body.channel = core::reply_channel;
    body.error = is_error(number, payload.size());
    if (node.engine->send(to, body, core::Engine::Skip::nobody).error == errc{}) {
        ledgers_[{node.id, to}].replies.push_back({number, payload.size()});
    }
}

/// Replies come whatever is not read; in order, once, and only to what was asked.
void World::replied(Node& node, const core::Batch& batch) {
    const auto who = [&] { return "n" + std::to_string(node.index) + " from " + short_id(batch.from); };
    if (batch.lost != 0) return fail(who() + ": a gap among replies");
    Ledger& ledger = ledgers_[{batch.from, node.id}];
    for (auto frames = batch.frames; !frames.empty();) {
        const core::FrameHeader header = core::FrameHeader::read(frames.data());
        const auto message = frames.subspan(core::FrameHeader::size, header.length);
        frames = frames.subspan(core::FrameHeader::size + header.length);
        if (message.size() < core::call_size + 16) return fail(who() + ": a reply altered");
        const std::uint64_t call = core::read_call(message.data());
        const auto payload = message.subspan(core::call_size);
        std::uint64_t number = 0;
        std::uint64_t repeated = 0;
        std::memcpy(&number, payload.data(), 8);
        std::memcpy(&repeated, payload.data() + 8, 8);
        while (!ledger.replies.empty() && ledger.replies.front().number < number) {
            if (!ledger.may_miss(ledger.replies.front())) ++ledger.missing_replies;
            ledger.replies.pop_front();
        }
        if (ledger.replies.empty() || ledger.replies.front().number != number) {
            return fail(who() + ": a reply out of order, or twice");
        }
        const auto fill = static_cast<std::byte>(number);
        if (((header.flags & core::flag_error) != 0) != is_error(number, payload.size())) {
            return fail(who() + ": a reply for an error, or an error for a reply");
        }
        if (call != repeated || payload.size() != ledger.replies.front().size ||
            std::any_of(payload.begin() + 16, payload.end(), [&](std::byte each) { return each != fill; })) {
            return fail(who() + ": a reply altered");
        }
        ledger.replies.pop_front();
        ++result_.delivered;
    }
}

}  // namespace cluster::sim
