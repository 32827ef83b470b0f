#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

/// What this node met first-hand within this time is told to the others in one frame.
constexpr Duration news_delay = std::chrono::milliseconds(5);
/// At so many addresses a peer is dialled at most: it publishes few, but one may be sought at several interfaces.
constexpr std::size_t most_dialled = 2 * max_addresses;

}  // namespace

Peer Engine::describe(const Pair& pair) const {
    Peer peer;
    peer.id = pair.id;
    peer.state = pair.state;
    if (const Facts* facts = roster_.find(pair.id)) {
        peer.name = facts->name;
        peer.member = facts->member;
        peer.tags = facts->tags;
        if (!facts->addresses.empty()) peer.address = facts->addresses.front();
    }
    if (!pair.reached.host.empty()) peer.address = pair.reached;
    peer.observer = (pair.features & feature_observer) != 0;
    return peer;
}

/// Where to dial a peer: where a dial reached it last, which may be a tunnel that it knows nothing of, and what it
/// publishes.
std::vector<Address> Engine::addresses_of(const PeerId& id) const {
    std::vector<Address> addresses;
    if (const Facts* facts = roster_.find(id)) {
        for (const Address& each : facts->addresses) addresses.push_back({without_zone(each.host), each.port});
    }
    addresses = dialable(addresses);
    if (addresses.size() > most_dialled) addresses.resize(most_dialled);
    const auto found = pairs_.find(id);
    if (found == pairs_.end() || found->second.reached.host.empty()) return addresses;
    const Address& reached = found->second.reached;
    if (std::find(addresses.begin(), addresses.end(), reached) == addresses.end()) {
        addresses.insert(addresses.begin(), reached);
    }
    return addresses;
}

/// Each link-local IPv6 address without a zone becomes one for each of this host's own zones.
std::vector<Address> Engine::dialable(const std::vector<Address>& addresses) const {
    std::vector<Address> all;
    for (const Address& each : addresses) {
        if (!needs_zone(each.host) || each.host.find('%') != std::string::npos) {
            all.push_back(each);
            continue;
        }
        for (const std::string& zone : options_.zones) all.push_back({each.host + '%' + zone, each.port});
    }
    return all;
}

std::string Engine::who(const Pair& pair) const {
    const Facts* facts = roster_.find(pair.id);
    std::string text = "peer=" + pair.id.to_string();
    if (facts != nullptr) text += " name=" + quoted(facts->name);
    return text;
}

std::string Engine::who(const PeerId& id) const {
    const auto found = pairs_.find(id);
    return found == pairs_.end() ? "peer=" + id.to_string() : who(found->second);
}

std::vector<Peer> Engine::audience() const {
    std::vector<Peer> peers;
    peers.reserve(audience_.size());
    for (const Pair* pair : audience_) peers.push_back(describe(*pair));
    return peers;
}

/// Whom a link leads to, as far as that has been said there; with a space before it.
std::string Engine::who(const Link& link) const {
    if (link.pair == nullptr) return {};
    const bool known = roster_.find(link.pair->id) != nullptr;
    return ' ' + who(*link.pair) + (known || !link.hello ? "" : " name=" + quoted(link.hello->self.name));
}

std::vector<Peer> Engine::peers() const {
    std::vector<Peer> peers;
    peers.reserve(view_.size());
    for (const Pair* pair : view_) peers.push_back(describe(*pair));
    return peers;
}

std::vector<Peer> Engine::everybody() const {
    std::vector<Peer> all;
    for (const auto& [id, pair] : pairs_) {
        // Nothing is known of who never showed to be who it says.
        if (!pair.in_view && roster_.find(id) == nullptr) continue;
        all.push_back(describe(pair));
        const errc why = pair.in_view ? errc{} : why_out_of_view(pair);
        if (why != errc{}) all.back().why = why;
    }
    for (const auto& [id, parted] : roster_.all_parted()) {
        Peer& peer = all.emplace_back();
        peer.id = id;
        peer.name = parted.name;
        peer.state = PeerState::removed;
        const std::vector<Address>& addresses = parted.found.empty() ? parted.said : parted.found;
        if (!addresses.empty()) peer.address = addresses.front();
    }
    std::sort(all.begin(), all.end(), [](const Peer& a, const Peer& b) { return a.id < b.id; });
    return all;
}

