#include "node/node_state.hpp"

#include "base/overloaded.hpp"
#include "net/addresses.hpp"
#include "net/listener.hpp"
#include "net/standard_error.hpp"
#include "net/system.hpp"
#include "node/options_check.hpp"
#include "node/replier.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"
#include "value/address.hpp"
#include "wire/client_codec.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace cluster::detail {

namespace {

using core::Engine;

PeerId draw_id() {
    PeerId id;
    net::fill_random(id.bytes);
    return id;
}

std::string name_of(const Options& options, const PeerId& id) {
    if (!options.name.empty()) return options.name;
    return std::to_string(net::process_id()) + "-" + id.to_string().substr(0, 8);
}

std::vector<Address> parse(const std::vector<std::string>& texts) {
    std::vector<Address> addresses;
    for (const std::string& text : texts) addresses.push_back(Address::parse(text));
    return addresses;
}

/// The addresses that others learn, to dial this node.
std::vector<Address> advertised(const Options& options, const net::Interfaces& here) {
    if (options.advertise.empty()) return here.addresses;
    std::vector<Address> addresses = parse(options.advertise);
    for (Address& address : addresses) {
        if (address.port == 0) address.port = here.addresses.front().port;
    }
    return addresses;
}

/// Whether the application gave a name that leads here only on this machine. The machine's own name often does.
bool is_loopback_in_disguise(const Options& options, const net::Interfaces& here) {
    const Address listen = Address::parse(options.listen);
    return options.advertise.empty() && core::is_loopback(here.addresses.front().host) && !net::to_endpoint(listen) &&
           listen.host.find("localhost") == std::string::npos;
}

/// Where peers were in a former run. Not those that are dialled anyway, nor this node itself.
std::vector<Address> remembered(const Options& options, const net::PeersFile* file, std::vector<Address> own) {
    if (file == nullptr) return {};
    for (Address& seed : parse(options.seeds)) own.push_back(std::move(seed));
    std::vector<Address> addresses = file->addresses(own, core::KnownPeers::max_entries);
    std::erase_if(addresses, [](const Address& address) { return is_wildcard(address.host); });
    return addresses;
}

constexpr std::string_view plain_text_advice =
    "whoever reaches that address can join, and whoever is on the path can read and change all; set Options::secret, "
    "the same on all nodes, to what cluster::make_secret() returns once";

using Awaits = std::function<bool(const PeerId&, std::uint64_t call)>;

core::EngineOptions engine_options(const Options& options, bool guest, core::Facts self,
                                   std::vector<Address> remembered, net::Interfaces here, bool wildcard,
                                   Awaits awaits) {
    return {
        .cluster = options.cluster,
        .self = std::move(self),
        .observer = options.observer,
        .guest = guest,
        .listening = std::move(here.addresses),
        .publish_observed = wildcard && options.advertise.empty(),
        .zones = std::move(here.zones),
        .seeds = parse(options.seeds),
        .remembered = std::move(remembered),
        .heartbeat = options.heartbeat,
        .suspicion = options.suspicion,
        .reconnect_min = options.reconnect_min,
        .reconnect_max = options.reconnect_max,
        .resume_for = options.resume_for,
        .forget_after = options.forget_after,
        .connect_timeout = options.connect_timeout,
        .handshake_timeout = options.handshake_timeout,
        .attach_timeout = options.attach_timeout,
        .linger = options.linger,
        .send_timeout = options.send_timeout,
        .inbox_bytes = options.inbox_bytes,
        .outbox_bytes = options.outbox_bytes,
        .total_outbox_bytes = options.total_outbox_bytes,
        .max_message = options.max_message,
        .max_peers = options.max_peers,
        .max_guests = options.max_guests,
        .members_bytes = options.members_bytes,
        .awaits = std::move(awaits),
        .random = net::fill_random,
    };
}

/// `address` in its normal form, if it can be dialled.
Address checked_to_dial(const Address& address, std::error_code& error) {
    Address checked = Address::parse(address.to_string(), error);
    if (!error && (checked.port == 0 || is_wildcard(checked.host))) error = errc::invalid_address;
    return checked;
}

}  // namespace

