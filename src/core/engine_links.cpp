#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace cluster::core {

namespace {

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
    return errc::connection_refused;  // a reason of a later version
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
    return reason == Refusal::duplicate || reason == Refusal::over || reason == Refusal::leaving ||
           reason == Refusal::self;
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
        found->second.resume_for = options_.resume_for;
        numbered_[found->second.number] = &found->second;
    }
    return found->second;
}

Engine::Link& Engine::open(LinkId id, const Address& remote) {
    Link& link = links_[id];
    link.id = id;
    link.remote = remote;
    options_.random(link.our_nonce);
    return link;
}

/// Links that others made, and ours if wanted, that carry no session.
std::size_t Engine::unattached(bool accepted_only) const {
    return static_cast<std::size_t>(std::count_if(links_.begin(), links_.end(), [&](const auto& entry) {
        const Link& link = entry.second;
        if (accepted_only && link.dialled) return false;
        return link.state != LinkState::attached && link.state != LinkState::parting;
    }));
}

/// Sees to it that there is room for one more link that is not attached, from `host`. Links that are count apart. There
/// may be as many as peers and 64 more, half of those from one host. Of the host with most the oldest goes, or of all
/// if hosts have equally many. A greeting takes a few round trips, so an honest one has been through by then.
void Engine::admit(const std::string& host, Time now) {
    const std::size_t most = options_.max_peers + 64;
    if (unattached(true) < most / 2) return;
    struct Host {
        std::size_t links = 0;
        LinkId oldest = 0;
    };
    std::map<std::string_view, Host> hosts;
    std::size_t all = 0;
    for (const auto& [id, link] : links_) {
        if (link.dialled || link.state == LinkState::attached || link.state == LinkState::parting) continue;
        Host& each = hosts[link.remote.host];
        each.oldest = each.links++ == 0 ? id : std::min(each.oldest, id);
        ++all;
    }
    LinkId victim = 0;
    const auto own = hosts.find(host);
    if (own != hosts.end() && own->second.links >= most / 2) {
        victim = own->second.oldest;
    } else if (all >= most) {
        victim = std::max_element(hosts.begin(), hosts.end(), [](const auto& a, const auto& b) {
                     return std::pair(a.second.links, b.second.oldest) < std::pair(b.second.links, a.second.oldest);
                 })->second.oldest;
    }
    if (victim == 0) return;
    actions_.push_back(
        LogLine{.severity = Severity::warning,
                .text = "link_rejected address=" + token(links_.at(victim).remote) + " why=too_many_links",
                .cause = "link_rejected",
                .stranger = true});
    drop(victim, "", errc::connection_lost, now);
}

LinkId Engine::accepted(const Address& remote, Time now) {
    if (left_) return 0;
    admit(remote.host, now);
    Link& link = open(++last_number_, remote);
    ++counters_.links_accepted;
    greet(link, now);
    return link.id;
}

void Engine::connected(LinkId id, const Address& remote, Time now) {
    Link* link = find(id);
    if (link == nullptr || link->state != LinkState::dialling) return;
    link->remote = remote;
    plan_.connected({link->target, link->round});
    greet(*link, now);
}

void Engine::greet(Link& link, Time now) {
    link.state = LinkState::greeting;
    link.hello_due = true;
    timers_.set({Timer::link, link.id}, now + patience(link));
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
    const DialPlan::Kind kind = plan_.kind(target);
    if (kind == DialPlan::Kind::seed && link.pair != nullptr && attached_link(*link.pair) != nullptr) {
        may_be_settled();
        return plan_.answered({target, link.round}, link.pair->id, now);  // its peer is linked in another way
    }
    ++counters_.dials_failed;
    const auto* bound = plan_.bound(target);
    const std::optional<PeerId> sought =
        bound != nullptr && DialPlan::is_for_peer(kind) ? *bound : std::optional<PeerId>();
    // Only the address itself can say that nobody is there: who answers in place of the one that is sought, be it this
    // node, is evidence against nobody.
    const bool refused = link.state == LinkState::dialling && error == errc::connection_refused;
    const Attempt attempt{link.wanted, link.begun, refused, sought};
    if (const auto round = plan_.failed({target, link.round}, error, now)) round_failed(*round, now);
    came_to_nothing(attempt, now);
}