std::optional<std::vector<Whereabouts>> Engine::whereabouts() const {
    if (leaving_) return std::nullopt;
    std::vector<Whereabouts> all;
    for (const Pair* pair : view_) {
        const Facts* facts = roster_.find(pair->id);
        std::vector<Address> addresses = addresses_of(pair->id);
        const auto reached = std::find(addresses.begin(), addresses.end(), pair->reached);
        if (reached != addresses.end()) std::rotate(addresses.begin(), reached, reached + 1);
        all.push_back({pair->id, facts == nullptr ? std::string() : facts->name, std::move(addresses)});
    }
    return all;
}

std::optional<Peer> Engine::peer(const PeerId& id) const {
    const auto found = pairs_.find(id);
    if (found == pairs_.end() || !found->second.in_view) return std::nullopt;
    return describe(found->second);
}

std::vector<Engine::PeerGauges> Engine::gauges() const {
    std::vector<PeerGauges> gauges;
    for (const Pair* pair : view_) {
        const Facts* facts = roster_.find(pair->id);
        const Session::Channel& user = pair->session->user();
        std::uint64_t outbox_bytes = 0;
        for (const Session::Channel& channel : pair->session->channels()) outbox_bytes += channel.out.size();
        gauges.push_back({pair->id, facts == nullptr ? std::string() : facts->name, outbox_bytes,
                          user.in.received() - user.in.consumed(), pair->bytes_sent, pair->bytes_received,
                          pair->attachments, pair->round_trip});
    }
    return gauges;
}

std::optional<PeerId> Engine::attached_to(LinkId link) const {
    const auto found = links_.find(link);
    if (found == links_.end() || found->second.state != LinkState::attached) return std::nullopt;
    return found->second.pair->id;
}

std::size_t Engine::suspect_count() const noexcept {
    return static_cast<std::size_t>(std::count_if(
        view_.begin(), view_.end(), [](const Pair* pair) { return pair->state == PeerState::suspect; }));
}

std::size_t Engine::unreachable_count() const noexcept {
    return static_cast<std::size_t>(std::count_if(pairs_.begin(), pairs_.end(), [](const auto& entry) {
        return !entry.second.in_view && entry.second.state == PeerState::unreachable;
    }));
}

bool Engine::all_tried() const {
    return plan_.all_tried([this](const PeerId& id) { return met(id); });
}

bool Engine::is_settled() const {
    return std::all_of(view_.begin(), view_.end(), [](const Pair* pair) { return pair->listed; }) && all_tried();
}

bool Engine::settled() {
    settling_ = !is_settled();
    return !settling_;
}

