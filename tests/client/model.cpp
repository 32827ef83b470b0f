#include "client/model.hpp"

#include "base/overloaded.hpp"

#include <algorithm>
#include <chrono>

namespace cluster::client {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view proof = "proof";

std::uint64_t number_in(std::string_view text) {
    std::uint64_t number = 0;
    for (const char digit : text) number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    return number;
}

}  // namespace

Model::Model(std::uint64_t seed)
    : dice_(seed), heals_at_(now_ + some(15s)), inside_(chance(50)), challenges_(chance(20)) {
    MachineOptions options;
    options.group = "orders";
    options.key = {1};
    options.seed = dice_.next();
    most_outstanding_ = 1 + dice(chance(50) ? 4 : 40);
    options.max_outstanding = most_outstanding_;
    options.max_outstanding_bytes = 1 + dice(200);
    options.max_waiting = 1 + dice(50);
    options.inbox_messages = 1 + dice(chance(50) ? 4 : 100);
    options.session_timeout = session_timeout_ = 3s + some(20s);
    if (!inside_) {
        for (std::size_t i = 0; i < nodes; ++i) options.addresses.push_back(address(i));
    }
    if (chance(30)) leader_.reset();
    machine_.emplace(std::move(options), now_);
    if (inside_) {
        for (std::size_t i = 0; i < nodes; ++i) {
            after(some(1s), [this, i] { link_up(i, std::nullopt); });
        }
    }
    after(some(500ms), [this] { work(); });
    after(some(1s), [this] { trouble(); });
    expire();
}

PeerId Model::peer(std::size_t node) {
    PeerId id;
    id.bytes.fill(static_cast<std::uint8_t>(node + 1));
    return id;
}

std::string Model::run() {
    while (failure_.empty() && !over_ && now_ < heals_at_ + 60s) step();
    const bool closed = state_.error == errc::closed;
    if (failure_.empty() && !over_) fail("it has not ended after it was closed");
    if (failure_.empty()) check_at_end();
    ended_early = !closed;
    return failure_;
}

void Model::step() {
    const Time event = events_.empty() ? never : events_.begin()->first;
    if (machine_->deadline() <= event) {
        now_ = std::max(now_, machine_->deadline());
        machine_->tick(now_);
        if (machine_->deadline() <= now_) fail("it is due again at once");
    } else {
        now_ = event;
        const auto what = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        what();
    }
    Machine::Output output;
    while (machine_->take_output(output)) {
        for (Effect& effect : output.effects) carry_out(effect);
    }
}

// The world.

void Model::carry_out(Effect& effect) {
    if (over_) fail("it wants something after its end");
    std::visit(Overloaded{
                   [&](Dial& each) { dial(each.address); },
                   [&](Drop& each) { break_link(each.peer.bytes[0] - std::size_t{1}, true); },
                   [&](Tell& each) { to_node(each.to.bytes[0] - std::size_t{1}, std::move(each.message)); },
                   [&](Replied& each) {
                       const Call& call = calls_[each.ticket];
                       if (each.message.text() != (call.query ? "q" : "r") + std::to_string(call.order)) {
                           fail("wrong reply: " + std::string(each.message.text()));
                       }
                       ++replied;
                       ended(each.ticket, false);
                   },
                   [&](Failed& each) {
                       const bool by_end = each.error == errc::outcome_unknown || each.error == errc::closed;
                       if (state_.state != State::ended && by_end) {
                           fail("a call fails because the session has ended before that was told");
                       }
                       const bool never = each.error != errc::timed_out && each.error != errc::outcome_unknown &&
                                          each.error != errc::closed;
                       if (each.error == errc::timed_out) ++late;
                       if (never) ++unsent;
                       ended(each.ticket, never);
                   },
                   [&](Pushed& each) {
                       ++pushed;
                       if (each.message.text() != "p" + std::to_string(++pushes_)) fail("wrong push");
                       ++waiting_pushes_;
                       waiting_bytes_ += each.message.size();
                   },
                   [&](StateChanged& each) {
                       if (each.state == State::attached) ++attached;
                       if (each.state == State::attached && !leads(each.leader.bytes[0] - std::size_t{1}) && healed_) {
                           fail("attached at who does not lead");
                       }
                       state_ = std::move(each);
                   },
                   [&](ChallengeCame& each) {
                       after(some(300ms),
                             [this, number = each.number] { machine_->respond(number, std::string(proof), now_); });
                   },
                   [&](RoomFreed&) {},
                   [&](Ended&) { over_ = true; },
                   [&](LogLine&) {},
               },
               effect);
}

