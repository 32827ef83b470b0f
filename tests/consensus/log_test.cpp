#include "consensus/log.hpp"

#include "consensus/invariant.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;

namespace {

Entry entry(Index index, Term term, const char* text = "x") {
    return {{term, index}, EntryKind::command, {}, Bytes(std::string_view(text))};
}

/// Behind 3@2: 4@2 5@3 6@3 7@5.
Log sample() {
    Log log({{2, 3}, {}, {}}, {}, {});
    for (const auto& [index, term] : std::vector<std::pair<Index, Term>>{{4, 2}, {5, 3}, {6, 3}, {7, 5}}) {
        log.append(entry(index, term));
    }
    return log;
}

}  // namespace

TEST_CASE("log: it knows the term of each entry, in memory or not, and of none beside") {
    Log log = sample();
    log.ordered(1);
    log.written(1);
    log.forget(1);
    CHECK(log.first_in_memory() == 7);
    CHECK(log.last() == LogId{5, 7});
    const std::vector<std::optional<Term>> terms{std::nullopt, std::nullopt, 2, 2, 3, 3, 5, std::nullopt};
    for (Index index = 1; index <= 8; ++index) CHECK(log.term_at(index) == terms[index - 1]);
    CHECK(log.find(6) == nullptr);
    CHECK(log.find(7) != nullptr);
    CHECK(log.copy(6, 8, 1000).empty());
}

TEST_CASE("log: the last entry that two logs can have in common") {
    const Log log = sample();
    CHECK(log.common({5, 7}) == LogId{5, 7});
    CHECK(log.common({5, 9}) == LogId{5, 7});
    CHECK(log.common({4, 9}) == LogId{3, 6});
    CHECK(log.common({3, 5}) == LogId{3, 5});
    CHECK(log.common({2, 9}) == LogId{2, 4});
    CHECK(log.common({1, 9}) == LogId{2, 3});  // what the snapshot holds is committed, so all have it
    CHECK(log.common({1, 2}) == LogId{1, 2});  // here it cannot look any more
}

TEST_CASE("log: entries that are replaced are not durable, although the write that contains them is") {
    Log log = sample();
    log.ordered(1);
    log.truncate(5);
    CHECK(log.last() == LogId{2, 4});
    log.append(entry(5, 6));
    log.ordered(2);
    log.written(1);
    CHECK(log.durable() == 4);
    log.written(2);
    CHECK(log.durable() == 5);
    log.truncate(5);
    CHECK(log.durable() == 4);
}

TEST_CASE("log: it may be truncated to what is on disk only") {
    Log log = sample();
    log.ordered(1);
    log.written(1);
    log.forget(1);
    log.truncate(5);
    CHECK(log.last() == LogId{2, 4});
    CHECK(log.first_in_memory() == 5);
    log.append(entry(5, 6));
    CHECK(log.find(5)->id == LogId{6, 5});
    CHECK(log.find(4) == nullptr);
}

TEST_CASE("log: it begins anew behind a snapshot, with or without the entries behind it") {
    Log log = sample();
    log.rebase({{3, 5}, {}, {}});
    CHECK(log.term_at(4) == std::nullopt);
    CHECK(log.term_at(5) == 3);
    CHECK(log.term_at(6) == 3);
    CHECK(log.last() == LogId{5, 7});
    log.rebase({{2, 4}, {}, {}});  // an older one changes nothing
    CHECK(log.base().last == LogId{3, 5});
    log.rebase({{5, 7}, {}, {}});
    CHECK(log.last() == LogId{5, 7});
    log.append(entry(8, 5));
    CHECK(log.term_at(8) == 5);
    log.reset({{9, 20}, {}, {}});
    CHECK(log.last() == LogId{9, 20});
    CHECK(log.find(8) == nullptr);
    CHECK_THROWS_AS(log.rebase({{1, 30}, {}, {}}), Broken);
}

TEST_CASE("log: what is copied stays within the limit, but is never nothing") {
    Log log({}, {}, {});
    for (Index index = 1; index <= 5; ++index) log.append(entry(index, 1, "0123456789"));
    const std::size_t cost = 10 + Entry::overhead;
    CHECK(log.copy(1, 6, 3 * cost).size() == 3);
    CHECK(log.copy(1, 6, 3 * cost - 1).size() == 2);
    CHECK(log.copy(2, 6, 0).size() == 1);
    CHECK(log.copy(2, 4, 1000).size() == 2);
    CHECK(log.copy(6, 7, 1000).empty());
    CHECK(log.bytes() == 5 * cost);
}

TEST_CASE("log: durable entries are forgotten, the oldest first, and never the last") {
    Log log({}, {}, {});
    for (Index index = 1; index <= 3; ++index) log.append(entry(index, 1));
    log.ordered(1);
    log.append(entry(4, 1));
    log.forget(0);
    CHECK(log.first_in_memory() == 1);  // nothing is durable
    log.written(1);
    log.forget(0);
    CHECK(log.first_in_memory() == 4);
    CHECK(log.last_time() == Duration());
}

TEST_CASE("log: gaps and terms that go backwards are mistakes") {
    Log log = sample();
    CHECK_THROWS_AS(log.append(entry(9, 5)), Broken);
    CHECK_THROWS_AS(log.append(entry(8, 4)), Broken);
    CHECK_THROWS_AS(log.truncate(3), Broken);
}
