#include "sim/replicas/customers.hpp"

#include "base/overloaded.hpp"
#include "sim/replicas/violation.hpp"
#include "wire/client_codec.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

// Clients: what they are told, and what they promise their callers.

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using client::State;

Customers::Customers(Streets& streets, std::uint64_t seed, Options options, Chronicle& chronicle, Result& result)
    : streets_(streets), chance_(seed), options_(options), chronicle_(chronicle), result_(result) {
    tag_ = wire::group_tag("group");
    const std::size_t count = chance_.below(most + 1);
    for (std::size_t i = 0; i < count; ++i) {
        Customer& customer = *customers_.emplace_back(std::make_unique<Customer>());
        customer.name = "customer" + std::to_string(i);
        customer.inside = chance_.below(3) == 0;
        customer.peer.bytes.fill(static_cast<std::uint8_t>(0xc0 + i));
    }
}

void Customers::begin(bool faults) {
    healed_ = !faults;
    most_under_way_ = chance_.coin() ? 1000 : 3 + chance_.below(30);
    longest_ = faults && chance_.below(4) == 0 ? Wish::heavy_bytes : std::size_t{1} << 20;
    storm_ = faults && chance_.below(4) == 0;
    for (const auto& each : customers_) begin(*each);
    if (faults && !customers_.empty()) streets_.at(soon(300ms), [this] { disturb(); });
}

// Lives.

void Customers::after(Customer& customer, Duration delay, std::function<void()> work) {
    streets_.at(delay, [this, &customer, life = customer.life, work = std::move(work)] {
        if (!customer.machine || customer.life != life) return;
        if (customer.stalls_until > streets_.now()) return after(customer, 10ms, work);
        work();
        if (customer.machine && customer.life == life) settle(customer);
    });
}

void Customers::begin(Customer& customer) {
    customer.life = chance_.next() | 1;
    customer.seat = chance_.next();
    customer.strange = options_.authenticates && !healed_ && chance_.below(8) == 0;
    customer.lazy = !healed_ && chance_.below(3) == 0;
    customer.ticks_at = never;
    customer.stalls_until = {};
    customer.state = {};
    customer.opened = customer.session = customer.tickets = customer.orders = customer.pushed = customer.asked = 0;
    customer.open.clear();
    customer.casts.clear();
    customer.untaken = customer.untaken_bytes = 0;
    customer.seen = customer.replied = 0;
    std::memcpy(customer.key.data(), &customer.life, sizeof customer.life);
    customer.gives_up = !healed_ && chance_.below(8) == 0;

    client::MachineOptions options;
    options.group = "group";
    options.name = customer.name;
    options.credentials = customer.strange ? std::string(wrong_credentials) : customer.name;
    options.key = customer.key;
    options.session_timeout = chance_.between(400ms, 3s);
    if (customer.gives_up) options.give_up_after = chance_.between(500ms, 3s);
    options.max_outstanding = 1 + chance_.below(chance_.coin() ? 4 : 60);
    options.max_waiting = 1 + chance_.below(50);
    options.inbox_messages = 8 + chance_.below(chance_.coin() ? 8 : 200);
    options.seed = chance_.next();
    if (!customer.inside) {
        for (std::size_t place = 0; place < options_.places; ++place) options.addresses.push_back(address_of(place));
    }
    ++result_.clients;
    streets_.note(1, customer.name + " comes");
    customer.machine = std::make_unique<client::Machine>(std::move(options), streets_.now());
    if (customer.inside) {
        // What its node has linked stays so.
        for (auto& [place, line] : customer.lines) {
            if (line.up) customer.machine->came(line.node, {}, streets_.now());
        }
        for (std::size_t place = 0; place < options_.places; ++place) link_inside(customer, place, 50ms);
    } else {
        // Another process, which nobody takes for the one before.
        const std::uint64_t number = chance_.next();
        std::memcpy(customer.peer.bytes.data(), &number, sizeof number);
        for (auto& [place, line] : customer.lines) {
            const std::uint64_t last = line.number;
            line = {};
            line.number = last;
        }
    }
    after(customer, soon(50ms), [this, &customer] { work(customer); });
    settle(customer);
}

