#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

void Engine::ready(Link& link) {
    if (std::exchange(link.queued, true)) return;
    ready_.push_back(link.id);
}

void Engine::take_ready(std::vector<LinkId>& out) {
    out.clear();
    std::swap(out, ready_);
    for (const LinkId id : out) {
        if (Link* link = find(id)) link->queued = false;
    }
}

void Engine::take_actions(std::vector<Action>& out) {
    sweep();
    if (left_due_) check_left();
    if (std::exchange(settle_due_, false) && is_settled()) {
        settling_ = false;
        actions_.push_back(Settled{});
    }
    while (!skipped_.empty()) report_skipped(*skipped_.back());
    out.clear();
    std::swap(out, actions_);
}

void Engine::log(Severity severity, std::string text) {
    actions_.push_back(LogLine{severity, std::move(text)});
}

void Engine::log(Severity severity, const Link& link, std::string_view event, const std::string& why) {
    const std::string name(event);
    actions_.push_back(LogLine{.severity = severity,
                               .text = name + " address=" + token(link.remote) + who(link) + ' ' + why,
                               .cause = name + ' ' + why.substr(0, why.find(' ')) + ' ' + link.remote.host,
                               .stranger = link.state != LinkState::attached});
}

bool Engine::pull(LinkId id, std::size_t budget, OutputSink& sink, Time now) {
    Link* link = find(id);
    if (link == nullptr || link->state == LinkState::dialling) return false;

    if (std::exchange(link->hello_due, false)) {
        Hello hello;
        hello.cluster = options_.cluster;
        hello.nonce = link->our_nonce;
        hello.resume_for_ms = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(options_.resume_for).count());
        hello.max_message = options_.max_message;
        hello.features = feature_members | feature_calls | feature_errors | (options_.observer ? feature_observer : 0);
        hello.observed = {without_zone(link->remote.host), link->remote.port};
        hello.self = visible(self(), *link);
        sink.frame(hello);
    }
    if (link->refuse_due) {
        sink.frame(*std::exchange(link->refuse_due, std::nullopt));
        return false;
    }
    // First, even if the session has ended since: the peer knows of no session before it has read this.
    if (link->attached_due) sink.frame(*std::exchange(link->attached_due, std::nullopt));
    if (link->goodbye_due) {
        for (const Gap& gap : std::exchange(link->gaps_due, {})) sink.frame(gap);
        sink.frame(*std::exchange(link->goodbye_due, std::nullopt));
        return false;
    }
    if (link->pair == nullptr || link->state == LinkState::parting) return false;
    Pair& pair = *link->pair;
    if (std::exchange(link->offer_due, false)) sink.frame(make_offer(pair, *link));
    if (std::exchange(link->attach_due, false)) sink.frame(make_attach(pair, *link));
    if (link->state != LinkState::attached) return false;

    Session& session = *pair.session;
    if (std::exchange(link->ack_due, false) || session.acknowledgement_due()) {
        sink.frame(Ack{session.changed_offsets()});
        timers_.cancel({Timer::ack, pair.number});
    }
    if (link->pong_due) sink.frame(Pong{*std::exchange(link->pong_due, std::nullopt)});
    if (std::exchange(link->ping_due, false)) {
        link->ping_sent = now;
        sink.frame(Ping{++link->ping_sequence, digest()});
    }
    for (const Inquiry& inquiry : std::exchange(link->inquiries, {})) sink.frame(inquiry);
    for (const Finding& finding : std::exchange(link->findings, {})) sink.frame(finding);
    if (std::exchange(link->list_due, false)) {
        link->list_sent = now;
        link->news.clear();
        std::vector<const Facts*> facts;
        for (const Pair* each : view_) {
            if (each != &pair) facts.push_back(roster_.find(each->id));
        }
        facts.push_back(&self());
        write_list(facts, *link, sink);
    } else if (!link->news.empty()) {
        std::vector<const Facts*> facts;
        for (const PeerId& each : std::exchange(link->news, {})) {
            facts.push_back(each == self().id ? &self() : roster_.find(each));
        }
        write_list(facts, *link, sink);
    }

    const bool more_members = write_members(pair, *link, budget, sink, now);
    for (Session::Channel& channel : session.channels()) {
        pair.bytes_sent += channel.out.pull(channel.id, budget, sink);
    }
    return session.has_output() || more_members;
}

/// In as few frames as their limit allows.
void Engine::write_list(std::span<const Facts* const> facts, const Link& link, OutputSink& sink) {
    PeerList list;
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
        // An upper bound of what the encoding takes: two bytes for each length, and the fixed fields.
        std::size_t cost = 64 + shown.name.size() + shown.member.size();
        for (const Address& address : shown.addresses) cost += 4 + address.host.size();
        for (const auto& [key, value] : shown.tags) cost += 4 + key.size() + value.size();
        if (size + cost > max_control_body - 64 || list.peers.size() == max_listed_peers) flush();
        size += cost;
        list.peers.push_back(std::move(shown));
    }
    flush();
}

Offer Engine::make_offer(const Pair& pair, const Link& link) const {
    Offer offer;
    if (!pair.session || !pair.session->token()) {
        // With epoch 0, which no session has accepted, it proves what was forgotten.
        if (const auto* gone = forgotten_.find(pair.id)) {
            offer.proof = prove(gone->token, link.our_nonce, link.peer_nonce, ProofUse::offer);
        }
        return offer;
    }
    offer.proof = prove(*pair.session->token(), link.our_nonce, link.peer_nonce, ProofUse::offer);
    offer.defended = pair.session->defended();
    offer.epoch = pair.session->epoch();
    offer.holds = pair.session->attached() != 0;
    return offer;
}

Attach Engine::make_attach(Pair& pair, const Link& link) {
    Session& session = *pair.session;
    Attach attach;
    attach.first = !session.confirmed();
    attach.token =
        attach.first ? *session.token() : prove(*session.token(), link.our_nonce, link.peer_nonce, ProofUse::attach);
    attach.epoch = session.epoch();
    attach.offsets = session.state_offsets();
    attach.unsettled = attach.first ? pair.unsettled : 0;
    return attach;
}

void Engine::compact() {
    for (auto& [id, pair] : pairs_) {
        if (!pair.session) continue;
        for (Session::Channel& channel : pair.session->channels()) channel.out.compact(arena_);
    }
}

}  // namespace cluster::core