void Model::dial(const Address& to) {
    const auto node = static_cast<std::size_t>(to.host.back() - '0');
    const bool hangs = !healed_ && chance(10);
    if (hangs) return;
    after(some(20ms) + (chance(5) ? 1500ms : 0ms), [this, node, to] {
        if (node_[node].up && !node_[node].linked && (healed_ || chance(80))) {
            link_up(node, to);
        } else if (!node_[node].linked) {
            machine_->dial_failed(to, "gone", now_);
        } else {
            machine_->came(peer(node), to, now_);
        }
    });
}

void Model::link_up(std::size_t node, const std::optional<Address>& dialled) {
    if (node_[node].linked || !node_[node].up) return;
    node_[node].linked = true;
    machine_->came(peer(node), dialled, now_);
}

/// What is on its way is lost. `tell`: the link is gone; else there is another one at once.
void Model::break_link(std::size_t node, bool tell) {
    Node& other = node_[node];
    if (!other.linked) return;
    ++other.link;
    other.to_node.clear();
    other.to_client.clear();
    other.attached = false;
    if (!tell) return machine_->not_sent(peer(node), now_);
    other.linked = false;
    machine_->went(peer(node), now_);
    if (inside_) {
        after(healed_ ? some(100ms) : some(2s), [this, node] { link_up(node, std::nullopt); });
    }
}

void Model::to_node(std::size_t node, ToNode message) {
    Node& to = node_[node];
    if (!to.linked) {
        after(0ms, [this, node] { machine_->not_sent(peer(node), now_); });
        return;
    }
    if (const auto* ask = std::get_if<Ask>(&message)) {
        const std::string text(ask->message.text());
        if (ask->number == 0 || ask->number - ask->received.replies > most_outstanding_) fail("beyond the window");
        if (texts_.emplace(ask->number, text).first->second != text) fail("a number stands for two commands");
        if (ask->received.pushes != pushes_) fail("it says of pushes what is not so");
    }
    to.to_node.push_back(std::move(message));
    to.node_gets = std::max(to.node_gets, now_ + some(5ms));
    events_.emplace(to.node_gets, [this, node, link = to.link] { node_reads(node, link); });
}

void Model::node_reads(std::size_t node, std::uint64_t link) {
    Node& at = node_[node];
    if (link != at.link || at.to_node.empty()) return;
    if (at.stalls_until > now_) {
        events_.emplace(at.stalls_until, [this, node, link] { node_reads(node, link); });
        return;
    }
    const ToNode message = std::move(at.to_node.front());
    at.to_node.pop_front();
    hears(node, message);
}

void Model::say(std::size_t node, ToClient message) {
    Node& from = node_[node];
    if (!from.linked) return;
    // For these somebody waits, so it is noticed.
    const bool may_be_lost = std::holds_alternative<Reply>(message) || std::holds_alternative<Answer>(message);
    if (may_be_lost && !healed_ && chance(2)) return;
    from.to_client.push_back(std::move(message));
    from.client_gets = std::max(from.client_gets, now_ + some(5ms));
    events_.emplace(from.client_gets, [this, node, link = from.link] { client_reads(node, link); });
}

void Model::client_reads(std::size_t node, std::uint64_t link) {
    Node& from = node_[node];
    if (link != from.link || from.to_client.empty()) return;
    ToClient message = std::move(from.to_client.front());
    from.to_client.pop_front();
    machine_->received(peer(node), std::move(message), now_);
}