/// It tells nobody.
void Customers::end_life(Customer& customer) {
    if (!customer.machine) return;
    streets_.note(2, customer.name + " ends");
    if (!customer.inside) {
        for (auto& [place, line] : customer.lines) {
            line.up = false;
            break_line(customer, place, chance_.coin());
            node_hears_of_end(customer, place);
        }
    }
    customer.machine.reset();
}

void Customers::begin_again(Customer& customer, Duration mean) {
    streets_.at(soon(mean), [this, &customer] {
        if (!customer.machine && !closing_) begin(customer);
    });
}

void Customers::settle(Customer& customer) {
    client::Machine::Output output;
    for (int rounds = 0; customer.machine->take_output(output); ++rounds) {
        check(rounds < 1000, "a client goes round in circles");
        for (client::Effect& effect : output.effects) carry_out(customer, effect);
    }
    if (customer.machine->ended()) {
        ended(customer);
        end_life(customer);
        return begin_again(customer, storm_ ? 30ms : 300ms);
    }
    const Time deadline = customer.machine->deadline();
    if (deadline >= customer.ticks_at) return;
    customer.ticks_at = std::max(deadline, streets_.now());
    after(customer, customer.ticks_at - streets_.now(), [this, &customer, due = customer.ticks_at] {
        if (customer.ticks_at != due) return;  // an earlier one has taken its place
        customer.ticks_at = never;
        customer.machine->tick(streets_.now());
    });
}

void Customers::carry_out(Customer& customer, client::Effect& effect) {
    std::visit(Overloaded{
                   [&](client::Dial& each) { dial(customer, each.address); },
                   [&](client::Drop& each) {
                       for (auto& [place, line] : customer.lines) {
                           if (line.node != each.peer || !line.up) continue;
                           line.up = false;
                           break_line(customer, place, false);
                       }
                   },
                   [&](client::Tell& each) { say(customer, each.to, std::move(each.message)); },
                   [&](client::Replied& each) { replied(customer, each); },
                   [&](client::Failed& each) { failed(customer, each); },
                   [&](client::Pushed& each) { pushed(customer, each); },
                   [&](client::StateChanged& each) { changed(customer, each); },
                   [&](client::ChallengeCame& each) {
                       after(customer, soon(20ms), [this, &customer, number = each.number] {
                           customer.machine->respond(number, std::string(proof), streets_.now());
                       });
                   },
                   [](client::RoomFreed&) {},
                   [](client::Ended&) {},
                   [&](LogLine& line) { streets_.note(3, customer.name + "  " + line.text); },
               },
               effect);
}

// What applications do.

void Customers::work(Customer& customer) {
    take_pushes(customer, !customer.lazy || chance_.below(4) == 0);
    if (customer.state.state != State::ended && !rests_ && (!healed_ || chance_.below(4) == 0)) {
        for (std::size_t left = chance_.below(chance_.below(10) == 0 ? 30 : 4); left != 0; --left) ask(customer);
        if (storm_ && !healed_ && chance_.below(4) == 0) customer.machine->close(streets_.now());
    }
    after(customer, soon(healed_ ? 20ms : 60ms), [this, &customer] { work(customer); });
}

void Customers::ask(Customer& customer) {
    using Kind = Wish::Kind;
    const Time now = streets_.now();
    const Time deadline = all_sure_ || chance_.below(5) == 0 ? never : now + chance_.between(20ms, 4s);
    if (chance_.below(5) == 0) {
        const std::uint64_t ticket = ++customer.tickets;
        const bool linearizable = chance_.coin();
        const consensus::Index least = linearizable ? streets_.told() : chance_.coin() ? customer.seen : 0;
        const bool fails = chance_.below(20) == 0;
        customer.open[ticket] = {0, all_sure_, fails, linearizable, least};
        return customer.machine->query(ticket, fails ? Bytes() : Bytes(std::string_view("?")), linearizable, least,
                                       deadline, now);
    }
    static constexpr Kind usual[] = {Kind::write,    Kind::write, Kind::write, Kind::write, Kind::push,  Kind::push,
                                     Kind::tell_all, Kind::ring,  Kind::ring,  Kind::hush,  Kind::letter};
    static constexpr Kind rare[] = {Kind::shut, Kind::shut_other, Kind::heavy};
    Wish wish{customer.life, ++customer.orders, usual[chance_.below(std::size(usual))]};
    if (!healed_ && chance_.below(40) == 0) wish.kind = rare[chance_.below(std::size(rare))];
    wish.key = static_cast<std::uint8_t>(chance_.below(20));
    wish.value = chance_.next() >> 8;
    Bytes message = Bytes::adopt(wish.encode(chance_.below(100)));
    if (chance_.below(4) == 0) {
        const errc error = customer.machine->cast(std::move(message), now);
        if (error == errc{}) customer.casts.insert(wish.order);
        if (error != errc{}) chronicle_.never({wish.author, wish.order});
        return;
    }
    const std::uint64_t ticket = ++customer.tickets;
    customer.open[ticket] = {wish.order, all_sure_, false, false, 0};
    customer.machine->call(ticket, std::move(message), deadline, now);
}

