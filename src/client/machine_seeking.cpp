#include "client/machine.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

// How the leader is found and the session attached there.

namespace cluster::client {

/// All who may be tried, those last who were last.
void Machine::begin_round() {
    fresh_ = false;
    hops_ = 0;
    without_group_ = 0;
    group_known_ = false;
    doubted_.reset();
    round_.assign(options_.addresses.begin(), options_.addresses.end());
    if (!outside()) {
        if (preferred_) round_.emplace_back(*preferred_);
        for (const auto& [peer, address] : links_) {
            if (peer != preferred_) round_.emplace_back(peer);
        }
    }
    std::stable_partition(round_.begin(), round_.end(), [&](const Candidate& each) { return each != last_; });
}

/// Turns to the next one.
void Machine::next(std::string_view why, Time now) {
    detached(why, now);
    peer_.reset();
    dialling_.reset();
    phase_ = Phase::pausing;
    if (fresh_) begin_round();
    if (hinted_ && hints_.empty()) doubted_ = std::exchange(hinted_, std::nullopt);
    while (!hints_.empty() || !round_.empty()) {
        std::deque<Candidate>& from = hints_.empty() ? round_ : hints_;
        const Candidate candidate = std::move(from.front());
        from.pop_front();
        if (attempt(candidate, now)) return;
    }
    round_over(now);
}

bool Machine::attempt(const Candidate& candidate, Time now) {
    if (const auto* peer = std::get_if<PeerId>(&candidate)) {
        if (!links_.contains(*peer)) return false;
        begin(*peer, now);
        return true;
    }
    const Address& address = std::get<Address>(candidate);
    const auto linked =
        std::find_if(links_.begin(), links_.end(), [&](const auto& each) { return each.second == address; });
    if (linked != links_.end()) {
        begin(linked->first, now);
        return true;
    }
    phase_ = Phase::dialling;
    dialling_ = address;
    last_ = address;
    timers_.set({Timer::attempt, 0}, now + patience);
    emit(Dial{address});
    return true;
}

void Machine::round_over(Time now) {
    fresh_ = true;
    timers_.set({Timer::attempt, 0}, now + round_pause_.take(dice_));
    std::string why = "nobody who was asked leads the group";
    if (without_group_ == 0 && !group_known_) {
        why = "no node can be reached" + (dial_failure_.empty() ? "" : "; " + dial_failure_);
    }
    if (without_group_ != 0 && !group_known_) {
        why = "no replica of group " + quoted(options_.group) + " runs on any node that was asked";
    }
    set_state({session_ == 0 ? State::connecting : State::seeking, errc::no_leader, std::move(why), {}});
}

void Machine::begin(const PeerId& peer, Time now) {
    dialling_.reset();
    peer_ = peer;
    const std::optional<Address>& address = links_.at(peer);
    last_ = address ? Candidate(*address) : Candidate(peer);
    tried_since_ = now;
    leaderless_pause_.reset();
    ask(now);
}

void Machine::ask(Time now) {
    phase_ = Phase::asking;
    starved_ = false;
    challenge_ = 0;
    timers_.set({Timer::attempt, 0}, now + patience);
    if (session_ != 0) {
        acknowledged();
        return tell(Attach{options_.group, session_, options_.key, received_}, now);
    }
    const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(options_.session_timeout);
    tell(Open{options_.group, options_.key, static_cast<std::uint64_t>(timeout.count()), options_.name,
              options_.credentials},
         now);
}

/// Asks the same one again a little later, unless that has lasted long enough.
void Machine::pause(Backoff& backoff, std::string_view why, Time now) {
    if (now - tried_since_ >= patience) {
        // Perhaps only one dial to it was lost. The group would have another leader by now.
        doubted_.reset();
        return next(why, now);
    }
    phase_ = Phase::pausing;
    timers_.set({Timer::attempt, 0}, now + backoff.take(dice_));
}

/// At the same one, which brings again what was lost.
void Machine::attach_again(Time now) {
    tried_since_ = now;
    if (now - attached_at_ < least_attachment) return pause(again_pause_, {}, now);
    ask(now);
}

/// `Timer::attempt`.
void Machine::attempt_over(Time now) {
    switch (phase_) {
        case Phase::dialling: return next("the leader cannot be reached", now);
        case Phase::asking: return next("the leader does not answer", now);
        case Phase::pausing: return peer_ ? ask(now) : next({}, now);
        case Phase::leaving: return finish();
        case Phase::open:
        case Phase::ended: return;
    }
}

void Machine::opened(std::uint64_t applied, Time now) {
    phase_ = Phase::open;
    attached_at_ = now;
    heard_at_ = now;
    hints_.clear();
    hinted_.reset();
    fresh_ = true;
    round_pause_.reset();
    timers_.cancel({Timer::attempt, 0});
    timers_.cancel({Timer::give_up, 0});
    timers_.cancel({Timer::busy, 0});
    busy_ = false;
    const auto first = std::find_if(commands_.begin(), commands_.end(), [&](const auto& each) {
        return each.second.number == 0 || each.second.number > applied;
    });
    send_from_ = first == commands_.end() ? next_id_ : first->first;
    query_from_ = 0;
    timers_.set_no_later({Timer::keep_alive, 0}, now + options_.session_timeout / 3);
    if (unacknowledged_ != 0) timers_.set_no_later({Timer::acknowledge, 0}, now + acknowledged_after);
    keep_links();
    set_state({State::attached, {}, {}, *peer_});
}

/// It is not attached anywhere, for longer than it takes to ask once more. Tells so, if it was.
void Machine::detached(std::string_view why, Time now) {
    if (state_.state == State::attached) set_state({State::seeking, errc::no_leader, std::string(why), {}});
    if (options_.give_up_after > Duration(0) && !timers_.pending({Timer::give_up, 0})) {
        timers_.set({Timer::give_up, 0}, now + options_.give_up_after);
    }
}

/// Drops links that are not needed.
void Machine::keep_links() {
    if (!outside()) return;
    const std::size_t most = phase_ == Phase::open ? 1 : most_links;
    for (auto each = links_.begin(); each != links_.end() && links_.size() > most;) {
        if (each->first == peer_) {
            ++each;
            continue;
        }
        emit(Drop{each->first});
        each = links_.erase(each);
    }
}

void Machine::came(const PeerId& peer, const std::optional<Address>& dialled, Time now) {
    if (phase_ == Phase::ended) return;
    links_.insert_or_assign(peer, dialled);
    // A dial that took too long is as good as the one that is under way.
    if (phase_ == Phase::dialling || (phase_ == Phase::pausing && !peer_)) begin(peer, now);
    keep_links();
}

void Machine::dial_failed(const Address& address, std::string why, Time now) {
    if (phase_ != Phase::dialling || dialling_ != address) return;
    dial_failure_ = address.to_string() + ": " + std::move(why);
    next("the leader cannot be reached", now);
}

void Machine::went(const PeerId& peer, Time now) {
    links_.erase(peer);
    if (peer != peer_ || phase_ == Phase::ended) return;
    if (phase_ == Phase::leaving) return finish();
    next("the node of the leader has gone", now);
}

void Machine::not_sent(const PeerId& peer, Time now) {
    if (peer != peer_) return;
    if (phase_ == Phase::leaving) return finish();
    if (phase_ == Phase::open) tried_since_ = now;
    if (phase_ == Phase::open || phase_ == Phase::asking) pause(again_pause_, "nothing can be sent to the leader", now);
}

void Machine::on(const NotLeader& answer, Time now) {
    if (phase_ != Phase::asking && phase_ != Phase::open) return;
    if (phase_ == Phase::open) tried_since_ = now;
    group_known_ = true;
    hinted_.reset();
    const bool linked = links_.contains(answer.leader);
    const bool named = answer.leader != PeerId{} && answer.leader != peer_;
    if (!named || (answer.leader == doubted_ && !linked)) {
        detached("nobody leads the group", now);
        return pause(leaderless_pause_, {}, now);
    }
    hints_.clear();
    if (++hops_ > most_hops) {
        // They contradict each other.
        hops_ = 0;
        detached("nobody leads the group", now);
        peer_.reset();
        phase_ = Phase::pausing;
        return timers_.set({Timer::attempt, 0}, now + hops_pause);
    }
    if (linked) {
        hints_.emplace_back(answer.leader);
    } else if (outside()) {
        hints_.assign(answer.addresses.begin(), answer.addresses.end());
    }
    hinted_ = answer.leader;
    next("another node leads the group", now);
}

void Machine::on(const Refused& answer, Time now) {
    if (session_ != 0 && answer.reason == Refusal::no_session) return end(errc::session_expired, answer.text);
    if (phase_ != Phase::asking) return;
    switch (answer.reason) {
        case Refusal::no_such_group:
            ++without_group_;
            return next("the node of the leader has no replica of the group any more", now);
        case Refusal::rejected:
            if (session_ == 0) return end(errc::rejected, answer.text);
            return;
        case Refusal::full:
            if (session_ == 0) return end(errc::too_many_sessions, answer.text);
            return;
        case Refusal::no_session: return;
    }
}

void Machine::on(const Opened& answer, Time now) {
    if (session_ != 0 || answer.session == 0 || (phase_ != Phase::asking && phase_ != Phase::pausing)) return;
    session_ = answer.session;
    opened(0, now);
}

void Machine::on(const Attached& answer, Time now) {
    if (session_ == 0 || (phase_ != Phase::asking && phase_ != Phase::pausing)) return;
    max_message_ = static_cast<std::size_t>(answer.max_message);
    opened(answer.applied, now);
}

void Machine::on(const Challenge& answer, Time now) {
    if (phase_ != Phase::asking || session_ != 0) return;
    group_known_ = true;
    challenge_ = ++challenges_;
    timers_.set({Timer::attempt, 0}, now + challenge_patience);
    emit(ChallengeCame{challenge_, answer.challenge});
}

void Machine::respond(std::uint64_t number, std::string response, Time now) {
    if (phase_ != Phase::asking || challenge_ == 0 || number != challenge_) return;
    challenge_ = 0;
    timers_.set({Timer::attempt, 0}, now + patience);
    if (response.size() > max_credentials) response.clear();
    tell(Response{options_.key, std::move(response)}, now);
}

void Machine::on(const Detached&, Time now) {
    if (phase_ == Phase::open) attach_again(now);
}

}  // namespace cluster::client
