#include "client/machine.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace cluster::client {

namespace {

std::string_view name_of(State state) {
    switch (state) {
        case State::connecting: return "connecting";
        case State::attached: return "attached";
        case State::seeking: return "seeking";
        case State::ended: return "ended";
    }
    return "unknown";
}

/// It says something of the replica that was asked, and nothing of the query: the next one may answer that.
bool is_of_replica(errc error) {
    return error == errc::not_leader || error == errc::no_leader || error == errc::closed ||
           error == errc::replica_stopped || error == errc::timed_out;
}

}  // namespace

Machine::Machine(MachineOptions options, Time now) : options_(std::move(options)), dice_(options_.seed) {
    options_.max_outstanding = std::clamp<std::size_t>(options_.max_outstanding, 1, group::Session::most_outstanding);
    options_.session_timeout = std::max<Duration>(options_.session_timeout, std::chrono::milliseconds(3));
    if (outside()) {
        next({}, now);
    } else {
        detached({}, now);
        timers_.set({Timer::attempt, 0}, now + round_pause_.take(dice_));
    }
}

void Machine::log(LogLevel level, std::string text) {
    text += " group=" + token(options_.group);
    emit(LogLine{level, std::move(text)});
}

void Machine::set_state(StateChanged state) {
    const auto facts = [](const StateChanged& of) { return std::tie(of.state, of.error, of.why, of.leader); };
    if (facts(state) == facts(state_)) return;
    // That a leader goes is no reason to worry. That no other one is found is.
    const bool lasts = state.state == state_.state;
    const bool worth_a_warning =
        state.state == State::ended ? state.error != errc::closed : lasts && state.state != State::attached;
    state_ = state;
    std::string text = "client_" + std::string(name_of(state.state)) + " session=" + std::to_string(session_);
    if (state.state == State::attached) {
        text += " leader=" + state.leader.to_string();
    } else {
        text += " why=" + quoted(state.why);
    }
    log(worth_a_warning ? LogLevel::warning : LogLevel::info, std::move(text));
    emit(std::move(state));
}

void Machine::tell(ToNode message, Time now) {
    told_at_ = now;
    emit(Tell{*peer_, std::move(message)});
}

void Machine::received(const PeerId& from, ToClient&& message, Time now) {
    if (phase_ == Phase::ended || from != peer_) return;
    if (phase_ == Phase::leaving) {
        // After these it will not be told that the session is closed.
        const bool over = std::holds_alternative<Closed>(message) || std::holds_alternative<Refused>(message) ||
                          std::holds_alternative<NotLeader>(message) || std::holds_alternative<Detached>(message);
        if (over) finish();
        return;
    }
    heard_at_ = now;
    std::visit([&](auto& each) { on(each, now); }, message);
    pump(now);
}

// Commands.

void Machine::call(std::uint64_t ticket, Bytes message, Time deadline, Time now) {
    errc error{};
    if (state_.state == State::ended) {
        error = state_.error;
    } else if (max_message_ != 0 && message.size() > max_message_) {
        error = errc::message_too_large;
    } else if (!has_room(message.size())) {
        error = errc::too_many_requests;
    }
    if (error != errc{}) return emit(Failed{ticket, error, {}});
    if (deadline != never) timers_.set({Timer::command, next_id_}, deadline);
    add({ticket, std::move(message), deadline, 0}, now);
}

errc Machine::cast(Bytes message, Time now) {
    if (state_.state == State::ended) return state_.error;
    if (max_message_ != 0 && message.size() > max_message_) return errc::message_too_large;
    if (!has_room(message.size())) {
        wants_room_ = true;
        return errc::too_many_requests;
    }
    add({{}, std::move(message), never, 0}, now);
    return {};
}

void Machine::add(Command command, Time now) {
    waiting_bytes_ += command.message.size();
    commands_.emplace_hint(commands_.end(), next_id_++, std::move(command));
    pump(now);
}

