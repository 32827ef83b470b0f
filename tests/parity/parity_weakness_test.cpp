#include "net/support.hpp"

#include "core/frame.hpp"
#include "wire/codec.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <sys/resource.h>
#include <vector>

// What strangers, bad addresses and want did to BurntSushi/cluster, done to nodes of this library.

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

core::Hello hello_of(const PeerId& id) {
    core::Hello hello;
    hello.cluster = "cluster";
    hello.max_message = 1 << 20;
    hello.resume_for_ms = 1000;
    hello.self.id = id;
    hello.self.version = 1;
    hello.self.name = "stranger";
    return hello;
}

void append(std::vector<std::byte>& bytes, const core::Control& frame) {
    wire::encode(frame, bytes);
}

std::vector<std::byte> header_of(std::uint32_t length, core::FrameKind kind) {
    std::vector<std::byte> bytes(core::FrameHeader::size);
    core::FrameHeader{length, kind, 0, 0}.write(bytes.data());
    return bytes;
}

/// Listens, has a full queue and never accepts: who dials it hears nothing at all.
class BlackHole {
public:
    BlackHole() {
        socket_.listen(0);
        filler_.connect(address_);
    }
    const Address& address() const { return address_; }

private:
    Socket socket_;
    Address address_ = socket_.bind();
    Socket filler_;
};

bool passes(Node& from, Node& to, const std::string& text) {
    from.send(to.id(), text);
    const auto message = to.inbox().receive_for(patience);
    return message && message->text() == text;
}

}  // namespace

TEST_CASE("parity: an announced length takes no memory, neither of a stranger nor of what it may announce") {
    Node ann(quick());
    Node bob(quick());
    ann.add(bob.address());
    const std::uint64_t before = process_bytes("VmData");
    PeerId id;
    id.bytes.fill(0x77);
    std::vector<std::byte> hello;
    append(hello, hello_of(id));
    std::vector<Socket> strangers(40);
    for (std::size_t i = 0; i < strangers.size(); ++i) {
        REQUIRE(strangers[i].connect(bob.address()));
        std::vector<std::byte> bytes;
        if (i % 4 == 1) bytes = hello;
        const std::uint32_t length = i % 4 == 2 ? core::max_hello_body : 1u << 30u;
        const std::vector<std::byte> announced = header_of(length, core::FrameKind::data);
        bytes.insert(bytes.end(), announced.begin(), announced.end());
        if (i % 4 == 3) bytes.resize(5);
        strangers[i].write(bytes);
        if (i % 4 < 2) CHECK(strangers[i].closed_by_other());
    }
    CHECK(process_bytes("VmData") < before + (std::uint64_t{64} << 20));
    CHECK(passes(ann, bob, "as before"));
}

TEST_CASE("parity: of connections beyond the limit the oldest are closed at once, and the peers stay") {
    Options options = narrow();
    Lines lines;
    Node ann(options);
    options.log = lines.sink();
    Node bob(options);
    ann.add(bob.address());
    const std::size_t most = options.max_peers + 64;
    std::vector<Socket> strangers(3 * most);
    for (const Socket& stranger : strangers) REQUIRE(stranger.connect(bob.address()));
    CHECK(lines.wait_for("link_rejected"));
    CHECK(strangers.front().closed_by_other());
    CHECK(bob.stats().links <= most);
    CHECK(passes(ann, bob, "as before"));
    Node newcomer(narrow());
    CHECK(newcomer.add(bob.address()).id == bob.id());
    strangers.clear();
    REQUIRE(wait_for([&] { return bob.stats().links <= 2; }, patience));
    Node eve(narrow());
    CHECK(eve.add(bob.address()).id == bob.id());
}

TEST_CASE("parity: who runs out of descriptors stays a member, sends and receives, and accepts again afterwards") {
    if (std::string_view(CLUSTER_SANITIZE).find("undefined") != std::string_view::npos) {
        MESSAGE("skipped: this sanitizer needs descriptors to look at memory");
        return;
    }
    Options options = quick();
    Lines lines;
    Node ann(options);
    Node eve(options);
    options.log = lines.sink();
    Node bob(options);
    ann.add(bob.address());
    REQUIRE(wait_for_dial_back(ann, bob));
    Events<RemovalReason> removed;
    const Subscription by_ann = ann.on_peer_removed([&](const Peer&, RemovalReason reason) { removed.put(reason); });
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    Socket first;
    rlimit none = before;
    {
        const Socket next_free;
        none.rlim_cur = static_cast<rlim_t>(next_free.file());
    }
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const bool connected = first.connect(bob.address());
    const bool warned = lines.wait_for("accept_failed");
    bool delivered = true;
    for (int i = 0; i < 740 && delivered; ++i) {
        delivered = passes(ann, bob, std::to_string(i)) && passes(bob, ann, std::to_string(i));
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(connected);
    CHECK(warned);
    CHECK(delivered);
    CHECK(removed.size() == 0);
    CHECK(eve.add(bob.address()).id == bob.id());
    CHECK(passes(eve, bob, "from a newcomer"));
}

TEST_CASE("parity: nobody who merely listens becomes a member, neither added nor named in a list") {
    const Server mute([](const Socket& socket) { socket.read(1); });
    const Server mirror([](const Socket& socket) { socket.write(socket.read()); });
    Options options = quick();
    options.handshake_timeout = 200ms;
    options.attach_timeout = 50ms;
    Node ann(options);
    CHECK(add_error(ann, mute.address().to_string()) == errc::not_a_cluster_node);
    CHECK(add_error(ann, mirror.address().to_string()) == errc::self);
    CHECK(ann.peers().empty());

    // A member whose published address leads elsewhere: the others dial that, and find nobody there.
    Options lying = options;
    lying.advertise = {mirror.address().to_string()};
    Node eve(lying);
    eve.add(ann.address());
    Node bob(options);
    bob.add(ann.address());
    CHECK(bob.wait_for_peers(2, patience));  // eve comes by herself
    CHECK(bob.peer(eve.id()).has_value());
    CHECK(ann.peers().size() == 2);
    CHECK(bob.peers().size() == 2);
    CHECK(passes(bob, eve, "to the true one"));
}

TEST_CASE("parity: an address that never answers, in a list or as a seed, delays nobody") {
    const BlackHole hole;
    Options options = quick();
    options.connect_timeout = 3 * patience;
    options.seeds = {hole.address().to_string()};
    Node ann(options);
    Options unreachable = options;
    unreachable.advertise = {hole.address().to_string()};
    Node eve(unreachable);
    eve.add(ann.address());
    const auto begun = std::chrono::steady_clock::now();
    Node bob(options);
    CHECK(bob.add(ann.address()).id == ann.id());
    CHECK(bob.wait_for_peers(2, patience));
    for (int i = 0; i < 100; ++i) REQUIRE(passes(ann, bob, std::to_string(i)));
    CHECK(ann.stats().dials > 0);
    ann.close();
    CHECK(std::chrono::steady_clock::now() - begun < patience);
}
