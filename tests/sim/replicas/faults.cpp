#include "sim/replicas/text.hpp"
#include "sim/replicas/world.hpp"

#include <algorithm>

namespace cluster::sim::replicas {

using namespace consensus;

namespace {

using Links = std::vector<std::pair<std::size_t, std::size_t>>;

}  // namespace

World::Replica* World::leader() {
    Replica* newest = nullptr;
    for (const auto& each : replicas_) {
        if (!each->raft || each->raft->role() != consensus::Role::leader) continue;
        if (newest == nullptr || each->raft->term() > newest->raft->term()) newest = each.get();
    }
    return newest;
}

/// All links between the two sides, both ways.
Links World::between(const std::vector<bool>& side) const {
    Links links;
    for (std::size_t a = 0; a < side.size(); ++a) {
        for (std::size_t b = 0; b < side.size(); ++b) {
            if (side[a] != side[b]) links.emplace_back(a, b);
        }
    }
    return links;
}

void World::disturb() {
    if (healed_) return;
    inject(conditions_.faults[chance_.below(conditions_.faults.size())]);
    at(chance_.around(conditions_.between_faults), [this] { disturb(); });
}

/// Whether there is a majority without it and without what is lost.
bool World::may_lose(const Replica& replica) const {
    std::vector<bool> left(replicas_.size());
    for (const auto& each : replicas_) {
        left[each->place] = !each->lost && !each->disk.harmed() && each.get() != &replica && each->options.may_vote;
    }
    return !replica.lost && is_majority(left);
}

/// Soon, late, or after the others have long gone on.
void World::crash_soon(Replica& replica) {
    crash(replica);
    static constexpr int times[] = {1, 10, 30, 200};
    const Duration mean = conditions_.timeout / 20 * times[chance_.below(4)];
    restart(replica, chance_.around(mean));
}

void World::elected(Replica& replica) {
    replica.elected = false;
    ++result_.leaders;
    if (healed_) return;
    if (chance_.happens(conditions_.cut_when_elected)) {
        std::vector<bool> side(replicas_.size());
        side[replica.place] = true;
        if (chance_.coin()) side[chance_.below(side.size())] = true;
        cut_for(between(side), chance_.around(conditions_.timeout * 2));
    }
    if (chance_.happens(conditions_.crash_when_elected)) crash_soon(replica);
}

void World::inject(Fault fault) {
    const Duration timeout = conditions_.timeout;
    const std::size_t count = replicas_.size();
    Replica& somebody = *replicas_[chance_.below(count)];
    const auto side = [&] {
        std::vector<bool> drawn(count);
        for (std::size_t i = 0; i < count; ++i) drawn[i] = chance_.coin();
        return drawn;
    };
    switch (fault) {
        case Fault::crash: return crash_soon(somebody);
        case Fault::crash_all:
            for (const auto& each : replicas_) crash_soon(*each);
            return;
        case Fault::pause: {
            Replica* leads = leader();
            Replica& victim = leads != nullptr && chance_.coin() ? *leads : somebody;
            const Duration mean = timeout * static_cast<Duration::rep>(1 + chance_.below(12)) / 4;
            const Duration how_long = chance_.around(mean);
            return pause(victim, how_long, chance_.below(4) == 0);
        }
        case Fault::cut: {
            const Links links = between(side());
            return cut_for(links, chance_.around(timeout * 2));
        }
        case Fault::cut_one_way: {
            Links links = between(side());
            std::erase_if(links, [&](const auto&) { return chance_.coin(); });
            return cut_for(links, chance_.around(timeout * 3));
        }
        case Fault::bridge: {
            // Two halves that only one replica connects.
            const std::vector<bool> halves = side();
            Links links = between(halves);
            std::erase_if(
                links, [&](const auto& each) { return each.first == somebody.place || each.second == somebody.place; });
            return cut_for(links, chance_.around(timeout * 4));
        }
        case Fault::isolate_leader: {
            const Replica* leads = leader();
            if (leads == nullptr) return;
            std::vector<bool> alone(count);
            alone[leads->place] = true;
            Links links = between(alone);
            const std::size_t way = chance_.below(4);
            if (way < 2) {
                std::erase_if(links, [&](const auto& each) { return (each.first == leads->place) == (way == 0); });
            }
            // The others may be told, wrongly, that it is gone.
            for (const auto& each : replicas_) {
                if (way != 3 || each.get() == leads) continue;
                event(*each, [this, &other = *each, id = leads->id](Raft& raft) { raft.gone(id, clock(other)); });
            }
            return cut_for(links, chance_.around(timeout * 2));
        }
        case Fault::lose_disk: {
            if (chance_.below(4) != 0 || !may_lose(somebody)) return;
            note(31, somebody.place, [&] { return somebody.name + " has lost its disk"; });
            ++result_.disks_lost;
            somebody.lost = true;
            return crash(somebody);
        }
        case Fault::hang_disk:
            // For a while, or until the process ends.
            somebody.hangs_until = std::max(
                somebody.hangs_until, now_ + (chance_.below(3) == 0 ? timeout * 1000 : chance_.around(timeout * 2)));
            note(32, somebody.place, [&] { return "the disk of " + somebody.name + " hangs"; });
            return;
        case Fault::slow_disk:
            somebody.slow_until = now_ + chance_.around(timeout * 4);
            note(33, somebody.place, [&] { return "the disk of " + somebody.name + " is slow"; });
            return;
        case Fault::fail_disk:
            if (somebody.lost) return;
            note(37, somebody.place, [&] { return "the disk of " + somebody.name + " is about to fail"; });
            return somebody.disk.fail_soon(chance_);
        case Fault::harm_disk: {
            if (!somebody.raft || !may_lose(somebody)) return;
            note(38, somebody.place, [&] { return "the disk of " + somebody.name + " is harmed"; });
            if (!somebody.disk.harm(chance_)) return;
            crash(somebody, false);
            return restart(somebody, chance_.around(timeout));
        }
        case Fault::step_clock: somebody.skew += chance_.between(-timeout * 1000, timeout * 1000); return;
        case Fault::transfer: {
            Replica* leads = leader();
            if (leads == nullptr) return;
            const DiskId to = chance_.coin() ? DiskId() : somebody.id;
            return event(*leads, [this, leads, to](Raft& raft) {
                note(34, leads->place, [&] { return leads->name + " is to hand over to " + text(to); });
                raft.transfer(to, clock(*leads));
            });
        }
        case Fault::false_gone:
            for (const auto& each : replicas_) {
                if (chance_.coin()) continue;
                event(*each, [this, &other = *each, id = somebody.id](Raft& raft) { raft.gone(id, clock(other)); });
            }
            return;
        case Fault::false_unreachable:
            if (Replica* leads = leader()) {
                event(*leads, [this, leads, id = somebody.id](Raft& raft) { raft.unreachable(id, clock(*leads)); });
            }
            return;
        case Fault::snapshot: return event(somebody, [this, &somebody](Raft&) { save(somebody); });
    }
}

}  // namespace cluster::sim::replicas
