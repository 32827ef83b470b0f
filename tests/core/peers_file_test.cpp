#include "core/peers_file.hpp"

#include "core/ids.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr Seconds day{86400};
constexpr Moment then{Seconds(5000), Seconds(1'764'000'000)};

constexpr Moment operator+(const Moment& moment, Duration time) {
    return {moment.steady + time, moment.wall + time};
}

Address host(std::size_t number, std::uint16_t port = 7000) {
    return {"10.0." + std::to_string(number >> 8) + "." + std::to_string(number & 255), port};
}

Whereabouts peer(std::size_t number, std::vector<Address> addresses) {
    return {numbered(number), "peer " + std::to_string(number), std::move(addresses)};
}

std::vector<Whereabouts> peers(std::size_t count) {
    std::vector<Whereabouts> found;
    for (std::size_t i = 0; i < count; ++i) found.push_back(peer(i, {host(i)}));
    return found;
}

std::vector<Address> all_of(const KnownPeers& known) {
    return known.addresses({}, 100'000);
}

/// What a new node reads in `text`.
std::vector<Address> read(std::string_view text, const Moment& now = then, std::size_t* damaged = nullptr) {
    KnownPeers known("orders", day);
    const auto findings = known.read(text, now);
    if (damaged != nullptr) *damaged = findings.damaged;
    return all_of(known);
}

std::string text_of(const std::vector<Whereabouts>& view, const Moment& now = then) {
    KnownPeers known("orders", day);
    known.observe(view, now.steady);
    return known.text(now);
}

std::size_t lines_in(std::string_view text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("peers file: what is written is read, where it was reached first") {
    const Address six{"fe80::1%eth0", 7000};
    const Address name{"db-1.example", 65535};
    const std::string text = text_of({peer(1, {host(9), host(1), six}), peer(2, {name})});
    CHECK(read(text) == std::vector<Address>{host(9), name, host(1), six});
    KnownPeers known("orders", day);
    known.read(text, then);
    CHECK(known.text(then) == text);
    CHECK(read("") == std::vector<Address>{});
    CHECK(read(text_of({})) == std::vector<Address>{});
}

TEST_CASE("peers file: it is text that people can read") {
    const std::string text = text_of({peer(1, {host(1), host(2)})});
    const std::size_t end = text.find('\n');
    CHECK(text.substr(0, end) == "cluster-peers 1 orders");
    CHECK(text.substr(end + 1 + 16) == " 1764000000 10.0.0.1:7000,10.0.0.2:7000 peer 1\n");
}

TEST_CASE("peers file: cut at any byte it gives every entry whose line is whole") {
    const std::string text = text_of(peers(8));
    const std::vector<Address> whole = read(text);
    REQUIRE(whole.size() == 8);
    for (std::size_t length = 0; length < text.size(); ++length) {
        const std::string_view part = std::string_view(text).substr(0, length);
        std::size_t damaged = 0;
        const std::vector<Address> found = read(part, then, &damaged);
        // The end of its line is no part of an entry.
        const std::size_t lines = lines_in(part) + (text[length] == '\n' ? 1 : 0);
        CAPTURE(length);
        CHECK(found.size() == (lines == 0 ? 0 : lines - 1));
        CHECK(std::equal(found.begin(), found.end(), whole.begin()));
        CHECK(damaged <= 1);
    }
}

TEST_CASE("peers file: any changed bit costs at most the lines next to it") {
    const std::string text = text_of(peers(4));
    const std::vector<Address> whole = read(text);
    for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
        std::string changed = text;
        changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
        const std::vector<Address> found = read(changed);
        CAPTURE(bit);
        CHECK(found.size() + 2 >= whole.size());  // two where the end of a line is hit
        for (const Address& each : found) CHECK(std::find(whole.begin(), whole.end(), each) != whole.end());
    }
}

TEST_CASE("peers file: without its first line nothing else is lost") {
    const std::string text = text_of(peers(4));
    std::size_t damaged = 0;
    CHECK(read(text.substr(text.find('\n') + 1), then, &damaged).size() == 4);
    CHECK(damaged == 0);
    CHECK(read("cluster-peers 1 ordxrs" + text.substr(text.find('\n')), then, &damaged).size() == 4);
}

TEST_CASE("peers file: bytes of any kind are damage and nothing else") {
    std::mt19937 dice(1);
    std::size_t damaged = 0;
    for (int i = 0; i < 200; ++i) {
        std::string text(dice() % 4096, '\0');
        for (char& c : text) c = static_cast<char>(dice());
        CHECK(read(text, then, &damaged).empty());
        CHECK((damaged > 0 || text.empty()));
    }
    for (const char* text :
         {"\n\n\n", " ", "cluster-peers 2 orders\n", "cluster-peers 1", "0123456789abcdef 1 a:1 b"}) {
        CAPTURE(text);
        CHECK(read(text).empty());
    }
    CHECK(read(std::string(1 << 20, '\0')).empty());
    CHECK(read(std::string(1 << 20, '\n')).empty());
}

TEST_CASE("peers file: a line that was written by hand is damage, one that was deleted is not") {
    std::string text = text_of(peers(3));
    const std::size_t second = text.find("10.0.0.1:7000");
    std::size_t damaged = 0;
    std::string edited = text;
    edited.replace(second, 8, "10.0.0.9");
    CHECK(read(edited, then, &damaged) == std::vector<Address>{host(0), host(2)});
    CHECK(damaged == 1);
    const std::size_t begin = text.rfind('\n', second) + 1;
    text.erase(begin, text.find('\n', begin) + 1 - begin);
    CHECK(read(text, then, &damaged) == std::vector<Address>{host(0), host(2)});
    CHECK(damaged == 0);
}

TEST_CASE("peers file: another cluster is told apart from damage") {
    KnownPeers known("invoices", day);
    const auto findings = known.read(text_of(peers(3)), then);
    CHECK(findings.other_cluster == "orders");
    CHECK(known.size() == 0);
    KnownPeers same("orders", day);
    CHECK_FALSE(same.read(text_of(peers(3)), then).other_cluster);
    CHECK_FALSE(known.read("cluster-peers 1 \x01\n", then).other_cluster);
    CHECK_FALSE(known.read("cluster-peers 1 " + std::string(65, 'a'), then).other_cluster);
}

TEST_CASE("peers file: entries are forgotten when they are too old, and the future counts as now") {
    const std::string text = text_of(peers(3));
    CHECK(read(text, then + day).size() == 3);
    CHECK(read(text, then + day + Seconds(1)).empty());
    KnownPeers known("orders", day);
    known.read(text, then + -10 * day);
    CHECK(known.size() == 3);
    CHECK(known.text(then + -9 * day).find(" 10.0.0.0") != std::string::npos);
    known.text(then + -9 * day + Seconds(1));
    CHECK(known.size() == 0);
}

TEST_CASE("peers file: who fails is kept, with the time at which it was last in view") {
    KnownPeers known("orders", day);
    CHECK(known.observe(peers(2), then.steady));
    CHECK_FALSE(known.observe(peers(2), (then + day).steady));
    CHECK(known.observe(peers(1), (then + 2 * day).steady));
    CHECK(read(known.text(then + 3 * day), then + 3 * day) == std::vector<Address>{host(0), host(1)});
    CHECK_FALSE(known.observe(peers(1), (then + 4 * day).steady));
    CHECK(read(known.text(then + 4 * day), then + 4 * day) == std::vector<Address>{host(0)});
}

TEST_CASE("peers file: who left or was removed is not kept") {
    KnownPeers known("orders", day);
    known.observe(peers(2), then.steady);
    CHECK(known.forget(numbered(0)));
    CHECK_FALSE(known.forget(numbered(0)));
    CHECK(all_of(known) == std::vector<Address>{host(1)});
}

TEST_CASE("peers file: what was read stays although nobody is met") {
    KnownPeers known("orders", day);
    known.read(text_of(peers(5)), then);
    known.observe({}, (then + Seconds(1)).steady);
    CHECK(all_of(known).size() == 5);
    known.observe({peer(77, {host(77)})}, (then + Seconds(2)).steady);
    CHECK(all_of(known).size() == 6);
    CHECK(all_of(known).front() == host(77));
}

TEST_CASE("peers file: a place is kept once, however often a process was started there") {
    KnownPeers known("orders", day);
    known.read(text_of({peer(5000, {host(1)})}), then);
    for (std::size_t i = 0; i < 1000; ++i) {
        known.observe({peer(i, {host(1), host(2)})}, (then + Seconds(i / 2)).steady);
        CHECK(known.size() == 1);
    }
    // Who has an address of its own is kept, though others have the same first one.
    known.observe({peer(1001, {host(1), host(3)}), peer(1002, {host(1), host(4)})}, (then + Seconds(1000)).steady);
    CHECK(all_of(known) == std::vector<Address>{host(1), host(3), host(4), host(2)});
    known.forget(numbered(1001));
    CHECK(all_of(known) == std::vector<Address>{host(1), host(4), host(2)});
}

TEST_CASE("peers file: who leaves the place of a failed one in the same second leaves nothing there") {
    KnownPeers known("orders", day);
    known.observe({peer(1, {host(1)})}, then.steady);
    known.observe({peer(2, {host(1)})}, then.steady);
    CHECK(known.forget(numbered(2)));
    CHECK(known.size() == 0);
}

TEST_CASE("peers file: entries and bytes are bounded, the newest are kept") {
    KnownPeers known("orders", day);
    for (std::size_t i = 0; i < 3000; i += 10) {
        std::vector<Whereabouts> ten;
        for (std::size_t k = i; k < i + 10; ++k) ten.push_back(peer(k, {host(k)}));
        known.observe(std::move(ten), (then + Seconds(i)).steady);
    }
    CHECK(known.size() == KnownPeers::max_entries);
    CHECK(all_of(known).front() == host(2990));
    CHECK(all_of(known).back() == host(1973));
    CHECK(known.addresses({}, 7).size() == 7);

    // As long as they can be.
    KnownPeers large("orders", day);
    std::vector<Whereabouts> view;
    for (std::size_t i = 0; i < 1000; ++i) {
        Whereabouts each{numbered(i), std::string(64, '\n'), {}};
        for (std::size_t k = 0; k < 20; ++k) {
            each.addresses.push_back({std::string(245, 'a') + std::to_string(i * 20 + k), 65535});
        }
        view.push_back(std::move(each));
    }
    large.observe(view, then.steady);
    const std::string text = large.text(then);
    CHECK(text.size() <= KnownPeers::max_bytes);
    CHECK(text.size() > KnownPeers::max_bytes * 9 / 10);
    std::size_t damaged = 0;
    CHECK(read(text, then, &damaged).size() > 900);
    CHECK(damaged == 0);
    CHECK(text.find('?') != std::string::npos);

    const std::string beyond = text + std::string(1 << 20, 'x');
    CHECK(read(beyond, then, &damaged) == read(text));
    CHECK(damaged == 1);
}

TEST_CASE("peers file: addresses that cannot be dialled are left out") {
    const std::string text = text_of({peer(1, {{"10.0.0.1", 0}, {"a b", 1}, {"a\n", 1}, {"", 1}, {"a,b", 7}, host(3)}),
                                      peer(2, {}), peer(3, {{"nobody", 0}})});
    CHECK(read(text) == std::vector<Address>{host(3)});
    CHECK(lines_in(text) == 2);
}

TEST_CASE("peers file: addresses that are known otherwise are passed over") {
    KnownPeers known("orders", day);
    known.observe(peers(4), then.steady);
    const std::vector<Address> except{host(1), host(2), host(99)};
    CHECK(known.addresses(except, 100) == std::vector<Address>{host(0), host(3)});
}

TEST_CASE("peers file: a wall clock that jumps makes nobody old") {
    const std::string text = text_of(peers(3));
    KnownPeers known("orders", day);
    known.read(text, {then.steady, Seconds(12)});  // it starts in 1970 where nothing keeps the time
    const std::string later = known.text({then.steady + Seconds(10), then.wall});
    CHECK(later.find(" 1763999990 10.0.0.0:7000") != std::string::npos);
    CHECK(read(later).size() == 3);
    CHECK(known.text({then.steady + Seconds(10), Seconds(3)}).find(" 0 10.0.0.0:7000") != std::string::npos);
    CHECK(known.size() == 3);
}
