#include "replica/clients.hpp"

#include "group/sessions.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace cluster::replica {

using client::Seat;

void Clients::propose(group::Command command, std::uint64_t session, std::uint64_t number) {
    proposals_.push_back({group::pack(command), session, number});
}

// How this replica stands.

void Clients::serve(Time now) {
    if (stance_ == Stance::serving) return;
    stance_ = Stance::serving;
    turned_away_.clear();
    strays_.clear();
    strays_due_ = never;
    for (auto& [id, session] : sessions_) {
        session.heard = now;  // what its former leader has heard of it, nobody knows
        expiries_.emplace(now + session.timeout, id);
    }
    replay(now);
}

void Clients::prepare() {
    if (stance_ == Stance::preparing) return;
    stop_serving();
    stance_ = Stance::preparing;
    leader_ = {};
    strays_due_ = never;
}

void Clients::follow(const PeerId& leader, Time now) {
    if (stance_ != Stance::following) stop_serving();
    if (stance_ == Stance::following && leader_ == leader) return;
    stance_ = Stance::following;
    leader_ = leader;
    turned_away_.clear();
    if (leader == PeerId()) {
        strays_due_ = strays_.empty() ? never : now + stray_patience;
        return;
    }
    turn_strays_away();
    replay(now);
}

void Clients::end(Time now) {
    follow({}, now);
    for (const auto& [seat, message] : std::exchange(early_, {})) strays_.insert(seat);
    turn_strays_away();
}

/// Those who were served here look elsewhere from now on.
void Clients::turn_strays_away() {
    strays_due_ = never;
    for (const Seat& each : std::exchange(strays_, {})) turn_away(each);
}

void Clients::stop_serving() {
    if (stance_ != Stance::serving) return;
    emit(DetachSession{});
    for (auto& [id, session] : sessions_) {
        if (session.seat) strays_.insert(*session.seat);
        session = {session.timeout, {}, {}, 0, {}, false};
    }
    for (const auto& [key, seat] : opening_) strays_.insert(seat);
    for (const auto& [ticket, opening] : authenticating_) strays_.insert(opening.seat);
    for (const auto& [key, opening] : challenged_) strays_.insert(opening.seat);
    for (const auto& [session, seat] : sought_) strays_.insert(seat);
    sought_.clear();
    seats_.clear();
    opening_.clear();
    authenticating_.clear();
    challenged_.clear();
    proposals_.clear();
    expiries_.clear();
    not_before_ = {};
}

/// What came before it was known who leads.
void Clients::replay(Time now) {
    for (auto& [seat, message] : std::exchange(early_, {})) received(seat, std::move(message), now);
}

// Clients.

/// Says once that it is not served here. What else it has sent meanwhile needs no answer.
void Clients::turn_away(const Seat& seat) {
    if (turned_away_.size() >= most_waiting) turned_away_.clear();
    if (!turned_away_.insert(seat).second) return;
    if (stance_ == Stance::serving) return tell(seat, client::Detached{});
    tell(seat, client::NotLeader{leader_, {}});
}

void Clients::received(const Seat& seat, client::ToNode&& message, Time now) {
    const bool begins = std::holds_alternative<client::Open>(message) ||
                        std::holds_alternative<client::Response>(message) ||
                        std::holds_alternative<client::Attach>(message);
    if (begins) turned_away_.erase(seat);
    if (stance_ == Stance::serving) {
        return std::visit([&](auto& each) { on(seat, std::move(each), now); }, message);
    }
    const bool nobody = stance_ == Stance::preparing || leader_ == PeerId();
    if (begins && nobody && (early_.size() < most_waiting || early_.contains(seat))) {
        early_.insert_or_assign(seat, std::move(message));
    } else {
        turn_away(seat);
    }
}

