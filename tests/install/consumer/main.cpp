#include <cluster/cluster.hpp>

int main() {
    cluster::Node ann("127.0.0.1:0");
    cluster::Node bob("127.0.0.1:0");

    if (ann.add(bob.address()).id != bob.id()) return 1;
    if (ann.broadcast("Hello, world!") != 1) return 2;

    int received = 0;
    for (const cluster::Message& message : bob.inbox()) {
        if (message.from() != ann.id() || message.text() != "Hello, world!") return 3;
        ++received;
        bob.close();
    }
    return received == 1 ? 0 : 4;
}
