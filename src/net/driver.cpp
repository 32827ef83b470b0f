#include "net/driver.hpp"

#include "base/overloaded.hpp"
#include "net/addresses.hpp"
#include "net/connection.hpp"
#include "net/system.hpp"
#include "value/address.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::net {

using asio::ip::tcp;

namespace {

/// What to do when descriptors have run out.
std::string remedy_for(errc reason) {
    if (reason != errc::out_of_descriptors) return {};
    return " descriptor_limit=" + std::to_string(descriptor_limit()) +
           " remedy=\"call cluster::raise_descriptor_limit() at the start, or raise ulimit -n\"";
}

/// What to do when somebody without our secret has dialled.
std::string remedy_for(std::string_view tls_failure) {
    if (tls_failure == "plain_text") {
        return " remedy=\"if that belongs to this cluster, set its Options::secret or ClientOptions::secret\"";
    }
    if (tls_failure == "unknown_key" || tls_failure == "wrong_key") {
        return " remedy=\"if that belongs to this cluster, give both the same secret and the same name of the cluster; "
               "a client may have one of guest_secrets\"";
    }
    return {};
}

}  // namespace

template class Runner<core::Engine>;

Driver::Driver(std::shared_ptr<Loop> loop, tcp::acceptor acceptor, core::EngineOptions options,
               std::chrono::nanoseconds keep_warm, std::shared_ptr<Tls> tls)
    : loop_(std::move(loop)),
      keep_warm_(std::chrono::duration_cast<std::chrono::seconds>(keep_warm)),
      tls_(std::move(tls)),
      runner_(
          loop_, [this](core::Engine::Output& output) { carry_out(output); }, std::move(options), Loop::now()),
      listener_(
          std::move(acceptor),
          [this](tcp::socket socket, const tcp::endpoint& remote) { accepted(std::move(socket), remote); },
          [this](const Interfaces& now) { moved(now); },
          [this](const std::error_code& error) { accept_failed(error); }) {}

Driver::~Driver() = default;

void Driver::start(std::shared_ptr<Observer> observer) {
    asio::post(loop_->io(), [self = shared_from_this(), observer = std::move(observer)]() mutable {
        self->observer_ = std::move(observer);
        self->listener_.start(self);
        self->runner_.start(self);
    });
}

void Driver::carry_out(core::Engine::Output& output) {
    for (core::Action& action : output.actions) carry_out(std::move(action));
    output.actions.clear();
    for (const core::LinkId link : output.ready) {
        const auto found = connections_.find(link);
        if (found != connections_.end()) found->second->write();
    }
    output.ready.clear();
}

void Driver::carry_out(core::Action&& action) {
    std::visit(
        Overloaded{[&](core::Dial& each) { dial(std::move(each)); },
                   [&](core::Resolve& each) { resolve(std::move(each)); }, [&](core::Close& each) { close(each); },
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
    const auto done = [this, link = dial.link, address = dial.address](const std::error_code& error) {
        connected(link, address, error);
    };
    found->second->connect(std::move(endpoints), done);
}

void Driver::connected(core::LinkId link, const Address& address, const std::error_code& error) {
    const auto found = connections_.find(link);
    if (error || !tls_ || found == connections_.end()) return dialled(link, address, error);
    const std::shared_ptr<Connection> connection = found->second;
    connection->secure(*tls_, [this, link, address](const std::error_code& why) { dialled(link, address, why); });
}

void Driver::dialled(core::LinkId link, const Address& address, const std::error_code& error) {
    const auto found = connections_.find(link);
    if (found == connections_.end()) return;
    const std::shared_ptr<Connection> connection = found->second;
    if (error) {
        const errc reason = to_errc(error);
        if (reason == errc::system_failure || reason == errc::out_of_descriptors) {
            const std::string what = "dial_failed address=" + token(address) + " text=" + quoted(error.message());
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
    loop_->resolver().look_up(resolve.name, weak_from_this(),
                              [this, target](const Resolver::Endpoints& endpoints) { resolved(target, endpoints); });
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
    const std::shared_ptr<Connection> connection = found->second;
    if (connection->started() && connection->tls() != nullptr && !connection->tls()->failure().empty()) {
        warn("tls_broken address=" + token(connection->remote()) + " why=" + token(connection->tls()->failure()),
             "tls_broken", true);
    }
    connection->close();
    connections_.erase(found);
    serve([&](core::Engine& engine, Time time) { engine.link_ended(link, time); });
}

/// The node has left: ends what keeps this alive.
void Driver::finish() {
    listener_.end();
    runner_.end();
    for (const auto& [link, connection] : connections_) connection->close();
    connections_.clear();
    observer_.reset();
}

void Driver::accepted(tcp::socket socket, const tcp::endpoint& remote) {
    const core::LinkId link =
        with_engine([&](core::Engine& engine, Time time) { return engine.accepted(to_address(remote), time); });
    if (link == 0) return;
    const auto connection = std::make_shared<Connection>(shared_from_this(), link, std::move(socket));
    connections_[link] = connection;
    if (!tls_) return connection->start();
    // The engine counts and times this link from now on, so it does the same for the handshake of TLS.
    const std::string where = to_address(remote).to_string();
    connection->secure(*tls_, [this, link, where](const std::error_code& error) { secured(link, where, error); });
}

/// A connection that was accepted has finished its handshake of TLS, or has failed to.
void Driver::secured(core::LinkId link, const std::string& remote, const std::error_code& error) {
    const auto found = connections_.find(link);
    if (found == connections_.end()) return;
    const std::shared_ptr<Connection> connection = found->second;
    if (error) {
        if (const std::string_view why = connection->tls()->failure(); !why.empty()) {
            const std::string cause = "secret_refused why=" + token(why);
            warn(cause + " address=" + token(remote) + remedy_for(why), cause, true);
        }
        return connection_ended(link);
    }
    if (connection->tls()->key().guests_only) {
        with_engine([&](core::Engine& engine, Time) { engine.takes_guests_only(link); });
    }
    connection->start();
}

void Driver::drop_withdrawn() {
    loop_->post([self = shared_from_this()] {
        std::vector<core::LinkId> withdrawn;
        for (const auto& [link, connection] : self->connections_) {
            if (connection->tls() != nullptr && !self->tls_->accepts(connection->tls()->key())) {
                withdrawn.push_back(link);
            }
        }
        for (const core::LinkId link : withdrawn) self->connection_ended(link);
    });
}

void Driver::accept_failed(const std::error_code& error) {
    warn("accept_failed text=" + quoted(error.message()) + remedy_for(to_errc(error)), "accept_failed");
}

void Driver::moved(const Interfaces& now) {
    serve([&](core::Engine& engine, Time time) { engine.listening(now.addresses, now.zones, time); });
}

void Driver::warn(std::string text, std::string cause, bool stranger) {
    if (!observer_) return;
    observer_->carry_out(LogLine{LogLevel::warning, std::move(text), std::move(cause), stranger});
}

}  // namespace cluster::net
