#include "sim/replicas/text.hpp"
#include "sim/replicas/world.hpp"

#include <algorithm>
#include <variant>

namespace cluster::sim::replicas {

using namespace consensus;

World::Replica* World::find(const DiskId& id) {
    const auto found =
        std::find_if(replicas_.begin(), replicas_.end(), [&](const auto& each) { return each->id == id; });
    return found == replicas_.end() ? nullptr : found->get();
}

void World::send(Replica& from, const consensus::Message& message) {
    ++result_.messages;
    invariants_->sent(from.place, message, from.options);
    Replica* to = find(message.to);
    check(to != nullptr, "a message is sent to a stranger");
    const auto lost = [&] {
        if (!chance_.happens(conditions_.told_lost)) return;
        later(from, chance_.around(conditions_.delay * 4),
              [this, &from, to](Raft& raft) { raft.unreachable(to->id, clock(from)); });
    };
    if (link(from.place, to->place).cuts != 0 || chance_.happens(conditions_.loss)) return lost();
    Duration delay = chance_.around(conditions_.delay);
    if (chance_.happens(conditions_.late)) delay *= 50;
    deliver(from, *to, message, delay);
    if (chance_.happens(conditions_.doubled)) {
        deliver(from, *to, message, chance_.around(conditions_.delay) * (conditions_.late != 0 ? 50 : 1));
    }
}

void World::deliver(Replica& from, Replica& to, const consensus::Message& message, Duration delay) {
    if (conditions_.in_order) {
        Time& last = link(from.place, to.place).last;
        last = std::max(last, now_ + delay);
        delay = last - now_;
    }
    const bool appoints = std::holds_alternative<Appoint>(message.body);
    if (appoints) ++appointing_;
    at(delay, [this, &from, &to, message, appoints] {
        if (appoints) --appointing_;
        if (link(from.place, to.place).cuts != 0 && (conditions_.cuts_at_once || healed_)) return;
        event(to, [this, &from, &to, message](Raft& raft) {
            note(9, from.place, [&] { return to.name + "  hears from " + from.name + " " + text(message); });
            raft.receive(message, clock(to));
        });
    });
}

void World::cut(std::size_t from, std::size_t to, int by) {
    link(from, to).cuts += by;
}

void World::cut_for(const std::vector<std::pair<std::size_t, std::size_t>>& links, Duration how_long) {
    ++result_.cuts;
    note(30, links.size(), [&] {
        std::string all;
        for (const auto& [from, to] : links) {
            all += " " + replicas_[from]->name + "->" + replicas_[to]->name;
        }
        return "cut for " + text(how_long) + ":" + all;
    });
    for (const auto& [from, to] : links) cut(from, to, 1);
    at(how_long, [this, links, epoch = cut_epoch_] {
        if (epoch != cut_epoch_) return;
        for (const auto& [from, to] : links) cut(from, to, -1);
    });
}

}  // namespace cluster::sim::replicas
