#pragma once

#include "net/asio.hpp"

#include <cluster/address.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <system_error>

namespace cluster::net {

/// Looks up host names for the nodes of one runtime, several at once, so that a name whose server is silent delays
/// itself alone. Each look-up that is under way has a thread, because the system's own look-up blocks; no thread
/// waits for work. Used on the I/O thread only.
///
/// Nothing can interrupt the system's look-up. A thread that is still in one when this is destroyed goes on until it
/// has an answer, touches nothing of the runtime any more, and ends.
///
/// 1. A look-up that cannot be made, for want of a thread, a descriptor or memory, is one that finds nothing.
/// 2. A name is looked up once at a time, however many ask for it.
class Resolver {
public:
    using Endpoints = std::deque<asio::ip::tcp::endpoint>;
    /// Gets what was found, which may be nothing.
    using Then = std::function<void(const Endpoints& endpoints)>;
    using LookUp = std::function<Endpoints(const Address& name)>;

    /// So many look-ups, and threads, at once.
    static constexpr std::size_t most_at_once = 8;
    /// So many names wait for their turn; those beyond are not found.
    static constexpr std::size_t most_waiting = 1024;

    /// Answers are posted to `io`. `look_up` is called on the threads, several at once.
    explicit Resolver(asio::io_context& io, LookUp look_up = ask_system);
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    ~Resolver();

    /// Calls `then` later, on the I/O thread, unless `owner` is gone by then.
    void look_up(const Address& name, const std::weak_ptr<void>& owner, Then then);

    /// What the system finds; without any, `error` says why. Blocks: for 10 s and more if name servers are silent.
    static Endpoints look_up_now(const Address& name, std::error_code& error);

private:
    static Endpoints ask_system(const Address& name);

    struct Shared;
    const std::shared_ptr<Shared> shared_;
};

}  // namespace cluster::net
