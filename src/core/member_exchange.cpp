#include "core/member_exchange.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace cluster::core {

namespace {

bool reads_members(const Pair& pair) {
    return (pair.features & feature_members) != 0;
}

}  // namespace

// What the application asks for.

errc MemberExchange::put(RecordRef record) {
    if (leaving_) return errc::closed;
    const errc error = registry_.put(std::move(record));
    if (error == errc{}) tell();
    return error;
}

void MemberExchange::erase(const MemberId& id) {
    if (leaving_ || !registry_.erase(id)) return;
    if (registry_.withdrawals() > max_members) forget_withdrawals();
    if (registry_.withdrawals() > max_members) {
        // Links that lack more than this last change begin anew, with the complete set.
        for (auto& [number, link] : peers_.links) {
            if (link.feed.passed() + 1 < registry_.version()) link.feed = {};
        }
        registry_.passed(registry_.version() - 1);
    }
    tell();
}

bool MemberExchange::seen(std::uint64_t version) {
    const bool seen = std::all_of(peers_.view.begin(), peers_.view.end(), [&](const Pair* pair) {
        return !reads_members(*pair) || pair->members_seen >= version;
    });
    if (!seen) awaited_ = true;
    return seen;
}

bool MemberExchange::complete() const {
    return std::all_of(peers_.view.begin(), peers_.view.end(),
                       [&](const Pair* pair) { return !reads_members(*pair) || pair->members_known; });
}

// What travels.

void MemberExchange::attached(Pair& pair, Link& link) {
    link.feed = {};
    pair.members_seen = 0;
}

void MemberExchange::tell() {
    for (Pair* pair : peers_.view) {
        Link* link = peers_.attached_link(*pair);
        if (link != nullptr && reads_members(*pair)) peers_.ready(*link);
    }
}

bool MemberExchange::pull(Link& link, std::size_t budget, OutputSink& sink, Time now) {
    if (!reads_members(*link.pair)) return false;
    if (std::exchange(link.members_seen_due, false)) sink.frame(MembersSeen{registry_.held(link.pair->id)});
    for (std::size_t written = 0; registry_.due(link.feed);) {
        if (written >= budget) return true;
        const MemberList list = registry_.next(link.feed, now);
        written += list.size();
        sink.frame(list);
    }
    return false;
}

std::vector<LinkId> MemberExchange::on(Link& link, MemberList&& list) {
    Pair& pair = *link.pair;
    std::vector<MemberChange> changes;
    if (!registry_.accept(pair.id, std::move(list), changes)) return {};
    pair.members_known = registry_.complete(pair.id);
    report(std::move(changes));
    if (!registry_.within_limits(pair.id)) {
        forget(pair, false);
        return {link.id};
    }
    // If all together are more than this node keeps, the owner of most of them goes, even if another one spoke last.
    std::vector<LinkId> offenders;
    bool stays = true;
    while (registry_.total() > options_.members_bytes) {
        const std::optional<PeerId> id = registry_.largest();
        if (!id) break;
        Pair& largest = peers_.pairs.at(*id);
        stays = stays && &largest != &pair;
        forget(largest, false);
        if (const Link* attached = peers_.attached_link(largest)) offenders.push_back(attached->id);
    }
    if (stays) {
        link.members_seen_due = true;
        peers_.ready(link);
    }
    return offenders;
}

void MemberExchange::on(Link& link, const MembersSeen& seen, Time now) {
    if (seen.version > link.feed.told) return;  // it acknowledges what was sent before this node began anew
    if (seen.version > link.feed.seen) {
        link.feed.seen = seen.version;
        link.feed.waits = now;
    }
    // Before the end of the complete set frames are numbered; these numbers say nothing about versions.
    if (link.feed.ended == 0 || seen.version < link.feed.ended) return;
    link.pair->members_seen = std::max(link.pair->members_seen, seen.version);
    progress();
}

/// A peer has acknowledged more, or no longer counts.
void MemberExchange::progress() {
    if (std::exchange(awaited_, false)) actions_.push_back(MembersSeenByMore{});
}

bool MemberExchange::owes_an_answer(const Pair& pair) const {
    const Link* link = peers_.attached_link(pair);
    return link != nullptr && reads_members(pair) && link->feed.seen != registry_.version();
}

void MemberExchange::repeat(Time now) {
    for (Pair* pair : peers_.view) {
        Link* link = peers_.attached_link(*pair);
        if (link == nullptr || !reads_members(*pair)) continue;
        Registry::Feed& feed = link->feed;
        // What lies before it in a queue delays an acknowledgement, too.
        const Duration patience = std::max(options_.heartbeat, 4 * pair->round_trip);
        if (feed.whole || feed.seen == feed.told || now - feed.waits < patience) continue;
        feed = {};
        peers_.ready(*link);
    }
    forget_withdrawals();
}

/// Withdrawals that were sent on all links are needed no more.
void MemberExchange::forget_withdrawals() {
    if (registry_.withdrawals() == 0) return;
    std::uint64_t passed = registry_.version();
    for (const auto& [id, link] : peers_.links) {
        if (link.state != LinkState::attached || link.feed.whole || !reads_members(*link.pair)) continue;
        passed = std::min(passed, link.feed.passed());
    }
    registry_.passed(passed);
}

// What is reported to the application.

void MemberExchange::report(std::vector<MemberChange> changes) {
    const bool complete = this->complete();
    const bool as_before = std::exchange(complete_, complete) == complete;
    if (changes.empty() && as_before) return;
    if (!leaving_) actions_.push_back(MembersChanged{std::move(changes), complete});
}

void MemberExchange::in_doubt(const Pair& pair, bool suspect) {
    if (registry_.has_members(pair.id)) actions_.push_back(MembersInDoubt{pair.id, suspect});
}

void MemberExchange::forget(Pair& pair, bool graceful) {
    pair.members_known = false;
    std::vector<MemberChange> changes;
    registry_.forget(pair.id, graceful, changes);
    report(std::move(changes));
    progress();
}

}  // namespace cluster::core
