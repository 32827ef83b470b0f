#include "core/engine.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

/// Each so many beats the peer that was silent for longest is probed, too, so that a link which nobody uses does not
/// stay broken unnoticed.
constexpr std::uint64_t beats_per_round = 8;
/// How many others are asked about a peer that gives no sign (SWIM's k).
constexpr std::size_t witnesses = 3;
/// A peer that refuses is held for alive so long while those who were asked about it do not answer.
constexpr Duration hearing = std::chrono::milliseconds(200);
/// A mesh of n nodes needs about n times n / 2 checks, and one thread may have to do all of them: the newcomers come
/// first. One that comes alone is checked at once. A node waits until none has come for so long, for each that came
/// before it without a pause.
constexpr Duration check_delay = std::chrono::milliseconds(4);
constexpr Duration most_check_delay = std::chrono::milliseconds(100);
/// Of that time, what lies between two checks of one node.
constexpr int checks_per_delay = 10;
constexpr Duration least_check_pause = std::chrono::milliseconds(1);
/// Checks of one node that are under way: who is slow makes fewer of them.
constexpr std::size_t most_checks = 4;
/// Peers that others reach and we do not, about which is asked in each heartbeat.
constexpr std::size_t most_unreachable = 64;
/// A peer that others reach, and that this node has no link with for so long, is out of reach.
constexpr Duration reach_patience = std::chrono::seconds(5);
/// Of these, the log names so many in a minute.
constexpr std::size_t most_reach_lines = 16;
constexpr Duration reach_minute = std::chrono::minutes(1);
/// Answers that wait on one link.
constexpr std::size_t most_findings = 256;

template <class List, class Value>
bool contains(const List& list, const Value& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

/// The newest, so many that all a peer publishes are among them.
void remember(std::vector<Address>& list, const Address& address) {
    if (contains(list, address)) return;
    if (list.size() == 2 * max_addresses) list.erase(list.begin());
    list.push_back(address);
}

}  // namespace

// Probing.

/// Once per heartbeat. Each node probes the next one on the ring of ids, so that each is probed by one other in every
/// heartbeat, and the cost does not grow with their number.
void Engine::beat(Time now) {
    blocks_.rest();
    discard_unawaited();
    for (Pair* pair : view_) credit_.overdue(pair->session->share(), pair->session->user().in);
    serve_waiting(now);  // sessions that never came to anything give credit back without a word
    timers_.set({Timer::beat, 0}, now + options_.heartbeat);
    if (Pair* pair = next_on_the_ring()) probe(*pair, false, now);
    if (++beats_ % beats_per_round == 0) {
        if (Pair* pair = longest_silent()) probe(*pair, false, now);
    }
    for (Pair* pair : view_) {
        const bool owes_an_ack = !pair->session->settled() || owes_members_seen(*pair);
        if (owes_an_ack && now - pair->watch.heard >= options_.heartbeat) probe(*pair, false, now);
        if (pair->state == PeerState::suspect) ask(*pair, witnesses, now);
        if (now - pair->entered >= 2 * options_.heartbeat) pair->listed = true;
    }
    may_be_settled();
    repeat_members(now);
    std::size_t asked = 0;
    for (auto& [id, pair] : pairs_) {
        if (pair.state != PeerState::unreachable || pair.in_view) continue;
        const Duration age = now - pair.watch.vouched;
        if (age > options_.suspicion + 2 * options_.heartbeat) {
            pair.state = PeerState::failed;
            digest_.reset();
            if (pair.attachments == 0) plan_.drop(id);  // hearsay for which nobody vouches any more
            log(Severity::info, "peer_gone " + who(pair) + " why=others_do_not_hear_from_it_either");
        } else if (age >= options_.heartbeat && ++asked <= most_unreachable) {
            ask(pair, 1, now);
        }
    }
}

