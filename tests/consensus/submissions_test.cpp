#include "consensus/submissions.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t life = 7;
constexpr Time far{100s};

Bytes command(std::string_view text) {
    return Bytes(text);
}

std::string text_of(const std::vector<Bytes>& commands) {
    std::string text;
    for (const Bytes& each : commands)
        text += (text.empty() ? "" : " ") + (each.empty() ? "-" : std::string(each.text()));
    return text;
}

/// What goes to the leader: `FIRST/OLDEST: commands`.
std::string sent(Submissions& submissions, Term term, Time now) {
    const auto submit = submissions.next(term, now);
    if (!submit) return "nothing";
    return std::to_string(submit->first) + "/" + std::to_string(submit->oldest) + ": " + text_of(submit->commands);
}

Submissions three_waiting() {
    Submissions submissions(life, 1s);
    submissions.add(1, command("one"), far);
    submissions.add(2, command("two"), far);
    submissions.add(3, command("three"), far);
    return submissions;
}

}  // namespace

TEST_CASE("submissions: what waits goes to the leader once, in its order") {
    Submissions submissions = three_waiting();
    CHECK(submissions.waits());
    CHECK(sent(submissions, 5, 1s) == "0/0: one two three");
    CHECK(sent(submissions, 5, 1s) == "nothing");
    submissions.add(4, command("four"), far);
    CHECK(sent(submissions, 5, 1s) == "3/0: four");
    submissions.done(1, 1s);
    submissions.add(5, command("five"), far);
    CHECK(sent(submissions, 5, 1s) == "4/1: five");
}

TEST_CASE("submissions: if there is no room on the way to the leader, it goes there a little later") {
    Submissions submissions = three_waiting();
    CHECK(sent(submissions, 5, 1s) == "0/0: one two three");
    submissions.not_sent(5, 1s);
    CHECK(sent(submissions, 5, 1s) == "nothing");
    CHECK(submissions.due() == 1s + Submissions::stall);
    CHECK(sent(submissions, 5, 1s + Submissions::stall) == "0/0: one two three");
}

TEST_CASE(
    "submissions: a leader that answers what it expects gets it from there on, once for each answer that is news") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    submissions.answered(5, {life, 1, false}, 1s);
    CHECK(sent(submissions, 5, 1s) == "1/0: two three");
    submissions.answered(5, {life, 1, false}, 1s);
    CHECK(sent(submissions, 5, 1s) == "nothing");
    submissions.answered(5, {life, 2, false}, 1s);
    CHECK(sent(submissions, 5, 1s) == "2/0: three");
    submissions.answered(5, {life + 1, 0, false}, 1s);
    submissions.answered(4, {life, 0, false}, 1s);
    submissions.answered(5, {life, 3, false}, 1s);
    CHECK(sent(submissions, 5, 1s) == "nothing");
}

TEST_CASE("submissions: a leader without room is asked again after a pause") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    submissions.answered(5, {life, 1, true}, 1s);
    CHECK(sent(submissions, 5, 1s) == "nothing");
    CHECK(submissions.due() == 1s + Submissions::pause);
    CHECK(sent(submissions, 5, 1s + Submissions::pause) == "1/0: two three");
    submissions.answered(5, {life, 1, true}, 2s);
    CHECK(sent(submissions, 5, 2s + Submissions::pause) == "1/0: two three");
}

TEST_CASE("submissions: if nothing is applied for long, or the link was lost, all of it goes again") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    CHECK(submissions.due() == 2s);
    CHECK(sent(submissions, 5, 2s - 1ns) == "nothing");
    CHECK(sent(submissions, 5, 2s) == "0/0: one two three");
    CHECK(sent(submissions, 5, 2s) == "nothing");
    submissions.done(1, 2500ms);
    CHECK(submissions.due() == 3500ms);
    submissions.lost(5);
    CHECK(sent(submissions, 5, 2500ms) == "1/1: two three");
    submissions.lost(4);
    CHECK(sent(submissions, 5, 2500ms) == "nothing");
}

TEST_CASE("submissions: what nobody wants any more leaves its number, so that those behind it keep theirs") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    submissions.done(2, 1s);
    submissions.lost(5);
    CHECK(sent(submissions, 5, 1s) == "0/0: one - three");
    submissions.done(1, 1s);
    submissions.lost(5);
    CHECK(sent(submissions, 5, 1s) == "2/2: three");
    submissions.done(3, 1s);
    CHECK(submissions.due() == never);
    CHECK(submissions.size() == 0);
}

TEST_CASE("submissions: the next leader gets them only when the former one's entries can bring no more of them") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    CHECK(sent(submissions, 6, 2s) == "nothing");
    submissions.applied(5, 2s);
    CHECK(sent(submissions, 6, 2s) == "nothing");
    submissions.done(1, 2s);  // it came by the former leader
    submissions.applied(6, 2s);
    CHECK(sent(submissions, 6, 2s) == "0/0: two three");
}