bool Machine::has_room(std::size_t bytes) const {
    const std::size_t waiting = commands_.size() - sent_;
    return waiting == 0 || (waiting < options_.max_waiting && waiting_bytes_ + bytes <= options_.max_waiting_bytes);
}

bool Machine::in_window(const Command& command) const {
    return sent_ == 0 ||
           (sent_ < options_.max_outstanding && sent_bytes_ + command.message.size() <= options_.max_outstanding_bytes);
}

bool Machine::owes() const {
    return sent_ != 0 || (!queries_.empty() && queries_.begin()->first < query_from_);
}

/// Sends what can be sent.
void Machine::pump(Time now) {
    if (phase_ == Phase::open) {
        if (!owes()) heard_at_ = now;
        send_queries(now);
        if (!busy_) send_commands(now);
        if (owes() && !timers_.pending({Timer::silence, 0})) timers_.set({Timer::silence, 0}, now + silence_);
    }
    // Room for many: one who waits is woken less often.
    const std::size_t waiting = commands_.size() - sent_;
    if (wants_room_ && waiting <= options_.max_waiting / 2 && waiting_bytes_ <= options_.max_waiting_bytes / 2) {
        wants_room_ = false;
        emit(RoomFreed{});
    }
}

void Machine::send_commands(Time now) {
    auto each = commands_.lower_bound(send_from_);
    while (each != commands_.end()) {
        Command& command = each->second;
        if (command.number == 0) {
            const bool too_long = max_message_ != 0 && command.message.size() > max_message_;
            if (too_long || command.deadline <= now) {
                end_unsent(each++, too_long ? errc::message_too_large : why_unsent());
                continue;
            }
            if (!in_window(command)) break;
            command.number = ++last_number_;
            ++sent_;
            sent_bytes_ += command.message.size();
            waiting_bytes_ -= command.message.size();
        }
        acknowledged();
        tell(Ask{command.number, received_, command.message}, now);
        ++each;
    }
    send_from_ = each == commands_.end() ? next_id_ : each->first;
}

/// It will not be sent any more.
void Machine::end_unsent(std::map<std::uint64_t, Command>::iterator command, errc error) {
    timers_.cancel({Timer::command, command->first});
    waiting_bytes_ -= command->second.message.size();
    if (command->second.ticket) {
        emit(Failed{*command->second.ticket, error, {}});
    } else {
        log(LogLevel::error, "client_message_dropped why=" + quoted(make_error_code(error).message()));
    }
    commands_.erase(command);
}

/// Why a command has waited until its time was over.
errc Machine::why_unsent() const {
    return state_.state == State::attached ? errc::overloaded : errc::no_leader;
}

void Machine::command_late(std::uint64_t id) {
    const auto found = commands_.find(id);
    if (found == commands_.end()) return;
    Command& command = found->second;
    if (command.number == 0) return end_unsent(found, why_unsent());
    emit(Failed{*std::exchange(command.ticket, std::nullopt), errc::timed_out, {}});
}

void Machine::on(Reply& message, Time now) {
    if (session_ == 0 || message.number <= received_.replies || message.number > last_number_) return;
    if (message.number != received_.replies + 1) {
        if (phase_ == Phase::open) attach_again(now);
        return;
    }
    const auto first = commands_.begin();
    Command& command = first->second;
    received_.replies = message.number;
    --sent_;
    sent_bytes_ -= command.message.size();
    if (command.ticket) {
        timers_.cancel({Timer::command, first->first});
        emit(Replied{*command.ticket, message.position, message.message});
    }
    commands_.erase(first);
    busy_pause_.reset();
    progress();
    unacknowledged(message.message.size(), now);
}