NodeState::NodeState(const Options& options, const PeerId& id)
    : id_(id),
      name_(name_of(options, id)),
      send_timeout_(options.send_timeout),
      skip_(options.when_full == WhenFull::give_up ? Engine::Skip::slow : Engine::Skip::nobody),
      max_message_(options.max_message),
      log_(options.log ? options.log : net::log_to_standard_error(), name_,
           options.log ? LogLevel::debug : LogLevel::warning) {}

std::shared_ptr<NodeState> NodeState::start(Options options, bool guest) {
    if (guest) options.peers_file.clear();
    check(options);
    const Secrets secrets = secrets_of(options);
    std::shared_ptr<net::Tls> tls;
    if (!secrets.peers.empty()) tls = net::make_tls({secrets, options.cluster});
    const std::shared_ptr<NodeState> state(new NodeState(options, draw_id()));
    {
        const Lock lock(state->mutex_);
        state->secrets_ = secrets;
    }
    state->context_ = options.runtime ? options.runtime->context() : std::make_shared<net::Context>();
    state->loop_ = state->context_->loop();
    state->log_alarm_.emplace(state->loop_, [raw = state.get()] { raw->flush_log(); });
    const std::weak_ptr<NodeState> weak = state;
    if (!options.peers_file.empty()) {
        state->peers_file_ =
            std::make_shared<net::PeersFile>(options.peers_file, options.cluster, options.forget_after, state->loop_,
                                             [weak](LogLevel level, const std::string& text) {
                                                 if (const auto self_again = weak.lock())
                                                     self_again->log({level, text});
                                             });
    }

    asio::ip::tcp::acceptor acceptor(state->loop_->io());
    net::Interfaces here;
    bool wildcard = false;
    if (guest) {
        if (auto all = net::interfaces(0, false)) here.zones = std::move(all->zones);
    } else {
        acceptor = net::listen(state->loop_->io(), Address::parse(options.listen));
        const auto local = acceptor.local_endpoint();
        wildcard = local.address().is_unspecified();
        const Address alone = wildcard ? Address{"127.0.0.1", local.port()} : net::to_address(local);
        here = net::listening(acceptor).value_or(net::Interfaces{{alone}, {}});
        if (!tls && !local.address().is_loopback()) {
            state->log_.write(LogLevel::warning, "listens_without_secret address=" + token(net::to_address(local)) +
                                                     " why=" + quoted(plain_text_advice));
        }
        if (is_loopback_in_disguise(options, here)) {
            state->log_.write(LogLevel::warning, "listens_on_loopback address=" + token(here.addresses.front()) +
                                                     " listen=" + token(options.listen) +
                                                     " why=" + quoted(core::loopback_advice));
        }
    }
    core::Facts self{.id = state->id_,
                     .version = 1,
                     .name = state->name_,
                     .addresses = guest ? std::vector<Address>() : advertised(options, here),
                     .tags = options.tags};
    auto known = remembered(options, state->peers_file_.get(), here.addresses);
    const auto awaits = [weak](const PeerId& from, std::uint64_t call) {
        const auto self_again = weak.lock();
        return self_again && self_again->requests_->awaits(from, call);
    };
    state->driver_ = std::make_shared<net::Driver>(
        state->loop_, std::move(acceptor),
        engine_options(options, guest, std::move(self), std::move(known), std::move(here), wildcard, awaits),
        options.keep_warm, std::move(tls));

    state->on_throw_ = [weak](std::string_view what) {
        if (const auto self_again = weak.lock()) self_again->handler_threw(what);
    };
    const auto call_back = [loop = state->loop_, calls = state->handler_calls_,
                            on_throw = state->on_throw_](std::function<void()> work) {
        calls->begin();
        const bool accepted = loop->call([work = std::move(work), calls, on_throw]() mutable {
            call_guarded(on_throw, work);
            work = {};  // what the handler refers to may be gone when nobody waits any more
            calls->end();
        });
        if (!accepted) calls->end();
        return accepted;
    };
    state->inbox_ = std::make_shared<InboxState>(
        [weak] {
            const auto self_again = weak.lock();
            if (self_again) self_again->loop_->post([self_again] { self_again->return_credit(); });
        },
        call_back,
        new Replier(
            [weak](const PeerId& to, std::uint64_t call, int code, Payload& payload, std::error_code& error) {
                error = errc::closed;
                const auto self_again = weak.lock();
                if (self_again && self_again->is_here()) self_again->reply(to, call, code, payload, error);
            },
            [weak](const PeerId& to, std::uint64_t call) {
                const auto self_again = weak.lock();
                if (!self_again || !self_again->is_here()) return;
                self_again->loop_->post([weak, to, call] {
                    if (const auto alive = weak.lock()) alive->dropped(to, call);
                });
            }));
    state->members_ = std::make_shared<NodeMembers>(state->id_, options.max_member_data, state->driver_,
                                                    std::make_shared<MembersState>(call_back, state->on_throw_));
    state->replicas_ = std::make_shared<NodeReplicas>(state->loop_);
    state->clients_ = std::make_shared<NodeClients>(state->loop_, [weak](const PeerId& to, std::uint64_t client) {
        const auto self_again = weak.lock();
        if (!self_again) return;
        const client::Refused refused{client::Refusal::no_such_group, "no replica of the group runs here"};
        self_again->send_on_client_channel(to, Block::adopt(wire::encode(wire::NodeToClient{client, refused})));
    });
    state->sends_ = std::make_shared<SendQueue>(
        state->loop_,
        [weak](const SendQueue::Receivers& to, const Engine::Body& body, bool last) {
            const auto self_again = weak.lock();
            if (!self_again) return Engine::Outcome{errc::closed, 0, {}, never};
            return last ? self_again->last_attempt(to, body)
                        : self_again->attempt(to, body, self_again->skip_, net::Loop::now());
        },
        [weak](const Engine::Outcome& outcome) {
            if (const auto self_again = weak.lock()) self_again->log_no_room(outcome);
        },
        options.send_timeout, options.total_outbox_bytes);
    state->requests_ =
        std::make_shared<NodeRequests>(state->loop_, state->sends_, state->handler_calls_, state->on_throw_);
    state->callbacks_ = std::make_shared<Callbacks>(
        [loop = state->loop_](std::function<void()> work) { return loop->call(std::move(work)); }, state->on_throw_,
        [driver = state->driver_] { return driver->with_engine([](Engine& engine, Time) { return engine.peers(); }); });
    if (state->peers_file_) {
        state->peers_file_->start([driver = state->driver_] {
            return driver->with_engine([](Engine& engine, Time) { return engine.whereabouts(); });
        });
    }
    state->driver_->start(state);
    return state;
}

