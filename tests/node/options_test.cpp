#include "node/options_check.hpp"

#include <cluster/error.hpp>
#include <cluster/options.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using cluster::errc;
using cluster::Options;
using namespace std::chrono_literals;

namespace {

struct Row {
    std::function<void(Options&)> change;
    /// Each of them must stand in the text.
    std::vector<std::string_view> words;
    errc error = errc::invalid_options;
};

void check_refused(const Row& row) {
    Options options;
    row.change(options);
    CAPTURE(row.words.front());
    try {
        cluster::detail::check(options);
        FAIL_CHECK("was accepted");
    } catch (const std::system_error& failure) {
        CAPTURE(failure.what());
        CHECK(failure.code() == row.error);
        for (const std::string_view word : row.words) {
            CAPTURE(word);
            CHECK(std::string_view(failure.what()).find(word) != std::string_view::npos);
        }
    }
}

void check_accepted(const std::function<void(Options&)>& change) {
    Options options;
    change(options);
    CHECK_NOTHROW(cluster::detail::check(options));
}

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

}  // namespace

TEST_CASE("the presets pass the check") {
    CHECK_NOTHROW(cluster::detail::check(Options{}));
    CHECK_NOTHROW(cluster::detail::check(Options::local()));
    CHECK_NOTHROW(cluster::detail::check(Options::lan()));
    CHECK_NOTHROW(cluster::detail::check(Options::wan()));
}

TEST_CASE("the presets go from quick to patient") {
    const Options presets[] = {Options::local(), Options::lan(), Options::wan()};
    for (std::size_t i = 0; i + 1 < std::size(presets); ++i) {
        CHECK(presets[i].heartbeat < presets[i + 1].heartbeat);
        CHECK(presets[i].suspicion < presets[i + 1].suspicion);
        CHECK(presets[i].connect_timeout < presets[i + 1].connect_timeout);
    }
    CHECK(Options::lan().heartbeat == Options{}.heartbeat);
    CHECK(Options::wan().inbox_bytes > Options::lan().inbox_bytes);
}

TEST_CASE("options that contradict each other are refused with a text that names both") {
    const Row rows[] = {
        {[](Options& o) { o.suspicion = 2 * o.heartbeat - 1ms; }, {"suspicion (1999 ms)", "heartbeat (1 s)", "raise"}},
        {[](Options& o) { o.reconnect_min = 31s; }, {"reconnect_min (31 s)", "reconnect_max (30 s)", "lower"}},
        {[](Options& o) { o.attach_timeout = 2500ms; }, {"handshake_timeout (5 s)", "attach_timeout (2500 ms)"}},
        {[](Options& o) { o.resume_for = 5s; }, {"resume_for (5 s)", "handshake_timeout (5 s)"}},
        {[](Options& o) { o.forget_after = 5min; }, {"forget_after (300 s)", "resume_for (300 s)"}},
        {[](Options& o) { o.max_peers = 257; }, {"inbox_bytes", "max_peers (257)"}},
        {[](Options& o) { o.inbox_bytes = 64 * mib - 1; }, {"inbox_bytes (67108863 bytes)", "max_peers"}},
        {[](Options& o) { o.max_message = 16 * mib + 1; }, {"inbox_bytes", "max_message (16777217 bytes)"}},
        {[](Options& o) { o.outbox_bytes = 16 * mib + 64 * kib - 1; }, {"outbox_bytes", "max_message"}},
        {[](Options& o) { o.total_outbox_bytes = 32 * mib - 1; }, {"total_outbox_bytes", "outbox_bytes (33554432"}},
    };
    for (const Row& row : rows) check_refused(row);
}

