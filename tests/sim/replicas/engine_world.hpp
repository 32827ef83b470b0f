#pragma once

#include "sim/passengers.hpp"
#include "sim/replicas/machines.hpp"
#include "sim/world.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

namespace cluster::sim::replicas {

/// Runs the machines of one group on the nodes of a `sim::World`: their messages travel on the replica channel of
/// simulated engines, under all the faults of that simulator. Who is in view they learn from the engines.
class EngineWorld final : private Machines, private Passengers {
public:
    explicit EngineWorld(const Plan& plan);
    Result run();

private:
    Time now() const override { return nodes_.now(); }
    Time now(const Place& place) const override { return nodes_.clock(place.index); }
    void at(Duration delay, std::function<void()> work) override { nodes_.at(delay, std::move(work)); }
    void in_process(Place& place, std::function<void()> work) override;
    void later(Place& place, Duration delay, Work work) override;
    void send(Place& from, const PeerId& to, const wire::ReplicaMessage& message) override;
    void disk_failed(Place& place) override { nodes_.end_process(place.index); }

    void started(std::size_t node, const PeerId& id) override;
    void ended(std::size_t node) override;
    void came(std::size_t node, const Peer& peer) override;
    void went(std::size_t node, const PeerId& peer) override;
    void received(std::size_t node, const PeerId& from, const Bytes& message) override;
    void healed() override;
    bool well(std::string* why) override;

    void load();
    void disturb();

    sim::World nodes_;
    bool healed_ = false;
    bool disks_fail_ = false;
    bool asked_ = false;   ///< since all was well, all were given something to do
    bool closed_ = false;  ///< and clients have left
};

/// Each third seed runs over engines, the others in a `MachineWorld`.
Result run_machines(const Plan& plan);

}  // namespace cluster::sim::replicas
