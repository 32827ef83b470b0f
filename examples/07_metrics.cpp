// What a node tells about itself: figures for a dashboard, and a line for each event.

#include <cluster/cluster.hpp>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>

bool right = true;

void check(bool holds, std::string_view what) {
    std::cout << (holds ? "right: " : "WRONG: ") << what << '\n';
    right = right && holds;
}

int main() {
    std::mutex mutex;
    std::string log;
    const auto write = [&](cluster::LogLevel, std::string_view line) {  // called by threads of the node: be quick
        const std::lock_guard guard(mutex);
        log += std::string(line) + '\n';  // a line reads: event key=value ...
    };
    cluster::Node ann({.name = "ann", .log = write});
    cluster::Node bob({.name = "bob"});
    ann.add(bob.address());
    for (int i = 0; i < 1'000; ++i) ann.broadcast(std::string(100, '.'));
    for (int i = 0; i < 1'000; ++i) bob.inbox().receive();

    const cluster::Stats sent = ann.stats(), received = bob.stats();  // plain structs
    const std::string text = to_prometheus(sent);  // what your HTTP server answers, as text/plain; version=0.0.4
    bob.close();
    ann.close();  // what happened has been logged by now
    const std::lock_guard lock(mutex);
    std::cout << text << '\n' << log << '\n';

    const std::string id = bob.id().to_string();
    check(sent.messages_sent == 1'000 && received.messages_received == 1'000, "1000 messages were sent and received");
    check(sent.by_peer.at(0).bytes_sent == received.by_peer.at(0).bytes_received, "so were their bytes");
    check(sent.by_peer.at(0).bytes_sent > 100'000, "which are counted with the headers of their frames");
    check(received.inbox_bytes == 0, "none of them waits in the inbox");
    check(text.find("\ncluster_messages_sent_total 1000\n") != std::string::npos, "the text says so, too");
    const std::size_t came = log.find("peer_added peer=" + id);
    check(log.find("peer_left peer=" + id, came) != std::string::npos, "the log tells that bob came and left");
    return right ? 0 : 1;
}
