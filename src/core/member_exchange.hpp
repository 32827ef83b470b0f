#pragma once

#include "base/time.hpp"
#include "core/outbox.hpp"
#include "core/part.hpp"
#include "core/registry.hpp"

#include <cluster/error.hpp>
#include <cluster/member.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cluster::core {

/// Shared membership between this node and those in view. It decides what goes to each link of this node's members,
/// takes in what others say of theirs, and reports both to the application. Not thread-safe; lives in its engine.
///
/// 1. The members of a peer are gone before anybody learns that the peer is gone.
/// 2. What was sent on a link and is not acknowledged for a heartbeat is sent anew.
class MemberExchange : private Part {
public:
    explicit MemberExchange(Shared& shared) noexcept : Part(shared) {}

    // What the application asks for; see `Engine`.
    errc put(RecordRef record);
    void erase(const MemberId& id);
    std::uint64_t version() const noexcept { return registry_.version(); }
    bool seen(std::uint64_t version);

    // What happens to peers and links.
    /// The link has a session. Its peer may have taken this node for dead, and forgotten its members.
    void attached(Pair& pair, Link& link);
    /// The peer has come into view, so not all members are known any more.
    void entered() { report({}); }
    void in_doubt(const Pair& pair, bool suspect);
    /// Forgets the peer's members.
    void forget(Pair& pair, bool graceful);

    // Frames.
    /// A peer that reports too many members breaks a rule. Returns the links of such peers; their members are gone.
    [[nodiscard]] std::vector<LinkId> on(Link& link, MemberList&& list);
    void on(Link& link, const MembersSeen& seen, Time now);
    /// Writes about `budget` bytes of what the link has due. True if there is more.
    bool pull(Link& link, std::size_t budget, OutputSink& sink, Time now);

    /// Whether the peer has not acknowledged, on its present link, all of this node's members.
    bool owes_an_answer(const Pair& pair) const;
    /// To be called in each heartbeat.
    void repeat(Time now);

private:
    bool complete() const;
    void tell();
    void progress();
    void forget_withdrawals();
    void report(std::vector<MemberChange> changes);

    Registry registry_;
    bool complete_ = true;
    bool awaited_ = false;  ///< an operation waits until more have acknowledged
};

}  // namespace cluster::core
