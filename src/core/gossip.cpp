#include "core/gossip.hpp"

#include "core/frame.hpp"
#include "value/address.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

namespace cluster::core {

namespace {

/// What this node met first-hand within this time goes to the others in one frame.
constexpr Duration news_delay = std::chrono::milliseconds(5);

}  // namespace

void Gossip::announce(const PeerId& id, Time now) {
    if (std::find(news_.begin(), news_.end(), id) == news_.end()) news_.push_back(id);
    timers_.set_no_later({Timer::news, 0}, now + news_delay);
}

void Gossip::tell_news() {
    for (Pair* pair : peers_.view) {
        Link* link = peers_.attached_link(*pair);
        if (link == nullptr) continue;
        for (const PeerId& id : news_) {
            if (id != pair->id) link->due.announce(id);
        }
        if (!link->due.news.empty()) peers_.ready(*link);
    }
    news_.clear();
}

void Gossip::listening(std::vector<Address> addresses, std::vector<std::string> zones, Time now) {
    own_.listen(std::move(addresses));
    peers_.zones = std::move(zones);
    publish_own(now);
}

void Gossip::publish_own(Time now) {
    if (!options_.publish_observed || leaving_) return;
    std::vector<Address> addresses = own_.published();
    if (addresses == roster_.self().addresses) return;
    roster_.publish(std::move(addresses));
    announce(roster_.self().id, now);
}

void Gossip::on(Link& link, const Ping& ping, Time now) {
    if (ping.digest != peers_.digest() && now - link.list_sent >= options_.heartbeat) {
        link.due.list = true;
        link.told.reset();  // the answer is a complete list
    }
    peers_.ready(link);
}

void Gossip::on(Link& link, const PeerList& list) {
    if (!link.told) return;
    for (const Facts& facts : list.peers) {
        if (link.told->size() < max_listed_peers) link.told->emplace_back(facts.id, facts.version);
    }
}

Facts Gossip::visible(const Facts& facts, const Link& link) {
    Facts visible = facts;
    std::erase_if(visible.addresses, [&](const Address& address) {
        return (is_loopback(address.host) && !is_loopback(link.remote.host)) ||
               (is_link_local(address.host) && !is_link_local(link.remote.host));
    });
    for (Address& address : visible.addresses) address.host = without_zone(std::move(address.host));
    return visible;
}

void Gossip::write_list(Link& link, OutputSink& sink, Time now) {
    link.list_sent = now;
    auto told = std::exchange(link.told, std::nullopt).value_or(Link::Told());
    std::sort(told.begin(), told.end());
    const auto was_told = [&](const Facts& facts) {
        const auto found = std::lower_bound(told.begin(), told.end(), std::pair(facts.id, facts.version));
        return found != told.end() && found->first == facts.id;
    };
    std::vector<const Facts*> facts;
    for (const Pair* pair : peers_.view) {
        const Facts* each = roster_.find(pair->id);
        if (pair != link.pair && each != nullptr && !was_told(*each)) facts.push_back(each);
    }
    facts.push_back(&roster_.self());
    write(facts, link, sink);
}

void Gossip::write_news(const Link& link, const std::vector<PeerId>& ids, OutputSink& sink) {
    std::vector<const Facts*> facts;
    for (const PeerId& id : ids) facts.push_back(id == roster_.self().id ? &roster_.self() : roster_.find(id));
    write(facts, link, sink);
}

/// Writes as few frames as their limit allows.
void Gossip::write(std::span<const Facts* const> facts, const Link& link, OutputSink& sink) {
    PeerList list;
    list.peers.reserve(std::min(facts.size(), max_listed_peers));
    std::size_t size = 0;
    const auto flush = [&] {
        if (list.peers.empty()) return;
        ++counters_.lists_sent;
        sink.frame(std::exchange(list, {}));
        size = 0;
    };
    for (const Facts* each : facts) {
        if (each == nullptr) continue;
        Facts shown = visible(*each, link);
        // An upper bound of the encoded size: two bytes for each length, and the fixed fields.
        std::size_t cost = 64 + shown.name.size() + shown.member.size();
        for (const Address& address : shown.addresses) cost += 4 + address.host.size();
        for (const auto& [key, value] : shown.tags) cost += 4 + key.size() + value.size();
        if (size + cost > max_control_body - 64 || list.peers.size() == max_listed_peers) flush();
        size += cost;
        list.peers.push_back(std::move(shown));
    }
    flush();
}

}  // namespace cluster::core
