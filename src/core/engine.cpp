#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace cluster::core {

namespace {

/// After its linger a leaving node waits so long for its goodbyes to be answered (R27).
constexpr Duration goodbye_least = std::chrono::milliseconds(100);
constexpr Duration goodbye_most = std::chrono::seconds(1);

/// A redial is given so much time to be answered, or a heartbeat where that is more.
constexpr Duration least_attempt = std::chrono::seconds(1);

/// So long the larger id waits for the smaller one's dial where it has just heard of it. The work of forming
/// a mesh of n nodes grows with n squared, and one thread may have to do all of it.
Duration dial_grace(std::size_t nodes) {
    constexpr Duration least = std::chrono::milliseconds(200);
    constexpr Duration most = std::chrono::seconds(2);
    constexpr Duration each = std::chrono::microseconds(100);
    const auto count = static_cast<Duration::rep>(std::min<std::size_t>(nodes, 1000));
    return std::clamp<Duration>(each * (count * count), least, most);
}

/// For so many times that, where peers come one after the other all the time.
constexpr int most_graces = 4;

Facts first_facts(const EngineOptions& options, const OwnAddresses& own) {
    Facts facts = options.self;
    if (options.publish_observed) facts.addresses = own.published();
    return facts;
}

std::uint64_t roll(const RandomSource& random) {
    std::array<std::uint8_t, 8> bytes{};
    random(bytes);
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8 | byte;
    return value;
}

}  // namespace

Engine::Engine(EngineOptions options, Time now)
    : options_(std::move(options)),
      own_(options_.listening.empty() ? options_.self.addresses : options_.listening),
      roster_(first_facts(options_, own_)),
      dice_(roll(options_.random)),
      plan_(options_.reconnect_min, options_.reconnect_max, dice_.next()),
      detector_(options_.heartbeat, options_.suspicion),
      credit_(options_.inbox_bytes, options_.max_peers, options_.max_message) {
    for (const Address& seed : options_.seeds) plan_.seek(seed, DialPlan::Kind::seed, now);
    for (const Address& address : options_.remembered) plan_.seek(address, DialPlan::Kind::remembered, now);
    if (!options_.remembered.empty()) timers_.set({Timer::expiry, 0}, now + options_.forget_after);
    // Nodes that start together need not probe together.
    const auto phase = static_cast<Duration::rep>(dice_.below(static_cast<std::uint64_t>(options_.heartbeat.count())));
    timers_.set({Timer::beat, 0}, now + Duration(phase));
}

// What the application asks for.

std::uint64_t Engine::add(const Address& address, Time now) {
    const std::uint64_t request = ++last_number_;
    if (leaving_) {
        actions_.push_back(AddDone{request, errc::closed, {}});
        return request;
    }
    unblock(address);
    requests_[request] = {plan_.seek(address, DialPlan::Kind::added, now), std::nullopt};
    timers_.set({Timer::request, request}, now + options_.connect_timeout);
    dial_now(now);
    return request;
}

void Engine::cancel_add(std::uint64_t request) {
    answer(request, errc::cancelled);
}

void Engine::answer(std::uint64_t request, errc error) {
    const auto found = requests_.find(request);
    if (found == requests_.end()) return;
    AddDone done{request, error, {}};
    if (found->second.peer) {
        const auto pair = pairs_.find(*found->second.peer);
        if (error == errc{} && pair != pairs_.end()) done.peer = describe(pair->second);
    }
    if (error == errc{} && found->second.peer) {
        plan_.keep(found->second.target, *found->second.peer);
    } else {
        plan_.drop(found->second.target);
    }
    timers_.cancel({Timer::request, request});
    requests_.erase(found);
    actions_.push_back(std::move(done));
}

void Engine::answer_adds(Pair& pair) {
    std::vector<std::uint64_t> answered;
    for (const auto& [request, each] : requests_) {
        if (each.peer == pair.id) answered.push_back(request);
    }
    for (const std::uint64_t request : answered) answer(request, errc{});
}

