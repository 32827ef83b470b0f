#include "core/engine.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

/// So long the other side may take to read our last words (R27, R31).
constexpr Duration drain_timeout = std::chrono::seconds(1);

errc error_of(Refusal reason) {
    switch (reason) {
        case Refusal::duplicate: return errc::connection_lost;
        case Refusal::id_in_use: return errc::id_in_use;
        case Refusal::unknown_session: return errc::id_in_use;
        case Refusal::over: return errc::leaving;
        case Refusal::removed: return errc::removed;
        case Refusal::self: return errc::self;
        case Refusal::cluster: return errc::wrong_cluster;
        case Refusal::version: return errc::wrong_version;
        case Refusal::full: return errc::too_many_peers;
        case Refusal::leaving: return errc::leaving;
    }
    return errc::protocol_error;
}

std::string_view to_string(Refusal reason) {
    switch (reason) {
        case Refusal::duplicate: return "duplicate";
        case Refusal::id_in_use: return "id_in_use";
        case Refusal::unknown_session: return "unknown_session";
        case Refusal::over: return "over";
        case Refusal::removed: return "removed";
        case Refusal::self: return "self";
        case Refusal::cluster: return "cluster";
        case Refusal::version: return "version";
        case Refusal::full: return "full";
        case Refusal::leaving: return "leaving";
    }
    return "unknown";
}

/// The refusals that are part of the normal course of things.
bool quiet(Refusal reason) {
    return reason == Refusal::duplicate || reason == Refusal::over || reason == Refusal::leaving;
}

}  // namespace

// Opening and closing.

Engine::Link* Engine::find(LinkId id) {
    const auto found = links_.find(id);
    return found == links_.end() ? nullptr : &found->second;
}

Engine::Link* Engine::attached_link(const Pair& pair) {
    if (!pair.session || pair.session->attached() == 0) return nullptr;
    Link* link = find(pair.session->attached());
    return link != nullptr && link->state == LinkState::attached ? link : nullptr;
}

Engine::Pair& Engine::pair_of(const PeerId& id) {
    const auto [found, fresh] = pairs_.try_emplace(id);
    if (fresh) {
        found->second.id = id;
        found->second.number = ++last_number_;
        numbered_[found->second.number] = &found->second;
    }
    return found->second;
}

Engine::Link& Engine::open(LinkId id, const Address& remote, Time now) {
    Link& link = links_[id];
    link.id = id;
    link.remote = remote;
    link.heard = now;
    options_.random(link.our_nonce);
    return link;
}

LinkId Engine::accepted(const Address& remote, Time now) {
    // Twice as many as there can be peers leaves room for simultaneous dials; the rest is for strangers.
    if (left_ || links_.size() >= 2 * options_.max_peers + 64) {
        if (!left_) log(Severity::warning, "link_rejected address=" + remote.to_string() + " why=too_many_links");
        return 0;
    }
    Link& link = open(++last_number_, remote, now);
    ++counters_.links_accepted;
    greet(link, now);
    return link.id;
}

void Engine::connected(LinkId id, const Address& remote, Time now) {
    Link* link = find(id);
    if (link == nullptr || link->state != LinkState::dialling) return;
    link->remote = remote;
    link->heard = now;
    greet(*link, now);
}

void Engine::greet(Link& link, Time now) {
    link.state = LinkState::greeting;
    link.hello_due = true;
    timers_.set({Timer::link, link.id}, now + options_.handshake_timeout);
    ready(link);
}

void Engine::dial_failed(LinkId id, errc error, Time now) {
    Link* link = find(id);
    if (link == nullptr || link->state != LinkState::dialling) return;
    end_target(*link, error, now);
    close(*link);
}

/// The dial that made this link has come to nothing.
void Engine::end_target(Link& link, errc error, Time now) {
    const std::uint64_t target = std::exchange(link.target, 0);
    if (target == 0) return;
    ++counters_.dials_failed;
    // Somebody else answering there is, for the one who is sought, the same as nobody.
    const bool refused = error == errc::connection_refused || error == errc::not_a_cluster_node ||
                         error == errc::wrong_cluster || error == errc::wrong_version || error == errc::self;
    if (const auto round = plan_.failed(target, error, refused, now)) round_failed(*round, now);
}