void Machine::on(const Busy& message, Time now) {
    if (phase_ != Phase::open) return;
    const auto found = std::find_if(commands_.begin(), commands_.end(), [&](const auto& each) {
        return each.second.number == 0 || each.second.number >= message.number;
    });
    if (found == commands_.end() || found->second.number == 0) return;
    send_from_ = std::min(send_from_, found->first);
    if (std::exchange(busy_, true)) return;
    timers_.set({Timer::busy, 0}, now + busy_pause_.take(dice_));
}

// Queries.

void Machine::query(std::uint64_t ticket, Bytes query, bool linearizable, std::uint64_t at_least, Time deadline,
                    Time now) {
    errc error{};
    if (state_.state == State::ended) {
        error = state_.error;
    } else if (max_message_ != 0 && query.size() > max_message_) {
        error = errc::message_too_large;
    } else if (queries_.size() >= most_queries) {
        error = errc::too_many_requests;
    }
    if (error != errc{}) return emit(Failed{ticket, error, {}});
    const std::uint64_t number = ++last_query_;
    if (deadline != never) timers_.set({Timer::query, number}, deadline);
    queries_.emplace_hint(queries_.end(), number, Read{ticket, {number, linearizable, at_least, std::move(query)}});
    pump(now);
}

void Machine::send_queries(Time now) {
    for (auto each = queries_.lower_bound(query_from_); each != queries_.end(); ++each) tell(each->second.message, now);
    query_from_ = last_query_ + 1;
}

void Machine::query_late(std::uint64_t number) {
    const auto found = queries_.find(number);
    if (found == queries_.end()) return;
    const bool asked = phase_ == Phase::open && number < query_from_;
    emit(Failed{found->second.ticket, asked ? errc::timed_out : errc::no_leader, {}});
    queries_.erase(found);
}

void Machine::on(Answer& message, Time now) {
    const auto found = queries_.find(message.number);
    if (found == queries_.end()) return;
    const auto error = static_cast<errc>(message.code);
    if (is_of_replica(error)) {
        // It is asked again when the session is attached again.
        if (phase_ == Phase::open) attach_again(now);
        return;
    }
    timers_.cancel({Timer::query, message.number});
    if (error == errc{}) {
        emit(Replied{found->second.ticket, message.position, message.message});
    } else {
        emit(Failed{found->second.ticket, error, std::string(message.message.text())});
    }
    queries_.erase(found);
    progress();
}

// Pushes.

void Machine::on(Push& message, Time now) {
    if (session_ == 0 || message.number <= received_.pushes) return;
    // What comes behind one that was not taken will come again with it.
    if (phase_ == Phase::open && starved_) return;
    if (message.number != received_.pushes + 1) {
        if (phase_ == Phase::open) attach_again(now);
        return;
    }
    const bool room = inbox_messages_ == 0 || (inbox_messages_ < options_.inbox_messages &&
                                               inbox_bytes_ + message.message.size() <= options_.inbox_bytes);
    if (!room) {
        starved_ = phase_ == Phase::open;
        return;
    }
    received_.pushes = message.number;
    ++inbox_messages_;
    inbox_bytes_ += message.message.size();
    const std::size_t size = message.message.size();
    emit(Pushed{message.position, std::move(message.message)});
    progress();
    timers_.set_no_later({Timer::acknowledge, 0}, now + acknowledged_after);
    unacknowledged(size, now);
}

void Machine::taken(std::size_t messages, std::size_t bytes, Time now) {
    inbox_messages_ -= std::min(messages, inbox_messages_);
    inbox_bytes_ -= std::min(bytes, inbox_bytes_);
    // Attaching brings all pushes again, so it has to be worth it.
    const bool room = inbox_messages_ <= options_.inbox_messages / 2 && inbox_bytes_ <= options_.inbox_bytes / 2;
    if (starved_ && room && phase_ == Phase::open) {
        tried_since_ = now;
        ask(now);
    }
}

// What the leader is told by the way.

/// Something that it was told to send has come.
void Machine::progress() {
    silence_ = first_silence;
    again_pause_.reset();
}

