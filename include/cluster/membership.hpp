#pragma once

#include <cluster/error.hpp>
#include <cluster/export.hpp>
#include <cluster/member.hpp>
#include <cluster/message.hpp>
#include <cluster/operation.hpp>
#include <cluster/peer.hpp>
#include <cluster/subscription.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// Shared membership: who is registered in the cluster, with what data, and how that changes.
//
// No server keeps it. Each node reports its own members to all others, and hears of other members only from their own
// nodes. So the newest data of each member soon reaches all nodes that its own node reaches. But there is no quorum,
// and no order between changes of different members. If the network splits, both halves go on with the members they
// have. What must happen only once needs more than this.

namespace cluster {

namespace detail {
struct EnrolledMember;
struct MemberList;
class MembersState;
class MembershipHost;
class MembershipState;
class WatchState;
template <class Base, class Source, class Handler, bool in_place>
class Bound;
template <class Source, class Handler, bool in_place>
class Receiving;
}  // namespace detail

/// One enrolled member as it was at one moment. A value, cheap to copy: copies share the data.
class CLUSTER_EXPORT Member {
public:
    Member() noexcept = default;

    const MemberId& id() const noexcept;
    /// The node that it belongs to. When that node leaves or fails, the member is gone.
    const PeerId& owner() const noexcept;
    /// What it was registered with; valid as long as this member or a copy of it lives.
    std::span<const std::byte> data() const noexcept;
    std::string_view text() const noexcept;
    /// Its owner is `PeerState::suspect`: the member may be gone already.
    bool suspect() const noexcept { return suspect_; }

    /// For the library's own use.
    Member(std::shared_ptr<const detail::EnrolledMember> enrolled, bool suspect) noexcept
        : enrolled_(std::move(enrolled)), suspect_(suspect) {}
    const detail::EnrolledMember* enrolled() const noexcept { return enrolled_.get(); }

private:
    std::shared_ptr<const detail::EnrolledMember> enrolled_;
    bool suspect_ = false;
};

CLUSTER_EXPORT bool operator==(const Member& a, const Member& b) noexcept;

/// All members that one node knew at one moment, sorted by id. Immutable, cheap to copy: copies share the members.
class CLUSTER_EXPORT MemberView {
public:
    /// Empty, of version 0.
    MemberView() noexcept = default;

    /// Rises with every change of what its node knows. Views of one version are equal. Says nothing about the views of
    /// other nodes.
    std::uint64_t version() const noexcept;
    /// False while a peer in view has not yet reported all its members.
    bool complete() const noexcept;

    std::size_t size() const noexcept;
    bool empty() const noexcept { return size() == 0; }
    const Member* begin() const noexcept;
    const Member* end() const noexcept { return begin() + size(); }
    const Member& operator[](std::size_t index) const noexcept { return begin()[index]; }
    /// Null if there is none. Valid as long as this view or a copy of it lives. Ids are random. If two nodes claim the
    /// same id all the same, the result is the member of the node with the smaller id.
    const Member* find(const MemberId& id) const noexcept;

    /// For the library's own use.
    explicit MemberView(std::shared_ptr<const detail::MemberList> list) noexcept : list_(std::move(list)) {}

private:
    std::shared_ptr<const detail::MemberList> list_;
};

enum class MemberEvent : std::uint8_t {
    joined,
    /// It has other data, or its owner has become suspect or is no longer suspect.
    updated,
    /// It was withdrawn, or its owner left gracefully.
    left,
    /// Its owner failed, became unreachable, or was parted from.
    expired,
};

CLUSTER_EXPORT std::string_view to_string(MemberEvent event) noexcept;
CLUSTER_EXPORT std::ostream& operator<<(std::ostream& out, MemberEvent event);

struct MemberChange {
    MemberEvent event = MemberEvent::joined;
    /// As it is now. A member that is gone is shown as it was in the view before.
    Member member;
};

/// What a watch gives.
struct MemberUpdate {
    MemberView view;
    /// The changes since the view that the same watch gave before, sorted by id. In the first update everybody has
    /// joined. Empty if only `view.complete()` has changed, or if the first view is empty.
    ///
    /// - A member that came and went in between does not appear.
    /// - A member that went and came back is `updated`, if anything about it is different.
    /// - A member that went, came back and went again appears once, with the event of its first going.
    std::vector<MemberChange> changes;
};

/// A stream of views: the current one at once, then the newest one after each change. The latest wins. A slow reader
/// sees fewer of them, but its last view is never outdated, and it delays nobody. Versions rise from each to the next.
///
/// It ends with `close`, or when the node (or the memory cluster) closes. From then on it gives nothing. A watch that
/// is not read costs nothing but the view it gave last.
///
/// A handle to shared state, cheap to copy. Copies are the same watch, and each update goes to one reader. Thread-safe,
/// and safe to outlive the node.
class CLUSTER_EXPORT MemberWatch {
public:
    /// Waits for the next update. Empty at the end. On an I/O thread it throws `errc::would_block` if it would have to
    /// wait.
    std::optional<MemberUpdate> next();
    /// The same, but waits for at most `duration`; empty, too, when that time is over.
    std::optional<MemberUpdate> next_for(std::chrono::nanoseconds duration);
    /// The next update if there is one already.
    std::optional<MemberUpdate> try_next();

    /// The next update, when it comes, for a completion token of the application's Asio. Include `<cluster/asio.hpp>`
    /// to call it.
    ///
    /// Completes with `void(std::error_code, MemberUpdate)`, at the end with `errc::closed`. An update is taken at the
    /// moment when the handler is called. It is the newest then, and cancelling loses none.
    template <class Token>
    auto async_next(Token&& token) const;

