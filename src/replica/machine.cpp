#include "replica/machine.hpp"

#include "base/overloaded.hpp"
#include "consensus/invariant.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cluster::replica {

using consensus::AskPromise;
using consensus::Broken;
using consensus::Chunk;
using consensus::Configuration;
using consensus::DiskId;
using consensus::Entry;
using consensus::Farewell;
using consensus::Founding;
using consensus::GroupId;
using consensus::Introduction;
using consensus::LogId;
using consensus::Origins;
using consensus::Promised;
using consensus::Raft;
using consensus::ReadIndex;
using consensus::ReadIndexAnswer;
using consensus::ReadReady;
using consensus::ReadRefused;
using consensus::Recovered;
using consensus::Refused;
using consensus::Send;
using consensus::SnapshotId;
using consensus::StatusChanged;
using consensus::Stopped;
using consensus::StoreChunk;
using consensus::Submissions;
using consensus::Submit;
using consensus::SubmitAnswer;
using consensus::TransferEnded;

MachineOptions Machine::completed(MachineOptions options) {
    options.raft.may_campaign = options.appointed_leader.empty() || options.appointed_leader == options.node;
    return options;
}

Machine::Machine(MachineOptions options, Time now)
    : options_(completed(std::move(options))),
      founding_({options_.raft.self, options_.node, options_.voters}, options_.promise, options_.founded,
                options_.random),
      submissions_(options_.life, options_.raft.election_timeout / 2, options_.raft.max_append),
      shares_(options_.raft.max_uncommitted),
      questions_(options_.life, options_.raft.election_timeout / 2),
      clients_({options_.group, options_.max_sessions, options_.max_message, options_.longest_session_timeout,
                options_.authenticates}),
      states_(options_.raft.self),
      remind_at_(now + reminder),
      now_(now) {
    if (options_.promise) {
        for (const auto& [name, disk] : options_.promise->disks) names_[disk] = name;
    }
    names_[options_.raft.self] = options_.node;
    take_founding(now);
}

void Machine::log(LogLevel level, std::string text, std::string cause) {
    text += " group=" + token(options_.group);
    emit(LogLine{level, std::move(text), std::move(cause)});
}

// Who is where.

void Machine::introduce(const PeerId& to, const DiskId& as_answer_to) {
    emit(Tell{to, wire::FoundingMessage{options_.group, options_.raft.self, as_answer_to, founding_.introduction()}});
}

void Machine::say_farewell(const PeerId& to) {
    emit(Tell{to, wire::FoundingMessage{options_.group, options_.raft.self, {}, Farewell{}}});
}

/// As if its node were gone, but another replica may come to be there.
void Machine::said_farewell(const PeerId& from, const DiskId& disk, Time now) {
    const auto found = peers_.find(from);
    if (found == peers_.end()) return;
    found->second.displaced = false;
    if (disk == options_.raft.self) return twin_gone(found->second.name, from, now);
    if (is_at(disk, from)) {
        found->second.disk.reset();
        gone(disk, now);
    }
    look_who_is_met();
}

void Machine::came(const PeerId& peer, const std::string& name, Time now) {
    now_ = now;
    if (halted_) return;
    peers_[peer] = {name, std::nullopt, false};
    look_who_is_met();
    introduce(peer, {});
}

void Machine::went(const PeerId& peer, Time now) {
    now_ = now;
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    const Acquaintance other = std::move(found->second);
    peers_.erase(found);
    if (other.disk) gone(*other.disk, now);
    twin_gone(other.name, peer, now);
    look_who_is_met();
}

/// That disk is nowhere any more.
void Machine::gone(const DiskId& disk, Time now) {
    where_.erase(disk);
    emit(StatusMayDiffer{});
    if (halted_) return;
    founding_.gone(disk);
    take_founding(now);
    if (raft_) {
        raft_->gone(disk, moment(now));
        raft_->absent(disk, moment(now));
    }
    if (hand_over_ && hand_over_->to == disk) end_hand_over(errc::voter_absent, errc::voter_absent);
    if (leaving_)
        emit(LeadershipLeft{});  // it may be the one that was to take over; the others elect one by themselves
}

