#include "node/node_members.hpp"

#include "core/registry.hpp"
#include "net/system.hpp"

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
    Woken woken;
    const Lock lock(mutex_);
    const std::uint64_t version =
        driver_->with_engine([](core::Engine& engine, Time) { return engine.members_version(); });
    if (ended_) operation->error = errc::closed;
    if (ended_ || seen(version)) {
        woken.add(std::move(operation));
    } else {
        waits_.add(std::move(operation), version);
    }
}

void NodeMembers::cancel(const WaitOperation& operation) {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(waits_.end(operation, errc::cancelled));
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
    Woken woken;
    const Lock lock(mutex_);
    woken.add(waits_.take_if([&](std::uint64_t version, WaitOperation&) { return seen(version); }));
}

void NodeMembers::end() {
    {
        Woken woken;
        const Lock lock(mutex_);
        ended_ = true;
        woken.add(waits_.end_all(errc::closed));
    }
    state_->close();
}

}  // namespace cluster::detail
