#include "core/peers.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

/// At how many addresses a peer is dialled, at most: it publishes few, but one may be sought at several interfaces.
constexpr std::size_t most_dialled = 2 * max_addresses;

bool is_before(const Pair* pair, const PeerId& id) {
    return pair->id < id;
}

}  // namespace

// Finding.

Link* Peers::find(LinkId id) {
    const auto found = links.find(id);
    return found == links.end() ? nullptr : &found->second;
}

Pair* Peers::find(const PeerId& id) {
    const auto found = pairs.find(id);
    return found == pairs.end() ? nullptr : &found->second;
}

const Pair* Peers::find(const PeerId& id) const {
    const auto found = pairs.find(id);
    return found == pairs.end() ? nullptr : &found->second;
}

Pair* Peers::numbered(std::uint64_t number) const {
    const auto found = numbered_.find(number);
    return found == numbered_.end() ? nullptr : found->second;
}

Pair* Peers::with_session(std::uint64_t session) const {
    Pair* pair = numbered(session);
    return pair != nullptr && pair->session && pair->session->number() == session ? pair : nullptr;
}

Link* Peers::attached_link(const Pair& pair) {
    if (!pair.session || pair.session->attached() == 0) return nullptr;
    Link* link = find(pair.session->attached());
    return link != nullptr && link->state == LinkState::attached ? link : nullptr;
}

std::optional<PeerId> Peers::attached_to(LinkId link) const {
    const auto found = links.find(link);
    if (found == links.end() || found->second.state != LinkState::attached) return std::nullopt;
    return found->second.pair->id;
}

// Changing.

Pair* Peers::namesake(const Pair& pair) {
    auto& others = pair.is_guest() ? pairs : guests;
    const auto found = others.find(pair.id);
    return found == others.end() ? nullptr : &found->second;
}

Pair* Peers::receiver(const PeerId& id, std::uint16_t channel) {
    if (Pair* pair = find(id); pair != nullptr && pair->in_view) return pair;
    if (channel != client_channel) return nullptr;
    const auto found = guests.find(id);
    return found == guests.end() || !found->second.guest.here ? nullptr : &found->second;
}

Link& Peers::open(const Address& remote) {
    const LinkId id = next_number();
    Link& link = links[id];
    strangers.insert(id);
    link.id = id;
    link.remote = remote;
    options_.random(link.our_nonce);
    return link;
}

void Peers::attached(Link& link) {
    link.state = LinkState::attached;
    link.due.of_others = link.pair->are_peers();
    strangers.erase(link.id);
}

void Peers::close(LinkId link) {
    strangers.erase(link);
    links.erase(link);
}

Pair& Peers::pair_in(std::map<PeerId, Pair>& some, const PeerId& id, Relation relation) {
    const auto [found, fresh] = some.try_emplace(id);
    if (fresh) {
        found->second.id = id;
        found->second.relation = relation;
        found->second.number = next_number();
        found->second.resume_for = options_.resume_for;
        numbered_[found->second.number] = &found->second;
    }
    return found->second;
}

void Peers::forget(Pair& pair) {
    numbered_.erase(pair.number);
    const PeerId id = pair.id;
    (pair.is_guest() ? guests : pairs).erase(id);
}

void Peers::begin_session(Pair& pair, std::unique_ptr<Session> session) {
    numbered_[session->number()] = &pair;
    pair.session = std::move(session);
}

void Peers::end_session(Pair& pair) {
    numbered_.erase(pair.session->number());
    pair.session.reset();
}

void Peers::show(Pair& pair, Time now) {
    pair.in_view = true;
    last_shown = now;
    update_audience(pair);
    existence_changed();
    view.insert(std::lower_bound(view.begin(), view.end(), pair.id, is_before), &pair);
}

void Peers::hide(Pair& pair) {
    pair.in_view = false;
    existence_changed();
    view.erase(std::find(view.begin(), view.end(), &pair));
    update_audience(pair);
}

void Peers::update_audience(Pair& pair) {
    const bool listens = pair.in_view && pair.hears_broadcasts();
    const auto place = std::lower_bound(audience.begin(), audience.end(), pair.id, is_before);
    const bool there = place != audience.end() && *place == &pair;
    if (listens && !there) audience.insert(place, &pair);
    if (!listens && there) audience.erase(place);
}

void Peers::ready(Link& link) {
    if (std::exchange(link.queued, true)) return;
    ready_.push_back(link.id);
}

void Peers::take_ready(std::vector<LinkId>& out) {
    out.clear();
    std::swap(out, ready_);
    for (const LinkId id : out) {
        if (Link* link = find(id)) link->queued = false;
    }
}

// What is known of a peer.

bool Peers::met(const PeerId& id) const {
    const Pair* pair = find(id);
    return pair != nullptr && pair->attachments != 0;
}

bool Peers::publishes(const PeerId& id, const Address& address) const {
    const Facts* facts = roster_.find(id);
    return facts != nullptr &&
           std::find(facts->addresses.begin(), facts->addresses.end(), address) != facts->addresses.end();
}

std::vector<Address> Peers::addresses_of(const PeerId& id) const {
    std::vector<Address> addresses;
    if (const Facts* facts = roster_.find(id)) {
        for (const Address& each : facts->addresses) addresses.push_back({without_zone(each.host), each.port});
    }
    addresses = dialable(addresses);
    if (addresses.size() > most_dialled) addresses.resize(most_dialled);
    const auto found = pairs.find(id);
    if (found == pairs.end() || found->second.reached.host.empty()) return addresses;
    const Address& reached = found->second.reached;
    if (std::find(addresses.begin(), addresses.end(), reached) == addresses.end()) {
        addresses.insert(addresses.begin(), reached);
    }
    return addresses;
}

