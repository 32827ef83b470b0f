#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace cluster::core {

namespace {

Batch stamp(const Pair& pair) {
    Batch batch;
    batch.from = pair.id;
    batch.session = pair.session->number();
    return batch;
}

}  // namespace

// Attaching: the smaller id's side.

void Engine::on(Link& link, Offer&& offer, Time now) {
    if (link.state != LinkState::greeted) return break_rule(link, Rule::unexpected_frame, now);
    link.offer = std::move(offer);
    decide(link, now);
}

/// R4: what to do with a link whose OFFER has been read.
void Engine::decide(Link& link, Time now) {
    Pair& pair = *link.pair;
    link.state = LinkState::greeted;  // it is judged now, even if another link ends meanwhile
    if (!pair.session) make_session(pair);
    const auto& token = pair.session->token();
    const auto proves = [&](const Token& of) {
        return link.offer.proof && *link.offer.proof == prove(of, link.peer_nonce, link.our_nonce, ProofUse::offer);
    };
    const bool proof_holds = token && proves(*token);
    if (proof_holds && link.offer.epoch > pair.session->epoch()) return break_rule(link, Rule::wrong_epoch, now);
    const bool has_forgotten = link.offer.epoch == 0 && !link.offer.defended;  // no session has accepted that epoch
    if (proof_holds && has_forgotten) {
        link.offer.proof.reset();
        begin_anew(pair, link.id, now);
        if (leaving_) return refuse(link, Refusal::leaving, now);
        make_session(pair);
        return decide(link, now);
    }
    if (const auto* gone = forgotten(pair).find(pair.id);
        gone != nullptr && gone->token && !proof_holds && !has_forgotten && proves(*gone->token)) {
        const Proof proof = prove(*gone->token, link.our_nonce, link.peer_nonce, ProofUse::forgotten);
        return refuse(link, Refusal::unknown_session, now, proof);
    }
    const bool defended_elsewhere = link.offer.proof && link.offer.defended;
    if (!proof_holds && !defended_elsewhere && pair.session->confirmed() && !pair.session->defended() &&
        pair.session->attached() == 0 && pair.session->attaching() == 0) {
        drop_session(pair, link.id, RemovalReason::replaced, errc::id_in_use, now);
        make_session(pair);
    }
    const Session::Judgement judgement = pair.session->judge(link.offer, proof_holds);
    const bool accepted = judgement.verdict == Session::Judgement::Verdict::accept;
    if (const auto reason = no_place(pair); accepted && reason) return refuse(link, *reason, now);
    switch (judgement.verdict) {
        case Session::Judgement::Verdict::refuse: refuse(link, judgement.reason, now); break;
        case Session::Judgement::Verdict::wait: link.state = LinkState::waiting; break;
        case Session::Judgement::Verdict::accept: begin_attach(link, now); break;
    }
}

/// R5: the ATTACH under way has ended; the links that waited for it are judged anew.
void Engine::decide_waiting(Pair& pair, Time now) {
    const std::vector<LinkId> waiting = pair.links;
    for (const LinkId id : waiting) {
        Link* link = peers_.find(id);
        if (link != nullptr && link->state == LinkState::waiting) decide(*link, now);
    }
}

/// R6, R7: from here on nothing that comes on the old link counts; what is stated next is final.
void Engine::fence(Pair& pair, Time now) {
    Link* old = peers_.find(pair.session->attached());
    if (old == nullptr) return;
    pair.session->lose(old->id);
    std::erase(pair.links, old->id);
    timers_.cancel({Timer::ack, pair.number});
    pair.known += now - pair.entered;
    log(pair.is_guest() ? LogLevel::debug : LogLevel::info,
        "link_replaced " + peers_.who(pair) + " address=" + token(old->remote));
    close(*old);
}