void Model::trouble() {
    if (now_ >= heals_at_) return heal();
    const std::size_t node = dice(nodes);
    switch (dice(12)) {
        case 0:
        case 1:
            elect(std::nullopt, chance(50));
            after(some(1500ms), [this] {
                if (!leader_) elect(dice(nodes), true);
            });
            break;
        case 2: elect(node, chance(50)); break;
        case 3: break_link(node, true); break;
        case 4: break_link(node, false); break;
        case 5:
            if (std::exchange(node_[node].attached, false) && chance(50)) say(node, Detached{});
            break;
        case 6:
            break_link(node, true);
            if (leads(node)) elect(std::nullopt, true);
            depose(node);
            node_[node].up = false;
            after(some(3s), [this, node] {
                node_[node].up = true;
                if (inside_) link_up(node, std::nullopt);
                if (!leader_) elect(node, true);
            });
            break;
        case 7: node_[node].stalls_until = now_ + some(3s); break;
        case 8: full_ = chance(50) ? 0 : dice(100); break;
        case 9:
        case 10:
            for (std::uint64_t i = dice(10); leader_ && session_ && i > 0; --i) push(true);
            break;
        default:
            if (chance(15) && leader_) propose({Proposal::Kind::close, 0, {}, {}, CloseReason::service, 0});
            break;
    }
    after(some(700ms), [this] { trouble(); });
}

void Model::heal() {
    healed_ = true;
    full_ = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        node_[i].up = true;
        node_[i].stalls_until = now_;
        depose(i);
        if (inside_) link_up(i, std::nullopt);
    }
    if (!leader_) elect(dice(nodes), true);
    after(15s, [this] {
        if (state_.state == State::ended) return;
        if (state_.state != State::attached) return fail("not attached, although all is well: " + state_.why);
        for (const auto& [ticket, call] : calls_) {
            if (!call.ended) fail("call " + std::to_string(ticket) + " has no end");
        }
        if (pushes_ != session_->pushed) fail("pushes are missing");
        for (const auto& [order, never_sent] : orders_) {
            if (!never_sent && !std::binary_search(effects_.begin(), effects_.end(), order)) {
                fail("command " + std::to_string(order) + " was lost");
            }
        }
        machine_->close(now_);
        after(1500ms, [this] {
            if (!over_) fail("closing takes too long");
        });
    });
}

// The group.

void Model::elect(std::optional<std::size_t> node, bool former_knows) {
    if (node && !node_[*node].up) node.reset();
    if (node == leader_) return;
    if (leader_) {
        Node& former = node_[*leader_];
        if (former_knows) {
            if (std::exchange(former.attached, false)) say(*leader_, Detached{});
        } else {
            former.stale = session_.value_or(group::Session());
            after(some(1s), [this, was = *leader_] { depose(was); });
        }
    }
    leader_ = node;
    if (!node) return;
    node_[*node].stale.reset();
    node_[*node].attached = false;
    heard_ = now_;
    // Some of what the former one has proposed is at a majority.
    for (std::uint64_t kept = proposals_.empty() ? 0 : dice(proposals_.size() + 1); kept > 0; --kept) {
        const Proposal proposal = std::move(proposals_.front());
        proposals_.pop_front();
        apply(proposal, false);
    }
    proposals_.clear();
}

/// It notices that it does not lead.
void Model::depose(std::size_t node) {
    if (!std::exchange(node_[node].stale, std::nullopt)) return;
    if (std::exchange(node_[node].attached, false) && chance(80)) say(node, Detached{});
}

void Model::propose(Proposal proposal) {
    proposals_.push_back(std::move(proposal));
    after(some(20ms), [this] { commit(); });
}

void Model::commit() {
    if (!leader_ || proposals_.empty()) return;
    if (node_[*leader_].stalls_until > now_) return after(100ms, [this] { commit(); });
    const Proposal proposal = std::move(proposals_.front());
    proposals_.pop_front();
    apply(proposal, true);
}

