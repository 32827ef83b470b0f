#pragma once

#include "base/bytes.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <string>

namespace cluster::sim {

/// What else runs in the processes of a world, and talks on the replica channel. All is called in the process of a
/// node while that runs, except `ended`, `healed` and `well`.
class Passengers {
public:
    virtual void started(std::size_t node, const PeerId& id) = 0;
    virtual void ended(std::size_t node) = 0;
    virtual void came(std::size_t node, const Peer& peer) = 0;
    virtual void went(std::size_t node, const PeerId& peer) = 0;
    virtual void received(std::size_t node, const PeerId& from, const Bytes& message) = 0;
    virtual void healed() = 0;
    /// Asked while the nodes are well.
    virtual bool well(std::string* why) = 0;

protected:
    ~Passengers() = default;
};

}  // namespace cluster::sim
