#pragma once

#include "membership/members_state.hpp"

#include <cluster/member.hpp>
#include <cluster/operation.hpp>

#include <cstddef>
#include <memory>
#include <system_error>

namespace cluster::detail {

/// What a `Membership` needs of its node or memory cluster. Thread-safe. Lives as long as one of its memberships.
///
/// `put` and `erase` of one id are called one after the other, never at the same time, and under a lock of that
/// membership: who is woken by them is told later, by `woken`.
class MembershipHost {
public:
    virtual ~MembershipHost() = default;

    virtual const PeerId& owner() const noexcept = 0;
    virtual std::size_t max_data() const noexcept = 0;

    /// Enrols the member, or changes its data; the same record again changes nothing. The local view shows it when this
    /// returns. With `errc::closed` and `errc::too_many_members` nothing was changed.
    virtual std::error_code put(std::shared_ptr<const MemberRecord> record, Woken& woken) = 0;
    /// It is enrolled no more; the local view shows it when this returns. Harmless where it was not.
    virtual void erase(const MemberId& id, Woken& woken) = 0;
    /// Sets `operation->cancel`, and wakes it once every peer in view has acknowledged all that was put and erased
    /// before this call, at once where there is none; with `errc::closed` where the node closes first.
    virtual void wait_until_seen(std::shared_ptr<WaitOperation> operation) = 0;
};

}  // namespace cluster::detail
