#include "world_parts.hpp"

#include <algorithm>

namespace cluster::sim {

using namespace std::chrono_literals;

namespace {

// Addresses of others, which machines behind translation publish.
constexpr const char* swallows = "192.168.0.2";  ///< no answer
constexpr const char* stranger = "192.168.0.3";  ///< a program of another kind

}  // namespace

World::Node* World::listener(const Address& address) {
    for (const auto& node : nodes_) {
        const Machine& machine = machines_[node->index];
        if (node->alive && machine.listens && (node->address == address || machine.alias == address)) return node.get();
    }
    return nullptr;
}

/// What the name of all is resolved to: where their machines are, whether or not a process runs there.
std::vector<Address> World::addresses_of_all() {
    std::vector<Address> all;
    for (const Machine& machine : machines_) {
        if (machine.listens) all.push_back(machine.address);
    }
    // Some servers turn the list each time, some tell but a part of it.
    std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(random_.below(all.size())), all.end());
    if (all.size() > 2 && random_.below(4) == 0) all.resize(2);
    return all;
}

/// Where the balancer leads a dial: to a machine whose process runs, as far as it knows.
Address World::behind_balancer() {
    std::vector<Address> running;
    std::vector<Address> all;
    for (const auto& node : nodes_) {
        const Machine& machine = machines_[node->index];
        if (!machine.listens) continue;
        all.push_back(machine.address);
        if (node->alive) running.push_back(machine.address);
    }
    if (running.empty() || random_.below(10) == 0) return all[random_.below(all.size())];
    return running[random_.below(running.size())];
}

void World::dial(Node& node, const core::Dial& dial) {
    check_dial(node, dial.address);
    check_rumour(node, dial.address);
    const Address place = dial.address == balancer ? behind_balancer() : dial.address;
    ++node.dials;
    node.dialling.insert(dial.link);
    if (now_ < node.exhausted_until) {
        node.dialling.erase(dial.link);
        disturbances_.machine(node.index, node.barred = now_);
        node.engine->dial_failed(dial.link, errc::out_of_descriptors, clock(node));
        return;
    }
    const Node* target = listener(place);
    if (target == nullptr) {
        if (place.host == swallows || powerless_.contains(place)) {
            // Some networks say so when nobody answers.
            if (chance(0.3)) dial_fails(node, dial.link, errc::host_unreachable, 1500ms);
        } else if (place.host == stranger) {
            meet_stranger(node, dial.link, dial.address, chance(0.3));
        } else {
            dial_fails(node, dial.link, errc::connection_refused, between(50us, 5ms));
        }
        return;
    }
    const bool refused = !healed_ && chance(conditions_.refused_dials);
    const bool swallowed = !healed_ && chance(conditions_.swallowed_dials);
    if (refused || swallowed) disturbances_.pair(Disturbances::Kind::dial, node.index, target->index, now_);
    if (refused) {
        dial_fails(node, dial.link, errc::connection_refused, between(50us, 5ms));
    } else if (!swallowed) {
        at(between(50us, 5ms), [this, &node, link = dial.link, address = dial.address, place] {
            knock(node, link, address, place, 0);
        });
    }
}

void World::dial_fails(Node& node, core::LinkId link, errc error, Duration after) {
    at(after, [this, &node, link, error] {
        if (!node.alive || busy(node, [this, &node, link, error] { dial_fails(node, link, error, 0ms); })) return;
        if (node.dialling.erase(link) == 0) return;
        node.engine->dial_failed(link, error, clock(node));
        settle(node);
    });
}

/// Who answers is not a node: it hangs up, or says nothing.
void World::meet_stranger(Node& node, core::LinkId link, const Address& address, bool silent) {
    at(between(50us, 5ms), [this, &node, link, address, silent] {
        if (!node.alive || busy(node, [this, &node, link, address, silent] {
                meet_stranger(node, link, address, silent);
            })) {
            return;
        }
        if (node.dialling.erase(link) == 0) return;
        node.engine->connected(link, address, clock(node));
        settle(node);
        if (silent) return;
        at(between(50us, 50ms), [this, &node, link] {
            if (!node.alive || busy(node, [this, &node, link] {
                    node.engine->link_ended(link, clock(node));
                    settle(node);
                })) {
                return;
            }
            node.engine->link_ended(link, clock(node));
            settle(node);
        });
    });
}

/// The first packet of a dial of `address` reaches the machine at `place`, or is sent again a second later, and then
/// after twice as long.
void World::knock(Node& node, core::LinkId link, const Address& address, const Address& place, int attempt) {
    if (!node.alive || !node.dialling.contains(link)) return;
    Node* acceptor = listener(place);
    if (acceptor == nullptr) {
        if (!powerless_.contains(place)) dial_fails(node, link, errc::connection_refused, 0ms);
        return;
    }
    if (!network_.joins(node.index, acceptor->index)) {
        if (attempt < 4) {
            at(std::chrono::seconds(1 << attempt), [this, &node, link, address, place, attempt] {
                knock(node, link, address, place, attempt + 1);
            });
        }
        return;
    }
    connect(node, link, address, *acceptor);
}

/// The two machines have made a connection; their processes are told.
void World::connect(Node& node, core::LinkId link, const Address& address, Node& acceptor) {
    const std::uint64_t number = ++last_connection_;
    Connection& connection = connections_[number];
    connection.node[0] = node.index;
    connection.node[1] = acceptor.index;
    connection.run[0] = node.id;
    connection.run[1] = acceptor.id;
    connection.link[0] = link;
    connection.delay = between(20us, chance(0.1) ? Duration(10ms) : Duration(2ms));
    node.dialling.erase(link);
    node.links[link] = {number, 0};
    note("connection " + std::to_string(number) + " n" + std::to_string(node.index) + " -> n" +
         std::to_string(acceptor.index));
    if (!healed_ && chance(conditions_.broken_greetings)) {
        // It breaks, or goes silent, while the two still greet each other.
        disturbances_.pair(Disturbances::Kind::dial, node.index, acceptor.index, now_);
        const bool silent = chance(0.3);
        at(between(0ms, 8 * connection.delay), [this, number, silent] {
            if (healed_ || !connections_.contains(number)) return;
            if (silent) {
                connections_.at(number).deaf = true;
            } else {
                reset(number);
            }
        });
    }
    const auto connected = [this, &node, link, address] {
        if (!node.alive || !node.links.contains(link)) return;
        node.engine->connected(link, address, clock(node));
        settle(node);
    };
    accept(number);
    if (!busy(node, connected)) connected();
}

/// The process takes the connection from its machine, if it can.
void World::accept(std::uint64_t number) {
    const auto found = connections_.find(number);
    if (found == connections_.end() || !found->second.open[1]) return;
    Connection& connection = found->second;
    Node& node = node_at(connection.node[1]);
    if (!node.alive || node.id != connection.run[1] || busy(node, [this, number] { accept(number); })) return;
    if (now_ < node.exhausted_until) {
        disturbances_.machine(node.index, node.barred = now_);
        at(100ms, [this, number] { accept(number); });
        return;
    }
    const core::LinkId link = node.engine->accepted({node_at(connection.node[0]).address.host, 50000}, clock(node));
    if (link == 0) {
        reset(number);
        release(number, 1);
    } else {
        connection.link[1] = link;
        node.links[link] = {number, 1};
        wake(number, 1, connection.delay);
    }
    settle(node);
}

}  // namespace cluster::sim
