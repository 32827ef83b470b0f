#include "core/engine.hpp"

#include "value/address.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

void Engine::take_actions(std::vector<Action>& out) {
    sweep();
    if (departure_.look_due() && departure_.complete()) finish_leaving();
    if (dialling_.take_settled()) actions_.emplace_back(Settled{});
    sending_.report_skipped();
    out.clear();
    std::swap(out, actions_);
}

bool Engine::take_output(Output& out) {
    take_actions(out.actions);
    take_ready(out.ready);
    return !out.actions.empty() || !out.ready.empty();
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
    void list(OutputSink& sink) const { engine.gossip_.write_list(link, sink, now); }
    void news(const std::vector<PeerId>& ids, OutputSink& sink) const { engine.gossip_.write_news(link, ids, sink); }
};

bool Engine::pull(LinkId id, std::size_t budget, OutputSink& sink, Time now) {
    Link* link = peers_.find(id);
    if (link == nullptr || link->state == LinkState::dialling) return false;
    if (!link->due.pull(Author{*this, *link, now}, sink)) return false;

    Pair& pair = *link->pair;
    const bool more_members = members_.pull(*link, budget, sink, now);
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
    hello.resume_for_ms =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(options.resume_for).count());
    hello.max_message = options.max_message;
    hello.features = options.guest ? feature_clients | feature_guest
                                   : feature_members | feature_calls | feature_errors | feature_replicas |
                                         feature_clients | (options.observer ? feature_observer : 0);
    hello.observed = {without_zone(link.remote.host), link.remote.port};
    hello.self = Gossip::visible(engine.self(), link);
    return hello;
}

Offer Engine::Author::offer() const {
    const Pair& pair = *link.pair;
    Offer offer;
    if (!pair.session || !pair.session->token()) {
        // With epoch 0, which no session has accepted, it proves what was forgotten.
        const auto* gone = engine.forgotten(pair).find(pair.id);
        if (gone != nullptr && gone->token) {
            offer.proof = prove(*gone->token, link.our_nonce, link.peer_nonce, ProofUse::offer);
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
    attach.outstanding = attach.first ? link.pair->outstanding : 0;
    return attach;
}

Ack Engine::Author::ack() const {
    engine.timers_.cancel({Timer::ack, link.pair->number});
    return {link.pair->session->changed_offsets()};
}

Ping Engine::Author::ping() const {
    link.ping_sent = now;
    return {++link.ping_sequence, link.pair->are_peers() ? engine.peers_.digest() : 0};
}

}  // namespace cluster::core
