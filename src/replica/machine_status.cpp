#include "replica/machine.hpp"

#include <chrono>
#include <map>
#include <utility>

// What a machine says of itself: its status, and the lines of the log that tell what is wrong.

namespace cluster::replica {

using consensus::DiskId;
using consensus::Hindrance;
using consensus::Log;
using consensus::Progress;

namespace {

std::string listed(const std::set<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + token(name);
    return text;
}

bool patient(const Hindrance& hindrance) {
    using Kind = Hindrance::Kind;
    return hindrance.kind == Kind::none || hindrance.kind == Kind::absent || hindrance.kind == Kind::unanswered;
}

}  // namespace

/// What stands in the way of founding, for programs and for people.
std::pair<errc, std::string> Machine::describe(const Hindrance& hindrance) {
    using Kind = Hindrance::Kind;
    const std::string names = listed(hindrance.names);
    switch (hindrance.kind) {
        case Kind::none: return {errc::not_founded, "the group is being founded"};
        case Kind::absent:
            return {errc::not_founded,
                    "these voters have not been met: " + names + "; the group is founded when all are"};
        case Kind::unanswered: return {errc::not_founded, "these voters have not promised to take part: " + names};
        case Kind::other_voters:
            return {errc::voters_differ,
                    "these voters were started with other lists of voters: " + names + "; start all with the same one"};
        case Kind::two_disks:
            return {errc::voters_differ,
                    "several replicas run under each of these names: " + names + "; give each node a name of its own"};
        case Kind::other_promise:
            return {errc::voters_differ, "these voters belong to another group of that name: " + names +
                                             "; name another group, or delete their directories if nobody needs it"};
        case Kind::disk_lost:
            return {errc::not_founded,
                    "these voters have lost the directory with which they had promised to take part: " + names +
                        "; put it back, or delete the directories of all voters"};
        case Kind::newcomer:
            return {errc::not_a_member, "the group exists, and this directory does not belong to it, as " + names +
                                            " says; put the former directory back. This replica does not vote"};
        case Kind::twin:
            return {errc::directory_in_use,
                    "these nodes use a copy of this directory: " + names + "; give each replica one of its own"};
    }
    return {errc::not_founded, {}};
}

/// The log says why there is no group: at once if somebody must do something, else if it lasts.
void Machine::report_hindrance() {
    const Hindrance hindrance = founding_.hindrance();
    if (hindrance == reported_) return;
    if (hindrance.kind != Hindrance::Kind::none && patient(hindrance) && reminders_ < reminders_before_warning) return;
    reported_ = hindrance;
    emit(StatusMayDiffer{});
    if (hindrance.kind == Hindrance::Kind::none) return;
    const std::string why = describe(hindrance).second;
    log(LogLevel::warning, "replica_waits why=" + quoted(why), why);
}

/// The log says it if nobody leads for longer than an election takes.
void Machine::look_who_leads(Time now) {
    const bool led(raft_->leader());
    if (std::exchange(led_, led) == led) return;
    lament_at_ = led ? never : now + timeouts_before_warning * options_.raft.election_timeout;
}

void Machine::lament(Time now) {
    if (lament_at_ > now) return;
    lament_at_ = never;
    const std::string why = trouble().second;
    if (!raft_->leader()) log(LogLevel::warning, "replica_without_leader why=" + quoted(why), why);
}

/// When the log says that the disk hangs.
Time Machine::disk_deadline() const {
    const Time since = raft_->writes_since();
    return hangs_since_ || since == never ? never : since + options_.raft.election_timeout;
}

/// The log says it if the disk hangs, and when it goes on.
void Machine::look_at_disk(Time now) {
    if (disk_deadline() > now) return;
    hangs_since_ = raft_->writes_since();
    const std::string why = trouble().second;
    log(LogLevel::warning, "replica_disk_hangs why=" + quoted(why), why);
    emit(StatusMayDiffer{});
}

void Machine::disk_goes_on(Time now) {
    if (!hangs_since_) return;
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - *hangs_since_);
    hangs_since_.reset();
    log(LogLevel::info, "replica_disk_goes_on milliseconds=" + std::to_string(took.count()));
    emit(StatusMayDiffer{});
}

std::pair<errc, std::string> Machine::trouble() const {
    if (halted_) return {halted_->error, halted_->why};
    if (!raft_) return describe(founding_.hindrance());
    if (hangs_since_) {
        return {
            errc::disk_hangs,
            "the disk has not done a write for longer than the election timeout. Until it does, this replica neither "
            "leads nor votes, and acknowledges nothing; look what else uses that disk, and in the system's log"};
    }
    if (raft_->leader()) return {};
    std::set<std::string> missing;
    for (const DiskId& each : raft_->configuration().voters) {
        if (each != options_.raft.self && !where_.contains(each)) missing.insert(name_of(each));
    }
    const std::size_t voters = raft_->configuration().voters.size();
    if (missing.size() >= voters - voters / 2) {
        return {errc::no_leader, "no majority of the voters is in view; these are not: " + listed(missing)};
    }
    const std::string& appointed = options_.appointed_leader;
    if (appointed.empty()) return {errc::no_leader, "the voters are electing a leader"};
    return {errc::no_leader, "only the appointed leader stands for election, " + token(appointed) +
                                 (missing.contains(appointed) ? ", which is not in view" : "")};
}

ReplicaStatus Machine::status() const {
    ReplicaStatus status;
    const auto [error, why] = trouble();
    if (error != errc{}) status.error = error;
    status.why = why;
    status.stopped = halted_.has_value();
    status.founded = raft_.has_value();
    status.role = static_cast<cluster::Role>(role_.role);
    status.term = role_.term;
    std::map<std::string, ReplicaStatus::Member> members;
    for (const std::string& name : options_.voters) members[name].name = name;
    if (raft_) {
        const Log& log = raft_->log();
        status.term = raft_->term();
        if (!halted_ && raft_->leader()) status.leader = name_of(raft_->leader());
        status.appended = log.last().index;
        status.durable = log.durable();
        status.committed = raft_->commit();
        status.applied = applied_.index;
        members.clear();
        for (const DiskId& disk : raft_->configuration().voters) {
            ReplicaStatus::Member member{name_of(disk), where_.contains(disk), 0};
            const Progress* progress = raft_->progress(disk);
            if (progress != nullptr && !halted_) member.durable = progress->matched();
            if (disk == options_.raft.self && role_.role == consensus::Role::leader) member.durable = log.durable();
            members[member.name] = std::move(member);
        }
    } else {
        for (const auto& [peer, other] : peers_) {
            const auto found = members.find(other.name);
            if (other.disk && found != members.end()) found->second.in_view = true;
        }
    }
    const auto self = members.find(options_.node);
    if (self != members.end()) self->second.in_view = true;
    for (auto& [name, member] : members) status.voters.push_back(std::move(member));
    return status;
}

}  // namespace cluster::replica
