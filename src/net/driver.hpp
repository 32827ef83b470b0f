#pragma once

#include "core/action.hpp"
#include "core/engine.hpp"
#include "net/addresses.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"
#include "net/listener.hpp"
#include "net/resolver.hpp"
#include "net/runner.hpp"
#include "net/tls.hpp"

#include <cluster/error.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace cluster::net {

class Connection;

/// Instantiated once, in driver.cpp. What is called often is inlined all the same.
extern template class Runner<core::Engine>;

/// Carries out the actions that do not concern the network.
class Observer {
public:
    virtual ~Observer() = default;
    /// On the I/O thread, under no lock, in the engine's order. LeaveDone is the last.
    virtual void carry_out(core::NodeAction&& action) = 0;
};

/// One node's engine, and what carries out its actions on the network: the listener, the connections, the resolver.
///
/// `with_engine` and `enqueue` may be called from any thread, everything else on the I/O thread only. Kept alive by
/// work under way; keeps the observer alive from `start` to LeaveDone.
///
/// Actions are carried out before anything that the engine produced with them is written: a message is in the inbox
/// before its acknowledgement leaves.
class Driver : public std::enable_shared_from_this<Driver> {
public:
    /// `keep_warm`: see `Options`. `tls`: null for plain text.
    Driver(std::shared_ptr<Loop> loop, asio::ip::tcp::acceptor acceptor, core::EngineOptions options,
           std::chrono::nanoseconds keep_warm, std::shared_ptr<Tls> tls);
    ~Driver();

    /// From any thread, once.
    void start(std::shared_ptr<Observer> observer);

    /// From any thread: null for plain text.
    const std::shared_ptr<Tls>& tls() const noexcept { return tls_; }
    /// From any thread: closes the links that were made with a key that is not accepted any more.
    void drop_withdrawn();

    // The engine, as `Runner` says.
    template <class Use>
    auto with_engine(Use&& use) {
        return runner_.with(std::forward<Use>(use));
    }
    template <class Use>
    auto enqueue(Use&& use) {
        return runner_.enqueue(std::forward<Use>(use));
    }
    template <class Use>
    void serve(Use&& use) {
        runner_.serve(std::forward<Use>(use));
    }

    // For the connections.
    void connection_ended(core::LinkId link);
    Loop& loop() noexcept { return *loop_; }

private:
    void carry_out(core::Engine::Output& output);
    void carry_out(core::Action&& action);
    void dial(core::Dial&& dial);
    void connect(const core::Dial& dial, Resolver::Endpoints endpoints);
    void connected(core::LinkId link, const Address& address, const std::error_code& error);
    void dialled(core::LinkId link, const Address& address, const std::error_code& error);
    void resolve(core::Resolve&& resolve);
    void resolved(std::uint64_t target, const Resolver::Endpoints& endpoints);
    void close(const core::Close& close);
    void finish();
    void accepted(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote);
    void secured(core::LinkId link, const std::string& remote, const std::error_code& error);
    void accept_failed(const std::error_code& error);
    void moved(const Interfaces& now);
    /// Warnings with the same `cause` repeat each other. `stranger`: it may concern a peer that others invented.
    void warn(std::string text, std::string cause, bool stranger = false);

    const std::shared_ptr<Loop> loop_;
    const std::chrono::seconds keep_warm_;
    const std::shared_ptr<Tls> tls_;
    Runner<core::Engine> runner_;

    // Of the I/O thread.
    std::shared_ptr<Observer> observer_;
    Listener listener_;
    std::unordered_map<core::LinkId, std::shared_ptr<Connection>> connections_;
};

}  // namespace cluster::net
