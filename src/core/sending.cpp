#include "core/sending.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace cluster::core {

// Queueing.

Arena& Sending::arena_of(const ChannelRow& row) noexcept {
    switch (row.store) {
        case Store::replicas: return replica_arena_;
        case Store::clients: return client_arena_;
        case Store::application: break;
    }
    return arena_;
}

/// Whether an outbox that holds `held` bytes may get `size` more.
bool Sending::fits(const ChannelRow& row, std::size_t held, std::size_t size) const {
    switch (row.store) {
        case Store::replicas: return held + size <= std::max<std::size_t>(options_.outbox_bytes, row.window);
        case Store::clients: return held == 0 || held + size <= row.window;
        case Store::application: break;
    }
    return held + size <= options_.outbox_bytes;
}

/// Whether all outboxes of its kind together have room for `body`.
bool Sending::fits_in_total(const Body& body) {
    const ChannelRow& row = row_of(body.channel);
    if (row.store == Store::replicas) return true;  // there are as many of these outboxes as peers
    // The segment that is being filled does not count, so that even an idle node has room for a longest message.
    // Messages leave room for replies; without it two nodes might wait for each other.
    const std::size_t most =
        options_.total_outbox_bytes + Arena::segment_size + (body.is_reply() ? options_.outbox_bytes : 0);
    Arena& arena = arena_of(row);
    if (arena.pinned() + body.framed_size() > most && arena.wasteful()) compact();
    return arena.pinned() + body.framed_size() <= most;
}

/// Whether all of `pairs` can take `body`. On success `error` is zero, and `full` has those to be skipped.
Sending::Outcome Sending::room(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now) {
    const std::size_t size = body.framed_size();
    const ChannelRow& row = row_of(body.channel);
    Outcome outcome;
    if (body.size() > options_.max_message) {
        outcome.error = errc::message_too_large;
        return outcome;
    }
    std::vector<PeerId> skipped;
    for (Pair* pair : pairs) {
        if (body.size() > pair->max_message) outcome.error = errc::message_too_large;
        if ((body.features() & ~pair->features) != 0) outcome.error = errc::unsupported;
        Session::Channel* const found = pair->session->channel(body.channel);
        if (found == nullptr) outcome.error = errc::unsupported;  // only the client channel leads to it
        if (outcome.error != errc{}) return outcome;
        Session::Channel& channel = *found;
        const std::size_t held = channel.out.size();
        const bool fits = this->fits(row, held, size);
        if (skip == Skip::nobody || !row.counted) {
            if (!fits) outcome.full.push_back(pair->id);
            continue;
        }
        const auto verdict = channel.backlog.judge(held, size, options_.outbox_bytes, now, options_.send_timeout);
        if (verdict == Backlog::Verdict::room) continue;
        if (verdict == Backlog::Verdict::slow || (skip == Skip::full && !fits)) {
            skipped.push_back(pair->id);
        } else if (skip == Skip::slow) {
            outcome.full.push_back(pair->id);
            const Time filled = channel.backlog.filled();
            outcome.again = std::min(outcome.again, filled == never ? never : filled + options_.send_timeout);
        }
    }
    const bool total_full = !fits_in_total(body);
    if (!outcome.full.empty() || total_full) {
        outcome.error = errc::outbox_full;
        if (row.counted) room_wanted_ = true;
    }
    if (total_full) outcome.full.clear();
    if (outcome.error == errc{}) outcome.full = std::move(skipped);
    return outcome;
}

/// Queues `body` for `pairs`; those that are `skipped` get a gap in its place.
void Sending::enqueue(std::span<Pair* const> pairs, const Body& body, std::span<const PeerId> skipped) {
    const auto skips = [&](const Pair* pair) {
        return !skipped.empty() && std::find(skipped.begin(), skipped.end(), pair->id) != skipped.end();
    };
    Arena& arena = arena_of(row_of(body.channel));
    const Span whole =
        body.owner && body.bytes.size() == body.owner->size() && !body.bytes.empty() ? arena.adopt(body.owner) : Span();
    const auto out = [&](Pair* pair) -> Outbox& { return pair->session->channel(body.channel)->out; };
    std::size_t at = 0;
    std::uint64_t size = 0;
    do {
        const std::size_t prefix = at == 0 && body.call != 0 ? call_size : 0;
        const std::size_t chunk = std::min(max_chunk - prefix, body.bytes.size() - at);
        const bool more = at + chunk < body.bytes.size();
        const int flags = (more ? flag_more : 0) | (body.call != 0 ? flag_call : 0) | (body.error ? flag_error : 0);
        std::array<std::byte, FrameHeader::size + call_size> buffer;
        FrameHeader{static_cast<std::uint32_t>(prefix + chunk), FrameKind::data, static_cast<std::uint8_t>(flags),
                    body.channel}
            .write(buffer.data());
        if (prefix != 0) write_call(body.call, buffer.data() + FrameHeader::size);
        const std::span header(buffer.data(), FrameHeader::size + prefix);
        if (whole.segment() != nullptr) {
            const Span head = arena.append(header, {});
            const Span part = whole.part(at, at + chunk);
            for (Pair* pair : pairs) {
                if (!skips(pair)) out(pair).append(head, part);
            }
        } else {
            const Span frame = arena.append(header, body.bytes.subspan(at, chunk));
            for (Pair* pair : pairs) {
                if (!skips(pair)) out(pair).append(frame);
            }
        }
        size += header.size() + chunk;
        at += chunk;
    } while (at < body.bytes.size());

    for (Pair* pair : pairs) {
        if (skips(pair)) {
            out(pair).append_gap(size, 1);
            ++counters_.messages_given_up;
            if (pair->skipped.messages == 0) skipped_.push_back(pair);
            pair->skipped += {1, size};
        }
        if (Link* link = peers_.attached_link(*pair)) peers_.ready(*link);
    }
    if (body.channel == user_channel && skipped.size() < pairs.size()) ++counters_.messages_sent;
}