/// At that peer there is none any more, if there was one.
void Machine::twin_gone(const std::string& name, const PeerId& peer, Time now) {
    const bool another = std::any_of(peers_.begin(), peers_.end(), [&](const auto& each) {
        return each.first != peer && each.second.name == name && !each.second.disk;
    });
    if (halted_ || another) return;
    founding_.twin_gone(name);
    take_founding(now);
}

bool Machine::is_at(const DiskId& disk, const PeerId& peer) const {
    const auto found = where_.find(disk);
    return found != where_.end() && found->second == peer;
}

std::string Machine::name_of(const DiskId& disk) const {
    const auto found = names_.find(disk);
    if (found != names_.end()) return found->second;
    const auto at = where_.find(disk);
    return at == where_.end() ? std::string() : peers_.at(at->second).name;
}

void Machine::introduced(const PeerId& from, bool wants_answer, const Introduction& other, Time now) {
    const auto found = peers_.find(from);
    if (found == peers_.end() || found->second.name != other.name) return;
    if (other.disk != options_.raft.self) {
        const bool moved = !is_at(other.disk, from);
        // A replica with another directory may have taken the place of the one that was there.
        const auto before = std::exchange(found->second.disk, other.disk);
        if (before && *before != other.disk) gone(*before, now);
        found->second.displaced = false;
        // One of the two has ended, perhaps the one that speaks: this may be late. The other one is asked again.
        if (const auto former = where_.find(other.disk); moved && former != where_.end()) {
            Acquaintance& displaced = peers_.at(former->second);
            displaced.disk.reset();
            displaced.displaced = true;
            if (raft_) raft_->gone(other.disk, moment(now));  // its process has ended, if this one has taken its place
        }
        where_[other.disk] = from;
        look_who_is_met();
        twin_gone(other.name, from, now);
        if (moved) {
            emit(StatusMayDiffer{});
            // What was told to it before is lost.
            if (raft_) raft_->unreachable(other.disk, moment(now));
            submissions_.lost(role_.term);
            questions_.lost();
        }
    }
    if (wants_answer) introduce(from, other.disk);
    founding_.introduced(other);
    if (raft_ && founding_.hindrance().kind == consensus::Hindrance::Kind::twin) {
        // Two would vote with one disk: then there could be two leaders in one term.
        const auto [error, why] = describe(founding_.hindrance());
        return halt(error, why, now);
    }
    take_founding(now);
}

/// Looks whether all that take part are known, or there is nobody who might be one of them.
void Machine::look_who_is_met() {
    const auto introduced = [](const auto& each) { return each.second.disk.has_value(); };
    const auto displaced = [](const auto& each) { return each.second.displaced; };
    all_met_ = raft_.has_value();
    if (!all_met_ || std::all_of(peers_.begin(), peers_.end(), introduced)) return;
    const auto members = raft_->configuration().members();
    all_met_ = std::none_of(peers_.begin(), peers_.end(), displaced) &&
               std::all_of(members.begin(), members.end(),
                           [this](const DiskId& each) { return each == options_.raft.self || where_.contains(each); });
}

// Founding.

void Machine::take_founding(Time now) {
    for (auto& effect : founding_.take_effects()) {
        std::visit(Overloaded{
                       [&](Founding::Keep& keep) {
                           emit(Keep{std::move(keep.promise), keep.founded});
                       },
                       [&](Founding::Tell& tell) {
                           const auto found = where_.find(tell.to);
                           if (found == where_.end()) return;
                           wire::FoundingMessage message{options_.group, options_.raft.self, tell.to, {}};
                           std::visit([&](auto& body) { message.body = std::move(body); }, tell.message);
                           emit(Tell{found->second, std::move(message)});
                       },
                       [&](Founding::IntroduceAgain&) {
                           for (const auto& [disk, peer] : where_) introduce(peer, disk);
                       },
                       [&](Founding::Founded& founded) { begin(founded.group, founded.configuration, now); },
                   },
                   effect);
    }
}

