#pragma once

#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <concepts>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

/// Three voters in this process, so that an example can check itself. `State` is a service, or has several and names
/// them with `services()`. Real ones run in three processes: see 12_replicated_counter.cpp.
template <class State>
class Voters {
public:
    struct Voter {
        std::string address;
        std::unique_ptr<State> state;
        std::unique_ptr<cluster::Node> node;
        std::unique_ptr<cluster::Replica> replica;  // closed before its node, which is closed before its state
    };

    Voters() {
        std::filesystem::create_directory(folder_);
        for (const char* name : {"ann", "bob", "eve"}) start(name);
    }
    ~Voters() {
        all.clear();
        std::filesystem::remove_all(folder_);
    }
    Voters(const Voters&) = delete;
    Voters& operator=(const Voters&) = delete;

    /// The same voter as before, if it was there: it has its directory and its address still.
    void start(const std::string& name) {
        auto options = cluster::Options::local();
        options.name = name;
        options.listen = all[name].address.empty() ? "127.0.0.1:0" : all[name].address;
        options.seeds = addresses();
        options.log = [](cluster::LogLevel, std::string_view) {};
        Voter& voter = all[name];
        voter.state = std::make_unique<State>();
        voter.node = std::make_unique<cluster::Node>(options);
        voter.address = voter.node->address().to_string();
        const cluster::ReplicaOptions part{.directory = folder_ / name, .voters = {"ann", "bob", "eve"}};
        if constexpr (std::derived_from<State, cluster::Service>) {
            voter.replica = std::make_unique<cluster::Replica>(*voter.node, *voter.state, part);
        } else {
            voter.replica = std::make_unique<cluster::Replica>(*voter.node, voter.state->services(), part);
        }
    }
    /// Takes the leader away, and says who it was. Its node goes first, so leadership is not handed over.
    std::string lose_leader() {
        std::string name;
        while (name.empty()) {
            for (auto& [each, voter] : all) {
                if (voter.replica && voter.replica->status().role == cluster::Role::leader) name = each;
            }
        }
        all[name].node->close();
        all[name].replica.reset(), all[name].node.reset();
        return name;
    }
    std::vector<std::string> addresses() const {
        std::vector<std::string> found;
        for (const auto& [name, voter] : all) {
            if (!voter.address.empty()) found.push_back(voter.address);
        }
        return found;
    }

    std::map<std::string, Voter> all;

private:
    const std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("cluster-voters-" + std::to_string(getpid()));
};
