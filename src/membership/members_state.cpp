#include "membership/members_state.hpp"

#include "support/may_wait.hpp"
#include "support/waited.hpp"

#include <algorithm>
#include <tuple>

namespace cluster::detail {

namespace {

bool same_data(const MemberRecord& a, const MemberRecord& b) {
    return &a == &b || a.data == b.data;
}

auto key_of(const Member& member) {
    const MemberRecord& record = *member.enrolled()->record;
    return std::tie(record.id, record.owner);
}

MemberChange gone(const Member& member) {
    const bool left = member.enrolled()->ending->load(std::memory_order_relaxed) == Ending::left;
    return {left ? MemberEvent::left : MemberEvent::expired, member};
}

bool differs(const Member& before, const Member& now) {
    if (before.suspect() != now.suspect()) return true;
    return before.enrolled() != now.enrolled() &&
           !same_data(*before.enrolled()->record, *now.enrolled()->record);
}

std::vector<MemberChange> differences(const MemberView& before, const MemberView& now) {
    std::vector<MemberChange> changes;
    const Member* old = before.begin();
    const Member* member = now.begin();
    while (old != before.end() || member != now.end()) {
        const bool joined = old == before.end() || (member != now.end() && key_of(*member) < key_of(*old));
        if (joined) {
            changes.push_back({MemberEvent::joined, *member++});
        } else if (member == now.end() || key_of(*old) < key_of(*member)) {
            changes.push_back(gone(*old++));
        } else {
            if (differs(*old, *member)) changes.push_back({MemberEvent::updated, *member});
            ++old;
            ++member;
        }
    }
    return changes;
}

/// A callback and its arguments. Lives as long as its subscription.
struct Listening {
    Listening(const std::shared_ptr<MembersState>& members, std::function<void(const MemberUpdate&)> function)
        : watch(members), callback(std::move(function)) {}
    ~Listening() { watch.close(); }

    WatchState watch;
    Callback<const MemberUpdate&> callback;
};

/// Calls such a callback when there is something new. It waits, is woken, calls, and waits again. So nothing can pile
/// up.
class Listener final : public Operation, public std::enable_shared_from_this<Listener> {
public:
    Listener(std::weak_ptr<MembersState> members, std::weak_ptr<Listening> listening)
        : members_(std::move(members)), listening_(std::move(listening)) {}

    void wake() noexcept override {
        const auto members = members_.lock();
        if (!members) return;
        const auto go_on = [self = shared_from_this()] {
            if (!self->call()) self->wake();
        };
        if (members->call_back(go_on)) return;
        // Does not call `wake` again: a callback may make a change each time.
        while (!call()) {
        }
    }

private:
    /// False if there is already something new.
    bool call() {
        const auto members = members_.lock();
        const auto listening = listening_.lock();
        if (!members || !listening) return true;
        const std::optional<MemberUpdate> update = listening->watch.next(no_wait);
        if (update) {
            listening->callback.call(
                [&](std::string_view what) {
                    if (members->on_throw()) members->on_throw()(what);
                },
                *update);
        }
        return listening->watch.at_end() || listening->watch.wait(shared_from_this());
    }