void Machine::begin(const GroupId& group, const Configuration& configuration, Time now) {
    group_ = group;
    const auto promise = founding_.introduction().promise;
    if (promise) {
        for (const auto& [name, disk] : promise->disks) names_[disk] = name;
    }
    Recovered recovered = std::move(options_.recovered);
    if (recovered.base.last.index == 0) {
        recovered.base.configuration = configuration.encode();
        if (recovered.newest.last.index == 0) recovered.newest = recovered.base;
    }
    try {
        raft_.emplace(options_.raft, std::move(recovered), moment(now));
    } catch (const Broken& broken) {
        return halt(errc::directory_damaged, broken.what(), now);
    }
    known_ = raft_->commit();
    log(LogLevel::info, "replica_begins position=" + std::to_string(raft_->log().last().index));
    look_who_leads(now);
    look_who_is_met();
    // Maybe nobody leads yet: who asks first need not wait for a time-out. If somebody does, the others say so.
    raft_->gone({}, moment(now));
    emit(StatusMayDiffer{});
}

void Machine::kept(Time now) {
    now_ = now;
    if (halted_) return;
    founding_.written();
    take_founding(now);
    emit(StatusMayDiffer{});
}

// Messages.

void Machine::received(const PeerId& from, wire::ReplicaMessage&& message, Time now) {
    now_ = now;
    if (halted_) {
        // A peer that counts on this replica has not heard the farewell, which may be lost.
        if (is_of_group(message)) say_farewell(from);
        return;
    }
    std::visit([&](auto& each) { on(from, std::move(each), now); }, message);
}

bool Machine::is_of_group(const wire::ReplicaMessage& message) const {
    const auto* raft = std::get_if<wire::RaftMessage>(&message);
    const auto* submit = std::get_if<wire::SubmitMessage>(&message);
    const auto* read = std::get_if<wire::ReadMessage>(&message);
    return raft_ && ((raft != nullptr && raft->group == group_) || (submit != nullptr && submit->group == group_) ||
                     (read != nullptr && read->group == group_));
}

void Machine::on(const PeerId& from, wire::FoundingMessage&& message, Time now) {
    if (message.group != options_.group) return;
    if (const auto* introduction = std::get_if<Introduction>(&message.body)) {
        return introduced(from, !message.to, *introduction, now);
    }
    if (std::holds_alternative<Farewell>(message.body)) return said_farewell(from, message.from, now);
    if (message.to != options_.raft.self || !is_at(message.from, from)) return;
    if (const auto* asked = std::get_if<AskPromise>(&message.body)) founding_.receive(message.from, *asked);
    if (const auto* promised = std::get_if<Promised>(&message.body)) founding_.receive(message.from, *promised);
    take_founding(now);
}

void Machine::on(const PeerId& from, wire::RaftMessage&& message, Time now) {
    if (!raft_ || message.group != group_ || !is_at(message.message.from, from)) return;
    raft_->receive(message.message, moment(now));
}

bool Machine::is_for_us(const PeerId& from, const auto& message) const {
    return raft_ && message.group == group_ && message.to == options_.raft.self && is_at(message.from, from) &&
           message.term == raft_->term();
}

void Machine::on(const PeerId& from, wire::ReadMessage&& message, Time now) {
    if (!is_for_us(from, message)) return;
    if (const auto* answer = std::get_if<ReadIndexAnswer>(&message.body)) {
        return questions_.answered(*answer);
    }
    // If this replica does not lead, or has too much to do, it is asked again.
    const ReadIndex& question = std::get<ReadIndex>(message.body);
    raft_->read(askers_.asks(message.from, question), moment(now), question.counts ? message.from : DiskId());
}