/// The pair is attached on `link`: its peer is in view, or back to health.
void Engine::enter(Pair& pair, Link& link, Time now) {
    answered(pair, now);
    pair.watch = {.heard = now};
    pair.refused.clear();
    pair.trouble = {};
    pair.told_out_of_reach = false;
    pair.entered = now;
    may_be_settled();
    ++pair.attachments;
    while (crowded(0) && forget_one(now)) {}
    if (pair.attachments > 1) ++counters_.sessions_resumed;
    if (link.dialled) {
        pair.reached = link.remote;
        found_at(pair, link.wanted);
    } else if (pair.proven.empty()) {
        check_soon(pair, now);
    }
    timers_.cancel({Timer::watch, pair.number});
    timers_.cancel({Timer::inquiry, pair.number});
    timers_.cancel({Timer::resume, pair.number});
    timers_.cancel({Timer::forget, pair.number});
    timers_.cancel({Timer::link, link.id});
    take_over_addresses(pair, now);
    if (link.target != 0) plan_.answered({std::exchange(link.target, 0), link.round}, pair.id, now);
    plan_.seek(pair.id, addresses_of(pair.id), now);
    plan_.engaged(pair.id);
    plan_.attached(pair.id);
    link.list_due = true;
    link.list_sent = now;
    link.feed = {};
    pair.members_seen = 0;  // it may have taken this node for dead, and forgotten its members
    ready(link);
    if (pair.in_view) return;
    pair.in_view = true;
    update_audience(pair);
    last_added_ = now;
    // No broadcast is for an observer.
    if ((pair.features & feature_observer) == 0) pair.session->come_back(broadcast_);
    pair.state = PeerState::alive;
    digest_.reset();
    view_.insert(std::lower_bound(view_.begin(), view_.end(), pair.id,
                                  [](const Pair* each, const PeerId& id) { return each->id < id; }),
                 &pair);
    report_members({});  // first, so that nobody who meets it takes what is known for complete
    if (!leaving_) actions_.push_back(PeerAdded{describe(pair)});
    actions_.push_back(PeersChanged{});
    // Where a dial has reached it; behind a link that it dialled is a port of its own, where nobody can reach it.
    log(Severity::info, "peer_added " + who(pair) + " address=" + token(describe(pair).address) +
                            (link.dialled ? "" : " from=" + token(link.remote)));
    if (std::exchange(pair.first_hand, false)) announce(pair.id, now);
}

/// Broadcasts go to whoever is in view and is no observer.
void Engine::update_audience(Pair& pair) {
    const bool listens = pair.in_view && (pair.features & feature_observer) == 0;
    const auto place = std::lower_bound(audience_.begin(), audience_.end(), pair.id,
                                        [](const Pair* each, const PeerId& id) { return each->id < id; });
    const bool there = place != audience_.end() && *place == &pair;
    if (listens && !there) audience_.insert(place, &pair);
    if (!listens && there) audience_.erase(place);
}

void Engine::leave_view(Pair& pair, RemovalReason reason, Time now) {
    timers_.cancel({Timer::watch, pair.number});
    timers_.cancel({Timer::inquiry, pair.number});
    if (!std::exchange(pair.in_view, false)) return;
    report_skipped(pair);
    digest_.reset();
    answer_askers(pair, false);
    const auto at = std::find(view_.begin(), view_.end(), &pair);
    view_.erase(at);
    update_audience(pair);
    pair.state = reason == RemovalReason::left          ? PeerState::left
                 : reason == RemovalReason::unreachable ? PeerState::unreachable
                                                        : PeerState::failed;
    if (pair.session) {
        // What is broadcast is never for an observer.
        if ((pair.features & feature_observer) == 0) pair.session->depart(broadcast_);
        credit_.lend(pair.session->share(), pair.session->user().in);
    }
    serve_waiting(now);
    own_.forget(pair.id);
    publish_own(now);
    pair.members_seen = 0;
    forget_members(pair, reason == RemovalReason::left);  // first: nobody finds members of a peer said to be gone
    if (!leaving_) {
        actions_.push_back(PeerRemoved{describe(pair), reason});
        actions_.push_back(PeersChanged{});
    }
    plan_.unbind(pair.id, now, now + options_.forget_after);
    timers_.set({Timer::forget, pair.number}, now + options_.forget_after);
    room_freed();  // whoever waits for this peer's room waits no longer
}

