#pragma once

#include "net/asio.hpp"

#include <cluster/address.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <system_error>

namespace cluster::net {

/// Looks up host names for the nodes of one runtime, several at once. So a name whose server is silent delays only
/// itself. Each look-up under way has a thread, because the system's own look-up blocks. No thread waits for work. Used
/// on the I/O thread only.
///
/// Nothing can interrupt the system's look-up. A thread that is still in one when this is destroyed goes on until it
/// has an answer. It touches nothing of the runtime any more, and ends.
///
/// 1. If a look-up cannot be made, for lack of a thread, a descriptor or memory, it finds nothing.
/// 2. A name is looked up once at a time, however many ask for it.
class Resolver {
public:
    using Endpoints = std::deque<asio::ip::tcp::endpoint>;
    /// Gets what was found, which may be nothing.
    using Then = std::function<void(const Endpoints& endpoints)>;
    using LookUp = std::function<Endpoints(const Address& name)>;

    /// How many look-ups, and threads, run at once, at most.
    static constexpr std::size_t most_at_once = 8;
    /// How many names may wait for their turn; further ones are not found.
    static constexpr std::size_t most_waiting = 1024;

    /// Answers are posted to `io`. `look_up` is called on the threads, several calls at once.
    explicit Resolver(asio::io_context& io, LookUp look_up = ask_system);
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    ~Resolver();

    /// Calls `then` later, on the I/O thread, unless `owner` is gone by then.
    void look_up(const Address& name, const std::weak_ptr<void>& owner, Then then);

    /// What the system finds. If that is nothing, `error` says why. Blocks: for 10 s and more if name servers are
    /// silent.
    static Endpoints look_up_now(const Address& name, std::error_code& error);

private:
    static Endpoints ask_system(const Address& name);

    struct Shared;
    const std::shared_ptr<Shared> shared_;
};

}  // namespace cluster::net