    const std::weak_ptr<MembersState> members_;
    const std::weak_ptr<Listening> listening_;
};

}  // namespace

/// True if it is a change.
bool MembersState::put(const std::shared_ptr<const MemberRecord>& record) {
    const auto [found, added] = members_.try_emplace({record->id, record->owner});
    Place& place = found->second;
    if (added) {
        place.owner = &owners_[record->owner];
        ++place.owner->members;
    } else if (same_data(*place.enrolled->record, *record)) {
        return false;
    }
    auto ending = added ? std::make_shared<std::atomic<Ending>>(Ending::none) : place.enrolled->ending;
    place.enrolled = std::make_shared<const EnrolledMember>(EnrolledMember{record, std::move(ending)});
    return true;
}

/// True if it is a change.
bool MembersState::erase(const Change& change) {
    const auto found = members_.find({change.record->id, change.record->owner});
    if (found == members_.end()) return false;
    Place& place = found->second;
    place.enrolled->ending->store(change.graceful ? Ending::left : Ending::expired, std::memory_order_relaxed);
    if (--place.owner->members == 0 && !place.owner->suspect) owners_.erase(change.record->owner);
    members_.erase(found);
    return true;
}

/// Makes a new version. `outdated` must be destroyed outside the lock, because that may take long.
Woken MembersState::changed(View& outdated) {
    ++version_;
    outdated.swap(view_);
    return waits_.take_all();
}

Woken MembersState::apply(std::span<const Change> changes) {
    View outdated;
    const Lock lock(mutex_);
    if (closed_) return {};
    bool any = false;
    for (const Change& change : changes) {
        if (change.present ? put(change.record) : erase(change)) any = true;
    }
    return any ? changed(outdated) : Woken();
}

Woken MembersState::set_complete(bool complete) {
    View outdated;
    const Lock lock(mutex_);
    if (closed_ || complete_ == complete) return {};
    complete_ = complete;
    return changed(outdated);
}

Woken MembersState::set_suspect(const PeerId& id, bool suspect) {
    View outdated;
    const Lock lock(mutex_);
    if (closed_) return {};
    Owner& owner = owners_[id];
    const bool shown = owner.members > 0 && owner.suspect != suspect;
    owner.suspect = suspect;
    if (!suspect && owner.members == 0) owners_.erase(id);
    return shown ? changed(outdated) : Woken();
}

void MembersState::close() {
    Woken woken;
    const Lock lock(mutex_);
    closed_ = true;
    woken.add(waits_.take_all());
}

MemberView MembersState::snapshot() const {
    const Lock lock(mutex_);
    if (!view_) {
        const auto list = std::make_shared<MemberList>();
        list->version = version_;
        list->complete = complete_;
        list->members.reserve(members_.size());
        for (const auto& [key, place] : members_) list->members.emplace_back(place.enrolled, place.owner->suspect);
        view_ = list;
    }
    return MemberView(view_);
}

Subscription MembersState::on_change(std::function<void(const MemberUpdate&)> callback) {
    const auto listening = std::make_shared<Listening>(shared_from_this(), std::move(callback));
    std::make_shared<Listener>(weak_from_this(), listening)->wake();
    return Subscription(std::shared_ptr<Registration>(listening, &listening->callback));
}

bool MembersState::wait(const WatchState& watch, std::uint64_t seen, const std::shared_ptr<Operation>& operation) {
    const Lock lock(mutex_);
    if (version_ != seen || closed_ || watch.closed_) return false;
    waits_.add(operation, &watch);
    return true;
}

bool MembersState::stop_waiting(const Operation& operation) {
    if (!origin_.is_here()) return false;
    std::shared_ptr<Operation> stopped;  // dies outside the lock
    const Lock lock(mutex_);
    stopped = waits_.take(operation);
    return stopped != nullptr;
}

bool MembersState::at_end(const WatchState& watch) const {
    const Lock lock(mutex_);
    return closed_ || watch.closed_;
}

void MembersState::end(WatchState& watch) {
    Woken woken;
    const Lock lock(mutex_);
    watch.closed_ = true;
    woken.add(waits_.take_if([&](const WatchState* each, Operation&) { return each == &watch; }));
}

std::optional<MemberUpdate> WatchState::take() {
    MemberView before;  // may hold the last reference: dies outside the lock
    const Lock lock(mutex_);
    if (at_end()) return std::nullopt;
    MemberView now = members_->snapshot();
    if (now.version() == last_.version()) return std::nullopt;
    MemberUpdate update{now, differences(last_, now)};
    const bool news = last_.version() == 0 || !update.changes.empty() || last_.complete() != now.complete();
    before = std::exchange(last_, std::move(now));
    if (!news) return std::nullopt;
    return update;
}

std::uint64_t WatchState::seen() const {
    const Lock lock(mutex_);
    return last_.version();
}

std::optional<MemberUpdate> WatchState::next(Deadline deadline) {
    std::shared_ptr<Waited<Operation>> thread;
    for (;;) {
        if (auto update = take()) return update;
        if (deadline == no_wait || at_end()) return std::nullopt;
        require_may_wait("members");
        if (!thread) thread = std::make_shared<Waited<Operation>>();
        if (!wait(thread)) continue;
        const bool in_time = thread->wait(deadline, [&] {
            if (stop_waiting(*thread)) thread->wake();
        });
        if (!in_time) deadline = no_wait;  // looks once more: the update may have come at the last moment
    }
}

void WatchState::close() {
    members_->end(*this);
    MemberView last;
    const Lock lock(mutex_);
    std::swap(last, last_);
}

bool WatchState::wait(const std::shared_ptr<Operation>& operation) {
    return members_->wait(*this, seen(), operation);
}

}  // namespace cluster::detail
