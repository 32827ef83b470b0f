#include "core/dialling.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace cluster::core {

namespace {

/// How long the node with the larger id waits for the other to dial first, when it has just heard of that one. The work
/// of forming a mesh of n nodes grows with n squared, and one thread may have to do all of it.
Duration dial_grace(std::size_t nodes) {
    constexpr Duration least = std::chrono::milliseconds(200);
    constexpr Duration most = std::chrono::seconds(2);
    constexpr Duration each = std::chrono::microseconds(100);
    const auto count = static_cast<Duration::rep>(std::min<std::size_t>(nodes, 1000));
    return std::clamp<Duration>(each * (count * count), least, most);
}

/// How many times that long it waits at most, if peers come one after the other all the time.
constexpr int most_graces = 4;

}  // namespace

void Dialling::begin(Time now) {
    const auto is_occupied = [&](const PeerId& wanted, const Address& address) {
        return peers_.occupied(wanted, address);
    };
    const auto earliest = [&](const PeerId& id) {
        const Pair* pair = peers_.find(id);
        if (pair == nullptr || roster_.self().id < id || pair->in_view) return Time();
        const Duration grace = dial_grace(peers_.pairs.size());
        // While others come, the node that should dial us may not have had its turn yet.
        return std::max(pair->named, std::min(peers_.last_shown, pair->named + most_graces * grace)) + grace;
    };
    const auto is_linked = [&](const Address& address) { return peers_.leads_to_linked(address); };
    while (const auto step = plan_.step(now, is_occupied, earliest, is_linked)) {
        if (step->resolve) {
            actions_.push_back(Resolve{step->target, step->address});
            continue;
        }
        Link& link = peers_.open(step->address);
        link.state = LinkState::dialling;
        link.dialled = true;
        link.wanted = step->address;
        link.begun = now;
        link.target = step->target;
        link.round = step->round;
        timers_.set({Timer::link, link.id}, now + patience_.with(link));
        ++counters_.dials;
        if (const auto& sought = *plan_.bound(step->target)) suspicions_.await_dial(*sought, now);
        actions_.push_back(Dial{link.id, step->address});
    }
    for (const DialPlan::Round& round : plan_.take_ended()) round_failed(round, now);
    may_be_settled();  // all addresses of a seed may lead to linked peers
}

void Dialling::resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now) {
    errc why = error == errc{} ? errc::unresolvable_host : error;
    addresses = peers_.dialable(addresses);
    // All processes may be given the same seeds, their own address among them. The own addresses are read each time,
    // because an address may go from one host to another.
    const auto is_own = [&](const Address& each) { return own_.listens_on(each); };
    const bool added = joins_.await(target);
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
    begin(now);
}

void Dialling::round_failed(const DialPlan::Round& round, Time now) {
    may_be_settled();
    if (round.kind == DialPlan::Kind::added && joins_.failed(round.target, round.error)) return;
    if (!DialPlan::is_for_peer(round.kind)) {
        const bool seed = round.kind == DialPlan::Kind::seed;
        const bool added = round.kind == DialPlan::Kind::added;
        const bool news = round.news && round.error != errc::self;
        log(!news  ? LogLevel::debug
            : seed ? LogLevel::warning
                   : LogLevel::info,
            std::string(seed    ? "seed"
                        : added ? "added"
                                : "remembered") +
                "_unreachable address=" + token(round.name) + " why=" + quoted(make_error_code(round.error).message()));
        // An added address is over when its peer has parted from this node. A remembered one is over when a node of
        // another cluster answers there, which need not be disturbed again.
        const bool over = added ? round.error == errc::removed : !seed && round.error == errc::wrong_cluster;
        if (over) plan_.drop(round.target);
    }
    if (round.kind == DialPlan::Kind::check) plan_.drop(round.target);
    if (round.kind == DialPlan::Kind::peer) {
        Pair* pair = peers_.find(*round.peer);
        if (pair == nullptr) return;
        pair->trouble = round.error;
        suspicions_.verify(*pair, now);
    }
}

// What becomes of a dial.

