#include "core/departure.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace cluster::core {

namespace {

/// How long a leaving node waits, after its linger, for its goodbyes to be answered (R27).
constexpr Duration goodbye_least = std::chrono::milliseconds(100);
constexpr Duration goodbye_most = std::chrono::seconds(1);

}  // namespace

void Departure::begin(Time now) {
    timers_.cancel({Timer::beat, 0});
    timers_.cancel({Timer::check, 0});
    timers_.set({Timer::linger, 0}, now + options_.linger);
}

std::vector<Link*> Departure::farewells() {
    std::vector<Link*> links;
    for (Pair* pair : peers_.view) {
        Link* link = peers_.attached_link(*pair);
        if (link == nullptr || link->state != LinkState::attached) continue;
        if (pair->session->all_acknowledged() || linger_over_) links.push_back(link);
    }
    return links;
}

bool Departure::linger_ends(Time now) {
    if (std::exchange(linger_over_, true)) return false;
    timers_.set({Timer::linger, 0}, now + std::clamp(options_.linger, goodbye_least, goodbye_most));
    return true;
}

bool Departure::complete() {
    due_ = false;
    if (!leaving_ || left_ || !peers_.view.empty()) return false;
    return std::none_of(peers_.links.begin(), peers_.links.end(), [](const auto& entry) {
        return entry.second.state == LinkState::parting || entry.second.state == LinkState::attaching;
    });
}

}  // namespace cluster::core
