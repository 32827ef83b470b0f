// All processes stop, and find each other again although nobody names a seed: each remembers its peers in a file.

#include <cluster/cluster.hpp>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>
#include <unistd.h>

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// What stays when a process ends: its name, where it listens, and the file in which it remembers its peers.
cluster::Options process(const std::string& name, const std::string& listen, const fs::path& folder) {
    auto options = cluster::Options::local();
    options.name = name;
    options.listen = listen;
    options.peers_file = folder / name;  // one for each
    return options;
}

int main() {
    const fs::path folder = fs::temp_directory_path() / ("cluster-restarts-" + std::to_string(getpid()));
    fs::create_directory(folder);  // it has to exist

    std::string ann_listens = "127.0.0.2:0", bob_listens = "127.0.0.3:0";
    cluster::PeerId former;
    {
        cluster::Node ann(process("ann", ann_listens, folder));
        cluster::Node bob(process("bob", bob_listens, folder));
        ann.add(bob.address());
        ann_listens = ann.address().to_string();  // to be found again, they listen where they did
        bob_listens = bob.address().to_string();
        former = bob.id();
    }  // both leave

    bool right = false;
    {
        cluster::Node ann(process("ann", ann_listens, folder));
        cluster::Node bob(process("bob", bob_listens, folder));
        if (ann.wait_for_peers(1, 30s) && bob.wait_for_peers(1, 30s)) {
            const cluster::Peer peer = ann.peers().front();
            std::cout << peer.name << " is back, as " << peer.id << "; it was " << former << '\n';
            right = peer.name == "bob" && peer.id == bob.id() && peer.id != former;
        }
    }
    std::error_code error;
    fs::remove_all(folder, error);
    return right ? 0 : 1;
}
