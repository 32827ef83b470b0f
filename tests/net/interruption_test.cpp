#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <csignal>
#include <memory>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

TEST_CASE("interruption: a link cut in mid-stream is resumed, and nothing is lost, doubled or out of order") {
    Reached ann(eager());
    Reached bob(eager());
    ann.node->add(bob.node->address());
    Events<RemovalReason> removals;
    const Subscription subscription =
        ann.node->on_peer_removed([&](const Peer&, RemovalReason reason) { removals.put(reason); });

    constexpr int messages = 60000;
    std::jthread sender([&] {
        for (int i = 0; i < messages; ++i) {
            ann.node->broadcast(std::to_string(i) + (i % 100 == 0 ? std::string(100000, 'x') : std::string(50, 'y')));
        }
    });
    std::size_t cuts = 0;
    for (int i = 0; i < messages; ++i) {
        const auto message = bob.node->inbox().receive_for(patience);
        REQUIRE(message.has_value());
        REQUIRE(std::stoi(std::string(message->text())) == i);
        if (i % 5000 == 2500) cuts += ann.proxy.cut();
        if (i % 5000 == 4999) cuts += bob.proxy.cut();
    }
    sender.join();
    CHECK(cuts >= 5);
    CHECK(ann.node->stats().sessions_resumed >= 5);
    CHECK(ann.node->stats().messages_given_up == 0);
    CHECK(removals.size() == 0);
    CHECK_FALSE(ann.node->close());
}

TEST_CASE("interruption: a long message is finished over another link") {
    Reached ann(eager());
    Reached bob(eager());
    ann.node->add(bob.node->address());
    const std::string payload(16u << 20u, 'x');
    std::jthread sender([&] { ann.node->broadcast(payload); });
    for (const std::uint64_t amount : {1u << 20u, 5u << 20u}) {
        REQUIRE(wait_for([&] { return bob.proxy.forwarded() + ann.proxy.forwarded() >= amount; }, patience));
        ann.proxy.cut();
        bob.proxy.cut();
    }
    const auto message = bob.node->inbox().receive_for(patience);
    REQUIRE(message.has_value());
    CHECK((message->text() == payload));
    CHECK(bob.node->stats().sessions_resumed >= 1);
}

TEST_CASE("interruption: a process that is killed is out of view at once, and a new one at its place is another peer") {
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    // The child is made before this process has threads of its own.
    const auto start = [&](const std::string& listen) {
        const pid_t child = ::fork();
        if (child != 0) return child;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever becomes of the test
        Options options = quick();
        options.listen = listen;
        const Node node(options);
        const std::string text = node.address().to_string() + "\n";
        if (::write(pipe[1], text.data(), text.size()) < 0) ::_exit(1);
        for (;;) ::pause();
    };
    const auto read_address = [&] {
        std::string text;
        for (char c = 0; ::read(pipe[0], &c, 1) == 1 && c != '\n';) text += c;
        return text;
    };
    const pid_t first = start("127.0.0.1:0");
    const std::string address = read_address();
    const pid_t second = start("127.0.0.1:0");
    const std::string other = read_address();

    Node ann(quick());
    Events<std::pair<PeerId, RemovalReason>> removed;
    const Subscription subscription = ann.on_peer_removed(
        [&](const Peer& peer, RemovalReason reason) { removed.put({peer.id, reason}); });
    const PeerId id = ann.add(address).id;
    ::kill(first, SIGKILL);
    ::waitpid(first, nullptr, 0);
    const auto gone = removed.take();
    CHECK(gone == std::make_pair(id, RemovalReason::failed));
    CHECK(ann.add(other).id != id);
    ::kill(second, SIGKILL);
    ::waitpid(second, nullptr, 0);
    ::close(pipe[0]);
    ::close(pipe[1]);
}