// What the engine wants done.

void NodeState::carry_out(core::NodeAction&& action) {
    std::visit(Overloaded{
                   [&](core::Deliver& each) { deliver(std::move(each)); },
                   [&](core::PeerAdded& each) {
                       callbacks_->peer_added(each.peer);
                       replicas_->peer_added(each.peer);
                       clients_->peer_added(each.peer);
                       peer_came();
                   },
                   [&](core::PeerRemoved& each) { peer_gone(each.peer, each.reason); },
                   [&](core::GuestCame& each) { clients_->guest_came(each.guest); },
                   [&](core::GuestWent& each) { clients_->guest_went(each.guest); },
                   [&](core::PeersChanged&) {
                       callbacks_->peers_changed();
                       if (peers_file_) peers_file_->changed();  // comes with everything that the file shows
                   },
                   [&](core::Surrender& each) {
                       callbacks_->given_up({each.peer, each.messages, each.bytes, each.reason});
                   },
                   [&](core::AddDone& each) { answered(std::move(each)); },
                   [&](core::RoomFreed&) { sends_->serve(); },
                   [&](core::Settled&) { settled(); },
                   [&](core::MembersChanged& each) { members_->changed(std::move(each)); },
                   [&](core::MembersInDoubt& each) { members_->in_doubt(each.owner, each.suspect); },
                   [&](core::MembersSeenByMore&) { members_->seen_by_more(); },
                   [&](core::LeaveDone& each) { left(each); },
                   [&](LogLine& each) { log(std::move(each)); },
               },
               action);
}

