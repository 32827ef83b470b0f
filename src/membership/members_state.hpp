#pragma once

#include "net/system.hpp"
#include "support/deadline.hpp"

#include <cluster/membership.hpp>
#include <cluster/operation.hpp>

#include <atomic>
#include <compare>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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
    /// Shared by all records of one enrolment: whoever still shows one that is gone finds here how it went. So nothing
    /// has to be kept for those who read seldom.
    std::shared_ptr<std::atomic<Ending>> ending;
};

/// What a `MemberView` shares.
struct MemberList {
    std::uint64_t version = 0;
    bool complete = false;
    std::vector<Member> members;
};

/// Operations that a change has woken. Its destructor tells them, which may run code of the application: it must not
/// die under a lock.
class Woken {
public:
    Woken() = default;
    explicit Woken(std::vector<std::shared_ptr<Operation>> operations) : operations_(std::move(operations)) {}
    Woken(Woken&&) noexcept = default;
    Woken& operator=(Woken&&) = delete;
    ~Woken() {
        for (const auto& operation : operations_) operation->wake();
    }
    /// Takes over the others.
    void add(Woken&& others) {
        for (auto& operation : others.operations_) operations_.push_back(std::move(operation));
        others.operations_.clear();
    }

private:
    std::vector<std::shared_ptr<Operation>> operations_;
};

/// What one node knows of all members; what `Members` and `MemberWatch` share with their node.
///
/// Thread-safe. Outlives the node as long as a handle does. It has no thread, and calls nothing of the application
/// under its lock.
///
/// 1. Each change makes a new version. A view is made when somebody asks for one, and once for each version.
/// 2. A watch is known here only while somebody waits for it, and then as nothing but that.
/// 3. A member is named by its id and its owner: nobody can take the place of somebody else's.
class MembersState : public std::enable_shared_from_this<MembersState> {
public:
    using CallBack = std::function<bool(std::function<void()>)>;
    using OnThrow = std::function<void(std::string_view)>;

    /// `call_back` calls a function on the callback thread, the functions in their order; false if that has ended.
    /// Without it, `on_change` calls on the thread that makes the change. `on_throw` is told what its callbacks throw.
    explicit MembersState(CallBack call_back = {}, OnThrow on_throw = {})
        : call_back_(std::move(call_back)), on_throw_(std::move(on_throw)) {}

    // For the node.

    struct Change {
        /// Where it is not present, only its id and its owner count.
        std::shared_ptr<const MemberRecord> record;
        bool present = true;
        /// It was withdrawn or its owner left; else it has expired. Only where it is not present.
        bool graceful = false;
    };
    /// In one step: each view shows all of them or none. What is as it was is no change. Where the result is dropped,
    /// those who wait are told at once; where it is kept, when it dies.
    Woken apply(std::span<const Change> changes);
    /// Whether every peer in view has told of all its members. True in the beginning: there is none.
    Woken set_complete(bool complete);
    /// Holds for the members that `owner` has and for those that it will have, until it is said otherwise.
    Woken set_suspect(const PeerId& owner, bool suspect);
    /// Ends all watches. From now on nothing changes any more. Not to be called under a lock.
    void close();

    // For readers.

    MemberView snapshot() const;
    Subscription on_change(std::function<void(const MemberUpdate&)> callback);
    bool call_back(std::function<void()> work) const { return call_back_ && call_back_(std::move(work)); }
    const OnThrow& on_throw() const noexcept { return on_throw_; }

    // For watches.

    /// Waits until `deadline` for a version other than `seen`; false if there is none, or `watch` has ended. Throws
    /// `errc::would_block` where it would have to wait on an I/O thread.
    bool wait(const WatchState& watch, std::uint64_t seen, Deadline deadline);
    /// The same for an operation: wakes it then. False if there is nothing to wait for; then it will not.
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
    /// Somebody who has members, or is suspect.
    struct Owner {
        std::size_t members = 0;
        bool suspect = false;
    };
    struct Place {
        std::shared_ptr<const EnrolledMember> enrolled;
        Owner* owner = nullptr;
    };
    struct Waiting {
        const WatchState* watch = nullptr;
        std::shared_ptr<Operation> operation;
    };

    bool put(const std::shared_ptr<const MemberRecord>& record);
    bool erase(const Change& change);
    Woken changed(std::unique_lock<std::mutex>& lock);
    Woken take_waiting(std::vector<Waiting>::iterator first);

    const CallBack call_back_;
    const OnThrow on_throw_;

    const net::Origin origin_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<Key, Place> members_;
    std::unordered_map<PeerId, Owner> owners_;
    std::uint64_t version_ = 1;
    bool complete_ = true;
    bool closed_ = false;
    mutable std::shared_ptr<const MemberList> view_;  ///< of this version, or null
    std::size_t waiting_threads_ = 0;
    std::vector<Waiting> waiting_;
};

/// What a `MemberWatch` stands for. Thread-safe.
class WatchState {
public:
    explicit WatchState(std::shared_ptr<MembersState> members) noexcept : members_(std::move(members)) {}

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

    mutable std::mutex mutex_;  ///< held while views are compared, and before that of `members_`
    MemberView last_;
};

}  // namespace cluster::detail