/// Forgets the link; the driver closes its socket without another word.
void Engine::close(Link& link) {
    const LinkId id = link.id;
    timers_.cancel({Timer::link, id});
    actions_.push_back(Close{id, false});
    links_.erase(id);
}

/// Ends a link from this side.
void Engine::drop(LinkId id, std::string_view why, errc error, Time now) {
    Link* link = find(id);
    if (link == nullptr) return;
    if (!why.empty()) {
        log(link->state == LinkState::attached && why != "replaced" ? Severity::warning : Severity::info, *link,
            "link_closed", "why=" + std::string(why));
    }
    if (link->pair != nullptr) link->pair->trouble = error;
    end_target(*link, error, now);
    unlink(*link, now);
    if (Link* still = find(id)) close(*still);
    left_due_ = leaving_;
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
        case LinkState::greeting: {
            // Whoever named the address learns that nobody greeted there; a peer that is sought may yet be there.
            const bool sought = plan_.kind(link->target) == DialPlan::Kind::peer;
            drop(id, "no_hello", sought ? errc::connection_lost : errc::not_a_cluster_node, now);
            return;
        }
        default: {
            // The one with the smaller id closes what it does not need: a link beside the one in use, or that one, for
            // another over which it goes on.
            const bool another = pair != nullptr && pair->links.size() > 1;
            const bool used = link->state == LinkState::attached;
            drop(id, !another ? "lost" : used ? "replaced" : "redundant", errc::connection_lost, now);
            return;
        }
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
            pair->known += now - pair->entered;
            timers_.cancel({Timer::ack, pair->number});
        }
        if (session->attached() == 0 && session->attaching() == 0) {
            credit_.lend_permit(session->share());
            serve_waiting(now);
        }
        // It may have been fenced already for an ATTACH that now came to nothing.
        if (session->attached() == 0 && session->attaching() == 0 && session->token() && session->defended()) {
            if (!timers_.pending({Timer::resume, pair->number})) {
                timers_.set({Timer::resume, pair->number}, now + pair->resume_for);
            }
            lost_link(*pair, now);
        }
    }
    if (pair->links.empty()) {
        plan_.released(pair->id, pair->in_view, now);
        idle_.push_back(pair->id);
        may_be_settled();
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
        if (pair.session) {
            credit_.release(pair.session->share(), pair.session->user().in);
            numbered_.erase(pair.session->number());
        }
        numbered_.erase(pair.number);
        plan_.drop(id);
        roster_.forget(id);
        pairs_.erase(found);
    }
}

// What comes in.

bool Engine::received(LinkId id, Control&& frame, Time now) {
    Link* link = find(id);
    if (link == nullptr) return false;
    if (link->state == LinkState::refusing) return true;
    if (link->state == LinkState::attached) {
        heard(*link->pair, now);
        if (!link->completed) completed(*link, now);
    }
    std::visit([&](auto&& each) { on(*link, std::move(each), now); }, std::move(frame));
    return links_.contains(id);
}

void Engine::violated(LinkId id, Rule rule, Time now) {
    if (Link* link = find(id)) break_rule(*link, rule, now);
}

void Engine::break_rule(Link& link, Rule rule, Time now) {
    ++counters_.protocol_errors;
    log(Severity::warning, link, "protocol_error", "rule=" + std::string(core::to_string(rule)));
    const bool greeting = link.state == LinkState::greeting;
    drop(link.id, "", greeting ? errc::not_a_cluster_node : errc::protocol_error, now);
}