void Machine::on(const PeerId& from, wire::SubmitMessage&& message, Time now) {
    if (!is_for_us(from, message)) return;
    if (const auto* answer = std::get_if<SubmitAnswer>(&message.body)) {
        return submissions_.answered(message.term, *answer, now);
    }
    if (raft_->role() != consensus::Role::leader || leaving_) return;
    Origins::Verdict verdict = origins_.judge(message.from, std::move(std::get<Submit>(message.body)));
    if (verdict.answer) return tell_submit(message.from, *verdict.answer);
    const auto wanted = [](const Bytes& command) { return !command.empty(); };
    std::vector<Bytes> commands;
    commands.reserve(verdict.commands.size());
    std::copy_if(verdict.commands.begin(), verdict.commands.end(), std::back_inserter(commands), wanted);
    LogId first;
    const std::size_t taken = propose(message.from, commands, first, now);
    if (taken == commands.size()) return;
    // The first one that was not taken, and all behind it.
    auto rest = std::find_if(verdict.commands.begin(), verdict.commands.end(), wanted);
    for (std::size_t i = 0; i < taken; ++i) rest = std::find_if(rest + 1, verdict.commands.end(), wanted);
    const auto refused = static_cast<std::size_t>(verdict.commands.end() - rest);
    tell_submit(message.from, origins_.refuse(message.from, refused));
}

void Machine::tell_submit(const DiskId& to, std::variant<Submit, SubmitAnswer> body) {
    const auto found = where_.find(to);
    if (found == where_.end()) return;
    emit(Tell{found->second, wire::SubmitMessage{group_, options_.raft.self, to, raft_->term(), std::move(body)}});
}

void Machine::not_sent(const PeerId& peer, Time now) {
    now_ = now;
    const auto found = peers_.find(peer);
    if (halted_ || !raft_ || found == peers_.end() || !found->second.disk) return;
    raft_->unreachable(*found->second.disk, moment(now));
    if (found->second.disk != raft_->leader()) return;
    submissions_.not_sent(raft_->term(), now);
    questions_.not_sent(now);
}

// Submissions.

void Machine::submit(std::uint64_t number, Bytes command, Time deadline, Time now) {
    now_ = now;
    if (halted_ || leaving_) {
        return emit(SubmitFailed{number, halted_ ? errc::replica_stopped : errc::closed});
    }
    submissions_.add(number, std::move(command), deadline);
}

/// Whether another one leads that can be reached. This log must go on from that leader's: what comes by a snapshot
/// tells nothing of the submissions in it.
bool Machine::follows() const {
    if (!raft_ || halted_ || leaving_ || raft_->role() == consensus::Role::leader) return false;
    return where_.contains(raft_->leader()) && raft_->log().last().term == raft_->term();
}

bool Machine::can_pass_on() const {
    if (follows()) return submissions_.due() <= now_;
    const bool leads = raft_ && !halted_ && !leaving_ && raft_->role() == consensus::Role::leader;
    return leads && submissions_.waits() && has_room_;
}

void Machine::pass_on(Time now) {
    while (can_pass_on()) {
        if (raft_->role() != consensus::Role::leader) {
            auto submit = submissions_.next(raft_->term(), now);
            if (!submit) return;
            tell_submit(raft_->leader(), std::move(*submit));
            continue;
        }
        const std::vector<Bytes> commands = submissions_.waiting(options_.raft.max_append);
        LogId first;
        const std::size_t taken = propose(options_.raft.self, commands, first, now);
        submissions_.proposed(taken, first.term);
        has_room_ = taken == commands.size();
    }
}