void Customers::take_pushes(Customer& customer, bool all) {
    if (customer.untaken == 0) return;
    const std::size_t count = all ? customer.untaken : chance_.below(2);
    const std::size_t bytes = all ? customer.untaken_bytes : 0;
    customer.untaken -= count;
    customer.untaken_bytes -= bytes;
    customer.machine->taken(count, bytes, streets_.now());
}

Customers::Asked Customers::take(Customer& customer, std::uint64_t ticket) {
    const auto found = customer.open.find(ticket);
    check(found != customer.open.end(), "a call of a client ends twice");
    const Asked asked = found->second;
    customer.open.erase(found);
    return asked;
}

void Customers::replied(Customer& customer, const client::Replied& reply) {
    const Asked asked = take(customer, reply.ticket);
    customer.seen = std::max(customer.seen, reply.position);
    const auto bytes = reply.message.view();
    if (asked.order == 0) {
        ++result_.queries;
        if (asked.linearizable) streets_.was_told(reply.position);
        check(!asked.fails, "a query at which the service throws is answered");
        check(reply.position >= asked.least, "a query sees less than its caller knows, or than all knew before it");
        std::uint64_t answer = 0;
        check(bytes.size() == sizeof answer, "the answer to a query is not that of the service");
        std::memcpy(&answer, bytes.data(), sizeof answer);
        check(answer == chronicle_.answer_at(reply.position), "the answer to a query is not that of its position");
        return;
    }
    ++result_.calls;
    streets_.was_told(reply.position);
    const Chronicle::Said* said = chronicle_.reply({customer.life, asked.order});
    check(said != nullptr, "a command is acknowledged, and has had no effect");
    check(said->position == reply.position && std::ranges::equal(said->bytes, bytes),
          "a reply is not that of the service");
    check(reply.position > customer.replied, "replies come in another order than their commands");
    customer.replied = reply.position;
}

void Customers::failed(Customer& customer, const client::Failed& failed) {
    const Asked asked = take(customer, failed.ticket);
    const bool ended = customer.state.state == State::ended;
    const bool full = customer.state.error == errc::too_many_sessions;
    const bool expected =
        failed.error == errc::too_many_requests || (asked.fails && failed.error == errc::service_failed);
    if (asked.sure && !expected && !(ended && (full || closing_))) {
        throw Violation("all is well, and a call of a client fails: " + make_error_code(failed.error).message());
    }
    if (asked.order == 0) {
        check(!asked.fails || failed.error != errc::service_failed || failed.why == "nothing is asked",
              "a query fails with another text than that of the service");
        check(asked.fails || failed.error != errc::service_failed, "a query fails at which no service throws");
        return;
    }
    const bool unknown =
        failed.error == errc::timed_out || failed.error == errc::outcome_unknown || failed.error == errc::closed;
    check(failed.error != errc::outcome_unknown || ended, "a call fails because of an end that was not told");
    if (!unknown) chronicle_.never({customer.life, asked.order});
}

