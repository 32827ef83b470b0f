#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace cluster::group {

/// The timers of all services, in the time of the log. Not thread-safe.
class Timers {
public:
    /// Timers of all services.
    static constexpr std::size_t most = std::size_t{1} << 20;

    struct Due {
        std::uint32_t service = 0;
        std::uint64_t id = 0;
        Duration at{};
        friend bool operator==(const Due&, const Due&) = default;
    };

    /// One with this id is moved. False if there are `most`; then nothing has changed.
    bool schedule(std::uint32_t service, std::uint64_t id, Duration at);
    /// Whether there was one.
    bool cancel(std::uint32_t service, std::uint64_t id);
    /// The first one that is due at that time, and it is one no more: the earliest deadline, then the smallest id.
    std::optional<Due> take(Duration time);
    /// The earliest deadline; `never` if there are no timers.
    Duration next() const { return order_.empty() ? never : std::get<0>(*order_.begin()); }

    std::size_t size() const noexcept { return order_.size(); }
    /// In their order.
    template <class Function>
    void for_each(Function&& function) const {
        for (const auto& [at, id, service] : order_) function(Due{service, id, at});
    }

private:
    std::set<std::tuple<Duration, std::uint64_t, std::uint32_t>> order_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, Duration> deadlines_;
};

}  // namespace cluster::group