void Engine::begin_attach(Link& link, Time now) {
    Pair& pair = *link.pair;
    fence(pair, now);
    take_over_outstanding(pair);
    if (!pair.session->token()) {
        Token token;
        options_.random(token);
        pair.session->set_token(token);
        if (!pair.is_guest()) timers_.set({Timer::forget, pair.number}, now + options_.forget_after);
    }
    pair.session->next_epoch();
    pair.session->begin(link.id);
    link.state = LinkState::attaching;
    link.due.attach = true;
    timers_.set({Timer::link, link.id}, now + patience_.with(link));
    peers_.ready(link);
}

void Engine::on(Link& link, const Attached& attached, Time now) {
    if (link.state != LinkState::attaching) return break_rule(link, Rule::unexpected_frame, now);
    Pair& pair = *link.pair;
    if (attached.epoch != pair.session->epoch()) return break_rule(link, Rule::wrong_epoch, now);
    if (const auto rule = pair.session->rewind(attached.offsets)) return break_rule(link, *rule, now);
    const bool first = !pair.session->confirmed();
    pair.session->confirm();
    attach(link, now);
    link.due.ack = true;  // R12: it tells the other side that we list it
    peers_.ready(link);
    if (first) report_outstanding(pair, attached.outstanding);
    completed(link, now);
    decide_waiting(pair, now);
}

// Attaching: the larger id's side.

void Engine::on(Link& link, const Attach& attach, Time now) {
    if (link.state != LinkState::offered) return break_rule(link, Rule::unexpected_frame, now);
    Pair& pair = *link.pair;
    if (!pair.session) make_session(pair);
    const auto holds = [&] {
        const auto& token = pair.session->token();
        if (!token) return false;
        return attach.token ==
               (attach.first ? *token : prove(*token, link.peer_nonce, link.our_nonce, ProofUse::attach));
    };
    if (pair.session->token() && !holds() && attach.first && !pair.session->defended() &&
        pair.session->attached() == 0) {
        drop_session(pair, link.id, RemovalReason::replaced, errc::id_in_use, now);
        make_session(pair);
    }
    const auto* gone = forgotten(pair).find(pair.id);
    if (!pair.session->token() && gone != nullptr && attach.first && gone->token == attach.token) {
        return refuse(link, Refusal::unknown_session, now);  // what was forgotten is never taken up again
    }
    const Session::Judgement judgement = pair.session->judge(attach, holds());
    if (judgement.verdict != Session::Judgement::Verdict::accept) return refuse(link, judgement.reason, now);
    if (const auto reason = no_place(pair)) return refuse(link, *reason, now);

    fence(pair, now);
    const bool fresh = !pair.session->token();
    if (fresh) {
        pair.session->set_token(attach.token);
        take_over_outstanding(pair);
    }
    pair.session->accept_epoch(attach.epoch);
    if (const auto rule = pair.session->rewind(attach.offsets)) return break_rule(link, *rule, now);
    this->attach(link, now);
    link.due.attached = Attached{pair.session->epoch(), pair.session->state_offsets(), pair.outstanding};
    peers_.ready(link);
    if (fresh) report_outstanding(pair, attach.outstanding);
}

// Both sides.

void Engine::make_session(Pair& pair) {
    assert(!pair.session);
    const bool decides = self().id < pair.id;
    const auto rows = pair.are_peers() ? std::span<const ChannelRow>(channel_table) : guest_channels;
    peers_.begin_session(pair,
                         std::make_unique<Session>(peers_.next_number(), decides, options_.max_message, blocks_, rows));
    grow_credit(pair, false);
}

