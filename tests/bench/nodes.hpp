#pragma once

#include <cluster/cluster.hpp>

#include <memory>
#include <thread>
#include <vector>

// Many nodes in one process.

namespace bench {

using Nodes = std::vector<std::unique_ptr<cluster::Node>>;

/// All at the same time: each waits for the goodbyes of the others.
inline void leave(Nodes& nodes) {
    std::vector<std::thread> leaving;
    for (auto& node : nodes) leaving.emplace_back([&node] { node.reset(); });
    for (std::thread& thread : leaving) thread.join();
    nodes.clear();
}

}  // namespace bench
