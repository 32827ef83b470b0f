#include "net/tls.hpp"

#include "net/asio.hpp"
#include "net/tls_keys.hpp"

#include <doctest/doctest.h>
#include <cluster/error.hpp>
#include <cluster/secret.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// Two streams on the two ends of a pair of sockets, in one thread.

namespace cluster::tls_test {

using net::TlsStream;

std::vector<std::uint8_t> from_hex(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    return bytes;
}

std::string text_of(const std::vector<std::uint8_t>& bytes) {
    return {bytes.begin(), bytes.end()};
}

/// A pair of sockets that do not wait. What one end writes can be counted, changed and held on the way to the other.
struct Wire {
    Wire() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
        near = ends[0];
        far = ends[1];
    }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    ~Wire() {
        ::close(near);
        ::close(far);
    }
    /// All that waits at an end, taken from it.
    static std::string take(int end) {
        std::string all;
        std::array<char, 4096> part{};
        for (ssize_t got = 0; (got = ::recv(end, part.data(), part.size(), 0)) > 0;) {
            all.append(part.data(), static_cast<std::size_t>(got));
        }
        return all;
    }
    static void put(int end, std::string_view bytes) {
        REQUIRE(::send(end, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    }

    int near = -1;
    int far = -1;
};

bool waits(const std::error_code& error) {
    return error == asio::error::would_block;
}

std::shared_ptr<net::Tls> tls_of(const Secrets& secrets, std::string cluster = "c", std::uint64_t records = 1 << 20) {
    return net::make_tls({secrets, std::move(cluster), records});
}

/// Both go on until each has an end.
std::pair<std::error_code, std::error_code> shake_hands(TlsStream& a, TlsStream& b) {
    std::error_code of_a = asio::error::would_block;
    std::error_code of_b = of_a;
    for (int i = 0; i < 20 && (waits(of_a) || waits(of_b)); ++i) {
        if (waits(of_a)) of_a = a.shake_hands();
        if (waits(of_b)) of_b = b.shake_hands();
    }
    return {of_a, of_b};
}

/// A dialler and a listener.
struct Link {
    Link(const std::shared_ptr<net::Tls>& dials, const std::shared_ptr<net::Tls>& listens)
        : dialler(dials->open(wire.near, true)), listener(listens->open(wire.far, false)) {}
    std::pair<std::error_code, std::error_code> shake_hands() { return tls_test::shake_hands(*dialler, *listener); }

    Wire wire;
    std::unique_ptr<TlsStream> dialler;
    std::unique_ptr<TlsStream> listener;
};

/// Buffers of these sizes; how much was taken.
std::size_t write(TlsStream& stream, std::string_view text, std::error_code& error, std::size_t part = 1 << 20) {
    std::vector<asio::const_buffer> buffers;
    for (std::size_t at = 0; at < text.size() && buffers.size() < 64; at += part) {
        buffers.emplace_back(text.data() + at, std::min(part, text.size() - at));
    }
    return stream.write_some(buffers, error);
}

std::string read(TlsStream& stream, std::error_code& error, std::size_t most = 1 << 18) {
    std::string text(most, '\0');
    text.resize(stream.read_some(std::as_writable_bytes(std::span(text)), error));
    return text;
}

/// All of `text` from one to the other, in parts, however little the socket takes at once.
std::string carry(TlsStream& from, TlsStream& to, std::string_view text, std::size_t part) {
    std::string came;
    for (int idle = 0; idle < 3; ++idle) {
        std::error_code error;
        if (!text.empty()) {
            const std::size_t taken = write(from, text, error, part);
            text.remove_prefix(taken);
            if (taken != 0) idle = 0;
        }
        std::error_code read_error;
        const std::string more = read(to, read_error);
        came += more;
        if (!more.empty()) idle = 0;
    }
    return came;
}

std::string noise(std::size_t size) {
    std::mt19937 dice(7);
    std::string text(size, '\0');
    for (char& each : text) each = static_cast<char>(dice());
    return text;
}

const std::string secret = "9f27c04be1d8536a0c7e4b19d2f56a83";
const std::string other = "1be64c0f83d92a75e0467bd13c98fa52";

TEST_CASE("tls: the key derivation is that of RFC 5869") {
    const std::string ikm = text_of(from_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"));
    CHECK(net::hkdf_sha256(ikm, text_of(from_hex("000102030405060708090a0b0c")),
                           text_of(from_hex("f0f1f2f3f4f5f6f7f8f9")), 42) ==
          from_hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"));
    CHECK(net::hkdf_sha256(ikm, {}, {}, 42) ==
          from_hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"));
}

TEST_CASE("tls: the keys in PROTOCOL.md are those that are derived, and depend on secret, cluster and use") {
    const net::TlsKey key = net::derive_key(secret, "demo");
    const auto hex = [](const auto& bytes) {
        std::string text;
        for (const std::uint8_t each : bytes) {
            text += "0123456789abcdef"[each >> 4];
            text += "0123456789abcdef"[each & 15];
        }
        return text;
    };
    CHECK(hex(key.id) == "782178911a4221f8");
    CHECK(hex(key.bytes) == "bade2d10cc7234c31a8eb9049c6cffe78a7513a7119c410258f617754b83e089");
    CHECK(net::derive_key(other, "demo").bytes != key.bytes);
    CHECK(net::derive_key(secret, "demp").bytes != key.bytes);
    CHECK(net::derive_key(secret, "demp").id != key.id);
    CHECK_FALSE(std::equal(key.id.begin(), key.id.end(), key.bytes.begin()));
}

TEST_CASE("tls: who has the secret is let in, and bytes of every size arrive unaltered both ways") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    const auto [dialled, accepted] = link.shake_hands();
    REQUIRE(!dialled);
    REQUIRE(!accepted);
    CHECK(link.listener->key().bytes == net::derive_key(secret, "c").bytes);
    CHECK_FALSE(link.listener->key().guests_only);
    for (const std::size_t size : {std::size_t{1}, std::size_t{16383}, std::size_t{16384}, std::size_t{16385},
                                   std::size_t{65000}, std::size_t{3000000}}) {
        const std::string text = noise(size);
        for (const std::size_t part : {std::size_t{1} << 20, std::size_t{16384}, std::size_t{1000}}) {
            CAPTURE(size);
            CAPTURE(part);
            CHECK(carry(*link.dialler, *link.listener, text, part) == text);
            CHECK(carry(*link.listener, *link.dialler, text, part) == text);
        }
    }
}

TEST_CASE("tls: small buffers go out as records of full length") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    link.shake_hands();
    std::error_code error;
    CHECK(write(*link.dialler, noise(64 * 256), error, 256) == 64 * 256);
    const std::string sent = Wire::take(link.wire.far);
    CHECK(sent.size() == 16384 + 22);
}

TEST_CASE("tls: nothing that is written can be read on the way") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    link.shake_hands();
    std::error_code error;
    write(*link.dialler, "nobody else may read this", error);
    CHECK(Wire::take(link.wire.far).find("nobody") == std::string::npos);
}

TEST_CASE("tls: a wrong secret, another cluster and an unknown key are refused, and look alike to the dialler") {
    const auto listens = tls_of({{secret}, {}});
    for (const auto& dials : {tls_of({{other}, {}}), tls_of({{secret}, {}}, "d")}) {
        Link link(dials, listens);
        const auto [dialled, accepted] = link.shake_hands();
        CHECK(dialled == errc::wrong_secret);
        CHECK(accepted == errc::wrong_secret);
        CHECK(link.listener->failure() == "unknown_key");
        std::error_code error;
        CHECK(write(*link.dialler, "text", error) == 0);
        CHECK(error == errc::wrong_secret);
    }
}

TEST_CASE("tls: of three secrets the first dials, and each is accepted until it is withdrawn") {
    const std::string third = make_secret();
    const auto listens = tls_of({{secret, other}, {third}});
    const auto dial = [&](const std::string& with) {
        Link link(tls_of({{with, make_secret()}, {}}), listens);
        const auto [dialled, accepted] = link.shake_hands();
        CHECK(!dialled == !accepted);
        return std::pair(!dialled, link.listener->key());
    };
    CHECK(dial(secret).first);
    CHECK(dial(other).first);
    CHECK_FALSE(dial(other).second.guests_only);
    CHECK(dial(third).second.guests_only);
    CHECK_FALSE(dial(make_secret()).first);

    const net::TlsKey old = dial(secret).second;
    CHECK(listens->accepts(old));
    listens->set({{other}, {}});
    CHECK_FALSE(listens->accepts(old));
    CHECK_FALSE(dial(secret).first);
    CHECK_FALSE(dial(third).first);
    CHECK(dial(other).first);
    Link outwards(listens, tls_of({{other}, {}}));
    CHECK(!outwards.shake_hands().first);
    // A secret that has come to be for guests only does not admit a peer any more.
    const net::TlsKey peer = dial(other).second;
    listens->set({{secret}, {other}});
    CHECK_FALSE(listens->accepts(peer));
}

TEST_CASE("tls: no ticket is sent, nothing is resumed, and no early data is offered") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    std::string hello;
    CHECK(waits(link.dialler->shake_hands()));
    hello = Wire::take(link.wire.far);
    // The extension early_data is number 42 and empty.
    CHECK(hello.find(std::string("\0\x2a\0\0", 4)) == std::string::npos);
    // psk_key_exchange_modes is number 45: one mode, which is psk_dhe_ke.
    CHECK(hello.find(std::string("\0\x2d\0\2\1\1", 6)) != std::string::npos);
    // One suite, TLS_AES_128_GCM_SHA256, and a value that stands for no suite.
    CHECK(hello.find(std::string("\0\4\x13\1\0\xff\1\0", 8)) != std::string::npos);
    Wire::put(link.wire.near, hello);
    const auto [dialled, accepted] = link.shake_hands();
    REQUIRE(!dialled);
    REQUIRE(!accepted);
    CHECK(Wire::take(link.wire.near).empty());  // all that the listener had to say is read
}

TEST_CASE("tls: plain text is recognised on both sides, and a node is told apart from anything else") {
    std::string hello(60, '\0');
    hello.replace(0, 12, std::string("\x34\0\0\0\1\0\0\0CLUS", 12));
    struct Row {
        std::string bytes;
        errc error;
    };
    for (const Row& row : {Row{hello, errc::not_private}, Row{"GET / HTTP/1.1\r\n\r\n", errc::not_a_cluster_node},
                           Row{"SSH-2.0-OpenSSH_9.2p1\r\n", errc::not_a_cluster_node}}) {
        for (const bool dials : {true, false}) {
            Wire wire;
            const auto tls = tls_of({{secret}, {}});
            const auto stream = tls->open(wire.near, dials);
            Wire::put(wire.far, row.bytes);
            stream->shake_hands();
            CHECK(stream->shake_hands() == row.error);
            CHECK(stream->failure() == "plain_text");
        }
    }
}

TEST_CASE("tls: the key is renewed after so many records, and nothing is lost over it") {
    Link link(tls_of({{secret}, {}}, "c", 10), tls_of({{secret}, {}}, "c", 1 << 20));
    link.shake_hands();
    const std::string text = noise(50 * 16384);
    CHECK(carry(*link.dialler, *link.listener, text, 1 << 20) == text);
    CHECK(link.dialler->renewals() >= 5);
    CHECK(link.listener->renewals() == 0);
    CHECK(carry(*link.listener, *link.dialler, text, 1 << 20) == text);
}

TEST_CASE("tls: a record that was changed, sent twice or left out ends the link") {
    for (const char* what : {"changed", "twice", "left out"}) {
        CAPTURE(what);
        Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
        link.shake_hands();
        std::error_code error;
        write(*link.dialler, "first", error);
        std::string first = Wire::take(link.wire.far);
        write(*link.dialler, "second", error);
        const std::string second = Wire::take(link.wire.far);
        if (*what == 'c') first.back() = static_cast<char>(first.back() ^ 1);
        std::string sent = *what == 'l' ? second : first + (*what == 't' ? first : second);
        Wire::put(link.wire.near, sent);
        const std::string came = read(*link.listener, error);
        CHECK(came == (*what == 't' ? "first" : ""));
        read(*link.listener, error);
        CHECK(error == errc::connection_lost);
        CHECK_FALSE(link.listener->failure().empty());
    }
}

TEST_CASE("tls: an end without a word is an end, and what came before it is read") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    link.shake_hands();
    std::error_code error;
    write(*link.dialler, "last", error);
    ::shutdown(link.wire.near, SHUT_WR);
    CHECK(read(*link.listener, error) == "last");
    CHECK(read(*link.listener, error).empty());
    CHECK(!error);
    CHECK(link.listener->failure().empty());
    CHECK(write(*link.listener, "still goes", error) == 10);
    CHECK(read(*link.dialler, error) == "still goes");
}

