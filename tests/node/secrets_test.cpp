#include "net/support.hpp"
#include "net/tls.hpp"
#include "net/tls_keys.hpp"
#include "node/node_state.hpp"
#include "storage/support.hpp"

#include <doctest/doctest.h>
#include <cluster/client.hpp>
#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

// Private clusters on real sockets.

namespace cluster::secrets_test {

using namespace cluster::support;
using namespace std::chrono_literals;

const std::string ours = "9f27c04be1d8536a0c7e4b19d2f56a83";
const std::string theirs = "1be64c0f83d92a75e0467bd13c98fa52";
const std::string third = "c5704b8ea6f91d32c8e07f6b5a1394d2";

Options private_options(const std::string& secret = ours) {
    Options options = eager();
    options.secret = secret;
    return options;
}

Options logged(Options options, const Lines& lines) {
    options.log = lines.sink();
    return options;
}

/// What `to` receives next.
std::string next(Node& to) {
    const auto message = to.inbox().receive_for(patience);
    return message ? std::string(message->text()) : "nothing";
}

/// A program with our keys and TLS, and no node above them. Its calls wait.
class Outsider {
public:
    Outsider(const Address& to, const std::string& secret) {
        REQUIRE(socket_.connect(to));
        ::fcntl(socket_.file(), F_SETFL, O_NONBLOCK);
        tls_ = net::make_tls({{{secret}, {}}, "cluster"})->open(socket_.file(), true);
        while (waits(error_ = tls_->shake_hands())) wait();
    }
    std::error_code error() const { return error_; }
    void write(std::string_view text) {
        const std::array<asio::const_buffer, 1> buffers{asio::const_buffer(text.data(), text.size())};
        CHECK(tls_->write_some(buffers, error_) == text.size());
    }
    /// Reads until the other side has closed. False if it does not in time.
    bool closed_by_other() {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (std::chrono::steady_clock::now() < end) {
            std::array<std::byte, 4096> bytes{};
            std::error_code error;
            if (tls_->read_some(bytes, error) == 0 && !waits(error)) return true;
            if (error) wait();
        }
        return false;
    }
    const Socket& socket() const { return socket_; }

private:
    static bool waits(const std::error_code& error) { return error == asio::error::would_block; }
    void wait() const {
        pollfd poll{socket_.file(), POLLIN, 0};
        ::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(patience).count()));
    }

    Socket socket_;
    std::unique_ptr<net::TlsStream> tls_;
    std::error_code error_;
};

TEST_CASE("secret: nodes with one secret become peers, and messages of every size arrive in order") {
    Node ann(private_options());
    Node bob(private_options());
    Node cid(private_options());
    bob.add(ann.address());
    cid.add(ann.address());
    REQUIRE(ann.wait_for_peers(2, patience));
    REQUIRE(bob.wait_for_peers(2, patience));
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16384}, std::size_t{1000000}}) {
        const std::string text(size, 'x');
        CHECK(ann.broadcast(text) == 2);
        CHECK(next(bob) == text);
        CHECK(next(cid) == text);
        bob.send(ann.id(), text);
        CHECK(next(ann) == text);
    }
    CHECK(ann.request_all("?", 0ms).size() == 2);
}