/// R22: the session goes, and every link of the pair but `keep`.
void Engine::drop_session(Pair& pair, LinkId keep, RemovalReason reason, errc given_up, Time now) {
    if (pair.session) {
        // Only messages of the application are counted.
        const std::uint64_t open = pair.are_peers() ? pair.session->user().out.outstanding() : 0;
        pair.outstanding = std::min(add_saturated(pair.outstanding, open), max_outstanding);
        sending_.surrender(pair, given_up);
    }
    const bool parted = reason == RemovalReason::removed || reason == RemovalReason::refused;
    if (parted && !pair.is_guest()) plan_.drop_added(pair.id);
    if (pair.is_guest()) guests_.ended(pair);
    leave_view(pair, reason, now);
    if (pair.session) {
        release_credit(pair);
        peers_.end_session(pair);
    }
    cancel_timers(pair);
    serve_waiting(now);
    // Those that wait go first: the end of an ATTACH would begin another one on them.
    std::vector<LinkId> links = pair.links;
    std::stable_partition(links.begin(), links.end(),
                          [this](LinkId id) { return peers_.find(id)->state == LinkState::waiting; });
    for (const LinkId id : links) {
        if (id != keep) drop(id, "session_ended", errc::connection_lost, now);
    }
    idle_.push_back(pair.number);
}

/// The peer has proved that it has forgotten the session: both begin anew.
void Engine::begin_anew(Pair& pair, LinkId keep, Time now) {
    log(LogLevel::info, "session_forgotten_by " + peers_.who(pair));
    drop_session(pair, keep, RemovalReason::replaced, errc::connection_lost, now);
    if (pair.is_guest()) return;
    timers_.set({Timer::forget, pair.number}, now + options_.forget_after);  // it is sought on
}

/// The session is not defended any more: what has come of messages in parts does not wait for the rest for ever. The
/// sender may take these parts for delivered. So the session is forgotten with them, and both sides report that.
void Engine::discard_parts(Pair& pair, Time now) {
    const auto& channels = pair.session->channels();
    const bool parts = std::any_of(channels.begin(), channels.end(),
                                   [](const Session::Channel& channel) { return channel.in.kept(); });
    if (!parts) return;
    if (pair.in_view) {
        timers_.set({Timer::resume, pair.number}, now + options_.suspicion);
        return;
    }
    forget_session(pair, now);
}

/// The session goes, and the peer that still has it will be told so (R22).
void Engine::forget_session(Pair& pair, Time now) {
    const std::optional<Token> token = pair.session ? pair.session->token() : std::nullopt;
    drop_session(pair, 0, RemovalReason::failed, errc::timed_out, now);
    if (token) forgotten(pair).remember(pair.id, {token, std::exchange(pair.outstanding, 0), pair.known});
    if (pair.is_guest()) return;
    timers_.set({Timer::forget, pair.number}, now + options_.forget_after);  // it is sought on
}

/// Discards replies that come in parts and that no call waits for any more.
void Engine::discard_unawaited() {
    if (!options_.awaits) return;
    for (auto& [id, pair] : peers_.pairs) {
        if (!pair.session) continue;
        Session::Channel* const replies = pair.session->channel(reply_channel);
        if (replies == nullptr) continue;
        if (replies->in.kept() && !options_.awaits(id, replies->in.partial_call())) replies->in.discard(false);
    }
}

/// What this node has forgotten of the pair's former session is reported in the next one.
void Engine::take_over_outstanding(Pair& pair) {
    const std::uint64_t more = forgotten(pair).take_outstanding(pair.id);
    pair.outstanding = std::min(add_saturated(pair.outstanding, more), max_outstanding);
}

/// The peer's former session ended with messages of which nobody knows whether they have arrived.
void Engine::report_outstanding(Pair& pair, std::uint64_t messages) {
    if (messages == 0 || !pair.are_peers()) return;
    counters_.messages_lost = add_saturated(counters_.messages_lost, messages);
    Batch gap = stamp(pair);
    gap.lost = messages;
    actions_.push_back(Deliver{pair.session->user().row.receiver, std::move(gap)});
}

void Engine::attach(Link& link, Time now) {
    Pair& pair = *link.pair;
    pair.session->attach(link.id);
    peers_.attached(link);
    sending_.room_freed();  // the offsets just stated acknowledge, too
    const std::unique_ptr<Hello> hello = std::exchange(link.hello, nullptr);
    agree(pair, *hello);
    if (pair.is_guest()) {
        welcome(pair, *hello, link, now);
    } else {
        believe(pair, *hello, link, now);
        enter(pair, link, now);
    }
    grow_credit(pair, false);
    if (pair.session->has_output()) peers_.ready(link);
}

