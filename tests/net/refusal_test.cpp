#include "net/support.hpp"

#include "core/frame.hpp"
#include "wire/codec.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

std::vector<std::byte> encoded(const core::Control& frame) {
    std::vector<std::byte> bytes;
    wire::encode(frame, bytes);
    return bytes;
}

core::Hello hello_of(const std::string& cluster) {
    core::Hello hello;
    hello.cluster = cluster;
    hello.max_message = 1 << 20;
    hello.resume_for_ms = 1000;
    hello.self.id.bytes.fill(0x77);
    hello.self.version = 1;
    hello.self.name = "stranger";
    return hello;
}

std::vector<std::byte> header(std::uint32_t length, core::FrameKind kind, std::uint8_t flags = 0) {
    std::vector<std::byte> bytes(core::FrameHeader::size);
    core::FrameHeader{length, kind, flags, 0}.write(bytes.data());
    return bytes;
}

/// Two linked nodes, the second of which is attacked: whatever happens to it must not touch their link.
struct Victim {
    explicit Victim(Options options = quick()) {
        options.log = lines.sink();
        bob = std::make_unique<Node>(options);
        ann.add(bob->address());
    }
    /// Sends `bytes` and waits for the connection to be closed, with a line that says `why`.
    void refuses(std::span<const std::byte> bytes, std::string_view why) {
        Socket stranger;
        stranger.bind(strangers++);  // from another host than those before: the same of one host is counted
        REQUIRE(stranger.connect(bob->address()));
        stranger.write(bytes);
        CHECK(stranger.closed_by_other());
        INFO(why);
        CHECK(lines.wait_for(why));
        still_well();
    }
    void still_well() {
        ann.broadcast("still there");
        const auto message = bob->inbox().receive_for(patience);
        REQUIRE(message.has_value());
        CHECK(message->text() == "still there");
        CHECK(bob->stats().links_lost == 0);
        CHECK(bob->stats().by_peer.at(0).attachments == 1);
    }

    Lines lines;
    Node ann{quick()};
    std::unique_ptr<Node> bob;
    std::uint32_t strangers = INADDR_LOOPBACK + 1;
};

}  // namespace

TEST_CASE("bad input: text that is no address is refused before anything is dialled") {
    Node ann(quick());
    for (const char* text : {"", "nothing", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:7000",
                             "[::1]", ":7000", "127.0.0.1:0", "0.0.0.0:7000", "[::]:7000"}) {
        INFO(text);
        CHECK(add_error(ann, text) == errc::invalid_address);
    }
    std::error_code error;
    ann.add(Address{"no such host", 7000}, error);
    CHECK(error == errc::invalid_address);
    CHECK(ann.stats().dials == 0);
    CHECK_THROWS_AS(ann.add("nothing"), std::system_error);
}

TEST_CASE("bad input: a host without an address is unresolvable") {
    Node ann(quick());
    CHECK(add_error(ann, "no-such-host.invalid:7000") == errc::unresolvable_host);
}

TEST_CASE("bad input: where nobody listens the connection is refused") {
    const Socket reserved;
    Node ann(quick());
    CHECK(add_error(ann, reserved.bind().to_string()) == errc::connection_refused);
    CHECK(ann.stats().dials_failed == 1);
    CHECK(ann.stats().links == 0);
}

TEST_CASE("bad input: a port in use, an address of another machine and an unknown name are named when listening") {
    const auto error_of = [](const std::string& listen) {
        Options options = quick();
        options.listen = listen;
        try {
            const Node node(options);
            return std::error_code();
        } catch (const std::system_error& error) {
            INFO(error.what());
            CHECK(std::string(error.what()).find(listen.substr(0, listen.find(':'))) != std::string::npos);
            return error.code();
        }
    };
    Node ann(quick());
    CHECK(error_of(ann.address().to_string()) == errc::address_in_use);
    CHECK(error_of("198.51.100.7:0") == errc::address_not_available);
    CHECK(error_of("no-such-host.invalid:0") == errc::unresolvable_host);
    CHECK(error_of("nothing") == errc::invalid_address);
}

TEST_CASE("bad input: contradictory options are refused with the name of the option") {
    Options options = quick();
    options.outbox_bytes = 1000;
    try {
        const Node node(options);
        FAIL("a node was made");
    } catch (const std::system_error& error) {
        CHECK(error.code() == errc::invalid_options);
        CHECK(std::string(error.what()).find("outbox_bytes") != std::string::npos);
    }
}

TEST_CASE("bad input: adding oneself changes nothing") {
    Node ann(quick());
    CHECK(add_error(ann, ann.address().to_string()) == errc::self);
    CHECK(ann.peers().empty());
}

TEST_CASE("bad input: a server that closes without a word is not a cluster node") {
    const Server server([](const Socket&) {});
    Node ann(quick());
    CHECK(add_error(ann, server.address().to_string()) == errc::not_a_cluster_node);
}

TEST_CASE("bad input: a server that speaks something else is not a cluster node") {
    std::vector<Socket> held;
    const Server server([&](Socket socket) {
        socket.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        held.push_back(std::move(socket));
    });
    Lines lines;
    Options options = quick();
    options.log = lines.sink();
    Node ann(options);
    CHECK(add_error(ann, server.address().to_string()) == errc::not_a_cluster_node);
    CHECK(lines.wait_for("protocol_error"));
    CHECK(ann.stats().links == 0);
}

TEST_CASE("bad input: a hello that never comes ends after handshake_timeout") {
    std::vector<Socket> held;
    const Server server([&](Socket socket) { held.push_back(std::move(socket)); });
    Options options = quick();
    options.handshake_timeout = 50ms;
    options.attach_timeout = 20ms;
    Node ann(options);
    CHECK(add_error(ann, server.address().to_string()) == errc::handshake_timeout);
}

