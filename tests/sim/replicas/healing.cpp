#include "sim/replicas/text.hpp"
#include "sim/replicas/world.hpp"

#include <algorithm>

namespace cluster::sim::replicas {

using namespace consensus;

/// Whether these are a majority of the voters, of both sets if there are two.
bool World::is_majority(const std::vector<bool>& has) const {
    const auto of = [&](const std::set<DiskId>& voters) {
        std::size_t count = 0;
        for (const auto& each : replicas_) count += has[each->place] && voters.contains(each->id) ? 1 : 0;
        return voters.empty() || 2 * count > voters.size();
    };
    return of(configuration_.voters) && of(configuration_.voters_before);
}

/// From now on a majority that is drawn is well, and so are some others. The rest stays as bad as it can be for good.
void World::heal() {
    healed_ = true;
    healed_at_ = now_;
    healed_stamp_ = stamp_;
    ++cut_epoch_;
    for (Link& link : links_) link.cuts = 0;
    conditions_.loss = conditions_.late = conditions_.told_lost = 0;
    conditions_.late_tick = {};
    for (Duration* each : {&conditions_.delay, &conditions_.write, &conditions_.read, &conditions_.apply}) {
        *each = std::min(*each, conditions_.timeout / 200);
    }
    // What was harmed, and has not been read since, is found.
    for (const auto& each : replicas_) {
        if (!each->disk.harmed() || each->lost) continue;
        crash(*each);
        restart(*each, chance_.around(conditions_.timeout / 10));
    }
    choose_core();
    for (const auto& each : replicas_) {
        each->slow_until = {};
        each->disk.repair();
        if (each->frozen) continue;
        // Whoever repairs this group restarts what hangs, and lets each of them lead.
        if (each->hangs_until > now_ || !each->options.may_campaign) crash(*each);
        each->hangs_until = {};
        each->options.may_campaign = true;
        restart(*each, chance_.around(conditions_.timeout / 10));
    }
    for (const auto& each : replicas_) {
        if (each->frozen) freeze(*each);
    }
}

void World::choose_core() {
    std::vector<Replica*> left;
    for (const auto& each : replicas_) {
        each->frozen = true;
        if (!each->lost) left.push_back(each.get());
    }
    for (std::size_t i = left.size(); i > 1; --i) std::swap(left[i - 1], left[chance_.below(i)]);
    std::vector<bool> core(replicas_.size());
    for (Replica* each : left) {
        if (is_majority(core)) break;
        if (!each->options.may_vote || !each->votes) continue;
        core[each->place] = true;
        each->frozen = false;
    }
    const bool all = chance_.coin();
    for (Replica* each : left) {
        if (all || chance_.below(4) == 0) each->frozen = false;
    }
    note(40, 0, [&] {
        std::string names;
        for (const auto& each : replicas_) names += each->frozen ? "" : " " + each->name;
        return "HEALED:" + names;
    });
}

void World::freeze(Replica& replica) {
    // Whoever need not write does not find out that it cannot.
    const bool may_hang = !conditions_.only_reads_at_last;
    const bool leads = replica.raft && replica.raft->role() == consensus::Role::leader;
    const std::size_t way = leads && may_hang && chance_.coin() ? 5 : chance_.below(may_hang ? 6 : 5);
    static constexpr const char* ways[] = {"dead",           "cut off", "mute", "deaf", "led round in a circle",
                                           "unable to write"};
    note(41, replica.place, [&] { return replica.name + " stays " + ways[way]; });
    if (way == 0) return crash(replica);
    if (replica.raft) replica.frozen_term = replica.raft->term();
    if (way == 5) {
        replica.hangs_until = now_ + conditions_.timeout * 10000;
        return;
    }
    // Of those who are well, one that it hears and another one that hears it: no two can make it lead.
    std::size_t heard = replicas_.size();
    std::size_t hears = replicas_.size();
    for (const auto& each : replicas_) {
        if (way != 4 || each->frozen) continue;
        (heard == replicas_.size() ? heard : hears) = each->place;
    }
    for (const auto& each : replicas_) {
        if (each.get() == &replica) continue;
        const bool well = !each->frozen;
        if (!(well && way == 3) && each->place != hears) cut(replica.place, each->place, 1);
        if (!(well && way == 2) && each->place != heard) cut(each->place, replica.place, 1);
    }
}

/// Once all is well, one that is not needed does not see the leader any more, or is not seen by it. All others go on.
void World::blind_one() {
    blinded_ = true;
    const std::size_t leads = resting_->first;
    Replica& victim = *replicas_[chance_.below(replicas_.size())];
    std::vector<bool> others(replicas_.size());
    for (const auto& each : replicas_) {
        others[each->place] = !each->frozen && each.get() != &victim && each->options.may_vote;
    }
    if (victim.frozen || victim.place == leads || !is_majority(others)) return;
    const std::size_t way = chance_.below(3);
    note(42, victim.place,
         [&] { return victim.name + (way == 0 ? " is not seen by" : " does not see") + " the leader any more"; });
    victim.frozen = true;
    victim.frozen_term = victim.raft->term();
    if (way != 0) cut(leads, victim.place, 1);
    if (way != 1) cut(victim.place, leads, 1);
}

/// Who reaches no majority, or nobody who would vote for it, does not begin one term after the other.
void World::check_frozen() const {
    const Term term = replicas_[resting_->first]->raft->term();
    for (const auto& each : replicas_) {
        if (!each->frozen || !each->raft || each->frozen_term == 0) continue;
        check(each->raft->term() <= std::max(term, each->frozen_term + 2),
              "one that cannot win begins term after term");
    }
}

/// Whether those who are to be well are, and agree in everything.
bool World::well(std::string& why) {
    const Replica* leads = nullptr;
    for (const auto& each : replicas_) {
        if (each->frozen) continue;
        if (!each->raft) return why = each->name + " does not run", false;
        if (each->raft->role() != consensus::Role::leader) continue;
        if (leads != nullptr) return why = "two lead", false;
        leads = each.get();
    }
    if (leads == nullptr) return why = "nobody leads", false;
    const Raft& first = *leads->raft;
    if (after_healing_ < 12) return why = "only " + std::to_string(after_healing_) + " operations were answered", false;
    if (first.commit() != first.log().last().index) return why = "not everything is committed", false;
    for (const auto& each : replicas_) {
        if (each->frozen) continue;
        if (each->raft->leader() != leads->id) return why = each->name + " does not follow the leader", false;
        if (each->raft->commit() != first.commit()) return why = each->name + " does not know what is committed", false;
        if (each->service.applied().index != first.commit()) return why = each->name + " has not applied all", false;
    }
    for (const auto& each : replicas_) {
        check(each->frozen || each->service.hash() == leads->service.hash(), "two replicas end with different states");
    }
    if (appointing_ != 0) return why = "somebody may still be appointed", false;
    const std::pair<std::size_t, Term> now(leads->place, first.term());
    if (!resting_) {
        resting_ = now;
        resting_since_ = now_;
    }
    check(*resting_ == now, "at rest another one begins to lead");
    return true;
}

}  // namespace cluster::sim::replicas