/// Each side is now known to list the other.
void Engine::completed(Link& link, Time now) {
    link.completed = true;
    link.pair->outstanding = 0;
    joins_.completed(link.pair->id);
    if (!leaving_) return;
    if (link.pair->is_guest()) return say_goodbye(link, Farewell::leaving, now);
    queue_goodbyes(now);
}

// Frames of an attached session.

bool Engine::received(LinkId id, const DataRun& run, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr) return false;
    if (link->state == LinkState::refusing || link->state == LinkState::parting) return true;
    if (link->state != LinkState::attached) {
        break_rule(*link, Rule::unexpected_frame, now);
        return false;
    }
    Pair& pair = *link->pair;
    suspicions_.heard(pair, now);
    if (!link->completed) completed(*link, now);
    Session::Channel* channel = pair.session->channel(run.channel);
    if (channel == nullptr) {
        break_rule(*link, Rule::unknown_channel, now);
        return false;
    }
    const bool parts = channel->in.partial();
    batches_.clear();
    if (const auto rule = channel->in.accept(run, stamp(pair), batches_)) {
        break_rule(*link, *rule, now);
        return false;
    }
    pair.bytes_received += run.frames.size();
    Session::renew(*channel, batches_);
    if (pair.is_guest() && !within_limits(pair, now)) return false;
    // The number of the call stands in the first part.
    if (channel->row.receiver == Receiver::calls && !parts && channel->in.kept() && options_.awaits &&
        !options_.awaits(pair.id, channel->in.partial_call())) {
        channel->in.discard(false);
        Session::renew(*channel);
    }
    for (Batch& batch : batches_) {
        if (channel->row.counted) {
            counters_.messages_received += batch.messages;
            counters_.messages_lost = add_saturated(counters_.messages_lost, batch.lost);
        }
        actions_.push_back(Deliver{channel->row.receiver, std::move(batch)});
    }
    const bool shares = channel->row.window == 0;
    if (shares && (parts || channel->in.partial())) credit_.grow(pair.session->share(), channel->in, false);
    after_data(pair, *link, now);
    return true;
}

/// Acknowledges what has been received: at once if the peer waits for it, else a little later together with more.
void Engine::after_data(Pair& pair, Link& link, Time now) {
    constexpr std::uint64_t ack_least = std::uint64_t{32} << 10;
    constexpr std::uint64_t ack_most = std::uint64_t{256} << 10;
    const Session& session = *pair.session;
    Duration delay = Duration::max();
    for (const Session::Channel& channel : session.channels()) {
        if (!channel.in.acknowledgement_due()) continue;
        delay = std::min(delay, channel.row.acknowledged_within);
        const std::uint64_t window = channel.in.limit() - channel.in.consumed();
        const bool much = channel.in.unacknowledged() >= std::clamp(window / 4, ack_least, ack_most);
        const bool starved = channel.in.room_told() < max_data_frame && channel.in.limit_grew();
        if (much || starved) {
            link.due.ack = true;
            peers_.ready(link);
            return;
        }
    }
    if (delay != Duration::max()) timers_.set_no_later({Timer::ack, pair.number}, now + delay);
}

void Engine::on(Link& link, const Gap& gap, Time now) {
    Pair& pair = *link.pair;
    Session::Channel* channel = pair.session->channel(gap.channel);
    if (channel == nullptr) return break_rule(link, Rule::unknown_channel, now);
    batches_.clear();
    if (const auto rule = channel->in.skip(gap, stamp(pair), batches_)) return break_rule(link, *rule, now);
    if (pair.is_guest()) guests_.hold_too_much(pair);  // less than before
    if (channel->row.counted) counters_.messages_lost = add_saturated(counters_.messages_lost, gap.messages);
    if (channel->row.gaps) {
        for (Batch& batch : batches_) actions_.push_back(Deliver{channel->row.receiver, std::move(batch)});
    }
    after_data(pair, link, now);
}