/// The first with a larger id, or else with the smallest, from which an answer can be expected.
Engine::Pair* Engine::next_on_the_ring() {
    const auto begin = std::upper_bound(view_.begin(), view_.end(), self().id,
                                        [](const PeerId& id, const Pair* pair) { return id < pair->id; });
    const auto usable = [&](const Pair* pair) {
        return pair->state == PeerState::alive && attached_link(*pair) != nullptr;
    };
    auto found = std::find_if(begin, view_.end(), usable);
    if (found == view_.end()) found = std::find_if(view_.begin(), begin, usable);
    return found == view_.end() ? nullptr : *found;
}

Engine::Pair* Engine::longest_silent() {
    Pair* longest = nullptr;
    for (Pair* pair : view_) {
        if (pair->watch.in_doubt() || attached_link(*pair) == nullptr) continue;
        if (longest == nullptr || pair->watch.heard < longest->watch.heard) longest = pair;
    }
    return longest;
}

/// `hearsay`: somebody else found it silent.
void Engine::probe(Pair& pair, bool hearsay, Time now) {
    Link* link = attached_link(pair);
    if (link == nullptr || pair.watch.in_doubt()) return;
    detector_.probed(pair.watch, hearsay, now);
    ++counters_.probes_sent;
    link->ping_due = true;
    ready(*link);
    timers_.set({Timer::watch, pair.number}, now + std::min(detector_.probe_timeout(), options_.heartbeat));
}

/// Bytes came from a peer in doubt, or it is attached anew.
void Engine::answered(Pair& pair, Time now) {
    detector_.answered(pair.watch, now);
    if (pair.state == PeerState::suspect) {
        pair.state = PeerState::alive;
        actions_.push_back(PeersChanged{});
        doubt_members(pair, false);
        log(Severity::info, "peer_resumed " + who(pair));
    }
    answer_askers(pair, true);
}

// From silence to a conclusion.

void Engine::review(Pair& pair, Time now) {
    if (holds_back(now)) return timers_.set({Timer::watch, pair.number}, now);
    while (pair.in_view) {
        const Detector::Judgement judgement = detector_.judge(pair.watch, attached_link(pair) != nullptr, now);
        if (judgement.next != never && judgement.next > now) {
            // Not for longer than a heartbeat: a node that is slow no more gives less time.
            timers_.set({Timer::watch, pair.number}, std::min(judgement.next, now + options_.heartbeat));
        }
        switch (judgement.verdict) {
            case Detector::Verdict::trusted:
            case Detector::Verdict::waiting: return;
            case Detector::Verdict::suspect: found_silent(pair, now); break;
            case Detector::Verdict::cut_off:
                return drop(pair.session->attached(), "silence", errc::connection_lost, now);
            case Detector::Verdict::gone: return conclude(pair, now);
        }
    }
}

/// A probe was not answered in time.
void Engine::found_silent(Pair& pair, Time now) {
    const Time since = pair.watch.suspected;
    suspect(pair, now);
    if (pair.watch.hearsay) return;
    // The others see for themselves, and who else went silent is found out at once.
    for (Pair* other : view_) {
        Link* link = attached_link(*other);
        if (other == &pair || link == nullptr) continue;
        if (other->state == PeerState::alive) inquire(*link, pair.id, false);
        if (other->watch.heard < since) probe(*other, false, now);
    }
}

/// The pair has lost its link; the peer stays in view while it is looked for.
void Engine::lost_link(Pair& pair, Time now) {
    if (!pair.in_view) return;
    pair.refused.clear();
    detector_.lost_link(pair.watch, now);
    suspect(pair, now);
    // It will not answer what it was asked about others.
    const std::vector<Pair*> view = view_;
    for (Pair* other : view) {
        if (std::erase(other->asked, pair.id) != 0) verify(*other, now);
    }
    review(pair, now);
}

void Engine::suspect(Pair& pair, Time now) {
    answer_askers(pair, false);
    if (pair.state == PeerState::suspect) return;
    pair.state = PeerState::suspect;
    ++counters_.suspicions;
    actions_.push_back(PeersChanged{});
    doubt_members(pair, true);
    log(Severity::info, "peer_suspected " + who(pair));
    ask(pair, witnesses, now);
}

