#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// A load balancer: each connection goes to the next of those behind it.
class Balancer {
public:
    explicit Balancer(std::vector<Address> behind)
        : behind_(std::move(behind)), server_([this](Socket from) { accepted(std::move(from)); }) {}
    ~Balancer() {
        cut();
        for (std::thread& thread : threads_) thread.join();
    }
    const Address& address() const { return server_.address(); }
    /// Breaks all connections that go through here. How many there were.
    std::size_t cut() {
        const std::lock_guard lock(mutex_);
        std::size_t count = 0;
        for (const auto& pair : pairs_) {
            if (pair->open.exchange(false)) ++count;
            pair->near.shut_down();
            pair->far.shut_down();
        }
        return count;
    }

private:
    struct Pair {
        Socket near;
        Socket far;
        std::atomic<bool> open{true};
    };

    void accepted(Socket from) {
        const std::lock_guard lock(mutex_);
        auto pair = std::make_shared<Pair>();
        pair->near = std::move(from);
        if (!pair->far.connect(behind_[next_++ % behind_.size()])) return;
        pairs_.push_back(pair);
        threads_.emplace_back([pair] { pump(*pair, pair->near, pair->far); });
        threads_.emplace_back([pair] { pump(*pair, pair->far, pair->near); });
    }
    static void pump(Pair& pair, const Socket& from, const Socket& to) {
        std::vector<std::byte> bytes(65536);
        for (;;) {
            const ssize_t count = ::recv(from.file(), bytes.data(), bytes.size(), 0);
            if (count <= 0 || !to.write({bytes.data(), static_cast<std::size_t>(count)})) break;
        }
        ::shutdown(to.file(), SHUT_WR);
        pair.open = false;
    }

    std::mutex mutex_;
    std::vector<Address> behind_;
    std::size_t next_ = 0;
    std::vector<std::shared_ptr<Pair>> pairs_;
    std::vector<std::thread> threads_;
    Server server_;  // its thread uses what stands above
};

}  // namespace

TEST_CASE("seeds: nodes that know one load balancer alone become one mesh, and none is failed when links break") {
    std::vector<Address> places;
    while (places.size() < 5) {
        const Address place = free_address();
        if (std::find(places.begin(), places.end(), place) == places.end()) places.push_back(place);
    }
    std::atomic<int> failed = 0;
    Balancer balancer(places);
    std::vector<std::unique_ptr<Node>> nodes;
    for (const Address& place : places) {
        Options options = quick();
        options.listen = place.to_string();
        options.seeds = {balancer.address().to_string()};
        options.reconnect_max = 1s;
        nodes.push_back(std::make_unique<Node>(options));
    }
    std::vector<Subscription> subscriptions;
    for (const auto& node : nodes) {
        CHECK(node->wait_for_peers(places.size() - 1, patience));
        subscriptions.push_back(node->on_peer_removed([&](const Peer&, RemovalReason why) {
            if (why == RemovalReason::failed || why == RemovalReason::unreachable) ++failed;
        }));
    }
    std::size_t broken = 0;
    for (int i = 0; i < 10; ++i) {
        broken += balancer.cut();
        for (const auto& node : nodes) {
            const bool well = wait_for(
                [&] {
                    const std::vector<Peer> peers = node->peers();
                    return peers.size() == places.size() - 1 &&
                           std::all_of(peers.begin(), peers.end(),
                                       [](const Peer& peer) { return peer.state == PeerState::alive; });
                },
                patience);
            CHECK(well);
        }
    }
    CHECK(broken > 0);
    CHECK(failed == 0);
}

TEST_CASE("seeds: who joined by add finds the one that was added again when that has left and started anew") {
    const Address place = free_address();
    Options options = eager();
    options.listen = place.to_string();
    auto first = std::make_unique<Node>(options);
    Node bob(eager());
    Node eve(eager());
    bob.add(place);
    eve.add(place);
    REQUIRE(bob.wait_for_peers(2, patience));
    REQUIRE(eve.wait_for_peers(2, patience));
    first->close();
    REQUIRE(wait_for([&] { return bob.peers().size() == 1 && eve.peers().size() == 1; }, patience));
    first.reset();  // and with it the socket that listens
    first = std::make_unique<Node>(options);
    CHECK(first->wait_for_peers(2, patience));
    CHECK(bob.wait_for_peers(2, patience));
    CHECK(eve.wait_for_peers(2, patience));
}