/// Forgets the link; the driver closes its socket without another word.
void Engine::close(Link& link) {
    const LinkId id = link.id;
    timers_.cancel({Timer::link, id});
    timers_.cancel({Timer::beat, id});
    actions_.push_back(Close{id, false});
    links_.erase(id);
}

/// Ends a link from this side.
void Engine::drop(LinkId id, std::string_view why, errc error, Time now) {
    Link* link = find(id);
    if (link == nullptr) return;
    if (!why.empty()) {
        log(link->state == LinkState::attached ? Severity::warning : Severity::info,
            "link_closed address=" + link->remote.to_string() +
                (link->pair != nullptr ? " peer=" + link->pair->id.to_string() : std::string()) +
                " why=" + std::string(why));
    }
    end_target(*link, error, now);
    unlink(*link, now);
    if (Link* still = find(id)) close(*still);
    check_left();
}

void Engine::link_ended(LinkId id, Time now) {
    Link* link = find(id);
    if (link == nullptr) return;
    Pair* pair = link->pair;
    switch (link->state) {
        case LinkState::dialling: dial_failed(id, errc::connection_lost, now); return;
        case LinkState::parting:
            if (link->goodbye_heard && pair != nullptr && link->farewell == Farewell::leaving) {
                session_over(*pair, now);
            }
            drop(id, "", errc::connection_lost, now);
            return;
        case LinkState::refusing: drop(id, "", errc::connection_lost, now); return;
        case LinkState::greeting: drop(id, "no_hello", errc::not_a_cluster_node, now); return;
        default: drop(id, "lost", errc::connection_lost, now); return;
    }
}

/// Takes the link from its pair and the pair's session.
void Engine::unlink(Link& link, Time now) {
    Pair* pair = std::exchange(link.pair, nullptr);
    if (pair == nullptr) return;
    std::erase(pair->links, link.id);
    const bool was_attaching = link.state == LinkState::attaching;
    if (Session* session = pair->session.get()) {
        if (session->lose(link.id)) {
            ++counters_.links_lost;
            timers_.cancel({Timer::ack, pair->number});
            credit_.lend(session->share());
        }
        // It may have been fenced already for an ATTACH that now came to nothing.
        if (session->attached() == 0 && session->attaching() == 0 && session->token() && session->defended()) {
            if (!timers_.pending({Timer::resume, pair->number})) {
                timers_.set({Timer::resume, pair->number}, now + pair->resume_for);
            }
            suspect(*pair, now);
        }
    }
    if (pair->links.empty()) {
        plan_.released(pair->id, pair->in_view, now);
        idle_.push_back(pair->id);
    }
    if (was_attaching) decide_waiting(*pair, now);
}

/// Forgets pairs that never came to anything and have no link any more.
void Engine::sweep() {
    for (const PeerId& id : std::exchange(idle_, {})) {
        const auto found = pairs_.find(id);
        if (found == pairs_.end()) continue;
        Pair& pair = found->second;
        if (!pair.links.empty() || pair.in_view || timers_.pending({Timer::forget, pair.number})) continue;
        if (pair.session && pair.session->token()) {
            // R15: the peer may hold this token; it is kept until it is forgotten on both sides.
            continue;
        }
        if (pair.session) numbered_.erase(pair.session->number());
        numbered_.erase(pair.number);
        plan_.drop(id);
        roster_.forget(id);
        pairs_.erase(found);
    }
}

// What comes in.

bool Engine::greeted(LinkId id) const {
    const auto found = links_.find(id);
    return found != links_.end() && found->second.state != LinkState::greeting;
}