void Clients::gone(const PeerId& peer) {
    const auto begin = seats_.lower_bound(Seat{peer, 0});
    const auto end = std::find_if(begin, seats_.end(), [&](const auto& each) { return each.first.peer != peer; });
    for (auto each = begin; each != end; ++each) {
        sessions_.at(each->second).seat.reset();
        emit(DetachSession{each->first, each->second});
    }
    seats_.erase(begin, end);
    const auto at_peer = [&](const Seat& seat) { return seat.peer == peer; };
    std::erase_if(opening_, [&](const auto& each) { return at_peer(each.second); });
    std::erase_if(sought_, [&](const auto& each) { return at_peer(each.second); });
    std::erase_if(authenticating_, [&](const auto& each) { return at_peer(each.second.seat); });
    std::erase_if(challenged_, [&](const auto& each) { return at_peer(each.second.seat); });
    std::erase_if(early_, [&](const auto& each) { return at_peer(each.first); });
    std::erase_if(strays_, at_peer);
    std::erase_if(turned_away_, at_peer);
}

bool Clients::is_ours(const std::string& group, const Seat& seat) {
    if (group == options_.group) return true;
    tell(seat, client::Refused{client::Refusal::no_such_group, "no replica of the group runs here"});
    return false;
}

void Clients::on(const Seat& seat, client::Open&& open, Time) {
    if (!is_ours(open.group, seat)) return;
    Opening opening{seat, std::move(open), {}};
    if (!options_.authenticates) return admit(opening, {});
    if (authenticating_.size() >= most_waiting) return turn_away(seat);
    const std::uint64_t ticket = ++last_ticket_;
    emit(Authenticate{ticket, opening.open.credentials, {}, {}});
    authenticating_.emplace(ticket, std::move(opening));
}

void Clients::on(const Seat& seat, client::Response&& response, Time) {
    const auto found = challenged_.find(response.key);
    if (found == challenged_.end() || found->second.seat != seat) return turn_away(seat);
    Opening opening = std::move(found->second);
    challenged_.erase(found);
    const std::uint64_t ticket = ++last_ticket_;
    emit(Authenticate{ticket, opening.open.credentials, opening.challenge, std::move(response.response)});
    authenticating_.emplace(ticket, std::move(opening));
}

void Clients::authenticated(std::uint64_t ticket, const Verdict& verdict, Time) {
    const auto found = authenticating_.find(ticket);
    if (found == authenticating_.end()) return;
    Opening opening = std::move(found->second);
    authenticating_.erase(found);
    const auto reject = [&](std::string why) {
        tell(opening.seat, client::Refused{client::Refusal::rejected, std::move(why)});
    };
    switch (verdict.kind) {
        case Verdict::Kind::accepted:
            // Cut short, it might be that of somebody else.
            if (verdict.text.size() > group::max_principal) return reject("its principal is longer than 4 KiB");
            return admit(opening, verdict.text);
        case Verdict::Kind::rejected: return reject(verdict.text);
        case Verdict::Kind::challenged:
            if (verdict.text.size() > client::max_credentials) return reject("its challenge is longer than 16 KiB");
            break;
    }
    opening.challenge = verdict.text;
    tell(opening.seat, client::Challenge{verdict.text});
    if (challenged_.size() >= most_waiting) challenged_.clear();  // they ask again
    challenged_.insert_or_assign(opening.open.key, std::move(opening));
}

/// It is known who it is.
void Clients::admit(const Opening& opening, std::string principal) {
    const auto wanted = std::chrono::milliseconds(
        std::min<std::uint64_t>(opening.open.timeout_ms, std::chrono::milliseconds::max().count() / 2'000'000));
    const auto longest = std::chrono::duration_cast<std::chrono::milliseconds>(options_.longest_timeout);
    const auto timeout = std::clamp<std::chrono::milliseconds>(
        wanted, std::chrono::milliseconds(shortest_timeout.count() / 1'000'000), longest);
    opening_.insert_or_assign(opening.open.key, opening.seat);
    propose(group::OpenSession{opening.open.key, static_cast<std::uint64_t>(timeout.count()), options_.max_sessions,
                               opening.open.name, std::move(principal)});
}

