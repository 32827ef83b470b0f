#include "core/engine.hpp"

#include "base/overloaded.hpp"
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
        case Refusal::unsupported: return errc::unsupported;
        case Refusal::secret: return errc::wrong_secret;
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
        case Refusal::unsupported: return "unsupported";
        case Refusal::secret: return "secret";
    }
    return "unknown";
}

/// Whether only a link that carries a session may bring the frame. The handlers of all other frames check the state of
/// the link.
bool belongs_to_session(const Control& frame) {
    return !std::holds_alternative<Hello>(frame) && !std::holds_alternative<Refuse>(frame) &&
           !std::holds_alternative<Offer>(frame) && !std::holds_alternative<Attach>(frame) &&
           !std::holds_alternative<Attached>(frame) && !std::holds_alternative<Goodbye>(frame);
}

/// Whether the frame says something about the cluster, which is said between its nodes only.
bool concerns_cluster(const Control& frame) {
    return std::holds_alternative<PeerList>(frame) || std::holds_alternative<Inquiry>(frame) ||
           std::holds_alternative<Finding>(frame) || std::holds_alternative<MemberList>(frame) ||
           std::holds_alternative<MembersSeen>(frame);
}

/// The refusals that are part of the normal course of things.
bool quiet(Refusal reason) {
    return reason == Refusal::duplicate || reason == Refusal::over || reason == Refusal::leaving ||
           reason == Refusal::self;
}

}  // namespace

void Engine::log(LogLevel level, const Link& link, std::string_view event, const std::string& why) {
    actions_.push_back(peers_.line(level, link, event, why));
}

// Opening and closing.

/// How many links carry no session: those that others made, and also ours unless `accepted_only`.
std::size_t Engine::unattached(bool accepted_only) const {
    if (!accepted_only) return peers_.strangers.size();
    return static_cast<std::size_t>(std::count_if(peers_.strangers.begin(), peers_.strangers.end(),
                                                  [&](LinkId id) { return !peers_.links.at(id).dialled; }));
}

/// Makes room for one more link that is not attached, from `host`. Links that are attached count apart. There may be as
/// many as peers and 64 more, half of those from one host. If there are more, one of the host with most of them goes:
/// the oldest, or, if half of them have said nothing yet, the oldest of those. So of many that come at once, those that
/// got through are not pushed out by those behind them. If hosts have equally many, the one with the oldest link counts
/// as having most. A greeting takes a few round trips, so an honest one is over by then.
void Engine::admit(const std::string& host, Time now) {
    const std::size_t most = options_.max_peers + 64;
    if (peers_.strangers.size() < most / 2 || unattached(true) < most / 2) return;
    struct Host {
        std::size_t links = 0;
        LinkId oldest = 0;
        std::size_t silent = 0;  ///< those that have not said HELLO
        LinkId oldest_silent = 0;

        LinkId victim() const { return 2 * silent >= links ? oldest_silent : oldest; }
    };
    std::map<std::string_view, Host> hosts;
    std::size_t all = 0;
    for (const LinkId id : peers_.strangers) {
        const Link& link = peers_.links.at(id);
        if (link.dialled) continue;
        Host& each = hosts[link.remote.host];
        each.oldest = each.links++ == 0 ? id : std::min(each.oldest, id);
        if (link.state == LinkState::greeting) {
            each.oldest_silent = each.silent++ == 0 ? id : std::min(each.oldest_silent, id);
        }
        ++all;
    }
    LinkId victim = 0;
    const auto own = hosts.find(host);
    if (own != hosts.end() && own->second.links >= most / 2) {
        victim = own->second.victim();
    } else if (all >= most) {
        victim = std::max_element(hosts.begin(), hosts.end(), [](const auto& a, const auto& b) {
                     return std::pair(a.second.links, b.second.oldest) < std::pair(b.second.links, a.second.oldest);
                 })->second.victim();
    }
    if (victim == 0) return;
    actions_.push_back(
        LogLine{.level = LogLevel::warning,
                .text = "link_rejected address=" + token(peers_.links.at(victim).remote) + " why=too_many_links",
                .cause = "link_rejected",
                .stranger = true});
    drop(victim, "", errc::connection_lost, now);
}