bool Engine::received(LinkId id, Control&& frame, Time now) {
    Link* link = find(id);
    if (link == nullptr) return false;
    link->heard = now;
    if (link->pair != nullptr) link->pair->contact = now;
    if (link->state == LinkState::refusing) return true;
    if (link->state == LinkState::attached && !link->completed) completed(*link, now);
    std::visit([&](auto&& each) { on(*link, std::move(each), now); }, std::move(frame));
    return links_.contains(id);
}

Batch Engine::stamp(const Pair& pair) {
    Batch batch;
    batch.from = pair.id;
    batch.session = pair.session->number();
    return batch;
}

bool Engine::received(LinkId id, const DataRun& run, Time now) {
    Link* link = find(id);
    if (link == nullptr) return false;
    link->heard = now;
    if (link->state == LinkState::refusing || link->state == LinkState::parting) return true;
    if (link->state != LinkState::attached) {
        break_rule(*link, Rule::unexpected_frame, now);
        return false;
    }
    Pair& pair = *link->pair;
    pair.contact = now;
    if (!link->completed) completed(*link, now);
    Session::Channel* channel = pair.session->channel(run.channel);
    if (channel == nullptr) {
        break_rule(*link, Rule::unknown_channel, now);
        return false;
    }
    batches_.clear();
    if (const auto rule = channel->in.accept(run, stamp(pair), batches_)) {
        break_rule(*link, *rule, now);
        return false;
    }
    pair.bytes_received += run.frames.size();
    for (Batch& batch : batches_) {
        counters_.messages_received += batch.messages;
        actions_.push_back(Deliver{std::move(batch)});
    }
    if (channel->in.partial()) credit_.grow(pair.session->share(), channel->in, false);
    after_data(pair, *link, now);
    return true;
}

void Engine::violated(LinkId id, Rule rule, Time now) {
    if (Link* link = find(id)) break_rule(*link, rule, now);
}

void Engine::break_rule(Link& link, Rule rule, Time now) {
    ++counters_.protocol_errors;
    log(Severity::warning, "protocol_error address=" + link.remote.to_string() +
                               (link.pair != nullptr ? " peer=" + link.pair->id.to_string() : std::string()) +
                               " rule=" + std::string(core::to_string(rule)));
    const bool greeting = link.state == LinkState::greeting;
    drop(link.id, "", greeting ? errc::not_a_cluster_node : errc::protocol_error, now);
}

/// Lets the peer know what has been received: at once where it waits for it, else a little later together with more.
void Engine::after_data(Pair& pair, Link& link, Time now) {
    constexpr Duration ack_delay = std::chrono::milliseconds(5);
    constexpr std::uint64_t ack_least = std::uint64_t{32} << 10;
    constexpr std::uint64_t ack_most = std::uint64_t{256} << 10;
    const Session& session = *pair.session;
    if (!session.acknowledgement_due()) return;
    for (const Session::Channel& channel : session.channels()) {
        const std::uint64_t window = channel.in.limit() - channel.in.consumed();
        const bool much = channel.in.unacknowledged() >= std::clamp(window / 4, ack_least, ack_most);
        const bool starved = channel.in.room_told() < max_data_frame && channel.in.limit_grew();
        if (much || starved) {
            link.ack_due = true;
            ready(link);
            return;
        }
    }
    timers_.set_no_later({Timer::ack, pair.number}, now + ack_delay);
}

