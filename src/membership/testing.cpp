#include <cluster/testing.hpp>

#include "membership/members_state.hpp"
#include "membership/membership_host.hpp"
#include "net/standard_error.hpp"
#include "net/system.hpp"
#include "support/log.hpp"

#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster::testing {

using detail::MemberRecord;
using detail::MembersState;
using detail::Woken;

/// All enrolled members, whether or not others see them. Thread-safe.
class MemoryCluster::State {
public:
    explicit State(const MemoryLimits& limits) : limits_(limits) {}

    const std::shared_ptr<MembersState>& members() const noexcept { return members_; }
    std::size_t max_data() const noexcept { return limits_.max_member_data; }

    bool closed() const {
        const detail::Lock lock(mutex_);
        return closed_;
    }

    std::error_code put(const std::shared_ptr<const MemberRecord>& record, Woken& woken) {
        const detail::Lock lock(mutex_);
        if (closed_) return errc::closed;
        if (!enrolled_.contains(record->id) && enrolled_.size() >= limits_.max_members) return errc::too_many_members;
        enrolled_[record->id] = record;
        if (expired_.contains(record->owner)) return {};
        const MembersState::Change change{record, true, false};
        woken.add(members_->apply({&change, 1}));
        return {};
    }

    void erase(const MemberId& id, Woken& woken) {
        const detail::Lock lock(mutex_);
        const auto found = enrolled_.find(id);
        if (found == enrolled_.end()) return;
        const MembersState::Change change{found->second, false, true};
        if (!expired_.contains(found->second->owner)) woken.add(members_->apply({&change, 1}));
        enrolled_.erase(found);
    }

    void close() {
        {
            const detail::Lock lock(mutex_);
            closed_ = true;
        }
        members_->close();
        log_->flush(true);
    }

    /// Shows all members of the owner of `id`, or none of them.
    bool show_owner(const MemberId& id, bool present) {
        Woken woken;  // outlives the lock
        const detail::Lock lock(mutex_);
        const PeerId* const owner = owner_of(id);
        if (owner == nullptr || expired_.contains(*owner) != present) return false;
        if (present) {
            expired_.erase(*owner);
        } else {
            expired_.insert(*owner);
        }
        std::vector<MembersState::Change> changes;
        for (const auto& [each, record] : enrolled_) {
            if (record->owner == *owner) changes.push_back({record, present, false});
        }
        woken.add(members_->apply(changes));
        // An owner that is gone is no longer suspect, and one that is back answers.
        woken.add(members_->set_suspect(*owner, false));
        return true;
    }

    bool suspect(const MemberId& id, bool suspect) {
        Woken woken;
        const detail::Lock lock(mutex_);
        const PeerId* const owner = owner_of(id);
        if (owner == nullptr) return false;
        woken.add(members_->set_suspect(*owner, suspect));
        return true;
    }

private:
    const PeerId* owner_of(const MemberId& id) const REQUIRES(mutex_) {
        const auto found = enrolled_.find(id);
        return closed_ || found == enrolled_.end() ? nullptr : &found->second->owner;
    }

    const MemoryLimits limits_;
    const std::shared_ptr<detail::Log> log_ =
        std::make_shared<detail::Log>(net::log_to_standard_error(), "memory", LogLevel::warning);
    const std::shared_ptr<MembersState> members_ =
        std::make_shared<MembersState>(detail::CallBack(), [log = log_](std::string_view what) {
            std::string text = "handler_threw text=" + quoted(what);
            log->write({.level = LogLevel::error, .text = text, .cause = text});
        });

    mutable detail::Mutex mutex_;
    std::map<MemberId, std::shared_ptr<const MemberRecord>> enrolled_ GUARDED_BY(mutex_);
    std::set<PeerId> expired_ GUARDED_BY(mutex_);  ///< owners of which nothing is shown
    bool closed_ GUARDED_BY(mutex_) = false;
};

/// The node that a membership belongs to. Thread-safe.
class MemoryCluster::Host final : public detail::MembershipHost {
public:
    Host(std::shared_ptr<State> state, const PeerId& owner) : state_(std::move(state)), owner_(owner) {}

    const PeerId& owner() const noexcept override { return owner_; }
    std::size_t max_data() const noexcept override { return state_->max_data(); }
    std::error_code put(std::shared_ptr<const MemberRecord> record, Woken& woken) override {
        return state_->put(record, woken);
    }
    void erase(const MemberId& id, Woken& woken) override { state_->erase(id, woken); }
    void wait_until_seen(std::shared_ptr<detail::WaitOperation> operation) override {
        if (state_->closed()) operation->error = errc::closed;
        operation->cancel = [] {};
        operation->wake();
    }

private:
    const std::shared_ptr<State> state_;
    const PeerId owner_;
};

MemoryCluster::MemoryCluster(const MemoryLimits& limits) : state_(std::make_shared<State>(limits)) {}

MemoryCluster::~MemoryCluster() {
    close();
}

Membership MemoryCluster::create_membership() {
    PeerId owner;
    net::fill_random(owner.bytes);
    return create_membership(owner);
}

Membership MemoryCluster::create_membership(const PeerId& owner) {
    return Membership(std::make_shared<Host>(state_, owner));
}

Members MemoryCluster::members() const {
    return Members(state_->members());
}

void MemoryCluster::close() {
    state_->close();
}

bool MemoryCluster::expire(const MemberId& id) {
    return state_->show_owner(id, false);
}

bool MemoryCluster::restore(const MemberId& id) {
    return state_->show_owner(id, true);
}

bool MemoryCluster::suspect(const MemberId& id, bool suspect) {
    return state_->suspect(id, suspect);
}

}  // namespace cluster::testing
