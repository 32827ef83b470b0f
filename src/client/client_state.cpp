#include "client/client_state.hpp"

#include "base/overloaded.hpp"
#include "client/options_check.hpp"
#include "net/system.hpp"
#include "support/deadline.hpp"
#include "support/handled_call.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"
#include "value/log_line.hpp"
#include "wire/client_codec.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::net {
template class Runner<client::Machine>;
}

namespace cluster::detail {

namespace {

/// Sends that wait for room.
constexpr std::size_t most_sends = 1024;

/// Of the node that belongs to one client alone.
Options node_options(const ClientOptions& client) {
    Options options;
    // Its node may have many thousands of such links. Whether the leader is silent the machine finds out by itself.
    options.heartbeat = std::clamp<std::chrono::nanoseconds>(client.session_timeout / 3, std::chrono::milliseconds(200),
                                                             std::chrono::seconds(5));
    options.suspicion = 3 * options.heartbeat;
    options.reconnect_min = std::chrono::milliseconds(20);
    options.reconnect_max = std::chrono::seconds(1);
    options.cluster = client.cluster;
    options.secret = client.secret;
    options.name = client.name;
    options.runtime = client.runtime;
    options.log = client.log;
    options.max_peers = 8;
    options.inbox_bytes = std::size_t{64} << 20;
    return options;
}

/// How the machine is given a command, or a query; see `ClientState::start`.
auto calling(std::chrono::nanoseconds timeout) {
    const Time deadline = deadline_after(timeout).time_since_epoch();
    return [deadline](client::Machine& machine, std::uint64_t ticket, Bytes bytes, Time now) {
        machine.call(ticket, std::move(bytes), deadline, now);
    };
}
auto reading(std::chrono::nanoseconds timeout, const ReadOptions& options) {
    const Time deadline = deadline_after(timeout).time_since_epoch();
    return [deadline, options](client::Machine& machine, std::uint64_t ticket, Bytes bytes, Time now) {
        const bool linearizable = options.consistency == Consistency::linearizable;
        machine.query(ticket, std::move(bytes), linearizable, options.at_least, deadline, now);
    };
}

}  // namespace

ClientState::ClientState(std::shared_ptr<NodeState> node, bool outside, ClientOptions options)
    : node_(std::move(node)),
      outside_(outside),
      loop_(node_->loop()),
      options_(std::move(options)),
      number_(net::draw_number()),
      tag_(wire::group_tag(options_.group)),
      calls_(std::size_t{256} << 20) {}

std::shared_ptr<ClientState> ClientState::start(std::shared_ptr<NodeState> node, ClientOptions options) {
    const bool outside = node == nullptr;
    client::check(options, outside);
    if (outside) node = NodeState::start_guest(node_options(options));
    const std::shared_ptr<ClientState> state(new ClientState(std::move(node), outside, std::move(options)));
    state->runner_ = std::make_unique<net::Runner<client::Machine>>(
        state->loop_, [raw = state.get()](client::Machine::Output& output) { raw->carry_out(output); },
        state->machine_options(), net::Loop::now());
    if (state->node_->clients()->add(state)) return state;
    state->end_io();
    throw std::system_error(make_error_code(errc::closed), "starting a client");
}

client::MachineOptions ClientState::machine_options() const {
    client::MachineOptions machine;
    machine.group = options_.group;
    machine.name = options_.name;
    machine.credentials = options_.credentials;
    net::fill_random(machine.key);
    if (outside_) {
        for (const std::string& each : options_.addresses) machine.addresses.push_back(Address::parse(each));
    }
    machine.session_timeout = options_.session_timeout;
    machine.give_up_after = options_.give_up_after;
    machine.max_outstanding = options_.max_outstanding;
    machine.inbox_bytes = options_.inbox_bytes;
    machine.seed = net::draw_number();
    return machine;
}

Message ClientState::message(const Bytes& bytes, std::uint64_t position) const {
    BlockRef block = Block::copy(bytes.view());
    const std::span<const std::byte> view(block->data(), bytes.size());
    return {node_->id(), block.detach(), view, 0, nullptr, position};
}

void ClientState::handler_threw(std::string_view what) {
    node_->handler_threw(what, " group=" + token(options_.group));
}

// The application.

std::shared_ptr<RequestOperation> ClientState::handled(Handler handler) {
    return std::make_shared<HandledCall>(std::move(handler), handler_calls_,
                                         [self = weak_from_this()](std::string_view what) {
                                             const auto alive = self.lock();
                                             if (alive) alive->handler_threw(what);
                                         });
}

/// `give(machine, ticket, bytes, now)` hands it to the machine, which ends it once.
template <class Give>
void ClientState::start(std::uint64_t ticket, const std::shared_ptr<RequestOperation>& operation, Payload& payload,
                        const Give& give) {
    Bytes bytes(payload.view());
    std::error_code error;
    {
        const Lock lock(mutex_);
        if (io_over_) {
            error = status_.error;
        } else if (!calls_.add(ticket, operation, bytes)) {
            error = errc::too_many_requests;
        }
    }
    if (!error) {
        return runner_->with([&](client::Machine& machine, Time now) { give(machine, ticket, std::move(bytes), now); });
    }
    operation->error = error;
    if (!loop_->call([operation] { operation->wake(); })) operation->wake();
}

Message ClientState::call(Payload& command, std::chrono::nanoseconds timeout, std::error_code& error) {
    return wait_for_result<RequestOperation>(
        error, [&](const auto& operation) { start(++last_ticket_, operation, command, calling(timeout)); });
}

void ClientState::call(Payload& command, std::chrono::nanoseconds timeout, Handler handler) {
    start(++last_ticket_, handled(std::move(handler)), command, calling(timeout));
}

void ClientState::call(Payload& command, std::chrono::nanoseconds timeout,
                       const std::shared_ptr<RequestOperation>& operation) {
    start(cancellable(*operation), operation, command, calling(timeout));
}

Message ClientState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
                          std::error_code& error) {
    return wait_for_result<RequestOperation>(
        error, [&](const auto& operation) { start(++last_ticket_, operation, query, reading(timeout, options)); });
}