TEST_CASE("secret: nothing of what nodes say can be read on the way") {
    std::mutex mutex;
    std::string heard;
    Node ann(private_options());
    std::vector<std::thread> threads;
    const auto pump = [&](const Socket& from, const Socket& to) {
        for (;;) {
            const std::vector<std::byte> bytes = from.read();
            if (bytes.empty() || !to.write(bytes)) break;
            const std::lock_guard lock(mutex);
            heard.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
        to.shut_down();
    };
    {
        std::vector<std::pair<Socket, Socket>> links(4);
        std::size_t count = 0;
        const Server between([&](Socket socket) {
            const std::lock_guard lock(mutex);
            if (count == links.size()) return;
            auto& [near, far] = links[count++];
            near = std::move(socket);
            REQUIRE(far.connect(ann.address()));
            threads.emplace_back([&, &a = near, &b = far] { pump(a, b); });
            threads.emplace_back([&, &a = near, &b = far] { pump(b, a); });
        });
        Options options = private_options();
        options.name = "conspicuous-name";
        Node bob(options);
        bob.add(between.address());
        ann.send(bob.id(), "a conspicuous message");
        CHECK(next(bob) == "a conspicuous message");
        bob.close();
        std::vector<std::thread> all;
        {
            const std::lock_guard lock(mutex);
            count = links.size();
            for (const auto& [near, far] : links) near.shut_down();
            all.swap(threads);
        }
        for (std::thread& each : all) each.join();
    }
    CHECK(heard.size() > 500);
    CHECK(heard.find("conspicuous") == std::string::npos);
    CHECK(heard.find("CLUS") == std::string::npos);
}

TEST_CASE("secret: a private link that is cut in mid-stream is resumed, and nothing is lost or doubled") {
    Reached ann(private_options());
    Node bob(private_options());
    bob.add(ann.node->address());
    std::atomic<bool> over{false};
    std::thread cutter([&] {
        for (int i = 0; i < 10 && !over; ++i) {
            const auto before = ann.proxy.forwarded();
            wait_for([&] { return over || ann.proxy.forwarded() > before + 2000000; }, patience);
            ann.proxy.cut();
        }
    });
    constexpr int count = 3000;
    std::thread sender([&] {
        for (int i = 0; i < count; ++i) {
            std::string text = std::to_string(i) + ' ';
            text.resize(10000, 'x');
            bob.send(ann.node->id(), text);
        }
    });
    int expected = 0;
    for (; expected < count; ++expected) {
        const auto message = ann.node->inbox().receive_for(patience);
        if (!message || number_of(*message) != expected) break;
    }
    over = true;
    CHECK(expected == count);
    sender.join();
    cutter.join();
    CHECK(bob.stats().sessions_resumed > 0);
}

TEST_CASE("secret: who has another one, or names another cluster, is refused, and told so on both sides") {
    Lines lines;
    Node ann(logged(private_options(), lines));
    Node bob(private_options(theirs));
    CHECK(add_error(bob, ann.address().to_string()) == errc::wrong_secret);
    CHECK(lines.wait_for("secret_refused why=unknown_key"));
    Options elsewhere = private_options();
    elsewhere.cluster = "elsewhere";
    Node cid(elsewhere);
    CHECK(add_error(cid, ann.address().to_string()) == errc::wrong_secret);
    CHECK(ann.peers().empty());
}

TEST_CASE("secret: a node without one is refused by a private node, and told so on both sides") {
    Lines lines;
    Node ann(logged(private_options(), lines));
    Node bob(eager());
    CHECK(add_error(bob, ann.address().to_string()) == errc::secret_required);
    CHECK(lines.wait_for("secret_refused why=plain_text"));
    CHECK(ann.peers().empty());
}

TEST_CASE("secret: a private node does not talk to one without, and both say what is wrong") {
    Lines lines;
    Node ann(logged(eager(), lines));
    Node bob(private_options());
    CHECK(add_error(bob, ann.address().to_string()) == errc::not_private);
    CHECK(lines.wait_for("rule=encrypted"));
    CHECK(bob.peers().empty());
}

/// A server with a certificate that it has made itself, and no secret. It lets everybody finish the handshake.
class Impostor {
public:
    Impostor() {
        const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
        const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
        X509_set_version(certificate.get(), 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
        X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
        X509_set_pubkey(certificate.get(), key.get());
        const std::array<unsigned char, 4> name{'n', 'o', 'd', 'e'};
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC, name.data(), 4, -1, 0);
        X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
        REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
        REQUIRE(SSL_CTX_use_certificate(context_.get(), certificate.get()) == 1);
        REQUIRE(SSL_CTX_use_PrivateKey(context_.get(), key.get()) == 1);
    }
    const Address& address() const { return server_.address(); }
    Events<std::pair<bool, std::string>>& met() { return met_; }

private:
    /// Whether the handshake was finished, and what came after it.
    void serve(const Socket& socket) {
        const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context_.get()), SSL_free);
        SSL_set_fd(ssl.get(), socket.file());
        const bool finished = SSL_accept(ssl.get()) == 1;
        std::string came(4096, '\0');
        const int count = finished ? SSL_read(ssl.get(), came.data(), static_cast<int>(came.size())) : 0;
        came.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        met_.put({finished, came});
    }

    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
    Events<std::pair<bool, std::string>> met_;
    Server server_{[this](Socket socket) { serve(socket); }};
};

