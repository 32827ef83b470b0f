#include "replica/options_check.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <system_error>

namespace cluster::replica {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_voters = 64;
constexpr std::size_t most_services = 16;
constexpr std::size_t longest_message = std::size_t{8} << 20;
/// What stands around a message on its way to another replica, and more.
constexpr std::size_t around = std::size_t{4} << 10;

void require(bool holds, const std::string& text) {
    if (!holds) throw std::system_error(make_error_code(errc::invalid_options), "ReplicaOptions::" + text);
}

}  // namespace

void check(const ReplicaOptions& options, const std::string& node, std::size_t max_message) {
    require(!options.directory.empty(), "directory is empty; name a folder on a local disk");
    require(!options.group.empty() && options.group.size() <= core::max_name, "group must have 1 to 64 bytes");
    require(!options.voters.empty() && options.voters.size() <= most_voters,
            "voters must have 1 to 64 names, this node's among them");
    const std::set<std::string> voters(options.voters.begin(), options.voters.end());
    require(voters.size() == options.voters.size(), "voters has a name twice");
    for (const std::string& name : voters) {
        require(!name.empty() && name.size() <= core::max_name, "voters: a name must have 1 to 64 bytes");
    }
    require(voters.contains(node), "voters does not have the name of this node, \"" + node +
                                       "\"; set Options::name to one of them, or add it on all nodes");
    require(options.appointed_leader.empty() || voters.contains(options.appointed_leader),
            "appointed_leader is not one of the voters");
    require(options.election_timeout >= 50ms && options.election_timeout <= 24h,
            "election_timeout must be between 50 ms and a day");
    const bool usual = options.heartbeat == 0ns;
    require(usual || (options.heartbeat >= 1ms && options.heartbeat <= options.election_timeout / 3),
            "heartbeat must be at least 1 ms, and at most a third of election_timeout; 0 is a quarter of that");
    require(options.durability == Durability::synced || options.durability == Durability::os_buffers,
            "durability is not one of its values");
    require(options.snapshot_every >= std::size_t{64} << 10 && options.snapshot_every <= std::size_t{1} << 40,
            "snapshot_every must be between 64 KiB and 1 TiB");
    const std::size_t most = std::min(longest_message, max_message - around);
    require(
        options.max_message >= 1 && options.max_message <= most,
        "max_message must be at most " + std::to_string(most) + ": 8 MiB, and 4 KiB less than Options::max_message");
    require(options.max_uncommitted >= std::size_t{1} << 20 && options.max_uncommitted <= std::size_t{1} << 40,
            "max_uncommitted must be between 1 MiB and 1 TiB");
}

void check(const std::vector<NamedService>& services) {
    const auto require_services = [](bool holds, const std::string& text) {
        if (!holds) throw std::system_error(make_error_code(errc::invalid_options), "the services of a replica" + text);
    };
    require_services(!services.empty() && services.size() <= most_services, " must be 1 to 16");
    std::set<std::string> names;
    for (const NamedService& each : services) {
        require_services(!each.name.empty() && each.name.size() <= core::max_name, ": a name must have 1 to 64 bytes");
        require_services(names.insert(each.name).second, " have the name \"" + each.name + "\" twice");
    }
}

}  // namespace cluster::replica
