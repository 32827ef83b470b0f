#include "core/registry.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cluster::core {

namespace {

std::vector<std::uint8_t> to_wire(const std::vector<std::byte>& data) {
    std::vector<std::uint8_t> bytes(data.size());
    if (!data.empty()) std::memcpy(bytes.data(), data.data(), data.size());
    return bytes;
}

bool same(const std::vector<std::byte>& data, const std::vector<std::uint8_t>& bytes) {
    return data.size() == bytes.size() && (data.empty() || std::memcmp(data.data(), bytes.data(), data.size()) == 0);
}

RecordRef to_record(const PeerId& owner, const MemberEntry& entry) {
    detail::MemberRecord record{entry.id, owner, std::vector<std::byte>(entry.data.size())};
    if (!entry.data.empty()) std::memcpy(record.data.data(), entry.data.data(), entry.data.size());
    return std::make_shared<const detail::MemberRecord>(std::move(record));
}

constexpr std::uint64_t first_number = std::uint64_t{1} << 62;  // no version becomes so large

/// False if there is no room for it in the frame.
bool add(MemberList& list, std::size_t& size, const MemberId& id, const RecordRef& record) {
    const std::size_t cost = 32 + (record == nullptr ? 0 : record->data.size());
    const bool full = size + cost > max_control_body || list.members.size() == max_listed_members;
    if (full && !list.members.empty()) return false;
    size += cost;
    list.members.push_back({id, record != nullptr, {}});
    if (record != nullptr) list.members.back().data = to_wire(record->data);
    return true;
}

}  // namespace

// Own members.

void Registry::record_change(const MemberId& id, RecordRef record) {
    changes_.emplace_hint(changes_.end(), ++version_, Change{id, std::move(record)});
}

errc Registry::put(RecordRef record) {
    const auto found = own_.find(record->id);
    const bool is_new = found == own_.end();
    const detail::MemberRecord* former = is_new ? nullptr : changes_.at(found->second.version).record.get();
    if (!is_new && former->data == record->data) return {};
    const std::uint64_t bytes = bytes_ - (is_new ? 0 : former->data.size()) + record->data.size();
    if (bytes > max_member_bytes || (is_new && own_.size() == max_members)) return errc::too_many_members;
    bytes_ = bytes;
    const MemberId id = record->id;
    if (!is_new) changes_.erase(found->second.version);
    if (const auto withdrawn = withdrawn_.extract(id)) changes_.erase(withdrawn.mapped());
    record_change(id, std::move(record));
    own_[id] = {version_, is_new ? version_ : found->second.enrolled};
    return {};
}

bool Registry::erase(const MemberId& id) {
    const auto found = own_.find(id);
    if (found == own_.end()) return false;
    const auto change = changes_.find(found->second.version);
    bytes_ -= change->second.record->data.size();
    changes_.erase(change);
    own_.erase(found);
    record_change(id, nullptr);
    withdrawn_[id] = version_;
    return true;
}

/// The complete set goes in the order of ids, so it has an end even if members change fast meanwhile. What changes
/// after it was begun is sent once more after it. Until then each frame has a number of its own in place of a version.
/// So no frame of another set can be taken for the next one.
void Registry::add_members(Feed& feed, MemberList& list) {
    std::size_t size = 0;
    auto each = feed.last ? own_.upper_bound(*feed.last) : own_.begin();
    for (; each != own_.end(); ++each) {
        const auto& [id, own] = *each;
        if (own.enrolled > feed.begun) continue;
        if (!add(list, size, id, changes_.at(own.version).record)) break;
        feed.last = id;
    }
    list.complete = each == own_.end();
    if (list.complete) {
        feed.told = feed.ended = feed.begun;
        feed.seen = 0;
    } else {
        feed.told = first_number + ++numbered_;
    }
}

void Registry::add_changes(Feed& feed, MemberList& list) const {
    std::size_t size = 0;
    auto change = changes_.upper_bound(feed.told);
    for (; change != changes_.end() && add(list, size, change->second.id, change->second.record); ++change) {
        feed.told = change->first;
    }
    list.complete = change == changes_.end();
    if (list.complete) feed.told = version_;
}