void Engine::on(Link& link, const Ack& ack, Time now) {
    Pair& pair = *link.pair;
    if (const auto rule = pair.session->acknowledge(ack.offsets)) return break_rule(link, *rule, now);
    if (pair.session->has_output()) peers_.ready(link);
    sending_.tidy();
    sending_.room_freed();
    if (leaving_) queue_goodbyes(now);
}

// The end.

/// R26: from here on nothing is sent but these words, and nothing is accepted. What was never sent is given up.
void Engine::say_goodbye(Link& link, Farewell why, Time now) {
    Goodbye goodbye{why, {}};
    for (Session::Channel& channel : link.pair->session->channels()) {
        std::optional<Gap> gap;
        // A peer that has said goodbye takes nothing any more. Any other peer learns what will not come.
        if (!link.goodbye_heard) {
            const Outbox::Amount given_up = channel.out.abandon(channel.row.id, gap);
            const errc reason = why == Farewell::leaving ? errc::leaving : errc::removed;
            if (channel.row.counted) sending_.report_given_up(*link.pair, given_up, reason);
        }
        if (gap) link.due.gaps.push_back(*gap);
        goodbye.offsets.push_back({channel.row.id, channel.out.next(), channel.in.received()});
    }
    link.due.goodbye = std::move(goodbye);
    link.farewell = why;
    link.state = LinkState::parting;
    timers_.set({Timer::link, link.id}, now + patience_.with(link));
    actions_.push_back(Close{link.id, true});
    peers_.ready(link);
}

void Engine::on(Link& link, const Goodbye& goodbye, Time now) {
    if (link.state != LinkState::attached && link.state != LinkState::parting) {
        return break_rule(link, Rule::unexpected_frame, now);
    }
    Pair& pair = *link.pair;
    // The session to which goodbye was said may have been dropped, and the next one begun on another link.
    if (pair.session && pair.session->attached() == link.id) {
        for (const FinalOffset& offset : goodbye.offsets) {
            Session::Channel* channel = pair.session->channel(offset.channel);
            if (channel == nullptr) continue;
            if (const auto rule = channel->out.acknowledge(offset.received)) return break_rule(link, *rule, now);
            if (link.state == LinkState::attached && offset.sent != channel->in.received()) {
                return break_rule(link, Rule::goodbye_before_the_end, now);
            }
        }
    }
    link.goodbye_heard = true;
    if (link.state == LinkState::parting) {
        if (Roster::Parted* parted = roster_.parted(pair.id)) parted->told = true;
        return;  // the end of the stream ends the session
    }
    say_goodbye(link, goodbye.why, now);
    if (goodbye.why == Farewell::leaving) {
        session_over(pair, now);
    } else {
        drop_session(pair, link.id, RemovalReason::refused, errc::removed, now);
    }
}

/// R29: the pair is at its end. A node that comes under this id again is refused for that.
void Engine::session_over(Pair& pair, Time now) {
    const PeerId id = pair.id;
    LinkId parting = 0;
    for (const LinkId each : pair.links) {
        if (peers_.find(each)->state == LinkState::parting) parting = each;
    }
    if (pair.in_view) log(LogLevel::info, "peer_left " + peers_.who(pair));
    if (!pair.is_guest()) plan_.drop(id);
    drop_session(pair, parting, RemovalReason::left, errc::leaving, now);
    // A guest seeks its answer for as long as it has a session.
    const Time until = now + (pair.is_guest() ? pair.resume_for : options_.forget_after);
    if (pair.is_guest()) {
        roster_.bury_guest(id, until);
    } else {
        roster_.bury(id, until);
    }
    timers_.set_no_later({Timer::expiry, 0}, until);
    departure_.look_later();
}

}  // namespace cluster::core