TEST_CASE("secret: who shows a certificate in place of the secret is believed nothing and told nothing") {
    Impostor impostor;
    Node ann(private_options());
    CHECK(add_error(ann, impostor.address().to_string()) == errc::wrong_secret);
    const auto met = impostor.met().take();
    REQUIRE(met.has_value());
    CHECK_FALSE(met->first);
    CHECK(met->second.empty());
    CHECK(ann.peers().empty());
}

/// A client of TLS that is not ours, and dials with whatever it is given. How its handshake ends.
struct Stranger {
    std::string id;   ///< empty: it offers no key
    std::string key;  ///< 32 bytes
    int version = TLS1_3_VERSION;

    /// What OpenSSL calls the alert or the error.
    std::string meet(const Address& to) const {
        const Socket socket;
        REQUIRE(socket.connect(to));
        const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
        SSL_CTX_set_max_proto_version(context.get(), version);
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256");
        if (!id.empty()) SSL_CTX_set_psk_use_session_callback(context.get(), offer);
        const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
        SSL_set_ex_data(ssl.get(), slot(), const_cast<Stranger*>(this));
        SSL_set_fd(ssl.get(), socket.file());
        ERR_clear_error();
        if (SSL_connect(ssl.get()) == 1) return "let in";
        const char* const reason = ERR_reason_error_string(ERR_peek_error());
        return reason == nullptr ? "closed" : reason;
    }

private:
    static int slot() {
        static const int made = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
        return made;
    }
    static int offer(SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
        const Stranger& self = *static_cast<const Stranger*>(SSL_get_ex_data(ssl, slot()));
        const std::array<unsigned char, 2> suite{0x13, 0x01};
        *id = reinterpret_cast<const unsigned char*>(self.id.data());
        *size = self.id.size();
        *session = SSL_SESSION_new();
        SSL_SESSION_set1_master_key(*session, reinterpret_cast<const unsigned char*>(self.key.data()), self.key.size());
        SSL_SESSION_set_cipher(*session, SSL_CIPHER_find(ssl, suite.data()));
        SSL_SESSION_set_protocol_version(*session, TLS1_3_VERSION);
        return 1;
    }
};

TEST_CASE("secret: a stranger's TLS is refused with or without a key, and does not learn which keys there are") {
    Lines lines;
    Node ann(logged(private_options(), lines));
    const net::TlsKey key = net::derive_key(ours, "cluster");
    const std::string id(key.id.begin(), key.id.end());
    const std::string bytes(key.bytes.begin(), key.bytes.end());
    CHECK(Stranger{id, bytes}.meet(ann.address()) == "let in");
    const std::string known = Stranger{id, std::string(32, 'x')}.meet(ann.address());
    CHECK(known == "sslv3 alert illegal parameter");
    CHECK(lines.wait_for("secret_refused why=wrong_key"));
    CHECK(Stranger{"nobody's", std::string(32, 'x')}.meet(ann.address()) == known);
    CHECK(lines.wait_for("secret_refused why=unknown_key"));
    CHECK(Stranger{{}, {}}.meet(ann.address()) != "let in");
    CHECK(lines.wait_for("secret_refused why=\"no suitable signature algorithm\""));
    CHECK(Stranger{{}, {}, TLS1_2_VERSION}.meet(ann.address()) != "let in");
    CHECK(lines.wait_for("secret_refused why=\"unsupported protocol\""));
    CHECK(ann.peers().empty());
}

