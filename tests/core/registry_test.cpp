#include "core/registry.hpp"

#include "base/random.hpp"
#include "base/time.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>

using namespace cluster;
using namespace cluster::core;
using namespace std::chrono_literals;

namespace {

MemberId member_id(std::uint8_t first) {
    MemberId id;
    id.bytes[0] = first;
    return id;
}

RecordRef record(std::uint8_t first, std::string_view text) {
    detail::MemberRecord made{member_id(first), PeerId(), std::vector<std::byte>(text.size())};
    if (!text.empty()) std::memcpy(made.data.data(), text.data(), text.size());
    return std::make_shared<const detail::MemberRecord>(std::move(made));
}

std::string text_of(const detail::MemberRecord& record) {
    return {reinterpret_cast<const char*>(record.data.data()), record.data.size()};
}

/// What a peer knows of one owner's members, by what it was told.
struct Listener {
    Registry registry;
    PeerId owner;
    std::map<std::uint8_t, std::string> members;
    std::vector<std::string> news;

    bool take(MemberList list) {
        std::vector<MemberChange> changes;
        const bool taken = registry.accept(owner, std::move(list), changes);
        apply(changes);
        return taken;
    }
    void apply(const std::vector<MemberChange>& changes) {
        for (const MemberChange& change : changes) {
            const std::uint8_t key = change.record->id.bytes[0];
            if (change.present) {
                members[key] = text_of(*change.record);
                news.push_back(std::to_string(key) + "=" + members[key]);
            } else {
                members.erase(key);
                news.push_back(std::to_string(key) + (change.graceful ? " left" : " expired"));
            }
        }
    }
    /// Everything that is due.
    void follow(Registry& source, Registry::Feed& feed) {
        while (source.due(feed)) REQUIRE(take(source.next(feed, Time())));
    }
};

using Members = std::map<std::uint8_t, std::string>;

}  // namespace

TEST_CASE("registry: a new link is told of all members, and then of what changes") {
    Registry source;
    Registry::Feed feed;
    Listener listener;
    CHECK_FALSE(listener.registry.complete(listener.owner));
    listener.follow(source, feed);
    CHECK(listener.registry.complete(listener.owner));

    source.put(record(1, "a"));
    source.put(record(2, "b"));
    listener.follow(source, feed);
    CHECK(listener.members == Members{{1, "a"}, {2, "b"}});
    source.put(record(1, "c"));
    CHECK(source.erase(member_id(2)));
    CHECK_FALSE(source.erase(member_id(2)));
    listener.follow(source, feed);
    CHECK(listener.members == Members{{1, "c"}});
    CHECK(listener.news == std::vector<std::string>{"1=a", "2=b", "1=c", "2 left"});
    CHECK(listener.registry.held(listener.owner) == source.version());
}

TEST_CASE("registry: a member that changes often is told once, as it is then") {
    Registry source;
    Registry::Feed feed;
    Listener listener;
    listener.follow(source, feed);
    for (int i = 0; i < 1000; ++i) source.put(record(1, std::to_string(i)));
    listener.follow(source, feed);
    CHECK(listener.news == std::vector<std::string>{"1=999"});
}

TEST_CASE("registry: what was withdrawn while there was no link is forgotten when the next one has told all") {
    Registry source;
    Listener listener;
    Registry::Feed first;
    for (std::uint8_t i = 1; i <= 3; ++i) source.put(record(i, "x"));
    listener.follow(source, first);
    source.erase(member_id(2));
    source.passed(source.version());
    CHECK(source.withdrawals() == 0);
    source.put(record(3, "y"));
    listener.news.clear();
    Registry::Feed second;
    listener.follow(source, second);
    CHECK(listener.members == Members{{1, "x"}, {3, "y"}});
    CHECK(listener.news == std::vector<std::string>{"3=y", "2 left"});
}

TEST_CASE("registry: a withdrawal is kept for as long as a link has not been told of it") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    source.put(record(1, "x"));
    listener.follow(source, feed);
    const std::uint64_t before = source.version();
    source.erase(member_id(1));
    source.passed(before);
    CHECK(source.withdrawals() == 1);
    listener.follow(source, feed);
    CHECK(listener.members.empty());
    source.passed(feed.told);
    CHECK(source.withdrawals() == 0);
}

