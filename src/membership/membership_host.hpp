#pragma once

#include "membership/members_state.hpp"

#include <cluster/member.hpp>
#include <cluster/operation.hpp>

#include <cstddef>
#include <memory>
#include <system_error>

namespace cluster::detail {

/// What a `Membership` needs of its node or memory cluster. Thread-safe. Lives while one of its memberships lives.
///
/// `put` and `erase` of one id are called one after the other, never at the same time, and under a lock of that
/// membership. So the operations that they wake are woken later, by `woken`.
class MembershipHost {
public:
    virtual ~MembershipHost() = default;

    virtual const PeerId& owner() const noexcept = 0;
    virtual std::size_t max_data() const noexcept = 0;

    /// Enrols the member, or changes its data; the same record again changes nothing. When this returns, the local view
    /// shows it. With `errc::closed` and `errc::too_many_members` nothing was changed.
    virtual std::error_code put(std::shared_ptr<const MemberRecord> record, Woken& woken) = 0;
    /// Withdraws the member; when this returns, the local view shows that. Harmless if it was not enrolled.
    virtual void erase(const MemberId& id, Woken& woken) = 0;
    /// Sets `operation->cancel`. Wakes `operation` when every peer in view has acknowledged all that was put and erased
    /// before this call: at once if there is no peer. It fails with `errc::closed` if the node closes first.
    virtual void wait_until_seen(std::shared_ptr<WaitOperation> operation) = 0;
};

}  // namespace cluster::detail