/// Replies with what it is sent.
class Echo final : public Service {
    void on_message(Context& context, std::span<const std::byte> message) override { context.reply(message); }
};

TEST_CASE("secret: a client of a service in a private cluster needs one, which may be of guests and may change") {
    const storage::support::Folder folder;
    Options options = private_options();
    options.guest_secrets = {theirs};
    options.name = "ann";
    Node ann(options);
    Echo echo;
    ReplicaOptions replica_options;
    replica_options.directory = folder / "data";
    replica_options.voters = {"ann"};
    const Replica replica(ann, echo, replica_options);
    ClientOptions client_options;
    client_options.addresses = {ann.address().to_string()};
    client_options.secret = theirs;
    client_options.log = quick().log;
    Client client(client_options);
    CHECK(client.call("with the secret of guests", patience).text() == "with the secret of guests");
    client.set_secret(third);
    ann.set_guest_secrets({third}, WithdrawnLinks::drop);
    ann.set_secrets({ours});  // those of guests stay
    CHECK(client.call("with another one", patience).text() == "with another one");
    CHECK(client.status().phase == ClientStatus::Phase::open);

    client_options.secret = {};
    client_options.give_up_after = 200ms;
    Client without(client_options);
    CHECK_FALSE(without.wait_until_open(patience));
    CHECK(without.status().error == errc::no_leader);
    CHECK(without.status().why.find(make_error_code(errc::secret_required).message()) != std::string::npos);
    Client inside(ann);
    CHECK(inside.call("from inside", patience).text() == "from inside");
    CHECK_THROWS_WITH_AS(inside.set_secret(third), doctest::Contains("inside of a node"), std::system_error);
}

