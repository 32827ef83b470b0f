#pragma once

#include "sim/replicas/machines.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace cluster::sim::replicas {

/// Runs the machines of one group in virtual time. Messages come in order, as over a link, but any run of them may be
/// lost. Processes end at any moment and come back with what their disks hold. A stranger repeats in its own name what
/// it has heard, a little changed. Single-threaded; two runs of one plan are the same.
class MachineWorld final : private Machines {
public:
    explicit MachineWorld(const Plan& plan);
    Result run();

private:
    Time now() const override { return now_; }
    Time now(const Place&) const override { return now_; }
    void later(Place& place, Duration delay, Work work) override;
    void send(Place& from, const PeerId& to, const wire::ReplicaMessage& message) override;
    void disk_failed(Place& place) override { stop(place); }

    void in_process(Place&, std::function<void()> work) override { work(); }
    void at(Duration delay, std::function<void()> work) override {
        queue_.emplace(std::pair(now_ + delay, ++order_), std::move(work));
    }
    void until(Time end);
    void start(Place& place);
    void stop(Place& place);
    void halt(Place& place);
    void meet(Place& place, const PeerId& peer, const std::string& name);
    void fault();
    void heal();
    void load(Place& place);
    void deliver(const PeerId& from, const std::string& name, const PeerId& to, const wire::ReplicaMessage& message);
    void forge(const Place& from, const PeerId& to, wire::ReplicaMessage message);
    void finish();
    void copy_a_directory();

    Time now_{std::chrono::seconds(1)};
    std::uint64_t order_ = 0;
    std::map<std::pair<Time, std::uint64_t>, std::function<void()>> queue_;
    std::map<std::pair<PeerId, PeerId>, Time> arrives_;
    std::set<std::pair<std::string, std::string>> lost_;  ///< on the way from one to the other
    PeerId stranger_;
    std::map<consensus::DiskId, wire::FoundingMessage> introductions_;  ///< that it has heard
    bool trouble_ = false;
    bool strange_ = false;  ///< there is a stranger
    bool disks_fail_ = false;
    bool healed_ = false;
    bool submits_ = true;
};

}  // namespace cluster::sim::replicas
