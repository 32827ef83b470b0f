#include "value/log_line.hpp"

#include "value/address.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace cluster;

TEST_CASE("log line: what is quoted stays between its quotes and on its line") {
    CHECK(quoted("ann") == R"("ann")");
    CHECK(quoted("") == R"("")");
    CHECK(quoted(R"(a"b\c)") == R"("a\"b\\c")");
    CHECK(quoted("a\nb\r\tc") == R"("a\x0ab\x0d\x09c")");
    CHECK(quoted(std::string("\0\x1b[2J\x7f", 6)) == R"("\x00\x1b[2J\x7f")");
}

TEST_CASE("log line: text in UTF-8 stays readable, but what controls a screen or turns text is shown as bytes") {
    CHECK(quoted("J\xc3\xbcrgen \xe6\x9d\xb1 \xf0\x9f\x90\x8c") == "\"J\xc3\xbcrgen \xe6\x9d\xb1 \xf0\x9f\x90\x8c\"");
    CHECK(quoted("a\xc2\x9b"
                 "2J") == R"("a\xc2\x9b2J")");             // C1: the beginning of a sequence
    CHECK(quoted("\xe2\x80\xa8") == R"("\xe2\x80\xa8")");  // ends a line
    CHECK(quoted("\xe2\x80\xae") == R"("\xe2\x80\xae")");  // right to left from here on
    CHECK(quoted("\xe2\x81\xa6") == R"("\xe2\x81\xa6")");
}

TEST_CASE("log line: bytes that are no UTF-8 are shown, and what follows them is read") {
    CHECK(quoted("a\xff"
                 "b") == R"("a\xffb")");
    CHECK(quoted("\x80x") == R"("\x80x")");
    CHECK(quoted("\xc3") == R"("\xc3")");
    CHECK(quoted("\xc3(") == R"("\xc3(")");
    CHECK(quoted("\xe2\x82") == R"("\xe2\x82")");
    CHECK(quoted("\xc0\xaf") == R"("\xc0\xaf")");  // longer than it has to be
    CHECK(quoted("\xe0\x80\xaf") == R"("\xe0\x80\xaf")");
    CHECK(quoted("\xed\xa0\x80") == R"("\xed\xa0\x80")");          // half of a pair
    CHECK(quoted("\xf4\x90\x80\x80") == R"("\xf4\x90\x80\x80")");  // beyond the last character
    CHECK(quoted("\xf8\x88\x80\x80\x80") == R"("\xf8\x88\x80\x80\x80")");
}

TEST_CASE("log line: only a harmless word stands without quotes") {
    CHECK(token("ann-1.example_x") == "ann-1.example_x");
    CHECK(token(Address{"10.0.0.1", 7000}) == "10.0.0.1:7000");
    CHECK(token(Address{"fe80::1%eth0", 7000}) == "[fe80::1%eth0]:7000");
    CHECK(token("") == R"("")");
    CHECK(token("two words") == R"("two words")");
    CHECK(token("a=b") == R"("a=b")");
    CHECK(token(Address{"a why=\"x\"\n", 1}) == R"("a why=\"x\"\x0a:1")");
}
