#pragma once

#include <cluster/export.hpp>
#include <cluster/member.hpp>
#include <cluster/membership.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <memory>

// For unit tests of programs that use shared membership: the same interface without nodes, sockets and time.
//
// Write the code under test so that it receives its `Members` and its `Membership`, and does not make a node by itself.
// Then a test plays the cluster around it:
//
//     cluster::testing::MemoryCluster cluster;
//     Balancer balancer(cluster.members());                 // what is to be tested
//     cluster::Membership worker = cluster.create_membership();
//     worker.set_data("weight=3");
//     worker.enroll();                                      // balancer sees it now
//     cluster.suspect(worker.id());                         // its node does not answer ...
//     cluster.expire(worker.id());                          // ... and has failed
//     cluster.restore(worker.id());                         // it was the network: the node is back
//     worker.withdraw();
//
// What is the same as with nodes: everything that `<cluster/membership.hpp>` says. What is different:
// - There is one view, for all writers and all readers. It shows each change when the call that makes it returns. It is
//   always complete, and `seen_by::all_peers` never waits.
// - Each membership belongs to a node of its own, which exists by name only, unless you name its owner.
// - There is no thread. A callback of `Members::on_change` runs on the thread that makes the change, before the call
//   that makes it returns. So a test need not wait for it. Its first call comes before `on_change` itself returns, when
//   there is no `Subscription` yet.
// - A callback may change members, and is then called again afterwards. While it runs, changes by other threads do not
//   wait. It is called for them on the thread on which it runs already. What it throws is written to standard error.
// - The limit on members (`MemoryLimits`) is for all together, however much data they have.
// - A handler of `MemberWatch::async_next` that has no executor runs on `asio::system_executor`.

namespace cluster::testing {

/// How much a `MemoryCluster` takes.
struct MemoryLimits {
    std::size_t max_member_data = std::size_t{64} << 10;
    /// How many may be enrolled at a time, over all owners.
    std::size_t max_members = std::size_t{1} << 16;
};

/// A cluster within one object. Thread-safe. The destructor closes it; memberships, members and watches may outlive it.
class CLUSTER_EXPORT MemoryCluster {
public:
    explicit MemoryCluster(const MemoryLimits& limits = {});
    MemoryCluster(const MemoryCluster&) = delete;
    MemoryCluster& operator=(const MemoryCluster&) = delete;
    ~MemoryCluster();

    /// As if a node that has no other members created it.
    Membership create_membership();
    /// As if that node created it. Members of one owner are suspected and expire together.
    Membership create_membership(const PeerId& owner);

    Members members() const;

    /// Does what closing a node does to its `members()`: ends all watches and callbacks. The view stays as it is;
    /// `enroll` fails with `errc::closed`.
    void close();

    // Failures. Each concerns the owner of that member, and with it all other members that the owner has. Nothing
    // happens and the result is false, if that member is not enrolled, the cluster is closed, or the owner is in that
    // state already.

    /// The owner has failed: its members are gone. The owner itself still has them enrolled. What it enrols, changes
    /// and withdraws meanwhile shows with `restore`.
    bool expire(const MemberId& id);
    /// The owner is heard from again: its members are back, with the newest data.
    bool restore(const MemberId& id);
    /// The owner does not answer, or does so again.
    bool suspect(const MemberId& id, bool suspect = true);

private:
    class State;
    class Host;
    std::shared_ptr<State> state_;
};

}  // namespace cluster::testing