/// Puts as many of them into the log, from the first on, as there is room for the one that submits them.
std::size_t Machine::propose(const DiskId& from, std::span<const Bytes> commands, LogId& first, Time now) {
    shares_.committed(raft_->commit());
    const std::size_t room = shares_.room(from, now);
    std::size_t cost = 0;
    std::size_t taken = 0;
    for (; taken < commands.size(); ++taken) {
        const std::size_t with_it = cost + commands[taken].size() + Entry::overhead;
        if (with_it > room) break;
        cost = with_it;
    }
    if (taken == 0 || raft_->propose(commands.first(taken), first, moment(now)) != Refused::no) return 0;
    shares_.took(from, first.index + taken - 1, cost);
    return taken;
}

void Machine::expire(Time now) {
    const bool leads = raft_ && raft_->role() == consensus::Role::leader;
    const bool full = leads ? !has_room_ : raft_ && raft_->leader() && submissions_.held_up();
    for (const Submissions::Expired& each : submissions_.expire(now)) {
        emit(SubmitFailed{each.number, each.passed_on ? errc::timed_out : full ? errc::overloaded : errc::no_leader});
    }
}

void Machine::applied(const Served& served, Time now) {
    now_ = now;
    applied_ = served.last;
    wants_entry_at_ = served.wants_entry_at;
    for (const std::uint64_t number : served.submissions) submissions_.done(number, now);
    if (halted_) return;
    for (const group::SessionChange& each : served.sessions) clients_.changed(each, now);
    for (const wire::StateHash& each : served.checked) checked(each);
    if (!served.checked.empty()) compare_states(now);
    if (halted_) return;
    if (served.wants_check) log_check(now);
    submissions_.applied(applied_.term, now);
    has_room_ = true;
    raft_->applied(applied_.index, moment(now));
}

void Machine::loaded(const LogId& last, Duration wants_entry_at, std::span<const group::SessionFacts> sessions,
                     Time now) {
    now_ = now;
    applied_ = last;
    wants_entry_at_ = wants_entry_at;
    clients_.loaded(sessions, now);
    for (const std::uint64_t number : submissions_.skipped(last.term, now)) {
        emit(SubmitFailed{number, errc::outcome_unknown});
    }
    if (!halted_) raft_->applied(last.index, moment(now));
}

/// When this leader is to append an entry for the services. Entries that are not applied yet may do.
Time Machine::mark_at() const {
    const bool idle = raft_ && !leaving_ && applied_.index == raft_->log().last().index;
    return idle ? raft_->mark_at(wants_entry_at_) : never;
}

// The disk.

void Machine::written(std::uint64_t number, Time now) {
    now_ = now;
    if (halted_) return;
    durable_ = number;
    for (auto each = held_.begin(); each != held_.end();) {
        if (each->after > number) {
            ++each;
        } else {
            send(each->message);
            each = held_.erase(each);
        }
    }
    raft_->written(number, moment(now));
    disk_goes_on(now);
}

void Machine::fetched(const DiskId& reader, std::vector<Entry> entries, Time now) {
    now_ = now;
    if (!halted_) raft_->fetched(reader, std::move(entries), moment(now));
}

void Machine::chunk_fetched(const DiskId& reader, const std::optional<Chunk>& chunk, Time now) {
    now_ = now;
    if (!halted_) raft_->chunk_fetched(reader, chunk, moment(now));
}

void Machine::chunk_stored(const StoreChunk& stored, std::uint64_t next, bool complete, Time now) {
    now_ = now;
    if (!halted_) raft_->chunk_stored(stored, next, complete, moment(now));
}

void Machine::snapshot_taken(const SnapshotId& newest, const SnapshotId& base, Time now) {
    now_ = now;
    if (halted_) return;
    // A later snapshot may have come from the leader meanwhile.
    const bool newer = base.last.index >= raft_->log().base().last.index;
    raft_->snapshot_taken(newest, newer ? base : raft_->log().base(), moment(now));
}

