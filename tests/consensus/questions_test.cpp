#include "consensus/questions.hpp"

#include "consensus/ids.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace cluster::questions_test {

using namespace cluster;
using namespace cluster::consensus;
using support::disk;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t life = 7;
constexpr Time far{100s};

std::string asked(Questions& questions, Time now) {
    const auto question = questions.next(now);
    if (!question) return "nothing";
    return (question->life == life ? "" : "another life, ") + std::to_string(question->number);
}

std::string served(Questions& questions, Index applied) {
    std::string text;
    for (const std::uint64_t each : questions.take(applied)) text += (text.empty() ? "" : " ") + std::to_string(each);
    return text.empty() ? "nothing" : text;
}

}  // namespace

TEST_CASE("questions: one question at a time stands for all reads that came before it") {
    Questions questions(life, 1s);
    CHECK(asked(questions, 1s) == "nothing");
    CHECK(questions.due() == never);
    questions.add(1, far);
    questions.add(2, far);
    CHECK(questions.due() <= 1s);
    CHECK(asked(questions, 1s) == "1");
    questions.add(3, far);
    CHECK(asked(questions, 1s) == "nothing");
    CHECK(served(questions, 100) == "nothing");
    questions.answered({life, 1, 10});
    CHECK(served(questions, 9) == "nothing");
    CHECK(served(questions, 10) == "1 2");
    CHECK(served(questions, 10) == "nothing");
    CHECK(asked(questions, 1s) == "2");
    questions.answered({life, 2, 11});
    CHECK(served(questions, 20) == "3");
}

TEST_CASE("questions: an answer serves no read that came after its question was asked") {
    Questions questions(life, 1s);
    questions.add(1, far);
    CHECK(asked(questions, 1s) == "1");
    questions.lost();
    questions.add(2, far);
    CHECK(asked(questions, 1s) == "2");
    questions.answered({life, 1, 10});
    CHECK(served(questions, 10) == "1");
    CHECK(asked(questions, 1s) == "nothing");  // the second one is on its way yet
    questions.answered({life, 2, 10});
    CHECK(served(questions, 10) == "2");
}

TEST_CASE("questions: what was answered to another process, or to nobody, counts for nothing") {
    Questions questions(life, 1s);
    questions.add(1, far);
    CHECK(asked(questions, 1s) == "1");
    questions.answered({life + 1, 1, 10});
    questions.answered({life, 2, 10});
    CHECK(served(questions, 100) == "nothing");
    questions.answered({life, 1, 12});
    CHECK(served(questions, 12) == "1");
}

TEST_CASE("questions: a question is asked again when it is lost, when another one leads, and when no answer comes") {
    Questions questions(life, 1s);
    questions.add(1, far);
    CHECK(asked(questions, 1s) == "1");
    CHECK(questions.due() == 2s);
    CHECK(asked(questions, 1999ms) == "nothing");
    CHECK(asked(questions, 2s) == "2");
    questions.lost();
    CHECK(questions.due() <= 2s);
    CHECK(asked(questions, 2s) == "3");
    questions.not_sent(2s);
    CHECK(asked(questions, 2s) == "nothing");
    CHECK(questions.due() == 2s + Questions::stall);
    CHECK(asked(questions, 2s + Questions::stall) == "4");
    questions.not_sent(3s);
    questions.begin_anew();
    CHECK(asked(questions, 3s) == "5");
}

TEST_CASE("questions: who needs a certain position waits for that alone") {
    Questions questions(life, 1s);
    questions.add(1, far, 10);
    questions.add(2, far, 0);
    CHECK(questions.due() == never);
    CHECK(asked(questions, 1s) == "nothing");
    CHECK(questions.ready(0));
    CHECK(served(questions, 9) == "2");
    CHECK_FALSE(questions.ready(9));
    CHECK(served(questions, 10) == "1");
}

TEST_CASE("questions: each read counts until it is served or its time is over, even while it is being served") {
    Questions questions(life, 1s);
    questions.add(1, 2s);
    questions.add(2, 3s, 10);
    questions.add(3, 4s, 10);
    questions.add(4, 5s, 10);
    CHECK(questions.deadline() == 2s);
    CHECK(served(questions, 10) == "2 3 4");
    questions.done(3);
    const auto expired = questions.expire(3s);
    REQUIRE(expired.size() == 2);
    CHECK(expired[0].number == 1);
    CHECK_FALSE(expired[0].answered);
    CHECK(expired[1].number == 2);
    CHECK(expired[1].answered);
    CHECK(questions.deadline() == 5s);
    questions.done(2);  // too late
    questions.done(4);
    CHECK(questions.deadline() == never);
    CHECK(questions.due() == never);
}

TEST_CASE("questions: there is room for so many reads, and no more") {
    Questions questions(life, 1s);
    for (std::uint64_t number = 1; number < Questions::most; ++number) questions.add(number, far);
    CHECK_FALSE(questions.full());
    questions.add(Questions::most, far, 5);
    CHECK(questions.full());
    CHECK(served(questions, 5) == std::to_string(Questions::most));
    CHECK(questions.full());
    questions.done(Questions::most);
    CHECK_FALSE(questions.full());
}

TEST_CASE("askers: of each replica the newest question is answered, once") {
    Askers askers;
    const std::uint64_t first = askers.asks(disk('a'), {1, 4});
    const std::uint64_t other = askers.asks(disk('b'), {2, 9});
    const std::uint64_t second = askers.asks(disk('a'), {1, 5});
    CHECK_FALSE(askers.ready(first, 10).has_value());
    const auto answer = askers.ready(second, 11);
    REQUIRE(answer.has_value());
    CHECK(answer->to == disk('a'));
    CHECK(answer->answer.life == 1);
    CHECK(answer->answer.number == 5);
    CHECK(answer->answer.index == 11);
    CHECK_FALSE(askers.ready(second, 11).has_value());
    CHECK(askers.ready(other, 12).has_value());
    const std::uint64_t last = askers.asks(disk('b'), {2, 10});
    askers.clear();
    CHECK_FALSE(askers.ready(last, 12).has_value());
}

}  // namespace cluster::questions_test
