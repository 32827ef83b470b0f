#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

std::optional<Peer> Engine::peer(const PeerId& id) const {
    const Pair* pair = peers_.find(id);
    if (pair == nullptr || !pair->in_view) return std::nullopt;
    return peers_.describe(*pair);
}

std::optional<std::vector<Whereabouts>> Engine::whereabouts() const {
    if (leaving_) return std::nullopt;
    return peers_.whereabouts();
}

/// The pair is attached on `link`: its peer is in view, or back to health.
void Engine::enter(Pair& pair, Link& link, Time now) {
    suspicions_.answered(pair, now);
    pair.watch = {.heard = now};
    pair.refused.clear();
    pair.trouble = {};
    pair.told_out_of_reach = false;
    pair.entered = now;
    dialling_.may_be_settled();
    ++pair.attachments;
    while (crowded(0) && forget_one(now)) {
    }
    if (pair.attachments > 1) ++counters_.sessions_resumed;
    if (link.dialled) {
        pair.reached = link.remote;
        Suspicions::found_at(pair, link.wanted);
    } else if (pair.proven.empty()) {
        checks_.add(pair, now);
    }
    timers_.cancel({Timer::watch, pair.number});
    timers_.cancel({Timer::inquiry, pair.number});
    timers_.cancel({Timer::resume, pair.number});
    timers_.cancel({Timer::forget, pair.number});
    timers_.cancel({Timer::link, link.id});
    take_over_addresses(pair, now);
    if (link.target != 0) plan_.answered({std::exchange(link.target, 0), link.round}, pair.id, now);
    plan_.seek(pair.id, peers_.addresses_of(pair.id), now);
    plan_.attached(pair.id);
    link.due.list = true;
    link.told.emplace();
    link.list_sent = now;
    members_.attached(pair, link);
    peers_.ready(link);
    if (!pair.are_peers()) pair.listed = true;  // it tells nothing
    if (pair.in_view) return;
    peers_.show(pair, now);
    if (pair.hears_broadcasts()) pair.session->come_back(sending_.broadcasts());
    pair.state = PeerState::alive;
    members_.entered();  // first, so that nobody who meets it takes the known members for all
    if (!leaving_) actions_.push_back(PeerAdded{peers_.describe(pair)});
    actions_.push_back(PeersChanged{});
    // The address where a dial has reached it. A link that it dialled shows only a port where nobody can reach it.
    log(LogLevel::info, "peer_added " + peers_.who(pair) + " address=" + token(peers_.describe(pair).address) +
                            (link.dialled ? "" : " from=" + token(link.remote)));
    if (std::exchange(pair.first_hand, false)) gossip_.announce(pair.id, now);
}

void Engine::leave_view(Pair& pair, RemovalReason reason, Time now) {
    timers_.cancel({Timer::watch, pair.number});
    timers_.cancel({Timer::inquiry, pair.number});
    if (!pair.in_view) return;
    peers_.hide(pair);
    sending_.report_skipped(pair);
    suspicions_.answer_askers(pair, false);
    pair.state = reason == RemovalReason::left          ? PeerState::left
                 : reason == RemovalReason::unreachable ? PeerState::unreachable
                                                        : PeerState::failed;
    if (pair.session) {
        if (pair.hears_broadcasts()) pair.session->depart(sending_.broadcasts());
        credit_.lend(pair.session->share(), pair.session->user().in);
    }
    serve_waiting(now);
    own_.forget(pair.id);
    gossip_.publish_own(now);
    pair.members_seen = 0;
    members_.forget(pair, reason == RemovalReason::left);  // first: nobody finds members of a peer said to be gone
    if (!leaving_) {
        actions_.push_back(PeerRemoved{peers_.describe(pair), reason});
        actions_.push_back(PeersChanged{});
    }
    plan_.unbind(pair.id, now, now + options_.forget_after);
    timers_.set({Timer::forget, pair.number}, now + options_.forget_after);
    sending_.room_freed();  // callers that wait for this peer's room no longer wait
}

