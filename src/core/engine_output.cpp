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

/// Makes what one link has due, as things stand.
struct Engine::Author {
    Engine& engine;
    Link& link;
    Time now;

    bool attached() const { return link.state == LinkState::attached; }
    bool owes_ack() const { return link.pair->session->acknowledgement_due(); }
    Hello hello() const;
    Offer offer() const;
    Attach attach() const;
    Ack ack() const;
    Ping ping() const;
    void list(OutputSink& sink) const;
    void news(const std::vector<PeerId>& ids, OutputSink& sink) const;
    void write(std::span<const Facts* const> facts, OutputSink& sink) const;
};

bool Engine::pull(LinkId id, std::size_t budget, OutputSink& sink, Time now) {
    Link* link = find(id);
    if (link == nullptr || link->state == LinkState::dialling) return false;
    if (!link->due.pull(Author{*this, *link, now}, sink)) return false;

    Pair& pair = *link->pair;
    const bool more_members = write_members(pair, *link, budget, sink, now);
    for (Session::Channel& channel : pair.session->channels()) {
        pair.bytes_sent += channel.out.pull(channel.row.id, budget, sink);
    }
    return pair.session->has_output() || more_members;
}

Hello Engine::Author::hello() const {
    const EngineOptions& options = engine.options_;
    Hello hello;
    hello.cluster = options.cluster;
    hello.nonce = link.our_nonce;
    hello.resume_for_ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options.resume_for).count());
    hello.max_message = options.max_message;
    hello.features = feature_members | feature_calls | feature_errors | (options.observer ? feature_observer : 0);
    hello.observed = {without_zone(link.remote.host), link.remote.port};
    hello.self = engine.visible(engine.self(), link);
    return hello;
}

Offer Engine::Author::offer() const {
    const Pair& pair = *link.pair;
    Offer offer;
    if (!pair.session || !pair.session->token()) {
        // With epoch 0, which no session has accepted, it proves what was forgotten.
        if (const auto* gone = engine.forgotten_.find(pair.id)) {
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

Attach Engine::Author::attach() const {
    Session& session = *link.pair->session;
    Attach attach;
    attach.first = !session.confirmed();
    attach.token =
        attach.first ? *session.token() : prove(*session.token(), link.our_nonce, link.peer_nonce, ProofUse::attach);
    attach.epoch = session.epoch();
    attach.offsets = session.state_offsets();
    attach.unsettled = attach.first ? link.pair->unsettled : 0;
    return attach;
}

Ack Engine::Author::ack() const {
    engine.timers_.cancel({Timer::ack, link.pair->number});
    return {link.pair->session->changed_offsets()};
}

Ping Engine::Author::ping() const {
    link.ping_sent = now;
    return {++link.ping_sequence, engine.digest()};
}

void Engine::Author::list(OutputSink& sink) const {
    link.list_sent = now;
    std::vector<const Facts*> facts;
    for (const Pair* each : engine.view_) {
        if (each != link.pair) facts.push_back(engine.roster_.find(each->id));
    }
    facts.push_back(&engine.self());
    write(facts, sink);
}

void Engine::Author::news(const std::vector<PeerId>& ids, OutputSink& sink) const {
    std::vector<const Facts*> facts;
    for (const PeerId& id : ids) facts.push_back(id == engine.self().id ? &engine.self() : engine.roster_.find(id));
    write(facts, sink);
}

/// In as few frames as their limit allows.
void Engine::Author::write(std::span<const Facts* const> facts, OutputSink& sink) const {
    PeerList list;
    std::size_t size = 0;
    const auto flush = [&] {
        if (list.peers.empty()) return;
        ++engine.counters_.lists_sent;
        sink.frame(std::exchange(list, {}));
        size = 0;
    };
    for (const Facts* each : facts) {
        if (each == nullptr) continue;
        Facts shown = engine.visible(*each, link);
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

void Engine::compact() {
    for (auto& [id, pair] : pairs_) {
        if (!pair.session) continue;
        for (Session::Channel& channel : pair.session->channels()) channel.out.compact(arena_);
    }
}

}  // namespace cluster::core