void ClientState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options, Handler handler) {
    start(++last_ticket_, handled(std::move(handler)), query, reading(timeout, options));
}

void ClientState::read(Payload& query, std::chrono::nanoseconds timeout, const ReadOptions& options,
                       const std::shared_ptr<RequestOperation>& operation) {
    start(cancellable(*operation), operation, query, reading(timeout, options));
}

/// Its ticket.
std::uint64_t ClientState::cancellable(RequestOperation& operation) {
    const std::uint64_t ticket = ++last_ticket_;
    operation.cancel = [weak = weak_from_this(), ticket] {
        if (const auto self = weak.lock()) self->cancel(ticket);
    };
    return ticket;
}

/// The machine goes on with it, for a command may be on its way. Its end is told to nobody.
void ClientState::cancel(std::uint64_t ticket) {
    std::shared_ptr<RequestOperation> operation;
    {
        const Lock lock(mutex_);
        operation = calls_.take(ticket);
    }
    if (!operation) return;
    operation->error = errc::cancelled;
    operation->wake();
}

// Sending. Commands get their places in the order in which they were sent: none passes one that waits for room.

errc ClientState::cast(Bytes command) {
    if (status_.phase == ClientStatus::Phase::ended) return static_cast<errc>(status_.error.value());
    return runner_->with([&](client::Machine& machine, Time now) {
        // The session has ended, which is about to be told. Until then it takes commands, which end with it.
        return machine.session_over() ? errc{} : machine.cast(std::move(command), now);
    });
}

/// Zero: it has its place. `too_many_requests`: it waits for room, if it may.
std::error_code ClientState::start_send(Bytes command, const std::shared_ptr<WaitOperation>& operation) {
    const errc error = sends_.empty() ? cast(command) : errc::too_many_requests;
    if (error == errc::too_many_requests && operation && sends_.size() < most_sends) {
        sends_.add(operation, std::move(command));
    }
    return to_code(error);
}