TEST_CASE("submissions: what a snapshot has skipped is unknown, but for what nobody can have taken") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    submissions.add(4, command("four"), far);
    CHECK(submissions.skipped(4, 2s).empty());
    CHECK(submissions.skipped(5, 2s) == std::vector<std::uint64_t>{1, 2, 3});
    CHECK(submissions.size() == 1);
    CHECK(sent(submissions, 6, 2s) == "0/0: four");
}

TEST_CASE("submissions: at its time each ends, and says whether somebody may have it") {
    Submissions submissions(life, 1s);
    submissions.add(1, command("one"), 3s);
    submissions.add(2, command("two"), 2s);
    sent(submissions, 5, 1s);
    submissions.add(3, command("three"), 3s);
    CHECK(submissions.deadline() == 2s);
    auto expired = submissions.expire(2s);
    REQUIRE(expired.size() == 1);
    CHECK((expired[0].number == 2 && expired[0].passed_on));
    expired = submissions.expire(3s);
    REQUIRE(expired.size() == 2);
    CHECK((expired[0].number == 1 && expired[0].passed_on));
    CHECK((expired[1].number == 3 && !expired[1].passed_on));
    CHECK(submissions.deadline() == never);
}

TEST_CASE("submissions: who leads itself takes those that wait, and they count as taken in its term") {
    Submissions submissions = three_waiting();
    CHECK(text_of(submissions.waiting(1)) == "one");
    CHECK(text_of(submissions.waiting(1000)) == "one two three");
    submissions.proposed(2, 5);
    CHECK(text_of(submissions.waiting(1000)) == "three");
    submissions.proposed(1, 5);
    CHECK_FALSE(submissions.waits());
    submissions.applied(6, 1s);
    CHECK(text_of(submissions.waiting(1000)) == "one two three");
}

TEST_CASE("submissions: only so many bytes are passed on before some of it is applied, and messages are short") {
    Submissions submissions(life, 1s);
    const std::string much(100'000, 'x');
    constexpr std::uint64_t many = 100;
    for (std::uint64_t number = 1; number <= many; ++number) submissions.add(number, command(much), far);
    std::uint64_t passed_on = 0;
    while (const auto submit = submissions.next(5, 1s)) {
        CHECK(submit->commands.size() == 1);
        ++passed_on;
    }
    CHECK(passed_on == Submissions::most_passed_on / much.size() + 1);
    submissions.done(1, 1s);
    CHECK(submissions.next(5, 1s));
    CHECK_FALSE(submissions.next(5, 1s));
}

TEST_CASE("submissions: they are held up while the leader has no room, and not by a change of leaders") {
    Submissions submissions = three_waiting();
    sent(submissions, 5, 1s);
    CHECK_FALSE(submissions.held_up());
    submissions.answered(5, {life, 1, true}, 1s);
    CHECK(submissions.held_up());
    submissions.done(1, 1s);
    CHECK_FALSE(submissions.held_up());
    sent(submissions, 5, 2s);
    submissions.answered(5, {life, 1, true}, 2s);
    sent(submissions, 6, 2s);
    CHECK_FALSE(submissions.held_up());
}

TEST_CASE("origins: each number is taken once, in its order") {
    Origins origins;
    const DiskId bob{{2}};
    const auto judged = [&](std::uint64_t oldest, std::uint64_t first, std::vector<Bytes> commands) {
        const auto verdict = origins.judge(bob, {life, oldest, first, std::move(commands)});
        if (!verdict.answer) return text_of(verdict.commands);
        return "expects " + std::to_string(verdict.answer->expected) + (verdict.answer->full ? ", full" : "");
    };
    CHECK(judged(0, 0, {command("a"), command("b")}) == "a b");
    CHECK(judged(0, 0, {command("a"), command("b"), command("c")}) == "c");
    CHECK(judged(0, 1, {command("b")}) == "");
    CHECK(judged(0, 5, {command("f")}) == "expects 3");
    CHECK(judged(5, 5, {command("f")}) == "f");
    CHECK(origins.refuse(bob, 1).expected == 5);
    CHECK(judged(5, 6, {command("g")}) == "expects 5");
    CHECK(judged(5, 5, {command("f"), command("g")}) == "f g");
    CHECK(origins.judge(DiskId{{3}}, {life, 0, 0, {command("x")}}).commands.size() == 1);
    CHECK(origins.judge(bob, {life + 1, 0, 0, {command("x")}}).commands.size() == 1);  // its process began anew
    origins.clear();
    CHECK(judged(0, 0, {command("a")}) == "a");
}