void Engine::on(Link& link, Hello&& hello, Time now) {
    if (link.state != LinkState::greeting) return break_rule(link, Rule::unexpected_frame, now);
    if (const auto reason = objection(link, hello)) {
        std::optional<Proof> proof;
        if (Roster::Parted* parted = roster_.parted(hello.self.id);
            *reason == Refusal::removed && parted != nullptr && parted->token && !parted->told) {
            proof = prove(*parted->token, link.our_nonce, hello.nonce, ProofUse::removed);
        }
        return refuse(link, *reason, now, proof);
    }
    if (requested(link) != nullptr) {
        roster_.unblock(hello.self.id);
        for (const Address& address : hello.self.addresses) roster_.unblock(address);
    }
    const PeerId id = hello.self.id;
    const bool known = roster_.find(id) != nullptr;
    Pair& pair = pair_of(id);
    if (!known) pair.first_hand = true;
    if (roster_.learn(hello.self) == Roster::News::changed && pair.in_view) actions_.push_back(PeersChanged{});
    pair.max_message = hello.max_message;
    constexpr std::uint64_t longest = std::uint64_t{1} << 40;
    pair.resume_for = std::min<Duration>(options_.resume_for,
                                         std::chrono::milliseconds(std::min(hello.resume_for_ms, longest)));
    if (options_.publish_observed && !hello.observed.host.empty()) observe(hello.observed.host, now);

    link.pair = &pair;
    link.peer_nonce = hello.nonce;
    pair.links.push_back(link.id);
    if (pair.links.size() == 1) plan_.engaged(id);
    bind_target(link, pair, now);
    timers_.set({Timer::link, link.id}, now + options_.handshake_timeout);
    if (self().id < id) {
        link.state = LinkState::greeted;
    } else {
        link.state = LinkState::offered;
        link.offer_due = true;
        ready(link);
    }
}

/// The `add` for which this link was dialled.
Engine::Request* Engine::requested(const Link& link) {
    if (link.target == 0) return nullptr;
    for (auto& [number, request] : requests_) {
        if (request.target == link.target) return &request;
    }
    return nullptr;
}

/// The dial that made this link has reached `pair`.
void Engine::bind_target(Link& link, Pair& pair, Time now) {
    if (link.target == 0) return;
    const auto* wanted = plan_.bound(link.target);
    if (wanted != nullptr && plan_.kind(link.target) == DialPlan::Kind::peer && **wanted != pair.id) {
        end_target(link, errc::connection_refused, now);
        return;
    }
    if (Request* request = requested(link)) request->peer = pair.id;
    plan_.answered(std::exchange(link.target, 0), pair.id);
    if (Link* current = attached_link(pair); current != nullptr && current->completed) answer_adds(pair);
}

std::optional<Refusal> Engine::objection(const Link& link, const Hello& hello) {
    if (hello.version_min > protocol_version || hello.version_max < protocol_version) return Refusal::version;
    if (hello.cluster != options_.cluster) return Refusal::cluster;
    const PeerId& id = hello.self.id;
    if (id == self().id) return Refusal::self;
    if (roster_.departed(id)) return Refusal::over;
    if (requested(link) == nullptr) {
        if (roster_.parted(id) != nullptr) return Refusal::removed;
        for (const Address& address : hello.self.addresses) {
            if (roster_.blocked(address)) return Refusal::removed;
        }
    }
    const auto found = pairs_.find(id);
    const bool belongs = found != pairs_.end() && (found->second.in_view || found->second.session);
    if (leaving_ && !(found != pairs_.end() && found->second.in_view)) return Refusal::leaving;
    if (!belongs) {
        const auto linked = std::count_if(pairs_.begin(), pairs_.end(), [](const auto& entry) {
            return entry.second.in_view || !entry.second.links.empty();
        });
        if (static_cast<std::size_t>(linked) >= options_.max_peers) return Refusal::full;
        if (pairs_.size() >= max_known()) forget_oldest();
    }
    return std::nullopt;
}

/// Peers out of view are remembered, too, but not without end.
void Engine::forget_oldest() {
    auto oldest = pairs_.end();
    for (auto each = pairs_.begin(); each != pairs_.end(); ++each) {
        if (each->second.in_view || !each->second.links.empty()) continue;
        if (oldest == pairs_.end() || each->second.contact < oldest->second.contact) oldest = each;
    }
    if (oldest == pairs_.end()) return;
    Pair& pair = oldest->second;
    if (pair.session) {
        surrender(pair, errc::too_many_peers);
        numbered_.erase(pair.session->number());
    }
    cancel_timers(pair);
    numbered_.erase(pair.number);
    plan_.drop(pair.id);
    roster_.forget(pair.id);
    pairs_.erase(oldest);
}

