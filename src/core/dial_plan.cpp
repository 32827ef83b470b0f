#include "core/dial_plan.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

/// Whether an answer of a seed's address is final until the next look: nobody, or nobody of this cluster, is there.
bool certain(errc error) {
    return error == errc::connection_refused || error == errc::self || error == errc::not_a_cluster_node ||
           error == errc::wrong_cluster || error == errc::wrong_version || error == errc::removed;
}

}  // namespace

std::uint64_t DialPlan::seek(const Address& name, Kind kind, Time now) {
    Target& target = changed()[++last_number_];
    target.kind = kind;
    target.name = name;
    target.due = target.wanted = now;
    return last_number_;
}

void DialPlan::seek(const PeerId& peer, const std::vector<Address>& addresses, Time not_before) {
    for (auto& [number, target] : changed()) {
        if (!sought(target, peer)) continue;
        met(target);
        if (target.addresses == addresses) return;
        target.addresses = addresses;
        if (target.running && target.connected) return;
        if (std::exchange(target.running, false)) target.due = target.wanted = not_before;  // anew
        return;
    }
    Target& target = changed()[++last_number_];
    target.peer = peer;
    target.addresses = addresses;
    target.due = target.wanted = not_before;
}

void DialPlan::hear(const PeerId& peer, const PeerId& teller, const std::vector<Address>& addresses, Time now) {
    const auto found =
        std::find_if(targets_.begin(), targets_.end(), [&](const auto& entry) { return sought(entry.second, peer); });
    if (found != targets_.end() && found->second.kind == Kind::peer) return seek(peer, addresses, now);
    Target& target = found == targets_.end() ? changed()[++last_number_] : changed().at(found->first);
    if (found == targets_.end()) {
        target.kind = Kind::hearsay;
        target.peer = peer;
        target.teller = teller;
        target.due = target.wanted = now;
    } else if (target.teller != teller && allowance(target.teller, now).dials < 1) {
        target.teller = teller;
        if (!target.running || target.open == 0) target.due = std::min(target.due, now);
    }
    if (target.addresses == addresses) return;
    target.addresses = addresses;
    if (target.running && target.connected) return;
    if (std::exchange(target.running, false)) target.due = target.wanted = now;
}

void DialPlan::check(const PeerId& peer, const std::vector<Address>& addresses, Time now) {
    if (addresses.empty()) return;
    Target& target = changed()[++last_number_];
    target.kind = Kind::check;
    target.peer = peer;
    target.addresses = addresses;
    target.due = target.wanted = now;
}

std::size_t DialPlan::checks() const noexcept {
    return static_cast<std::size_t>(std::count_if(
        targets_.begin(), targets_.end(), [](const auto& entry) { return entry.second.kind == Kind::check; }));
}

void DialPlan::drop(const PeerId& peer) {
    std::erase_if(changed(), [&](const auto& entry) {
        return is_for_peer(entry.second.kind) && entry.second.peer == peer;
    });
}

void DialPlan::drop(Kind kind) {
    std::erase_if(changed(), [&](const auto& entry) { return entry.second.kind == kind; });
}

void DialPlan::keep(std::uint64_t number, const PeerId& peer) {
    const auto found = changed().find(number);
    if (found == targets_.end()) return;
    const Address name = found->second.name;
    std::erase_if(targets_, [&](const auto& entry) {
        return entry.second.kept && entry.first != number && entry.second.name == name;
    });
    Target& target = found->second;
    target.kept = true;
    target.peer = target.former = peer;
    const auto is_kept = [](const auto& entry) { return entry.second.kept; };
    if (std::count_if(targets_.begin(), targets_.end(), is_kept) > std::ptrdiff_t{most_added}) {
        targets_.erase(std::find_if(targets_.begin(), targets_.end(), is_kept));
    }
}

bool DialPlan::drop_added(const PeerId& peer) {
    return std::erase_if(changed(), [&](const auto& entry) {
               return entry.second.kept && (entry.second.peer == peer || entry.second.former == peer);
           }) != 0;
}

void DialPlan::keep_only(const std::vector<PeerId>& peers) {
    std::erase_if(changed(), [&](const auto& entry) {
        const Target& target = entry.second;
        return target.kind != Kind::peer || std::find(peers.begin(), peers.end(), *target.peer) == peers.end();
    });
}

bool DialPlan::spend(Kind kind, Time now) {
    tokens_ = std::min(burst, tokens_ + std::chrono::duration<double>(now - refilled_).count() * rate);
    refilled_ = now;
    if (tokens_ < (stands_back(kind) ? reserved + 1 : 1)) return false;
    tokens_ -= 1;
    return true;
}

