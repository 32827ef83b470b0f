#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "net/alarm.hpp"
#include "net/context.hpp"
#include "net/driver.hpp"
#include "net/peers_file.hpp"
#include "node/inbox_state.hpp"
#include "node/message_handler.hpp"
#include "node/node_clients.hpp"
#include "node/node_members.hpp"
#include "node/node_replicas.hpp"
#include "node/node_requests.hpp"
#include "node/send_queue.hpp"
#include "support/callbacks.hpp"
#include "support/log.hpp"
#include "support/wait_list.hpp"
#include "value/secret.hpp"

#include <cluster/node.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::detail {

/// `errc{}` becomes no error.
inline std::error_code to_code(errc error) {
    return error == errc{} ? std::error_code() : make_error_code(error);
}

/// What a `Node` stands for. Thread-safe. Kept alive by the node until it is destroyed, by the driver until the node
/// has left, and by calls that are under way.
class NodeState final : public net::Observer, public std::enable_shared_from_this<NodeState> {
public:
    /// When it returns, the node listens.
    static std::shared_ptr<NodeState> start(Options options) { return start(std::move(options), false); }
    /// Not a node but a guest: it listens nowhere, has no file of peers, and nobody has it in view. Seeds and addresses
    /// that are added lead to nodes that take guests, which are then its peers. Of what a node does it can only add and
    /// remove peers, use the client channel, and close.
    static std::shared_ptr<NodeState> start_guest(Options options) { return start(std::move(options), true); }

    /// False in a child made by `fork`, where only the destructor of `Node` may be called.
    bool is_here() const noexcept { return origin_.is_here(); }
    const PeerId& id() const noexcept { return id_; }
    const std::string& name() const noexcept { return name_; }
    std::vector<Address> addresses() const;

    Peer add(const Address& address, std::error_code& error);
    bool wait_for_peers(std::size_t count, std::chrono::nanoseconds timeout) { return wait_for(count, timeout); }
    bool wait_until_settled(std::chrono::nanoseconds timeout) { return wait_for(std::nullopt, timeout); }
    std::vector<Peer> peers() const;
    std::vector<Peer> everybody() const;
    std::optional<Peer> peer(const PeerId& id) const;
    bool remove(const PeerId& id);
    void set_tags(Tags tags);
    /// Without a value they stay as they are.
    void set_secrets(std::optional<std::vector<std::string>> peers, std::optional<std::vector<std::string>> guests,
                     WithdrawnLinks withdrawn);

    /// The receivers; `nullopt` stands for those that a broadcast reaches.
    using To = std::optional<std::span<const PeerId>>;
    /// After `errc::timed_out`, `full`, if not null, becomes a text that says which peers have no room.
    std::size_t queue(const To& to, Payload& payload, std::error_code& error, std::string* full = nullptr) {
        return queue(to, body_of(payload), error, full);
    }
    TryResult try_queue(const To& to, Payload& payload);

    Message request(const PeerId& to, Payload& payload, std::chrono::nanoseconds timeout, std::error_code& error);
    void request(const PeerId& to, Payload& payload, std::chrono::nanoseconds timeout, NodeRequests::Handler handler);

    std::vector<Answer> request_all(Payload& payload, std::chrono::nanoseconds timeout, std::error_code& error);

    // Each of these wakes its operation when it has a result.
    void start_add(const Address& address, std::shared_ptr<AddOperation> operation);
    /// Waits for `count` peers or, without a number, until the engine is settled.
    void start_wait(std::optional<std::size_t> count, std::shared_ptr<WaitOperation> operation);
    void start_send(SendQueue::Receivers to, const std::shared_ptr<const Outgoing>& payload,
                    std::shared_ptr<SendOperation> operation);
    void start_request(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
                       std::shared_ptr<RequestOperation> operation);
    void start_request_all(const Outgoing& payload, std::chrono::nanoseconds timeout,
                           std::shared_ptr<RequestAllOperation> operation);
    void start_close(std::shared_ptr<CloseOperation> operation);
    std::shared_ptr<const Outgoing> hand_over(Payload& payload) const;

    const std::shared_ptr<InboxState>& inbox() const noexcept { return inbox_; }
    void on_message(MessageHandler::Function handler);
    Callbacks& callbacks() noexcept { return *callbacks_; }
    const std::shared_ptr<NodeMembers>& members() const noexcept { return members_; }

    // For the replicas of this node.
    const std::shared_ptr<NodeReplicas>& replicas() const noexcept { return replicas_; }
    /// All of `block` becomes one message to the replicas of a peer; its bytes do not change any more. Does not wait.
    /// The result is zero, `errc::outbox_full`, `not_in_view`, `message_too_large`, `unsupported` or `closed`. What was
    /// taken may still be given up, in silence.
    errc send_on_replica_channel(const PeerId& to, const BlockRef& block) {
        return send_for_library(core::replica_channel, to, block);
    }

