#pragma once

#include "base/time.hpp"
#include "core/joins.hpp"
#include "core/part.hpp"
#include "core/patience.hpp"
#include "core/suspicions.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace cluster::core {

/// Begins the dials that the plan wants, and takes in what becomes of each. Not thread-safe; lives in its engine.
class Dialling : private Part {
public:
    Dialling(Shared& shared, Joins& joins, Suspicions& suspicions, const Patience& patience) noexcept
        : Part(shared), joins_(joins), suspicions_(suspicions), patience_(patience) {}

    /// Begins all that is due.
    void begin(Time now);
    void resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now);
    /// The dial that made this link has come to nothing.
    void failed(Link& link, errc error, Time now);
    /// The dial has read the HELLO of `pair`. True if that peer is linked already and this link is not needed.
    bool finds_linked(Link& link, Pair& pair, Time now);
    /// The dial has reached `pair`, unless it sought another peer. Answers the adds that wait for this.
    void reached(Link& link, Pair& pair, Time now);
    /// The application wants the peer at `address`. If another peer is known there, it does not count that a parted one
    /// has named this address.
    void unblock(const Address& address);

    /// See `Engine`. After false, `take_settled` returns true when it is settled.
    bool settled();
    bool take_settled();
    /// Something has come or ended for which `settled` may have waited.
    void may_be_settled() noexcept { settle_due_ = settling_; }
    bool settle_due() const noexcept { return settle_due_; }

private:
    void round_failed(const DialPlan::Round& round, Time now);
    void warn_of_loopback(const std::vector<Address>& dialled);
    bool is_settled() const;

    Joins& joins_;
    Suspicions& suspicions_;
    const Patience& patience_;
    bool warned_of_loopback_ = false;
    bool settling_ = false;    ///< an operation waits until the engine is settled
    bool settle_due_ = false;  ///< it may be settled now
};

}  // namespace cluster::core