void Machine::unacknowledged(std::size_t bytes, Time now) {
    ++unacknowledged_;
    unacknowledged_bytes_ += bytes;
    const bool much = unacknowledged_ >= acknowledged_count || unacknowledged_bytes_ >= acknowledged_bytes;
    if (!much || phase_ != Phase::open) return;
    tell_alive(now);
}

void Machine::tell_alive(Time now) {
    acknowledged();
    tell(Alive{received_}, now);
}

/// What is told next says what was received.
void Machine::acknowledged() {
    if (unacknowledged_ == 0) return;
    unacknowledged_ = 0;
    unacknowledged_bytes_ = 0;
    timers_.cancel({Timer::acknowledge, 0});
}

/// The leader owes an answer. If it has said nothing for too long, something is lost.
void Machine::look_at_silence(Time now) {
    if (phase_ != Phase::open || !owes()) return;
    const Time due = heard_at_ + silence_;
    if (due > now) return timers_.set({Timer::silence, 0}, due);
    silence_ = std::min(2 * silence_, most_silence);
    tried_since_ = now;
    ask(now);
}

void Machine::tick(Time now) {
    while (const auto due = timers_.pop(now)) {
        switch (due->kind) {
            case Timer::attempt: attempt_over(now); break;
            case Timer::busy: busy_ = false; break;
            case Timer::silence: look_at_silence(now); break;
            case Timer::keep_alive: {
                if (phase_ != Phase::open) break;
                const Duration interval = options_.session_timeout / 3;
                if (now - told_at_ >= interval) tell_alive(now);
                timers_.set({Timer::keep_alive, 0}, told_at_ + interval);
                break;
            }
            case Timer::acknowledge:
                if (phase_ == Phase::open) tell_alive(now);
                break;
            case Timer::give_up:
                end(errc::no_leader,
                    "nobody led the group for too long" + (state_.why.empty() ? "" : "; " + state_.why));
                break;
            case Timer::command: command_late(due->id); break;
            case Timer::query: query_late(due->id); break;
        }
    }
    pump(now);
}

// The end.

void Machine::on(const Closed& message, Time) {
    switch (message.reason) {
        case CloseReason::client: return end(errc::closed, "the client has closed the session");
        case CloseReason::service: return end(errc::closed_by_service, "the service has closed the session");
        case CloseReason::timed_out: return end(errc::session_expired, "nothing came from the client for too long");
        case CloseReason::slow: return end(errc::too_slow, "the client did not take what was sent to it");
    }
}

void Machine::end(errc error, std::string why) {
    if (state_.state == State::ended) return;
    if (why.empty()) why = make_error_code(error).message();
    set_state({State::ended, error, std::move(why), {}});
    fail_all(errc::outcome_unknown, error);
    finish();
}

void Machine::fail_all(errc sent, errc unsent) {
    for (const auto& [id, command] : commands_) {
        if (command.ticket) emit(Failed{*command.ticket, command.number != 0 ? sent : unsent, {}});
    }
    commands_.clear();
    for (const auto& [number, query] : queries_) emit(Failed{query.ticket, unsent, {}});
    queries_.clear();
    timers_ = {};
    wants_room_ = false;
}

void Machine::close(Time now) {
    if (state_.state == State::ended) return;
    const bool attached = state_.state == State::attached;
    set_state({State::ended, errc::closed, "the client was closed", {}});
    fail_all(errc::closed, errc::closed);
    if (!attached) return finish();
    phase_ = Phase::leaving;
    timers_.set({Timer::attempt, 0}, now + leave_patience);
    tell(Leave{}, now);
}

void Machine::finish() {
    phase_ = Phase::ended;
    timers_ = {};
    emit(Ended{});
}

bool Machine::take_output(Output& output) {
    output.effects.clear();
    std::swap(output.effects, effects_);
    return !output.effects.empty();
}

}  // namespace cluster::client
