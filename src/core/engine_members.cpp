#include "core/engine.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

bool reads_members(std::uint64_t features) {
    return (features & feature_members) != 0;
}

}  // namespace

// What the application asks for.

errc Engine::put_member(RecordRef record) {
    if (leaving_) return errc::closed;
    const errc error = registry_.put(std::move(record));
    if (error == errc{}) tell_members();
    return error;
}

void Engine::erase_member(const MemberId& id) {
    if (leaving_ || !registry_.erase(id)) return;
    if (registry_.withdrawals() > max_members) forget_withdrawals();
    if (registry_.withdrawals() > max_members) {
        // Whoever lacks more than this last one is told anew.
        for (auto& [number, link] : links_) {
            if (link.feed.settled() + 1 < registry_.version()) link.feed = {};
        }
        registry_.passed(registry_.version() - 1);
    }
    tell_members();
}

bool Engine::members_seen(std::uint64_t version) {
    const bool seen = std::all_of(view_.begin(), view_.end(), [&](const Pair* pair) {
        return !reads_members(pair->features) || pair->members_seen >= version;
    });
    if (!seen) members_awaited_ = true;
    return seen;
}

bool Engine::members_complete() const {
    return std::all_of(view_.begin(), view_.end(), [&](const Pair* pair) {
        return !reads_members(pair->features) || pair->members_known;
    });
}

// What travels.

void Engine::tell_members() {
    for (Pair* pair : view_) {
        Link* link = attached_link(*pair);
        if (link != nullptr && reads_members(pair->features)) ready(*link);
    }
}

/// True if there is more than `budget`.
bool Engine::write_members(const Pair& pair, Link& link, std::size_t budget, OutputSink& sink, Time now) {
    if (!reads_members(pair.features)) return false;
    if (std::exchange(link.members_seen_due, false)) sink.frame(MembersSeen{registry_.held(pair.id)});
    for (std::size_t written = 0; registry_.due(link.feed);) {
        if (written >= budget) return true;
        const MemberList list = registry_.next(link.feed, now);
        written += list.size();
        sink.frame(list);
    }
    return false;
}

void Engine::on(Link& link, MemberList&& list, Time now) {
    if (!usable(link, now)) return;
    Pair& pair = *link.pair;
    std::vector<MemberChange> changes;
    if (!registry_.accept(pair.id, std::move(list), changes)) return;
    pair.members_known = registry_.complete(pair.id);
    report_members(std::move(changes));
    if (!registry_.within_limits(pair.id)) {
        forget_members(pair, false);
        return break_rule(link, Rule::too_many_members, now);
    }
    if (!make_room_for_members(pair, now)) return;
    link.members_seen_due = true;
    ready(link);
}

/// Where all together are more than this node keeps, the owner of most of them goes, whoever spoke last. False if that
/// is `speaker`.
bool Engine::make_room_for_members(const Pair& speaker, Time now) {
    bool stays = true;
    while (registry_.total() > options_.members_bytes) {
        const std::optional<PeerId> id = registry_.largest();
        if (!id) break;
        Pair& pair = pairs_.at(*id);
        stays = stays && &pair != &speaker;
        forget_members(pair, false);
        if (Link* link = attached_link(pair)) break_rule(*link, Rule::too_many_members, now);
    }
    return stays;
}

void Engine::on(Link& link, MembersSeen&& seen, Time now) {
    if (!usable(link, now)) return;
    if (seen.version > link.feed.told) return;  // of what it was told before it was told anew
    if (seen.version > link.feed.seen) {
        link.feed.seen = seen.version;
        link.feed.waits = now;
    }
    // Before the end of the complete set frames are numbered, which says nothing about versions.
    if (link.feed.ended == 0 || seen.version < link.feed.ended) return;
    link.pair->members_seen = std::max(link.pair->members_seen, seen.version);
    members_progress();
}

/// Somebody knows more, or counts no more.
void Engine::members_progress() {
    if (std::exchange(members_awaited_, false)) actions_.push_back(MembersSeenByMore{});
}

/// Whether the peer has not acknowledged, on its present link, all of this node's members.
bool Engine::owes_members_seen(const Pair& pair) {
    const Link* link = attached_link(pair);
    return link != nullptr && reads_members(pair.features) && link->feed.seen != registry_.version();
}

/// Where something was told and no acknowledgement came for a heartbeat, it did not arrive, so all is told anew.
void Engine::repeat_members(Time now) {
    for (Pair* pair : view_) {
        Link* link = attached_link(*pair);
        if (link == nullptr || !reads_members(pair->features)) continue;
        Registry::Feed& feed = link->feed;
        // What lies before it in a queue delays an acknowledgement, too.
        const Duration patience = std::max(options_.heartbeat, 4 * pair->round_trip);
        if (feed.whole || feed.seen == feed.told || now - feed.waits < patience) continue;
        feed = {};
        ready(*link);
    }
    forget_withdrawals();
}

/// Nobody needs to be told of those that all links were told of.
void Engine::forget_withdrawals() {
    if (registry_.withdrawals() == 0) return;
    std::uint64_t passed = registry_.version();
    for (const auto& [id, link] : links_) {
        if (link.state != LinkState::attached || link.feed.whole || !reads_members(link.pair->features)) continue;
        passed = std::min(passed, link.feed.settled());
    }
    registry_.passed(passed);
}

// What the application is told.

void Engine::report_members(std::vector<MemberChange> changes) {
    const bool complete = members_complete();
    const bool as_before = std::exchange(members_complete_, complete) == complete;
    if (changes.empty() && as_before) return;
    if (!leaving_) actions_.push_back(MembersChanged{std::move(changes), complete});
}

void Engine::doubt_members(const Pair& pair, bool suspect) {
    if (registry_.has_members(pair.id)) actions_.push_back(MembersInDoubt{pair.id, suspect});
}

void Engine::forget_members(Pair& pair, bool graceful) {
    pair.members_known = false;
    std::vector<MemberChange> changes;
    registry_.forget(pair.id, graceful, changes);
    report_members(std::move(changes));
    members_progress();
}

}  // namespace cluster::core