void Clients::on(const Seat& seat, client::Attach&& attach, Time now) {
    if (!is_ours(attach.group, seat)) return;
    const auto found = sessions_.find(attach.session);
    if (found == sessions_.end()) {
        // Another one may lead by now, where that session was opened. Only the log tells.
        if (sought_.size() < most_waiting && sought_.insert_or_assign(attach.session, seat).second) {
            propose(group::Acknowledge{attach.session, {}}, attach.session);
        }
        return;
    }
    found->second.heard = now;
    emit(AttachSession{seat, attach.session, attach.key, attach.received});
}

/// Null, and it is told so, if it is not attached.
Clients::Known* Clients::session_at(const Seat& seat, Time now) {
    const auto found = seats_.find(seat);
    if (found == seats_.end()) {
        turn_away(seat);
        return nullptr;
    }
    Known& session = sessions_.at(found->second);
    session.heard = now;
    return &session;
}

void Clients::on(const Seat& seat, client::Ask&& ask, Time now) {
    Known* const session = session_at(seat, now);
    if (session == nullptr || ask.number != session->accepted + 1) return;
    const std::uint64_t id = seats_.at(seat);
    const bool too_many = ask.number > ask.received.replies + group::Session::most_outstanding;
    if (too_many || ask.message.size() > options_.max_message) {
        // It does not keep to what it was told. Nothing it asks for can follow.
        leave_seat(id, *session);
        return turn_away(seat);
    }
    session->accepted = ask.number;
    session->received = ask.received;
    propose(group::SessionCommand{id, ask.number, ask.received, ask.message.view()}, id, ask.number);
}

void Clients::on(const Seat& seat, client::Alive&& alive, Time now) {
    Known* const session = session_at(seat, now);
    if (session != nullptr) acknowledge(seats_.at(seat), *session, alive.received);
}

/// What it has received need not be kept any more.
void Clients::acknowledge(std::uint64_t id, Known& session, const group::Received& received) {
    if (received.replies <= session.received.replies && received.pushes <= session.received.pushes) return;
    session.received = received;
    propose(group::Acknowledge{id, received}, id);
}

void Clients::on(const Seat& seat, client::Leave&&, Time now) {
    Known* const session = session_at(seat, now);
    if (session == nullptr || std::exchange(session->ending, true)) return;
    propose(group::CloseSession{seats_.at(seat), CloseReason::client}, seats_.at(seat));
}

void Clients::on(const Seat& seat, client::Query&& query, Time now) {
    if (session_at(seat, now) != nullptr) emit(AskService{seat, std::move(query)});
}

void Clients::leave_seat(std::uint64_t session, Known& at) {
    if (!at.seat) return;
    emit(DetachSession{*at.seat, session});
    seats_.erase(*at.seat);
    at.seat.reset();
}

// The services.

void Clients::changed(const group::SessionChange& change, Time now) {
    if (const auto* session = std::get_if<group::SessionOpened>(&change)) return opened(*session, now);
    closed(std::get<group::SessionClosed>(change));
}

void Clients::opened(const group::SessionOpened& session, Time now) {
    const auto& [key, facts] = session;
    const auto waits = opening_.find(key);
    const std::optional<Seat> seat = waits == opening_.end() ? std::nullopt : std::optional(waits->second);
    if (seat) opening_.erase(waits);
    if (facts.session == 0) {
        if (seat) tell(*seat, client::Refused{client::Refusal::full, "the group has as many sessions as it may"});
        return;
    }
    const auto [at, is_new] = sessions_.try_emplace(facts.session);
    if (is_new) {
        at->second.timeout = std::chrono::milliseconds(facts.timeout_ms);
        at->second.heard = now;
        if (stance_ == Stance::serving) expiries_.emplace(now + at->second.timeout, facts.session);
    }
    if (!seat || stance_ != Stance::serving) return;
    tell(*seat, client::Opened{facts.session});
    emit(AttachSession{*seat, facts.session, key, {}});
}

void Clients::closed(const group::SessionClosed& closed) {
    const auto sought = sought_.find(closed.session);
    if (sought != sought_.end()) {
        tell(sought->second, client::Refused{client::Refusal::no_session, "the session is over"});
        sought_.erase(sought);
    }
    const auto found = sessions_.find(closed.session);
    if (found == sessions_.end()) return;
    if (found->second.seat) {
        tell(*found->second.seat, client::Closed{closed.reason});
        seats_.erase(*found->second.seat);
    }
    sessions_.erase(found);
}

