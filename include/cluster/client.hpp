#pragma once

#include <cluster/error.hpp>
#include <cluster/export.hpp>
#include <cluster/inbox.hpp>
#include <cluster/log_level.hpp>
#include <cluster/message.hpp>
#include <cluster/node.hpp>
#include <cluster/operation.hpp>
#include <cluster/payload.hpp>
#include <cluster/read.hpp>
#include <cluster/runtime.hpp>
#include <cluster/subscription.hpp>

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
#include <utility>
#include <vector>

// Clients of a replicated service (<cluster/replica.hpp>): from outside of the cluster, or from inside of a node.

namespace cluster {

namespace detail {
class ClientState;

/// Where what the service has sent waits for operations of `<cluster/asio.hpp>`. A handle.
class CLUSTER_EXPORT ClientInbox {
public:
    explicit ClientInbox(std::shared_ptr<ClientState> state) noexcept : state_(std::move(state)) {}

private:
    template <class Base, class Source, class Handler, bool in_place>
    friend class Bound;
    template <class Source, class Handler, bool in_place>
    friend class Receiving;

    std::optional<Message> try_take() const;
    bool at_end() const;
    void wait(std::shared_ptr<Operation> operation) const;
    bool stop_waiting(const Operation& operation) const;
    void pass_on() const;
    bool call_back(std::function<void()> work) const;

    std::shared_ptr<ClientState> state_;
};
}  // namespace detail

/// How a client behaves. A plain value: fill in what matters, leave the rest. `Client` checks it as a whole, and throws
/// `errc::invalid_options` with a text that names what is wrong.
struct ClientOptions {
    /// `host:port` of some nodes of the cluster, 1 to 64. One that lives is enough: it says who leads. A client inside
    /// of a node needs none.
    std::vector<std::string> addresses = {};
    std::string group = "group";      ///< `ReplicaOptions::group`
    std::string cluster = "cluster";  ///< `Options::cluster`
    /// One of the cluster's `Options::guest_secrets`, or its `Options::secret`. Empty if the cluster has none.
    std::string secret = {};
    /// What the service and the log call this client, at most 64 bytes.
    std::string name = {};
    /// Shown to the leader when the session is opened, at most 16 KiB: `ReplicaOptions::authenticate`.
    std::string credentials = {};
    /// Answers to a challenge of the leader with at most 16 KiB. On the callback thread of the runtime. If there is
    /// none, or it throws, or its answer is longer, an empty one is sent.
    std::function<std::string(std::string_view challenge)> respond = {};
    /// How long the leader waits for a sign of this client before it closes the session; at least 100 ms. The client
    /// gives one each third of that by itself. A new leader begins anew.
    std::chrono::nanoseconds session_timeout = std::chrono::seconds(10);
    /// After so long without a leader the client ends with `errc::no_leader`. 0: never; calls have their own timeouts.
    std::chrono::nanoseconds give_up_after{0};
    /// Commands that are sent and have no reply yet, 1 to 1024. Up to 65,536 or 64 MiB more wait for their turn.
    std::size_t max_outstanding = 1024;
    /// What `receive` has not taken yet. At the limit the service keeps the rest, as long as it may (`Context::send`).
    std::size_t inbox_bytes = std::size_t{16} << 20;
    /// The threads to run on; without it the client has its own. A client inside of a node uses those of its node.
    std::optional<Runtime> runtime = {};
    /// As `Options::log`. A client inside of a node writes to the log of its node.
    std::function<void(LogLevel, std::string_view)> log = {};
};

/// How a client is doing, at one moment.
struct ClientStatus {
    enum class Phase : std::uint8_t {
        connecting,  ///< there is no session yet
        open,        ///< the leader serves it
        seeking,     ///< there is a session, and whoever leads now is looked for
        ended,       ///< there is no session any more, and this client gets no other one: make a new one
    };
    Phase phase = Phase::connecting;
    /// Why it is not open. If it has ended: `closed` by `close`; `session_expired`; `closed_by_service`; `too_slow`;
    /// `rejected`; `too_many_sessions`; `no_leader` after `give_up_after`.
    std::error_code error;
    std::string why;  ///< for people
};

CLUSTER_EXPORT std::string_view to_string(ClientStatus::Phase phase) noexcept;

/// One session with a replicated service. It finds the leader from any node of the cluster and follows it, with all
/// that is outstanding, through the failure of any minority, restarts of all nodes one after the other, and broken
/// links.
///
/// While the session lives, each command takes effect once, in the order in which they were sent, and what the service
/// sends comes once and in order. If the session ends, `on_status` says why before anything fails because of it.
///
/// Thread-safe: any function may be called from any thread and from any callback. On an I/O thread, a call that would
/// have to wait fails with `errc::would_block`. Functions with a `std::error_code&` do not throw; the others throw
/// `std::system_error`. The destructor closes.
class CLUSTER_EXPORT Client {
public:
    /// From outside, over one link of its own to one node after the other. It is in nobody's view. Throws
    /// `invalid_options`; `system_failure`.
    explicit Client(ClientOptions options);
    /// From inside, over the links that `node` has, or within it. The node should live longer: if it closes first, the
    /// client ends with `closed`.
    explicit Client(Node& node, ClientOptions options = {});
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client();