void Engine::cancel_timers(const Pair& pair) {
    for (const Timer kind : {Timer::ack, Timer::suspicion, Timer::resume, Timer::forget}) {
        timers_.cancel({kind, pair.number});
    }
}

// Attaching: the smaller id's side.

void Engine::on(Link& link, Offer&& offer, Time now) {
    if (link.state != LinkState::greeted) return break_rule(link, Rule::unexpected_frame, now);
    link.offer = std::move(offer);
    decide(link, now);
}

/// R4: what to do with a link whose OFFER has been read.
void Engine::decide(Link& link, Time now) {
    Pair& pair = *link.pair;
    if (!pair.session) make_session(pair);
    const auto proves = [&] {
        const auto& token = pair.session->token();
        return token && link.offer.proof &&
               *link.offer.proof == prove(*token, link.peer_nonce, link.our_nonce, ProofUse::offer);
    };
    bool proof_holds = proves();
    const bool defended_elsewhere = link.offer.proof && link.offer.defended;
    if (!proof_holds && !defended_elsewhere && pair.session->confirmed() && !pair.session->defended() &&
        pair.session->attached() == 0 && pair.session->attaching() == 0) {
        drop_session(pair, link.id, RemovalReason::replaced, errc::id_in_use, now);
        make_session(pair);
        proof_holds = false;
    }
    const Session::Judgement judgement = pair.session->judge(link.offer, proof_holds);
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
        Link* link = find(id);
        if (link != nullptr && link->state == LinkState::waiting) decide(*link, now);
    }
}

/// R6, R7: from here on nothing of the old link counts; what is stated next is final.
void Engine::fence(Pair& pair) {
    Link* old = find(pair.session->attached());
    if (old == nullptr) return;
    pair.session->lose(old->id);
    std::erase(pair.links, old->id);
    timers_.cancel({Timer::ack, pair.number});
    log(Severity::info, "link_replaced peer=" + pair.id.to_string() + " address=" + old->remote.to_string());
    close(*old);
}

void Engine::begin_attach(Link& link, Time now) {
    Pair& pair = *link.pair;
    fence(pair);
    if (!pair.session->token()) {
        Token token;
        options_.random(token);
        pair.session->set_token(token);
        timers_.set({Timer::forget, pair.number}, now + options_.forget_after);
    }
    pair.session->next_epoch();
    pair.session->begin(link.id);
    link.state = LinkState::attaching;
    link.attach_due = true;
    timers_.set({Timer::link, link.id}, now + options_.attach_timeout);
    ready(link);
}

void Engine::on(Link& link, Attached&& attached, Time now) {
    if (link.state != LinkState::attaching) return break_rule(link, Rule::unexpected_frame, now);
    Pair& pair = *link.pair;
    if (attached.epoch != pair.session->epoch()) return break_rule(link, Rule::wrong_epoch, now);
    if (const auto rule = pair.session->rewind(attached.offsets)) return break_rule(link, *rule, now);
    const bool first = !pair.session->confirmed();
    pair.session->confirm();
    attach(link, now);
    link.ack_due = true;  // R12: it tells the other side that we list it
    if (first) report_unsettled(pair, attached.unsettled);
    completed(link, now);
    decide_waiting(pair, now);
    if (leaving_) queue_goodbyes(now);
}

// Attaching: the larger id's side.

void Engine::on(Link& link, Attach&& attach, Time now) {
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
    const Session::Judgement judgement = pair.session->judge(attach, holds());
    if (judgement.verdict != Session::Judgement::Verdict::accept) return refuse(link, judgement.reason, now);

    fence(pair);
    const bool fresh = !pair.session->token();
    if (fresh) pair.session->set_token(attach.token);
    pair.session->accept_epoch(attach.epoch);
    if (const auto rule = pair.session->rewind(attach.offsets)) return break_rule(link, *rule, now);
    this->attach(link, now);
    link.attached_due = true;
    ready(link);
    if (fresh) report_unsettled(pair, attach.unsettled);
}

