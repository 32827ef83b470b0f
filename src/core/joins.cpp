#include "core/joins.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace cluster::core {

void Joins::begin(std::uint64_t number, std::uint64_t target, Time until) {
    pending_[number] = {target, std::nullopt};
    timers_.set({Timer::join, number}, until);
}

void Joins::answer(std::uint64_t number, errc error) {
    const auto found = pending_.find(number);
    if (found == pending_.end()) return;
    const auto [target, peer] = found->second;
    AddDone done{number, error, {}};
    if (error == errc{} && peer) {
        if (const Pair* pair = peers_.find(*peer)) done.peer = peers_.describe(*pair);
        plan_.keep(target, *peer);
    } else {
        plan_.drop(target);
    }
    timers_.cancel({Timer::join, number});
    pending_.erase(found);
    actions_.push_back(std::move(done));
}

template <class Condition>
void Joins::answer_if(Condition condition, errc error) {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, each] : pending_) {
        if (condition(each)) numbers.push_back(number);
    }
    for (const std::uint64_t number : numbers) answer(number, error);
}

void Joins::answer_all(errc error) {
    answer_if([](const Pending&) { return true; }, error);
}

bool Joins::await(std::uint64_t target) const {
    return std::any_of(pending_.begin(), pending_.end(),
                       [&](const auto& entry) { return entry.second.target == target; });
}

void Joins::reached(std::uint64_t target, const PeerId& peer) {
    for (auto& [number, each] : pending_) {
        if (each.target == target) each.peer = peer;
    }
}

void Joins::completed(const PeerId& peer) {
    answer_if([&](const Pending& each) { return each.peer == peer; }, errc{});
}

bool Joins::failed(std::uint64_t target, errc error) {
    const bool awaited = await(target);
    answer_if([&](const Pending& each) { return each.target == target; }, error);
    return awaited;
}

void Joins::refused(const Link& link, Refusal reason, errc error) {
    if (reason == Refusal::duplicate) return;
    const bool retried = reason == Refusal::id_in_use || reason == Refusal::unknown_session;
    if (retried && link.pair != nullptr && (link.pair->links.size() > 1 || link.pair->session)) return;
    answer_if(
        [&](const Pending& each) {
            return (link.target != 0 && each.target == link.target) ||
                   (link.pair != nullptr && each.peer == link.pair->id);
        },
        error);
}

}  // namespace cluster::core
