#pragma once

#include <cluster/message.hpp>
#include <cluster/peer.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <system_error>
#include <utility>

namespace cluster::detail {

/// By which way the messages of one node are replied to. Thread-safe. Counts its references itself, so that a message
/// costs no more for it; outlives the node as long as a request does.
class Replier {
public:
    using Reply =
        std::function<void(const PeerId& to, std::uint64_t call, Payload& payload, std::error_code& error)>;

    /// With one reference, which belongs to the caller.
    explicit Replier(Reply reply) : reply_(std::move(reply)) {}
    Replier(const Replier&) = delete;
    Replier& operator=(const Replier&) = delete;

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    void reply(const PeerId& to, std::uint64_t call, Payload& payload, std::error_code& error) const {
        reply_(to, call, payload, error);
    }

private:
    ~Replier() = default;

    const Reply reply_;
    std::atomic<std::size_t> references_{1};
};

}  // namespace cluster::detail
