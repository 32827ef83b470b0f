#include "sim/replicas/world.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using namespace consensus;

namespace {

/// More than that happens only if something goes round in circles.
constexpr std::uint64_t most_events = 2'000'000;

DiskId id_of(std::size_t place, std::uint64_t random) {
    DiskId id;
    for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::uint8_t>(random >> (8 * i));
    id.bytes[15] = static_cast<std::uint8_t>(place + 1);
    return id;
}

}  // namespace

World::World(Plan plan)
    : plan_(plan), chance_(plan.seed * 1000003 + 1), conditions_(Chance(plan.seed * 1000003 + 2), plan) {
    result_.hash = 0xcbf29ce484222325;
    result_.voters = conditions_.voters;
    std::vector<DiskId> ids;
    for (std::size_t i = 0; i < conditions_.voters + conditions_.learners; ++i) {
        ids.push_back(id_of(i, chance_.next()));
        if (i >= conditions_.voters) {
            configuration_.learners.insert(ids.back());
            continue;
        }
        // Of a joint configuration some are in both sets, some in one.
        const std::size_t where = conditions_.joint && i >= 2 ? chance_.below(3) : 0;
        if (where != 1) configuration_.voters.insert(ids.back());
        if (where != 2 && conditions_.joint) configuration_.voters_before.insert(ids.back());
    }
    const Promise promise{{}, {}};
    std::vector<Invariants::Member> members;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const std::string name = (i < conditions_.voters ? "v" : "l") + std::to_string(i + 1);
        Disk::Options disk{ids[i], name, configuration_.encode(), chance_.next(), conditions_.log};
        Replica& replica = *replicas_.emplace_back(std::make_unique<Replica>(std::move(disk)));
        replica.disk.keep(promise, true);
        replica.place = i;
        replica.id = ids[i];
        replica.name = name;
        replica.votes = i < conditions_.voters;
        replica.options = conditions_.options;
        replica.options.self = replica.id;
        replica.options.may_campaign = !conditions_.one_appointed || i == 0;
        replica.options.may_vote = i + conditions_.no_vote < conditions_.voters || i >= conditions_.voters;
        replica.offset = chance_.between(0s, 1000s);
        if (conditions_.drift != 0) {
            replica.drift = static_cast<std::int64_t>(chance_.below(static_cast<std::size_t>(2 * conditions_.drift))) -
                            conditions_.drift;
        }
        replica.skew = chance_.between(-conditions_.skew, conditions_.skew);
        members.push_back({replica.id, &replica.disk});
    }
    links_.resize(ids.size() * ids.size());
    invariants_.emplace(configuration_, std::move(members));
}

void World::at(Duration delay, Work what) {
    events_.push_back({now_ + delay, ++order_, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), std::greater<>());
}

bool World::advance() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), std::greater<>());
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    check(++result_.events <= most_events, "this does not come to an end");
    event.what();
    return true;
}

void World::line(const std::string& text) {
    char stamp[32];
    std::snprintf(stamp, sizeof stamp, "%12.6f  ", std::chrono::duration<double>(now_).count());
    trace_.push_back(stamp + text);
    if (trace_.size() > plan_.lines) trace_.pop_front();
}

Result World::run() {
    try {
        for (const auto& replica : replicas_) {
            at(chance_.between(0ms, 50ms), [this, &each = *replica] { start(each); });
        }
        for (std::size_t i = 0; i < conditions_.submitters; ++i) {
            at(chance_.between(0ms, conditions_.timeout), [this, i] { submit(i); });
        }
        if (!conditions_.faults.empty()) at(conditions_.timeout, [this] { disturb(); });
        at(conditions_.timeout * 30, [this] { heal(); });
        Time next_look{};
        std::string why;
        while (advance()) {
            // What was slow before may still be under way.
            if (!healed_ || now_ < std::max(next_look, healed_at_ + conditions_.timeout * 3)) continue;
            next_look = now_ + conditions_.timeout / 4;
            if (!well(why)) {
                check(!resting_, "at rest it is not well any more");
                if (now_ > healed_at_ + conditions_.timeout * 60) throw Violation("not well in time: " + why);
            } else if (!blinded_ && now_ > resting_since_ + conditions_.timeout * 3) {
                blind_one();
            } else if (now_ > resting_since_ + conditions_.timeout * 9) {
                check_frozen();
                break;
            }
        }
        check_history();
    } catch (const std::exception& error) {
        result_.failed = true;
        result_.why = error.what();
        result_.at = now_;
        note(99, 0, [&] { return "FAILED: " + result_.why; });
    }
    result_.trace.assign(trace_.begin(), trace_.end());
    return std::move(result_);
}

}  // namespace cluster::sim::replicas