void Model::apply(const Proposal& proposal, bool answers) {
    ++position_;
    switch (proposal.kind) {
        case Proposal::Kind::open:
            if (!session_) {
                session_.emplace();
                session_->facts.id = position_;
                heard_ = now_;
            }
            if (!answers || proposal.link != node_[*leader_].link) return;
            return serve(*leader_);
        case Proposal::Kind::close: return close(proposal.reason, answers);
        case Proposal::Kind::command: break;
    }
    if (!session_) return;
    session_->received(proposal.received);
    if (proposal.number != session_->applied + 1) return;
    session_->applied = proposal.number;
    effects_.push_back(number_in(proposal.text));
    if (effects_.size() > 1 && effects_[effects_.size() - 2] >= effects_.back()) fail("a command is out of order");
    session_->reply(proposal.number, position_, Bytes("r" + proposal.text));
    if (answers && node_[*leader_].attached) {
        say(*leader_, Reply{proposal.number, position_, session_->replies.back().bytes});
    }
    if (chance(30)) push(answers);
}

void Model::push(bool answers) {
    const group::Kept& kept = session_->push(position_, Bytes("p" + std::to_string(session_->pushed + 1)));
    if (answers && node_[*leader_].attached) say(*leader_, Push{kept.number, kept.position, kept.bytes});
}

void Model::close(CloseReason reason, bool answers) {
    if (!session_) return;
    closed_.insert(session_->facts.id);
    session_.reset();
    if (answers && std::exchange(node_[*leader_].attached, false)) say(*leader_, Closed{reason});
}

void Model::serve(std::size_t node) {
    if (!session_) return propose({Proposal::Kind::open, 0, {}, {}, {}, node_[node].link});
    say(node, Opened{session_->facts.id});
    attach(node, {}, *session_);
}

/// What it has not received comes behind.
void Model::attach(std::size_t node, const group::Received& received, const group::Session& session) {
    node_[node].attached = true;
    for (const group::Kept& kept : session.replies) {
        if (kept.number > received.replies) say(node, Reply{kept.number, kept.position, kept.bytes});
    }
    for (const group::Kept& kept : session.pushes) {
        if (kept.number > received.pushes) say(node, Push{kept.number, kept.position, kept.bytes});
    }
}

void Model::hears(std::size_t node, const ToNode& message) {
    Node& at = node_[node];
    if (at.stale) {
        // It answers as it thinks right, but nothing is put into the log any more.
        const auto* attaches = std::get_if<Attach>(&message);
        if (attaches == nullptr || at.stale->facts.id != attaches->session) return;
        say(node, Attached{at.stale->applied, 1000});
        attach(node, attaches->received, *at.stale);
        return;
    }
    if (!leads(node)) {
        NotLeader answer;
        if (leader_ && (healed_ || chance(80))) answer.leader = peer(*leader_);
        if (!healed_ && chance(10)) answer.leader = peer(dice(nodes));
        if (answer.leader != PeerId{}) answer.addresses = {address(answer.leader.bytes[0] - std::size_t{1})};
        return say(node, answer);
    }
    heard_ = now_;
    std::visit(Overloaded{
                   [&](const Open&) { challenges_ ? say(node, Challenge{"?"}) : serve(node); },
                   [&](const Response& each) {
                       if (each.response == proof) serve(node);
                   },
                   [&](const Attach& each) {
                       if (!session_ || session_->facts.id != each.session) {
                           if (!closed_.contains(each.session)) fail("it attaches a session that never was");
                           return say(node, Refused{Refusal::no_session, {}});
                       }
                       session_->received(each.received);
                       say(node, Attached{session_->applied, 1000});
                       attach(node, each.received, *session_);
                   },
                   [&](const Ask& each) {
                       if (!at.attached) return say(node, Detached{});
                       if (chance(full_)) return say(node, Busy{each.number});
                       if (session_ && each.number <= session_->applied) ++resent;
                       propose({Proposal::Kind::command,
                                each.number,
                                each.received,
                                std::string(each.message.text()),
                                {},
                                at.link});
                   },
                   [&](const Alive& each) {
                       if (!at.attached) return say(node, Detached{});
                       if (session_) session_->received(each.received);
                   },
                   [&](const Leave&) {
                       if (!at.attached) return say(node, Detached{});
                       propose({Proposal::Kind::close, 0, {}, {}, CloseReason::client, at.link});
                   },
                   [&](const Query& each) {
                       if (!at.attached) return say(node, Detached{});
                       if (!healed_ && chance(5)) {
                           const errc why = chance(50) ? errc::no_leader : errc::closed;
                           return say(node, Answer{each.number, static_cast<std::uint32_t>(why), 0, {}});
                       }
                       after(some(30ms),
                             [this, node, link = at.link, answer = Answer{each.number, 0, position_, each.query}] {
                                 if (node_[node].link == link) say(node, answer);
                             });
                   },
               },
               message);
}

