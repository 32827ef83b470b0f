#pragma once

#include "base/mutex.hpp"
#include "core/action.hpp"
#include "membership/members_state.hpp"
#include "membership/membership_host.hpp"
#include "net/driver.hpp"
#include "support/wait_list.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>

namespace cluster::detail {

/// The members that one node enrols and knows. It stands between the engine, which exchanges members with other nodes,
/// and what readers see. Thread-safe.
class NodeMembers final : public MembershipHost, public std::enable_shared_from_this<NodeMembers> {
public:
    NodeMembers(const PeerId& owner, std::size_t max_data, std::shared_ptr<net::Driver> driver,
                std::shared_ptr<MembersState> state)
        : owner_(owner), max_data_(max_data), driver_(std::move(driver)), state_(std::move(state)) {}

    const PeerId& owner() const noexcept override { return owner_; }
    std::size_t max_data() const noexcept override { return max_data_; }
    std::error_code put(std::shared_ptr<const MemberRecord> record, Woken& woken) override;
    void erase(const MemberId& id, Woken& woken) override;
    void wait_until_seen(std::shared_ptr<WaitOperation> operation) override;

    const std::shared_ptr<MembersState>& state() const noexcept { return state_; }

    // On the I/O thread, as the engine wants it.
    void changed(core::MembersChanged&& action);
    void in_doubt(const PeerId& owner, bool suspect) { state_->set_suspect(owner, suspect); }
    /// More peers have seen what this node enrolled.
    void seen_by_more();
    /// The node has left: the views stay as they are.
    void end();

private:
    bool seen(std::uint64_t version);
    void cancel(const WaitOperation& operation);

    const PeerId owner_;
    const std::size_t max_data_;
    const std::shared_ptr<net::Driver> driver_;
    const std::shared_ptr<MembersState> state_;

    Mutex mutex_;
    /// Those that wait until all in view have seen the members of one version.
    WaitList<WaitOperation, std::uint64_t> waits_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace cluster::detail
