#include "client/options_check.hpp"

#include "client/message.hpp"
#include "core/frame.hpp"
#include "group/sessions.hpp"
#include "value/secret.hpp"

#include <cluster/address.hpp>

#include <chrono>
#include <string>
#include <system_error>

namespace cluster::client {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_addresses = 64;

void require(bool holds, const std::string& text) {
    if (!holds) throw std::system_error(make_error_code(errc::invalid_options), "ClientOptions::" + text);
}

}  // namespace

void check(const ClientOptions& options, bool outside) {
    if (outside) {
        require(!options.addresses.empty() && options.addresses.size() <= most_addresses,
                "addresses must have 1 to 64 of them, as \"host:port\" of nodes of the cluster");
        for (const std::string& each : options.addresses) {
            std::error_code error;
            const Address address = Address::parse(each, error);
            require(!error && address.port != 0, "addresses: \"" + each + "\" is not \"host:port\"");
        }
    } else {
        require(options.addresses.empty(), "addresses must be empty for a client inside of a node");
        require(!options.runtime, "runtime must be empty for a client inside of a node, which uses that of its node");
        require(options.secret.empty(), "secret must be empty for a client inside of a node, which needs none");
        require(!options.log, "log must be empty for a client inside of a node, which uses that of its node");
    }
    require(!options.group.empty() && options.group.size() <= core::max_name, "group must have 1 to 64 bytes");
    require(!options.cluster.empty() && options.cluster.size() <= core::max_name, "cluster must have 1 to 64 bytes");
    if (!options.secret.empty()) {
        const std::string problem = problem_of_secret(options.secret);
        require(problem.empty(), "secret " + problem);
    }
    require(options.name.size() <= core::max_name, "name must have at most 64 bytes");
    require(options.credentials.size() <= max_credentials, "credentials must have at most 16 KiB");
    require(options.session_timeout >= 100ms && options.session_timeout <= 24h * 365,
            "session_timeout must be between 100 ms and a year");
    require(options.give_up_after >= 0ns, "give_up_after must not be negative; 0 is never");
    require(options.max_outstanding >= 1 && options.max_outstanding <= group::Session::most_outstanding,
            "max_outstanding must be between 1 and 1024");
    require(options.inbox_bytes >= 1 && options.inbox_bytes <= std::size_t{1} << 40,
            "inbox_bytes must be between 1 and 1 TiB");
}

}  // namespace cluster::client