void Engine::on(Link& link, Hello&& hello, Time now) {
    if (link.state != LinkState::greeting) return break_rule(link, Rule::unexpected_frame, now);
    if (link.dialled) leads_to(link.wanted, hello.self.id, now);
    if (const auto reason = objection(link, hello)) {
        std::optional<Proof> proof;
        if (Roster::Parted* parted = roster_.parted(hello.self.id);
            *reason == Refusal::removed && parted != nullptr && parted->token && !parted->told) {
            proof = prove(*parted->token, link.our_nonce, hello.nonce, ProofUse::removed);
        }
        std::string details = " name=" + quoted(hello.self.name);
        if (*reason == Refusal::cluster) {
            details += " ours=" + quoted(options_.cluster) + " theirs=" + quoted(hello.cluster);
        } else if (*reason == Refusal::version) {
            details += " ours=" + std::to_string(protocol_version) + " theirs=" + std::to_string(hello.version_min) +
                       '-' + std::to_string(hello.version_max);
        }
        return refuse(link, *reason, now, proof, details);
    }
    if (requested(link) != nullptr) {
        roster_.unblock(hello.self.id);
        roster_.unblock(hello.self.addresses);
    }
    const PeerId id = hello.self.id;
    Pair& pair = pair_of(id);
    if (plan_.kind(link.target) == DialPlan::Kind::check && **plan_.bound(link.target) == id) {
        found_at(pair, link.wanted);
        plan_.drop(std::exchange(link.target, 0));
        if (attached_link(pair) != nullptr) return close(link);
    }
    if (plan_.kind(link.target) == DialPlan::Kind::seed && attached_link(pair) != nullptr) {
        if (publishes(id, link.wanted)) found_at(pair, link.wanted);
        plan_.answered({std::exchange(link.target, 0), link.round}, id, now);
        may_be_settled();
        return close(link);
    }
    link.pair = &pair;
    link.peer_nonce = hello.nonce;
    link.hello = std::make_unique<Hello>(std::move(hello));  // believed once it is attached
    pair.links.push_back(link.id);
    if (pair.links.size() == 1) plan_.engaged(id);
    bind_target(link, pair, now);
    timers_.set({Timer::link, link.id}, now + patience(link));
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
    // A seed's dial has its answer when the peer is linked.
    if (link.target == 0 || plan_.kind(link.target) == DialPlan::Kind::seed) return;
    const auto* wanted = plan_.bound(link.target);
    if (wanted != nullptr && DialPlan::is_for_peer(plan_.kind(link.target)) && **wanted != pair.id) {
        end_target(link, errc::not_in_view, now);
        return;
    }
    if (Request* request = requested(link)) request->peer = pair.id;
    plan_.answered({std::exchange(link.target, 0), link.round}, pair.id, now);
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
        if (!met(id) && roster_.blocked(hello.self.addresses)) return Refusal::removed;
    }
    const auto found = pairs_.find(id);
    if (leaving_ && !(found != pairs_.end() && found->second.in_view)) return Refusal::leaving;
    if (full(found == pairs_.end() ? nullptr : &found->second)) return Refusal::full;
    return std::nullopt;
}

/// Whether there is no place for this pair, or for a newcomer. Peers in view count, and those to which a session is
/// being attached. Who has a session always has a place.
bool Engine::full(const Pair* pair) const {
    if (pair != nullptr && (pair->in_view || (pair->session && pair->session->token()))) return false;
    std::size_t taken = view_.size();
    if (taken + links_.size() < options_.max_peers) return false;
    for (const auto& [id, link] : links_) {
        if (link.state == LinkState::attaching && !link.pair->in_view) ++taken;
    }
    return taken >= options_.max_peers;
}

/// Whether, with `more`, there are more peers than this node remembers. Strangers who only greet do not count.
bool Engine::crowded(std::size_t more) const {
    const std::size_t all = pairs_.size() + more;
    return all > max_known() && all > max_known() + unattached(false);
}

