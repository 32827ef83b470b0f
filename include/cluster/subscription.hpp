#pragma once

#include <cluster/export.hpp>

#include <memory>
#include <utility>

namespace cluster {

namespace detail {
class Registration;
}

/// Keeps a callback registered as long as it lives. Its destructor waits for a running call to end, with two
/// exceptions: if that very call destroys it, and on an I/O thread. Safe to outlive the node. May be destroyed from any
/// thread.
class [[nodiscard]] CLUSTER_EXPORT Subscription {
public:
    Subscription() noexcept = default;
    Subscription(Subscription&&) noexcept = default;
    Subscription& operator=(Subscription&& other) noexcept;
    ~Subscription();

    /// Ends the registration now, as the destructor does.
    void reset();

    /// For the library's own use.
    explicit Subscription(std::shared_ptr<detail::Registration> registration) noexcept
        : registration_(std::move(registration)) {}

private:
    std::shared_ptr<detail::Registration> registration_;
};

}  // namespace cluster