DialPlan::Allowance& DialPlan::allowance(const PeerId& teller, Time now) {
    const auto left = [now](const Allowance& each) {
        const auto passed = std::chrono::duration<double>(now - each.since);
        return std::min(hearsay_burst, each.dials + passed / std::chrono::duration<double>(hearsay_pause));
    };
    if (!tellers_.contains(teller) && tellers_.size() >= most_hearsay) {
        // A teller that has all its dials again counts as if it had never told anything.
        std::erase_if(tellers_, [&](const auto& entry) { return left(entry.second) >= hearsay_burst; });
        if (tellers_.size() >= most_hearsay) tellers_.erase(tellers_.begin());
    }
    Allowance& found = tellers_.try_emplace(teller, Allowance{hearsay_burst, now}).first->second;
    found = {left(found), now};
    return found;
}

/// Whether hearsay may be dialled. If not, all peers that its teller has named wait for the next dial.
bool DialPlan::may_hear(const Target& target, Time now) {
    const double left = allowance(target.teller, now).dials;
    if (left >= 1) return true;
    const auto wait = std::chrono::duration_cast<Duration>((1 - left) * hearsay_pause) + std::chrono::milliseconds(1);
    for (auto& [number, each] : targets_) {
        if (each.kind != Kind::hearsay || each.teller != target.teller) continue;
        if (put_off(each, wait, now)) each.starved = true;
    }
    return false;
}

/// The hearsay is true. Its teller gets back what it cost, and targets that lacked those dials go on.
void DialPlan::met(Target& target) {
    if (target.kind != Kind::hearsay) return;
    target.kind = Kind::peer;
    unshun(target);
    if (const auto teller = tellers_.find(target.teller); teller != tellers_.end()) {
        double& dials = teller->second.dials;
        dials = std::min(hearsay_burst, dials + static_cast<double>(target.spent));
    }
    for (auto& [number, each] : changed()) {
        if (each.teller == target.teller && std::exchange(each.starved, false)) each.due = each.wanted;
    }
}

void DialPlan::unshun(const Target& target) {
    for (const Address& address : target.addresses) shunned_.erase(address);
}

bool DialPlan::shunned(const Address& address, Time now) const {
    const auto found = shunned_.find(address);
    return found != shunned_.end() && now < found->second.until;
}

void DialPlan::shun(const Address& address, Time now) {
    if (!shunned_.contains(address) && shunned_.size() >= most_hearsay) {
        std::erase_if(shunned_, [now](const auto& entry) { return entry.second.until <= now; });
        if (shunned_.size() >= most_hearsay) shunned_.erase(shunned_.begin());
    }
    Shunned& entry = shunned_[address];
    entry.until = now + pause(entry.times++);
}

/// Whether it would be dialled now, and waits instead.
bool DialPlan::put_off(Target& target, Duration by, Time now) {
    const bool waits = target.may_be_dialled() && target.due <= now;
    if (waits) target.due = now + by;
    return waits;
}

std::optional<DialPlan::Step> DialPlan::step(Time now, const Occupied& occupied, const Earliest& earliest,
                                             const Linked& linked) {
    if (next() > now) return std::nullopt;
    const auto remembered = std::count_if(targets_.begin(), targets_.end(), [](const auto& entry) {
        return entry.second.kind == Kind::remembered && entry.second.running;
    });
    for (;;) {
        // The target that has waited longest comes first: even if the budget is short, all get their turn.
        auto next = targets_.end();
        for (auto each = targets_.begin(); each != targets_.end(); ++each) {
            if (!each->second.may_be_dialled() || each->second.due > now) continue;
            if (next == targets_.end() || each->second.wanted < next->second.wanted) next = each;
        }
        if (next == targets_.end()) return std::nullopt;
        const std::uint64_t number = next->first;
        Target& target = changed().at(number);
        if (now >= target.until) {
            targets_.erase(number);
            continue;
        }
        if (!target.running) {
            if (target.kind == Kind::remembered && remembered >= std::ptrdiff_t{most_remembered}) {
                for (auto& [each, other] : targets_) {
                    if (other.kind == Kind::remembered && !other.running) put_off(other, stagger, now);
                }
                continue;
            }
            const bool redialled = target.kind == Kind::peer || target.kind == Kind::hearsay;
            const Time begin = redialled ? earliest(*target.peer) : now;
            if (begin > now) {
                target.due = begin;
                continue;
            }
            target.running = true;
            target.begun = now;
            ++target.round;
            target.tried = target.open = target.found = 0;
            target.connected = target.uncertain = false;
            target.error = {};
            if (!is_for_peer(target.kind)) {
                target.resolving = true;
                return Step{number, target.round, target.name, true};
            }
        }
        while (target.tried < target.addresses.size()) {
            const Address& address = target.addresses[target.tried];
            if (is_for_peer(target.kind) && occupied(*target.peer, address)) {
                ++target.tried;
                continue;
            }
            if (target.kind == Kind::seed && linked(address)) {
                ++target.tried;
                ++target.found;
                continue;
            }
            if (target.kind == Kind::hearsay && shunned(address, now)) {
                ++target.tried;
                continue;
            }
            if (target.kind == Kind::hearsay && !may_hear(target, now)) break;
            if (!spend(target.kind, now)) {
                constexpr Duration refill = std::chrono::milliseconds(20);
                if (!stands_back(target.kind)) {
                    no_token_before_ = now + refill;  // nor for any target after it
                    return std::nullopt;
                }
                for (auto& [each, other] : targets_) {
                    if (stands_back(other.kind)) put_off(other, refill, now);
                }
                break;
            }
            if (target.kind == Kind::hearsay) {
                allowance(target.teller, now).dials -= 1;
                ++target.spent;
                target.starved = false;
                shun(address, now);
            }
            ++target.tried;
            ++target.open;
            const Duration next_one = target.urgent ? short_stagger : stagger;
            target.due = target.tried < target.addresses.size() ? now + next_one : never;
            return Step{number, target.round, address, false};
        }
        if (auto round = settle(number, target, now)) ended_.push_back(*round);
    }
}

