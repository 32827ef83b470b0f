#include "support/log.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace cluster;

TEST_CASE("log: each line reaches the function with its level and the name of the node") {
    std::vector<std::pair<LogLevel, std::string>> lines;
    detail::Log log([&](LogLevel level, std::string_view text) { lines.emplace_back(level, text); }, "ann");
    log.write(LogLevel::debug, "one key=1");
    log.write(LogLevel::info, "two");
    log.write(LogLevel::warning, "three {} %s");
    log.write(LogLevel::error, "four");
    const std::vector<std::pair<LogLevel, std::string>> expected = {{LogLevel::debug, "one key=1 node=ann"},
                                                                    {LogLevel::info, "two node=ann"},
                                                                    {LogLevel::warning, "three {} %s node=ann"},
                                                                    {LogLevel::error, "four node=ann"}};
    CHECK((lines == expected));
}

TEST_CASE("log: what the function throws stays there, and it may log itself") {
    int calls = 0;
    detail::Log* self = nullptr;
    detail::Log log(
        [&](LogLevel, std::string_view) {
            if (++calls == 1) self->write(LogLevel::error, "from within");
            throw std::runtime_error("a log that fails");
        },
        "ann");
    self = &log;
    log.write(LogLevel::error, "first");
    CHECK(calls == 2);
    log.write(LogLevel::error, "third");
    CHECK(calls == 3);
}

TEST_CASE("log: a flood of lines is cut, level by level, and what was left out is counted") {
    std::size_t warnings = 0;
    std::size_t errors = 0;
    detail::Log log(
        [&](LogLevel level, std::string_view) { ++(level == LogLevel::warning ? warnings : errors); }, "ann");
    for (int i = 0; i < 100000; ++i) log.write(LogLevel::warning, "stranger");
    log.write(LogLevel::error, "still heard");
    CHECK(warnings >= 200);
    CHECK(warnings < 10000);
    CHECK(errors == 1);
}

TEST_CASE("log: what comes again is told with its count when it is flushed, and due says when that is") {
    std::vector<std::string> lines;
    detail::Log log([&](LogLevel, std::string_view text) { lines.emplace_back(text); }, "ann b");
    log.write({LogLevel::warning, "dial_failed port=1", "dial_failed"});
    CHECK(!log.due());
    log.write({LogLevel::warning, "dial_failed port=2", "dial_failed"});
    const auto due = log.due();
    REQUIRE(due);
    CHECK(*due > std::chrono::steady_clock::now().time_since_epoch() + std::chrono::seconds(30));
    CHECK(!log.due());  // once is enough
    log.flush();
    CHECK(log.due() == due);
    log.flush(true);
    CHECK(lines == std::vector<std::string>{"dial_failed port=1 node=\"ann b\"",
                                            "dial_failed port=2 times=1 node=\"ann b\""});
}
