#include "consensus/quorum.hpp"
#include "consensus/raft.hpp"

namespace cluster::consensus {

bool Raft::may_campaign() const {
    return options_.may_vote && configuration().votes(options_.self) && !disk_hangs();
}

/// With `trial`, nobody's term changes: whoever could not win disturbs nobody.
void Raft::campaign(bool trial, bool appointed, Moment now) {
    if (!may_campaign() || (!options_.may_campaign && !appointed)) return follow();
    if (!trial) {
        enter_term(term_ + 1);
        vote_ = options_.self;
    }
    // Each trial has a number of its own, so that no late answer to an older one counts.
    const std::uint64_t number = trial ? (dice_.next() >> 2) | 1 : 0;
    Candidacy candidacy{number, {}, trial ? 0 : write(), election_deadline()};
    if (hinted()) {
        candidacy.votes[hint_.gone] = false;
        // The others may not know yet. They are asked again soon.
        if (trial) candidacy.deadline = now_ + round_of_turns();
    }
    role_ = candidacy;
    const VoteRequest request{log_.last(), number, appointed};
    for (const DiskId& disk : configuration().members()) {
        if (disk != options_.self && configuration().votes(disk)) {
            send(disk, trial ? term_ + 1 : term_, request, candidacy.own_vote);
        }
    }
    count_votes(now);
}

void Raft::count_votes(Moment now) {
    auto& candidacy = std::get<Candidacy>(role_);
    if (candidacy.own_vote <= written_) candidacy.votes[options_.self] = true;
    const Ballot result = ballot(configuration(), candidacy.votes);
    if (result == Ballot::won) {
        if (candidacy.trial != 0) return campaign(false, false, now);
        // A leader whose vote is not durable could begin this term again after a crash.
        if (candidacy.own_vote <= written_) return lead(now);
    }
    if (result == Ballot::lost) follow();
}

/// Whether this replica hears from a leader, and so takes part in no election.
bool Raft::loyal() const {
    if (std::holds_alternative<Leadership>(role_)) return true;
    const auto* following = std::get_if<Following>(&role_);
    return following != nullptr && following->leader && now_ - following->heard < options_.election_timeout;
}

void Raft::on(const Message& message, const VoteRequest& request, Moment) {
    if (!options_.may_vote) return;
    const bool up_to_date = request.last >= log_.last();
    if (request.trial != 0) {
        // A replica that cannot write could not give the vote.
        const bool granted = up_to_date && message.term > term_ && !loyal() && !disk_hangs();
        return send(message.from, granted ? message.term : term_, VoteAnswer{request.trial, granted}, after_state());
    }
    const bool free = vote_ == message.from || (!vote_ && !leader());
    const bool granted = up_to_date && free;
    if (granted) {
        vote_ = message.from;
        if (auto* following = std::get_if<Following>(&role_)) following->deadline = election_deadline();
    }
    send(message.from, VoteAnswer{0, granted}, after_state());
}

void Raft::on(const Message& message, const VoteAnswer& answer, Moment now) {
    auto* candidacy = std::get_if<Candidacy>(&role_);
    if (candidacy == nullptr || candidacy->trial != answer.trial) return;
    if (answer.trial != 0 && answer.granted && message.term != term_ + 1) return;
    // A vote that was given stays given.
    bool& vote = candidacy->votes[message.from];
    vote = vote || answer.granted;
    count_votes(now);
}

void Raft::on(const Message& message, const Appoint&, Moment now) {
    if (leader() == message.from && may_campaign()) campaign(false, true, now);
}

}  // namespace cluster::consensus