MemberList Registry::next(Feed& feed, Time now) {
    MemberList list;
    list.whole = feed.whole;
    if (list.whole) {
        feed = {.whole = false, .told = 0, .begun = version_, .ended = 0, .seen = 0, .waits = {}, .last = {}};
    }
    if (feed.seen == feed.told) feed.waits = now;
    list.from = feed.told;
    if (feed.ended == 0) {
        add_members(feed, list);
    } else {
        add_changes(feed, list);
    }
    list.to = feed.told;
    return list;
}

void Registry::passed(std::uint64_t version) {
    for (auto each = withdrawn_.begin(); each != withdrawn_.end();) {
        if (each->second > version) {
            ++each;
            continue;
        }
        changes_.erase(each->second);
        each = withdrawn_.erase(each);
    }
}

// The members of others.

bool Registry::accept(const PeerId& id, MemberList&& list, std::vector<MemberChange>& out) {
    Owner& owner = owners_[id];
    if (list.whole) {
        ++owner.round;
    } else if (list.from != owner.version || owner.round == 0) {
        return false;
    }
    owner.version = list.to;
    owner.complete = list.complete;
    total_ -= owner.cost();
    const auto forget = [&](auto found) {
        owner.bytes -= found->second.record->data.size();
        out.push_back({std::move(found->second.record), false, true});
        return owner.members.erase(found);
    };
    for (const MemberEntry& entry : list.members) {
        const auto found = owner.members.find(entry.id);
        if (!entry.enrolled) {
            if (found != owner.members.end()) forget(found);
            continue;
        }
        if (found != owner.members.end() && same(found->second.record->data, entry.data)) {
            found->second.round = owner.round;
            continue;
        }
        Kept& kept = found != owner.members.end() ? found->second : owner.members[entry.id];
        if (kept.record != nullptr) owner.bytes -= kept.record->data.size();
        owner.bytes += entry.data.size();
        kept = {to_record(id, entry), owner.round};
        out.push_back({kept.record, true, false});
    }
    // What the set does not contain was withdrawn while nobody could report it. That is found at the end of the set, or
    // before if there is too much.
    const bool ends = list.complete && std::exchange(owner.swept, owner.round) != owner.round;
    if (ends || (owner.swept != owner.round && !within_limits(owner))) {
        for (auto each = owner.members.begin(); each != owner.members.end();) {
            each = each->second.round == owner.round ? std::next(each) : forget(each);
        }
    }
    total_ += owner.cost();
    return true;
}

bool Registry::within_limits(const Owner& owner) {
    const std::size_t more = owner.complete ? 0 : 1;
    return owner.members.size() <= max_members + more * max_members / 8 &&
           owner.bytes <= max_member_bytes + more * max_member_bytes / 8;
}

std::optional<PeerId> Registry::largest() const {
    const auto found = std::max_element(owners_.begin(), owners_.end(), [](const auto& a, const auto& b) {
        return a.second.cost() < b.second.cost();
    });
    if (found == owners_.end() || found->second.cost() == 0) return std::nullopt;
    return found->first;
}

bool Registry::within_limits(const PeerId& id) const {
    const auto found = owners_.find(id);
    return found == owners_.end() || within_limits(found->second);
}

std::uint64_t Registry::held(const PeerId& id) const {
    const auto found = owners_.find(id);
    return found == owners_.end() ? 0 : found->second.version;
}

bool Registry::has_members(const PeerId& id) const {
    const auto found = owners_.find(id);
    return found != owners_.end() && !found->second.members.empty();
}

bool Registry::complete(const PeerId& id) const {
    const auto found = owners_.find(id);
    return found != owners_.end() && found->second.swept != 0;
}

void Registry::forget(const PeerId& id, bool graceful, std::vector<MemberChange>& out) {
    const auto found = owners_.find(id);
    if (found == owners_.end()) return;
    total_ -= found->second.cost();
    for (auto& [member, kept] : found->second.members) out.push_back({std::move(kept.record), false, graceful});
    owners_.erase(found);
}

}  // namespace cluster::core