Time DialPlan::next() const {
    if (next_) return std::max(*next_, no_token_before_);
    Time next = never;
    for (const auto& [number, target] : targets_) {
        if (!target.may_be_dialled()) continue;
        next = std::min(next, target.due);
    }
    next_ = next;
    return std::max(next, no_token_before_);
}

std::optional<DialPlan::Round> DialPlan::settle(std::uint64_t number, Target& target, Time now) {
    if (target.tried < target.addresses.size()) return std::nullopt;
    if (target.open > 0) {
        target.due = never;  // the dials under way end the round
        return std::nullopt;
    }
    target.running = false;
    target.was_tried = true;
    if (target.kind == Kind::seed && target.found > 0) {
        if (!std::exchange(target.fruitful, true)) target.rounds = 0;  // others there are worth a closer look
        const Duration most = target.uncertain ? reconnect_max_ : seed_rest * reconnect_max_;
        target.due = target.wanted = std::max(now, target.begun + pause(target.rounds++, most));
        target.told = {};
        return std::nullopt;
    }
    const bool published = target.kind == Kind::peer || target.kind == Kind::hearsay;
    if (target.addresses.empty() && published) {
        target.due = never;  // it published nothing to dial, so it has to dial us
        return std::nullopt;
    }
    if (target.error == errc::connection_lost && target.looks < second_looks) {
        target.due = now + second_look * (1 << target.looks++);
    } else {
        target.due = std::max(now, target.begun + pause(target.rounds++));
        target.urgent = false;
    }
    target.wanted = target.due;
    const errc error = target.error == errc{} ? errc::connection_refused : target.error;
    const bool news = std::exchange(target.told, error) != error;
    return Round{number, target.kind, target.peer, target.name, error, news};
}

void DialPlan::resolved(std::uint64_t number, std::vector<Address> addresses, Time now) {
    const auto found = changed().find(number);
    if (found == targets_.end() || !found->second.resolving) return;
    found->second.resolving = false;
    if (addresses.size() > most_addresses) addresses.resize(most_addresses);
    found->second.addresses = std::move(addresses);
    found->second.due = now;
}

std::optional<DialPlan::Round> DialPlan::failed(Ticket ticket, errc error, Time now) {
    const auto found = changed().find(ticket.target);
    if (found == targets_.end()) return std::nullopt;
    Target& target = found->second;
    if (target.resolving) {
        target.resolving = false;
        target.addresses.clear();
    } else if (ticket.round == target.round && target.open > 0) {
        --target.open;
    } else {
        return std::nullopt;
    }
    if (!target.running) return std::nullopt;
    if (!certain(error)) target.uncertain = true;
    // Nobody needs to be waited for at an address that belongs to others and to this node.
    if (target.kind == Kind::seed && target.fruitful && error == errc::self) ++target.found;
    // Of several addresses, the error of the one that got further says more.
    if (target.error == errc{} || target.error == errc::connection_refused) target.error = error;
    if (target.tried < target.addresses.size()) target.due = now;
    return settle(ticket.target, target, now);
}

void DialPlan::connected(Ticket ticket) {
    const auto found = targets_.find(ticket.target);
    if (found != targets_.end() && found->second.round == ticket.round) found->second.connected = true;
}

void DialPlan::answered(Ticket ticket, const PeerId& peer, Time now) {
    const auto found = changed().find(ticket.target);
    if (found == targets_.end()) return;
    Target& target = found->second;
    if (target.kind == Kind::seed) {
        if (ticket.round != target.round || target.open == 0 || !target.running) return;
        --target.open;
        ++target.found;
        if (target.tried < target.addresses.size()) target.due = now;
        settle(ticket.target, target, now);
        return;
    }
    if (ticket.round == target.round && target.open > 0) --target.open;
    target.running = false;
    target.told = {};
    target.peer = peer;
}