TEST_CASE("options on the edge of a contradiction are accepted") {
    check_accepted([](Options& o) { o.suspicion = 2 * o.heartbeat; });
    for (const auto good : {0s, 1s, 32400s}) check_accepted([&](Options& o) { o.keep_warm = good; });
    for (const std::chrono::nanoseconds wrong : {-1s, 32401s}) {
        check_refused({[&](Options& o) { o.keep_warm = wrong; }, {"keep_warm", "at least 1 s", "9 hours"}});
    }
    check_refused({[](Options& o) { o.keep_warm = 999ms; }, {"keep_warm (999 ms", "at least 1 s", "9 hours"}});
    check_accepted([](Options& o) { o.reconnect_min = o.reconnect_max; });
    check_accepted([](Options& o) { o.attach_timeout = 2500ms - 1ns; });
    check_accepted([](Options& o) { o.resume_for = 5s + 1ns; });
    check_accepted([](Options& o) { o.forget_after = 5min + 1ns; });
    check_accepted([](Options& o) { o.outbox_bytes = 16 * mib + 64 * kib; });
    check_accepted([](Options& o) { o.total_outbox_bytes = o.outbox_bytes; });
    check_accepted([](Options& o) {
        o.max_peers = 4096;
        o.inbox_bytes = 1024 * mib;
    });
    check_accepted([](Options& o) {
        o.max_message = 512 * mib;
        o.inbox_bytes = 4096 * mib;
        o.outbox_bytes = o.total_outbox_bytes = 1025 * mib;
    });
    check_accepted([](Options& o) { o.max_message = 64 * kib; });
    check_accepted([](Options& o) { o.max_peers = 1; });
    check_accepted([](Options& o) { o.max_guests = 0; });
    check_accepted([](Options& o) { o.max_guests = 100000; });
}

