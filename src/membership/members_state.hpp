#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "support/callbacks.hpp"
#include "support/deadline.hpp"
#include "support/wait_list.hpp"

#include <cluster/membership.hpp>
#include <cluster/operation.hpp>

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::detail {

/// How an enrolment ended.
enum class Ending : std::uint8_t { none, left, expired };

/// A record as views show it.
struct EnrolledMember {
    std::shared_ptr<const MemberRecord> record;
    /// Shared by all records of one enrolment. A view that still shows a member that is gone finds here how it went. So
    /// nothing has to be kept for readers that read seldom.
    std::shared_ptr<std::atomic<Ending>> ending;
};

/// What a `MemberView` shares.
struct MemberList {
    std::uint64_t version = 0;
    bool complete = false;
    std::vector<Member> members;
};

/// What one node knows of all members. `Members` and `MemberWatch` share it with their node.
///
/// Thread-safe. Outlives the node while a handle exists. It has no thread, and calls no function of the application
/// under its lock.
///
/// 1. Each change makes a new version. A view is made only when a reader asks for one, and once for each version.
/// 2. A watch is known here only while an operation waits for it.
/// 3. A member is named by its id and its owner: nobody can take the place of another owner's member.
class MembersState : public std::enable_shared_from_this<MembersState> {
public:
    using OnThrow = std::function<void(std::string_view)>;

    /// Without `call_back`, `on_change` calls on the thread that makes the change. `on_throw` gets the exceptions of
    /// its callbacks.
    explicit MembersState(CallBack call_back = {}, OnThrow on_throw = {})
        : call_back_(std::move(call_back)), on_throw_(std::move(on_throw)) {}

    // For the node.

    struct Change {
        /// If the member is not present, only its id and its owner count.
        std::shared_ptr<const MemberRecord> record;
        bool present = true;
        /// If the member is not present: it was withdrawn or its owner left. Otherwise it has expired.
        bool graceful = false;
    };
    /// Makes all changes in one step: each view shows all of them or none. Equal data is no change. The destructor of
    /// the result wakes the operations that wait: at once if the result is dropped.
    Woken apply(std::span<const Change> changes);
    /// Whether every peer in view has reported all its members. True at first, when there is no peer.
    Woken set_complete(bool complete);
    /// Marks all members of `owner` as suspect or not, those that it enrols later, too, until the next call for this
    /// owner.
    Woken set_suspect(const PeerId& owner, bool suspect);
    /// Ends all watches; nothing changes any more. Not to be called under a lock.
    void close();

    // For readers.

    MemberView snapshot() const;
    Subscription on_change(std::function<void(const MemberUpdate&)> callback);
    bool call_back(std::function<void()> work) const { return call_back_ && call_back_(std::move(work)); }
    const OnThrow& on_throw() const noexcept { return on_throw_; }

    // For watches.

    /// Wakes `operation` when there is another version than `seen`, or when `watch` has ended. False if one of these is
    /// so already: then `operation` is not woken.
    bool wait(const WatchState& watch, std::uint64_t seen, const std::shared_ptr<Operation>& operation);
    /// False if `operation` is not waiting: it has been woken, or this is a child made by `fork`.
    bool stop_waiting(const Operation& operation);
    bool at_end(const WatchState& watch) const;
    void end(WatchState& watch);

private:
    struct Key {
        MemberId id;
        PeerId owner;
        friend std::strong_ordering operator<=>(const Key&, const Key&) = default;
    };
    /// A peer that has members, or is suspect.
    struct Owner {
        std::size_t members = 0;
        bool suspect = false;
    };
    struct Place {
        std::shared_ptr<const EnrolledMember> enrolled;
        Owner* owner = nullptr;
    };
    using View = std::shared_ptr<const MemberList>;

    bool put(const std::shared_ptr<const MemberRecord>& record) REQUIRES(mutex_);
    bool erase(const Change& change) REQUIRES(mutex_);
    Woken changed(View& outdated) REQUIRES(mutex_);

    const CallBack call_back_;
    const OnThrow on_throw_;

    const Origin origin_;
    mutable Mutex mutex_;
    std::map<Key, Place> members_ GUARDED_BY(mutex_);
    std::unordered_map<PeerId, Owner> owners_ GUARDED_BY(mutex_);
    std::uint64_t version_ GUARDED_BY(mutex_) = 1;
    bool complete_ GUARDED_BY(mutex_) = true;
    bool closed_ GUARDED_BY(mutex_) = false;
    mutable View view_ GUARDED_BY(mutex_);  ///< of this version, or null
    WaitList<Operation, const WatchState*> waits_ GUARDED_BY(mutex_);
};

/// What a `MemberWatch` stands for. Thread-safe.
class WatchState {
public:
    explicit WatchState(std::shared_ptr<MembersState> members) noexcept : members_(std::move(members)) {}

    /// Waits until `deadline` for an update. Nothing if there is none, or if the watch has ended. Throws
    /// `errc::would_block` if it would have to wait on an I/O thread.
    std::optional<MemberUpdate> next(Deadline deadline);
    bool at_end() const { return members_->at_end(*this); }
    void close();

    /// False if there is nothing to wait for; then `operation` will not be woken.
    bool wait(const std::shared_ptr<Operation>& operation);
    bool stop_waiting(const Operation& operation) const { return members_->stop_waiting(operation); }
    bool call_back(std::function<void()> work) const { return members_->call_back(std::move(work)); }

private:
    friend class MembersState;

    std::optional<MemberUpdate> take();
    std::uint64_t seen() const;

    const std::shared_ptr<MembersState> members_;
    bool closed_ = false;  ///< under the lock of `members_`

    mutable Mutex mutex_;  ///< held while views are compared; taken before that of `members_`
    MemberView last_ GUARDED_BY(mutex_);
};

}  // namespace cluster::detail