/// Closes the session if nothing comes from the client.
void Model::expire() {
    const bool hangs = leader_ && node_[*leader_].stalls_until > now_;
    if (hangs) heard_ = now_;
    if (leader_ && session_ && now_ - heard_ > session_timeout_) {
        propose({Proposal::Kind::close, 0, {}, {}, CloseReason::timed_out, 0});
    }
    after(500ms, [this] { expire(); });
}

// The application.

void Model::work() {
    if (state_.state == State::ended) return;
    const std::size_t taken = dice(waiting_pushes_ + 1);
    if (healed_ || chance(30)) {
        const std::size_t messages = healed_ ? waiting_pushes_ : taken;
        const std::size_t bytes = messages == waiting_pushes_ ? waiting_bytes_ : 0;
        waiting_pushes_ -= messages;
        waiting_bytes_ -= bytes;
        machine_->taken(messages, bytes, now_);
    }
    if (now_ < heals_at_ + 2s) {
        for (std::uint64_t i = dice(chance(10) ? 30 : 3); i > 0; --i) call();
    }
    after(some(healed_ ? 100ms : 400ms), [this] { work(); });
}

void Model::call() {
    const std::uint64_t order = ++order_;
    const Time deadline = chance(20) ? never : now_ + 1ms + some(chance(70) ? 5s : 100ms);
    if (chance(20)) {
        const std::uint64_t ticket = ++tickets_;
        calls_[ticket] = {order, true};
        return machine_->query(ticket, Bytes("q" + std::to_string(order)), chance(50), 0, deadline, now_);
    }
    if (chance(30)) {
        const bool accepted = machine_->cast(Bytes(std::to_string(order)), now_) == errc{};
        orders_[order] = !accepted;
        return;
    }
    const std::uint64_t ticket = ++tickets_;
    calls_[ticket] = {order};
    orders_[order] = false;
    machine_->call(ticket, Bytes(std::to_string(order)), deadline, now_);
}

void Model::ended(std::uint64_t ticket, bool never_sent) {
    Call& call = calls_[ticket];
    if (std::exchange(call.ended, true)) fail("a call ends twice");
    if (!call.query && never_sent) orders_[call.order] = true;
}

void Model::check_at_end() {
    for (const auto& [ticket, call] : calls_) {
        if (!call.ended) fail("call " + std::to_string(ticket) + " has no end");
    }
    for (const std::uint64_t order : effects_) {
        if (orders_[order]) fail("command " + std::to_string(order) + " took effect, and was said not to be sent");
    }
    const bool known = state_.error == errc::closed || state_.error == errc::closed_by_service ||
                       state_.error == errc::session_expired;
    if (!known) fail("it ended with " + make_error_code(state_.error).message());
    if (state_.error != errc::closed && session_) fail("it ended, and its session has not");
}

}  // namespace cluster::client