bool DialPlan::all_tried(const std::function<bool(const PeerId&)>& met) const {
    return std::all_of(targets_.begin(), targets_.end(), [&](const auto& entry) {
        const Target& target = entry.second;
        const bool told = target.kind == Kind::peer || target.kind == Kind::hearsay;
        const bool counts = target.kind == Kind::seed || told;
        return !counts || target.was_tried || (target.peer && met(*target.peer));
    });
}

const std::optional<PeerId>* DialPlan::bound(std::uint64_t target) const {
    const auto found = targets_.find(target);
    return found == targets_.end() ? nullptr : &found->second.peer;
}

DialPlan::Kind DialPlan::kind(std::uint64_t target) const {
    const auto found = targets_.find(target);
    return found == targets_.end() ? Kind::peer : found->second.kind;
}

void DialPlan::engaged(const PeerId& peer) {
    for (auto& [number, target] : changed()) {
        if (target.kind == Kind::check || target.peer != peer || target.engaged) continue;
        target.engaged = true;
        target.was_attached = false;
        target.running = false;
    }
}

void DialPlan::attached(const PeerId& peer) {
    drop_remembered(peer);
    for (auto& [number, target] : changed()) {
        if (target.kind == Kind::check || target.peer != peer) continue;
        met(target);
        if (!std::exchange(target.engaged, true)) target.running = false;
        target.until = never;
        target.rounds = 0;
        target.was_attached = true;
    }
}

void DialPlan::released(const PeerId& peer, bool known, Time now) {
    for (auto& [number, target] : changed()) {
        if (target.kind == Kind::check || target.peer != peer) continue;
        target.engaged = false;
        target.running = false;
        target.was_tried = true;
        // A lost link is dialled again at once, unless it is lost again and again.
        const bool at_once = target.was_attached && now - target.redialled >= reconnect_min_;
        target.due = at_once ? now : now + pause(target.rounds++);
        target.wanted = target.due;
        if (at_once) target.hurried = target.redialled = now;
        target.looks = at_once ? 0 : second_looks;
        target.urgent = at_once;
        target.was_attached = false;
        if (!is_for_peer(target.kind) && !known) target.former = std::exchange(target.peer, std::nullopt);
    }
}

/// Addresses that have led to `peer` again.
void DialPlan::drop_remembered(const PeerId& peer) {
    std::erase_if(targets_, [&](const auto& entry) {
        return entry.second.kind == Kind::remembered && entry.second.peer == peer;
    });
}

void DialPlan::unbind(const PeerId& peer, Time now, Time until) {
    drop_remembered(peer);
    for (auto& [number, target] : changed()) {
        if (target.kind == Kind::seed && std::exchange(target.fruitful, false)) {
            target.rounds = 0;
            if (target.running) continue;
            target.due = target.wanted = std::min(target.due, now + pause(target.rounds++));
        }
        if (is_for_peer(target.kind) || target.peer != peer) continue;
        target.former = std::exchange(target.peer, std::nullopt);
        target.engaged = false;
        if (target.kept) target.until = until;
        target.due = target.wanted = now + pause(target.rounds++);
    }
}

void DialPlan::hurry(const PeerId& peer, Duration pause, Time now) {
    for (auto& [number, target] : changed()) {
        if (!sought(target, peer) || now - target.hurried < pause) continue;
        if (target.running && target.connected) continue;
        target.hurried = now;
        target.running = false;  // the peer that was dialled before may be the one that does not answer
        if (target.kind == Kind::hearsay) unshun(target);
        target.due = target.wanted = now;
    }
}

void DialPlan::forgive(Duration lag, Time now) {
    for (auto& [number, target] : changed()) {
        if (!target.running || target.resolving) continue;
        target.begun = std::min(target.begun + lag, now);
        const bool waits = target.open > 0 && target.due != never;
        if (waits) target.due = std::max(target.due, std::min(target.due + lag, now + stagger));
    }
}

Duration DialPlan::pause(unsigned rounds, Duration most) {
    Duration pause = most;
    if (rounds < 32 && reconnect_min_.count() <= (most.count() >> rounds)) {
        pause = Duration(reconnect_min_.count() << rounds);
    }
    const auto spread = static_cast<double>(dice_.below(1024)) / 2048;  // three quarters to five quarters
    const auto jittered = static_cast<double>(pause.count()) * (0.75 + spread);
    return std::min(most, Duration(static_cast<Duration::rep>(jittered)));
}

}  // namespace cluster::core
