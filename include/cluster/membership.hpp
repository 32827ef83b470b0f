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
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// Who is registered in the cluster, with what data, and how that changes. No server keeps it: each node tells all
// others of its own members, and what it hears of theirs it hears from them. So the newest data of each member reaches
// everybody that its node reaches, soon; but there is no quorum, no order between changes of different members, and
// both halves of a parted cluster go on with the members they have. What must happen only once needs more than this.

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
    /// The node that it belongs to. When that one leaves or fails, the member is gone.
    const PeerId& owner() const noexcept;
    /// What it was registered with; valid as long as this member or a copy of it lives.
    std::span<const std::byte> data() const noexcept;
    std::string_view text() const noexcept;
    /// Its owner is `PeerState::suspect`: it may be gone already.
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

    /// Rises with every change of what its node knows; views of one version are equal. Says nothing about the views of
    /// other nodes.
    std::uint64_t version() const noexcept;
    /// False while a peer in view has not yet told of all its members.
    bool complete() const noexcept;

    std::size_t size() const noexcept;
    bool empty() const noexcept { return size() == 0; }
    const Member* begin() const noexcept;
    const Member* end() const noexcept { return begin() + size(); }
    const Member& operator[](std::size_t index) const noexcept { return begin()[index]; }
    /// Null where there is none. Valid as long as this view or a copy of it lives. Ids are random; should two nodes
    /// claim the same one all the same, it is that of the smaller peer id.
    const Member* find(const MemberId& id) const noexcept;

    /// For the library's own use.
    explicit MemberView(std::shared_ptr<const detail::MemberList> list) noexcept : list_(std::move(list)) {}

private:
    std::shared_ptr<const detail::MemberList> list_;
};

enum class MemberEvent : std::uint8_t {
    joined,
    /// It has other data, or its owner has become suspect or is so no more.
    updated,
    /// It was withdrawn, or its owner left gracefully.
    left,
    /// Its owner failed, became unreachable, or was parted from.
    expired,
};

CLUSTER_EXPORT std::string_view to_string(MemberEvent event) noexcept;

struct MemberChange {
    MemberEvent event = MemberEvent::joined;
    /// As it is now; one that is gone as it was in the view before.
    Member member;
};

/// What a watch gives.
struct MemberUpdate {
    MemberView view;
    /// What makes this view of the one that the same watch gave before, sorted by id; in the first update everybody has
    /// joined. Who came and went in between does not appear; who went and came back is `updated`, if anything about it
    /// is different; who went, came back and went again has gone as it did the first time. Empty where only
    /// `view.complete()` has changed, and where the first view is empty.
    std::vector<MemberChange> changes;
};

/// A stream of views: the current one at once, then the newest one after each change. The latest wins: who reads seldom
/// sees fewer of them, but never an outdated last one, and delays nobody. Versions rise from each to the next.
///
/// It ends with `close`, or when the node (or the memory cluster) closes; from then on it gives nothing. A handle to
/// shared state: cheap to copy, and copies are the same watch, of which each update goes to one reader. Thread-safe,
/// and safe to outlive the node. One that is not read costs nothing but the view it gave last.
class CLUSTER_EXPORT MemberWatch {
public:
    /// Waits for the next update. Empty at the end. On an I/O thread it throws `errc::would_block` where it would have
    /// to wait.
    std::optional<MemberUpdate> next();
    /// The same, waiting at most so long; empty, too, when that time is over.
    std::optional<MemberUpdate> next_for(std::chrono::nanoseconds duration);
    /// The next update if there is one already.
    std::optional<MemberUpdate> try_next();

    /// The next update, when it comes, for a completion token of the application's Asio. Completes with
    /// `void(std::error_code, MemberUpdate)`, at the end with `errc::closed`. An update is taken in the moment in which
    /// the handler is called: it is the newest then, and cancelling loses none. Include `<cluster/asio.hpp>` to call
    /// it.
    template <class Token>
    auto async_next(Token&& token) const;

    bool at_end() const;
    /// Ends it, for all copies and for whoever waits. Harmless when it has ended.
    void close();

    /// A single pass over the updates as they come, until the end. The update it points to is valid until it is
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

/// Reads who is registered. A handle: cheap to copy, thread-safe, and safe to outlive the node: then it shows the last
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

/// How far a change has to have come before the call that makes it returns.
enum class seen_by : std::uint8_t {
    /// The view of this node shows it.
    this_node,
    /// Every peer in view has acknowledged it, too.
    all_peers,
};

/// One registration with a piece of data. Created unregistered and invisible; any number per node.
///
/// Thread-safe, but for moving and destroying it. Destroying it withdraws it. Safe to outlive the node, and then of no
/// effect. What has been moved from may only be destroyed or assigned to.
///
/// Functions with a `std::error_code&` do not throw; the others throw `std::system_error`. `enroll` and `withdraw` fail
/// with `errc::would_block`, and change nothing, where they are to wait for others on an I/O thread. With `all_peers`
/// they may fail although it has been done: with `errc::timed_out` some peers may not know of it yet, with
/// `errc::closed` the node was closed meanwhile. Without a time they wait until each peer has acknowledged it or is out
/// of view.
class CLUSTER_EXPORT Membership {
public:
    Membership(Membership&&) noexcept;
    Membership& operator=(Membership&& other) noexcept;
    ~Membership();

    const MemberId& id() const noexcept;
    std::vector<std::byte> data() const;
    /// What `enroll` or `withdraw` made it last; that the node has closed does not change it.
    bool enrolled() const;

    /// Any bytes, at most `max_member_data`, else it fails with `errc::member_data_too_large`. While it is enrolled,
    /// all get them, and the view of this node shows them when this returns, unless it fails with
    /// `errc::too_many_members`; else they are kept until it is. Data that is the same already is no change. Harmless
    /// after the node has closed.
    void set_data(Payload data);
    void set_data(Payload data, std::error_code& error);

    /// Registers it, with the data it has. Enrolled already: changes nothing, but with `all_peers` it waits until all
    /// have seen what `set_data` gave it last. Fails with `errc::too_many_members` where this node has enrolled 65,536
    /// already, or 64 MiB of data, and with `errc::closed` after the node has closed.
    void enroll(seen_by who = seen_by::this_node, std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
    void enroll(seen_by who, std::chrono::nanoseconds timeout, std::error_code& error);
    void enroll(seen_by who, std::error_code& error) { enroll(who, std::chrono::nanoseconds::max(), error); }
    void enroll(std::error_code& error) { enroll(seen_by::this_node, error); }

    /// Takes it out again; the data stays for the next time. Not enrolled: changes nothing.
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
