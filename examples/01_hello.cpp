// Two nodes in one process: one added address links them, and a message arrives.

#include <cluster/cluster.hpp>
#include <iostream>

int main() {
    cluster::Node ann("127.0.0.1:0");            // port 0: the system picks one
    cluster::Node bob("127.0.0.1:0");

    ann.add(bob.address());                      // returns once bob is a peer, or throws std::system_error
    ann.broadcast("Hello, world!");

    for (const cluster::Message& message : bob.inbox()) {   // ends when bob is closed
        std::cout << message.from() << ": " << message.text() << '\n';
        bob.close();                                        // leaves gracefully
    }
}
