#pragma once

#include "base/time.hpp"
#include "core/frame.hpp"

#include <cluster/error.hpp>
#include <cluster/member.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace cluster::core {

using RecordRef = std::shared_ptr<const detail::MemberRecord>;

/// A member that joined or changed, or is gone.
struct MemberChange {
    RecordRef record;
    bool present = true;
    bool graceful = false;  ///< of one that is gone: it was withdrawn, or its owner left
};

/// Shared membership: the members that this node has enrolled, and those that each peer has reported. Not thread-safe.
///
/// Only the owner of a record writes it, and it travels only over the owner's own links. So nothing is relayed or
/// merged, and nobody can speak for another. Members go with their owner: no tombstone outlives the links that need it.
///
/// What travels is state, not a stream: a member that changed often between two writes to a link is sent once.
///
/// 1. Each change of an own member takes the next version. An enrolled member is in `changes_` under the version of its
///    last change. A withdrawn one is there until all links have the withdrawal.
/// 2. A link that has the changes up to a version needs exactly those above it. A new link begins at 0 and needs no
///    earlier withdrawals: the peer forgets all it held that does not come again.
class Registry {
public:
    // Own members.

    /// Enrols it, or changes its data; equal data is no change. The result is zero, or `errc::too_many_members`.
    errc put(RecordRef record);
    /// False if it is not enrolled.
    bool erase(const MemberId& id);
    /// The version of the last change; 1 before the first, so that even an empty set is acknowledged.
    std::uint64_t version() const noexcept { return version_; }
    std::size_t own() const noexcept { return own_.size(); }

    /// What one link has been sent so far.
    struct Feed {
        bool whole = true;        ///< what comes next begins the complete set
        std::uint64_t told = 0;
        std::uint64_t begun = 0;  ///< the complete set is that of this version; each member is as it is when sent
        std::uint64_t ended = 0;  ///< where the complete set ended; 0: not yet, so nothing is known for sure
        std::uint64_t seen = 0;   ///< acknowledged by the peer
        Time waits{};             ///< for an acknowledgement: since something was sent or the last one came
        std::optional<MemberId> last;  ///< of the complete set, while it is being sent

        /// The peer does not need withdrawals up to this version.
        std::uint64_t passed() const noexcept { return ended == 0 ? begun : told; }
    };
    bool due(const Feed& feed) const noexcept { return feed.whole || feed.told != version_; }
    /// The next frame for a link for which one is due.
    MemberList next(Feed& feed, Time now);
    std::size_t withdrawals() const noexcept { return withdrawn_.size(); }
    /// All changes up to `version` have been sent on every link.
    void passed(std::uint64_t version);

    // The members of others.

    /// `out` gets what changed. False if a frame before this one is missing: nothing was changed, and the owner will
    /// begin anew when nobody acknowledges.
    bool accept(const PeerId& owner, MemberList&& list, std::vector<MemberChange>& out);
    /// False if it has reported more than one node may enrol. Until a frame is complete an eighth more is allowed:
    /// members may come before those that they replace are withdrawn.
    bool within_limits(const PeerId& owner) const;
    /// The cost of one member beside its data, over all owners: about the memory that it takes in this process.
    static constexpr std::uint64_t member_cost = 512;
    std::uint64_t total() const noexcept { return total_; }
    /// The owner that takes most of it; nobody if no owner has a member.
    std::optional<PeerId> largest() const;
    /// What to acknowledge; 0 if nothing.
    std::uint64_t held(const PeerId& owner) const;
    bool has_members(const PeerId& owner) const;
    /// The owner has reported all its members at least once.
    bool complete(const PeerId& owner) const;
    void forget(const PeerId& owner, bool graceful, std::vector<MemberChange>& out);

private:
    struct Change {
        MemberId id;
        RecordRef record;  ///< null: withdrawn
    };
    struct Kept {
        RecordRef record;
        std::uint64_t round = 0;
    };
    struct Owner {
        std::map<MemberId, Kept> members;
        std::uint64_t bytes = 0;
        std::uint64_t version = 0;
        std::uint64_t round = 0;  ///< how many complete sets were begun
        std::uint64_t swept = 0;  ///< the last of them that ended; 0: none
        bool complete = false;    ///< the last frame was complete: what is here was enrolled at one time

        std::uint64_t cost() const noexcept { return bytes + member_cost * members.size(); }
    };
    struct Own {
        std::uint64_t version = 0;   ///< of its last change
        std::uint64_t enrolled = 0;  ///< the version with which it was enrolled
    };
    void record_change(const MemberId& id, RecordRef record);
    void add_members(Feed& feed, MemberList& list);
    void add_changes(Feed& feed, MemberList& list) const;
    static bool within_limits(const Owner& owner);

    std::map<std::uint64_t, Change> changes_;
    std::map<MemberId, Own> own_;  ///< all that are enrolled
    std::uint64_t version_ = 1;
    std::uint64_t numbered_ = 0;  ///< frames of complete sets
    std::uint64_t bytes_ = 0;
    std::map<MemberId, std::uint64_t> withdrawn_;  ///< the version of each that is withdrawn, until all links have it
    std::map<PeerId, Owner> owners_;
    std::uint64_t total_ = 0;  ///< cost of all of them
};

}  // namespace cluster::core