void Clients::loaded(std::span<const group::SessionFacts> sessions, Time now) {
    follow({}, now);
    sessions_.clear();
    for (const group::SessionFacts& each : sessions) {
        sessions_[each.session] = {std::chrono::milliseconds(each.timeout_ms), now, {}, 0, {}, false};
    }
}

bool Clients::attached(const Seat& seat, std::uint64_t session, std::optional<std::uint64_t> applied, Time now) {
    if (stance_ != Stance::serving) return false;
    const auto found = sessions_.find(session);
    if (!applied || found == sessions_.end()) {
        tell(seat, client::Refused{client::Refusal::no_session, "the session is over"});
        return false;
    }
    Known& at = found->second;
    // One client has one session, and a session one client: the last that came.
    if (at.seat && *at.seat != seat) {
        tell(*at.seat, client::Detached{});
        seats_.erase(*at.seat);
    }
    const auto former = seats_.find(seat);
    if (former != seats_.end() && former->second != session) leave_seat(former->second, sessions_.at(former->second));
    at.seat = seat;
    at.heard = now;
    at.accepted = std::max(at.accepted, *applied);
    seats_[seat] = session;
    return true;
}

void Clients::lost(std::uint64_t session, bool hopeless) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end() || !found->second.seat) return;
    if (hopeless) {
        if (!std::exchange(found->second.ending, true)) {
            propose(group::CloseSession{session, CloseReason::slow}, session);
        }
        return;
    }
    turned_away_.erase(*found->second.seat);
    leave_seat(session, found->second);
}

void Clients::not_told(const Seat& seat) {
    turned_away_.erase(seat);
    const auto found = seats_.find(seat);
    if (found != seats_.end()) leave_seat(found->second, sessions_.at(found->second));
}

// The log.

std::vector<Bytes> Clients::proposals(std::size_t most) const {
    std::vector<Bytes> commands;
    std::size_t bytes = 0;
    for (const Proposal& each : proposals_) {
        bytes += each.command.size();
        if (!commands.empty() && bytes > most) break;
        commands.push_back(each.command);
    }
    return commands;
}

void Clients::proposed(std::size_t count, std::size_t asked, Time now) {
    proposals_.erase(proposals_.begin(), proposals_.begin() + static_cast<std::ptrdiff_t>(count));
    if (count == asked) return;
    // Clients keep their commands, and send them again from the first one on for which there was no room. What else
    // waits is little.
    not_before_ = now + pause;
    std::set<std::uint64_t> told;
    for (const Proposal& each : proposals_) {
        if (each.number == 0 || !told.insert(each.session).second) continue;
        const auto found = sessions_.find(each.session);
        if (found == sessions_.end()) continue;
        found->second.accepted = each.number - 1;
        if (found->second.seat) tell(*found->second.seat, client::Busy{each.number});
    }
    std::erase_if(proposals_, [](const Proposal& each) { return each.number != 0; });
}

Time Clients::deadline() const {
    const Time first = std::min(strays_due_, proposals_.empty() ? never : not_before_);
    return expiries_.empty() ? first : std::min(first, expiries_.begin()->first);
}

/// Whoever was not heard of for its timeout is closed.
void Clients::tick(Time now) {
    if (strays_due_ <= now) turn_strays_away();
    while (!expiries_.empty() && expiries_.begin()->first <= now) {
        const auto [due, id] = *expiries_.begin();
        expiries_.erase(expiries_.begin());
        const auto found = sessions_.find(id);
        if (found == sessions_.end()) continue;
        Known& session = found->second;
        if (session.heard + session.timeout > now) {
            expiries_.emplace(session.heard + session.timeout, id);
            continue;
        }
        const bool was_late = now - due > late;
        expiries_.emplace(now + (was_late ? session.timeout / 2 : session.timeout), id);
        if (was_late) continue;
        if (!std::exchange(session.ending, true)) propose(group::CloseSession{id, CloseReason::timed_out}, id);
    }
}

}  // namespace cluster::replica