void NodeState::peer_gone(const Peer& peer, RemovalReason reason) {
    callbacks_->peer_removed(peer, reason);
    replicas_->peer_removed(peer, reason);
    clients_->peer_removed(peer, reason);
    return_credit();  // the messages taken of a session that has ended may be too few for readers to report
    members_->in_doubt(peer.id, false);
    requests_->peer_gone(peer.id);
    const bool parted =
        reason == RemovalReason::left || reason == RemovalReason::removed || reason == RemovalReason::refused;
    if (peers_file_ && parted) peers_file_->departed(peer.id);
}

void NodeState::deliver(core::Deliver&& deliver) {
    switch (deliver.receiver) {
        case core::Receiver::inbox:
            inbox_->push({&deliver.batch, 1});
            if (handler_.is_set()) serve_handler();
            break;
        case core::Receiver::calls: requests_->replied(deliver.batch); break;
        case core::Receiver::replicas: replicas_->deliver(deliver.batch); break;
        case core::Receiver::clients: clients_->deliver(deliver.batch); break;
    }
}

void NodeState::serve_handler() {
    handler_.serve(inbox_, on_throw_);
}

void NodeState::peer_came() {
    Woken woken;
    const Lock lock(mutex_);
    if (waits_.empty()) return;
    const std::size_t peers = driver_->with_engine([](Engine& engine, Time) { return engine.peer_count(); });
    woken.add(waits_.take_if([&](const auto& count, WaitOperation&) { return count && *count <= peers; }));
}

void NodeState::settled() {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(waits_.take_if([](const auto& count, WaitOperation&) { return !count; }));
}

void NodeState::answered(core::AddDone&& answer) {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(adds_.take_if([&](std::uint64_t number, AddOperation& operation) {
        if (number != answer.number) return false;
        operation.error = to_code(answer.error);
        operation.result = std::move(answer.peer);
        return true;
    }));
}

void NodeState::leave() {
    driver_->with_engine([&](Engine& engine, Time now) {
        // Peers whose links end from here on have not left: this node has.
        auto view = peers_file_ ? engine.whereabouts() : std::nullopt;
        if (view) peers_file_->leaving(std::move(*view));
        engine.leave(now);
    });
}

void NodeState::left(const core::LeaveDone& done) {
    log_alarm_->end();
    log_.flush(true);
    if (peers_file_) peers_file_->end();
    inbox_->end();
    inbox_->detach();
    members_->end();
    replicas_->end();
    clients_->end();
    requests_->end();
    sends_->end();
    const Unacknowledged unacknowledged{done.messages, done.bytes, done.peers};
    {
        // Woken before anybody finds `left_`: whoever destroys the node then waits for their functions to be called.
        Woken woken;
        const Lock lock(mutex_);
        end_waits(woken);
    }
    Woken woken;
    const Lock lock(mutex_);
    left_ = unacknowledged;
    end_waits(woken);  // those that came meanwhile
    woken.add(closes_.take_if([&](Nothing, CloseOperation& operation) {
        operation.result = unacknowledged;
        return true;
    }));
}

void NodeState::end_waits(Woken& woken) {
    woken.add(adds_.end_all(errc::closed));
    woken.add(waits_.end_all(errc::closed));
}

void NodeState::return_credit() {
    inbox_->taken(taken_);
    driver_->with_engine([&](Engine& engine, Time now) {
        for (const InboxState::Taken& each : taken_) engine.taken(each.session, each.bytes, now);
    });
}

