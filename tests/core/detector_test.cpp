#include "core/detector.hpp"

#include <doctest/doctest.h>

using namespace cluster;
using namespace cluster::core;
using namespace std::chrono_literals;

namespace {

struct Judge : Detector {
    Watch watch{.heard = 1000s};
    Judge() : Detector(1s, 2s) {}
    Detector::Verdict at(Time now, bool linked = true) { return judge(watch, linked, now).verdict; }
};

}  // namespace

TEST_CASE("silence alone is no doubt, only an unanswered probe is") {
    Judge judge;
    CHECK(judge.at(9999s) == Detector::Verdict::trusted);
    judge.probed(judge.watch, false, 1000s);
    CHECK(judge.at(1000s + 499ms) == Detector::Verdict::waiting);
    CHECK(judge.at(1000s + 500ms) == Detector::Verdict::suspect);
    CHECK(judge.at(1000s + 999ms) == Detector::Verdict::waiting);
    CHECK(judge.at(1001s) == Detector::Verdict::cut_off);
    CHECK(judge.at(1001s, false) == Detector::Verdict::waiting);
    CHECK(judge.at(1002s, false) == Detector::Verdict::gone);
}

TEST_CASE("a probe that is judged late began late, and a link is cut before its peer is gone") {
    Judge judge;
    judge.probed(judge.watch, false, 1000s);
    CHECK(judge.at(1010s) == Detector::Verdict::suspect);
    CHECK(judge.at(1010s) == Detector::Verdict::waiting);
    CHECK(judge.at(1010s + 500ms) == Detector::Verdict::cut_off);
    CHECK(judge.at(1020s) == Detector::Verdict::cut_off);
    judge.lost_link(judge.watch, 1020s);
    CHECK(judge.at(1020s + 999ms, false) == Detector::Verdict::waiting);
    judge.lost_link(judge.watch, 1020s + 999ms);  // a candidate that came to nothing
    CHECK(judge.at(1021s, false) == Detector::Verdict::gone);
}

TEST_CASE("a judgement names the time of the next one") {
    Judge judge;
    judge.probed(judge.watch, false, 1000s);
    CHECK(judge.judge(judge.watch, true, 1000s).next == 1000s + 500ms);
    judge.at(1000s + 500ms);
    CHECK(judge.judge(judge.watch, true, 1000s + 600ms).next == 1001s);
    CHECK(judge.judge(judge.watch, false, 1000s + 600ms).next == 1002s);
}

TEST_CASE("a second probe does not begin the time anew, an answer does") {
    Judge judge;
    judge.probed(judge.watch, false, 1000s);
    judge.probed(judge.watch, true, 1000s + 400ms);
    CHECK_FALSE(judge.watch.hearsay);
    CHECK(judge.at(1000s + 500ms) == Detector::Verdict::suspect);
    judge.answered(judge.watch, 1000s + 600ms);
    CHECK(judge.at(1005s) == Detector::Verdict::trusted);
    judge.probed(judge.watch, false, 1005s);
    CHECK(judge.at(1005s + 499ms) == Detector::Verdict::waiting);
}

TEST_CASE("a lost link is a suspicion at once, and keeps the time of an earlier one") {
    Judge judge;
    judge.lost_link(judge.watch, 1000s);
    CHECK(judge.at(1001s + 999ms, false) == Detector::Verdict::waiting);
    CHECK(judge.at(1002s, false) == Detector::Verdict::gone);
    judge.answered(judge.watch, 1003s);
    judge.probed(judge.watch, false, 1010s);
    CHECK(judge.at(1010s + 500ms) == Detector::Verdict::suspect);
    judge.lost_link(judge.watch, 1011s);
    CHECK(judge.at(1012s, false) == Detector::Verdict::gone);
}

TEST_CASE("who is slow gives others more time, and less again with each answer that comes in time") {
    Judge judge;
    judge.slower();
    judge.slower();
    CHECK(judge.probe_timeout() == 1500ms);
    CHECK(judge.patience() == 6s);
    judge.probed(judge.watch, false, 1000s);
    CHECK(judge.at(1001s) == Detector::Verdict::waiting);
    judge.answered(judge.watch, 1001s);
    CHECK(judge.slowness() == 2);
    judge.probed(judge.watch, false, 1002s);
    judge.answered(judge.watch, 1002s + 1ms);
    CHECK(judge.slowness() == 1);
    for (int i = 0; i < 20; ++i) judge.slower();
    CHECK(judge.slowness() == Detector::most_slowness);
}

TEST_CASE("a time in which this node did not run is nobody's silence") {
    Judge judge;
    judge.probed(judge.watch, false, 1000s);
    Detector::forgive(judge.watch, 60s, 1060s);
    CHECK(judge.at(1060s + 499ms) == Detector::Verdict::waiting);
    CHECK(judge.at(1060s + 500ms) == Detector::Verdict::suspect);
    Detector::forgive(judge.watch, 60s, 1121s);
    CHECK(judge.at(1121s + 999ms, false) == Detector::Verdict::waiting);
    CHECK(judge.at(1122s, false) == Detector::Verdict::gone);
}

TEST_CASE("what is noticed after a time in which this node did not run began after it") {
    Judge judge;
    judge.lost_link(judge.watch, 1060s);
    Detector::forgive(judge.watch, 60s, 1060s + 1ms);
    CHECK(judge.at(1062s + 1ms, false) == Detector::Verdict::gone);
}

TEST_CASE("what others heard counts for as long as a suspicion lasts") {
    Judge judge;
    CHECK_FALSE(judge.vouched_for(judge.watch, 1000s));
    judge.watch.vouched = 1000s;
    CHECK(judge.vouched_for(judge.watch, 1002s));
    CHECK_FALSE(judge.vouched_for(judge.watch, 1002s + 1ms));
}
