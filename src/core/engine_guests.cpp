#include "core/engine.hpp"

#include <optional>
#include <string>

// Guests: programs outside of the cluster, each with a link and a session. `Guests` knows who is here.

namespace cluster::core {

/// Whether a guest may have a link with this node, as far as that can be told from its HELLO.
std::optional<Engine::Objection> Engine::objection_to_guest(const Link& link, const PeerId& id) {
    if (options_.guest) return Objection{Refusal::unsupported, "a guest does not link with a guest"};
    if (link.dialled) return Objection{Refusal::unsupported, "a guest dials and is not dialled"};
    if (roster_.departed(id)) return Objection{Refusal::over};
    if (leaving_) return Objection{Refusal::leaving};
    if (peers_.guests.contains(id)) return std::nullopt;
    // Who has been away for longest makes room: it may well have ended, and come again under another id.
    if (guests_.full() && guests_.longest_away() == nullptr) {
        return Objection{Refusal::full, options_.max_guests == 0 ? "this node takes no guests (max_guests)"
                                                                 : "this node has all guests it takes (max_guests)"};
    }
    return std::nullopt;
}

/// A place for the guest, which then has it until it is forgotten.
Pair& Engine::place_for_guest(const PeerId& id, Time now) {
    if (Pair* away = guests_.longest_away(); away != nullptr && guests_.full() && !peers_.guests.contains(id)) {
        end_guest(*away, "max_guests", now);
        sweep();
    }
    return peers_.guest_of(id);
}

/// The pair is attached on `link`: the guest is here, or here again.
void Engine::welcome(Pair& pair, const Hello& hello, Link& link, Time now) {
    pair.watch = {.heard = now};
    pair.entered = now;
    if (++pair.attachments > 1) ++counters_.sessions_resumed;
    timers_.cancel({Timer::resume, pair.number});
    timers_.cancel({Timer::link, link.id});
    guests_.attached(pair, hello, link, now);
}

/// This node ends the guest's session, which the guest may still have.
void Engine::end_guest(Pair& pair, const std::string& why, Time now) {
    log(LogLevel::debug, "guest_given_up " + peers_.who(pair) + " why=" + why);
    forget_session(pair, now);
}

/// Its timer says that the guest may be silent.
void Engine::watch_guest(Pair& pair, Time now) {
    Link* link = peers_.attached_link(pair);
    if (link == nullptr) return;
    switch (guests_.silence(pair, now)) {
        case Guests::Silence::heard: return;
        case Guests::Silence::probed:
            ++counters_.probes_sent;
            link->due.ping = true;
            return peers_.ready(*link);
        case Guests::Silence::too_long: return drop(link->id, "silence", errc::connection_lost, now);
    }
}

/// Something has come from a guest. False if its link is gone now.
bool Engine::within_limits(Pair& pair, Time now) {
    const LinkId link = pair.session->attached();
    while (guests_.hold_too_much(pair)) {
        Pair* largest = guests_.largest();
        end_guest(*largest, "unfinished_messages", now);
        if (largest == &pair) return false;
    }
    return peers_.find(link) != nullptr;
}

/// They learn at once that this node leaves, and what it had accepted from them.
void Engine::leave_guests(Time now) {
    for (auto& [id, pair] : peers_.guests) {
        if (Link* link = peers_.attached_link(pair)) say_goodbye(*link, Farewell::leaving, now);
    }
}

}  // namespace cluster::core