/// Others that were where `pair` is now are not there any more: however often a process is restarted, one is dialled.
void Engine::take_over_addresses(const Pair& pair, Time now) {
    const std::vector<Address> taken = addresses_of(pair.id);
    for (auto& [id, other] : pairs_) {
        if (id != pair.id && !pair.reached.host.empty() && other.reached == pair.reached) {
            other.reached = {};  // its link may be half-open
            probe(other, false, now);
        }
        if (other.in_view || other.attachments == 0 || !other.links.empty() || id == pair.id) continue;
        const std::vector<Address> theirs = addresses_of(id);
        const auto is_taken = [&](const Address& each) {
            return std::find(taken.begin(), taken.end(), each) != taken.end();
        };
        if (std::all_of(theirs.begin(), theirs.end(), is_taken)) plan_.drop(id);
    }
}

/// Gives up what is queued for the pair and tells the application.
void Engine::surrender(Pair& pair, errc reason) {
    if (!pair.session) return;
    Outbox::Settled settled;
    for (Session::Channel& channel : pair.session->channels()) settled += channel.out.give_up();
    report_given_up(pair, settled, reason);
}

/// Messages that were skipped are many where a flood meets a slow peer: they are reported together.
void Engine::report_skipped(Pair& pair) {
    const auto [messages, bytes] = std::exchange(pair.skipped, {});
    if (messages == 0) return;
    std::erase(skipped_, &pair);
    actions_.push_back(Surrender{describe(pair), messages, bytes, errc::outbox_full});
}

void Engine::report_given_up(Pair& pair, const Outbox::Settled& settled, errc reason) {
    report_skipped(pair);
    if (settled.messages == 0) return;
    counters_.messages_given_up += settled.messages;
    if (leaving_) {
        unacknowledged_.messages += settled.messages;
        unacknowledged_.bytes += settled.bytes;
        ++unacknowledged_.peers;
    }
    actions_.push_back(Surrender{describe(pair), settled.messages, settled.bytes, reason});
    log(Severity::warning, "messages_given_up " + who(pair) + " messages=" +
                               std::to_string(settled.messages) + " bytes=" + std::to_string(settled.bytes) +
                               " why=" + quoted(make_error_code(reason).message()));
    room_freed();
}

/// What the peer said in its HELLO, now that it has shown to be who it says it is.
void Engine::believe(Pair& pair, const Hello& hello, const Link& link, Time now) {
    if (roster_.find(pair.id) == nullptr) pair.first_hand = true;
    if (roster_.state(hello.self) && pair.in_view) actions_.push_back(PeersChanged{});
    pair.features = hello.features;
    update_audience(pair);
    constexpr std::uint64_t longest = std::uint64_t{1} << 40;
    pair.max_message = std::max<std::uint64_t>(hello.max_message, max_chunk);  // everybody takes a single chunk
    pair.resume_for = std::min<Duration>(options_.resume_for,
                                         std::chrono::milliseconds(std::min(hello.resume_for_ms, longest)));
    if (options_.publish_observed) own_.observed(pair.id, link.remote.host, hello.observed.host);
    publish_own(now);
}

/// `speaker` told us of `facts`: dial whom we do not know.
void Engine::learn(const Pair& speaker, const Facts& facts, Time now) {
    const PeerId& id = facts.id;
    if (id == self().id || roster_.departed(id) || roster_.parted(id) != nullptr) return;
    const auto found = pairs_.find(id);
    const bool linked = found != pairs_.end() && (found->second.in_view || !found->second.links.empty());
    if (found == pairs_.end()) {
        if (crowded(1) && !forget_one(now)) return;
    }
    if (Link* link = found == pairs_.end() ? nullptr : attached_link(found->second);
        link != nullptr && id != speaker.id) {
        // It can speak for itself: if there is news, its answer to our digest brings them.
        if (const Facts* known = roster_.find(id); known == nullptr || known->version < facts.version) {
            link->ping_due = true;
            ready(*link);
        }
        return;
    }
    switch (roster_.learn(facts)) {
        case Roster::News::unknown: {
            Pair& pair = pair_of(id);  // so that it is forgotten should it never attach
            pair.named = now;
            timers_.set_no_later({Timer::forget, pair.number}, now + options_.forget_after);
            break;
        }
        case Roster::News::changed:
            if (found != pairs_.end() && found->second.in_view) actions_.push_back(PeersChanged{});
            break;
        case Roster::News::none: break;
    }
    if (linked || leaving_) return;
    Pair& pair = pair_of(id);
    vouch(pair, now);
    expect_link(pair, now);
    if (now - pair.named > options_.reconnect_max) pair.named = now;
    if (pair.attachments == 0) {
        plan_.hear(id, speaker.id, addresses_of(id), now);
    } else {
        plan_.seek(id, addresses_of(id), now);
    }
    // Somebody has it in view: look again at once, but not more often than lists may come.
    plan_.hurry(id, options_.heartbeat, now);
}