TEST_CASE("secret: what is no node is not taken for one") {
    const Server web([](Socket socket) { socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"); });
    const Server gone([](Socket) {});
    Node ann(private_options());
    CHECK(add_error(ann, web.address().to_string()) == errc::not_a_cluster_node);
    CHECK(add_error(ann, gone.address().to_string()) == errc::connection_lost);
}

TEST_CASE("secret: a handshake that is led back to its own node ends there") {
    Proxy mirror;
    Node ann(private_options());
    mirror.lead_to(ann.address());
    CHECK(add_error(ann, mirror.address().to_string()) == errc::self);
    CHECK(ann.peers().empty());
}

TEST_CASE("secret: it is changed while nodes run, step by step, and links may stay or be dropped") {
    Node ann(private_options(ours));
    Node bob(private_options(ours));
    bob.add(ann.address());
    for (Node* each : {&ann, &bob}) each->set_secrets({ours, theirs});
    for (Node* each : {&ann, &bob}) each->set_secrets({theirs, ours});
    Node cid(private_options(ours));
    CHECK(cid.add(ann.address()).id == ann.id());
    cid.close();
    for (Node* each : {&ann, &bob}) each->set_secrets({theirs});
    // The link of before is as it was.
    ann.send(bob.id(), "over the old link");
    CHECK(next(bob) == "over the old link");
    CHECK(ann.stats().sessions_resumed == 0);
    ann.set_secrets({theirs}, WithdrawnLinks::drop);
    REQUIRE(wait_for([&] { return bob.stats().sessions_resumed == 1; }, patience));
    ann.send(bob.id(), "over a new one");
    CHECK(next(bob) == "over a new one");
    // What is dropped again has nothing to drop.
    ann.set_secrets({theirs}, WithdrawnLinks::drop);
    ann.send(bob.id(), "still there");
    CHECK(next(bob) == "still there");
    CHECK(ann.stats().sessions_resumed == 1);

    Node late(private_options(ours));
    CHECK(add_error(late, ann.address().to_string()) == errc::wrong_secret);
    Node dan(private_options(theirs));
    CHECK(dan.add(ann.address()).id == ann.id());
}

TEST_CASE("secret: three may live at once, and each node dials with its first") {
    Options options = private_options(ours);
    options.more_secrets = {theirs, third};
    Node ann(options);
    options.secret = theirs;
    options.more_secrets = {third, ours};
    Node bob(options);
    options.secret = third;
    options.more_secrets = {ours, theirs};
    Node cid(options);
    bob.add(ann.address());
    cid.add(bob.address());
    CHECK(ann.wait_for_peers(2, patience));
    CHECK(bob.wait_for_peers(2, patience));
    CHECK(cid.wait_for_peers(2, patience));
}

TEST_CASE("secret: secrets that are not to be used are refused when they are set, and the old ones stay") {
    Node ann(private_options());
    CHECK_THROWS_WITH_AS(ann.set_secrets({}), doctest::Contains("keeps at least one secret"), std::system_error);
    CHECK_THROWS_WITH_AS(ann.set_secrets({ours + "\n"}), doctest::Contains("line break"), std::system_error);
    CHECK_THROWS_WITH_AS(ann.set_guest_secrets({ours}), doctest::Contains("stands there"), std::system_error);
    Node bob(private_options());
    CHECK(bob.add(ann.address()).id == ann.id());
    Node plain(eager());
    CHECK_THROWS_WITH_AS(plain.set_secrets({ours}), doctest::Contains("cannot become private"), std::system_error);
}

TEST_CASE("secret: guests may have one of their own, which lets nobody in as a peer") {
    Lines lines;
    Options options = logged(private_options(), lines);
    options.guest_secrets = {theirs};
    Node ann(options);
    {
        const auto guest = detail::NodeState::start_guest(private_options(theirs));
        std::error_code error;
        CHECK(guest->add(ann.address(), error).id == ann.id());
        CHECK(!error);
        CHECK(wait_for([&] { return ann.stats().guests == 1; }, patience));
        // Its secret is withdrawn, and it goes.
        ann.set_guest_secrets({}, WithdrawnLinks::drop);
        CHECK(wait_for([&] { return guest->peers().empty() || guest->stats().links == 0; }, patience));
        ann.set_guest_secrets({theirs});
        const auto context = guest->shut_down();
    }
    Node bob(private_options(theirs));
    CHECK(add_error(bob, ann.address().to_string()) == errc::wrong_secret);
    CHECK(lines.wait_for("reason=secret"));
    CHECK(ann.peers().empty());
    const auto insider = detail::NodeState::start_guest(private_options(ours));
    std::error_code error;
    insider->add(ann.address(), error);
    CHECK(!error);
    const auto context = insider->shut_down();
}

TEST_CASE("secret: silence and half a handshake cost a handshake_timeout and nothing else") {
    Lines lines;
    Options options = logged(private_options(), lines);
    options.handshake_timeout = 100ms;
    options.attach_timeout = 20ms;
    Node ann(options);
    std::uint32_t host = INADDR_LOOPBACK + 1;
    for (const std::string_view begun : {std::string_view(), std::string_view("\x16\3\1\2\0\1\0\1\xfc\3\3", 11)}) {
        const auto before = std::chrono::steady_clock::now();
        const Socket stranger;
        stranger.bind(host++);  // the same of one host is counted
        REQUIRE(stranger.connect(ann.address()));
        stranger.write(begun);
        CHECK(stranger.closed_by_other());
        CHECK(std::chrono::steady_clock::now() - before >= 100ms);
        CHECK(lines.wait_for("handshake_timeout"));
    }
    // The same after a handshake of TLS that is complete: the time goes on.
    Outsider outsider(ann.address(), ours);
    CHECK(!outsider.error());
    CHECK(outsider.closed_by_other());
    CHECK(ann.stats().links == 0);
}

TEST_CASE("secret: whoever is dialled and is silent costs the dialler its connect_timeout") {
    std::vector<Socket> held;
    const Server silent([&](Socket socket) { held.push_back(std::move(socket)); });
    Options options = private_options();
    options.connect_timeout = 100ms;
    Node ann(options);
    CHECK(add_error(ann, silent.address().to_string()) == errc::timed_out);
    CHECK(wait_for([&] { return ann.stats().links == 0; }, patience));
}

TEST_CASE("secret: unfinished handshakes are limited, and keep no node with the secret out") {
    Options options = private_options();
    options.max_peers = 4;
    Node ann(options);
    std::vector<Socket> silent(200);
    for (Socket& each : silent) REQUIRE(each.connect(ann.address()));
    Node bob(private_options());
    CHECK(bob.add(ann.address()).id == ann.id());
    CHECK(ann.stats().links <= 4 + 64 + 4);
}

TEST_CASE("secret: whoever knows it and then breaks a rule is disconnected like anybody else") {
    Lines lines;
    Node ann(logged(private_options(), lines));
    Node bob(private_options());
    bob.add(ann.address());
    {
        Outsider outsider(ann.address(), ours);
        outsider.write("this is no frame of the protocol, though it is long enough to be one");
        CHECK(outsider.closed_by_other());
        CHECK(lines.wait_for("protocol_error"));
    }
    {
        Outsider outsider(ann.address(), ours);
        CHECK(outsider.socket().write("no record of TLS, either"));
        CHECK(outsider.closed_by_other());
        CHECK(lines.wait_for("tls_broken"));
    }
    {
        const Outsider outsider(ann.address(), ours);
        ::shutdown(outsider.socket().file(), SHUT_WR);
        CHECK(lines.wait_for("why=no_hello"));
    }
    bob.send(ann.id(), "still there");
    CHECK(next(ann) == "still there");
    CHECK(ann.stats().links_lost == 0);
}

TEST_CASE("secret: nodes leave a private cluster gracefully") {
    Node ann(private_options());
    Node bob(private_options());
    bob.add(ann.address());
    Events<RemovalReason> removed;
    const Subscription subscription = ann.on_peer_removed([&](const Peer&, RemovalReason why) { removed.put(why); });
    for (int i = 0; i < 100; ++i) bob.send(ann.id(), std::string(1000, 'x'));
    const Unacknowledged left = bob.close();
    CHECK(left.messages == 0);
    CHECK(removed.take() == RemovalReason::left);
}

TEST_CASE("secret: a node without one says so once when other machines can reach it, and what to do") {
    const auto lines_of = [](Options options) {
        auto warnings = std::make_shared<Events<std::string>>();
        options.log = [warnings](LogLevel level, std::string_view text) {
            if (level >= LogLevel::warning) warnings->put(std::string(text));
        };
        { const Node node(options); }
        std::size_t count = 0;
        while (const auto line = warnings->take(0ms)) {
            if (line->starts_with("listens_without_secret")) ++count;
            if (count != 0) CHECK(line->find("cluster::make_secret()") != std::string::npos);
        }
        return count;
    };
    Options options = quick();
    CHECK(lines_of(options) == 0);
    options.listen = "0.0.0.0:0";
    CHECK(lines_of(options) == 1);
    options.secret = ours;
    CHECK(lines_of(options) == 0);
}

TEST_CASE("secret: options that contradict each other are refused, and say what to do") {
    const auto refusal = [](Options options) -> std::string {
        try {
            const Node node(options);
        } catch (const std::system_error& error) {
            CHECK(error.code() == errc::invalid_options);
            return error.what();
        }
        return "accepted";
    };
    Options options = quick();
    options.more_secrets = {ours};
    CHECK(refusal(options).find("more_secrets needs a secret in secret") != std::string::npos);
    options.more_secrets = {};
    options.guest_secrets = {ours};
    CHECK(refusal(options).find("guest_secrets needs a secret in secret") != std::string::npos);
    options.secret = ours;
    CHECK(refusal(options).find("stands there or in another option") != std::string::npos);
    options.secret = "password";
    CHECK(refusal(options).find("openssl rand -hex 16") != std::string::npos);
    ClientOptions client;
    client.addresses = {"127.0.0.1:1"};
    client.secret = "password";
    CHECK_THROWS_WITH_AS(Client{client}, doctest::Contains("ClientOptions::secret has 8 bytes"), std::system_error);
}

}  // namespace cluster::secrets_test
