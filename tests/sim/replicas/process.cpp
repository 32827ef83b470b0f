#include "base/overloaded.hpp"
#include "sim/replicas/text.hpp"
#include "sim/replicas/world.hpp"

#include <algorithm>
#include <utility>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;
using namespace consensus;

namespace {

constexpr std::int64_t million = 1'000'000;
/// When all this happens: 2023.
constexpr Duration epoch = std::chrono::seconds(1'700'000'000);

}  // namespace

Moment World::clock(const Replica& replica) const {
    const std::int64_t now = now_.count();
    return {replica.offset + Duration(now + now / million * replica.drift), epoch + replica.skew + now_};
}

/// When its clock will show that.
Time World::when(const Replica& replica, Time of_its_clock) const {
    const std::int64_t passed = (of_its_clock - replica.offset).count();
    return std::max(now_, Time(passed / (million + replica.drift) * million + million));
}

void World::start(Replica& replica) {
    if (replica.raft || replica.lost || (healed_ && replica.frozen)) return;
    ++replica.life;
    note(1, replica.place, [&] { return replica.name + " starts"; });
    replica.durable = 0;
    replica.tick_at = never;
    replica.paused_until = {};
    replica.service = {};
    replica.commit = 0;
    replica.elected = false;
    replica.options.seed = chance_.next();
    replica.raft = std::make_unique<Raft>(replica.options, replica.disk.recover(), clock(replica));
    invariants_->started(replica.place);
    settle(replica, 0);
}

void World::restart(Replica& replica, Duration after) {
    at(after, [this, &replica] { start(replica); });
}

void World::crash(Replica& replica, bool power_fails) {
    if (!replica.raft) return;
    note(2, replica.place, [&] { return replica.name + " crashes"; });
    ++result_.crashes;
    ++replica.life;
    replica.raft.reset();
    replica.disk.crash(chance_, power_fails);
    if (replica.disk.lost()) {
        note(35, replica.place, [&] { return "the disk of " + replica.name + " " + replica.disk.why_lost(); });
        ++result_.disks_damaged;
        replica.lost = true;
    }
    replica.hangs_until = {};
    replica.held.clear();
    replica.tasks.clear();
    replica.applying = replica.saving = false;
    replica.applying_cost = 0;
    give_up(replica);
    if (conditions_.told_gone == 0) return;
    for (const auto& each : replicas_) {
        if (each.get() == &replica || !chance_.happens(conditions_.told_gone)) continue;
        later(*each, chance_.around(conditions_.delay * 2), [this, &replica, &other = *each](Raft& raft) {
            note(3, other.place, [&] { return other.name + " hears that " + replica.name + " is gone"; });
            raft.gone(replica.id, clock(other));
        });
    }
}

void World::pause(Replica& replica, Duration how_long, bool clock_stands) {
    if (!replica.raft || replica.paused_until > now_) return;
    note(4, replica.place, [&] { return replica.name + " is stopped for " + text(how_long); });
    replica.paused_until = now_ + how_long;
    // It sees its clock only when it runs again.
    if (clock_stands) replica.offset -= how_long;
}

void World::event(Replica& replica, std::uint64_t life, std::function<void(Raft&)> what) {
    if (!replica.raft || replica.life != life) return;
    if (replica.paused_until > now_) {
        return at(replica.paused_until - now_,
                  [this, &replica, life, what = std::move(what)] { event(replica, life, what); });
    }
    const Term led = replica.raft->role() == consensus::Role::leader ? replica.raft->term() : 0;
    what(*replica.raft);
    settle(replica, led);
}

void World::later(Replica& replica, Duration delay, std::function<void(Raft&)> what) {
    at(delay, [this, &replica, life = replica.life, what = std::move(what)] { event(replica, life, what); });
}

/// Carries out what the last event has brought about, or a first part of it, if the process ends in the midst of that.
void World::settle(Replica& replica, Term led_before) {
    if (replica.disk.failed()) return disk_failed(replica);
    Raft::Output all;
    Raft::Output more;
    for (int turns = 0; replica.raft->has_output(); ++turns) {
        check(turns < 1000, "a replica goes round in circles");
        replica.raft->take_output(more);
        std::move(more.begin(), more.end(), std::back_inserter(all));
    }
    const Raft& raft = *replica.raft;
    bool loaded = false;
    for (const Effect& effect : all) {
        if (const auto* stopped = std::get_if<Stopped>(&effect)) {
            throw Violation(replica.name + " stops: " + stopped->reason);
        }
        const auto* status = std::get_if<StatusChanged>(&effect);
        if (status != nullptr && status->role == consensus::Role::leader && replica.led != status->term) {
            replica.led = status->term;
            invariants_->elected(replica.place, status->term);
        }
        const bool stands =
            status != nullptr && status->role == consensus::Role::candidate && status->term > replica.stood;
        if (stands && std::exchange(replica.stood, status->term) != 0 && !healed_ &&
            chance_.happens(conditions_.cut_when_candidate)) {
            std::vector<bool> side(replicas_.size());
            side[replica.place] = true;
            cut_for(between(side), chance_.around(conditions_.timeout));
        }
        if (const auto* load = std::get_if<Load>(&effect)) {
            loaded = true;
            invariants_->installed(replica.place, load->snapshot.last);
        }
        if (const auto* write = std::get_if<Write>(&effect)) {
            const bool leads = led_before != 0 && raft.role() == consensus::Role::leader && raft.term() == led_before;
            invariants_->wrote(replica.place, *write, leads ? led_before : 0);
        }
    }
    if (raft.commit() != replica.commit) {
        check(raft.commit() > replica.commit, "a commit goes backwards");
        const bool counted = raft.role() == consensus::Role::leader && !loaded;
        invariants_->committed(replica.place, raft.commit(), counted ? raft.term() : 0);
        replica.commit = raft.commit();
    }
    const bool ends = chance_.happens(healed_ ? 0 : conditions_.crash_at_event);
    const std::size_t count = ends ? chance_.below(all.size() + 1) : all.size();
    for (std::size_t i = 0; i < count; ++i) carry_out(replica, all[i]);
    if (ends) return crash_soon(replica);
    write(replica);
    check_replica(replica);
    schedule_tick(replica);
    if (replica.elected) elected(replica);
}

void World::carry_out(Replica& replica, Effect& effect) {
    note(10 + effect.index(), replica.place, [&] { return replica.name + "  " + text(effect); });
    std::visit(Overloaded{
                   [&](Write& write) { replica.disk.order(std::move(write)); },
                   [&](Send& send) {
                       if (send.after > replica.durable) {
                           replica.held.push_back(std::move(send));
                       } else {
                           this->send(replica, send.message);
                       }
                   },
                   [&](Apply& apply) {
                       for (Entry& entry : apply.entries) {
                           const std::size_t cost = entry.cost();
                           replica.applying_cost += cost;
                           replica.tasks.push_back({std::move(entry), cost, {}});
                       }
                       const std::size_t longest = Entry::overhead + 5 * sizeof(std::uint64_t) + conditions_.padding;
                       check(replica.applying_cost <= replica.options.max_applying + longest,
                             "more is handed out than may be");
                       apply_next(replica);
                   },
                   [&](const Load& load) {
                       if (chance_.coin()) replica.tasks.clear();
                       for (Task& task : replica.tasks) task.cost = 0;
                       replica.applying_cost = 0;
                       replica.tasks.push_back({{}, 0, load.snapshot});
                       apply_next(replica);
                   },
                   [&](const Fetch& fetch) {
                       later(replica, disk_time(replica, conditions_.read), [this, &replica, fetch](Raft&) {
                           // Until it hears of it, its log may be another.
                           auto entries = replica.disk.read(fetch);
                           const Duration delay = chance_.around(conditions_.read);
                           later(replica, delay, [this, &replica, fetch, entries](Raft& raft) {
                               raft.fetched(fetch.reader, entries, clock(replica));
                           });
                       });
                   },
                   [&](const FetchChunk& fetch) {
                       later(replica, disk_time(replica, conditions_.read), [this, &replica, fetch](Raft& raft) {
                           const std::optional<Chunk> chunk = replica.disk.read(fetch);
                           // The newest one was damaged, so another one is needed.
                           if (!chunk && replica.disk.newest() < fetch.snapshot.index) save(replica);
                           raft.chunk_fetched(fetch.reader, chunk, clock(replica));
                       });
                   },
                   [&](const StoreChunk& stored) {
                       later(replica, disk_time(replica, conditions_.write),
                             [this, &replica, stored](Raft&) { store(replica, stored); });
                   },
                   [&](const ReadReady& ready) {
                       const auto found = replica.reading.find(ready.number);
                       check(found != replica.reading.end(), "a read ends that nobody has begun, or twice");
                       replica.readable.emplace(ready.index, found->second);
                       replica.reading.erase(found);
                       read_now(replica);
                   },
                   [&](const ReadRefused& refused) {
                       const auto found = replica.reading.find(refused.number);
                       check(found != replica.reading.end(), "a read ends that nobody has begun, or twice");
                       end(found->second, Ending::never);
                       replica.reading.erase(found);
                   },
                   [&](const TransferEnded& ended) { result_.transfers += ended.done ? 1 : 0; },
                   [&](const StatusChanged& status) { replica.elected |= status.role == consensus::Role::leader; },
                   [](const Stopped&) {},
               },
               effect);
}

// Time.

void World::schedule_tick(Replica& replica) {
    const Time deadline = replica.raft->deadline();
    if (deadline == never) return;
    Time due = when(replica, deadline);
    if (replica.tick_at <= due) return;
    if (conditions_.late_tick != Duration() && chance_.below(4) == 0) {
        due += chance_.between(Duration(), conditions_.late_tick);
    }
    replica.tick_at = due;
    at(due - now_, [this, &replica, life = replica.life, due] {
        if (replica.life != life || replica.tick_at != due) return;
        if (replica.paused_until > now_) {
            replica.tick_at = never;
            return event(replica, life, [](Raft&) {});
        }
        replica.tick_at = never;
        const Moment now = clock(replica);
        if (now.steady < replica.raft->deadline()) return schedule_tick(replica);
        event(replica, life, [&](Raft& raft) { raft.tick(now); });
    });
}

void World::check_replica(const Replica& replica) const {
    const Raft& raft = *replica.raft;
    const Log& log = raft.log();
    check(raft.role() != consensus::Role::leader || raft.leader() == replica.id, "a leader follows another");
    check(raft.deadline() != never, "a replica waits for nothing");
    check(log.base().last.index <= raft.applied_up_to(), "a log begins behind what was applied");
    check(raft.applied_up_to() <= raft.commit(), "more is applied than is committed");
    check(raft.commit() <= log.last().index, "more is committed than there is");
    check(log.durable() <= log.last().index, "more is durable than there is");
    if (raft.term() == 0) check(log.last().index == 0, "there are entries before any term");
    for (const auto& each : replicas_) {
        const Progress* progress = raft.progress(each->id);
        if (progress == nullptr) continue;
        check(progress->matched() < progress->next(), "what a member has is to be sent to it");
        check(progress->next() <= log.last().index + 1, "a member is to be sent what is not there");
        if (progress->mode() != Progress::Mode::replicate) continue;
        const std::uint64_t flight = invariants_->cost(replica.place, progress->matched() + 1, progress->next() - 1);
        const std::size_t longest = Entry::overhead + 5 * sizeof(std::uint64_t) + conditions_.padding;
        check(flight <= replica.options.max_in_flight + std::max(replica.options.max_append, longest),
              "more is on the way to a member than may be");
    }
}

// The disk.

Duration World::disk_time(Replica& replica, Duration mean) {
    Duration time = chance_.around(mean);
    if (replica.slow_until > now_) time = std::min(time * 50, conditions_.timeout) + conditions_.timeout / 10;
    // A leader finds out by its writes alone. One that stays so, and can read, comes to write something.
    if (replica.hangs_until > now_ && !replica.frozen) time += replica.hangs_until - now_;
    return time;
}

void World::write(Replica& replica) {
    if (!replica.disk.begin_group()) return;
    // It goes on while the process is stopped.
    at(disk_time(replica, conditions_.write), [this, &replica, life = replica.life] {
        if (replica.life == life) written(replica);
    });
}

void World::written(Replica& replica) {
    if (replica.hangs_until > now_) {
        return at(replica.hangs_until - now_, [this, &replica, life = replica.life] {
            if (replica.life == life) written(replica);
        });
    }
    const std::uint64_t number = replica.disk.finish_group();
    if (replica.disk.failed()) return disk_failed(replica);
    note(5, number, [&] { return replica.name + "  is durable up to write " + std::to_string(number); });
    write(replica);
    event(replica, [this, &replica, number](Raft& raft) {
        replica.durable = number;
        for (auto each = replica.held.begin(); each != replica.held.end();) {
            if (each->after > number) {
                ++each;
                continue;
            }
            send(replica, each->message);
            each = replica.held.erase(each);
        }
        raft.written(number, clock(replica));
    });
}

// The service.

void World::apply_next(Replica& replica) {
    if (replica.applying || replica.tasks.empty()) return;
    replica.applying = true;
    later(replica, chance_.around(conditions_.apply), [this, &replica](Raft& raft) {
        replica.applying = false;
        if (replica.tasks.empty()) return;
        const Task task = std::move(replica.tasks.front());
        replica.tasks.pop_front();
        replica.applying_cost -= task.cost;
        Service& service = replica.service;
        if (task.snapshot) {
            const std::vector<std::byte> contents = replica.disk.load(task.snapshot->last);
            if (replica.disk.failed()) return;
            service.load(contents);
            check(service.applied() == task.snapshot->last, "a snapshot holds something else than it says");
            check(service.time() == task.snapshot->time, "a snapshot has another time than it says");
            invariants_->loaded(replica.place, service.applied(), service.hash());
            note(6, service.hash(), [&] { return replica.name + "  has loaded " + text(service.applied()); });
            done_loading(replica);
        } else {
            const std::uint64_t result = service.apply(task.entry);
            invariants_->applied(replica.place, task.entry, service.hash());
            happened(task.entry);
            note(7, service.hash(), [&] { return replica.name + "  has applied " + text(service.applied()); });
            done_applying(replica, task.entry, result);
        }
        raft.applied(service.applied().index, clock(replica));
        read_now(replica);
        const Index due = replica.disk.newest() + conditions_.snapshot_every;
        if (conditions_.snapshot_every != 0 && service.applied().index >= due) save(replica);
        apply_next(replica);
    });
}

void World::save(Replica& replica) {
    const LogId at = replica.service.applied();
    if (replica.saving || at.index == 0 || replica.disk.newest() >= at.index) return;
    // A state that is to be replaced is not worth it.
    if (std::any_of(replica.tasks.begin(), replica.tasks.end(), [](const Task& each) { return each.snapshot; })) return;
    const SnapshotId id = replica.raft->snapshot_at(at, replica.service.time());
    if (!replica.disk.begin_snapshot(id)) return;
    replica.saving = true;
    ++result_.snapshots;
    later(replica, disk_time(replica, conditions_.write * 4),
          [this, &replica, id, contents = replica.service.save()](Raft&) { saved(replica, id, contents); });
}

void World::saved(Replica& replica, const SnapshotId& id, std::span<const std::byte> contents) {
    replica.saving = false;
    if (!replica.disk.finish_snapshot(contents)) return;
    note(8, id.last.index, [&] { return replica.name + "  has saved " + text(id.last); });
    const auto& kept = replica.disk.snapshots();
    const SnapshotId base = !conditions_.keeps_log ? id : kept.size() > 1 ? kept.front().id : SnapshotId();
    const SnapshotId& present = replica.raft->log().base();
    replica.raft->snapshot_taken(id, base.last.index >= present.last.index ? base : present, clock(replica));
    if (base.last.index != 0) replica.disk.cut(base.last.index);
}

void World::store(Replica& replica, const StoreChunk& stored) {
    const replica::Files::Stored result = replica.disk.store(stored);
    if (replica.disk.failed()) return;
    if (result.busy) {
        return later(replica, chance_.around(conditions_.write),
                     [this, &replica, stored](Raft&) { store(replica, stored); });
    }
    if (result.complete) ++result_.installs;
    replica.raft->chunk_stored(stored, result.next, result.complete, clock(replica));
}

/// The replica does nothing any more, until somebody starts it again.
void World::disk_failed(Replica& replica) {
    note(36, replica.place, [&] { return "the disk of " + replica.name + " has failed"; });
    ++result_.disks_failed;
    crash_soon(replica);
}

}  // namespace cluster::sim::replicas