// Both sides.

void Engine::make_session(Pair& pair) {
    pair.session = std::make_unique<Session>(++last_number_, self().id < pair.id, options_.max_message);
    numbered_[pair.session->number()] = &pair;
    credit_.grow(pair.session->share(), pair.session->user().in, false);
}

/// R22: the session goes, and every link of the pair but `keep`.
void Engine::drop_session(Pair& pair, LinkId keep, RemovalReason reason, errc given_up, Time now) {
    if (pair.session) {
        pair.unsettled += pair.session->user().out.unsettled();
        surrender(pair, given_up);
    }
    leave_view(pair, reason, now);
    if (pair.session) {
        credit_.release(pair.session->share());
        numbered_.erase(pair.session->number());
        pair.session.reset();
    }
    cancel_timers(pair);
    const std::vector<LinkId> links = pair.links;
    for (const LinkId id : links) {
        if (id != keep) drop(id, "session_ended", errc::connection_lost, now);
    }
    idle_.push_back(pair.id);
}

/// The peer's former session ended with messages of which nobody knows whether they arrived.
void Engine::report_unsettled(Pair& pair, std::uint64_t messages) {
    if (messages == 0) return;
    counters_.messages_lost += messages;
    Batch gap = stamp(pair);
    gap.lost = messages;
    actions_.push_back(Deliver{std::move(gap)});
}

void Engine::attach(Link& link, Time now) {
    Pair& pair = *link.pair;
    pair.session->attach(link.id);
    link.state = LinkState::attached;
    enter(pair, link, now);
    if (pair.session->has_output()) ready(link);
}

/// Each side is now known to list the other.
void Engine::completed(Link& link, Time now) {
    link.completed = true;
    link.pair->unsettled = 0;
    answer_adds(*link.pair);
    if (leaving_) queue_goodbyes(now);
}

/// Whether a frame that belongs to an attached session is to be processed.
bool Engine::usable(Link& link, Time now) {
    if (link.state == LinkState::attached) return true;
    if (link.state != LinkState::parting) break_rule(link, Rule::unexpected_frame, now);
    return false;
}

void Engine::on(Link& link, Gap&& gap, Time now) {
    if (!usable(link, now)) return;
    Pair& pair = *link.pair;
    Session::Channel* channel = pair.session->channel(gap.channel);
    if (channel == nullptr) return break_rule(link, Rule::unknown_channel, now);
    batches_.clear();
    if (const auto rule = channel->in.skip(gap, stamp(pair), batches_)) return break_rule(link, *rule, now);
    counters_.messages_lost += gap.messages;
    for (Batch& batch : batches_) actions_.push_back(Deliver{std::move(batch)});
    after_data(pair, link, now);
}

void Engine::on(Link& link, Ack&& ack, Time now) {
    if (!usable(link, now)) return;
    Pair& pair = *link.pair;
    if (const auto rule = pair.session->acknowledge(ack.offsets)) return break_rule(link, *rule, now);
    if (pair.session->has_output()) ready(link);
    if (arena_.wasteful()) compact();
    room_freed();
    if (leaving_) queue_goodbyes(now);
}

void Engine::on(Link& link, PeerList&& list, Time now) {
    if (!usable(link, now)) return;
    ++counters_.lists_received;
    for (const Facts& facts : list.peers) learn(facts, now);
}

void Engine::on(Link& link, Ping&& ping, Time now) {
    if (!usable(link, now)) return;
    link.pong_due = ping.sequence;
    if (ping.digest != digest() && now - link.list_sent >= options_.heartbeat) link.list_due = true;
    ready(link);
}

void Engine::on(Link& link, Pong&& pong, Time now) {
    if (!usable(link, now)) return;
    if (pong.sequence == link.ping_sequence) link.pair->round_trip = now - link.ping_sent;
}

// Parting.