/// Its time is over; it has no link, since a silent one is cut off first.
void Engine::conclude(Pair& pair, Time now) {
    if (!detector_.vouched_for(pair.watch, now)) return fail(pair, "silence", now);
    log(Severity::warning, "peer_unreachable " + who(pair) + " why=others_hear_from_it");
    leave_view(pair, RemovalReason::unreachable, now);
    expect_link(pair, now);
    left_due_ = leaving_;
}

void Engine::fail(Pair& pair, std::string_view why, Time now) {
    ++counters_.failures;
    log(Severity::warning, "peer_failed " + who(pair) + " why=" + std::string(why));
    leave_view(pair, RemovalReason::failed, now);
    left_due_ = leaving_;
}

/// A node that did not run for a while has not read yet what others said meanwhile: for a moment it judges nobody.
bool Engine::holds_back(Time now) {
    if (now < held_back_until_) return true;
    const Time due = std::max(held_back_until_, std::min(timers_.next(), plan_.next()));
    if (due >= now || now - due <= detector_.tolerance()) return false;
    was_late(now - due, now);
    // Whoever is always late must get on, too.
    held_back_until_ = held_back_ ? now : now + detector_.tolerance();
    return !std::exchange(held_back_, true);
}

/// This node did not run for so long: nobody could answer it. Whatever it waits for gets as much more time, though not
/// more than if it began to wait now.
void Engine::was_late(Duration lag, Time now) {
    detector_.slower();
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(lag).count();
    log(Severity::debug, "late milliseconds=" + std::to_string(milliseconds));
    for (Pair* pair : view_) {
        Detector::forgive(pair->watch, lag, now);
        pair->asked_until = std::min(pair->asked_until + lag, now + hearing);
    }
    // Who was to dial us may have done so meanwhile.
    for (auto& [id, pair] : pairs_) {
        if (!pair.in_view) pair.named = std::max(pair.named, std::min(pair.named + lag, now));
    }
    plan_.forgive(lag, now);
    timers_.postpone([&](Key key, Time at) {
        Time most = at;
        if (key.kind == Timer::link) {
            if (const Link* link = find(key.id)) most = now + patience(*link);
        } else if (key.kind == Timer::resume) {
            if (const auto found = numbered_.find(key.id); found != numbered_.end()) {
                most = now + found->second->resume_for;
            }
        } else if (key.kind == Timer::request) {
            most = now + options_.connect_timeout;
        }
        return std::min(at + lag, most);
    });
}

// Asking others.

/// Asks so many others whether they hear from the peer. Whoever was asked before does not matter any more.
void Engine::ask(Pair& pair, std::size_t how_many, Time now) {
    pair.asked.clear();
    pair.heard_elsewhere = false;
    std::vector<Pair*> others;
    for (Pair* other : view_) {
        if (other != &pair && other->state == PeerState::alive && attached_link(*other) != nullptr) {
            others.push_back(other);
        }
    }
    for (; !others.empty() && pair.asked.size() < how_many;) {
        const auto pick = others.begin() + static_cast<std::ptrdiff_t>(dice_.below(others.size()));
        inquire(*attached_link(**pick), pair.id, true);
        pair.asked.push_back((*pick)->id);
        others.erase(pick);
    }
    pair.asked_until = now + hearing;
    if (pair.in_view) timers_.set({Timer::inquiry, pair.number}, pair.asked_until);
}

void Engine::inquire(Link& link, const PeerId& id, bool wants_answer) {
    const auto found =
        std::find_if(link.inquiries.begin(), link.inquiries.end(), [&](const Inquiry& each) { return each.id == id; });
    if (found == link.inquiries.end()) {
        link.inquiries.push_back({id, wants_answer});
    } else if (wants_answer) {
        found->wants_answer = true;
    }
    ready(link);
}

void Engine::on(Link& link, Inquiry&& inquiry, Time now) {
    if (!usable(link, now)) return;
    if (inquiry.id == self().id || inquiry.id == link.pair->id) return;
    const auto found = pairs_.find(inquiry.id);
    Pair* pair = found == pairs_.end() ? nullptr : &found->second;
    const bool can_tell = pair != nullptr && pair->state == PeerState::alive && attached_link(*pair) != nullptr;
    if (can_tell) probe(*pair, true, now);
    if (!inquiry.wants_answer) return;
    if (!can_tell) {
        tell(link, inquiry.id, false);
    } else if (!contains(pair->askers, link.pair->id)) {
        pair->askers.push_back(link.pair->id);
    }
}