/// Whether all of `pairs` can take `body`. On success `error` is zero, and `full` are those to be skipped.
Engine::Outcome Engine::room(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now) {
    const std::size_t size = body.framed_size();
    Outcome outcome;
    if (body.size() > options_.max_message) {
        outcome.error = errc::message_too_large;
        return outcome;
    }
    std::vector<PeerId> skipped;
    for (Pair* pair : pairs) {
        if (body.size() > pair->max_message) outcome.error = errc::message_too_large;
        if (body.call != 0 && (pair->features & feature_calls) == 0) outcome.error = errc::unsupported;
        if (body.error && (pair->features & feature_errors) == 0) outcome.error = errc::unsupported;
        if (outcome.error != errc{}) return outcome;
        Session::Channel& channel = *pair->session->channel(body.channel());
        const std::size_t held = channel.out.size();
        const bool fits = held + size <= options_.outbox_bytes;
        if (skip == Skip::nobody) {
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
    // The segment that is being filled does not count, so that even an idle node has room for a longest message; and
    // messages leave room for replies, without which two nodes might wait for each other.
    const std::size_t most =
        options_.total_outbox_bytes + Arena::segment_size + (body.reply ? options_.outbox_bytes : 0);
    if (arena_.pinned() + size > most && arena_.wasteful()) compact();
    const bool total_full = arena_.pinned() + size > most;
    if (!outcome.full.empty() || total_full) {
        outcome.error = errc::outbox_full;
        room_wanted_ = true;
    }
    if (total_full) outcome.full.clear();
    if (outcome.error == errc{}) outcome.full = std::move(skipped);
    return outcome;
}

/// Queues `body` for `pairs`, and a gap in its place for those of them that are `skipped`.
void Engine::enqueue(std::span<Pair* const> pairs, const Body& body, std::span<const PeerId> skipped) {
    const auto skips = [&](const Pair* pair) {
        return !skipped.empty() && std::find(skipped.begin(), skipped.end(), pair->id) != skipped.end();
    };
    const Span whole = body.owner && body.bytes.size() == body.owner->size() && !body.bytes.empty()
                           ? arena_.adopt(body.owner)
                           : Span();
    const auto out = [&](Pair* pair) -> Outbox& { return pair->session->channel(body.channel())->out; };
    std::size_t at = 0;
    std::uint64_t size = 0;
    do {
        const std::size_t prefix = at == 0 && body.call != 0 ? call_size : 0;
        const std::size_t chunk = std::min(max_chunk - prefix, body.bytes.size() - at);
        const bool more = at + chunk < body.bytes.size();
        const int flags = (more ? flag_more : 0) | (body.call != 0 ? flag_call : 0) | (body.error ? flag_error : 0);
        std::array<std::byte, FrameHeader::size + call_size> buffer;
        FrameHeader{static_cast<std::uint32_t>(prefix + chunk), FrameKind::data, static_cast<std::uint8_t>(flags),
                    body.channel()}
            .write(buffer.data());
        if (prefix != 0) write_call(body.call, buffer.data() + FrameHeader::size);
        const std::span header(buffer.data(), FrameHeader::size + prefix);
        if (whole.segment() != nullptr) {
            const Span head = arena_.append(header, {});
            const Span part = whole.part(at, at + chunk);
            for (Pair* pair : pairs) {
                if (!skips(pair)) out(pair).append(head, part);
            }
        } else {
            const Span frame = arena_.append(header, body.bytes.subspan(at, chunk));
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
        if (Link* link = attached_link(*pair)) ready(*link);
    }
    if (!body.reply && skipped.size() < pairs.size()) ++counters_.messages_sent;
}

Engine::Outcome Engine::queue(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now) {
    Outcome outcome = room(pairs, body, skip, now);
    if (outcome.error != errc{}) return outcome;
    if (!pairs.empty()) enqueue(pairs, body, outcome.full);
    outcome.count = pairs.size() - outcome.full.size();
    return outcome;
}

Engine::Outcome Engine::broadcast(const Body& body, Skip skip, std::optional<Time> now) {
    if (leaving_) return {errc::closed, 0, {}, never};
    Outcome outcome = queue(audience_, body, skip, now);
    if (outcome.error == errc{}) broadcast_ += {1, body.framed_size()};
    return outcome;
}

Engine::Outcome Engine::send(const PeerId& to, const Body& body, Skip skip, std::optional<Time> now) {
    if (leaving_) return {errc::closed, 0, {}, never};
    const auto found = pairs_.find(to);
    if (found == pairs_.end() || !found->second.in_view) return {errc::not_in_view, 0, {}, never};
    Pair* const pair = &found->second;
    return queue({&pair, 1}, body, skip, now);
}

Engine::Outcome Engine::send(std::span<const PeerId> to, const Body& body, Skip skip, std::optional<Time> now) {
    if (to.size() == 1) return send(to.front(), body, skip, now);
    if (leaving_) return {errc::closed, 0, {}, never};
    std::vector<Pair*> pairs;
    for (const PeerId& id : to) {
        const auto found = pairs_.find(id);
        if (found == pairs_.end() || !found->second.in_view) return {errc::not_in_view, 0, {}, never};
        pairs.push_back(&found->second);
    }
    std::sort(pairs.begin(), pairs.end(), [](const Pair* a, const Pair* b) { return a->id < b->id; });
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    return queue(pairs, body, skip, now);
}

void Engine::room_freed() {
    if (std::exchange(room_wanted_, false)) actions_.push_back(RoomFreed{});
}

bool Engine::remove(const PeerId& id, Time now) {
    const auto found = pairs_.find(id);
    const Facts* facts = roster_.find(id);
    const bool sought = !leaving_ && plan_.drop_added(id);
    if ((found == pairs_.end() && facts == nullptr) || id == self().id || leaving_) return sought;
    const std::string line = "peer_removed peer=" + id.to_string() + (facts ? " name=" + quoted(facts->name) : "");
    Roster::Parted parted;
    parted.token_until = now + options_.forget_after;
    if (facts != nullptr) {
        parted.said = facts->addresses;
        parted.name = facts->name;
    }
    if (found != pairs_.end()) {
        Pair& pair = found->second;
        parted.found = pair.proven;
        if (pair.session && pair.session->token() && (pair.session->confirmed() || !pair.session->decides())) {
            parted.token = pair.session->token();
        }
    }
    roster_.part(id, std::move(parted));
    timers_.set_no_later({Timer::expiry, 0}, now + options_.forget_after);
    plan_.drop(id);
    if (found != pairs_.end()) {
        Pair& pair = found->second;
        LinkId parting = 0;
        if (Link* link = attached_link(pair)) {
            say_goodbye(*link, Farewell::removed, now);
            parting = link->id;
        }
        drop_session(pair, parting, RemovalReason::removed, errc::removed, now);
    }
    roster_.forget(id);
    log(Severity::info, line);
    return true;
}

void Engine::set_tags(Tags tags, Time now) {
    roster_.publish(std::move(tags));
    announce(self().id, now);
}

/// The pair whose session has this number, if it has not ended.
Engine::Pair* Engine::pair_with_session(std::uint64_t session) {
    const auto found = numbered_.find(session);
    if (found == numbered_.end() || !found->second->session) return nullptr;
    return found->second->session->number() == session ? found->second : nullptr;
}

void Engine::taken(std::uint64_t session, std::uint64_t bytes, Time now) {
    if (Pair* pair = pair_with_session(session)) {
        pair->session->user().in.consume(bytes);
        if (pair->in_view) {
            give_credit(*pair, true, now);
        } else {
            credit_.lend(pair->session->share(), pair->session->user().in);
        }
    } else {
        credit_.taken(session, bytes);
    }
    serve_waiting(now);
}

void Engine::give_credit(Pair& pair, bool active, Time now) {
    credit_.grow(pair.session->share(), pair.session->user().in, active);
    if (Link* link = attached_link(pair)) after_data(pair, *link, now);
}

/// Credit has become free.
void Engine::serve_waiting(Time now) {
    while (const std::uint64_t session = credit_.next_waiting()) {
        Pair* pair = pair_with_session(session);
        if (pair == nullptr) continue;
        CreditPool::Share& share = pair->session->share();
        share.waits_for_base = share.waits_for_permit = false;
        // Who has no link asks again when it has one.
        if (attached_link(*pair) != nullptr) give_credit(*pair, false, now);
    }
}

// Leaving.

void Engine::leave(Time now) {
    if (leaving_) return;
    leaving_ = true;
    room_freed();  // whoever waits for room is told that the node is closed
    while (!requests_.empty()) answer(requests_.begin()->first, errc::closed);
    // Only peers that still have a session to end are dialled again (R28).
    std::vector<PeerId> kept;
    for (const Pair* pair : view_) kept.push_back(pair->id);
    plan_.keep_only(kept);
    std::vector<LinkId> strangers;
    for (const auto& [id, link] : links_) {
        if ((link.pair == nullptr || !link.pair->in_view) && link.state != LinkState::refusing &&
            link.state != LinkState::parting) {
            strangers.push_back(id);
        }
    }
    for (const LinkId id : strangers) drop(id, "leaving", errc::closed, now);
    timers_.cancel({Timer::beat, 0});
    timers_.cancel({Timer::check, 0});
    timers_.set({Timer::linger, 0}, now + options_.linger);
    queue_goodbyes(now);
    // An answer brings the acknowledgements that are still held back.
    for (Pair* pair : view_) {
        Link* link = attached_link(*pair);
        if (link == nullptr || link->state != LinkState::attached) continue;
        link->ping_due = true;
        ready(*link);
    }
    left_due_ = true;
}

/// Says goodbye wherever all has been acknowledged, or, when the linger is over, everywhere.
void Engine::queue_goodbyes(Time now) {
    for (Pair* pair : view_) {
        Link* link = attached_link(*pair);
        if (link == nullptr || link->state != LinkState::attached) continue;
        if (pair->session->settled() || linger_over_) say_goodbye(*link, Farewell::leaving, now);
    }
}

void Engine::check_left() {
    left_due_ = false;
    if (!leaving_ || left_ || !view_.empty()) return;
    for (const auto& [id, link] : links_) {
        if (link.state == LinkState::parting) return;
    }
    finish_leaving();
}

void Engine::finish_leaving() {
    left_ = true;
    // Sessions out of view, too, may hold what nobody acknowledged.
    for (auto& [id, pair] : pairs_) {
        if (!pair.session) continue;
        Outbox::Settled settled;
        for (const Session::Channel& channel : pair.session->channels()) settled += channel.out.unacknowledged();
        if (settled.messages == 0) continue;
        unacknowledged_.messages += settled.messages;
        unacknowledged_.bytes += settled.bytes;
        ++unacknowledged_.peers;
    }
    std::vector<LinkId> open;
    for (const auto& [id, link] : links_) open.push_back(id);
    for (const LinkId id : open) close(links_.at(id));
    plan_.drop_all();
    actions_.push_back(unacknowledged_);
}

// The clock.

Time Engine::deadline() {
    if (left_) return never;
    return std::min(std::max(held_back_until_, timers_.next()), plan_.next());
}

void Engine::tick(Time now) {
    if (!holds_back(now)) {
        while (!left_) {
            const auto key = timers_.pop(now);
            if (!key) break;
            fire(*key, now);
        }
        held_back_ = false;
    }
    if (!left_) dial_now(now);
}

void Engine::fire(Key key, Time now) {
    const auto pair_of_timer = [&]() -> Pair* {
        const auto found = numbered_.find(key.id);
        return found == numbered_.end() ? nullptr : found->second;
    };
    switch (key.kind) {
        case Timer::link: {
            Link* link = find(key.id);
            if (link == nullptr) return;
            switch (link->state) {
                case LinkState::dialling: dial_failed(key.id, errc::timed_out, now); break;
                case LinkState::attaching: drop(key.id, "attach_timeout", errc::handshake_timeout, now); break;
                case LinkState::parting: link_ended(key.id, now); break;
                case LinkState::refusing: drop(key.id, "", errc::timed_out, now); break;
                default: drop(key.id, "handshake_timeout", errc::handshake_timeout, now); break;
            }
            break;
        }
        case Timer::ack:
            if (Pair* pair = pair_of_timer()) {
                Link* link = attached_link(*pair);
                if (link == nullptr || !pair->session->acknowledgement_due()) return;
                link->ack_due = true;
                ready(*link);
            }
            break;
        case Timer::watch:
            if (Pair* pair = pair_of_timer()) review(*pair, now);
            break;
        case Timer::inquiry:
            if (Pair* pair = pair_of_timer()) verify(*pair, now);
            break;
        case Timer::resume:
            if (Pair* pair = pair_of_timer(); pair != nullptr && pair->session && attached_link(*pair) == nullptr) {
                // R21: what was queued is given up, the session is not, but it no longer keeps others from the id.
                surrender(*pair, errc::timed_out);
                pair->session->stop_defending();
                const std::vector<LinkId> candidates = pair->links;
                for (const LinkId id : candidates) drop(id, "resume_for", errc::timed_out, now);
                discard_parts(*pair, now);
            }
            break;
        case Timer::forget:
            if (Pair* pair = pair_of_timer(); pair != nullptr && !pair->in_view) {
                plan_.drop(pair->id);
                drop_session(*pair, 0, RemovalReason::failed, errc::timed_out, now);
            }
            break;
        case Timer::reach:
            if (Pair* pair = pair_of_timer()) out_of_reach(*pair, now);
            break;
        case Timer::request: answer(key.id, errc::timed_out); break;
        case Timer::news: tell_news(); break;
        case Timer::beat: beat(now); break;
        case Timer::check: check_somebody(now); break;
        case Timer::expiry:
            roster_.expire(now);
            plan_.drop(DialPlan::Kind::remembered);  // whatever else is awaited here began later than the node
            if (roster_.next_expiry() != never) timers_.set(key, roster_.next_expiry());
            break;
        case Timer::linger:
            if (!linger_over_) {
                linger_over_ = true;
                timers_.set(key, now + std::clamp(options_.linger, goodbye_least, goodbye_most));
                queue_goodbyes(now);
                // Who has no link cannot be told.
                const std::vector<Pair*> view = view_;
                for (Pair* pair : view) {
                    if (attached_link(*pair) == nullptr) leave_view(*pair, RemovalReason::failed, now);
                }
                left_due_ = true;
            } else {
                const std::vector<Pair*> view = view_;
                for (Pair* pair : view) leave_view(*pair, RemovalReason::failed, now);
                finish_leaving();
            }
            break;
    }
}

/// Whether this node has had a session with it, and so knows it by more than its addresses.
bool Engine::met(const PeerId& id) const {
    const auto found = pairs_.find(id);
    return found != pairs_.end() && found->second.attachments != 0;
}

/// The application wants whoever is at `address`. That one says so itself does not count where we know another there.
void Engine::unblock(const Address& address) {
    const bool taken = std::any_of(pairs_.begin(), pairs_.end(), [&](const auto& entry) {
        const std::vector<Address> addresses = addresses_of(entry.first);
        return entry.second.attachments != 0 &&
               std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    });
    roster_.unblock(address, !taken);
}

/// Whether whoever is sought at `address` is certainly not there.
bool Engine::occupied(const PeerId& wanted, const Address& address) const {
    // A former run of this node listened there, too.
    if (own_.listens_on(address)) return true;
    if (!met(wanted) && roster_.blocked(address)) return true;
    return std::any_of(view_.begin(), view_.end(), [&](const Pair* pair) {
        return pair->id != wanted && pair->reached == address && pair->session->attached() != 0;
    });
}

/// Whether whoever dials `address` finds a peer that is linked, and nobody else: it was found there, says that it is
/// there, and nobody else does.
bool Engine::leads_to_linked(const Address& address) const {
    const Pair* there = nullptr;
    for (const Pair* pair : view_) {
        const bool says_so = publishes(pair->id, address);
        const bool proven = std::find(pair->proven.begin(), pair->proven.end(), address) != pair->proven.end();
        if (!says_so && !proven) continue;
        if (there != nullptr || !says_so || !proven || pair->session->attached() == 0) return false;
        there = pair;
    }
    return there != nullptr;
}

bool Engine::publishes(const PeerId& id, const Address& address) const {
    const Facts* facts = roster_.find(id);
    return facts != nullptr &&
           std::find(facts->addresses.begin(), facts->addresses.end(), address) != facts->addresses.end();
}

/// Whether somebody waits in `add` for this target.
bool Engine::awaited(std::uint64_t target) const {
    return std::any_of(requests_.begin(), requests_.end(),
                       [&](const auto& entry) { return entry.second.target == target; });
}

/// How long a link may stay in its state.
Duration Engine::patience(const Link& link) const {
    switch (link.state) {
        case LinkState::dialling:
            if (awaited(link.target)) return options_.connect_timeout;
            // Whoever redials does not wait for the system's own attempts, which come ever more seldom.
            return std::min(options_.connect_timeout, std::max<Duration>(options_.heartbeat, least_attempt));
        case LinkState::attaching: return options_.attach_timeout;
        case LinkState::attached:
        case LinkState::parting:
        case LinkState::refusing: return drain_timeout;
        case LinkState::greeting:
        case LinkState::greeted:
        case LinkState::waiting:
        case LinkState::offered: break;
    }
    return options_.handshake_timeout;
}

void Engine::dial_now(Time now) {
    const auto is_occupied = [&](const PeerId& wanted, const Address& address) { return occupied(wanted, address); };
    const auto earliest = [&](const PeerId& id) {
        const auto found = pairs_.find(id);
        if (found == pairs_.end() || self().id < id || found->second.in_view) return Time();
        const Duration grace = dial_grace(pairs_.size());
        // While others come, the one that is to dial us may not have had its turn yet.
        return std::max(found->second.named, std::min(last_added_, found->second.named + most_graces * grace)) + grace;
    };
    const auto is_linked = [&](const Address& address) { return leads_to_linked(address); };
    while (const auto step = plan_.step(now, is_occupied, earliest, is_linked)) {
        if (step->resolve) {
            actions_.push_back(Resolve{step->target, step->address});
            continue;
        }
        Link& link = open(++last_number_, step->address);
        link.state = LinkState::dialling;
        link.dialled = true;
        link.wanted = step->address;
        link.begun = now;
        link.target = step->target;
        link.round = step->round;
        timers_.set({Timer::link, link.id}, now + patience(link));
        ++counters_.dials;
        if (const auto& sought = *plan_.bound(step->target)) await_dial(*sought, now);
        actions_.push_back(Dial{link.id, step->address});
    }
    for (const DialPlan::Round& round : plan_.take_ended()) round_failed(round, now);
    may_be_settled();  // all addresses behind a seed may lead to linked peers
}

void Engine::resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now) {
    if (left_) return;
    errc why = error == errc{} ? errc::unresolvable_host : error;
    addresses = dialable(addresses);
    // All processes may be given the same seeds, their own address among them. Where it listens is asked each time: an
    // address may go from one host to another.
    const auto is_own = [&](const Address& each) { return own_.listens_on(each); };
    const bool added = awaited(target);
    if (!added && std::erase_if(addresses, is_own) != 0) why = errc::self;
    warn_of_loopback(addresses);
    if (addresses.empty()) {
        if (const auto round = plan_.failed({target, 0}, why, now)) {
            round_failed(*round, now);
        }
    } else {
        if (added) {
            for (const Address& address : addresses) unblock(address);
        }
        plan_.resolved(target, std::move(addresses), now);
    }
    dial_now(now);
}

void Engine::round_failed(const DialPlan::Round& round, Time now) {
    may_be_settled();
    if (round.kind == DialPlan::Kind::added) {
        for (const auto& [request, each] : requests_) {
            if (each.target != round.target) continue;
            answer(request, round.error);
            return;
        }
    }
    if (!DialPlan::is_for_peer(round.kind)) {
        const bool seed = round.kind == DialPlan::Kind::seed;
        const bool added = round.kind == DialPlan::Kind::added;
        const bool news = round.news && round.error != errc::self;
        log(!news ? Severity::debug : seed ? Severity::warning : Severity::info,
            std::string(seed ? "seed" : added ? "added" : "remembered") + "_unreachable address=" + token(round.name) +
                " why=" + quoted(make_error_code(round.error).message()));
        // Whoever was there in a former run is not there now, and who is need not be disturbed again. Who parted from
        // this node does not want to be dialled.
        const bool over = added ? round.error == errc::removed : !seed && round.error == errc::wrong_cluster;
        if (over) plan_.drop(round.target);
    }
    if (round.kind == DialPlan::Kind::check) plan_.drop(round.target);
    if (round.kind == DialPlan::Kind::peer) {
        const auto found = pairs_.find(*round.peer);
        if (found == pairs_.end()) return;
        found->second.trouble = round.error;
        verify(found->second, now);
    }
}

}  // namespace cluster::core
