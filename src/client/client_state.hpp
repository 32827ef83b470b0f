#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "client/machine.hpp"
#include "net/runner.hpp"
#include "node/node_clients.hpp"
#include "node/node_state.hpp"
#include "support/callbacks.hpp"
#include "support/milestone.hpp"
#include "support/open_calls.hpp"
#include "support/wait_list.hpp"

#include <cluster/client.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::net {
extern template class Runner<client::Machine>;
}

namespace cluster::detail {

/// What a `Client` stands for: its machine, the node over which it speaks, and the calls that wait. Thread-safe. Kept
/// alive by the client, by that node until it has left, and by work under way. The I/O thread of the node runs the
/// machine.
class ClientState final : public ClientHost, public std::enable_shared_from_this<ClientState> {
public:
    using Handler = std::function<void(std::error_code, const Message&)>;

    /// Throws as the constructors of `Client`. `node`: inside of which; null: outside.
    static std::shared_ptr<ClientState> start(std::shared_ptr<NodeState> node, ClientOptions options);

    bool is_here() const noexcept { return origin_.is_here(); }

    Message call(Payload& command, std::chrono::nanoseconds timeout, std::error_code& error);
    void call(Payload& command, std::chrono::nanoseconds timeout, Handler handler);
    void call(Payload& command, std::chrono::nanoseconds timeout, const std::shared_ptr<RequestOperation>& operation);
    void send(Payload& command, std::chrono::nanoseconds timeout, std::error_code& error);
    /// `operation` is woken when the command has its place, or never gets one.
    void send(Payload& command, std::shared_ptr<WaitOperation> operation);
    Message read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, std::error_code& error);
    void read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, Handler handler);
    void read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
              const std::shared_ptr<RequestOperation>& operation);

    // What the service has sent by itself.
    std::optional<Message> receive(std::chrono::nanoseconds duration);
    std::optional<Message> try_receive();
    bool inbox_at_end() const;
    /// `operation` is woken when there may be a message for it, and at the end.
    void wait(std::shared_ptr<Operation> operation);
    /// False if it is woken anyway.
    bool stop_waiting(const Operation& operation);
    /// Whoever was woken does not take what there is.
    void pass_on();

    NodeState& node() const noexcept { return *node_; }
    ClientStatus status() const;
    Subscription on_status(std::function<void(const ClientStatus&)> function);
    bool wait_until_open(std::chrono::nanoseconds timeout);
    void set_secret(std::string secret);
    void close();
    /// No callback is called any more. Waits for one under way as `Registration::end` does.
    void end_callbacks();

    // ClientHost.
    void begin() override;
    void came(const Peer& peer) override;
    void went(const Peer& peer, RemovalReason reason) override;
    void guest_came(const Peer&) override {}
    void guest_went(const PeerId&) override {}
    void client_received(const PeerId& from, std::span<const Bytes> messages) override;
    void node_left() override;

private:
    ClientState(std::shared_ptr<NodeState> node, bool outside, ClientOptions options);

    client::MachineOptions machine_options() const;
    template <class Give>
    void start(std::uint64_t ticket, const std::shared_ptr<RequestOperation>& operation, Payload& payload,
               const Give& give);
    errc cast(Bytes command) REQUIRES(mutex_);
    std::error_code start_send(Bytes command, const std::shared_ptr<WaitOperation>& operation) REQUIRES(mutex_);
    void stop_sending(const WaitOperation& operation, std::error_code error);
    void send_waiting(Woken& woken) REQUIRES(mutex_);
    void room_freed();
    std::uint64_t cancellable(RequestOperation& operation);
    void cancel(std::uint64_t ticket);
    std::shared_ptr<RequestOperation> handled(Handler handler);
    void carry_out(client::Machine::Output& output);
    void dial(const Address& address);
    void end_call(std::uint64_t ticket, errc error, std::uint64_t position, const Bytes& bytes);
    void pushed(client::Pushed& push);
    void changed(const client::StateChanged& change);
    void challenged(const client::ChallengeCame& challenge);
    void handler_threw(std::string_view what);
    Message message(const Bytes& bytes, std::uint64_t position) const;
    void end_io();

    const Origin origin_;
    const std::shared_ptr<NodeState> node_;
    const bool outside_;  ///< the node is of this client alone
    const std::shared_ptr<net::Loop> loop_;
    const ClientOptions options_;
    const std::uint64_t number_;  ///< of this client among those that share a link
    const std::uint64_t tag_;     ///< of the group
    std::unique_ptr<net::Runner<client::Machine>> runner_;
    std::shared_ptr<HandlerCalls> handler_calls_ = std::make_shared<HandlerCalls>();
    std::atomic<std::uint64_t> last_ticket_{0};

    mutable Mutex mutex_;
    OpenCalls calls_ GUARDED_BY(mutex_);
    bool io_over_ GUARDED_BY(mutex_) = false;  ///< nobody would end a call that begins now
    std::deque<Message> inbox_ GUARDED_BY(mutex_);
    bool inbox_ended_ GUARDED_BY(mutex_) = false;
    WaitList<Operation> receives_ GUARDED_BY(mutex_);
    WaitList<WaitOperation, Bytes> sends_ GUARDED_BY(mutex_);  ///< for room
    WaitList<WaitOperation> opens_ GUARDED_BY(mutex_);
    ClientStatus status_ GUARDED_BY(mutex_);
    CallbackList<const ClientStatus&> status_callbacks_ GUARDED_BY(mutex_);
    bool closing_ GUARDED_BY(mutex_) = false;

    Milestone ended_;     ///< the machine wants nothing any more
    Milestone io_ended_;  ///< nothing is carried out any more
    Milestone closed_;
};

}  // namespace cluster::detail