TEST_CASE("registry: after a frame that is missing nothing is taken in until all is told anew") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    source.put(record(1, "a"));
    listener.follow(source, feed);
    source.put(record(2, "b"));
    source.next(feed, Time());  // lost
    source.put(record(1, "c"));
    CHECK_FALSE(listener.take(source.next(feed, Time())));
    CHECK(listener.members == Members{{1, "a"}});
    feed = {};
    listener.follow(source, feed);
    CHECK(listener.members == Members{{1, "c"}, {2, "b"}});
}

TEST_CASE("registry: while a complete set is told again nobody sees members missing") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    const std::string large(40000, 'x');
    for (std::uint8_t i = 1; i <= 5; ++i) source.put(record(i, large));
    listener.follow(source, feed);
    listener.news.clear();
    feed = {};
    std::size_t frames = 0;
    for (; source.due(feed); ++frames) {
        REQUIRE(listener.take(source.next(feed, Time())));
        CHECK(listener.members.size() == 5);
        CHECK(listener.registry.complete(listener.owner));
    }
    CHECK(frames == 5);
    CHECK(listener.news.empty());
}

TEST_CASE("registry: members go with their owner, and come again with the next link") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    source.put(record(1, "a"));
    listener.follow(source, feed);
    std::vector<MemberChange> changes;
    listener.registry.forget(listener.owner, false, changes);
    listener.apply(changes);
    CHECK(listener.news.back() == "1 expired");
    CHECK_FALSE(listener.registry.complete(listener.owner));
    source.put(record(1, "b"));
    feed = {};
    listener.follow(source, feed);
    CHECK(listener.news.back() == "1=b");
}

TEST_CASE("registry: the complete set has an end however fast members change, and what changed comes behind it") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    const auto change_all = [&](char to) {
        for (std::uint8_t i = 1; i <= 50; ++i) source.put(record(i, std::string(40000, to)));
    };
    change_all('a');
    std::size_t frames = 0;
    for (char to = 'b'; !listener.registry.complete(listener.owner); ++to, ++frames) {
        REQUIRE(frames < 50);
        REQUIRE(listener.take(source.next(feed, Time())));
        if (frames == 20) source.erase(member_id(50));
        change_all(static_cast<char>('a' + to % 26));
    }
    CHECK(frames >= 49);
    source.erase(member_id(49));
    listener.follow(source, feed);
    CHECK(listener.registry.held(listener.owner) == source.version());
    Members expected;
    for (std::uint8_t i = 1; i <= 50; ++i) {
        if (i != 49) expected[i] = listener.members[1];
    }
    CHECK(listener.members == expected);
}

TEST_CASE("registry: while a set is told, withdrawals since it was begun are still to be told") {
    Registry source;
    for (std::uint8_t i = 1; i <= 3; ++i) source.put(record(i, std::string(60000, 'x')));
    const std::uint64_t begun = source.version();
    Registry::Feed feed;
    REQUIRE_FALSE(source.next(feed, Time()).complete);
    source.erase(member_id(1));
    CHECK(feed.passed() == begun);
    source.passed(feed.passed());
    CHECK(source.withdrawals() == 1);
    while (source.due(feed)) source.next(feed, Time());
    CHECK(feed.passed() == source.version());
}

TEST_CASE("registry: a member that comes and goes again and again is told once") {
    Registry source;
    Listener listener;
    Registry::Feed feed;
    listener.follow(source, feed);
    for (int i = 0; i < 100; ++i) {
        source.put(record(1, std::to_string(i)));
        source.erase(record(1, "")->id);
    }
    CHECK(source.withdrawals() == 1);
    source.put(record(1, "stays"));
    CHECK(source.withdrawals() == 0);
    const MemberList list = source.next(feed, Time());
    CHECK(list.members.size() == 1);
    CHECK(list.complete);
}

