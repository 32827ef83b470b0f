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

/// Shared membership between this node and those in view: what each link is told of this node's members, what others
/// say of theirs, and what the application is told of both. Not thread-safe; lives in its engine.
///
/// 1. Members of a peer are gone before anybody is told that the peer is.
/// 2. What was told on a link and is not acknowledged for a heartbeat is told anew.
class MemberExchange : private Part {
public:
    explicit MemberExchange(Shared& shared) noexcept : Part(shared) {}

    // What the application asks for; see `Engine`.
    errc put(RecordRef record);
    void erase(const MemberId& id);
    std::uint64_t version() const noexcept { return registry_.version(); }
    bool seen(std::uint64_t version);

    // What happens to peers and links.
    /// The link has a session: its peer may have taken this node for dead, and forgotten its members.
    void attached(Pair& pair, Link& link);
    /// The peer has come into view: not all is known any more.
    void entered() { report({}); }
    void in_doubt(const Pair& pair, bool suspect);
    /// Forgets the peer's members.
    void forget(Pair& pair, bool graceful);

    // Frames.
    /// Whoever has told of too many breaks a rule: their links are returned, and their members gone.
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
    bool awaited_ = false;  ///< somebody waits until more have acknowledged
};

}  // namespace cluster::core