void Customers::pushed(Customer& customer, const client::Pushed& push) {
    ++result_.pushes;
    const std::vector<Chronicle::Said>& all = session_of(customer).pushes;
    check(customer.pushed < all.size(), "a client gets what no service has sent");
    const Chronicle::Said& said = all[customer.pushed++];
    check(said.position == push.position && std::ranges::equal(said.bytes, push.message.view()),
          "what services send comes with a gap, twice or changed");
    customer.seen = std::max(customer.seen, push.position);
    streets_.was_told(push.position);
    ++customer.untaken;
    customer.untaken_bytes += push.message.size();
}

const Chronicle::Session& Customers::session_of(const Customer& customer) const {
    const auto found = chronicle_.sessions().find(customer.session);
    check(found != chronicle_.sessions().end(), "a client has a session that nobody has opened");
    return found->second;
}

void Customers::changed(Customer& customer, const client::StateChanged& change) {
    customer.state = change;
    if (change.state != State::attached) return;
    ++result_.attachments;
    if (customer.session != 0) return;
    customer.session = customer.opened;
    const group::OpenSession& opened = session_of(customer).opened;
    check(opened.key == customer.key && opened.name == customer.name, "a client has the session of another one");
    check(opened.principal == (options_.authenticates ? principal_of(customer.name) : std::string()),
          "a client is taken for another one");
    check(!customer.strange, "a client has a session without having proved who it is");
}

/// For a reason that the log, or the client itself, has.
void Customers::ended(const Customer& customer) {
    const errc error = customer.state.error;
    check(customer.open.empty(), "a client ends, and a call of it does not");
    check(error == errc::closed || !all_sure_ || error == errc::too_many_sessions,
          "all is well, and a client ends by itself");
    // It may have been told of the end of a session, and not that it had one.
    const auto closed_for = [&](std::optional<CloseReason> reason) {
        check(std::ranges::any_of(chronicle_.sessions(),
                                  [&](const auto& each) {
                                      const bool its = customer.session == 0 ? each.second.opened.key == customer.key
                                                                             : each.first == customer.session;
                                      return its && each.second.closed && (!reason || each.second.closed == reason);
                                  }),
              "a client ends, and its session does not");
    };
    switch (error) {
        case errc::closed: return;
        case errc::closed_by_service: return closed_for(CloseReason::service);
        case errc::too_slow: return closed_for(CloseReason::slow);
        case errc::session_expired: return closed_for(std::nullopt);
        case errc::rejected: return check(customer.strange, "a client is rejected that has proved who it is");
        case errc::too_many_sessions:
            return check(options_.max_sessions < 1000, "there is no room for a session, although there is some");
        case errc::no_leader: return check(customer.gives_up, "a client gives up that should not");
        default: throw Violation("a client ends with an error that it cannot have");
    }
}

// When all is well.

void Customers::heal() {
    healed_ = true;
    most_under_way_ = 1000;
    for (const auto& each : customers_) {
        each->lazy = false;
        each->stalls_until = std::min(each->stalls_until, streets_.now());
        for (auto& [place, line] : each->lines) {
            line.stuck = false;
            line.silent_until = std::min(line.silent_until, streets_.now());
        }
    }
}

void Customers::expect_all() {
    all_sure_ = true;
}

void Customers::rest() {
    rests_ = true;
}

bool Customers::content(std::string& why) const {
    for (const auto& each : customers_) {
        if (!each->machine) return why = each->name + " is not there", false;
        if (each->state.state != State::attached) return why = each->name + " has no leader: " + each->state.why, false;
        if (!each->open.empty()) return why = "a call of " + each->name + " has no end", false;
        for (const std::uint64_t order : each->casts) {
            if (chronicle_.reply({each->life, order}) == nullptr) {
                return why = "what " + each->name + " has sent has no effect", false;
            }
        }
        if (each->pushed != session_of(*each).pushes.size())
            return why = each->name + " misses what was sent to it", false;
    }
    return true;
}

void Customers::close() {
    closing_ = true;
    for (const auto& each : customers_) {
        if (!each->machine) continue;
        each->machine->close(streets_.now());
        settle(*each);
    }
}

bool Customers::closed(std::string& why) const {
    for (const auto& each : customers_) {
        if (each->machine) return why = each->name + " does not end", false;
    }
    if (chronicle_.open_sessions() != 0) return why = "sessions are open, and nobody has them", false;
    return true;
}

}  // namespace cluster::sim::replicas