/// Tells all others of `id`: this node itself, or a peer it met before they could tell.
void Engine::announce(const PeerId& id, Time now) {
    if (std::find(news_.begin(), news_.end(), id) == news_.end()) news_.push_back(id);
    timers_.set_no_later({Timer::news, 0}, now + news_delay);
}

void Engine::tell_news() {
    for (Pair* pair : view_) {
        Link* link = attached_link(*pair);
        if (link == nullptr) continue;
        for (const PeerId& id : news_) {
            if (id == pair->id || std::find(link->news.begin(), link->news.end(), id) != link->news.end()) continue;
            link->news.push_back(id);
        }
        if (!link->news.empty()) ready(*link);
    }
    news_.clear();
}

/// What the other end of `link` may know of `facts`: addresses only of a scope that it shares, without zones.
Facts Engine::visible(const Facts& facts, const Link& link) const {
    Facts visible = facts;
    std::erase_if(visible.addresses, [&](const Address& address) {
        return (is_loopback(address.host) && !is_loopback(link.remote.host)) ||
               (is_link_local(address.host) && !is_link_local(link.remote.host));
    });
    for (Address& address : visible.addresses) address.host = without_zone(address.host);
    return visible;
}

void Engine::listening(std::vector<Address> addresses, std::vector<std::string> zones, Time now) {
    own_.listen(std::move(addresses));
    options_.zones = std::move(zones);
    publish_own(now);
}

/// Tells the others, if this node can be dialled elsewhere than before.
void Engine::publish_own(Time now) {
    if (!options_.publish_observed || leaving_) return;
    std::vector<Address> addresses = own_.published();
    if (addresses == self().addresses) return;
    roster_.publish(std::move(addresses));
    announce(self().id, now);
}

/// Whoever is found at `dialled` may be on another host and would never be able to dial this node. Says so once.
void Engine::warn_of_loopback(const std::vector<Address>& dialled) {
    const auto& own = self().addresses;
    const auto is_here = [](const Address& each) { return is_loopback(each.host); };
    if (warned_of_loopback_ || own.empty() || !std::all_of(own.begin(), own.end(), is_here)) return;
    const auto elsewhere = std::find_if_not(dialled.begin(), dialled.end(), is_here);
    if (elsewhere == dialled.end()) return;
    warned_of_loopback_ = true;
    log(Severity::warning, "listens_on_loopback address=" + token(own.front()) + " dials=" + token(*elsewhere) +
                               " why=" + quoted(loopback_advice));
}

/// Of the facts of all that are in somebody's view, as far as this node knows: whether it reaches them itself is an
/// opinion, which would make lists go to and fro for as long as two nodes differ.
std::uint64_t Engine::digest() {
    if (!digest_ || digest_of_ != roster_.changes()) {
        digest_ = sum_of_facts();
        digest_of_ = roster_.changes();
    }
    return *digest_;
}

std::uint64_t Engine::sum_of_facts() const {
    std::uint64_t sum = Roster::digest(self());
    for (const auto& [id, pair] : pairs_) {
        if (!exists(pair)) continue;
        if (const Facts* facts = roster_.find(id)) sum += Roster::digest(*facts);
    }
    return sum;
}

}  // namespace cluster::core
