#include <cluster/stats.hpp>

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

using cluster::PeerStats;
using cluster::Stats;

namespace {

Stats sample() {
    Stats stats;
    stats.peers = 2;
    stats.messages_sent = 18446744073709551615U;
    stats.outbox_bytes = 4096;
    PeerStats ann;
    ann.id.bytes[0] = 0xa1;
    ann.name = "an\"n\\\n\xff";
    ann.bytes_sent = 123456789;
    ann.round_trip_seconds = 0.00025;
    PeerStats bob;
    bob.id.bytes[0] = 0xb0;
    bob.name = "bob";
    bob.inbox_bytes = 77;
    stats.by_peer = {ann, bob};
    return stats;
}

const std::string ann_label = R"({peer="a1000000000000000000000000000000",name="an\"n\\\\x0a\\xff"})";
const std::string bob_label = R"({peer="b0000000000000000000000000000000",name="bob"})";

/// Samples by name and label.
std::map<std::string, std::string> samples_of(const std::string& text) {
    std::map<std::string, std::string> samples;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('#')) continue;
        const std::size_t space = line.find(' ');
        REQUIRE(space != std::string::npos);
        CHECK(samples.emplace(line.substr(0, space), line.substr(space + 1)).second);
    }
    return samples;
}

}  // namespace

TEST_CASE("the text for a scraper holds every value of the node and of each peer") {
    const auto samples = samples_of(to_prometheus(sample()));
    CHECK(samples.at("cluster_peers") == "2");
    CHECK(samples.at("cluster_messages_sent_total") == "18446744073709551615");
    CHECK(samples.at("cluster_outbox_bytes") == "4096");
    CHECK(samples.at("cluster_peer_sent_bytes_total" + ann_label) == "123456789");
    CHECK(samples.at("cluster_peer_inbox_bytes" + bob_label) == "77");
    CHECK(samples.size() == 26 + 2 * 5 + 1);
}

TEST_CASE("a peer whose round trip was never measured has no sample of it") {
    const auto samples = samples_of(to_prometheus(sample()));
    CHECK(std::stod(samples.at("cluster_peer_round_trip_seconds" + ann_label)) == 0.00025);
    CHECK(!samples.contains("cluster_peer_round_trip_seconds" + bob_label));
}

TEST_CASE("each metric has one help, then one type, then its samples, and only counters end in total") {
    const std::string text = to_prometheus(sample());
    CHECK(text.ends_with('\n'));
    std::istringstream lines(text);
    std::set<std::string> seen;
    std::string family;
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        if (line.starts_with("# HELP ")) {
            std::istringstream words(line.substr(7));
            std::string help;
            words >> family >> help;
            CHECK(seen.insert(family).second);
            CHECK(family.starts_with("cluster_"));
            CHECK(!help.empty());
            REQUIRE(std::getline(lines, line));
            const bool total = family.ends_with("_total");
            CHECK(line == "# TYPE " + family + (total ? " counter" : " gauge"));
        } else {
            const std::string name = line.substr(0, line.find_first_of("{ "));
            CHECK(name == family);
        }
    }
}

TEST_CASE("a name can neither end its label nor its line, and what it hides is shown") {
    PeerStats ann;
    ann.name = "a\"} 1\ncluster_peers 99\r\x7f\xc2\x9b\xe2\x80\xae\xc3\xa9";
    Stats stats;
    stats.by_peer = {ann};
    const auto samples = samples_of(to_prometheus(stats));
    CHECK(samples.at("cluster_peers") == "0");
    CHECK(to_prometheus(stats).find(R"(name="a\"} 1\\x0acluster_peers 99\\x0d\\x7f\\xc2\\x9b\\xe2\\x80\\xae)"
                                    "\xc3\xa9\"}") != std::string::npos);
}

TEST_CASE("a node without peers still names every metric") {
    const std::string text = cluster::to_prometheus(Stats{});
    CHECK(text.find("# TYPE cluster_peer_round_trip_seconds gauge\n") != std::string::npos);
    CHECK(samples_of(text).size() == 26);
}
