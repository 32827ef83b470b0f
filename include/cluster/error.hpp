#pragma once

#include <cluster/export.hpp>

#include <string>
#include <system_error>

namespace cluster {

/// Every way in which a call of this library can fail. Each value says what happened and what it did to the state.
/// Compares with `std::error_code`: `if (error == cluster::errc::timed_out)`.
enum class errc {
    /// The text is not `host:port` or `[ipv6]:port`, or the port is missing or above 65535. Nothing was changed.
    invalid_address = 1,
    /// The name has no address, or the resolver cannot be asked. Nothing was changed; a seed is tried again.
    unresolvable_host,
    /// Nobody listens there, nor at any other address of the name. Nothing was changed; a seed is tried again.
    connection_refused,
    /// The system knows no way to that host. Nothing was changed; a seed is tried again.
    host_unreachable,
    /// Time ran out.
    /// - `add`: no answer came within `connect_timeout`. The peer may or may not appear later, because it may have
    ///   accepted us.
    /// - `broadcast` and `send`: there was no room within `send_timeout`. Nothing was queued for anyone.
    /// - `enroll` and `withdraw`: it has been done, but some peers may not know of it yet.
    /// - `request`, `submit`: no reply came. It may have been done, and may still be. `read`: nothing was changed.
    timed_out,
    /// Another socket listens on that port. The node was not created.
    address_in_use,
    /// This machine has no such address to listen on. The node was not created.
    address_not_available,
    /// The system does not let this process listen there, or forbids the connection. Nothing was changed.
    permission_denied,
    /// The process or the system has no descriptor left. What needed one was not done and may be tried again. The
    /// listener goes on as soon as one is free.
    out_of_descriptors,
    /// What answers there does not speak this protocol, or closed before it said who it is. Nothing was changed.
    not_a_cluster_node,
    /// A node of a cluster with another name answers there. Nothing was changed.
    wrong_cluster,
    /// A node answers there, but it speaks no version of the protocol that we speak. Nothing was changed.
    wrong_version,
    /// It accepted the connection but did not finish the greeting within `handshake_timeout`. Nothing was changed.
    handshake_timeout,
    /// The address leads to this very node. Nothing was changed.
    self,
    /// The peer has a session with this id and we could not prove that it is ours. The existing session is untouched.
    id_in_use,
    /// One of the two nodes has parted from the other with `remove`, and has not added it again. Nothing was changed.
    removed,
    /// The other node is leaving, or has seen us leave. Nothing was changed.
    leaving,
    /// This node or the other one has `max_peers` peers already. Nothing was changed.
    too_many_peers,
    /// No peer with that id is in view; this node is not a peer of itself. Nothing was queued.
    not_in_view,
    /// The outbox of at least one receiver, or of the node as a whole, has no room now. Nothing was queued for anyone.
    outbox_full,
    /// The message is longer than `max_message`, ours or that of a receiver. For a request or a reply the limit is
    /// 8 bytes less. Nothing was queued for anyone.
    message_too_large,
    /// The call would have to wait, and it was made on the I/O thread of a `Runtime`, or inside of a `Service`. Waiting
    /// there would stop all nodes of the runtime, or that replica. Nothing was changed. Call it from a thread of your
    /// own or from a callback.
    would_block,
    /// The node, replica or client has been closed. Nothing was changed, with these exceptions: `enroll` and `withdraw`
    /// with `seen_by::all_peers`, and whatever waited for its reply, may have been done before that.
    closed,
    /// The caller cancelled the operation before it had a result. Handlers of `<cluster/asio.hpp>` get
    /// `asio::error::operation_aborted` in its place.
    /// - `async_broadcast` and `async_send`: nothing was queued for anyone.
    /// - `async_add`: the peer may or may not appear later.
    cancelled,
    /// The options contradict each other or leave their range; the text of the exception names them. The node was not
    /// created.
    invalid_options,
    /// The other side broke a rule of the protocol. That connection was closed; the warning in the log names the rule.
    protocol_error,
    /// The connection broke before the outcome was known. It is dialled again if the peer is still wanted. For
    /// `request`: the peer has gone out of view. The request may or may not have been carried out, and may still be if
    /// the peer comes back.
    connection_lost,
    /// The bytes are not a value of the requested type, or the value cannot be sent because it could not be read again.
    /// Or the code of `reply_error` is 0. Nothing was changed; the message can still be read in another way.
    malformed_message,
    /// The data of a member is longer than `max_member_data`. Nothing was changed: it keeps the data it had.
    member_data_too_large,
    /// This node has enrolled 65,536 members, or their data would take more than 64 MiB. Nothing was changed: a member
    /// keeps the data it had.
    too_many_members,
    /// This node, replica or client waits for 65,536 replies already, or for too many bytes of them; a client for 1024
    /// queries. Nothing was queued.
    too_many_requests,
    /// `Message::reply` or `reply_error` to a message that is no request. Nothing was queued.
    not_a_request,
    /// The peer runs a version of this library that does not know requests or, for `reply_error`, such replies. Nothing
    /// was queued. Or the service of a replica has no snapshots, or answers no queries. Or there is a secret, and the
    /// library was built without TLS.
    unsupported,
    /// The peer has dropped the request without a reply: its `Message` is gone, or its handler threw. The request may
    /// have been carried out in part.
    unanswered,
    /// The peer has published no address that can be dialled from here. A node that listens on loopback is such a peer
    /// for other hosts. It has to dial this node, or to set `Options::listen` or `advertise`. See `Peer::why`.
    no_address,
    /// Nobody leads the group, or nobody who does can be reached. Nothing was put into the log. A client ends with it
    /// when that has lasted for too long.
    no_leader,
    /// The leader holds as much as it may that no majority has on disk, or owes a client as many replies as it may.
    /// Nothing was put into the log.
    overloaded,
    /// It may or may not have taken effect.
    /// - `Replica::submit`: this replica was so far behind that it got a snapshot in place of the messages, of which
    ///   yours may be one.
    /// - A client's `call`: the session has ended after it was sent and before its reply came.
    outcome_unknown,
    /// The replica does nothing any more; `ReplicaStatus::why` says why. What waited may or may not have taken effect.
    replica_stopped,
    /// Only the leader can do that. Nothing was changed.
    not_leader,
    /// No voter has that name, or it is this replica itself. Nothing was changed.
    unknown_voter,
    /// That voter is not in view, or no other voter is, or it went while it was to take over.
    voter_absent,
    /// Leadership is being handed over to another voter already. Nothing was changed.
    transfer_under_way,
    /// Leadership was given up, and has not gone to the voter that was named: another one leads, or this one again.
    another_leads,
    /// The voters were started with different lists of names. The group cannot be founded until that is mended.
    voters_differ,
    /// There is no group yet, because not all voters have been met. See `ReplicaStatus::why`.
    not_founded,
    /// A group exists without this disk: its directory is new, and the former one is gone. It does not vote.
    not_a_member,
    /// Another replica, in this process or another one, has the directory open. Nothing was changed.
    directory_in_use,
    /// The directory belongs to another group or to another node. Nothing was changed.
    wrong_directory,
    /// Something that was on disk is not there any more. So this replica may have forgotten what it had promised.
    /// Nothing was changed.
    directory_damaged,
    /// The disk is full, read-only, or failed. The replica has stopped, or was not started.
    storage_failed,
    /// The disk of the replica has not done a write for longer than an election timeout. Until it does, this replica
    /// neither leads nor votes. It only appears in `ReplicaStatus::error`.
    disk_hangs,
    /// The state of this replica is not that of a majority: its service depends on something else than the log, or
    /// memory has changed by itself. The replica has stopped. Delete its directory only when the service is mended.
    state_diverged,
    /// A leader or a snapshot is of a version of the application that this replica does not go on with
    /// (`ReplicaOptions::accepts_version`). The replica has stopped, or was not started; its services have had nothing
    /// of it.
    version_refused,
    /// The service has thrown an exception. The replica has stopped. A snapshot or a read that fails changes nothing.
    service_failed,
    /// The group does not accept the credentials of this client. It has no session, and has ended.
    rejected,
    /// The group has as many sessions as it may have, `ReplicaOptions::max_sessions`. The client has no session, and
    /// has ended.
    too_many_sessions,
    /// The group has closed the session of this client, because it heard nothing from it for the session timeout, or
    /// does not know the session any more. The client has ended.
    session_expired,
    /// The service has closed the session of this client with `Context::close`. The client has ended.
    closed_by_service,
    /// The group has closed the session of this client, because it did not take what was sent to it and the room for
    /// that was full. The client has ended.
    too_slow,
    /// The other side does not prove that it knows our secret: it has another one, belongs to a cluster of another
    /// name, or is no node at all. Or our secret is for guests only. Nothing was changed.
    wrong_secret,
    /// This node has a secret, and a node without one answers there. Nothing was changed.
    not_private,
    /// This node has no secret, and who answers there wants one. Nothing was changed.
    secret_required,
    /// The system refused something that none of the above describes, such as memory. If the library did it by itself,
    /// the log has the text.
    system_failure,
};

/// The category of `errc`; its name is "cluster". Thread-safe, lives for ever.
CLUSTER_EXPORT const std::error_category& error_category() noexcept;

/// The category of the codes that peers reply with `Message::reply_error`. The value is the code that the peer gave,
/// which is not 0. Its name is "cluster.reply". Thread-safe, lives for ever.
CLUSTER_EXPORT const std::error_category& reply_category() noexcept;

inline std::error_code make_error_code(errc value) noexcept {
    return {static_cast<int>(value), error_category()};
}

}  // namespace cluster

template <>
struct std::is_error_code_enum<cluster::errc> : std::true_type {};