std::optional<SnapshotId> Machine::snapshot_at(const LogId& id, Duration time) const {
    if (halted_ || id.index < raft_->log().base().last.index) return std::nullopt;
    return raft_->snapshot_at(id, time);
}

// What Raft wants.

void Machine::take_raft(Time now) {
    Raft::Output output;
    while (raft_ && raft_->take_output(output)) {
        for (consensus::Effect& effect : output) carry_out(std::move(effect), now);
    }
}

void Machine::carry_out(consensus::Effect&& effect, Time now) {
    if (halted_) return;
    std::visit(Overloaded{
                   [&](Send& sent) {
                       if (sent.after > durable_) {
                           held_.push_back(std::move(sent));
                       } else {
                           send(sent.message);
                       }
                   },
                   [&](StatusChanged& status) {
                       if (status.term != role_.term) {
                           origins_.clear();
                           shares_.clear();
                           clients_.follow({}, now);
                           askers_.clear();
                       }
                       questions_.begin_anew();
                       role_ = status;
                       has_room_ = true;
                       look_who_leads(now);
                       if (status.role == consensus::Role::leader) {
                           log(LogLevel::info, "replica_leads term=" + std::to_string(status.term));
                       } else if (status.leader) {
                           log(LogLevel::info, "replica_follows leader=" + token(name_of(status.leader)) +
                                                   " term=" + std::to_string(status.term));
                       }
                       emit(status);
                       emit(StatusMayDiffer{});
                       look_who_took_over();
                   },
                   [&](TransferEnded&) {
                       has_room_ = true;
                       hand_over_ended(now);
                       if (leaving_) emit(LeadershipLeft{});
                   },
                   [&](ReadReady& ready) { answer_asker(ready); },
                   [](ReadRefused&) {},  // who has asked asks the next leader
                   [&](Stopped& stopped) { halt(errc::replica_stopped, stopped.reason, now); },
                   [&](auto& other) { emit(std::move(other)); },
               },
               effect);
}

void Machine::send(const consensus::Message& message) {
    const auto found = where_.find(message.to);
    if (found != where_.end()) emit(Tell{found->second, wire::RaftMessage{group_, message}});
}

// The application.

errc Machine::transfer(std::uint64_t number, const std::string& to, Time now) {
    now_ = now;
    take_raft(now);  // the end of an earlier one may be among what it has to say
    if (halted_) return errc::replica_stopped;
    if (leaving_) return errc::closed;
    DiskId disk;
    if (raft_) {
        for (const DiskId& each : raft_->configuration().voters) {
            if (!to.empty() && name_of(each) == to) disk = each;
        }
    }
    if (hand_over_) {
        if (!to.empty() && disk != hand_over_->to) return errc::transfer_under_way;
    } else {
        if (!raft_ || raft_->role() != consensus::Role::leader) return errc::not_leader;
        if (!to.empty() && !disk) return errc::unknown_voter;
        if (const errc refused = hand_over(disk, now); refused != errc{}) return refused;
        hand_over_ = HandOver{raft_->successor(), {}, never};
    }
    hand_over_->callers.push_back({number, !to.empty()});
    return {};
}

/// To that voter; none: to the one that has most.
errc Machine::hand_over(const DiskId& to, Time now) {
    if (!raft_) return errc::not_leader;
    for (const DiskId& each : raft_->configuration().voters) {
        if (each == options_.raft.self || where_.contains(each)) continue;
        if (each == to) return errc::voter_absent;
        raft_->absent(each, moment(now));
    }
    switch (raft_->transfer(to, moment(now))) {
        case Refused::no:
        case Refused::transferring: return errc{};
        case Refused::unknown_disk: return errc::unknown_voter;
        case Refused::absent: return errc::voter_absent;
        default: return errc::not_leader;
    }
}

/// Either this replica leads on, or it waits to learn who leads.
void Machine::hand_over_ended(Time now) {
    if (!hand_over_) return;
    if (raft_->role() == consensus::Role::leader) return end_hand_over(errc::timed_out, errc::timed_out);
    hand_over_->deadline = now + 2 * options_.raft.election_timeout;  // if a vote fails, there is another one
}

