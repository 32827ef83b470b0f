#include "net/driver.hpp"

#include "base/overloaded.hpp"
#include "net/addresses.hpp"
#include "net/connection.hpp"
#include "net/listener.hpp"
#include "net/sockets.hpp"
#include "net/system.hpp"
#include "value/address.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <variant>

namespace cluster::net {

using asio::ip::tcp;

namespace {

/// How often the I/O thread looks at one engine, at most, before it turns to other things.
constexpr int most_rounds = 16;
constexpr int most_accepts = 64;
constexpr auto accept_pause = std::chrono::milliseconds(100);
/// How often a node that others may reach looks at the interfaces of its machine, which may change.
constexpr auto interfaces_interval = std::chrono::seconds(5);

/// What to do when descriptors have run out.
std::string remedy_for(errc reason) {
    if (reason != errc::out_of_descriptors) return {};
    return " descriptor_limit=" + std::to_string(descriptor_limit()) +
           " remedy=\"call cluster::raise_descriptor_limit() at the start, or raise ulimit -n\"";
}

}  // namespace

Driver::Driver(std::shared_ptr<Loop> loop, tcp::acceptor acceptor, core::EngineOptions options,
               std::chrono::nanoseconds keep_warm)
    : loop_(std::move(loop)),
      keep_warm_(std::chrono::duration_cast<std::chrono::seconds>(keep_warm)),
      engine_(std::move(options), now()),
      acceptor_(std::move(acceptor)),
      timer_(loop_->io()),
      accept_pause_(loop_->io()),
      interfaces_timer_(loop_->io()) {}

Driver::~Driver() = default;

void Driver::start(std::shared_ptr<Observer> observer) {
    asio::post(loop_->io(), [self = shared_from_this(), observer = std::move(observer)]() mutable {
        self->observer_ = std::move(observer);
        self->wait_for_accept();
        self->watch_interfaces(std::nullopt);
        self->work();
    });
}

void Driver::post_work() {
    asio::post(loop_->io(), [self = shared_from_this()] { self->work(); });
}

/// Carries out what the engine wants until it wants nothing more.
void Driver::work() {
    for (int round = 0; round < most_rounds; ++round) {
        Time deadline = never;
        {
            const detail::Lock lock(mutex_);
            const Time time = now();
            if (engine_.deadline() <= time && may_judge()) engine_.tick(time);
            engine_.take_actions(actions_);
            engine_.take_ready(ready_);
            awake_ = !actions_.empty() || !ready_.empty();
            if (!awake_) {
                deadline = engine_.deadline();
                if (deadline >= armed_ || (catching_up_ && deadline <= time)) return;
                armed_ = deadline;
            }
        }
        if (deadline != never) return arm(deadline);
        for (core::Action& action : actions_) carry_out(std::move(action));
        actions_.clear();
        for (const core::LinkId link : ready_) {
            const auto found = connections_.find(link);
            if (found != connections_.end()) found->second->write();
        }
        ready_.clear();
    }
    post_work();
}

/// Whether all that had come by the engine's deadline has been read. If not, the engine is looked at again when it has.
bool Driver::may_judge() {
    if (engine_.deadline() <= loop_->caught_up()) return true;
    if (!std::exchange(catching_up_, true)) {
        loop_->catch_up([self = shared_from_this()] {
            self->catching_up_ = false;
            self->work();
        });
    }
    return false;
}

void Driver::arm(Time deadline) {
    timer_.expires_at(std::chrono::steady_clock::time_point(deadline));
    timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
        if (error) return;
        {
            const detail::Lock lock(self->mutex_);
            self->armed_ = never;
        }
        self->work();
    });
}

void Driver::carry_out(core::Action&& action) {
    std::visit(Overloaded{[&](core::Dial& each) { dial(std::move(each)); },
                          [&](core::Resolve& each) { resolve(std::move(each)); },
                          [&](core::Close& each) { close(each); },
                          [&](core::NodeAction& each) {
                              const bool last = std::holds_alternative<core::LeaveDone>(each);
                              if (observer_) observer_->carry_out(std::move(each));
                              if (last) finish();
                          }},
               action);
}

void Driver::dial(core::Dial&& dial) {
    connections_[dial.link] = std::make_shared<Connection>(shared_from_this(), dial.link, tcp::socket(loop_->io()));
    if (const std::optional<tcp::endpoint> endpoint = to_endpoint(dial.address)) return connect(dial, {*endpoint});
    // A peer has published a name.
    loop_->resolver_for_peers().look_up(dial.address, weak_from_this(), [this, dial](Resolver::Endpoints endpoints) {
        if (endpoints.empty()) return dialled(dial.link, dial.address, asio::error::host_not_found);
        // An address that never answers must not come before the others each time.
        std::array<std::uint8_t, 1> pick{};
        fill_random(pick);
        const auto first = static_cast<std::ptrdiff_t>(pick[0] % endpoints.size());
        std::rotate(endpoints.begin(), endpoints.begin() + first, endpoints.end());
        connect(dial, std::move(endpoints));
    });
}

void Driver::connect(const core::Dial& dial, Resolver::Endpoints endpoints) {
    const auto found = connections_.find(dial.link);
    if (found == connections_.end()) return;
    const auto connected = [this, link = dial.link, address = dial.address](const std::error_code& error) {
        dialled(link, address, error);
    };
    found->second->connect(std::move(endpoints), connected);
}