LinkId Engine::accepted(const Address& remote, Time now) {
    if (departure_.left() || options_.guest) return 0;
    admit(remote.host, now);
    Link& link = peers_.open(remote);
    ++counters_.links_accepted;
    greet(link, now);
    return link.id;
}

void Engine::takes_guests_only(LinkId id) {
    if (Link* link = peers_.find(id)) link->guests_only = true;
}

void Engine::connected(LinkId id, const Address& remote, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr || link->state != LinkState::dialling) return;
    link->remote = remote;
    plan_.connected({link->target, link->round});
    greet(*link, now);
}

void Engine::greet(Link& link, Time now) {
    link.state = LinkState::greeting;
    link.due.hello = true;
    timers_.set({Timer::link, link.id}, now + patience_.with(link));
    peers_.ready(link);
}

void Engine::dial_failed(LinkId id, errc error, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr || link->state != LinkState::dialling) return;
    dial_came_to_nothing(*link, error, now);
    close(*link);
}

/// The dial that made this link has come to nothing.
void Engine::dial_came_to_nothing(Link& link, errc error, Time now) {
    dialling_.failed(link, error, now);
    conclude(now);
}

/// Forgets the link; the driver closes its socket without another word.
void Engine::close(Link& link) {
    const LinkId id = link.id;
    timers_.cancel({Timer::link, id});
    actions_.push_back(Close{id, false});
    peers_.close(id);
}

/// Ends a link from this side.
void Engine::drop(LinkId id, std::string_view why, errc error, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr) return;
    if (!why.empty()) {
        // Clients come and go, and how they end is their own affair.
        const bool of_guest = link->pair != nullptr && link->pair->is_guest();
        const bool lost = link->state == LinkState::attached && why != "replaced";
        log(of_guest ? LogLevel::debug
            : lost   ? LogLevel::warning
                     : LogLevel::info,
            *link, "link_closed", "why=" + std::string(why));
    }
    if (link->pair != nullptr) link->pair->trouble = error;
    dial_came_to_nothing(*link, error, now);
    unlink(*link, now);
    if (Link* still = peers_.find(id)) close(*still);
    departure_.look_later();
}

void Engine::link_ended(LinkId id, Time now) {
    Link* link = peers_.find(id);
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
            // The caller that named the address learns that nobody greeted there. A peer that is sought may still be
            // there.
            const bool sought = plan_.kind(link->target) == DialPlan::Kind::peer;
            drop(id, "no_hello", sought ? errc::connection_lost : errc::not_a_cluster_node, now);
            return;
        }
        default: {
            // The node with the smaller id closes a link that it does not need beside the one in use. If the session
            // goes on over another link, it closes the one in use.
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
        // It may have been fenced already for an ATTACH that has now failed.
        if (session->attached() == 0 && session->attaching() == 0 && session->token() && session->defended()) {
            if (!timers_.pending({Timer::resume, pair->number})) {
                timers_.set({Timer::resume, pair->number}, now + pair->resume_for);
            }
            if (pair->is_guest()) guests_.lost_link(*pair, now);
            suspicions_.lost_link(*pair, now);
            conclude(now);
        }
    }
    if (pair->links.empty()) {
        if (!pair->is_guest()) plan_.released(pair->id, pair->in_view, now);
        idle_.push_back(pair->number);
        dialling_.may_be_settled();
    }
    if (was_attaching) decide_waiting(*pair, now);
}