/// Other peers that were at the place of `pair` are not there any more. So a process that restarts often is one target.
void Engine::take_over_addresses(const Pair& pair, Time now) {
    const std::vector<Address> taken = peers_.addresses_of(pair.id);
    for (auto& [id, other] : peers_.pairs) {
        if (id != pair.id && !pair.reached.host.empty() && other.reached == pair.reached) {
            other.reached = {};  // its link may be half-open
            suspicions_.probe(other, false, now);
        }
        if (other.in_view || other.attachments == 0 || !other.links.empty() || id == pair.id) continue;
        const std::vector<Address> theirs = peers_.addresses_of(id);
        const auto is_taken = [&](const Address& each) {
            return std::find(taken.begin(), taken.end(), each) != taken.end();
        };
        if (std::all_of(theirs.begin(), theirs.end(), is_taken)) plan_.drop(id);
    }
}

/// The other end is now known to be the one that it claims to be: what both said in their HELLO is in force.
void Engine::agree(Pair& pair, const Hello& hello) const {
    pair.features = pair.features_of(hello);
    constexpr std::uint64_t longest = std::uint64_t{1} << 40;
    pair.max_message = std::max<std::uint64_t>(hello.max_message, max_chunk);  // everybody takes a single chunk
    pair.resume_for =
        std::min<Duration>(options_.resume_for, std::chrono::milliseconds(std::min(hello.resume_for_ms, longest)));
}

/// Takes over what the peer said in its HELLO about itself.
void Engine::believe(Pair& pair, const Hello& hello, const Link& link, Time now) {
    if (roster_.find(pair.id) == nullptr) pair.first_hand = true;
    if (roster_.state(hello.self) && pair.in_view) actions_.push_back(PeersChanged{});
    peers_.update_audience(pair);
    if (options_.publish_observed) own_.observed(pair.id, link.remote.host, hello.observed.host);
    gossip_.publish_own(now);
}

void Engine::on(Link& link, const PeerList& list, Time now) {
    ++counters_.lists_received;
    Gossip::on(link, list);
    for (const Facts& facts : list.peers) learn(*link.pair, facts, now);
    link.pair->listed = true;
    dialling_.may_be_settled();
}

/// `speaker` has named `facts`: a peer that we do not know is dialled.
void Engine::learn(const Pair& speaker, const Facts& facts, Time now) {
    const PeerId& id = facts.id;
    if (id == self().id || roster_.departed(id) || roster_.parted(id) != nullptr) return;
    const Facts* known = roster_.find(id);
    const auto found = peers_.pairs.find(id);
    const bool linked = found != peers_.pairs.end() && (found->second.in_view || !found->second.links.empty());
    if (linked && known != nullptr && known->version >= facts.version) return;  // most of what lists say
    if (found == peers_.pairs.end()) {
        if (crowded(1) && !forget_one(now)) return;
    }
    if (Link* link = found == peers_.pairs.end() ? nullptr : peers_.attached_link(found->second);
        link != nullptr && id != speaker.id) {
        // It can speak for itself: if there is news, its answer to our digest brings it.
        link->due.ping = true;
        peers_.ready(*link);
        return;
    }
    switch (roster_.learn(facts)) {
        case Roster::News::unknown: {
            Pair& pair = peers_.pair_of(id);  // so that it is forgotten if it never attaches
            pair.named = now;
            timers_.set_no_later({Timer::forget, pair.number}, now + options_.forget_after);
            break;
        }
        case Roster::News::changed:
            if (found != peers_.pairs.end() && found->second.in_view) actions_.push_back(PeersChanged{});
            break;
        case Roster::News::none: break;
    }
    if (linked || leaving_) return;
    Pair& pair = peers_.pair_of(id);
    suspicions_.vouch(pair, now);
    suspicions_.expect_link(pair, now);
    if (now - pair.named > options_.reconnect_max) pair.named = now;
    if (pair.attachments == 0) {
        plan_.hear(id, speaker.id, peers_.addresses_of(id), now);
    } else {
        plan_.seek(id, peers_.addresses_of(id), now);
    }
    // Another peer has it in view: look again at once, but not more often than lists may come.
    plan_.hurry(id, options_.heartbeat, now);
}

}  // namespace cluster::core
