#include <cluster/ring.hpp>

#include "base/siphash.hpp"

#include <algorithm>
#include <array>
#include <compare>
#include <limits>

// How members and keys meet. This is a protocol between all nodes, of all versions, on all machines. So it uses whole
// numbers only, and any change of it must also change the two hash keys. Numbers are little-endian and unsigned, and
// wrap.
//
// - A key's slot is the first two bytes of SipHash-2-4-128 of the key under "cluster ring key".
// - A member's four round keys, 32 bits each, are SipHash-2-4-128 of its id under "cluster ring ids".
// - Each member wants all slots, in an order of its own: `slot_at`, a Feistel network of four rounds over 16 bits.
// - It asks for the slot at `rank` when a clock shows -ln(1 - x) / weight: `time_at`. Here x is the uniform number
//   (rank + jitter) / 65,536. So x is a hash of member and slot, but for each member all ranks occur once.
// - A slot belongs to the member that asks first, and after it to the others in the order of asking. Of two that ask at
//   the same time, the one with the smaller id is first.
//
// For a given slot these times are independent of each other and exponentially distributed with the weight as rate. So
// the probability that a member is the first is its weight divided by the sum of all weights. When a member asks
// depends only on its own id and weight, so nothing that happens to it changes the order of the others.

namespace cluster {

namespace {

using HashKey = std::array<std::uint8_t, 16>;
constexpr HashKey key_hash{'c', 'l', 'u', 's', 't', 'e', 'r', ' ', 'r', 'i', 'n', 'g', ' ', 'k', 'e', 'y'};
constexpr HashKey id_hash{'c', 'l', 'u', 's', 't', 'e', 'r', ' ', 'r', 'i', 'n', 'g', ' ', 'i', 'd', 's'};

/// The clock: -ln(1 - x) for x from 0 to 1, in units of 2^-59, as 4,096 straight lines.
constexpr std::uint64_t one = std::uint64_t{1} << 59;
constexpr std::size_t lines = 4'096;
constexpr auto clock_at = [] {
    std::array<std::uint64_t, lines + 1> at{};
    for (std::size_t i = 0; i < lines; ++i) at[i + 1] = at[i] + one / (lines - i);
    return at;
}();

constexpr std::uint32_t mix(std::uint32_t x) noexcept {
    x *= 0x9e3779b1;
    x ^= x >> 15;
    return x * 0x85ebca6b;
}

std::uint32_t slot_of(std::span<const std::byte> key) noexcept {
    const auto hash = siphash128(key_hash, {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()});
    return std::uint32_t{hash[0]} | std::uint32_t{hash[1]} << 8;
}

std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

class Claimant {
public:
    explicit Claimant(const Ring::Entry& entry) noexcept : id(entry.id), node(entry.node), weight(entry.weight) {
        const auto hash = siphash128(id_hash, id.bytes);
        for (std::size_t i = 0; i < hash.size(); ++i) keys_[i / 4] |= std::uint32_t{hash[i]} << (i % 4 * 8);
    }

    std::uint32_t slot_at(std::uint32_t rank) const noexcept {
        std::uint32_t high = rank >> 8;
        std::uint32_t low = rank & 0xff;
        high ^= mix(low + keys_[0]) >> 24;
        low ^= mix(high + keys_[1]) >> 24;
        high ^= mix(low + keys_[2]) >> 24;
        low ^= mix(high + keys_[3]) >> 24;
        return high << 8 | low;
    }
    std::uint32_t rank_of(std::uint32_t slot) const noexcept {
        std::uint32_t high = slot >> 8;
        std::uint32_t low = slot & 0xff;
        low ^= mix(high + keys_[3]) >> 24;
        high ^= mix(low + keys_[2]) >> 24;
        low ^= mix(high + keys_[1]) >> 24;
        high ^= mix(low + keys_[0]) >> 24;
        return high << 8 | low;
    }
    /// Grows with `rank`, or stays the same.
    std::uint64_t time_at(std::uint32_t rank) const noexcept {
        const std::uint32_t jitter = mix((rank << 16) + keys_[0]) >> 16;
        const std::uint32_t x = rank << 16 | jitter;
        const std::size_t line = x >> 20;
        const std::uint64_t slope = (clock_at[line + 1] - clock_at[line]) >> 20;
        return (clock_at[line] + slope * (x & 0xfffff)) / weight;
    }