    /// A command, and the reply of the service. Asked again at the next leader if need be, as long as the time lasts.
    ///
    /// It fails in one of these ways:
    /// - It has taken no effect, and never will: `no_leader` if nobody led in time, `overloaded` if the leader had no
    ///   room in time, `message_too_large`, `too_many_requests`, `would_block`, and the end of the session before it
    ///   was sent (see `ClientStatus::error`).
    /// - It may have taken effect, or may do so later, once: `timed_out`, `closed`, `outcome_unknown` if the session
    ///   ended.
    Message call(Payload command, std::chrono::nanoseconds timeout);
    Message call(Payload command, std::chrono::nanoseconds timeout, std::error_code& error);
    /// The same without waiting. `handler` is called once, on the I/O thread, where it must not block, and never from
    /// within this call. `close` waits until all handlers have run.
    void call(Payload command, std::chrono::nanoseconds timeout,
              std::function<void(std::error_code, const Message&)> handler);
    /// A command whose reply nobody waits for. It takes effect once, in its turn, unless the session ends before. If
    /// there are too many that wait (`ClientOptions::max_outstanding`), this waits for room, in its turn, for at most
    /// `timeout`. Fails with `too_many_requests` if there was none, `message_too_large`, `would_block`, or the end of
    /// the session. Then it has taken no effect, and never will.
    void send(Payload command, std::chrono::nanoseconds timeout = {});
    void send(Payload command, std::error_code& error);
    void send(Payload command, std::chrono::nanoseconds timeout, std::error_code& error);

    /// Asks `Service::on_query`, without an entry of the log. Reads of both kinds go to the leader that serves the
    /// session; a stale one waits for nobody else there. All errors are safe to try again: those of `call`,
    /// `unsupported` if no service answers queries, and `service_failed` if one has thrown; then the exception has its
    /// text.
    Message read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options = {});
    Message read(Payload query, std::chrono::nanoseconds timeout, std::error_code& error, ReadOptions options = {});
    void read(Payload query, std::chrono::nanoseconds timeout,
              std::function<void(std::error_code, const Message&)> handler, ReadOptions options = {});

    /// The next message that the service has sent by itself (`Context::send`). Waits for it; empty when the session has
    /// ended and all was taken.
    std::optional<Message> receive();
    /// The same, but for at most `duration`; empty, too, when that is over.
    std::optional<Message> receive_for(std::chrono::nanoseconds duration);
    /// The next one if it is there already.
    std::optional<Message> try_receive();

    // The same for completion tokens of the application's Asio. To call them, include `<cluster/asio.hpp>`. It says
    // where handlers run and what cancelling does.

    /// Completes with `void(std::error_code, Message)`; see `call`. If it is cancelled, the command may have taken
    /// effect, or may do so later, once.
    template <class Token>
    auto async_call(Payload command, std::chrono::nanoseconds timeout, Token&& token);
    /// Completes with `void(std::error_code)`; see `send`. It waits for room for as long as that takes. Up to 1,024 can
    /// wait at a time; the next one fails with `too_many_requests`.
    template <class Token>
    auto async_send(Payload command, Token&& token);
    /// Completes with `void(std::error_code, Message)`; see `read`.
    template <class Token>
    auto async_read(Payload query, std::chrono::nanoseconds timeout, Token&& token);
    template <class Token>
    auto async_read(Payload query, std::chrono::nanoseconds timeout, ReadOptions options, Token&& token);
    /// Completes with `void(std::error_code, Message)`; see `receive`. At the end with `errc::closed`. A message is
    /// taken at the moment when the handler is called, so cancelling loses none.
    template <class Token>
    auto async_receive(Token&& token);
    /// The same, but after `duration` with `errc::timed_out`.
    template <class Token>
    auto async_receive_for(std::chrono::nanoseconds duration, Token&& token);

    ClientStatus status() const;
    /// Called with the status at once, and after each change. On the callback thread of the runtime.
    Subscription on_status(std::function<void(const ClientStatus&)> callback);
    /// Waits until the session is open, or has ended. Whether it is open.
    bool wait_until_open(std::chrono::nanoseconds timeout) const;

    /// Links that are made from now on use it in place of `ClientOptions::secret`. Throws `errc::invalid_options` if it
    /// is not to be used, if this client was made without a secret, or if it is inside of a node.
    void set_secret(std::string secret);

    /// Ends the session, and tells the leader so that nothing is kept for it; waits at most 1 s for that. What has no
    /// reply yet fails with `closed`.
    void close();

private:
    using State = std::shared_ptr<detail::ClientState>;

    Inbox node_inbox() const;
    static void start_call(const State& state, std::span<const std::byte> command, std::chrono::nanoseconds timeout,
                           std::shared_ptr<detail::RequestOperation> operation);
    static void start_send(const State& state, std::span<const std::byte> command,
                           std::shared_ptr<detail::WaitOperation> operation);
    static void start_read(const State& state, std::span<const std::byte> query, std::chrono::nanoseconds timeout,
                           const ReadOptions& options, std::shared_ptr<detail::RequestOperation> operation);

    State state_;
};

}  // namespace cluster
