#include "core/suspicions.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace cluster::core {

namespace {

/// Once in this many beats, the peer that was silent for longest is probed, too. So a link that nobody uses does not
/// stay broken unnoticed.
constexpr std::uint64_t beats_per_round = 8;
/// How many others are asked about a peer that gives no sign (SWIM's k).
constexpr std::size_t witnesses = 3;
/// How many peers that others reach and we do not are asked about in each heartbeat.
constexpr std::size_t most_unreachable = 64;
/// A peer that others reach is out of reach when this node has had no link with it for this long.
constexpr Duration reach_patience = std::chrono::seconds(5);
/// How many peers out of reach the log names in a minute.
constexpr std::size_t most_reach_lines = 16;
constexpr Duration reach_minute = std::chrono::minutes(1);

template <class List, class Value>
bool contains(const List& list, const Value& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

/// Keeps the newest, and enough of them for all addresses that a peer publishes.
void remember(std::vector<Address>& list, const Address& address) {
    if (contains(list, address)) return;
    if (list.size() == 2 * max_addresses) list.erase(list.begin());
    list.push_back(address);
}

}  // namespace

std::optional<Conclusion> Suspicions::take_conclusion() {
    if (conclusions_.empty()) return std::nullopt;
    const Conclusion first = conclusions_.front();
    conclusions_.erase(conclusions_.begin());
    return first;
}

void Suspicions::conclude(const Pair& pair, Conclusion::What what, std::string_view why) {
    conclusions_.push_back({pair.id, what, why});
}

// Probing.

void Suspicions::beat(Time now) {
    if (Pair* pair = next_on_the_ring()) probe(*pair, false, now);
    if (++beats_ % beats_per_round == 0) {
        if (Pair* pair = longest_silent()) probe(*pair, false, now);
    }
    for (Pair* pair : peers_.view) {
        const bool owes_an_ack = pair->session->owed_acknowledgement() || members_.owes_an_answer(*pair);
        if (owes_an_ack && now - pair->watch.heard >= options_.heartbeat) probe(*pair, false, now);
        if (pair->state == PeerState::suspect) ask(*pair, witnesses, now);
    }
}

void Suspicions::ask_about_unreachable(Time now) {
    std::size_t asked = 0;
    for (auto& [id, pair] : peers_.pairs) {
        if (pair.state != PeerState::unreachable || pair.in_view) continue;
        const Duration age = now - pair.watch.vouched;
        if (age > options_.suspicion + 2 * options_.heartbeat) {
            pair.state = PeerState::failed;
            peers_.existence_changed();
            if (pair.attachments == 0) plan_.drop(id);  // hearsay for which nobody vouches any more
            log(LogLevel::info, "peer_gone " + peers_.who(pair) + " why=others_do_not_hear_from_it_either");
        } else if (age >= options_.heartbeat && ++asked <= most_unreachable) {
            ask(pair, 1, now);
        }
    }
}

/// The first with a larger id, or else the one with the smallest, of those from which an answer can be expected.
Pair* Suspicions::next_on_the_ring() {
    const auto begin = std::upper_bound(peers_.view.begin(), peers_.view.end(), roster_.self().id,
                                        [](const PeerId& id, const Pair* pair) { return id < pair->id; });
    const auto usable = [&](const Pair* pair) {
        return pair->state == PeerState::alive && peers_.attached_link(*pair) != nullptr;
    };
    auto found = std::find_if(begin, peers_.view.end(), usable);
    if (found == peers_.view.end()) found = std::find_if(peers_.view.begin(), begin, usable);
    return found == peers_.view.end() ? nullptr : *found;
}

Pair* Suspicions::longest_silent() {
    Pair* longest = nullptr;
    for (Pair* pair : peers_.view) {
        if (pair->watch.in_doubt() || peers_.attached_link(*pair) == nullptr) continue;
        if (longest == nullptr || pair->watch.heard < longest->watch.heard) longest = pair;
    }
    return longest;
}

void Suspicions::probe(Pair& pair, bool hearsay, Time now) {
    Link* link = peers_.attached_link(pair);
    if (link == nullptr || pair.watch.in_doubt()) return;
    detector_.probed(pair.watch, hearsay, now);
    ++counters_.probes_sent;
    link->due.ping = true;
    peers_.ready(*link);
    timers_.set({Timer::watch, pair.number}, now + std::min(detector_.probe_timeout(), options_.heartbeat));
}

void Suspicions::on(Link& link, const Pong& pong, Time now) {
    const bool asked = link.ping_sequence != 0;
    if (asked && pong.sequence == link.ping_sequence) link.pair->round_trip = now - link.ping_sent;
}

// From silence to a conclusion.

void Suspicions::answered(Pair& pair, Time now) {
    detector_.answered(pair.watch, now);
    if (pair.state == PeerState::suspect) {
        pair.state = PeerState::alive;
        actions_.push_back(PeersChanged{});
        members_.in_doubt(pair, false);
        log(LogLevel::info, "peer_resumed " + peers_.who(pair));
    }
    answer_askers(pair, true);
}

void Suspicions::review(Pair& pair, Time now) {
    if (patience_.holds_back(now)) return timers_.set({Timer::watch, pair.number}, now);
    while (pair.in_view) {
        const Detector::Judgement judgement = detector_.judge(pair.watch, peers_.attached_link(pair) != nullptr, now);
        if (judgement.next != never && judgement.next > now) {
            // Not for longer than a heartbeat: when this node is no longer slow, it gives less time.
            timers_.set({Timer::watch, pair.number}, std::min(judgement.next, now + options_.heartbeat));
        }
        switch (judgement.verdict) {
            case Detector::Verdict::trusted:
            case Detector::Verdict::waiting: return;
            case Detector::Verdict::suspect: found_silent(pair, now); break;
            case Detector::Verdict::cut_off: return conclude(pair, Conclusion::What::cut_off, "silence");
            // A silent link is cut off first, so there is none.
            case Detector::Verdict::gone:
                return detector_.vouched_for(pair.watch, now)
                           ? conclude(pair, Conclusion::What::unreachable, "others_hear_from_it")
                           : conclude(pair, Conclusion::What::failed, "silence");
        }
    }
}

/// A probe was not answered in time.
void Suspicions::found_silent(Pair& pair, Time now) {
    const Time since = pair.watch.suspected;
    suspect(pair, now);
    if (pair.watch.hearsay) return;
    // The others probe it themselves. Peers not heard since are probed now, to find out who else went silent.
    for (Pair* other : peers_.view) {
        Link* link = peers_.attached_link(*other);
        if (other == &pair || link == nullptr) continue;
        if (other->state == PeerState::alive) {
            link->due.inquire(pair.id, false);
            peers_.ready(*link);
        }
        if (other->watch.heard < since) probe(*other, false, now);
    }
}

void Suspicions::lost_link(Pair& pair, Time now) {
    if (!pair.in_view) return;
    pair.refused.clear();
    detector_.lost_link(pair.watch, now);
    suspect(pair, now);
    // It will not answer questions about others any more.
    const std::vector<Pair*> view = peers_.view;
    for (Pair* other : view) {
        if (std::erase(other->asked, pair.id) != 0) verify(*other, now);
    }
    review(pair, now);
}

void Suspicions::suspect(Pair& pair, Time now) {
    answer_askers(pair, false);
    if (pair.state == PeerState::suspect) return;
    pair.state = PeerState::suspect;
    ++counters_.suspicions;
    actions_.push_back(PeersChanged{});
    members_.in_doubt(pair, true);
    log(LogLevel::info, "peer_suspected " + peers_.who(pair));
    ask(pair, witnesses, now);
}

// Asking others.

/// Asks `how_many` peers whether they hear from this one. Peers that were asked before no longer count.
void Suspicions::ask(Pair& pair, std::size_t how_many, Time now) {
    pair.asked.clear();
    pair.heard_elsewhere = false;
    std::vector<Pair*> others;
    for (Pair* other : peers_.view) {
        const bool answers = other->are_peers() && other->state == PeerState::alive;
        if (other != &pair && answers && peers_.attached_link(*other) != nullptr) {
            others.push_back(other);
        }
    }
    for (; !others.empty() && pair.asked.size() < how_many;) {
        const auto pick = others.begin() + static_cast<std::ptrdiff_t>(dice_.below(others.size()));
        Link& link = *peers_.attached_link(**pick);
        link.due.inquire(pair.id, true);
        peers_.ready(link);
        pair.asked.push_back((*pick)->id);
        others.erase(pick);
    }
    pair.asked_until = now + Detector::hearing;
    if (pair.in_view) timers_.set({Timer::inquiry, pair.number}, pair.asked_until);
}

void Suspicions::on(Link& link, const Inquiry& inquiry, Time now) {
    if (inquiry.id == roster_.self().id || inquiry.id == link.pair->id) return;
    Pair* pair = peers_.find(inquiry.id);
    const bool can_tell = pair != nullptr && pair->state == PeerState::alive && peers_.attached_link(*pair) != nullptr;
    if (can_tell) probe(*pair, true, now);
    if (!inquiry.wants_answer) return;
    if (!can_tell) {
        tell(link, inquiry.id, false);
    } else if (!contains(pair->askers, link.pair->id)) {
        pair->askers.push_back(link.pair->id);
    }
}

void Suspicions::on(Link& link, const Finding& finding, Time now) {
    Pair* const found = peers_.find(finding.id);
    if (found == nullptr) return;
    Pair& pair = *found;
    if (std::erase(pair.asked, link.pair->id) == 0) return;  // nobody asked
    if (finding.heard) {
        pair.heard_elsewhere = true;
        vouch(pair, now);
        const bool met = pair.in_view || pair.attachments != 0 || !pair.links.empty();
        if (!met) plan_.hear(pair.id, link.pair->id, peers_.addresses_of(pair.id), now);
    }
    verify(pair, now);
}

void Suspicions::answer_askers(Pair& pair, bool heard) {
    for (const PeerId& asker : std::exchange(pair.askers, {})) {
        const Pair* other = peers_.find(asker);
        Link* link = other == nullptr ? nullptr : peers_.attached_link(*other);
        if (link != nullptr) tell(*link, pair.id, heard);
    }
}

void Suspicions::tell(Link& link, const PeerId& id, bool heard) {
    if (link.due.answer(id, heard)) peers_.ready(link);
}

void Suspicions::vouch(Pair& pair, Time now) {
    pair.watch.vouched = now;
    if (pair.in_view || pair.state == PeerState::unreachable) return;
    pair.state = PeerState::unreachable;
    peers_.existence_changed();
}

void Suspicions::expect_link(const Pair& pair, Time now) {
    if (!pair.told_out_of_reach) timers_.set_no_later({Timer::reach, pair.number}, now + reach_patience);
}

void Suspicions::out_of_reach(Pair& pair, Time now) {
    if (pair.in_view || pair.told_out_of_reach || pair.state != PeerState::unreachable || leaving_) return;
    if (now - reach_lines_since_ >= reach_minute) {
        reach_lines_ = 0;
        reach_lines_since_ = now;
    }
    // Links may still be on their way, for instance while a mesh forms. And anybody may tell of any number of peers.
    const errc why = peers_.why_out_of_view(pair);
    const bool forming = !pair.links.empty() || now - peers_.last_shown < reach_patience;
    if (why == errc{} || forming || reach_lines_ == most_reach_lines) {
        timers_.set({Timer::reach, pair.number}, now + reach_patience);
        return;
    }
    ++reach_lines_;
    pair.told_out_of_reach = true;
    log(LogLevel::warning, "peer_out_of_reach " + peers_.who(pair) + " why=\"" + make_error_code(why).message() + '"');
}

// From refusals to a conclusion.

void Suspicions::found_at(Pair& pair, const Address& address) {
    std::erase(pair.barren, address);
    remember(pair.proven, address);
}

void Suspicions::leads_to(const Address& address, const PeerId& found, Time now) {
    for (auto& [id, pair] : peers_.pairs) {
        if (id == found || (pair.in_view && contains(pair.refused, address))) continue;
        if (std::erase(pair.proven, address) != 0 && pair.proven.empty() && pair.in_view) checks_.add(pair, now);
    }
}

void Suspicions::came_to_nothing(const Attempt& attempt, Time now) {
    if (attempt.sought) {
        if (Pair* pair = peers_.find(*attempt.sought)) remember(pair->barren, attempt.address);
    }
    const std::vector<Pair*> view = peers_.view;
    for (Pair* pair : view) {
        if (pair->state != PeerState::suspect || attempt.begun < pair->watch.suspected) continue;
        if (!contains(pair->proven, attempt.address) && !contains(peers_.addresses_of(pair->id), attempt.address))
            continue;
        if (attempt.refused) remember(pair->refused, attempt.address);
        verify(*pair, now);
    }
}

void Suspicions::await_dial(const PeerId& sought, Time now) {
    const Pair* pair = peers_.find(sought);
    if (pair == nullptr || pair->state != PeerState::suspect) return;
    timers_.set_no_later({Timer::inquiry, pair->number}, now + Detector::hearing);
}

/// When a dial of `address` may count as not answered. Only dials count that have begun since the peer lost its link;
/// `never` before one has begun.
Time Suspicions::tried_by(const Pair& pair, const Address& address) const {
    if (contains(pair.refused, address) || contains(pair.barren, address) || peers_.occupied(pair.id, address))
        return {};
    Time first = never;
    for (const LinkId id : peers_.strangers) {
        const Link& link = peers_.links.at(id);
        if (link.target == 0 || link.wanted != address || link.begun < pair.watch.suspected) continue;
        first = std::min<Time>(first, link.begun + Detector::hearing);
    }
    return first;
}

void Suspicions::verify(Pair& pair, Time now) {
    if (!pair.in_view || pair.state != PeerState::suspect || peers_.attached_link(pair) != nullptr) return;
    const auto is_refused = [&](const Address& address) { return contains(pair.refused, address); };
    if (pair.proven.empty() || !std::all_of(pair.proven.begin(), pair.proven.end(), is_refused)) return;
    if (pair.heard_elsewhere) return;
    if (patience_.holds_back(now)) return timers_.set({Timer::inquiry, pair.number}, now);
    Time until{};
    if (!leaving_ && !pair.asked.empty()) until = pair.asked_until;
    for (const Address& address : peers_.addresses_of(pair.id)) until = std::max(until, tried_by(pair, address));
    if (now < until) {
        if (until != never) timers_.set({Timer::inquiry, pair.number}, until);
        return;
    }
    conclude(pair, Conclusion::What::failed, "refused_everywhere");
}

}  // namespace cluster::core