void Engine::answer_askers(Pair& pair, bool heard) {
    for (const PeerId& asker : std::exchange(pair.askers, {})) {
        const auto found = pairs_.find(asker);
        Link* link = found == pairs_.end() ? nullptr : attached_link(found->second);
        if (link != nullptr) tell(*link, pair.id, heard);
    }
}

void Engine::tell(Link& link, const PeerId& id, bool heard) {
    std::erase_if(link.findings, [&](const Finding& each) { return each.id == id; });
    if (link.findings.size() == most_findings) return;  // whoever asks so much and does not read waits in vain
    link.findings.push_back({id, heard});
    ready(link);
}

void Engine::on(Link& link, Finding&& finding, Time now) {
    if (!usable(link, now)) return;
    const auto found = pairs_.find(finding.id);
    if (found == pairs_.end()) return;
    Pair& pair = found->second;
    if (std::erase(pair.asked, link.pair->id) == 0) return;  // nobody asked
    if (finding.heard) {
        pair.heard_elsewhere = true;
        vouch(pair, now);
        const bool met = pair.in_view || pair.attachments != 0 || !pair.links.empty();
        if (!met) plan_.hear(pair.id, link.pair->id, addresses_of(pair.id), now);
    }
    verify(pair, now);
}

/// Another peer hears from it: whatever this node sees, it exists.
void Engine::vouch(Pair& pair, Time now) {
    pair.watch.vouched = now;
    if (pair.in_view || pair.state == PeerState::unreachable) return;
    pair.state = PeerState::unreachable;
    digest_.reset();
}

/// Others reach it: if this node still does not after a while, somebody has to know.
void Engine::expect_link(const Pair& pair, Time now) {
    if (!pair.told_out_of_reach) timers_.set_no_later({Timer::reach, pair.number}, now + reach_patience);
}

void Engine::out_of_reach(Pair& pair, Time now) {
    if (pair.in_view || pair.told_out_of_reach || pair.state != PeerState::unreachable || leaving_) return;
    if (now - reach_lines_since_ >= reach_minute) {
        reach_lines_ = 0;
        reach_lines_since_ = now;
    }
    // Links may still be on their way, as while a mesh forms; and anybody may tell of any number of peers.
    const errc why = why_out_of_view(pair);
    const bool forming = !pair.links.empty() || now - last_added_ < reach_patience;
    if (why == errc{} || forming || reach_lines_ == most_reach_lines) {
        timers_.set({Timer::reach, pair.number}, now + reach_patience);
        return;
    }
    ++reach_lines_;
    pair.told_out_of_reach = true;
    log(Severity::warning, "peer_out_of_reach " + who(pair) + " why=\"" + make_error_code(why).message() + '"');
}

errc Engine::why_out_of_view(const Pair& pair) const {
    return pair.trouble == errc{} && addresses_of(pair.id).empty() ? errc::no_address : pair.trouble;
}

// From refusals to a conclusion.

/// Remembers that the peer was found at `address` by dialling it.
void Engine::found_at(Pair& pair, const Address& address) {
    std::erase(pair.barren, address);
    remember(pair.proven, address);
}

/// A dial of `address` has read who answers there. If others were found there before, it leads to more than one, or
/// not to them any more: in either case it tells nothing about them from now on. A peer in view that it has refused
/// since is not saved by who took its place.
void Engine::leads_to(const Address& address, const PeerId& found, Time now) {
    for (auto& [id, pair] : pairs_) {
        if (id == found || (pair.in_view && contains(pair.refused, address))) continue;
        if (std::erase(pair.proven, address) != 0 && pair.proven.empty() && pair.in_view) check_soon(pair, now);
    }
}

