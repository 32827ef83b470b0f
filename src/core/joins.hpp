#pragma once

#include "base/time.hpp"
#include "core/part.hpp"

#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstdint>
#include <map>
#include <optional>

namespace cluster::core {

/// The adds of the application that have no answer yet. Not thread-safe; lives in its engine.
///
/// 1. Each is answered once, by an AddDone.
/// 2. Its target is sought until then. If the answer is a peer, the address is kept for the next peer that is found
///    there.
class Joins : private Part {
public:
    explicit Joins(Shared& shared) noexcept : Part(shared) {}

    void begin(std::uint64_t number, std::uint64_t target, Time until);
    /// Nothing happens if it already has an answer.
    void answer(std::uint64_t number, errc error);
    void answer_all(errc error);

    /// Whether an add waits for the peer at this target.
    bool await(std::uint64_t target) const;
    /// A dial of the target has read the HELLO of `peer`.
    void reached(std::uint64_t target, const PeerId& peer);
    /// The peer and this node list each other.
    void completed(const PeerId& peer);
    /// A round of the target has ended in vain. False if no add waited for it.
    bool failed(std::uint64_t target, errc error);
    /// R19: some refusals are final for an add that waits, others only if nothing else is under way.
    void refused(const Link& link, Refusal reason, errc error);

private:
    struct Pending {
        std::uint64_t target = 0;
        std::optional<PeerId> peer;
    };
    template <class Condition>
    void answer_if(Condition condition, errc error);

    std::map<std::uint64_t, Pending> pending_;
};

}  // namespace cluster::core
