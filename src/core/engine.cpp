#include "core/engine.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace cluster::core {

Engine::Engine(EngineOptions options, Time now)
    : Shared(std::move(options)), credit_(options_.inbox_bytes, options_.max_peers, options_.max_message) {
    for (const Address& seed : options_.seeds) plan_.seek(seed, DialPlan::Kind::seed, now);
    for (const Address& address : options_.remembered) plan_.seek(address, DialPlan::Kind::remembered, now);
    if (!options_.remembered.empty()) {
        remembered_until_ = now + options_.forget_after;
        timers_.set({Timer::expiry, 0}, remembered_until_);
    }
    // Nodes that start together need not probe together.
    const auto phase = static_cast<Duration::rep>(dice_.below(static_cast<std::uint64_t>(options_.heartbeat.count())));
    timers_.set({Timer::beat, 0}, now + Duration(phase));
}

// What the application asks for.

std::uint64_t Engine::add(const Address& address, Time now) {
    const std::uint64_t number = peers_.next_number();
    if (leaving_) {
        actions_.push_back(AddDone{number, errc::closed, {}});
        return number;
    }
    dialling_.unblock(address);
    joins_.begin(number, plan_.seek(address, DialPlan::Kind::added, now), now + options_.connect_timeout);
    dial(now);
    return number;
}

void Engine::cancel_add(std::uint64_t number) {
    joins_.answer(number, errc::cancelled);
}

bool Engine::remove(const PeerId& id, Time now) {
    const auto found = peers_.pairs.find(id);
    const Facts* facts = roster_.find(id);
    const bool sought = !leaving_ && plan_.drop_added(id);
    if ((found == peers_.pairs.end() && facts == nullptr) || id == self().id || leaving_) return sought;
    const std::string line = "peer_removed peer=" + id.to_string() + (facts ? " name=" + quoted(facts->name) : "");
    Roster::Parted parted;
    parted.token_until = now + options_.forget_after;
    if (facts != nullptr) {
        parted.said = facts->addresses;
        parted.name = facts->name;
    }
    if (found != peers_.pairs.end()) {
        Pair& pair = found->second;
        parted.found = pair.proven;
        if (pair.session && pair.session->token() && (pair.session->confirmed() || !pair.session->decides())) {
            parted.token = pair.session->token();
        }
    }
    roster_.part(id, std::move(parted));
    timers_.set_no_later({Timer::expiry, 0}, now + options_.forget_after);
    plan_.drop(id);
    if (found != peers_.pairs.end()) {
        Pair& pair = found->second;
        LinkId parting = 0;
        if (Link* link = peers_.attached_link(pair)) {
            say_goodbye(*link, Farewell::removed, now);
            parting = link->id;
        }
        drop_session(pair, parting, RemovalReason::removed, errc::removed, now);
    }
    roster_.forget(id);
    log(LogLevel::info, line);
    return true;
}

void Engine::set_tags(Tags tags, Time now) {
    roster_.publish(std::move(tags));
    gossip_.announce(self().id, now);
}