std::vector<Address> Peers::dialable(const std::vector<Address>& addresses) const {
    std::vector<Address> all;
    for (const Address& each : addresses) {
        if (!needs_zone(each.host) || each.host.find('%') != std::string::npos) {
            all.push_back(each);
            continue;
        }
        for (const std::string& zone : zones) all.push_back({each.host + '%' + zone, each.port});
    }
    return all;
}

bool Peers::occupied(const PeerId& wanted, const Address& address) const {
    // A former run of this node listened there, too.
    if (own_.listens_on(address)) return true;
    if (!met(wanted) && roster_.blocked(address)) return true;
    return std::any_of(view.begin(), view.end(), [&](const Pair* pair) {
        return pair->id != wanted && pair->reached == address && pair->session->attached() != 0;
    });
}

bool Peers::leads_to_linked(const Address& address) const {
    const Pair* there = nullptr;
    for (const Pair* pair : view) {
        const bool says_so = publishes(pair->id, address);
        const bool proven = std::find(pair->proven.begin(), pair->proven.end(), address) != pair->proven.end();
        if (!says_so && !proven) continue;
        if (there != nullptr || !says_so || !proven || pair->session->attached() == 0) return false;
        there = pair;
    }
    return there != nullptr;
}

errc Peers::why_out_of_view(const Pair& pair) const {
    return pair.trouble == errc{} && addresses_of(pair.id).empty() ? errc::no_address : pair.trouble;
}

std::string Peers::who(const Pair& pair) const {
    if (pair.is_guest()) {
        return "guest=" + pair.id.to_string() + (pair.guest.here ? " name=" + quoted(pair.guest.name) : "");
    }
    const Facts* facts = roster_.find(pair.id);
    std::string text = "peer=" + pair.id.to_string();
    if (facts != nullptr) text += " name=" + quoted(facts->name);
    return text;
}

std::string Peers::who(const PeerId& id) const {
    const auto found = pairs.find(id);
    return found == pairs.end() ? "peer=" + id.to_string() : who(found->second);
}

/// The peer at the other end of a link, as far as the link has said it; with a space before it.
std::string Peers::who(const Link& link) const {
    if (link.pair == nullptr) return {};
    const bool known = link.pair->is_guest() ? link.pair->guest.here : roster_.find(link.pair->id) != nullptr;
    return ' ' + who(*link.pair) + (known || !link.hello ? "" : " name=" + quoted(link.hello->self.name));
}

LogLine Peers::line(LogLevel level, const Link& link, std::string_view event, const std::string& why) const {
    const std::string name(event);
    return {.level = level,
            .text = name + " address=" + token(link.remote) + who(link) + ' ' + why,
            .cause = name + ' ' + why.substr(0, why.find(' ')) + ' ' + link.remote.host,
            .stranger = link.state != LinkState::attached};
}

std::uint64_t Peers::digest() {
    if (digest_ && digest_of_ == roster_.changes()) return *digest_;
    std::uint64_t sum = Roster::digest(roster_.self());
    for (const auto& [id, pair] : pairs) {
        if (!exists(pair)) continue;
        if (const Facts* facts = roster_.find(id)) sum += Roster::digest(*facts);
    }
    digest_ = sum;
    digest_of_ = roster_.changes();
    return sum;
}

// For the application.

Peer Peers::describe(const Pair& pair) const {
    Peer peer;
    peer.id = pair.id;
    peer.state = pair.state;
    if (const Facts* facts = roster_.find(pair.id)) {
        peer.name = facts->name;
        peer.tags = facts->tags;
        if (!facts->addresses.empty()) peer.address = facts->addresses.front();
    }
    if (!pair.reached.host.empty()) peer.address = pair.reached;
    peer.observer = (pair.features & feature_observer) != 0;
    return peer;
}

std::vector<Peer> Peers::describe(const std::vector<Pair*>& some) const {
    std::vector<Peer> peers;
    peers.reserve(some.size());
    for (const Pair* pair : some) peers.push_back(describe(*pair));
    return peers;
}

std::vector<Peer> Peers::everybody() const {
    std::vector<Peer> all;
    for (const auto& [id, pair] : pairs) {
        // Nothing is known of a peer that never proved to be the one that it claims to be.
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

std::vector<Whereabouts> Peers::whereabouts() const {
    std::vector<Whereabouts> all;
    for (const Pair* pair : view) {
        const Facts* facts = roster_.find(pair->id);
        std::vector<Address> addresses = addresses_of(pair->id);
        const auto reached = std::find(addresses.begin(), addresses.end(), pair->reached);
        if (reached != addresses.end()) std::rotate(addresses.begin(), reached, reached + 1);
        all.push_back({pair->id, facts == nullptr ? std::string() : facts->name, std::move(addresses)});
    }
    return all;
}

std::vector<PeerGauges> Peers::gauges() const {
    std::vector<PeerGauges> gauges;
    for (const Pair* pair : view) {
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

std::size_t Peers::suspect_count() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(view.begin(), view.end(), [](const Pair* pair) { return pair->state == PeerState::suspect; }));
}

std::size_t Peers::unreachable_count() const noexcept {
    return static_cast<std::size_t>(std::count_if(pairs.begin(), pairs.end(), [](const auto& entry) {
        return !entry.second.in_view && entry.second.state == PeerState::unreachable;
    }));
}

}  // namespace cluster::core
