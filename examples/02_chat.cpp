// A chat over several terminals. The first one needs a name, the others also the address of any that is there:
//     example-02_chat ann
//     example-02_chat bob 127.0.0.1:40123
// Ctrl-D or Ctrl-C leaves. To chat between machines, add .listen = "0.0.0.0:0" to the options below.

#include <cluster/cluster.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <syncstream>
#include <thread>
#include <unistd.h>

void show(const std::string& line) {
    std::osyncstream(std::cout) << line << std::endl;  // in one piece, whichever thread it comes from
}

int main(int count, char** arguments) try {
    if (count != 2 && count != 3) throw std::invalid_argument("usage: example-02_chat NAME [ADDRESS]");
    const std::string name = arguments[1];
    const char* const terminal = ttyname(STDIN_FILENO);
    sigset_t endings;
    sigemptyset(&endings);
    sigaddset(&endings, SIGINT);
    sigaddset(&endings, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &endings, nullptr);  // before there is a node, whose threads inherit it

    cluster::Node node({.cluster = "chat", .name = name, .tags = {{"at", terminal ? terminal : "no terminal"}}});
    show("* " + name + " can be reached at " + node.address().to_string());
    const auto added = node.on_peer_added([](const cluster::Peer& peer) {
        show("* " + peer.name + " is here, at " + peer.tags.at("at"));
    });
    const auto removed = node.on_peer_removed([](const cluster::Peer& peer, cluster::RemovalReason why) {
        show("* " + peer.name + " is gone: " + std::string(to_string(why)));
    });
    if (count == 3) node.add(arguments[2]);  // that one tells of the others

    std::thread listener([&] {
        for (const cluster::Message& message : node.inbox()) show(std::string(message.text()));
    });
    std::thread([&] {
        std::error_code error;
        for (std::string line; std::getline(std::cin, line);) {
            if (node.broadcast(name + ": " + line, error) == 0) show("* nobody hears that");
        }
        kill(getpid(), SIGTERM);
    }).detach();

    int ending = 0;
    sigwait(&endings, &ending);
    node.close();     // waits until the others have what was said, then ends the inbox
    listener.join();
    std::_Exit(0);    // without waiting for the thread that waits for a line
} catch (const std::exception& exception) {
    std::cerr << exception.what() << '\n';
    return 1;
}
