// Shared state without a server: who joins late is told by each member what that member has said so far.

#include <algorithm>
#include <cluster/cluster.hpp>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <thread>

// A newcomer is sent "=everything" when it comes into view. What is said before that is in it, and what is said after
// follows it as "+more": a broadcast goes to all in view, and the messages of one sender arrive in their order.
struct Member {
    cluster::Node node{"127.0.0.1:0"};
    std::map<cluster::PeerId, std::string> heard;  // from each of the others
    std::string said;                              // by this one
    std::mutex mutex;                              // makes "say it and remember it" one step
    cluster::Subscription added = node.on_peer_added([this](const cluster::Peer& peer) {
        const std::lock_guard lock(mutex);
        std::error_code gone;  // it may have left again
        node.send(peer.id, "=" + said, gone);
    });

    void say(const std::string& words) {
        const std::lock_guard lock(mutex);
        said += words;
        node.broadcast("+" + words);
    }

    void hear_all() {  // until each of the two others has come to an end
        const auto ended = [](const auto& each) { return each.second.ends_with('.'); };
        for (const cluster::Message& message : node.inbox()) {
            const std::string_view words = message.text().substr(1);
            const bool all = message.text().starts_with('=');
            if (all) heard[message.from()] = words;
            if (!all && heard.contains(message.from())) heard[message.from()] += words;  // else the "=" will have it
            if (std::ranges::count_if(heard, ended) == 2) break;
        }
        heard[node.id()] = said;
    }
};

int main() {
    Member ann, bob, cleo;
    ann.node.add(bob.node.address());
    bob.say("Bob spoke early.");
    std::thread speaker([&] {
        for (int i = 0; i < 200'000; ++i) ann.say(std::to_string(i) + " ");
        ann.say("and that was Ann.");
    });
    cleo.node.add(bob.node.address());  // one is enough, and Ann is in the middle of it
    cleo.say("Cleo came late.");
    speaker.join();

    for (Member* member : {&ann, &bob, &cleo}) member->hear_all();
    const bool same = ann.heard == bob.heard && bob.heard == cleo.heard;
    std::cout << (same ? "All three know the same.\n" : "They know different things.\n");
    return same ? 0 : 1;
}