/// Peers out of view are remembered, too, but not without end. First to go are those that never were in view, then
/// those that were attached for the shortest time in all. False if nobody can be forgotten.
bool Engine::forget_one(Time now) {
    const auto worth = [](const Pair& pair) {
        return std::tuple(pair.session && pair.session->token(), pair.known, pair.watch.heard);
    };
    auto least = pairs_.end();
    for (auto each = pairs_.begin(); each != pairs_.end(); ++each) {
        if (each->second.in_view || !each->second.links.empty()) continue;
        if (least == pairs_.end() || worth(each->second) < worth(least->second)) least = each;
    }
    if (least == pairs_.end()) return false;
    Pair& pair = least->second;
    const std::optional<Token> token = pair.session ? pair.session->token() : std::nullopt;
    drop_session(pair, 0, RemovalReason::failed, errc::too_many_peers, now);
    if (token) forgotten_.remember(pair.id, {*token, pair.unsettled, pair.known});
    numbered_.erase(pair.number);
    plan_.drop(pair.id);
    roster_.forget(pair.id);
    pairs_.erase(least);
    return true;
}

void Engine::cancel_timers(const Pair& pair) {
    for (const Timer kind :
         {Timer::ack, Timer::watch, Timer::inquiry, Timer::resume, Timer::forget, Timer::reach}) {
        timers_.cancel({kind, pair.number});
    }
}

// Refusing.

/// R19: an OFFER that was made before the first ATTACH was read is refused for want of a proof, and means nothing.
bool Engine::just_attached(const Pair* pair, Refusal reason, Time now) const {
    return (reason == Refusal::id_in_use || reason == Refusal::unknown_session) && pair != nullptr && pair->session &&
           pair->attachments <= 1 && now - pair->entered < options_.handshake_timeout;
}

void Engine::refuse(Link& link, Refusal reason, Time now, std::optional<Proof> proof, const std::string& details) {
    ++counters_.refusals_sent;
    log(quiet(reason) || just_attached(link.pair, reason, now) ? Severity::debug : Severity::warning, link,
        "link_refused", "reason=" + std::string(to_string(reason)) + details);
    link.refuse_due = Refuse{reason, proof, {}};
    if (link.pair != nullptr) link.pair->trouble = error_of(reason);
    end_target(link, error_of(reason), now);
    link.state = LinkState::refusing;
    unlink(link, now);
    timers_.set({Timer::link, link.id}, now + patience(link));
    actions_.push_back(Close{link.id, true});
    ready(link);
}

void Engine::on(Link& link, Refuse&& refuse, Time now) {
    if (link.state == LinkState::attached || link.state == LinkState::parting) {
        return break_rule(link, Rule::unexpected_frame, now);
    }
    ++counters_.refusals_received;
    const Refusal reason = refuse.reason;
    log(quiet(reason) || just_attached(link.pair, reason, now) ? Severity::debug : Severity::warning, link,
        "refused_by",
        "reason=" + std::string(to_string(reason)) + (refuse.text.empty() ? "" : " text=" + quoted(refuse.text)));
    refuse_adds(link, reason);
    Pair* pair = link.pair;
    const LinkId id = link.id;
    const auto proves = [&](const Refuse& words, ProofUse use) {
        return pair != nullptr && pair->session && pair->session->token() && words.proof &&
               *words.proof == prove(*pair->session->token(), link.peer_nonce, link.our_nonce, use);
    };
    std::optional<PeerId> anew;
    if (pair != nullptr && pair->session && reason == Refusal::over && leaving_) {
        session_over(*pair, now);
    } else if (reason == Refusal::removed && proves(refuse, ProofUse::removed)) {
        drop_session(*pair, id, RemovalReason::refused, errc::removed, now);
    } else if (reason == Refusal::unknown_session && proves(refuse, ProofUse::forgotten)) {
        begin_anew(*pair, id, now);
        anew = pair->id;
    }
    drop(id, "", error_of(reason), now);
    if (anew && !leaving_) plan_.hurry(*anew, Duration(), now);  // nothing stands in the way any more
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

}  // namespace cluster::core