Sending::Outcome Sending::queue(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now) {
    Outcome outcome = room(pairs, body, skip, now);
    if (outcome.error != errc{}) return outcome;
    if (!pairs.empty()) enqueue(pairs, body, outcome.full);
    outcome.count = pairs.size() - outcome.full.size();
    return outcome;
}

Sending::Outcome Sending::broadcast(const Body& body, Skip skip, std::optional<Time> now) {
    if (leaving_) return {errc::closed, 0, {}, never};
    Outcome outcome = queue(peers_.audience, body, skip, now);
    if (outcome.error == errc{}) broadcasts_ += {1, body.framed_size()};
    return outcome;
}

Sending::Outcome Sending::send(const PeerId& to, const Body& body, Skip skip, std::optional<Time> now) {
    if (leaving_) return {errc::closed, 0, {}, never};
    Pair* const pair = peers_.receiver(to, body.channel);
    if (pair == nullptr) return {errc::not_in_view, 0, {}, never};
    return queue({&pair, 1}, body, skip, now);
}

Sending::Outcome Sending::send(std::span<const PeerId> to, const Body& body, Skip skip, std::optional<Time> now) {
    if (to.size() == 1) return send(to.front(), body, skip, now);
    if (leaving_) return {errc::closed, 0, {}, never};
    std::vector<Pair*> pairs;
    for (const PeerId& id : to) {
        Pair* const pair = peers_.receiver(id, body.channel);
        if (pair == nullptr) return {errc::not_in_view, 0, {}, never};
        pairs.push_back(pair);
    }
    std::sort(pairs.begin(), pairs.end(), [](const Pair* a, const Pair* b) { return a->id < b->id; });
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    return queue(pairs, body, skip, now);
}

// Room.

void Sending::room_freed() {
    if (std::exchange(room_wanted_, false)) actions_.push_back(RoomFreed{});
}

void Sending::tidy() {
    if (arena_.wasteful() || replica_arena_.wasteful() || client_arena_.wasteful()) compact();
}

void Sending::compact() {
    const bool clients = client_arena_.wasteful();
    const auto compact = [this](Pair& pair) {
        if (!pair.session) return;
        for (Session::Channel& channel : pair.session->channels()) channel.out.compact(arena_of(channel.row));
    };
    for (auto& [id, pair] : peers_.pairs) compact(pair);
    if (!clients) return;  // guests have nothing in the other arenas
    for (auto& [id, pair] : peers_.guests) compact(pair);
}

// Giving up.

void Sending::surrender(Pair& pair, errc reason) {
    if (!pair.session) return;
    Outbox::Amount given_up;
    for (Session::Channel& channel : pair.session->channels()) {
        const Outbox::Amount each = channel.out.give_up();
        if (channel.row.counted) given_up += each;
    }
    report_given_up(pair, given_up, reason);
}

void Sending::report_skipped(Pair& pair) {
    const auto [messages, bytes] = std::exchange(pair.skipped, {});
    if (messages == 0) return;
    std::erase(skipped_, &pair);
    actions_.push_back(Surrender{peers_.describe(pair), messages, bytes, errc::outbox_full});
}

void Sending::report_skipped() {
    while (!skipped_.empty()) report_skipped(*skipped_.back());
}

void Sending::report_given_up(Pair& pair, const Outbox::Amount& given_up, errc reason) {
    report_skipped(pair);
    if (given_up.messages == 0) return;
    counters_.messages_given_up += given_up.messages;
    if (leaving_) {
        given_up_.messages += given_up.messages;
        given_up_.bytes += given_up.bytes;
        ++given_up_.peers;
    }
    actions_.push_back(Surrender{peers_.describe(pair), given_up.messages, given_up.bytes, reason});
    log(LogLevel::warning, "messages_given_up " + peers_.who(pair) + " messages=" + std::to_string(given_up.messages) +
                               " bytes=" + std::to_string(given_up.bytes) +
                               " why=" + quoted(make_error_code(reason).message()));
    room_freed();
}

LeaveDone Sending::unacknowledged() const {
    LeaveDone all = given_up_;
    // Sessions out of view may also hold messages that nobody acknowledged.
    for (const auto& [id, pair] : peers_.pairs) {
        if (!pair.session) continue;
        Outbox::Amount amount;
        for (const Session::Channel& channel : pair.session->channels()) {
            if (channel.row.counted) amount += channel.out.unacknowledged();
        }
        if (amount.messages == 0) continue;
        all.messages += amount.messages;
        all.bytes += amount.bytes;
        ++all.peers;
    }
    return all;
}

}  // namespace cluster::core