void ClientState::send(Payload& command, std::chrono::nanoseconds timeout, std::error_code& error) {
    const bool waits = timeout > std::chrono::nanoseconds(0);
    const auto operation = waits && may_wait() ? std::make_shared<Waited<WaitOperation>>() : nullptr;
    {
        const Lock lock(mutex_);
        error = start_send(Bytes(command.view()), operation);
        if (error != errc::too_many_requests || !waits) return;
        if (!operation) error = errc::would_block;
        if (!operation || sends_.find(*operation) == nullptr) return;
    }
    operation->wait(deadline_after(timeout), [&] { stop_sending(*operation, errc::too_many_requests); });
    error = operation->error;
}

void ClientState::send(Payload& command, std::shared_ptr<WaitOperation> operation) {
    operation->cancel = [weak = weak_from_this(), raw = operation.get()] {
        if (const auto self = weak.lock()) self->stop_sending(*raw, errc::cancelled);
    };
    std::error_code error;
    {
        const Lock lock(mutex_);
        error = start_send(Bytes(command.view()), operation);
        if (sends_.find(*operation) != nullptr) return;
    }
    operation->error = error;
    operation->wake();
}

/// Ends it with `error` if it still waits for room.
void ClientState::stop_sending(const WaitOperation& operation, std::error_code error) {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(sends_.end(operation, error));
}

/// There is room, or the session has ended.
void ClientState::send_waiting(Woken& woken) {
    while (!sends_.empty()) {
        const errc error = cast(sends_.first());
        if (error == errc::too_many_requests) return;
        auto operation = sends_.take_first();
        operation->error = to_code(error);
        woken.add(std::move(operation));
    }
}

// Receiving.

std::optional<Message> ClientState::receive(std::chrono::nanoseconds duration) {
    const Deadline deadline = deadline_after(duration);
    const auto operation = std::make_shared<Waited<Operation>>();
    for (bool late = false;;) {
        if (auto message = try_receive()) return message;
        if (late || inbox_at_end()) return std::nullopt;
        require_may_wait("a message of the service");
        wait(operation);
        late = !operation->wait(deadline, [&] {
            if (stop_waiting(*operation)) operation->wake();
        });
    }
}

std::optional<Message> ClientState::try_receive() {
    const Lock lock(mutex_);
    if (inbox_.empty()) return std::nullopt;
    Message first = std::move(inbox_.front());
    inbox_.pop_front();
    // Under the lock: otherwise the machine might be told in another order than it has told.
    runner_->with([&](client::Machine& machine, Time now) { machine.taken(1, first.bytes().size(), now); });
    return first;
}

bool ClientState::inbox_at_end() const {
    const Lock lock(mutex_);
    return inbox_ended_ && inbox_.empty();
}

void ClientState::wait(std::shared_ptr<Operation> operation) {
    Woken woken;
    const Lock lock(mutex_);
    if (inbox_.empty() && !inbox_ended_) return receives_.add(std::move(operation));
    woken.add(std::move(operation));
}

bool ClientState::stop_waiting(const Operation& operation) {
    const Lock lock(mutex_);
    return receives_.take(operation) != nullptr;
}

void ClientState::pass_on() {
    Woken woken;
    const Lock lock(mutex_);
    if (!inbox_.empty()) woken.add(receives_.take_first());
}

ClientStatus ClientState::status() const {
    const Lock lock(mutex_);
    return status_;
}

Subscription ClientState::on_status(std::function<void(const ClientStatus&)> function) {
    std::shared_ptr<Callback<const ClientStatus&>> callback;
    {
        const Lock lock(mutex_);
        callback = status_callbacks_.add(std::move(function));
    }
    loop_->call([self = shared_from_this(), weak = std::weak_ptr(callback)] {
        const auto each = weak.lock();
        if (!each) return;
        each->call([&](std::string_view what) { self->handler_threw(what); }, self->status());
    });
    return Subscription(std::move(callback));
}

