#include "core/patience.hpp"

#include <chrono>
#include <string>
#include <utility>

namespace cluster::core {

namespace {

/// R27, R31: time for the other side to read our last words.
constexpr Duration drain_timeout = std::chrono::seconds(1);
/// How long a redial may take to be answered, or a heartbeat if that is longer.
constexpr Duration least_attempt = std::chrono::seconds(1);

}  // namespace

Duration Patience::with(const Link& link) const {
    switch (link.state) {
        case LinkState::dialling:
            if (joins_.await(link.target)) return options_.connect_timeout;
            // A redial does not wait for the system's own attempts, which become rarer and rarer.
            return std::min(options_.connect_timeout, std::max<Duration>(options_.heartbeat, least_attempt));
        case LinkState::attaching: return options_.attach_timeout;
        case LinkState::attached:
        case LinkState::parting:
        case LinkState::refusing: return drain_timeout;
        case LinkState::greeting:
        case LinkState::greeted:
        case LinkState::waiting:
        case LinkState::offered: break;
    }
    return options_.handshake_timeout;
}

bool Patience::holds_back(Time now) {
    if (now < held_back_until_) return true;
    const Time due = std::max(held_back_until_, std::min(timers_.next(), plan_.next()));
    if (due >= now || now - due <= detector_.tolerance()) return false;
    was_late(now - due, now);
    // A node that is always late must make progress, too.
    held_back_until_ = held_back_ ? now : now + detector_.tolerance();
    return !std::exchange(held_back_, true);
}

/// For `lag` nobody could answer this node. What it waits for gets as much more time, but no more than if it began to
/// wait now.
void Patience::was_late(Duration lag, Time now) {
    detector_.slower();
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(lag).count();
    log(LogLevel::debug, "late milliseconds=" + std::to_string(milliseconds));
    for (Pair* pair : peers_.view) {
        Detector::forgive(pair->watch, lag, now);
        pair->asked_until = std::min(pair->asked_until + lag, now + Detector::hearing);
    }
    // A node that should dial us may have done so meanwhile.
    for (auto& [id, pair] : peers_.pairs) {
        if (!pair.in_view) pair.named = std::max(pair.named, std::min(pair.named + lag, now));
    }
    plan_.forgive(lag, now);
    timers_.postpone([&](EngineTimers::Key key, Time at) {
        Time most = at;
        if (key.kind == Timer::link) {
            if (const Link* link = peers_.find(key.id)) most = now + with(*link);
        } else if (key.kind == Timer::resume) {
            if (const Pair* pair = peers_.numbered(key.id)) most = now + pair->resume_for;
        } else if (key.kind == Timer::guest) {
            most = now + options_.suspicion;
        } else if (key.kind == Timer::join) {
            most = now + options_.connect_timeout;
        }
        return std::min(at + lag, most);
    });
}

}  // namespace cluster::core
