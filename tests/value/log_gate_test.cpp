#include "value/log_gate.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace cluster;
using namespace std::chrono_literals;

namespace {

LogLine warning(std::string text, std::string cause = {}, bool stranger = false) {
    return {LogLevel::warning, std::move(text), std::move(cause), stranger};
}

/// The text that is written, or "" if it is counted or left out.
std::string passed(LogGate& gate, LogLine line, Time now) {
    const auto written = gate.pass(std::move(line), now);
    return written ? written->text : std::string();
}

std::vector<std::string> texts(const std::vector<LogLine>& lines) {
    std::vector<std::string> found;
    for (const LogLine& line : lines) found.push_back(line.text);
    return found;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("log gate: the same cause is told at once, and then with a count when its pause is over") {
    LogGate gate;
    CHECK(gate.deadline() == never);
    CHECK(passed(gate, warning("refused port=1", "refused"), 0s) == "refused port=1");
    CHECK(gate.deadline() == never);  // there is nothing to tell yet
    for (int i = 2; i <= 7; ++i) {
        CHECK(passed(gate, warning("refused port=" + std::to_string(i), "refused"), i * 7s) == "");
    }
    CHECK(passed(gate, warning("else", "another"), 50s) == "else");
    CHECK(gate.deadline() == LogGate::first_pause);
    CHECK(gate.flush(LogGate::first_pause - 1ns).empty());
    CHECK(texts(gate.flush(LogGate::first_pause)) == Texts{"refused port=7 times=6"});
    CHECK(gate.flush(LogGate::first_pause).empty());
}

TEST_CASE("log gate: while a cause goes on its pause doubles up to an hour, and a quiet one ends it") {
    LogGate gate;
    Time now = 0s;
    REQUIRE(passed(gate, warning("again", "cause"), now) == "again");
    Duration expected = LogGate::first_pause;
    for (int i = 0; i < 10; ++i) {
        CHECK(passed(gate, warning("again", "cause"), now + 1s) == "");
        CHECK(gate.deadline() == now + expected);
        now = gate.deadline();
        CHECK(texts(gate.flush(now)) == Texts{"again times=1"});
        expected = std::min(2 * expected, LogGate::longest_pause);
    }
    CHECK(expected == LogGate::longest_pause);
    CHECK(gate.deadline() == never);
    now += LogGate::longest_pause;
    CHECK(passed(gate, warning("again", "cause"), now) == "again");
    CHECK(passed(gate, warning("again", "cause"), now + 1s) == "");
    CHECK(gate.deadline() == now + LogGate::first_pause);
}

TEST_CASE("log gate: whoever flushes late loses no count") {
    LogGate gate;
    CHECK(passed(gate, warning("x", "cause"), 0s) == "x");
    CHECK(passed(gate, warning("x", "cause"), 1s) == "");
    CHECK(passed(gate, warning("x", "cause"), 1h) == "");
    CHECK(texts(gate.flush(1h)) == Texts{"x times=2"});
}

TEST_CASE("log gate: at the end all is told that is counted") {
    LogGate gate;
    for (const char* cause : {"one", "two", "one"}) gate.pass(warning(cause, cause), 0s);
    gate.pass(warning("three", "three", true), 0s);
    gate.pass(warning("three", "three", true), 0s);
    CHECK(texts(gate.flush_all()) == Texts{"one times=1", "three times=1"});
    CHECK(gate.flush_all().empty());
}

TEST_CASE("log gate: what was of no weight does not hide what is") {
    LogGate gate;
    CHECK(gate.pass({LogLevel::debug, "refused", "refused"}, 0s).has_value());
    CHECK(passed(gate, warning("refused", "refused"), 1s) == "refused");
    CHECK(!gate.pass({LogLevel::debug, "refused", "refused"}, 2s).has_value());
}

TEST_CASE("log gate: lines without a cause are never put together") {
    LogGate gate;
    for (int i = 0; i < 5; ++i) CHECK(passed(gate, warning("peer_failed"), 0s) == "peer_failed");
}

TEST_CASE("log gate: a storm of strangers uses up their allowance and nobody else's") {
    LogGate gate;
    std::size_t written = 0;
    for (int i = 0; i < 100000; ++i) {
        const std::string number = std::to_string(i);  // each from another host
        if (gate.pass(warning("refused " + number, "refused " + number, true), i * 100us)) ++written;
    }
    CHECK(written >= 40);
    CHECK(written <= 60);
    const std::string failed = passed(gate, warning("peer_failed"), 10s);
    CHECK(failed.starts_with("peer_failed left_out="));
    for (int i = 1; i < 200; ++i) CHECK(passed(gate, warning("peer_failed"), 10s) == "peer_failed");
}

TEST_CASE("log gate: a flood is cut level by level, and refills") {
    LogGate gate;
    std::size_t written = 0;
    for (int i = 0; i < 1000; ++i) written += gate.pass(warning("x"), 5s) ? 1 : 0;
    CHECK(written == 200);
    CHECK(gate.pass({LogLevel::error, "still heard"}, 5s)->text == "still heard");
    CHECK(passed(gate, warning("x"), 5s + 100ms) == "x left_out=800");
    CHECK(passed(gate, warning("x"), 5s + 100ms) == "x");
    CHECK(passed(gate, warning("x"), 5s + 100ms) == "");
}

TEST_CASE("log gate: it remembers a bounded number of causes, and writes what it cannot remember") {
    LogGate gate;
    for (std::size_t i = 0; i < LogGate::most_causes; ++i) gate.pass(warning("x", std::to_string(i)), 0s);
    CHECK(passed(gate, warning("x", "one more"), 0s) == "x");
    CHECK(passed(gate, warning("x", "one more"), 0s) == "x");
    CHECK(passed(gate, warning("x", "0"), 0s) == "");
    // What has come to its end makes room, and what is counted does not.
    CHECK(passed(gate, warning("y", "one more"), LogGate::first_pause) == "y");
    CHECK(passed(gate, warning("y", "one more"), LogGate::first_pause) == "");
    CHECK(texts(gate.flush(LogGate::first_pause)) == Texts{"x times=1"});
}

TEST_CASE("log gate: of a line that waits only so much is kept") {
    LogGate gate;
    const std::string longer(5000, 'x');
    CHECK(passed(gate, warning(longer, "cause"), 0s) == longer);
    CHECK(passed(gate, warning(longer, "cause"), 0s) == "");
    CHECK(gate.flush_all().at(0).text == std::string(LogGate::longest_kept, 'x') + " times=1");
}