void Driver::dialled(core::LinkId link, const Address& address, const std::error_code& error) {
    const auto found = connections_.find(link);
    if (found == connections_.end()) return;
    const std::shared_ptr<Connection> connection = found->second;
    if (error) {
        const errc reason = to_errc(error);
        if (reason == errc::system_failure || reason == errc::out_of_descriptors) {
            const std::string what =
                "dial_failed address=" + token(address) + " text=" + quoted(error.message());
            warn(what + remedy_for(reason), what, true);
        }
        connection->close();
        connections_.erase(found);
        serve([&](core::Engine& engine, Time time) { engine.dial_failed(link, reason, time); });
        return;
    }
    serve([&](core::Engine& engine, Time time) { engine.connected(link, connection->remote(), time); });
    if (keep_warm_.count() != 0 && !connection->within_machine()) connection->keep_warm(keep_warm_);
    connection->start();
}

/// A numeric address waits for no look-up, and needs no thread for one.
void Driver::resolve(core::Resolve&& resolve) {
    const std::uint64_t target = resolve.target;
    if (const std::optional<tcp::endpoint> endpoint = to_endpoint(resolve.name)) {
        asio::post(loop_->io(), [self = shared_from_this(), target, endpoint] { self->resolved(target, {*endpoint}); });
        return;
    }
    loop_->resolver().look_up(resolve.name, weak_from_this(), [this, target](const Resolver::Endpoints& endpoints) {
        resolved(target, endpoints);
    });
}

void Driver::resolved(std::uint64_t target, const Resolver::Endpoints& endpoints) {
    std::vector<Address> addresses;
    for (const tcp::endpoint& endpoint : endpoints) addresses.push_back(to_address(endpoint));
    serve([&](core::Engine& engine, Time time) {
        const errc error = addresses.empty() ? errc::unresolvable_host : errc{};
        engine.resolved(target, std::move(addresses), error, time);
    });
}

void Driver::close(const core::Close& close) {
    const auto found = connections_.find(close.link);
    if (found == connections_.end()) return;
    if (close.drain) {
        found->second->drain();
    } else {
        found->second->close();
        connections_.erase(found);
    }
}

void Driver::connection_ended(core::LinkId link) {
    const auto found = connections_.find(link);
    if (found == connections_.end()) return;
    found->second->close();
    connections_.erase(found);
    serve([&](core::Engine& engine, Time time) { engine.link_ended(link, time); });
}

/// The node has left: ends what keeps this alive.
void Driver::finish() {
    std::error_code ignored;
    acceptor_.close(ignored);
    accept_pause_.cancel();
    interfaces_timer_.cancel();
    timer_.cancel();
    for (const auto& [link, connection] : connections_) connection->close();
    connections_.clear();
    observer_.reset();
}

void Driver::watch_interfaces(std::optional<Interfaces> last) {
    std::error_code error;
    if (acceptor_.local_endpoint(error).address().is_loopback() || error) return;
    interfaces_timer_.expires_after(interfaces_interval);
    interfaces_timer_.async_wait([self = shared_from_this(), last = std::move(last)](const std::error_code& cancelled) {
        if (cancelled || !self->acceptor_.is_open()) return;
        std::optional<Interfaces> found = listening(self->acceptor_);
        if (found && found != last) {
            self->serve([&](core::Engine& engine, Time time) {
                engine.listening(found->addresses, found->zones, time);
            });
        }
        self->watch_interfaces(found ? std::move(found) : last);
    });
}

void Driver::wait_for_accept() {
    acceptor_.async_wait(tcp::acceptor::wait_read, [self = shared_from_this()](const std::error_code& error) {
        if (!error) self->accept();
    });
}

void Driver::accept() {
    for (int i = 0; i < most_accepts && acceptor_.is_open(); ++i) {
        tcp::socket socket(loop_->io());
        std::error_code error;
        const tcp::endpoint remote = net::accept(acceptor_, socket, error);
        if (error == asio::error::would_block || error == asio::error::try_again) break;
        if (error == asio::error::connection_aborted || error == asio::error::interrupted) continue;
        if (error) return pause_accepting(error);
        accepting_failed_ = false;
        accepted(std::move(socket), remote);
    }
    if (acceptor_.is_open()) wait_for_accept();
}

void Driver::accepted(tcp::socket socket, const tcp::endpoint& remote) {
    const core::LinkId link = with_engine(
        [&](core::Engine& engine, Time time) { return engine.accepted(to_address(remote), time); });
    if (link == 0) return;
    const auto connection = std::make_shared<Connection>(shared_from_this(), link, std::move(socket));
    connections_[link] = connection;
    connection->start();
}

/// Without a descriptor a connection cannot even be refused: it waits in the system's queue.
void Driver::pause_accepting(const std::error_code& error) {
    if (!std::exchange(accepting_failed_, true)) {
        warn("accept_failed text=" + quoted(error.message()) + remedy_for(to_errc(error)), "accept_failed");
    }
    accept_pause_.expires_after(accept_pause);
    accept_pause_.async_wait([self = shared_from_this()](const std::error_code& cancelled) {
        if (!cancelled) self->accept();
    });
}

void Driver::warn(std::string text, std::string cause, bool stranger) {
    if (!observer_) return;
    observer_->carry_out(LogLine{Severity::warning, std::move(text), std::move(cause), stranger});
}

}  // namespace cluster::net