void NodeState::handler_threw(std::string_view what, std::string_view more) {
    ++handler_exceptions_;
    std::string text = "handler_threw text=" + quoted(what);
    text += more;
    log({.level = LogLevel::error, .text = text, .cause = text});
}

void NodeState::log(LogLine line) {
    log_.write(std::move(line));
    const auto due = log_.due();
    if (due && !log_alarm_->set(*due, weak_from_this())) log_.flush(true);  // the node has left
}

/// What the log has counted is written when its time has come.
void NodeState::flush_log() {
    log_.flush();
    if (const auto next = log_.due()) log_alarm_->set(*next, weak_from_this());
}

// What the application wants.

std::vector<Address> NodeState::addresses() const {
    return driver_->with_engine([](Engine& engine, Time) { return engine.self().addresses; });
}

Peer NodeState::add(const Address& address, std::error_code& error) {
    return wait_for_result<AddOperation>(error, [&](const auto& operation) { start_add(address, operation); });
}

void NodeState::start_add(const Address& address, std::shared_ptr<AddOperation> operation) {
    Woken woken;
    if (operation->error) return woken.add(std::move(operation));
    const Address checked = checked_to_dial(address, operation->error);
    const Lock lock(mutex_);
    if (left_) operation->error = errc::closed;
    if (operation->error) return woken.add(std::move(operation));
    const std::uint64_t request =
        driver_->with_engine([&](Engine& engine, Time now) { return engine.add(checked, now); });
    operation->cancel = [weak = weak_from_this(), request] {
        const auto self = weak.lock();
        if (!self) return;
        self->driver_->with_engine([&](Engine& engine, Time) { engine.cancel_add(request); });
    };
    adds_.add(std::move(operation), request);
}

void NodeState::start_wait(std::optional<std::size_t> count, std::shared_ptr<WaitOperation> operation) {
    operation->cancel = [weak = weak_from_this(), raw = operation.get()] {
        if (const auto self = weak.lock()) self->cancel_wait(*raw);
    };
    Woken woken;
    const Lock lock(mutex_);
    const bool left = left_.has_value();
    const bool there = driver_->with_engine(
        [&](Engine& engine, Time) { return count ? engine.peer_count() >= *count : !left && engine.settled(); });
    if (!there && !left) return waits_.add(std::move(operation), count);
    if (!there) operation->error = errc::closed;
    woken.add(std::move(operation));
}

void NodeState::cancel_wait(const WaitOperation& operation) {
    Woken woken;
    const Lock lock(mutex_);
    woken.add(waits_.end(operation, errc::cancelled));
}

bool NodeState::wait_for(std::optional<std::size_t> count, std::chrono::nanoseconds timeout) {
    const bool would_block = !may_wait() && timeout > std::chrono::nanoseconds(0);
    const Deadline deadline = would_block ? no_wait : deadline_after(timeout);
    const auto operation = std::make_shared<Waited<WaitOperation>>();
    start_wait(count, operation);
    operation->wait(deadline, [&] { cancel_wait(*operation); });
    if (would_block && operation->error == errc::cancelled) require_may_wait("peers");
    return !operation->error;
}

std::vector<Peer> NodeState::peers() const {
    return driver_->with_engine([](Engine& engine, Time) { return engine.peers(); });
}

std::vector<Peer> NodeState::everybody() const {
    return driver_->with_engine([](Engine& engine, Time) { return engine.everybody(); });
}

std::optional<Peer> NodeState::peer(const PeerId& id) const {
    return driver_->with_engine([&](Engine& engine, Time) { return engine.peer(id); });
}

bool NodeState::remove(const PeerId& id) {
    return driver_->with_engine([&](Engine& engine, Time now) { return engine.remove(id, now); });
}

void NodeState::set_tags(Tags tags) {
    check(tags);
    driver_->with_engine([&](Engine& engine, Time now) { engine.set_tags(std::move(tags), now); });
}

