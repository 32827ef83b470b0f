#include "core/dial_plan.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

std::uint64_t DialPlan::seek(const Address& name, Kind kind, Time now) {
    Target& target = changed()[++last_number_];
    target.kind = kind;
    target.name = name;
    target.due = target.wanted = now;
    return last_number_;
}

void DialPlan::seek(const PeerId& peer, const std::vector<Address>& addresses, Time not_before) {
    for (auto& [number, target] : changed()) {
        if (target.kind != Kind::peer || target.peer != peer) continue;
        if (target.addresses == addresses) return;
        target.addresses = addresses;
        if (std::exchange(target.running, false)) target.due = target.wanted = not_before;  // anew
        return;
    }
    Target& target = changed()[++last_number_];
    target.peer = peer;
    target.addresses = addresses;
    target.due = target.wanted = not_before;
}

void DialPlan::check(const PeerId& peer, const std::vector<Address>& addresses, Time now) {
    if (addresses.empty()) return;
    Target& target = changed()[++last_number_];
    target.kind = Kind::check;
    target.peer = peer;
    target.addresses = addresses;
    target.due = target.wanted = now;
}

void DialPlan::drop(const PeerId& peer) {
    std::erase_if(changed(), [&](const auto& entry) {
        return is_for_peer(entry.second.kind) && entry.second.peer == peer;
    });
}

void DialPlan::drop(Kind kind) {
    std::erase_if(changed(), [&](const auto& entry) { return entry.second.kind == kind; });
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
    if (tokens_ < (kind == Kind::remembered ? reserved + 1 : 1)) return false;
    tokens_ -= 1;
    return true;
}

void DialPlan::put_off(Target& target, Duration by, Time now) {
    if (target.may_be_dialled() && target.due <= now) target.due = now + by;
}

std::optional<DialPlan::Step> DialPlan::step(Time now, const Occupied& occupied, const Earliest& earliest) {
    if (next() > now) return std::nullopt;
    const auto remembered = std::count_if(targets_.begin(), targets_.end(), [](const auto& entry) {
        return entry.second.kind == Kind::remembered && entry.second.running;
    });
    for (;;) {
        // Who has waited longest comes first: where the budget is short, all get their turn.
        auto next = targets_.end();
        for (auto each = targets_.begin(); each != targets_.end(); ++each) {
            if (!each->second.may_be_dialled() || each->second.due > now) continue;
            if (next == targets_.end() || each->second.wanted < next->second.wanted) next = each;
        }
        if (next == targets_.end()) return std::nullopt;
        const std::uint64_t number = next->first;
        Target& target = changed().at(number);
        if (!target.running) {
            if (target.kind == Kind::remembered && remembered >= std::ptrdiff_t{most_remembered}) {
                for (auto& [each, other] : targets_) {
                    if (other.kind == Kind::remembered && !other.running) put_off(other, stagger, now);
                }
                continue;
            }
            const Time begin = target.kind == Kind::peer ? earliest(*target.peer) : now;
            if (begin > now) {
                target.due = begin;
                continue;
            }
            target.running = true;
            target.begun = now;
            ++target.round;
            target.tried = target.open = 0;
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
            if (!spend(target.kind, now)) {
                constexpr Duration refill = std::chrono::milliseconds(20);
                if (target.kind != Kind::remembered) {
                    no_token_before_ = now + refill;  // nor for anybody who comes after it
                    return std::nullopt;
                }
                for (auto& [each, other] : targets_) {
                    if (other.kind == Kind::remembered) put_off(other, refill, now);
                }
                break;
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
    if (target.addresses.empty() && target.kind == Kind::peer) {
        target.due = never;  // it published nothing to dial; it has to come to us
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
    // Of several addresses the one that got further says more.
    if (target.error == errc{} || target.error == errc::connection_refused) target.error = error;
    if (target.tried < target.addresses.size()) target.due = now;
    return settle(ticket.target, target, now);
}

void DialPlan::answered(Ticket ticket, const PeerId& peer) {
    const auto found = changed().find(ticket.target);
    if (found == targets_.end()) return;
    Target& target = found->second;
    if (ticket.round == target.round && target.open > 0) --target.open;
    target.running = false;
    target.told = {};
    target.peer = peer;
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
    for (auto& [number, target] : targets_) {
        if (target.kind == Kind::check || target.peer != peer) continue;
        target.rounds = 0;
        target.was_attached = true;
    }
}

void DialPlan::released(const PeerId& peer, bool known, Time now) {
    for (auto& [number, target] : changed()) {
        if (target.kind == Kind::check || target.peer != peer) continue;
        target.engaged = false;
        target.running = false;
        // A link that is lost is dialled again at once, but not one that is lost again and again.
        const bool at_once = target.was_attached && now - target.hurried >= reconnect_min_;
        target.due = at_once ? now : now + pause(target.rounds++);
        target.wanted = target.due;
        if (at_once) target.hurried = now;
        target.looks = at_once ? 0 : second_looks;
        target.urgent = at_once;
        target.was_attached = false;
        if (!is_for_peer(target.kind) && !known) target.peer.reset();
    }
}

/// Addresses that have led to `peer` again.
void DialPlan::drop_remembered(const PeerId& peer) {
    std::erase_if(targets_, [&](const auto& entry) {
        return entry.second.kind == Kind::remembered && entry.second.peer == peer;
    });
}

void DialPlan::unbind(const PeerId& peer, Time now) {
    drop_remembered(peer);
    for (auto& [number, target] : changed()) {
        if (is_for_peer(target.kind) || target.peer != peer) continue;
        target.peer.reset();
        target.engaged = false;
        target.due = target.wanted = now + pause(target.rounds++);
    }
}

void DialPlan::hurry(const PeerId& peer, Duration pause, Time now) {
    for (auto& [number, target] : changed()) {
        if (target.kind != Kind::peer || target.peer != peer || now - target.hurried < pause) continue;
        target.hurried = now;
        target.running = false;  // who was dialled before may be the one that does not answer
        target.due = target.wanted = now;
    }
}

Duration DialPlan::pause(unsigned rounds) {
    Duration pause = reconnect_max_;
    if (rounds < 32 && reconnect_min_.count() <= (reconnect_max_.count() >> rounds)) {
        pause = Duration(reconnect_min_.count() << rounds);
    }
    const auto spread = static_cast<double>(dice_.below(1024)) / 2048;  // three quarters to five quarters
    const auto jittered = static_cast<double>(pause.count()) * (0.75 + spread);
    return std::min(reconnect_max_, Duration(static_cast<Duration::rep>(jittered)));
}

}  // namespace cluster::core
