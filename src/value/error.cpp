#include <cluster/error.hpp>

namespace cluster {

namespace {

class Category final : public std::error_category {
public:
    const char* name() const noexcept override { return "cluster"; }

    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::invalid_address: return "not an address of the form host:port or [ipv6]:port";
            case errc::unresolvable_host: return "the host name has no address";
            case errc::connection_refused: return "nobody listens there";
            case errc::host_unreachable: return "there is no way to that host";
            case errc::timed_out: return "time ran out";
            case errc::address_in_use: return "another socket listens on that port";
            case errc::address_not_available: return "this machine has no such address";
            case errc::permission_denied: return "the system does not permit it";
            case errc::out_of_descriptors:
                return "no file descriptor is left; call cluster::raise_descriptor_limit() at the start, or raise the "
                       "limit (ulimit -n)";
            case errc::not_a_cluster_node: return "what answers there is not a cluster node";
            case errc::wrong_cluster: return "the node belongs to another cluster";
            case errc::wrong_version: return "the node speaks no common version of the protocol";
            case errc::handshake_timeout: return "the greeting was not finished in time";
            case errc::self: return "the address leads to this node itself";
            case errc::id_in_use: return "the peer has another session with this id";
            case errc::removed: return "one of the two nodes has removed the other";
            case errc::leaving: return "one of the two nodes is leaving";
            case errc::too_many_peers: return "one of the two nodes has as many peers as it may have";
            case errc::not_in_view: return "no peer with that id is in view";
            case errc::outbox_full: return "an outbox has no room";
            case errc::message_too_large: return "the message is longer than allowed";
            case errc::would_block:
                return "the call would have to wait on an I/O thread or inside of a service, which must not; call it "
                       "elsewhere";
            case errc::closed: return "the node, replica or client is closed";
            case errc::cancelled: return "the operation was cancelled";
            case errc::invalid_options: return "the options are wrong or contradict each other";
            case errc::protocol_error: return "the other side broke a rule of the protocol";
            case errc::connection_lost: return "the connection or the peer was lost before the outcome was known";
            case errc::malformed_message: return "the bytes are not a value of that type";
            case errc::member_data_too_large: return "the data of the member is longer than allowed";
            case errc::too_many_members: return "this node has as many members as it may have";
            case errc::too_many_requests: return "this node waits for as many replies as it may";
            case errc::not_a_request: return "the message is not a request, so nobody waits for a reply to it";
            case errc::unsupported: return "the peer, whose library is older, or the service does not support that";
            case errc::unanswered: return "the peer has dropped the request without a reply";
            case errc::no_address: return "the peer tells of no address that can be dialled from here";
            case errc::no_leader: return "nobody who can be reached leads the group";
            case errc::overloaded: return "the leader has no room now for more that no majority has on disk";
            case errc::outcome_unknown: return "it may or may not have taken effect";
            case errc::replica_stopped: return "the replica has stopped; its status says why";
            case errc::not_leader: return "only the leader can do that";
            case errc::unknown_voter: return "no other voter has that name";
            case errc::voter_absent: return "that voter, or every other one, is not in view";
            case errc::transfer_under_way: return "leadership is being handed over to another voter already";
            case errc::another_leads: return "leadership has not gone where it was to go";
            case errc::voters_differ: return "the voters were started with different lists of names";
            case errc::not_founded: return "there is no group yet, because not all voters have met";
            case errc::not_a_member: return "the group exists, and this directory does not belong to it";
            case errc::directory_in_use: return "another replica has the directory open";
            case errc::wrong_directory: return "the directory belongs to another group or node";
            case errc::directory_damaged: return "something that was on disk is not there any more";
            case errc::storage_failed: return "the disk is full, read-only, or failed";
            case errc::disk_hangs: return "the disk has not done a write for too long";
            case errc::state_diverged: return "the state of this replica is not that of the others";
            case errc::version_refused: return "this version of the application does not go on behind that one";
            case errc::service_failed: return "the service has thrown an exception";
            case errc::rejected: return "the group does not accept the credentials of the client";
            case errc::too_many_sessions: return "the group has as many sessions as it may have";
            case errc::session_expired: return "the group has closed the session, or does not know it any more";
            case errc::closed_by_service: return "the service has closed the session";
            case errc::too_slow: return "the client did not take what was sent to it, so its session was closed";
            case errc::wrong_secret: return "the other side does not prove that it knows our secret";
            case errc::not_private: return "the node there has no secret, and this one has";
            case errc::secret_required: return "the node there wants a secret, and this one has none";
            case errc::system_failure: return "the system refused";
        }
        return "unknown error " + std::to_string(value);
    }

    std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
            case errc::invalid_address:
            case errc::invalid_options: return std::errc::invalid_argument;
            case errc::connection_refused: return std::errc::connection_refused;
            case errc::host_unreachable: return std::errc::host_unreachable;
            case errc::timed_out:
            case errc::handshake_timeout: return std::errc::timed_out;
            case errc::address_in_use: return std::errc::address_in_use;
            case errc::address_not_available: return std::errc::address_not_available;
            case errc::permission_denied: return std::errc::permission_denied;
            case errc::out_of_descriptors: return std::errc::too_many_files_open;
            case errc::not_in_view: return std::errc::not_connected;
            case errc::outbox_full: return std::errc::no_buffer_space;
            case errc::message_too_large:
            case errc::member_data_too_large: return std::errc::message_size;
            case errc::would_block: return std::errc::operation_would_block;
            case errc::malformed_message: return std::errc::bad_message;
            case errc::protocol_error: return std::errc::protocol_error;
            case errc::connection_lost: return std::errc::connection_reset;
            default: return {value, *this};
        }
    }
};

class ReplyCategory final : public std::error_category {
public:
    const char* name() const noexcept override { return "cluster.reply"; }
    std::string message(int value) const override { return "the peer replied with error " + std::to_string(value); }
};

}  // namespace

const std::error_category& error_category() noexcept {
    // Never destroyed: an error may still be read while the process ends.
    static const Category& category = *new Category;
    return category;
}

const std::error_category& reply_category() noexcept {
    static const ReplyCategory& category = *new ReplyCategory;
    return category;
}

}  // namespace cluster