    MemberId id;
    PeerId node;
    std::uint32_t weight;

private:
    std::array<std::uint32_t, 4> keys_{};
};

/// When a member asks for one slot. Claimants are sorted by id, so the order of claims is the order of preference.
struct Claim {
    std::uint64_t time;
    std::uint32_t claimant;
    friend auto operator<=>(const Claim&, const Claim&) = default;
};

}  // namespace

struct Ring::Table {
    explicit Table(const std::vector<Entry>& entries) : claimants(entries.begin(), entries.end()), owner_of(slots) {
        constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
        std::vector<std::uint64_t> taken_at(slots, never);
        std::vector<std::uint32_t> next_rank(claimants.size());
        std::uint64_t total_weight = 0;
        for (const Claimant& claimant : claimants) total_weight += claimant.weight;

        // All ask until a certain time, then until the next one, so that few slots are asked for after they were taken.
        // There are about fourteen times as many claims as slots, however many members there are. The result is the
        // same for every step.
        const std::uint64_t step = 2 * one / total_weight + 1;
        std::size_t free = slots;
        for (std::uint64_t until = step; free > 0; until += step) {
            for (std::uint32_t i = 0; i < claimants.size(); ++i) {
                for (std::uint32_t& rank = next_rank[i]; rank < slots; ++rank) {
                    const std::uint64_t time = claimants[i].time_at(rank);
                    if (time >= until) break;
                    const std::uint32_t slot = claimants[i].slot_at(rank);
                    if (time >= taken_at[slot]) continue;
                    if (taken_at[slot] == never) --free;
                    taken_at[slot] = time;
                    owner_of[slot] = i;
                }
            }
        }
    }

    std::vector<Claimant> claimants;  // sorted by id
    std::vector<std::uint32_t> owner_of;
};

Ring::Ring(std::vector<Entry> entries) {
    std::erase_if(entries, [](const Entry& entry) { return entry.weight == 0; });
    if (entries.empty()) return;
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.id != b.id ? a.id < b.id : a.weight > b.weight; });
    const auto same = [](const Entry& a, const Entry& b) { return a.id == b.id; };
    entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
    table_ = std::make_shared<const Table>(entries);
}

std::optional<MemberId> Ring::owner(std::string_view key) const noexcept {
    return owner(bytes_of(key));
}

std::optional<MemberId> Ring::owner(std::span<const std::byte> key) const noexcept {
    if (!table_) return std::nullopt;
    return table_->claimants[table_->owner_of[slot_of(key)]].id;
}

std::optional<PeerId> Ring::owner_node(std::string_view key) const noexcept {
    return owner_node(bytes_of(key));
}

std::optional<PeerId> Ring::owner_node(std::span<const std::byte> key) const noexcept {
    if (!table_) return std::nullopt;
    return table_->claimants[table_->owner_of[slot_of(key)]].node;
}

std::vector<MemberId> Ring::owners(std::string_view key, std::size_t count) const {
    return owners(bytes_of(key), count);
}

std::vector<MemberId> Ring::owners(std::span<const std::byte> key, std::size_t count) const {
    count = std::min(count, size());
    if (count == 0) return {};
    const std::uint32_t slot = slot_of(key);
    std::vector<Claim> claims;
    claims.reserve(size());
    for (const Claimant& claimant : table_->claimants)
        claims.push_back({claimant.time_at(claimant.rank_of(slot)), static_cast<std::uint32_t>(claims.size())});
    const auto end = claims.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(claims.begin(), end, claims.end());

    std::vector<MemberId> members;
    members.reserve(count);
    for (auto claim = claims.begin(); claim != end; ++claim) members.push_back(table_->claimants[claim->claimant].id);
    return members;
}

std::size_t Ring::size() const noexcept {
    return table_ ? table_->claimants.size() : 0;
}

}  // namespace cluster