TEST_CASE("tls: after end_writing the other side reads the end, and can still write") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    link.shake_hands();
    std::error_code error;
    link.dialler->end_writing();
    CHECK(read(*link.listener, error).empty());
    CHECK(!error);
    CHECK(write(*link.listener, "goodbye", error) == 7);
    CHECK(read(*link.dialler, error) == "goodbye");
}

TEST_CASE("tls: what a dialler has said is of no use when it is sent back to it") {
    // The other end repeats what it hears. A listener that repeats the dialler's own words has proved nothing.
    Wire wire;
    const auto dialler = tls_of({{secret}, {}})->open(wire.near, true);
    CHECK(waits(dialler->shake_hands()));
    Wire::put(wire.far, Wire::take(wire.far));
    const std::error_code error = dialler->shake_hands();
    CHECK(error);
    CHECK_FALSE(waits(error));
}

TEST_CASE("tls: to write to who has gone raises no signal") {
    Link link(tls_of({{secret}, {}}), tls_of({{secret}, {}}));
    link.shake_hands();
    ::shutdown(link.wire.near, SHUT_RDWR);
    ::shutdown(link.wire.far, SHUT_RDWR);
    std::error_code error;
    CHECK(write(*link.dialler, "nobody is there", error) == 0);
    CHECK(error == errc::connection_lost);
    // Nor is it mistaken for success after the end of what comes was read.
    error = {};
    CHECK(read(*link.listener, error).empty());
    CHECK(!error);
    CHECK(write(*link.listener, "nobody is there", error) == 0);
    CHECK(error == errc::connection_lost);
}

}  // namespace cluster::tls_test