bool ClientState::wait_until_open(std::chrono::nanoseconds timeout) {
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    const auto decided = [this] {
        mutex_.assert_held();
        return status_.phase == ClientStatus::Phase::open || status_.phase == ClientStatus::Phase::ended;
    };
    {
        const Lock lock(mutex_);
        if (decided() || timeout <= std::chrono::nanoseconds(0)) return status_.phase == ClientStatus::Phase::open;
        if (may_wait()) opens_.add(operation);
    }
    require_may_wait("a session");
    operation->wait(deadline_after(timeout), [&] {
        Woken woken;
        const Lock lock(mutex_);
        woken.add(opens_.end(*operation, errc::timed_out));
    });
    const Lock lock(mutex_);
    return status_.phase == ClientStatus::Phase::open;
}

void ClientState::set_secret(std::string secret) {
    if (!outside_) {
        throw std::system_error(make_error_code(errc::invalid_options),
                                "a client inside of a node has no secret of its own");
    }
    node_->set_secrets(std::vector{std::move(secret)}, std::nullopt, WithdrawnLinks::keep);
}

void ClientState::close() {
    if (!may_wait()) {
        if (loop_->call([self = shared_from_this()] { self->close(); })) return;  // where one may wait
    }
    bool first = false;
    {
        const Lock lock(mutex_);
        first = !std::exchange(closing_, true);
    }
    if (!first) {
        if (may_wait()) closed_.wait();
        return;
    }
    runner_->with([](client::Machine& machine, Time now) { machine.close(now); });
    ended_.wait();
    loop_->post([self = shared_from_this()] { self->end_io(); });
    io_ended_.wait();
    node_->clients()->remove(*this);
    if (outside_) {
        const auto context = node_->shut_down();
        static_cast<void>(context);
    }
    closed_.reach();
    if (may_wait() && !loop_->on_callback_thread()) handler_calls_->wait_for_none();
}

void ClientState::end_callbacks() {
    std::vector<CallbackList<const ClientStatus&>::Entry> all;
    {
        const Lock lock(mutex_);
        all = status_callbacks_.all();
    }
    for (const auto& each : all) each->end();
}

// What nodes say.

void ClientState::begin() {
    runner_->start(weak_from_this());
    if (outside_) return;
    // A replica may run on the node itself.
    const PeerId own = node_->id();
    runner_->serve([&](client::Machine& machine, Time now) {
        machine.prefer(own);
        machine.came(own, {}, now);
    });
}

void ClientState::came(const Peer& peer) {
    runner_->serve([&](client::Machine& machine, Time now) { machine.came(peer.id, {}, now); });
}

void ClientState::went(const Peer& peer, RemovalReason) {
    runner_->serve([&](client::Machine& machine, Time now) { machine.went(peer.id, now); });
}

void ClientState::client_received(const PeerId& from, std::span<const Bytes> messages) {
    std::vector<wire::NodeToClient> decoded;
    for (const Bytes& each : messages) {
        if (wire::client_of(each) != number_) continue;
        if (auto message = wire::decode_to_client(each)) decoded.push_back(std::move(*message));
    }
    if (decoded.empty()) return;
    runner_->serve([&](client::Machine& machine, Time now) {
        for (wire::NodeToClient& each : decoded) machine.received(from, std::move(each.body), now);
    });
}

void ClientState::node_left() {
    runner_->serve([](client::Machine& machine, Time now) { machine.close(now); });
    end_io();
}

/// Nothing is carried out any more. What still waits ends.
void ClientState::end_io() {
    runner_->end();
    std::vector<std::shared_ptr<RequestOperation>> open;
    {
        Woken woken;
        const Lock lock(mutex_);
        open = calls_.take_all();
        io_over_ = true;
        inbox_ended_ = true;
        if (status_.phase != ClientStatus::Phase::ended) {
            status_ = {ClientStatus::Phase::ended, errc::closed, "its node has closed"};
        }
        woken.add(receives_.take_all());
        woken.add(opens_.take_all());
        woken.add(sends_.end_all(status_.error));
    }
    for (const auto& each : open) {
        each->error = errc::closed;
        each->wake();
    }
    ended_.reach();
    io_ended_.reach();
}

// What the machine wants.

