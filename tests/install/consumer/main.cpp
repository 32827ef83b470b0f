#include <cluster/cluster.hpp>

#include <chrono>
#include <future>
#include <system_error>

int main() {
    cluster::Node ann("127.0.0.1:0");
    cluster::Node bob({.listen = "127.0.0.1:0", .name = "bob", .tags = {{"role", "worker"}}});

    // Containers, functions and exceptions of the standard library pass between this program and the library.
    std::promise<cluster::Peer> added;
    const auto subscription = ann.on_peer_added([&](const cluster::Peer& peer) { added.set_value(peer); });
    try {
        ann.add("no address");
        return 1;
    } catch (const std::system_error& error) {
        if (error.code() != cluster::errc::invalid_address) return 2;
    }

    if (ann.add(bob.address()).id != bob.id()) return 3;
    if (ann.peers().size() != 1) return 4;
    std::future<cluster::Peer> peer = added.get_future();
    if (peer.wait_for(std::chrono::seconds(20)) != std::future_status::ready) return 5;
    if (peer.get().tags != cluster::Tags{{"role", "worker"}}) return 6;
    if (ann.broadcast("Hello, world!") != 1) return 7;

    int received = 0;
    for (const cluster::Message& message : bob.inbox()) {
        if (message.from() != ann.id() || message.text() != "Hello, world!") return 8;
        ++received;
        bob.close();
    }
    return received == 1 ? 0 : 9;
}
