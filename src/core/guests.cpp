#include "core/guests.hpp"

#include "value/address.hpp"

#include <algorithm>

namespace cluster::core {

Pair* Guests::longest_away() const {
    return away_.empty() ? nullptr : peers_.numbered(away_.begin()->second);
}

void Guests::attached(Pair& pair, const Hello& hello, const Link& link, Time now) {
    away_.erase({std::exchange(pair.guest.away, never), pair.number});
    timers_.set({Timer::guest, pair.number}, now + options_.suspicion);
    if (std::exchange(pair.guest.here, true)) return;
    ++here_;
    pair.guest.name = hello.self.name;
    if (!leaving_) {
        Peer guest;
        guest.id = pair.id;
        guest.name = hello.self.name;
        guest.tags = hello.self.tags;
        guest.address = link.remote;
        actions_.push_back(GuestCame{std::move(guest)});
    }
    log(LogLevel::debug, "guest_came " + peers_.who(pair) + " from=" + token(link.remote));
}

void Guests::lost_link(Pair& pair, Time now) {
    timers_.cancel({Timer::guest, pair.number});
    if (pair.guest.away != never) return;
    pair.guest.away = now;
    away_.emplace(now, pair.number);
}

void Guests::ended(Pair& pair) {
    timers_.cancel({Timer::guest, pair.number});
    away_.erase({std::exchange(pair.guest.away, never), pair.number});
    count_unfinished(pair, 0);
    if (!pair.guest.here) return;
    log(LogLevel::debug, "guest_went " + peers_.who(pair));
    pair.guest.here = false;
    --here_;
    if (!leaving_) actions_.push_back(GuestWent{pair.id});
}

Guests::Silence Guests::silence(Pair& pair, Time now) {
    const Time heard = pair.watch.heard;
    if (now - heard < options_.suspicion) {
        timers_.set({Timer::guest, pair.number}, heard + options_.suspicion);
        return Silence::heard;
    }
    if (pair.guest.probed > heard) return Silence::too_long;
    pair.guest.probed = now;
    timers_.set({Timer::guest, pair.number}, now + options_.suspicion);
    return Silence::probed;
}

void Guests::count_unfinished(Pair& pair, std::uint64_t bytes) {
    unfinished_ += bytes;
    unfinished_ -= std::exchange(pair.guest.unfinished, bytes);
}

bool Guests::hold_too_much(Pair& pair) {
    count_unfinished(pair, pair.session->channel(client_channel)->in.partial_charge());
    return unfinished_ > options_.inbox_bytes / 4;
}

Pair* Guests::largest() const {
    const auto found = std::max_element(peers_.guests.begin(), peers_.guests.end(), [](const auto& a, const auto& b) {
        return a.second.guest.unfinished < b.second.guest.unfinished;
    });
    return found == peers_.guests.end() ? nullptr : &found->second;
}

}  // namespace cluster::core