void Dialling::failed(Link& link, errc error, Time now) {
    const std::uint64_t target = std::exchange(link.target, 0);
    if (target == 0) return;
    const DialPlan::Kind kind = plan_.kind(target);
    if (kind == DialPlan::Kind::seed && link.pair != nullptr && peers_.attached_link(*link.pair) != nullptr) {
        may_be_settled();
        return plan_.answered({target, link.round}, link.pair->id, now);  // its peer is linked in another way
    }
    ++counters_.dials_failed;
    const auto* bound = plan_.bound(target);
    const std::optional<PeerId> sought =
        bound != nullptr && DialPlan::is_for_peer(kind) ? *bound : std::optional<PeerId>();
    // Only the address itself can say that nobody is there. Another node that answers in place of the one that is
    // sought, even this node itself, is evidence against nobody.
    const bool refused = link.state == LinkState::dialling && error == errc::connection_refused;
    const Suspicions::Attempt attempt{link.wanted, link.begun, refused, sought};
    if (const auto round = plan_.failed({target, link.round}, error, now)) round_failed(*round, now);
    suspicions_.came_to_nothing(attempt, now);
}

bool Dialling::finds_linked(Link& link, Pair& pair, Time now) {
    if (plan_.kind(link.target) == DialPlan::Kind::check && **plan_.bound(link.target) == pair.id) {
        Suspicions::found_at(pair, link.wanted);
        plan_.drop(std::exchange(link.target, 0));
        return peers_.attached_link(pair) != nullptr;
    }
    if (plan_.kind(link.target) != DialPlan::Kind::seed || peers_.attached_link(pair) == nullptr) return false;
    if (peers_.publishes(pair.id, link.wanted)) Suspicions::found_at(pair, link.wanted);
    plan_.answered({std::exchange(link.target, 0), link.round}, pair.id, now);
    may_be_settled();
    return true;
}

void Dialling::reached(Link& link, Pair& pair, Time now) {
    // The dial of a seed has its answer only when the peer is linked.
    if (link.target == 0 || plan_.kind(link.target) == DialPlan::Kind::seed) return;
    const auto* wanted = plan_.bound(link.target);
    if (wanted != nullptr && DialPlan::is_for_peer(plan_.kind(link.target)) && **wanted != pair.id) {
        return failed(link, errc::not_in_view, now);
    }
    joins_.reached(link.target, pair.id);
    plan_.answered({std::exchange(link.target, 0), link.round}, pair.id, now);
    if (Link* current = peers_.attached_link(pair); current != nullptr && current->completed) joins_.completed(pair.id);
}

void Dialling::unblock(const Address& address) {
    const bool taken = std::any_of(peers_.pairs.begin(), peers_.pairs.end(), [&](const auto& entry) {
        const std::vector<Address> addresses = peers_.addresses_of(entry.first);
        return entry.second.attachments != 0 &&
               std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    });
    roster_.unblock(address, !taken);
}

/// The peer found at `dialled` may be on another host, and would never be able to dial this node. Warns of that once.
void Dialling::warn_of_loopback(const std::vector<Address>& dialled) {
    const auto& own = roster_.self().addresses;
    const auto is_here = [](const Address& each) { return is_loopback(each.host); };
    if (warned_of_loopback_ || own.empty() || !std::all_of(own.begin(), own.end(), is_here)) return;
    const auto elsewhere = std::find_if_not(dialled.begin(), dialled.end(), is_here);
    if (elsewhere == dialled.end()) return;
    warned_of_loopback_ = true;
    log(LogLevel::warning, "listens_on_loopback address=" + token(own.front()) + " dials=" + token(*elsewhere) +
                               " why=" + quoted(loopback_advice));
}

// Whether all have been tried.

bool Dialling::is_settled() const {
    return std::all_of(peers_.view.begin(), peers_.view.end(), [](const Pair* pair) { return pair->listed; }) &&
           all_tried();
}

bool Dialling::settled() {
    settling_ = !is_settled();
    return !settling_;
}

bool Dialling::take_settled() {
    if (!std::exchange(settle_due_, false) || !is_settled()) return false;
    settling_ = false;
    return true;
}

}  // namespace cluster::core