void Engine::refuse(Link& link, Refusal reason, Time now, std::optional<Proof> proof) {
    ++counters_.refusals_sent;
    log(quiet(reason) ? Severity::debug : Severity::warning,
        "link_refused address=" + link.remote.to_string() + " reason=" + std::string(to_string(reason)));
    link.refuse_due = Refuse{reason, proof, {}};
    end_target(link, error_of(reason), now);
    link.state = LinkState::refusing;
    unlink(link, now);
    timers_.set({Timer::link, link.id}, now + drain_timeout);
    actions_.push_back(Close{link.id, true});
    ready(link);
}

void Engine::on(Link& link, Refuse&& refuse, Time now) {
    if (link.state == LinkState::attached || link.state == LinkState::parting) {
        return break_rule(link, Rule::unexpected_frame, now);
    }
    ++counters_.refusals_received;
    const Refusal reason = refuse.reason;
    log(quiet(reason) ? Severity::debug : Severity::warning,
        "refused_by address=" + link.remote.to_string() +
            (link.pair != nullptr ? " peer=" + link.pair->id.to_string() : std::string()) +
            " reason=" + std::string(to_string(reason)));
    refuse_adds(link, reason);
    Pair* pair = link.pair;
    const LinkId id = link.id;
    if (pair != nullptr && pair->session && reason == Refusal::over && leaving_) {
        session_over(*pair, now);
    } else if (pair != nullptr && pair->session && pair->session->token() && reason == Refusal::removed &&
               refuse.proof &&
               *refuse.proof == prove(*pair->session->token(), link.peer_nonce, link.our_nonce, ProofUse::removed)) {
        drop_session(*pair, id, RemovalReason::refused, errc::removed, now);
    }
    drop(id, "", error_of(reason), now);
}

/// R19: some refusals are final for whoever waits in `add`, others only where nothing else is under way.
void Engine::refuse_adds(const Link& link, Refusal reason) {
    if (reason == Refusal::duplicate) return;
    const bool retried = reason == Refusal::id_in_use || reason == Refusal::unknown_session;
    if (retried && link.pair != nullptr && (link.pair->links.size() > 1 || link.pair->session)) return;
    std::vector<std::uint64_t> refused;
    for (const auto& [number, request] : requests_) {
        if ((link.target != 0 && request.target == link.target) ||
            (link.pair != nullptr && request.peer == link.pair->id)) {
            refused.push_back(number);
        }
    }
    for (const std::uint64_t number : refused) answer(number, error_of(reason));
}

/// R26: from here on nothing is sent but these words, and nothing accepted.
void Engine::say_goodbye(Link& link, Farewell why, Time now) {
    Goodbye goodbye{why, {}};
    for (const Session::Channel& channel : link.pair->session->channels()) {
        goodbye.offsets.push_back({channel.id, channel.out.next(), channel.in.received()});
    }
    link.goodbye_due = std::move(goodbye);
    link.farewell = why;
    link.state = LinkState::parting;
    timers_.cancel({Timer::beat, link.id});
    timers_.set({Timer::link, link.id}, now + drain_timeout);
    actions_.push_back(Close{link.id, true});
    ready(link);
}

void Engine::on(Link& link, Goodbye&& goodbye, Time now) {
    if (link.state != LinkState::attached && link.state != LinkState::parting) {
        return break_rule(link, Rule::unexpected_frame, now);
    }
    Pair& pair = *link.pair;
    if (pair.session) {
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

/// R29: the pair is at its end; whoever comes under this id again is told so.
void Engine::session_over(Pair& pair, Time now) {
    const PeerId id = pair.id;
    LinkId parting = 0;
    for (const LinkId each : pair.links) {
        if (find(each)->state == LinkState::parting) parting = each;
    }
    log(Severity::info, "peer_left peer=" + id.to_string());
    plan_.drop(id);
    drop_session(pair, parting, RemovalReason::left, errc::leaving, now);
    roster_.bury(id, now + options_.forget_after);
    timers_.set_no_later({Timer::expiry, 0}, now + options_.forget_after);
    check_left();
}

}  // namespace cluster::core