TEST_CASE("a duration out of range is refused by name") {
    struct Named {
        std::string_view name;
        std::chrono::nanoseconds Options::*value;
        bool may_be_zero;
    };
    const Named durations[] = {
        {"heartbeat", &Options::heartbeat, false},
        {"suspicion", &Options::suspicion, false},
        {"reconnect_min", &Options::reconnect_min, false},
        {"reconnect_max", &Options::reconnect_max, false},
        {"resume_for", &Options::resume_for, false},
        {"forget_after", &Options::forget_after, false},
        {"connect_timeout", &Options::connect_timeout, false},
        {"handshake_timeout", &Options::handshake_timeout, false},
        {"attach_timeout", &Options::attach_timeout, false},
        {"send_timeout", &Options::send_timeout, true},
        {"linger", &Options::linger, true},
    };
    for (const Named& duration : durations) {
        const auto value = duration.value;
        const std::string start = std::string(duration.name) + " is ";
        using std::chrono::nanoseconds;
        for (const auto wrong :
             {nanoseconds(-1), nanoseconds(999'999), nanoseconds(24h * 3653), nanoseconds::max(), nanoseconds::min()}) {
            check_refused({[&](Options& o) { o.*value = wrong; }, {start, "1 ms", "10 years"}});
        }
        if (duration.may_be_zero) {
            check_accepted([&](Options& o) { o.*value = 0ns; });
        } else {
            check_refused({[&](Options& o) { o.*value = 0ns; }, {start}});
        }
    }
}

TEST_CASE("a size out of range is refused by name") {
    const Row rows[] = {
        {[](Options& o) { o.max_message = 0; }, {"max_message is 0", "512 MiB"}},
        {[](Options& o) { o.max_message = 512 * mib + 1; }, {"max_message is 536870913", "512 MiB"}},
        {[](Options& o) { o.max_message = std::numeric_limits<std::size_t>::max(); }, {"max_message is "}},
        {[](Options& o) { o.max_peers = 0; }, {"max_peers is 0", "4096"}},
        {[](Options& o) { o.max_guests = 100001; }, {"max_guests is 100001", "100000"}},
        {[](Options& o) { o.max_peers = 4097; }, {"max_peers is 4097", "4096"}},
        {[](Options& o) { o.members_bytes = 64 * kib - 1; }, {"members_bytes is 65535 bytes", "64 KiB"}},
        {[](Options& o) { o.max_peers = std::numeric_limits<std::size_t>::max(); }, {"max_peers is "}},
    };
    for (const Row& row : rows) check_refused(row);
}

TEST_CASE("names and tags beyond their limits are refused by name") {
    const auto many = [](std::size_t count) {
        cluster::Tags tags;
        for (std::size_t i = 0; i < count; ++i) tags["key" + std::to_string(i)] = "value";
        return tags;
    };
    const Row rows[] = {
        {[](Options& o) { o.cluster = std::string(65, 'c'); }, {"cluster has 65 bytes", "64"}},
        {[](Options& o) { o.name = std::string(65, 'n'); }, {"name has 65 bytes", "64"}},
        {[](Options& o) { o.cluster = "a\nb"; }, {"cluster contains a control character"}},
        {[](Options& o) { o.name = std::string(1, '\0'); }, {"name contains a control character"}},
        {[](Options& o) { o.name = "\x1f"; }, {"name contains a control character"}},
        {[](Options& o) { o.tags["a\tb"] = ""; }, {"tags contains a control character"}},
        {[](Options& o) { o.tags[std::string(65, 'k')] = ""; }, {"tags has 65 bytes", "64"}},
        {[](Options& o) { o.tags["zone"] = std::string(257, 'v'); }, {"tags[\"zone\"] has 257 bytes", "256"}},
        {[&](Options& o) { o.tags = many(33); }, {"tags has 33 entries", "32"}},
    };
    for (const Row& row : rows) check_refused(row);

    check_accepted([](Options& o) { o.cluster = o.name = std::string(64, 'x'); });
    check_accepted([](Options& o) { o.cluster = o.name = ""; });
    check_accepted([](Options& o) { o.name = "\xc3\xa4 \x7f"; });
    check_accepted([](Options& o) { o.tags[std::string(64, 'k')] = std::string(256, '\n'); });
    check_accepted([&](Options& o) { o.tags = many(32); });
}

TEST_CASE("an address option that nobody can use is refused by name and place") {
    const auto wrong = errc::invalid_address;
    const Row rows[] = {
        {[](Options& o) { o.listen = "7000"; }, {"listen: \"7000\" has no port"}, wrong},
        {[](Options& o) { o.listen = "::1:7000"; }, {"listen: ", "[::1]:7000"}, wrong},
        {[](Options& o) {
             o.advertise = {"a:1", "b"};
         },
         {"advertise[1]: \"b\" has no port"},
         wrong},
        {[](Options& o) { o.advertise = {"0.0.0.0:1"}; }, {"advertise[0]: ", "0.0.0.0:1"}, wrong},
        {[](Options& o) { o.advertise = {"[::]:1"}; }, {"advertise[0]: ", "[::]:1"}, wrong},
        {[](Options& o) {
             o.seeds = {"a:1", "b:2", ":3"};
         },
         {"seeds[2]: \":3\" has no host"},
         wrong},
        {[](Options& o) { o.seeds = {"a:0"}; }, {"seeds[0]: a:0 has port 0"}, wrong},
        {[](Options& o) { o.seeds = {"0.0.0.0:7000"}; }, {"seeds[0]: ", "0.0.0.0:7000"}, wrong},
        {[](Options& o) { o.seeds = {"[0::0]:7000"}; }, {"seeds[0]: ", "0::0"}, wrong},
        {[](Options& o) { o.advertise.assign(9, "a:1"); }, {"advertise has 9 addresses", "8"}},
        {[](Options& o) { o.seeds.assign(65, "a:1"); }, {"seeds has 65 addresses", "64"}},
    };
    for (const Row& row : rows) check_refused(row);

    check_accepted([](Options& o) { o.listen = "[::]:0"; });
    check_accepted([](Options& o) { o.listen = "0.0.0.0:7000"; });
    check_accepted([](Options& o) { o.advertise.assign(8, "a:0"); });
    check_accepted([](Options& o) { o.seeds.assign(64, "a:1"); });
}
