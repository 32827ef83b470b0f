// Who offers what: a member with data, a watch that hears of its changes, and a ring that says whose a key is.

#include <cluster/cluster.hpp>

#include <chrono>
#include <iostream>
#include <string_view>

using namespace std::chrono_literals;

/// Reads the watch until it tells of this.
bool hears(cluster::MemberWatch& watch, cluster::MemberEvent event, std::string_view data) {
    while (const auto update = watch.next_for(30s)) {
        for (const cluster::MemberChange& change : update->changes) {
            std::cout << to_string(change.event) << ": " << change.member.text() << '\n';
            if (change.event == event && change.member.text() == data) return true;
        }
    }
    return false;
}

int main() {
    cluster::Node ann("127.0.0.1:0");
    cluster::Node bob("127.0.0.1:0");
    ann.add(bob.address());
    cluster::MemberWatch watch = ann.members().watch();

    cluster::Membership worker = bob.create_membership();        // withdrawn and invisible
    worker.set_data("load=0.3");
    worker.enroll(cluster::seen_by::all_peers, 30s);             // when it returns, ann shows it, too
    bool right = hears(watch, cluster::MemberEvent::joined, "load=0.3");

    const cluster::Ring ring(ann.members().snapshot());          // the same on every node
    right &= ring.owner("user-42") == worker.id() && ring.owner_node("user-42") == bob.id();

    worker.set_data("load=0.9");
    right &= hears(watch, cluster::MemberEvent::updated, "load=0.9");
    worker.withdraw();
    right &= hears(watch, cluster::MemberEvent::left, "load=0.9");
    worker.enroll();                                             // the same id again
    right &= hears(watch, cluster::MemberEvent::joined, "load=0.9");
    bob.close();                                                 // its members leave with it
    right &= hears(watch, cluster::MemberEvent::left, "load=0.9");
    std::cout << (right ? "right\n" : "WRONG\n");
    return right ? 0 : 1;
}
