#include "world_parts.hpp"

#include <algorithm>
#include <cstring>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

/// The data of a member begins with a number that its owner raises with each change.
std::uint64_t number_in(const core::RecordRef& record) {
    std::uint64_t number = 0;
    if (record->data.size() >= sizeof number) std::memcpy(&number, record->data.data(), sizeof number);
    return number;
}

}  // namespace

/// Enrols, changes or withdraws one of the node's members.
void World::change_a_member(Node& node) {
    if (!node.alive || node.leaving || node.paused) return;
    MemberId id;
    // Few ids, so that the same come and go and are changed again and again.
    id.bytes[0] = static_cast<std::uint8_t>(members_.below(6));
    std::copy_n(node.id.bytes.begin(), 8, id.bytes.begin() + 8);
    if (members_.below(4) == 0) {
        if (node.enrolled.erase(id) != 0) node.withdrawn[id] = ++last_member_change_;
        node.engine->erase_member(id);
    } else {
        const std::uint64_t number = ++last_member_change_;
        const bool large = members_.below(20) == 0;
        std::vector<std::byte> data(8 + members_.below(large ? core::max_member_data - 7 : 300));
        std::memcpy(data.data(), &number, sizeof number);
        node.enrolled[id] = number;
        const errc error = node.engine->put_member(
            std::make_shared<const detail::MemberRecord>(detail::MemberRecord{id, node.id, std::move(data)}));
        if (error != errc{}) fail("n" + std::to_string(node.index) + " cannot enrol");
    }
    settle(node);
}

void World::members_changed(Node& node, const core::MembersChanged& action) {
    const auto who = [&] { return "n" + std::to_string(node.index) + " "; };
    for (const core::MemberChange& change : action.changes) {
        const detail::MemberRecord& record = *change.record;
        auto& members = node.members[record.owner];
        const auto found = members.find(record.id);
        if (!change.present) {
            if (found == members.end()) return fail(who() + "is told that a member is gone that was not there");
            const Node& owner = *runs_.at(record.owner);
            if (!change.graceful) {
                node.bereft = record.owner;
            } else if (!owner.leaving) {
                const auto withdrawn = owner.withdrawn.find(record.id);
                if (withdrawn == owner.withdrawn.end() || withdrawn->second < found->second) {
                    return fail(who() + "is told that a member was withdrawn, which was not");
                }
            }
            members.erase(found);
            continue;
        }
        if (!node.in_view.contains(record.owner)) return fail(who() + "is told of a member of a peer out of view");
        const std::uint64_t number = number_in(change.record);
        std::uint64_t& newest = node.newest_member[{record.owner, record.id}];
        if (number < newest) return fail(who() + "is told of a member as it was before");
        if (number == newest && found != members.end()) return fail(who() + "is told of a change that is none");
        newest = number;
        members[record.id] = number;
        ++result_.member_changes;
    }
    node.members_complete = action.complete;
}

/// Whether the node knows the members of all others, and of nobody else.
bool World::members_well(const Node& node, std::string* why) const {
    const std::string who = "n" + std::to_string(node.index) + " ";
    if (!node.members_complete) return *why = who + "does not know whether it knows all members", false;
    for (const PeerId& id : node.in_view) {
        const Node& other = *runs_.at(id);
        if (!belongs_together(node.index, other.index)) continue;
        const auto found = node.members.find(id);
        const bool none = found == node.members.end() || found->second.empty();
        const auto& enrolled = other.enrolled;
        if (none ? !enrolled.empty() : found->second != enrolled) {
            return *why = who + "has other members of " + short_id(id) + " than that one has enrolled", false;
        }
    }
    for (const auto& [owner, members] : node.members) {
        if (!members.empty() && !node.in_view.contains(owner)) {
            return *why = who + "has members of " + short_id(owner) + ", which is not in view", false;
        }
    }
    if (!node.engine->members_seen(node.engine->members_version())) {
        return *why = who + "lacks acknowledgements of its members", false;
    }
    return true;
}

}  // namespace cluster::sim
