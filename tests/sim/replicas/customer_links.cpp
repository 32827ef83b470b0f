#include "sim/replicas/customers.hpp"
#include "sim/replicas/violation.hpp"
#include "wire/client_codec.hpp"

#include <algorithm>

// Links between clients and the processes of replicas, and what goes wrong with both.

namespace cluster::sim::replicas {

using namespace std::chrono_literals;

void Customers::dial(Customer& customer, const Address& address) {
    std::size_t place = 0;
    while (address_of(place) != address) ++place;
    if (!healed_ && chance_.below(20) == 0) return;  // nobody answers
    after(customer, soon(5ms), [this, &customer, place, address] {
        const auto found = customer.lines.find(place);
        const bool fails = !streets_.node_at(place) || (!healed_ && chance_.below(10) == 0);
        if (found != customer.lines.end() && found->second.up) {
            customer.machine->came(found->second.node, address, streets_.now());
        } else if (fails) {
            customer.machine->dial_failed(address, "gone", streets_.now());
        } else {
            link(customer, place, address);
        }
    });
}

void Customers::link(Customer& customer, std::size_t place, const std::optional<Address>& dialled) {
    node_hears_of_end(customer, place);
    Line& line = customer.lines[place];
    const std::uint64_t number = line.number + 1;
    line = {};
    line.number = number;
    line.node = *streets_.node_at(place);
    line.up = line.whole = true;
    line.node_knows = false;
    customer.machine->came(line.node, dialled, streets_.now());
}

/// Its node links with all others by itself.
void Customers::link_inside(Customer& customer, std::size_t place, Duration mean) {
    after(customer, soon(mean), [this, &customer, place] {
        if (customer.lines[place].up) return;
        if (!streets_.node_at(place)) return link_inside(customer, place, 100ms);
        link(customer, place, {});
    });
}

/// Both hear of it, each in its time. `loses`: what is under way never comes.
void Customers::break_line(Customer& customer, std::size_t place, bool loses) {
    Line& line = customer.lines.at(place);
    if (!line.whole) return;
    line.whole = false;
    line.lost = loses;
    const auto there = [&customer, place, number = line.number, peer = customer.peer] {
        return customer.peer == peer && customer.lines[place].number == number;
    };
    streets_.at(soon(20ms), [this, &customer, place, there] {
        if (there()) node_hears_of_end(customer, place);
    });
    streets_.at(soon(20ms), [this, &customer, place, there] {
        Line& broken = customer.lines[place];
        if (!there() || !std::exchange(broken.up, false) || !customer.machine) return;
        customer.machine->went(broken.node, streets_.now());
        if (customer.inside) link_inside(customer, place, 200ms);
        settle(customer);
    });
}

void Customers::node_hears_of_end(Customer& customer, std::size_t place) {
    Line& line = customer.lines[place];
    if (std::exchange(line.node_knows, true)) return;
    streets_.client_gone(place, line.node, customer.peer);
}

void Customers::say(Customer& customer, const PeerId& node, client::ToNode message) {
    if (const auto* ask = std::get_if<client::Ask>(&message)) {
        check(ask->number <= customer.asked + 1, "a client leaves out a number");
        if (ask->number <= customer.asked) ++result_.retries;
        customer.asked = std::max(customer.asked, ask->number);
    }
    const auto found = std::ranges::find_if(
        customer.lines, [&](const auto& each) { return each.second.up && each.second.node == node; });
    const bool full = !healed_ && chance_.below(200) == 0;
    if (found == customer.lines.end() || full) {
        return after(customer, {}, [this, &customer, node] { customer.machine->not_sent(node, streets_.now()); });
    }
    const auto& [place, line] = *found;
    if (!line.whole) return;  // it has not heard of that yet
    Line& way = found->second;
    way.to_node = std::max({way.to_node, streets_.now() + soon(1ms), way.silent_until});
    Bytes bytes = Bytes::adopt(wire::encode(wire::ClientToNode{tag_, customer.seat, std::move(message)}));
    streets_.at(way.to_node - streets_.now(), [this, &customer, peer = customer.peer, at = place, number = line.number,
                                               seat = customer.seat, bytes = std::move(bytes)] {
        const auto same = customer.lines.find(at);
        if (customer.peer != peer || same == customer.lines.end()) return;
        const Line& now = same->second;
        if (now.number != number || now.node_knows || (now.lost && !now.whole)) return;
        streets_.client_said(at, now.node, {peer, seat}, bytes);
    });
}

errc Customers::tell(std::size_t place, const PeerId& node, const client::Seat& seat, Bytes message) {
    const auto found = std::ranges::find_if(customers_, [&](const auto& each) { return each->peer == seat.peer; });
    if (found == customers_.end()) return errc::not_in_view;
    Customer& customer = **found;
    const auto known = customer.lines.find(place);
    if (known == customer.lines.end() || known->second.node != node || known->second.node_knows) {
        return errc::not_in_view;
    }
    Line& line = known->second;
    if (message.size() > longest_) return errc::message_too_large;
    const bool full = line.stuck || (!healed_ && chance_.below(100) == 0);
    if (full || line.inbox.size() >= most_under_way_) return errc::outbox_full;
    if (!line.whole || customer.seat != seat.client) return {};
    line.inbox.push_back(std::move(message));
    line.to_client = std::max({line.to_client, streets_.now() + soon(1ms), line.silent_until});
    streets_.at(line.to_client - streets_.now(),
                [this, &customer, place, number = line.number] { look_into(customer, place, number); });
    return {};
}

/// Each message that has come makes it look once.
void Customers::look_into(Customer& customer, std::size_t place, std::uint64_t number) {
    Line& line = customer.lines[place];
    if (line.number != number || !line.up || line.lost || line.inbox.empty()) return;
    if (customer.machine && customer.stalls_until > streets_.now()) {
        return streets_.at(10ms, [this, &customer, place, number] { look_into(customer, place, number); });
    }
    const Bytes bytes = std::move(line.inbox.front());
    line.inbox.pop_front();
    auto message = wire::decode_to_client(bytes);
    check(message.has_value(), "a client cannot read a message");
    if (!customer.machine || message->client != customer.seat) return;
    if (const auto* opened = std::get_if<client::Opened>(&message->body)) customer.opened = opened->session;
    customer.machine->received(line.node, std::move(message->body), streets_.now());
    settle(customer);
}

void Customers::process_ended(std::size_t place) {
    for (const auto& each : customers_) {
        const auto found = each->lines.find(place);
        if (found == each->lines.end()) continue;
        found->second.node_knows = true;
        break_line(*each, place, chance_.coin());
    }
}

std::size_t Customers::some_line(const Customer& customer) {
    std::vector<std::size_t> up;
    for (const auto& [place, line] : customer.lines) {
        if (line.up) up.push_back(place);
    }
    return up.empty() ? options_.places : up[chance_.below(up.size())];
}

void Customers::disturb() {
    if (healed_) return;
    streets_.at(soon(storm_ ? 100ms : 300ms), [this] { disturb(); });
    Customer& customer = *customers_[chance_.below(customers_.size())];
    if (!customer.machine) return;
    const std::size_t place = some_line(customer);
    const std::size_t which = chance_.below(12);
    if (which == 0) {
        end_life(customer);
        return begin_again(customer, 200ms);
    }
    if (which == 1) {
        customer.machine->close(streets_.now());
        return settle(customer);
    }
    if (which < 4) {
        customer.stalls_until = streets_.now() + soon(chance_.coin() ? 50ms : 1s);
        return;
    }
    if (place == options_.places) return;
    Line& line = customer.lines.at(place);
    if (which < 6) {
        line.silent_until = streets_.now() + std::min<Duration>(soon(chance_.coin() ? 20ms : 500ms), 1s);
    } else if (which < 8) {
        line.stuck = true;
        streets_.at(soon(100ms), [&customer, place] { customer.lines[place].stuck = false; });
    } else {
        break_line(customer, place, chance_.coin());
    }
}

}  // namespace cluster::sim::replicas
