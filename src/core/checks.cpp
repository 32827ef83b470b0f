#include "core/checks.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace cluster::core {

namespace {

/// A mesh of n nodes needs about n times n / 2 checks, and one thread may have to make all of them. So newcomers come
/// first, but one that comes alone is checked at once. A node waits until no newcomer has come for this long, times the
/// number that came before without a pause.
constexpr Duration check_delay = std::chrono::milliseconds(4);
constexpr Duration most_check_delay = std::chrono::milliseconds(100);
/// How many checks one node begins in that time, at most.
constexpr int checks_per_delay = 10;
constexpr Duration least_check_pause = std::chrono::milliseconds(1);
/// How many checks of one node are under way at most: so a slow node makes fewer of them.
constexpr std::size_t most_checks = 4;

}  // namespace

void Checks::add(const Pair& pair, Time now) {
    if (leaving_) return;
    if (now - last_newcomer_ >= options_.heartbeat) newcomers_ = 0;
    ++newcomers_;
    last_newcomer_ = now;
    if (unproven_.empty()) unproven_since_ = now;
    if (std::find(unproven_.begin(), unproven_.end(), pair.id) == unproven_.end()) unproven_.push_back(pair.id);
    const Time latest = unproven_since_ + options_.suspicion;
    timers_.set({Timer::check, 0}, std::max(now, std::min(now + pause(), latest)));
}

Duration Checks::pause() const {
    return std::min<Duration>(check_delay * (newcomers_ - 1), most_check_delay);
}

void Checks::next(Time now) {
    const Time latest = unproven_since_ + options_.suspicion;
    if (now < latest && !all_tried()) return timers_.set({Timer::check, 0}, std::min(now + most_check_delay, latest));
    while (!unproven_.empty() && plan_.checks() < most_checks) {
        const PeerId id = unproven_.front();
        unproven_.pop_front();
        const Pair* pair = peers_.find(id);
        if (pair == nullptr || !pair->in_view || !pair->proven.empty()) continue;
        plan_.check(id, peers_.addresses_of(id), now);
        break;
    }
    const Duration between = std::max<Duration>(pause() / checks_per_delay, least_check_pause);
    if (!unproven_.empty()) timers_.set({Timer::check, 0}, now + between);
}

}  // namespace cluster::core