void ClientState::carry_out(client::Machine::Output& output) {
    for (client::Effect& effect : output.effects) {
        std::visit(
            Overloaded{
                [&](client::Dial& each) { dial(each.address); },
                [&](client::Drop& each) { node_->remove(each.peer); },
                [&](client::Tell& each) {
                    const errc error = node_->send_on_client_channel(
                        each.to,
                        Block::adopt(wire::encode(wire::ClientToNode{tag_, number_, std::move(each.message)})));
                    if (error == errc{}) return;
                    runner_->with([&](client::Machine& machine, Time now) { machine.not_sent(each.to, now); });
                },
                [&](client::Replied& each) { end_call(each.ticket, {}, each.position, each.message); },
                [&](client::Failed& each) { end_call(each.ticket, each.error, 0, Bytes(std::string_view(each.why))); },
                [&](client::Pushed& each) { pushed(each); },
                [&](client::StateChanged& each) { changed(each); },
                [&](client::ChallengeCame& each) { challenged(each); },
                [&](client::RoomFreed&) { room_freed(); },
                [&](client::Ended&) { ended_.reach(); },
                [&](LogLine& line) { node_->log(std::move(line)); },
            },
            effect);
    }
    output.effects.clear();
}

void ClientState::dial(const Address& address) {
    class Dialling final : public AddOperation {
    public:
        Dialling(std::weak_ptr<ClientState> client, Address to) : client_(std::move(client)), to_(std::move(to)) {}
        void wake() noexcept override {
            const auto client = client_.lock();
            if (!client) return;
            client->runner_->with([&](client::Machine& machine, Time now) {
                if (error) return machine.dial_failed(to_, error.message(), now);
                machine.came(result.id, to_, now);
            });
        }

    private:
        const std::weak_ptr<ClientState> client_;
        const Address to_;
    };
    node_->start_add(address, std::make_shared<Dialling>(weak_from_this(), address));
}

void ClientState::end_call(std::uint64_t ticket, errc error, std::uint64_t position, const Bytes& bytes) {
    std::shared_ptr<RequestOperation> operation;
    {
        const Lock lock(mutex_);
        operation = calls_.take(ticket);
    }
    if (!operation) return;
    operation->error = to_code(error);
    operation->result = message(bytes, position);
    operation->wake();
}

void ClientState::pushed(client::Pushed& push) {
    Woken woken;
    Message came = message(push.message, push.position);
    const Lock lock(mutex_);
    inbox_.push_back(std::move(came));
    woken.add(receives_.take_first());
}

void ClientState::room_freed() {
    Woken woken;
    const Lock lock(mutex_);
    send_waiting(woken);
}

void ClientState::changed(const client::StateChanged& change) {
    ClientStatus now;
    now.phase = static_cast<ClientStatus::Phase>(change.state);
    now.error = to_code(change.error);
    now.why = change.why;
    Woken woken;
    const Lock lock(mutex_);
    status_ = now;
    if (change.state == client::State::ended) {
        inbox_ended_ = true;
        woken.add(receives_.take_all());
        send_waiting(woken);
    }
    if (change.state == client::State::ended || change.state == client::State::attached) woken.add(opens_.take_all());
    if (status_callbacks_.all().empty()) return;
    // Each change is told, in its order.
    loop_->call([self = shared_from_this(), now = std::move(now)] {
        std::vector<CallbackList<const ClientStatus&>::Entry> all;
        {
            const Lock again(self->mutex_);
            all = self->status_callbacks_.all();
        }
        for (const auto& each : all) each->call([&](std::string_view what) { self->handler_threw(what); }, now);
    });
}

void ClientState::challenged(const client::ChallengeCame& challenge) {
    loop_->call([self = shared_from_this(), challenge] {
        std::string response;
        const auto failed = [&](std::string_view what) { self->handler_threw(what); };
        if (self->options_.respond) {
            call_guarded(failed, [&] { response = self->options_.respond(challenge.challenge); });
        }
        self->runner_->with(
            [&](client::Machine& machine, Time now) { machine.respond(challenge.number, std::move(response), now); });
    });
}

}  // namespace cluster::detail
