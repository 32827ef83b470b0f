#pragma once

#include <cluster/export.hpp>
#include <cluster/member.hpp>
#include <cluster/peer.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster {

/// Consistent hashing: says which member each key belongs to. All who have the same members with the same weights agree
/// without asking each other.
///
///     cluster::Ring ring(view);                                                    // all alike
///     cluster::Ring ring(view, [](const Member& member) { return capacity(member); });
///     if (ring.owner("user-42") == me.id()) ...
///
/// Immutable: when members or weights change, make another, which takes some milliseconds. Copies are cheap and share
/// the table. Any number of threads may ask one ring. If one of them assigns to it meanwhile, they must synchronize, as
/// for any value.
///
/// 1. The answer depends on the ids and weights alone, not on their order, the machine, the compiler or the version of
///    this library.
/// 2. A member owns its weight's part of all keys, give or take half a percentage point. A weight of 0 owns nothing.
/// 3. When a member comes, goes or changes its weight, keys move to it or from it, never between others. When a member
///    goes, only the keys that it owned move. The others keep their order in `owners`: the second is the next owner.
/// 4. Keys lie in 65,536 slots, and the keys of one slot move together. Below a thousand members that does not matter.
///    Of 1,000 equal members each owns 66 slots, give or take 6. Of 10,000 each owns 6.5, give or take 2, and hardly
///    any owns none.
/// 5. Anyone who can choose keys can choose many of one owner: the hash is public.
///
/// It is weighted rendezvous hashing of slots instead of keys (Thaler and Ravishankar, "Using name-based mappings to
/// increase hit rates", 1998). The weights are as in Schindelhauer and Schomaker, "Weighted distributed hash tables",
/// 2005.
///
/// - Rendezvous hashing moves the least that is possible, divides evenly whatever the weights, and orders all members
///   for each key. But each answer asks every member. With a table of slots an answer takes one look, however many
///   members there are.
/// - Points on a circle answer nearly as fast, but are uneven. Two members stay within two percentage points of their
///   parts only with thousands of points each, for each unit of weight.
class CLUSTER_EXPORT Ring {
public:
    static constexpr std::size_t slots = 65'536;

    struct Entry {
        MemberId id;
        std::uint32_t weight = 1;
        /// The node that the member belongs to, for `owner_node`; may be left out.
        PeerId node = {};
    };

    /// Nobody owns anything.
    Ring() noexcept = default;

    /// If an id is there twice, it counts once, with its larger weight.
    explicit Ring(std::vector<Entry> entries);

    /// A ring of all `members`, such as a `MemberView`. Each has an `id()`, and perhaps an `owner()`. `weight` returns
    /// the weight of each: a whole number or a bool. Throws `std::out_of_range` if a weight is negative or beyond 32
    /// bits.
    template <class Range, class Weight>
    requires requires(Range& members, Weight& weight) {
        { (*std::begin(members)).id() } -> std::convertible_to<MemberId>;
        { weight(*std::begin(members)) } -> std::integral;
    }
    Ring(Range&& members, Weight weight) : Ring(entries_of(members, weight)) {}

    /// The same with a weight of 1 for each.
    template <class Range>
    requires requires(Range& members) {
        { (*std::begin(members)).id() } -> std::convertible_to<MemberId>;
    }
    explicit Ring(Range&& members) : Ring(members, [](const auto&) { return 1; }) {}

    /// The member that the key belongs to; empty if nobody has any weight. Allocates nothing, and takes as long among
    /// ten thousand members as among ten.
    std::optional<MemberId> owner(std::string_view key) const noexcept;
    std::optional<MemberId> owner(std::span<const std::byte> key) const noexcept;

    /// The node whose member the key belongs to: the node to ask. Empty if nobody has any weight. All zero if the ring
    /// was made of members that do not say which node they belong to.
    std::optional<PeerId> owner_node(std::string_view key) const noexcept;
    std::optional<PeerId> owner_node(std::span<const std::byte> key) const noexcept;

    /// The first `count` members for the key. The owner comes first. Each next one would own the key without those
    /// before it. If fewer members have weight, the result is shorter. For copies, and to know whom to ask next. Looks
    /// at every member.
    std::vector<MemberId> owners(std::string_view key, std::size_t count) const;
    std::vector<MemberId> owners(std::span<const std::byte> key, std::size_t count) const;

    /// How many members have any weight.
    std::size_t size() const noexcept;
    bool empty() const noexcept { return !table_; }

private:
    struct Table;

    template <class Range, class Weight>
    static std::vector<Entry> entries_of(Range& members, Weight& weight) {
        std::vector<Entry> entries;
        for (const auto& member : members) {
            const auto value = +weight(member);
            if (!std::in_range<std::uint32_t>(value))
                throw std::out_of_range("cluster::Ring: a weight must be from 0 to 4294967295");
            entries.push_back({member.id(), static_cast<std::uint32_t>(value)});
            if constexpr (requires { PeerId(member.owner()); }) entries.back().node = member.owner();
        }
        return entries;
    }

    std::shared_ptr<const Table> table_;
};

}  // namespace cluster