/// A dial from before a peer lost its link says nothing about it.
void Engine::came_to_nothing(const Attempt& attempt, Time now) {
    if (attempt.sought) {
        const auto found = pairs_.find(*attempt.sought);
        if (found != pairs_.end()) remember(found->second.barren, attempt.address);
    }
    const std::vector<Pair*> view = view_;
    for (Pair* pair : view) {
        if (pair->state != PeerState::suspect || attempt.begun < pair->watch.suspected) continue;
        if (!contains(pair->proven, attempt.address) && !contains(addresses_of(pair->id), attempt.address)) continue;
        if (attempt.refused) remember(pair->refused, attempt.address);
        verify(*pair, now);
    }
}

/// The dial that begins now is for `sought`.
void Engine::await_dial(const PeerId& sought, Time now) {
    const auto found = pairs_.find(sought);
    if (found == pairs_.end() || found->second.state != PeerState::suspect) return;
    timers_.set_no_later({Timer::inquiry, found->second.number}, now + hearing);
}

/// When a dial of `address` that has begun since the peer lost its link may count as not answered; `never` before one
/// has begun.
Time Engine::tried_by(const Pair& pair, const Address& address) const {
    if (contains(pair.refused, address) || contains(pair.barren, address) || occupied(pair.id, address)) return {};
    Time first = never;
    for (const auto& [id, link] : links_) {
        if (link.target == 0 || link.wanted != address || link.begun < pair.watch.suspected) continue;
        first = std::min<Time>(first, link.begun + hearing);
    }
    return first;
}

/// A peer without a link is gone when it refuses wherever it was found before, is not where else it says it is, and
/// nobody who was asked heard from it. One that was never found by dialling may sit behind a device that refuses in its
/// place: that proves nothing.
void Engine::verify(Pair& pair, Time now) {
    if (!pair.in_view || pair.state != PeerState::suspect || attached_link(pair) != nullptr) return;
    const auto is_refused = [&](const Address& address) { return contains(pair.refused, address); };
    if (pair.proven.empty() || !std::all_of(pair.proven.begin(), pair.proven.end(), is_refused)) return;
    if (pair.heard_elsewhere) return;
    if (holds_back(now)) return timers_.set({Timer::inquiry, pair.number}, now);
    Time until{};
    if (!leaving_ && !pair.asked.empty()) until = pair.asked_until;
    for (const Address& address : addresses_of(pair.id)) until = std::max(until, tried_by(pair, address));
    if (now < until) {
        if (until != never) timers_.set({Timer::inquiry, pair.number}, until);
        return;
    }
    fail(pair, "refused_everywhere", now);
}

/// The peer has dialled us, so nobody knows yet where it can be dialled. Newcomers come first, but they do not keep us
/// from checking for longer than a death would go unnoticed without it.
void Engine::check_soon(const Pair& pair, Time now) {
    if (leaving_) return;
    if (now - last_newcomer_ >= options_.heartbeat) newcomers_ = 0;
    ++newcomers_;
    last_newcomer_ = now;
    if (unproven_.empty()) unproven_since_ = now;
    if (!contains(unproven_, pair.id)) unproven_.push_back(pair.id);
    const Time latest = unproven_since_ + options_.suspicion;
    timers_.set({Timer::check, 0}, std::max(now, std::min(now + check_pause(), latest)));
}

Duration Engine::check_pause() const {
    return std::min<Duration>(check_delay * (newcomers_ - 1), most_check_delay);
}

/// Dials one of the peers that dialled us: should it die, its refusal will mean something. While a mesh forms, links
/// that are still missing come first.
void Engine::check_somebody(Time now) {
    const Time latest = unproven_since_ + options_.suspicion;
    if (now < latest && !all_tried()) return timers_.set({Timer::check, 0}, std::min(now + most_check_delay, latest));
    while (!unproven_.empty() && plan_.checks() < most_checks) {
        const PeerId id = unproven_.front();
        unproven_.pop_front();
        const auto found = pairs_.find(id);
        if (found == pairs_.end() || !found->second.in_view || !found->second.proven.empty()) continue;
        plan_.check(id, addresses_of(id), now);
        break;
    }
    const Duration pause = std::max<Duration>(check_pause() / checks_per_delay, least_check_pause);
    if (!unproven_.empty()) timers_.set({Timer::check, 0}, now + pause);
}

}  // namespace cluster::core
