#pragma once

#include "base/mutex.hpp"
#include "base/time.hpp"
#include "core/batch.hpp"
#include "core/calls.hpp"
#include "net/alarm.hpp"
#include "net/context.hpp"
#include "node/send_queue.hpp"
#include "support/callbacks.hpp"

#include <cluster/message.hpp>
#include <cluster/operation.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::detail {

/// The requests of one node, from their start to their reply. Thread-safe. Kept alive by handlers that wait.
///
/// 1. A request is queued like any message. It waits for room no longer than for its reply.
/// 2. It ends once. The caller that takes it out of the table wakes its operation, under no lock. It ends by
///    - its reply, or the reply that there is none;
///    - an error that kept it from being queued;
///    - its timeout;
///    - its peer going out of view;
///    - the end of the node.
class NodeRequests : public std::enable_shared_from_this<NodeRequests> {
public:
    using Handler = std::function<void(std::error_code, const Message&)>;
    using OnThrow = std::function<void(std::string_view)>;

    NodeRequests(std::shared_ptr<net::Loop> loop, std::shared_ptr<SendQueue> sends,
                 std::shared_ptr<HandlerCalls> handler_calls, OnThrow on_throw)
        : loop_(std::move(loop)),
          sends_(std::move(sends)),
          handler_calls_(std::move(handler_calls)),
          on_throw_(std::move(on_throw)),
          alarm_(loop_, [this] { look_at_time(); }) {}

    /// Wakes `operation` when it has a result.
    void start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout,
               std::shared_ptr<RequestOperation> operation);
    /// Calls `handler` on the I/O thread, but not within this call.
    void start(const PeerId& to, const Outgoing& payload, std::chrono::nanoseconds timeout, Handler handler);

    /// Asks all of `peers`, and wakes `operation` when each has an answer.
    void start_all(std::vector<Peer> peers, const Outgoing& payload, std::chrono::nanoseconds timeout,
                   std::shared_ptr<RequestAllOperation> operation);
    /// Whether a request waits for the reply of `from` to `call`. May be called under the engine's lock.
    bool awaits(const PeerId& from, std::uint64_t call);

    // On the I/O thread.
    void replied(const core::Batch& batch);
    void peer_gone(const PeerId& peer);
    /// The node has left.
    void end();

private:
    class Handled;
    class Gathered;
    class Part;
    class Sending;
    struct Pending {
        std::shared_ptr<RequestOperation> operation;
        std::shared_ptr<Sending> sending;
    };
    void keep_back(Sending& sending);
    static void fail(const std::vector<Pending>& ended, std::error_code error);
    void fail(std::uint64_t call, std::error_code error);
    void look_at_time();
    void expire(Time now);

    const std::shared_ptr<net::Loop> loop_;
    const std::shared_ptr<SendQueue> sends_;
    const std::shared_ptr<HandlerCalls> handler_calls_;
    const OnThrow on_throw_;

    Mutex mutex_;
    core::Calls<Pending> calls_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;

    net::Alarm alarm_;
};

}  // namespace cluster::detail