TEST_CASE("registry: sets that are begun again and again, each with other members, stay within the limits") {
    const auto numbered = [](std::size_t number) {
        MemberId id;
        for (std::size_t i = 0; i < 4; ++i) id.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
        return id;
    };
    Registry source;
    Registry listener;
    const PeerId owner;
    std::set<MemberId> shown;
    std::size_t enrolled = 0;
    for (int round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < max_members; ++i, ++enrolled) {
            if (round > 0) REQUIRE(source.erase(numbered(enrolled - max_members)));
            REQUIRE(source.put(std::make_shared<const detail::MemberRecord>(
                        detail::MemberRecord{numbered(enrolled), owner, {}})) == errc{});
        }
        // The end of each set but the last one is lost.
        Registry::Feed feed;
        while (source.due(feed)) {
            MemberList list = source.next(feed, Time());
            if (list.complete && round < 4) break;
            std::vector<MemberChange> changes;
            REQUIRE(listener.accept(owner, std::move(list), changes));
            for (const MemberChange& change : changes) {
                if (change.present) {
                    CHECK(shown.insert(change.record->id).second);
                } else {
                    CHECK(shown.erase(change.record->id) == 1);
                }
            }
            REQUIRE(listener.within_limits(owner));
            REQUIRE(shown.size() <= max_members + max_members / 8);
            REQUIRE(listener.total() == shown.size() * Registry::member_cost);
        }
    }
    CHECK(shown.size() == max_members);
    CHECK(shown.contains(numbered(enrolled - 1)));
    CHECK(shown.contains(numbered(enrolled - max_members)));
}

TEST_CASE("registry: one node enrols so many members and so many bytes at most") {
    Registry source;
    MemberId id;
    const std::string none;
    for (std::size_t i = 0; i < max_members; ++i) {
        id.bytes[0] = static_cast<std::uint8_t>(i);
        id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
        REQUIRE(source.put(std::make_shared<const detail::MemberRecord>(detail::MemberRecord{id, {}, {}})) == errc{});
    }
    id.bytes[2] = 1;
    const auto another = std::make_shared<const detail::MemberRecord>(detail::MemberRecord{id, {}, {}});
    CHECK(source.put(another) == errc::too_many_members);
    CHECK(source.put(record(1, "changed")) == errc{});
    source.erase(member_id(1));
    CHECK(source.put(another) == errc{});

    Registry heavy;
    const std::string most(max_member_data, 'x');
    for (std::uint8_t i = 0; i < 200; ++i) CHECK(heavy.put(record(i, most)) == errc{});
    std::size_t accepted = 200;
    for (std::size_t i = 200; i < 2000; ++i) {
        detail::MemberRecord made = *record(0, most);
        made.id.bytes[5] = static_cast<std::uint8_t>(i);
        made.id.bytes[6] = static_cast<std::uint8_t>(i >> 8);
        if (heavy.put(std::make_shared<const detail::MemberRecord>(std::move(made))) != errc{}) break;
        ++accepted;
    }
    CHECK(accepted == max_member_bytes / max_member_data);
    CHECK(heavy.put(record(1, "")) == errc{});
}

TEST_CASE("registry: whatever is lost, delayed or begun anew, a listener ends with what the owner holds") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        Dice dice(seed);
        Registry source;
        Listener listener;
        Registry::Feed feed;
        Members model;
        std::map<std::uint8_t, int> last;
        int number = 0;
        for (int step = 0; step < 300; ++step) {
            const auto which = static_cast<std::uint8_t>(dice.below(8));
            switch (dice.below(10)) {
                case 0:
                case 1:
                case 2:
                case 3:
                    model[which] = std::to_string(++number) + std::string(dice.below(2) * dice.below(30000), '.');
                    source.put(record(which, model[which]));
                    break;
                case 4:
                case 5:
                    source.erase(member_id(which));
                    model.erase(which);
                    break;
                case 6: feed = {}; break;  // another link
                case 7:
                    if (source.due(feed)) source.next(feed, Time());  // lost
                    break;
                case 8: source.passed(feed.whole ? source.version() : std::max(feed.told, feed.begun)); break;
                default:
                    if (source.due(feed)) listener.take(source.next(feed, Time()));
                    break;
            }
        }
        feed = {};
        listener.follow(source, feed);
        CHECK(listener.members == model);
    }
}