    // For what serves clients on this node, and for a client.
    const std::shared_ptr<NodeClients>& clients() const noexcept { return clients_; }
    /// The same as `send_on_replica_channel`, but on the client channel, and to a peer or a guest. What was taken comes
    /// in order, unless that peer goes out of view, or that guest goes. `outbox_full`: 1 MiB is on its way to it, or
    /// `total_outbox_bytes` to all. Nobody is told when there is room again. What goes to this node itself comes later.
    errc send_on_client_channel(const PeerId& to, const BlockRef& block) {
        if (to == id_) {
            const std::span<const std::byte> view(block->data(), block->size());
            return clients_->loop_back(id_, Bytes(block, view)) ? errc{} : errc::closed;
        }
        return send_for_library(core::client_channel, to, block);
    }
    const std::shared_ptr<net::Loop>& loop() const noexcept { return loop_; }
    std::size_t max_message() const noexcept { return max_message_; }
    void log(LogLine line);
    /// `more`: fields of the line in the log.
    void handler_threw(std::string_view what, std::string_view more = {});

    Unacknowledged close();
    Stats stats() const;

    /// What `~Node` does: leaves, and calls no function of the application any more. The caller lets go of the state
    /// before it lets go of the threads.
    std::shared_ptr<net::Context> shut_down();

private:
    NodeState(const Options& options, const PeerId& id);
    static std::shared_ptr<NodeState> start(Options options, bool guest);
    errc send_for_library(std::uint16_t channel, const PeerId& to, const BlockRef& block);

    void carry_out(core::NodeAction&& action) override;
    void deliver(core::Deliver&& deliver);
    void peer_gone(const Peer& peer, RemovalReason reason);
    void leave();
    void left(const core::LeaveDone& done);
    void end_waits(Woken& woken) REQUIRES(mutex_);
    void serve_handler();
    void return_credit();
    bool wait_for(std::optional<std::size_t> count, std::chrono::nanoseconds timeout);
    void flush_log();
    void peer_came();
    void settled();
    void answered(core::AddDone&& answer);
    void cancel_wait(const WaitOperation& operation);
    std::size_t queue(const To& to, const core::Engine::Body& body, std::error_code& error, std::string* full);
    void reply(const PeerId& to, std::uint64_t call, int code, Payload& payload, std::error_code& error);
    void dropped(const PeerId& to, std::uint64_t call);
    core::Engine::Outcome attempt(const To& to, const core::Engine::Body& body, core::Engine::Skip skip,
                                  std::optional<Time> now = std::nullopt);
    core::Engine::Outcome last_attempt(const To& to, const core::Engine::Body& body);
    std::string log_no_room(const core::Engine::Outcome& outcome);
    core::Engine::Body body_of(Payload& payload) const;

    const Origin origin_;
    const PeerId id_;
    const std::string name_;
    const std::chrono::nanoseconds send_timeout_;
    const core::Engine::Skip skip_;  ///< while there is time
    const std::size_t max_message_;

    Log log_;
    std::shared_ptr<net::Context> context_;
    std::shared_ptr<net::Loop> loop_;
    std::shared_ptr<net::PeersFile> peers_file_;  ///< may be null
    std::shared_ptr<net::Driver> driver_;
    std::shared_ptr<InboxState> inbox_;
    std::shared_ptr<Callbacks> callbacks_;
    std::shared_ptr<NodeMembers> members_;
    std::shared_ptr<NodeReplicas> replicas_;
    std::shared_ptr<NodeClients> clients_;
    std::shared_ptr<SendQueue> sends_;
    std::shared_ptr<NodeRequests> requests_;
    std::shared_ptr<HandlerCalls> handler_calls_ = std::make_shared<HandlerCalls>();
    MessageHandler handler_;
    MessageHandler::OnThrow on_throw_;
    std::vector<InboxState::Taken> taken_;  ///< of the I/O thread
    std::optional<net::Alarm> log_alarm_;   ///< from `start` on
    std::atomic<std::uint64_t> handler_exceptions_{0};

    Mutex mutex_;
    Secrets secrets_ GUARDED_BY(mutex_);
    WaitList<AddOperation, std::uint64_t> adds_ GUARDED_BY(mutex_);  ///< the engine's answer to a request
    /// Number of peers; nothing: until the engine is settled.
    WaitList<WaitOperation, std::optional<std::size_t>> waits_ GUARDED_BY(mutex_);
    WaitList<CloseOperation> closes_ GUARDED_BY(mutex_);
    std::optional<Unacknowledged> left_ GUARDED_BY(mutex_);
};

}  // namespace cluster::detail