/// Forgets pairs that never came to anything and have no link any more.
void Engine::sweep() {
    for (const std::uint64_t number : std::exchange(idle_, {})) {
        Pair* const idle = peers_.numbered(number);
        if (idle == nullptr) continue;
        Pair& pair = *idle;
        if (!pair.links.empty() || pair.in_view || timers_.pending({Timer::forget, pair.number})) continue;
        if (pair.session && pair.session->token()) {
            // R15: the peer may hold this token; it is kept until it is forgotten on both sides.
            continue;
        }
        if (pair.session) {
            release_credit(pair);
            peers_.end_session(pair);
        }
        if (!pair.is_guest()) {
            plan_.drop(pair.id);
            roster_.forget(pair.id);
        }
        peers_.forget(pair);
    }
}

// What comes in.

bool Engine::received(LinkId id, Control&& frame, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr) return false;
    if (link->state == LinkState::refusing) return true;
    if (link->state == LinkState::attached) {
        suspicions_.heard(*link->pair, now);
        if (!link->completed) completed(*link, now);
    }
    if (belongs_to_session(frame) && !usable(*link, frame, now)) return peers_.links.contains(id);
    std::visit(
        Overloaded{[&](Hello& each) { on(*link, std::move(each), now); }, [&](Refuse& each) { on(*link, each, now); },
                   [&](Offer& each) { on(*link, std::move(each), now); }, [&](Attach& each) { on(*link, each, now); },
                   [&](Attached& each) { on(*link, each, now); }, [&](Goodbye& each) { on(*link, each, now); },
                   [&](Gap& each) { on(*link, each, now); }, [&](Ack& each) { on(*link, each, now); },
                   [&](PeerList& each) { on(*link, each, now); },
                   [&](Ping& each) {
                       link->due.pong = each.sequence;
                       gossip_.on(*link, each, now);
                   },
                   [&](Pong& each) { Suspicions::on(*link, each, now); },
                   [&](Inquiry& each) { suspicions_.on(*link, each, now); },
                   [&](Finding& each) { suspicions_.on(*link, each, now); },
                   [&](MemberList& each) {
                       for (const LinkId offender : members_.on(*link, std::move(each))) {
                           violated(offender, Rule::too_many_members, now);
                       }
                   },
                   [&](MembersSeen& each) { members_.on(*link, each, now); }},
        frame);
    conclude(now);
    return peers_.links.contains(id);
}

/// Whether a frame that belongs to an attached session is to be processed.
bool Engine::usable(Link& link, const Control& frame, Time now) {
    const bool attached = link.state == LinkState::attached;
    if (attached && (link.pair->are_peers() || !concerns_cluster(frame))) return true;
    if (link.state != LinkState::parting) break_rule(link, Rule::unexpected_frame, now);
    return false;
}

void Engine::violated(LinkId id, Rule rule, Time now) {
    if (Link* link = peers_.find(id)) break_rule(*link, rule, now);
}

void Engine::break_rule(Link& link, Rule rule, Time now) {
    ++counters_.protocol_errors;
    log(LogLevel::warning, link, "protocol_error", "rule=" + std::string(core::to_string(rule)));
    // Whoever has a secret learns in plain text that we have none.
    if (rule == Rule::encrypted && !link.dialled) return refuse(link, Refusal::secret, now);
    const bool greeting = link.state == LinkState::greeting;
    drop(link.id, "",
         rule == Rule::encrypted ? errc::secret_required
         : greeting              ? errc::not_a_cluster_node
                                 : errc::protocol_error,
         now);
}