    bool at_end() const;
    /// Ends it, for all copies and for all that wait. Harmless when it has ended.
    void close();

    /// A single pass over the updates as they come, until the end. It points to an update that is valid until it is
    /// advanced.
    class CLUSTER_EXPORT Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = MemberUpdate;
        using difference_type = std::ptrdiff_t;
        using reference = const MemberUpdate&;

        const MemberUpdate& operator*() const noexcept { return *update_; }
        const MemberUpdate* operator->() const noexcept { return &*update_; }
        Iterator& operator++();
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !update_; }

    private:
        friend class MemberWatch;
        explicit Iterator(std::shared_ptr<detail::WatchState> state) : state_(std::move(state)) {}
        std::shared_ptr<detail::WatchState> state_;
        std::optional<MemberUpdate> update_;
    };

    Iterator begin();
    std::default_sentinel_t end() const noexcept { return {}; }

    /// For the library's own use.
    explicit MemberWatch(std::shared_ptr<detail::WatchState> state) noexcept : state_(std::move(state)) {}

private:
    template <class Base, class Source, class Handler, bool in_place>
    friend class detail::Bound;
    template <class Source, class Handler, bool in_place>
    friend class detail::Receiving;

    std::optional<MemberUpdate> try_take() { return try_next(); }
    void wait(std::shared_ptr<detail::Operation> operation) const;
    bool stop_waiting(const detail::Operation& operation) const;
    /// A change wakes all that wait, so nobody has to wake another.
    void pass_on() const noexcept {}
    bool call_back(std::function<void()> work) const;

    std::shared_ptr<detail::WatchState> state_;
};

/// Reads who is registered. A handle: cheap to copy, thread-safe, and safe to outlive the node. It then shows the last
/// view.
class CLUSTER_EXPORT Members {
public:
    /// Never waits for anybody.
    MemberView snapshot() const;
    MemberWatch watch() const;
    /// Calls `callback` with the updates of a watch of its own, the first one at once, on the callback thread. Changes
    /// that come together, or while it runs, are reported once.
    Subscription on_change(std::function<void(const MemberUpdate&)> callback) const;

    /// For the library's own use.
    explicit Members(std::shared_ptr<detail::MembersState> state) noexcept : state_(std::move(state)) {}

private:
    std::shared_ptr<detail::MembersState> state_;
};

/// How far a change must have spread before the call that makes it returns.
enum class seen_by : std::uint8_t {
    /// The view of this node shows it.
    this_node,
    /// Every peer in view has acknowledged it, too.
    all_peers,
};

/// One registration with a piece of data. It begins unregistered and invisible. A node may have any number of them.
///
/// Thread-safe, except for moving and destroying it. Destroying it withdraws it. Safe to outlive the node; it then has
/// no effect. After it has been moved from, it may only be destroyed or assigned to.
///
/// Functions with a `std::error_code&` do not throw; the others throw `std::system_error`. If `enroll` or `withdraw`
/// has to wait for others:
/// - On an I/O thread it fails with `errc::would_block` and changes nothing.
/// - With `all_peers` it may fail although it has been done. With `errc::timed_out`, some peers may not know of it yet.
///   With `errc::closed`, the node was closed meanwhile.
/// - Without a time it waits until each peer has acknowledged it or is out of view.
class CLUSTER_EXPORT Membership {
public:
    Membership(Membership&&) noexcept;
    Membership& operator=(Membership&& other) noexcept;
    ~Membership();

    const MemberId& id() const noexcept;
    std::vector<std::byte> data() const;
    /// What `enroll` or `withdraw` made it last. Closing the node does not change it.
    bool enrolled() const;

    /// Any bytes, at most `max_member_data`; longer data fails with `errc::member_data_too_large`. Data that is the
    /// same already is no change. Harmless after the node has closed.
    ///
    /// While it is enrolled, all nodes get the data. The view of this node shows it when this returns, unless it fails
    /// with `errc::too_many_members`. While it is not enrolled, the data is kept until it is.
    void set_data(Payload data);
    void set_data(Payload data, std::error_code& error);

    /// Registers it, with the data it has. If it is enrolled already, nothing changes. With `all_peers` it still waits
    /// until all have seen what `set_data` gave it last.
    ///
    /// Fails with `errc::too_many_members` if this node has enrolled 65,536 already, or 64 MiB of data. Fails with
    /// `errc::closed` after the node has closed.
    void enroll(seen_by who = seen_by::this_node, std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
    void enroll(seen_by who, std::chrono::nanoseconds timeout, std::error_code& error);
    void enroll(seen_by who, std::error_code& error) { enroll(who, std::chrono::nanoseconds::max(), error); }
    void enroll(std::error_code& error) { enroll(seen_by::this_node, error); }

    /// Takes it out again; the data stays for the next time. If it is not enrolled, nothing changes.
    void withdraw(seen_by who = seen_by::this_node,
                  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
    void withdraw(seen_by who, std::chrono::nanoseconds timeout, std::error_code& error);
    void withdraw(seen_by who, std::error_code& error) { withdraw(who, std::chrono::nanoseconds::max(), error); }
    void withdraw(std::error_code& error) { withdraw(seen_by::this_node, error); }

    /// For the library's own use. Throws `std::system_error` if the system has no random bytes.
    explicit Membership(std::shared_ptr<detail::MembershipHost> host);

private:
    std::unique_ptr<detail::MembershipState> state_;
};

}  // namespace cluster