void Engine::taken(std::uint64_t session, std::uint64_t bytes, Time now) {
    if (Pair* pair = peers_.with_session(session)) {
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

/// Only messages of the application live on the memory of the inbox.
void Engine::grow_credit(Pair& pair, bool active) {
    if (pair.are_peers()) credit_.grow(pair.session->share(), pair.session->user().in, active);
}

void Engine::release_credit(Pair& pair) {
    if (pair.are_peers()) credit_.release(pair.session->share(), pair.session->user().in);
}

void Engine::give_credit(Pair& pair, bool active, Time now) {
    grow_credit(pair, active);
    if (Link* link = peers_.attached_link(pair)) after_data(pair, *link, now);
}

/// Credit has become free.
void Engine::serve_waiting(Time now) {
    while (const std::uint64_t session = credit_.next_waiting()) {
        Pair* pair = peers_.with_session(session);
        if (pair == nullptr) continue;
        CreditPool::Share& share = pair->session->share();
        share.waits_for_base = share.waits_for_permit = false;
        // A session without a link asks again when it has one.
        if (peers_.attached_link(*pair) != nullptr) give_credit(*pair, false, now);
    }
}

// Leaving.

void Engine::leave(Time now) {
    if (leaving_) return;
    leaving_ = true;
    sending_.room_freed();  // callers that wait for room learn that the node is closed
    joins_.answer_all(errc::closed);
    // Only peers that still have a session to end are dialled again (R28).
    std::vector<PeerId> kept;
    for (const Pair* pair : peers_.view) kept.push_back(pair->id);
    plan_.keep_only(kept);
    leave_guests(now);
    drop_strangers(false, now);  // the other end of a link that is attaching may have this node in view already
    departure_.begin(now);
    queue_goodbyes(now);
    // An answer brings the acknowledgements that are still held back.
    for (Pair* pair : peers_.view) {
        Link* link = peers_.attached_link(*pair);
        if (link == nullptr) continue;
        link->due.ping = true;
        peers_.ready(*link);
    }
    departure_.look_later();
}

void Engine::drop_strangers(bool attaching, Time now) {
    std::vector<LinkId> strangers;
    for (const auto& [id, link] : peers_.links) {
        const bool known = link.pair != nullptr && link.pair->in_view;
        const bool ends = link.state == LinkState::refusing || link.state == LinkState::parting;
        if (known || ends || (link.state == LinkState::attaching && !attaching)) continue;
        strangers.push_back(id);
    }
    for (const LinkId id : strangers) drop(id, "leaving", errc::closed, now);
}

void Engine::queue_goodbyes(Time now) {
    for (Link* link : departure_.farewells()) say_goodbye(*link, Farewell::leaving, now);
}

void Engine::linger_ends(Time now) {
    const bool first = departure_.linger_ends(now);
    if (first) {
        queue_goodbyes(now);
        drop_strangers(true, now);
    }
    // A peer without a link cannot be told. The second time nobody answers any more.
    const std::vector<Pair*> view = peers_.view;
    for (Pair* pair : view) {
        if (!first || peers_.attached_link(*pair) == nullptr) leave_view(*pair, RemovalReason::failed, now);
    }
    if (first) return departure_.look_later();
    finish_leaving();
}

void Engine::finish_leaving() {
    departure_.end();
    const LeaveDone unacknowledged = sending_.unacknowledged();
    std::vector<LinkId> open;
    for (const auto& [id, link] : peers_.links) open.push_back(id);
    for (const LinkId id : open) close(peers_.links.at(id));
    plan_.drop_all();
    actions_.push_back(unacknowledged);
}

// The clock, and what follows from it.

Time Engine::deadline() {
    if (departure_.left()) return never;
    return std::min(patience_.deadline(), plan_.next());
}

void Engine::tick(Time now) {
    if (!patience_.holds_back(now)) {
        while (!departure_.left()) {
            const auto key = timers_.pop(now);
            if (!key) break;
            fire(*key, now);
        }
        patience_.caught_up();
    }
    if (!departure_.left()) dial(now);
}

void Engine::resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now) {
    if (departure_.left()) return;
    dialling_.resolved(target, std::move(addresses), error, now);
    conclude(now);
}

void Engine::dial(Time now) {
    dialling_.begin(now);
    conclude(now);
}

/// Once per heartbeat.
void Engine::beat(Time now) {
    blocks_.rest();
    discard_unawaited();
    for (Pair* pair : peers_.view) {
        credit_.overdue(pair->session->share(), pair->session->user().in);
        if (now - pair->entered >= 2 * options_.heartbeat) pair->listed = true;
    }
    serve_waiting(now);  // sessions that never came to anything give credit back silently
    timers_.set({Timer::beat, 0}, now + options_.heartbeat);
    suspicions_.beat(now);
    dialling_.may_be_settled();
    members_.repeat(now);
    suspicions_.ask_about_unreachable(now);
}

/// Carries out what was concluded about peers. That may lead to more conclusions, which are carried out first.
void Engine::conclude(Time now) {
    while (const auto conclusion = suspicions_.take_conclusion()) {
        Pair* pair = peers_.find(conclusion->peer);
        if (pair == nullptr || !pair->in_view) continue;
        const std::string why = " why=" + std::string(conclusion->why);
        switch (conclusion->what) {
            case Conclusion::What::cut_off:
                drop(pair->session->attached(), conclusion->why, errc::connection_lost, now);
                break;
            case Conclusion::What::failed:
                ++counters_.failures;
                log(LogLevel::warning, "peer_failed " + peers_.who(*pair) + why);
                leave_view(*pair, RemovalReason::failed, now);
                break;
            case Conclusion::What::unreachable:
                log(LogLevel::warning, "peer_unreachable " + peers_.who(*pair) + why);
                leave_view(*pair, RemovalReason::unreachable, now);
                suspicions_.expect_link(*pair, now);
                break;
        }
        departure_.look_later();
    }
}

void Engine::fire(EngineTimers::Key key, Time now) {
    const auto pair_of_timer = [&] { return peers_.numbered(key.id); };
    switch (key.kind) {
        case Timer::link: {
            Link* link = peers_.find(key.id);
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
                Link* link = peers_.attached_link(*pair);
                if (link == nullptr || !pair->session->acknowledgement_due()) return;
                link->due.ack = true;
                peers_.ready(*link);
            }
            break;
        case Timer::watch:
            if (Pair* pair = pair_of_timer()) suspicions_.review(*pair, now);
            conclude(now);
            break;
        case Timer::inquiry:
            if (Pair* pair = pair_of_timer()) suspicions_.verify(*pair, now);
            conclude(now);
            break;
        case Timer::guest:
            if (Pair* pair = pair_of_timer()) watch_guest(*pair, now);
            break;
        case Timer::resume:
            if (Pair* pair = pair_of_timer();
                pair != nullptr && pair->session && peers_.attached_link(*pair) == nullptr) {
                if (pair->is_guest()) return end_guest(*pair, "resume_for", now);
                // What is given up to a host must not be missed without a word, and there are no gaps between the two.
                if (!pair->are_peers()) return forget_session(*pair, now);
                // R21: what was queued is given up. The session stays, but it no longer keeps others from the id.
                sending_.surrender(*pair, errc::timed_out);
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
            if (Pair* pair = pair_of_timer()) suspicions_.out_of_reach(*pair, now);
            break;
        case Timer::join: joins_.answer(key.id, errc::timed_out); break;
        case Timer::news: gossip_.tell_news(); break;
        case Timer::beat: beat(now); break;
        case Timer::check: checks_.next(now); break;
        case Timer::expiry:
            roster_.expire(now);
            if (now >= remembered_until_) {
                plan_.drop(DialPlan::Kind::remembered);
                remembered_until_ = never;
            }
            if (const Time next = std::min(roster_.next_expiry(), remembered_until_); next != never) {
                timers_.set(key, next);
            }
            break;
        case Timer::linger: linger_ends(now); break;
    }
}

}  // namespace cluster::core