void NodeState::set_secrets(std::optional<std::vector<std::string>> peers,
                            std::optional<std::vector<std::string>> guests, WithdrawnLinks withdrawn) {
    if (!driver_->tls() || (peers && peers->empty())) {
        throw std::system_error(make_error_code(errc::invalid_options),
                                driver_->tls() ? "a private node keeps at least one secret"
                                               : "a node that was made without a secret cannot become private later");
    }
    {
        const Lock lock(mutex_);
        Secrets secrets = secrets_;
        if (peers) secrets.peers = std::move(*peers);
        if (guests) secrets.guests = std::move(*guests);
        check(secrets);
        driver_->tls()->set(secrets);
        secrets_ = std::move(secrets);
    }
    if (withdrawn == WithdrawnLinks::drop) driver_->drop_withdrawn();
}

void NodeState::on_message(MessageHandler::Function handler) {
    const bool set = static_cast<bool>(handler);
    handler_.set(std::move(handler));
    if (set) asio::post(loop_->io(), [self = shared_from_this()] { self->serve_handler(); });
}

Unacknowledged NodeState::close() {
    const auto operation = std::make_shared<Waited<CloseOperation>>();
    start_close(operation);
    if (may_wait()) {
        operation->wait();
        if (peers_file_) peers_file_->finish();
    }
    const Lock lock(mutex_);
    return left_.value_or(Unacknowledged{});
}

void NodeState::start_close(std::shared_ptr<CloseOperation> operation) {
    leave();
    Woken woken;
    const Lock lock(mutex_);
    if (!left_) return closes_.add(std::move(operation));
    operation->result = *left_;
    woken.add(std::move(operation));
}

Stats NodeState::stats() const {
    Stats stats;
    driver_->with_engine([&](Engine& engine, Time) {
        const core::Counters& counters = engine.counters();
        stats.peers = engine.peer_count();
        stats.guests = engine.guest_count();
        stats.suspects = engine.suspect_count();
        stats.links = engine.link_count();
        stats.messages_sent = counters.messages_sent;
        stats.messages_received = counters.messages_received;
        stats.messages_given_up = counters.messages_given_up;
        stats.messages_lost = counters.messages_lost;
        stats.dials = counters.dials;
        stats.dials_failed = counters.dials_failed;
        stats.links_accepted = counters.links_accepted;
        stats.links_lost = counters.links_lost;
        stats.sessions_resumed = counters.sessions_resumed;
        stats.lists_sent = counters.lists_sent;
        stats.lists_received = counters.lists_received;
        stats.protocol_errors = counters.protocol_errors;
        stats.unreachable = engine.unreachable_count();
        stats.slowness = engine.slowness();
        stats.probes_sent = counters.probes_sent;
        stats.suspicions = counters.suspicions;
        stats.failures = counters.failures;
        stats.refusals_sent = counters.refusals_sent;
        stats.refusals_received = counters.refusals_received;
        stats.outbox_bytes = engine.pinned();
        for (Engine::PeerGauges& each : engine.gauges()) {
            stats.by_peer.push_back({.id = each.id,
                                     .name = std::move(each.name),
                                     .outbox_bytes = each.outbox_bytes,
                                     .inbox_bytes = each.inbox_bytes,
                                     .bytes_sent = each.bytes_sent,
                                     .bytes_received = each.bytes_received,
                                     .attachments = each.attachments,
                                     .round_trip_seconds = std::chrono::duration<double>(each.round_trip).count()});
        }
    });
    stats.inbox_bytes = inbox_->bytes();
    stats.handler_exceptions = handler_exceptions_;
    std::sort(stats.by_peer.begin(), stats.by_peer.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return stats;
}

std::shared_ptr<net::Context> NodeState::shut_down() {
    close();
    handler_.clear();
    callbacks_->end();
    if (may_wait() && !loop_->on_callback_thread()) handler_calls_->wait_for_none();
    return std::move(context_);
}

}  // namespace cluster::detail