void Engine::on(Link& link, Hello&& hello, Time now) {
    if (link.state != LinkState::greeting) return break_rule(link, Rule::unexpected_frame, now);
    if (link.dialled) suspicions_.leads_to(link.wanted, hello.self.id, now);
    if (const auto problem = objection(link, hello)) {
        std::optional<Proof> proof;
        if (Roster::Parted* parted = roster_.parted(hello.self.id);
            problem->reason == Refusal::removed && parted != nullptr && parted->token && !parted->told) {
            proof = prove(*parted->token, link.our_nonce, hello.nonce, ProofUse::removed);
        }
        std::string details = " name=" + quoted(hello.self.name);
        if (problem->reason == Refusal::cluster) {
            details += " ours=" + quoted(options_.cluster) + " theirs=" + quoted(hello.cluster);
        } else if (problem->reason == Refusal::version) {
            details += " ours=" + std::to_string(protocol_version) + " theirs=" + std::to_string(hello.version_min) +
                       '-' + std::to_string(hello.version_max);
        }
        return refuse(link, *problem, now, proof, details);
    }
    if (joins_.await(link.target)) {
        roster_.unblock(hello.self.id);
        roster_.unblock(hello.self.addresses);
    }
    const PeerId id = hello.self.id;
    const bool guest = (hello.features & feature_guest) != 0;
    Pair& pair = guest ? place_for_guest(id, now) : peers_.pair_of(id);
    if (dialling_.finds_linked(link, pair, now)) return close(link);
    link.pair = &pair;
    link.peer_nonce = hello.nonce;
    link.hello = std::make_unique<Hello>(std::move(hello));  // believed once it is attached
    pair.links.push_back(link.id);
    if (pair.links.size() == 1 && !guest) plan_.engaged(id);
    dialling_.reached(link, pair, now);
    conclude(now);
    timers_.set({Timer::link, link.id}, now + patience_.with(link));
    if (self().id < id) {
        link.state = LinkState::greeted;
    } else {
        link.state = LinkState::offered;
        link.due.offer = true;
        peers_.ready(link);
    }
}

std::optional<Engine::Objection> Engine::objection(const Link& link, const Hello& hello) {
    if (hello.version_min > protocol_version || hello.version_max < protocol_version) {
        return Objection{Refusal::version};
    }
    if (hello.cluster != options_.cluster) return Objection{Refusal::cluster};
    const PeerId& id = hello.self.id;
    if (id == self().id) return Objection{Refusal::self};
    if ((hello.features & feature_guest) != 0) return objection_to_guest(link, id);
    if (link.guests_only) return Objection{Refusal::secret, "this secret is for guests, not for peers"};
    if (options_.guest && (hello.features & feature_clients) == 0) {
        return Objection{Refusal::unsupported, "this is a guest, and a node of your version does not take guests"};
    }
    if (roster_.departed(id)) return Objection{Refusal::over};
    if (!joins_.await(link.target)) {
        if (roster_.parted(id) != nullptr) return Objection{Refusal::removed};
        if (!peers_.met(id) && roster_.blocked(hello.self.addresses)) return Objection{Refusal::removed};
    }
    const Pair* known = peers_.find(id);
    if (leaving_ && !(known != nullptr && known->in_view)) return Objection{Refusal::leaving};
    if (full(known)) return Objection{Refusal::full};
    return std::nullopt;
}

/// Why the pair cannot be attached, whatever session it has.
std::optional<Refusal> Engine::no_place(const Pair& pair) {
    // An id is that of a guest or of a node, not of both.
    const Pair* other = peers_.namesake(pair);
    if (other != nullptr && other->session && other->session->token()) return Refusal::id_in_use;
    if (!pair.is_guest() && full(&pair)) return Refusal::full;
    return std::nullopt;
}

/// Whether there is no place for this pair, or for a newcomer. Peers in view count, and those to which a session is
/// being attached. A peer with a session always has a place.
bool Engine::full(const Pair* pair) const {
    if (pair != nullptr && (pair->in_view || (pair->session && pair->session->token()))) return false;
    std::size_t taken = peers_.view.size();
    if (taken + peers_.strangers.size() < options_.max_peers) return false;
    for (const LinkId id : peers_.strangers) {
        const Link& link = peers_.links.at(id);
        if (link.state == LinkState::attaching && !link.pair->in_view && !link.pair->is_guest()) ++taken;
    }
    return taken >= options_.max_peers;
}