void Machine::look_who_took_over() {
    if (!hand_over_ || !role_.leader) return;
    if (role_.leader == hand_over_->to) return end_hand_over({}, {});
    const bool again = role_.leader == options_.raft.self;
    end_hand_over(errc::another_leads, again ? errc::another_leads : errc{});
}

/// For those who have named a voter, and those who have not.
void Machine::end_hand_over(errc named, errc unnamed) {
    for (const HandOver::Caller& each : hand_over_->callers) {
        emit(TransferDone{each.number, each.named ? named : unnamed});
    }
    hand_over_.reset();
}

void Machine::leave(Time now) {
    now_ = now;
    take_raft(now);  // as above
    leaving_ = true;
    const bool alone = where_.empty();
    if (halted_ || alone || hand_over({}, now) != errc{}) emit(LeadershipLeft{});
}

void Machine::halt(errc error, std::string why, Time now) {
    now_ = now;
    if (halted_) return;
    if (error != errc::closed) {
        log(LogLevel::error, "replica_stopped why=" + quoted(why));
    }
    halted_ = Halted{error, std::move(why)};
    held_.clear();
    hand_over_.reset();
    role_ = {consensus::Role::follower, role_.term, {}};
    clients_.end(now);
    for (const auto& [peer, other] : peers_) say_farewell(peer);
    emit(*halted_);
    emit(StatusMayDiffer{});
}

// For a runner.

Time Machine::deadline() const {
    const Time expires = std::min(submissions_.deadline(), questions_.deadline());
    if (halted_) return expires;
    Time next = std::min(expires, all_met_ ? never : remind_at_);
    if (!raft_) return next;
    next = std::min({next, raft_->deadline(), lament_at_, disk_deadline(), mark_at(), clients_.deadline()});
    if (hand_over_) next = std::min(next, hand_over_->deadline);
    if (knows_whom_to_ask()) next = std::min(next, questions_.due());
    return follows() ? std::min(next, submissions_.due()) : next;
}

void Machine::tick(Time now) {
    now_ = now;
    expire(now);
    expire_reads(now);
    if (halted_) return;
    if (!raft_) return remind(now);
    if (raft_->deadline() <= now) raft_->tick(moment(now));
    if (mark_at() <= now) raft_->mark_time(wants_entry_at_, moment(now));
    if (hand_over_ && hand_over_->deadline <= now) end_hand_over(errc::timed_out, errc::timed_out);
    look_at_disk(now);
    lament(now);
    remind(now);
    take_raft(now);  // whether it still leads
    look_whom_to_serve(now);
    clients_.tick(now);
}

/// Asks those who have not been met who they are, and until there is a group, repeats what may be lost.
void Machine::remind(Time now) {
    if (remind_at_ > now || all_met_) return;
    remind_at_ = now + reminder;
    ++reminders_;
    for (const auto& [peer, other] : peers_) {
        // Until there is a group, also those that are known: what they have said of themselves since may be lost.
        if (!other.disk || !raft_) introduce(peer, {});
    }
    if (founding_.founded()) return;
    founding_.remind();
    take_founding(now);
    report_hindrance();
}

bool Machine::take_output(Output& output) {
    output.effects.clear();
    do {
        pass_on(now_);
        ask(now_);
        propose_for_clients(now_);
        take_raft(now_);
        look_whom_to_serve(now_);
    } while (clients_.proposes(now_));
    if (can_serve()) emit(ReadsDue{questions_.take(applied_.index)});
    for (ClientEffect& each : clients_.take_effects()) {
        std::visit([&](auto& effect) { emit(std::move(effect)); }, each);
    }
    std::swap(output.effects, effects_);
    return !output.effects.empty();
}

}  // namespace cluster::replica
