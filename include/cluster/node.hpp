#pragma once

#include <cluster/address.hpp>
#include <cluster/answer.hpp>
#include <cluster/error.hpp>
#include <cluster/export.hpp>
#include <cluster/given_up.hpp>
#include <cluster/inbox.hpp>
#include <cluster/membership.hpp>
#include <cluster/message.hpp>
#include <cluster/operation.hpp>
#include <cluster/options.hpp>
#include <cluster/payload.hpp>
#include <cluster/peer.hpp>
#include <cluster/secret.hpp>
#include <cluster/stats.hpp>
#include <cluster/subscription.hpp>
#include <cluster/try_result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster {

namespace detail {
class NodeState;
}

class Replica;

/// One process's place in the cluster: listens, dials, keeps one session with each peer, and delivers messages.
///
/// Thread-safe: any function may be called from any thread and from any callback, at any time between construction and
/// destruction. On an I/O thread (inside an `on_message` handler), a call that would have to wait fails with
/// `errc::would_block`. Everywhere else, callbacks included, it waits. Functions with a `std::error_code&` do not
/// throw; the others throw `std::system_error`.
///
/// Callbacks run one at a time on the callback thread of the runtime, in the order of the events, under no lock. One
/// that throws is caught, logged and counted. Messages are not ordered with callbacks: a peer is in `peers()` before
/// its first message can be taken. But `on_peer_added` may run later than that, and `on_peer_removed` before its last
/// message is taken.
///
/// The destructor closes. It may run inside one of the node's own callbacks.
class CLUSTER_EXPORT Node {
public:
    /// Listens on `listen` (see `Options::listen`) when it returns.
    explicit Node(std::string_view listen);
    explicit Node(Options options);
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node();

    const PeerId& id() const noexcept;
    const std::string& name() const noexcept;
    /// What others dial: the first of `addresses()`.
    Address address() const;
    std::vector<Address> addresses() const;

    /// Dials `address` and returns when each side lists the other, or fails after `connect_timeout`. After a failure
    /// the address is not dialled again.
    ///
    /// - After success the node keeps the address. When the peer it led to has left or failed, the address is dialled
    ///   like a seed. That ends when somebody is there again or `forget_after` is over; `remove` of that peer ends it,
    ///   too.
    /// - The node keeps the 64 addresses that were added last.
    /// - If the peer is known already, it returns that peer. If it is this node itself, it fails with `errc::self`.
    /// - If `remove` has blocked the peer, it lifts the block.
    Peer add(const Address& address);
    Peer add(std::string_view address);
    Peer add(const Address& address, std::error_code& error);
    Peer add(std::string_view address, std::error_code& error);

    /// Waits until at least `count` peers are in view. False if the time is over or the node closes first.
    bool wait_for_peers(std::size_t count, std::chrono::nanoseconds timeout);

    /// Waits until all who can be found have been tried: `peers()` then holds those that were found. For a program that
    /// may be the first to start, or the fifth.
    ///
    /// - Each seed has been tried once. A seed that does not answer takes up to `connect_timeout`.
    /// - Every peer in view has reported which peers it has in view, and those have been tried once, too.
    ///
    /// True at once without seeds and peers. False if the time is over or the node closes first. Nodes that start later
    /// are found later all the same.
    bool wait_until_settled(std::chrono::nanoseconds timeout);

    /// The peers in view now, sorted by id.
    std::vector<Peer> peers() const;
    /// `peers(everybody)`: all peers that this node knows, sorted by id. It includes those out of view; each has its
    /// `state` and `why`. It leaves out peers that left or are forgotten (see `Options::forget_after`).
    std::vector<Peer> peers(Everybody) const;
    /// Empty if the peer is not in view. That may be so before its last messages are taken.
    std::optional<Peer> peer(const PeerId& id) const;

    /// Queues `payload` for every peer in view at one instant, all or none, and returns for how many. Observers (see
    /// `Options::observer`) are left out. Concurrent broadcasts have one order, the same for every receiver. Waits for
    /// room for at most `send_timeout`. The text of the exception and the line `no_room` of the log name the peers
    /// without room.
    std::size_t broadcast(Payload payload);
    std::size_t broadcast(Payload payload, std::error_code& error);