TEST_CASE("bad input: who does not answer in time is given up after connect_timeout") {
    std::vector<Socket> held;
    const Server server([&](Socket socket) { held.push_back(std::move(socket)); });
    Options options = quick();
    options.connect_timeout = 50ms;
    Node ann(options);
    CHECK(add_error(ann, server.address().to_string()) == errc::timed_out);
}

TEST_CASE("bad input: who has no room for a connection yet is waited for") {
    const Socket listener;
    const Address address = listener.bind();
    listener.listen(0);  // there is room for one
    const Socket first;
    REQUIRE(first.connect(address));
    Options options = quick();
    options.connect_timeout = 2 * patience;
    Node ann(options);
    std::jthread accepting([&] {
        wait_for([&] { return ann.stats().dials != 0; }, patience);
        const Socket taken = listener.accept();
        listener.accept().write("nobody's protocol");
    });
    CHECK(add_error(ann, address.to_string()) == errc::not_a_cluster_node);
}

TEST_CASE("bad input: another version is refused on both sides, with its name") {
    core::Hello hello = hello_of("cluster");
    hello.version_min = hello.version_max = core::protocol_version + 1;
    const std::vector<std::byte> bytes = encoded(hello);
    std::vector<Socket> held;
    const Server server([&](Socket socket) {
        socket.write(bytes);
        held.push_back(std::move(socket));
    });
    Node ann(quick());
    CHECK(add_error(ann, server.address().to_string()) == errc::wrong_version);
    Victim victim;
    victim.refuses(bytes, "reason=version");
}

TEST_CASE("bad input: garbage costs its sender the connection, and nobody else anything") {
    Victim victim;
    victim.refuses(std::as_bytes(std::span(std::string_view("GET / HTTP/1.1\r\nHost: cluster\r\n\r\n"))),
                   "protocol_error");
    victim.refuses(std::vector<std::byte>(100000, std::byte{0xff}), "rule=frame_too_long");
    CHECK(victim.bob->stats().protocol_errors == 2);
}

TEST_CASE("bad input: a frame too long is refused by its header, before its body has come") {
    Victim victim;
    victim.refuses(header(core::max_hello_body + 1, core::FrameKind::hello), "rule=frame_too_long");
    std::vector<std::byte> bytes = encoded(hello_of("cluster"));
    const std::vector<std::byte> next = header(1u << 30, core::FrameKind::peers);
    bytes.insert(bytes.end(), next.begin(), next.end());
    victim.refuses(bytes, "rule=frame_too_long");
}

TEST_CASE("bad input: a list that claims a million entries is refused before memory is taken for it") {
    Victim victim;
    std::vector<std::byte> bytes = encoded(hello_of("cluster"));
    const std::size_t before = bytes.size();
    core::PeerList list;
    list.peers.resize(3);
    const std::vector<std::byte> frame = encoded(list);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    for (std::size_t i = 0; i < 4; ++i) bytes[before + core::FrameHeader::size + i] = std::byte{0xff};
    victim.refuses(bytes, "rule=malformed_body");
}

TEST_CASE("bad input: frames out of turn are refused") {
    Victim victim;
    victim.refuses(encoded(core::Ping{}), "rule=unexpected_frame");
    std::vector<std::byte> bytes = encoded(hello_of("cluster"));
    const std::vector<std::byte> data = header(0, core::FrameKind::data);
    bytes.insert(bytes.end(), data.begin(), data.end());
    victim.refuses(bytes, "rule=unexpected_frame");
}

TEST_CASE("bad input: half a frame and then silence costs a handshake_timeout and nothing else") {
    Options options = quick();
    options.handshake_timeout = 100ms;
    options.attach_timeout = 20ms;
    Victim victim(options);
    const std::vector<std::byte> hello = encoded(hello_of("cluster"));
    for (const std::size_t size : {std::size_t{0}, std::size_t{3}, hello.size() / 2, hello.size()}) {
        const auto begun = std::chrono::steady_clock::now();
        victim.refuses(std::span(hello).first(size), "handshake_timeout");
        CHECK(std::chrono::steady_clock::now() - begun >= 100ms);
    }
    CHECK(wait_for([&] { return victim.bob->stats().links == 1; }, patience));
}

TEST_CASE("bad input: who connects and closes at once leaves nothing behind") {
    Victim victim;
    for (int i = 0; i < 50; ++i) {
        Socket stranger;
        REQUIRE(stranger.connect(victim.bob->address()));
        if (i % 2 == 0) stranger.reset();
    }
    // Of those that were reset some are gone before they can be accepted.
    REQUIRE(wait_for([&] { return victim.bob->stats().links_accepted >= 26; }, patience));
    REQUIRE(wait_for([&] { return victim.bob->stats().links == 1; }, patience));
    victim.still_well();
}

TEST_CASE("bad input: without descriptors the listener waits, and goes on when there are some again") {
    Victim victim;
    REQUIRE(wait_for_dial_back(victim.ann, *victim.bob));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    Socket first;
    Socket second;
    const Socket next_free;
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(next_free.file()) + 1;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const bool connected = first.connect(victim.bob->address()) && second.connect(victim.bob->address());
    const bool warned = victim.lines.wait_for("accept_failed");
    const std::error_code dialled = add_error(victim.ann, "127.0.0.1:9");
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(connected);
    CHECK(warned);
    CHECK(dialled == errc::out_of_descriptors);
    CHECK_FALSE(first.read().empty());
    CHECK_FALSE(second.read().empty());
    victim.still_well();
}
