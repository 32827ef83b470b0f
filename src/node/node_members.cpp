#include "node/node_members.hpp"

#include "core/registry.hpp"
#include "net/system.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cluster::detail {

std::error_code NodeMembers::put(std::shared_ptr<const MemberRecord> record, Woken& woken) {
    const errc error =
        driver_->with_engine([&](core::Engine& engine, Time) { return engine.put_member(record); });
    if (error != errc{}) return error;
    const MembersState::Change change{.record = std::move(record)};
    woken.add(state_->apply({&change, 1}));
    return {};
}

void NodeMembers::erase(const MemberId& id, Woken& woken) {
    driver_->with_engine([&](core::Engine& engine, Time) { engine.erase_member(id); });
    const auto gone = std::make_shared<const MemberRecord>(MemberRecord{id, owner_, {}});
    const MembersState::Change change{.record = gone, .present = false, .graceful = true};
    woken.add(state_->apply({&change, 1}));
}

bool NodeMembers::seen(std::uint64_t version) {
    return driver_->with_engine([&](core::Engine& engine, Time) { return engine.members_seen(version); });
}

void NodeMembers::wait_until_seen(std::shared_ptr<WaitOperation> operation) {
    operation->cancel = [weak = weak_from_this(), raw = operation.get()] {
        if (const auto self = weak.lock()) self->cancel(*raw);
    };
    {
        const std::lock_guard lock(mutex_);
        const std::uint64_t version =
            driver_->with_engine([](core::Engine& engine, Time) { return engine.members_version(); });
        if (ended_) {
            operation->error = errc::closed;
        } else if (!seen(version)) {
            waits_.push_back({version, std::move(operation)});
            return;
        }
    }
    operation->wake();
}

void NodeMembers::cancel(const WaitOperation& operation) {
    std::shared_ptr<WaitOperation> cancelled;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(waits_.begin(), waits_.end(),
                                        [&](const Wait& each) { return each.operation.get() == &operation; });
        if (found == waits_.end()) return;
        cancelled = std::move(found->operation);
        waits_.erase(found);
    }
    cancelled->error = errc::cancelled;
    cancelled->wake();
}

void NodeMembers::changed(core::MembersChanged&& action) {
    std::uint64_t gone = 0;
    {
        std::vector<MembersState::Change> changes;
        changes.reserve(action.changes.size());
        for (core::MemberChange& each : action.changes) {
            if (!each.present) gone += core::Registry::member_cost + each.record->data.size();
            changes.push_back({std::move(each.record), each.present, each.graceful});
        }
        const Woken woken = state_->apply(changes);
        const Woken also = state_->set_complete(action.complete);
    }
    action.changes = {};
    if (gone != 0) net::freed(gone);
}

void NodeMembers::seen_by_more() {
    std::vector<Wait> done;
    {
        const std::lock_guard lock(mutex_);
        const auto first = std::partition(waits_.begin(), waits_.end(),
                                          [&](const Wait& each) { return !seen(each.version); });
        std::move(first, waits_.end(), std::back_inserter(done));
        waits_.erase(first, waits_.end());
    }
    for (const Wait& each : done) each.operation->wake();
}

void NodeMembers::end() {
    std::vector<Wait> left;
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        left = std::exchange(waits_, {});
    }
    for (const Wait& each : left) {
        each.operation->error = errc::closed;
        each.operation->wake();
    }
    state_->close();
}

}  // namespace cluster::detail