    /// Queues `payload` for one peer. Waits for room for at most `send_timeout`. Messages that one thread sends and
    /// broadcasts arrive at each peer in that order.
    void send(const PeerId& to, Payload payload);
    void send(const PeerId& to, Payload payload, std::error_code& error);
    /// The same for several, all or none: if one is not in view or has no room, nothing is queued for anyone. A peer
    /// that is named twice gets it once. If `to` is empty, it does nothing.
    void send(std::span<const PeerId> to, Payload payload);
    void send(std::span<const PeerId> to, Payload payload, std::error_code& error);
    void send(std::initializer_list<PeerId> to, Payload payload);
    void send(std::initializer_list<PeerId> to, Payload payload, std::error_code& error);

    /// The same without ever waiting.
    TryResult try_broadcast(Payload payload);
    TryResult try_send(const PeerId& to, Payload payload);
    TryResult try_send(std::span<const PeerId> to, Payload payload);

    /// Sends `payload` to one peer, not this node itself, and waits for its `Message::reply` for at most `timeout`. It
    /// is queued in order with what `send` and `broadcast` queue. If it has to wait for room, it waits as `async_send`
    /// does. Replies do not pass through the inbox. So the thread that reads the inbox may wait for one, and an unread
    /// inbox on this side does not hold them up.
    ///
    /// It fails in one of these ways:
    /// - The request may or may not have been carried out: `timed_out`, `connection_lost`, or `closed` if this node
    ///   closes meanwhile.
    /// - The peer drops it without a reply: `unanswered`.
    /// - The peer answers with `Message::reply_error`: the error is what the peer gives. Its text is the message
    ///   returned, or the text of the exception.
    /// - The request has not been carried out: `not_in_view`, `message_too_large` (longer than `max_message` without
    ///   8 bytes), `outbox_full` (too many wait for room), `too_many_requests`, `unsupported` or `would_block`.
    Message request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout);
    Message request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout, std::error_code& error);
    /// The same without waiting, for the lowest latency. `handler` is called once on the I/O thread, where it must not
    /// block, and never from within this call. ~Node waits until it has run. If there is an error, the message is
    /// empty, unless it holds the text of a `Message::reply_error`.
    void request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout,
                 std::function<void(std::error_code, const Message&)> handler);

    /// Sends a request to each peer that a broadcast would reach now. Waits until each has replied or failed to, for at
    /// most `timeout`. One result for each peer, sorted by id; none if nobody is in view. See `request`. Fails as a
    /// whole only with `closed` and `would_block`.
    std::vector<Answer> request_all(Payload payload, std::chrono::nanoseconds timeout);
    std::vector<Answer> request_all(Payload payload, std::chrono::nanoseconds timeout, std::error_code& error);

    Inbox inbox() const;

    /// Delivers messages to `handler` instead of the inbox, for the lowest latency. It is called on the I/O thread for
    /// each message, first for those already in the inbox. It must not block. An empty handler returns to the inbox.
    /// When the call returns, the former handler is not running and will not run again, unless the call comes from
    /// within it.
    void on_message(std::function<void(const Message&)> handler);

    /// Called for the peers already there, then for each that comes into view. For one id, added and removed alternate.
    Subscription on_peer_added(std::function<void(const Peer&)> callback);
    Subscription on_peer_removed(std::function<void(const Peer&, RemovalReason)> callback);
    /// Called with the peers in view, sorted by id, after each change of them, of their state or of their tags. Changes
    /// that come together are reported once. That may be before `on_peer_added` is called for each of them.
    Subscription on_peers_changed(std::function<void(const std::vector<Peer>&)> callback);
    Subscription on_given_up(std::function<void(const GivenUp&)> callback);

    /// Parts from one peer: it leaves both views, and its id is blocked here until this node adds it. A process that
    /// starts anew at the address at which this node found it by dialling is blocked, too. Other peers that share its
    /// addresses are not. Other nodes still list it. False if it is not known.
    bool remove(const PeerId& id);

    /// Publishes other tags. Throws `errc::invalid_options` if they exceed their limits (see `Tags`).
    void set_tags(Tags tags);

    /// Links that are made from now on use these in place of `Options::secret` (the first) and `more_secrets` (the
    /// rest). Those of guests stay. Throws `errc::invalid_options` if one is not to be used, if there is none, or if
    /// this node was made without a secret; then nothing has changed.
    void set_secrets(std::vector<std::string> secrets, WithdrawnLinks withdrawn = WithdrawnLinks::keep);
    /// The same for `guest_secrets`, of which there may be none.
    void set_guest_secrets(std::vector<std::string> secrets, WithdrawnLinks withdrawn = WithdrawnLinks::keep);

    /// A new membership with an id of its own, withdrawn and without data. See <cluster/membership.hpp>.
    Membership create_membership();
    /// The members that all nodes in view have enrolled, this one among them.
    Members members() const;

    /// Leaves gracefully: waits at most `linger` for acknowledgements, says goodbye, and waits at most 1 s for the
    /// answers. Further calls return the same result.
    ///
    /// - Replies made before are waited for. Requests without a reply end with `errc::closed` when the node has left,
    ///   unless their time is over sooner.
    /// - No peer is reported added or removed any more; one that falls silent meanwhile may still be reported suspect.
    ///   Callbacks for earlier events may still run when it returns.
    /// - Messages that were accepted can still be read.
    /// - On an I/O thread it only starts closing and returns nothing unacknowledged.
    Unacknowledged close();

    Stats stats() const;

    // The same for completion tokens of the application's Asio: callbacks, futures, coroutines, any executor. To call
    // them, include `<cluster/asio.hpp>`. It says where handlers run and what cancelling does.

    /// Completes with `void(std::error_code, Peer)`.
    template <class Token>
    auto async_add(const Address& address, Token&& token);
    template <class Token>
    auto async_add(std::string_view address, Token&& token);

    /// Completes with `void(std::error_code)` when at least `count` peers are in view; `errc::closed` if the node
    /// closes first.
    template <class Token>
    auto async_wait_for_peers(std::size_t count, Token&& token);

    /// Completes with `void(std::error_code)`; see `wait_until_settled`. `errc::closed` if the node closes first.
    template <class Token>
    auto async_wait_until_settled(Token&& token);

    /// Completes with `void(std::error_code, std::size_t)` when `payload` is queued or will not be. The payload need
    /// not stay valid. If there is no room, it waits as `broadcast` does. Those that wait are queued for each peer in
    /// the order in which they were started. At most 4096 wait, with at most `total_outbox_bytes` of payload. Further
    /// ones fail at once with `errc::outbox_full`.
    template <class Token>
    auto async_broadcast(Payload payload, Token&& token);
    /// Completes with `void(std::error_code)`.
    template <class Token>
    auto async_send(const PeerId& to, Payload payload, Token&& token);
    template <class Token>
    auto async_send(std::span<const PeerId> to, Payload payload, Token&& token);

    /// Completes with `void(std::error_code, Message)`. Futures and coroutines that throw have the code of
    /// `Message::reply_error`; with `asio::as_tuple` they have its text, too. See `request`. If it is cancelled, it may
    /// have been carried out. If there is no room, it waits as `async_send` does.
    template <class Token>
    auto async_request(const PeerId& to, Payload payload, std::chrono::nanoseconds timeout, Token&& token);

    /// Completes with `void(std::error_code, std::vector<Answer>)`. See `request_all`. If it is cancelled, each request
    /// may have been carried out.
    template <class Token>
    auto async_request_all(Payload payload, std::chrono::nanoseconds timeout, Token&& token);

    /// Completes with `void(std::error_code, Unacknowledged)`, never with an error. Cancelling it does nothing.
    template <class Token>
    auto async_close(Token&& token);

private:
    friend class Client;
    friend class Replica;
    using State = std::shared_ptr<detail::NodeState>;
    using Outgoing = std::shared_ptr<const detail::Outgoing>;

    Outgoing hand_over(Payload& payload) const;
    void send_to_all_of(std::span<const PeerId> to, Payload& payload);
    static void start_add(const State& state, const Address& address, std::shared_ptr<detail::AddOperation> operation);
    static void start_wait(const State& state, std::optional<std::size_t> count,
                           std::shared_ptr<detail::WaitOperation> operation);
    static void start_send(const State& state, std::optional<std::vector<PeerId>> to, const Outgoing& payload,
                           std::shared_ptr<detail::SendOperation> operation);
    static void start_request(const State& state, const PeerId& to, const Outgoing& payload,
                              std::chrono::nanoseconds timeout, std::shared_ptr<detail::RequestOperation> operation);
    static void start_request_all(const State& state, const Outgoing& payload, std::chrono::nanoseconds timeout,
                                  std::shared_ptr<detail::RequestAllOperation> operation);
    static void start_close(const State& state, std::shared_ptr<detail::CloseOperation> operation);

    State state_;
};

}  // namespace cluster
