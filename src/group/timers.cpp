#include "group/timers.hpp"

namespace cluster::group {

bool Timers::schedule(std::uint32_t service, std::uint64_t id, Duration at) {
    const auto found = deadlines_.find({service, id});
    if (found == deadlines_.end()) {
        if (deadlines_.size() >= most) return false;
        deadlines_.emplace(std::pair(service, id), at);
    } else {
        order_.erase({found->second, id, service});
        found->second = at;
    }
    order_.emplace(at, id, service);
    return true;
}

bool Timers::cancel(std::uint32_t service, std::uint64_t id) {
    const auto found = deadlines_.find({service, id});
    if (found == deadlines_.end()) return false;
    order_.erase({found->second, id, service});
    deadlines_.erase(found);
    return true;
}

std::optional<Timers::Due> Timers::take(Duration time) {
    if (order_.empty() || std::get<0>(*order_.begin()) > time) return std::nullopt;
    const auto [at, id, service] = *order_.begin();
    order_.erase(order_.begin());
    deadlines_.erase({service, id});
    return Due{service, id, at};
}

}  // namespace cluster::group