/// Whether, with `more`, there are more peers than this node remembers. Strangers that only greet do not count.
bool Engine::crowded(std::size_t more) const {
    const std::size_t all = peers_.pairs.size() + more;
    const std::size_t most = 2 * options_.max_peers;
    return all > most && all > most + unattached(false);
}

/// Peers out of view are remembered, too, but not for ever. First to go are those that never were in view, then those
/// that were attached for the shortest time in all. False if none can be forgotten.
bool Engine::forget_one(Time now) {
    const auto worth = [](const Pair& pair) {
        return std::tuple(pair.session && pair.session->token(), pair.known, pair.watch.heard);
    };
    auto least = peers_.pairs.end();
    for (auto each = peers_.pairs.begin(); each != peers_.pairs.end(); ++each) {
        if (each->second.in_view || !each->second.links.empty()) continue;
        if (least == peers_.pairs.end() || worth(each->second) < worth(least->second)) least = each;
    }
    if (least == peers_.pairs.end()) return false;
    Pair& pair = least->second;
    const std::optional<Token> token = pair.session ? pair.session->token() : std::nullopt;
    drop_session(pair, 0, RemovalReason::failed, errc::too_many_peers, now);
    take_over_outstanding(pair);
    if (token || pair.outstanding != 0) forgotten_.remember(pair.id, {token, pair.outstanding, pair.known});
    plan_.drop(pair.id);
    roster_.forget(pair.id);
    peers_.forget(pair);
    return true;
}

void Engine::cancel_timers(const Pair& pair) {
    for (const Timer kind :
         {Timer::ack, Timer::watch, Timer::inquiry, Timer::guest, Timer::resume, Timer::forget, Timer::reach}) {
        timers_.cancel({kind, pair.number});
    }
}

// Refusing.

/// R19: an OFFER that was made before the first ATTACH was read is refused for lack of a proof. That means nothing.
bool Engine::just_attached(const Pair* pair, Refusal reason, Time now) const {
    return (reason == Refusal::id_in_use || reason == Refusal::unknown_session) && pair != nullptr && pair->session &&
           pair->attachments <= 1 && now - pair->entered < options_.handshake_timeout;
}

void Engine::refuse(Link& link, const Objection& objection, Time now, std::optional<Proof> proof,
                    const std::string& details) {
    const Refusal reason = objection.reason;
    ++counters_.refusals_sent;
    log(quiet(reason) || just_attached(link.pair, reason, now) ? LogLevel::debug : LogLevel::warning, link,
        "link_refused", "reason=" + std::string(to_string(reason)) + details);
    link.due.refuse = Refuse{reason, proof, std::string(objection.text)};
    if (link.pair != nullptr) link.pair->trouble = error_of(reason);
    dial_came_to_nothing(link, error_of(reason), now);
    link.state = LinkState::refusing;
    unlink(link, now);
    timers_.set({Timer::link, link.id}, now + patience_.with(link));
    actions_.push_back(Close{link.id, true});
    peers_.ready(link);
}

void Engine::on(Link& link, const Refuse& refuse, Time now) {
    if (link.state == LinkState::attached || link.state == LinkState::parting) {
        return break_rule(link, Rule::unexpected_frame, now);
    }
    ++counters_.refusals_received;
    const Refusal reason = refuse.reason;
    log(quiet(reason) || just_attached(link.pair, reason, now) ? LogLevel::debug : LogLevel::warning, link,
        "refused_by",
        "reason=" + std::string(to_string(reason)) + (refuse.text.empty() ? "" : " text=" + quoted(refuse.text)));
    joins_.refused(link, reason, error_of(reason));
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
    if (anew && !leaving_) plan_.hurry(*anew, Duration(), now);  // nothing prevents it any more
}

}  // namespace cluster::core
