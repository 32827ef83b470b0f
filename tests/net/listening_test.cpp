#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <algorithm>

using namespace cluster;
using namespace cluster::support;

namespace {

Options listening_on(const std::string& listen) {
    Options options = quick();
    options.listen = listen;
    return options;
}

}  // namespace

TEST_CASE("listening: port 0 is replaced by the port that the system picked") {
    const Node node(listening_on("127.0.0.1:0"));
    CHECK(node.address().host == "127.0.0.1");
    CHECK(node.address().port != 0);
    CHECK(node.addresses() == std::vector<Address>{node.address()});
}

TEST_CASE("listening: on all interfaces, others are told real addresses, loopback last") {
    for (const char* listen : {"0.0.0.0:0", "[::]:0"}) {
        INFO(listen);
        const Node node(listening_on(listen));
        const std::vector<Address> addresses = node.addresses();
        REQUIRE_FALSE(addresses.empty());
        CHECK(addresses.size() <= 8);
        const auto loopback = [](const Address& each) { return each.host == "127.0.0.1" || each.host == "::1"; };
        const auto elsewhere = [&](const Address& each) { return !loopback(each); };
        CHECK(std::is_partitioned(addresses.begin(), addresses.end(), elsewhere));
        for (const Address& each : addresses) {
            CHECK(each.port == addresses[0].port);
            CHECK(each.host != "0.0.0.0");
            CHECK(each.host != "::");
            CHECK_FALSE(each.host.starts_with("fe80"));
        }
    }
}

TEST_CASE("listening: on all interfaces of both kinds, it is reached by IPv4 and IPv6") {
    Node ann(listening_on("[::]:0"));
    Node bob(listening_on("127.0.0.1:0"));
    Node eve(listening_on("[::1]:0"));
    const std::uint16_t port = ann.address().port;
    CHECK(bob.add(Address{"127.0.0.1", port}).id == ann.id());
    CHECK(eve.add(Address{"::1", port}).id == ann.id());
    CHECK(ann.wait_for_peers(2, patience));
}

TEST_CASE("listening: IPv6 alone works") {
    Node ann(listening_on("[::1]:0"));
    Node bob(listening_on("[::1]:0"));
    CHECK(ann.address().host == "::1");
    CHECK(bob.add(ann.address()).address == ann.address());
}

TEST_CASE("listening: a name may be listened on, and dialled at whichever of its addresses answers") {
    Node ann(listening_on("localhost:0"));
    CHECK(ann.address().host != "localhost");
    Node bob(quick());
    CHECK(bob.add(Address{"localhost", ann.address().port}).id == ann.id());
}

TEST_CASE("listening: what is advertised is what others are told, with the port if it has none") {
    Options options = quick();
    options.advertise = {"localhost:0", "127.0.0.1:7"};
    const Node ann(options);
    const std::vector<Address> addresses = ann.addresses();
    REQUIRE(addresses.size() == 2);
    CHECK(addresses[0].host == "localhost");
    CHECK(addresses[0].port > 1024);
    CHECK(addresses[1] == Address{"127.0.0.1", 7});
}

TEST_CASE("listening: a peer behind a name that it advertises is found by others") {
    Options options = quick();
    options.advertise = {"localhost:0"};
    Node ann(options);
    Node bob(quick());
    Socket nobody;
    Options hidden = quick();
    hidden.advertise = {nobody.bind().to_string()};  // where nobody listens, so it has to dial itself
    Node eve(hidden);
    bob.add(ann.addresses()[0]);
    eve.add(bob.address());
    CHECK(eve.wait_for_peers(2, patience));
}
