#include "replica/machine.hpp"
#include "replica/command.hpp"
#include "sim/replicas/chance.hpp"
#include "sim/replicas/disk.hpp"

#include "base/overloaded.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// Machines of one group, in virtual time. Their messages come in order, as over a link, but any run of them may be
// lost. Processes end at any moment and come back with what their disks hold.

using namespace cluster;
using namespace std::chrono_literals;
using replica::Machine;
using sim::replicas::Chance;

namespace {

/// Which call of which process.
using Call = std::pair<std::uint64_t, std::uint64_t>;

struct Place {
    std::string name;
    consensus::DiskId disk_id;
    sim::replicas::Disk disk{consensus::SnapshotId{}};
    std::optional<consensus::Promise> promise;
    bool founded = false;

    // Of one life.
    std::unique_ptr<Machine> machine;
    std::uint64_t life = 0;
    PeerId peer;
    std::uint64_t last_number = 0;
    std::vector<Call> log;  ///< what its service has applied
    consensus::LogId last;
    Duration time{};
    bool writing = false;
    Time ticks_at = never;
    Time service_until{};  ///< it has something to do
    Time files_until{};
};

class MachineWorld {
public:
    explicit MachineWorld(std::uint64_t seed) : chance_(seed) {
        const std::size_t voters = 1 + chance_.below(5);
        for (std::size_t i = 0; i < voters; ++i) {
            auto place = std::make_unique<Place>();
            place->name = std::string("ann bob cat dan eve").substr(4 * i, 3);
            place->disk_id.bytes.fill(static_cast<std::uint8_t>(10 * (i * 7 % 5) + 1));
            names_.insert(place->name);
            places_.push_back(std::move(place));
        }
        trouble_ = seed % 4 != 0;
        for (const auto& each : places_) start(*each);
        for (const auto& each : places_) load(*each);
        if (trouble_) at(chance_.around(300ms), [this] { fault(); });
    }

    void run() {
        until(8s);
        healed_ = true;
        lost_.clear();
        for (const auto& each : places_) {
            if (!each->machine) start(*each);
        }
        until(12s);
        submits_ = false;
        until(25s);
        finish();
    }

    std::size_t acknowledged() const { return acknowledged_.size(); }
    std::size_t unknown() const { return unknown_; }
    std::size_t never_taken() const { return never_.size(); }

private:
    using Work = std::function<void()>;

    void at(Duration delay, Work work) { queue_.emplace(std::pair(now_ + delay, ++order_), std::move(work)); }
    void until(Time end) {
        while (!queue_.empty() && queue_.begin()->first.first <= end) {
            now_ = queue_.begin()->first.first;
            const Work work = std::move(queue_.begin()->second);
            queue_.erase(queue_.begin());
            work();
        }
        now_ = end;
    }
    /// Does it unless that process has ended meanwhile.
    void later(Place& place, Duration delay, std::function<void(Machine&)> work) {
        at(delay, [this, &place, life = place.life, work = std::move(work)] {
            if (!place.machine || place.life != life) return;
            work(*place.machine);
            settle(place);
        });
    }

    /// What one thread does, in its order.
    void in_turn(Place& place, Time& busy_until, std::function<void(Machine&)> work) {
        busy_until = std::max(busy_until, now_) + chance_.around(1ms);
        later(place, busy_until - now_, std::move(work));
    }

    void start(Place& place) {
        PeerId peer;
        for (std::size_t i = 0; i < 8; ++i) peer.bytes[i] = static_cast<std::uint8_t>(chance_.next());
        start(place, peer);
        for (const auto& each : places_) {
            if (each.get() != &place && each->machine) meet(*each, place);
        }
    }
    /// On a node that the others have in view, or will.
    void start(Place& place, const PeerId& peer) {
        place.life = chance_.next();
        place.peer = peer;
        place.log.clear();
        place.last = {};
        place.writing = false;
        place.ticks_at = never;
        place.service_until = place.files_until = {};
        replica::MachineOptions options;
        options.group = "group";
        options.node = place.name;
        options.voters = names_;
        options.raft.self = place.disk_id;
        options.raft.seed = chance_.next();
        options.raft.election_timeout = 300ms;
        options.raft.heartbeat = 30ms;
        options.raft.max_uncommitted = 2000;
        options.promise = place.promise;
        options.founded = place.founded;
        options.recovered = place.disk.recover();
        options.random = [this](std::span<std::uint8_t> out) {
            for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(chance_.next());
        };
        options.wall = [this] { return Duration(1'000'000s) + now_; };
        options.life = place.life;
        place.machine = std::make_unique<Machine>(std::move(options), now_);
        for (const auto& each : places_) {
            if (each.get() != &place && each->machine) meet(place, *each);
        }
        settle(place);
    }
    void meet(Place& place, const Place& other) {
        later(place, chance_.around(5ms),
              [this, peer = other.peer, name = other.name](Machine& machine) { machine.came(peer, name, now_); });
    }

    /// It halts while its node lives on. Later a replica begins anew there, with the same directory.
    void halt(Place& place) {
        if (!place.machine || place.machine->halted()) return;
        place.machine->halt(errc::storage_failed, "the disk is full", now_);
        settle(place);
        forget_calls(place);
        at(chance_.around(200ms), [this, &place, life = place.life] {
            if (!place.machine || place.life != life) return;
            place.disk.crash(chance_);
            start(place, place.peer);
        });
    }

    void end(Place& place) {
        if (!place.machine) return;
        place.machine.reset();
        place.disk.crash(chance_);
        forget_calls(place);
        for (const auto& each : places_) {
            if (!each->machine) continue;
            later(*each, chance_.around(20ms),
                  [this, peer = place.peer](Machine& machine) { machine.went(peer, now_); });
        }
        at(chance_.around(200ms), [this, &place] {
            if (!place.machine) start(place);
        });
    }

    /// What it was told, and what it was about to tell its callers, nobody knows.
    void forget_calls(const Place& place) {
        unknown_ += std::erase_if(open_, [&](const Call& call) { return call.first == place.life; });
    }

    /// Somebody ends, or the link between two loses what is on it for a while.
    void fault() {
        if (healed_) return;
        Place& one = *places_[chance_.below(places_.size())];
        Place& other = *places_[chance_.below(places_.size())];
        if (chance_.below(3) == 0) {
            if (chance_.coin()) {
                end(one);
            } else {
                halt(one);
            }
        } else if (&one != &other) {
            const auto pair = std::pair(one.name, other.name);
            lost_.insert(pair);
            at(chance_.around(chance_.coin() ? 10ms : 500ms), [this, pair] { lost_.erase(pair); });
        }
        at(chance_.around(150ms), [this] { fault(); });
    }

    /// Submits now and then, one or many at once.
    void load(Place& place) {
        at(chance_.around(40ms), [this, &place] {
            if (submits_) load(place);
            if (!place.machine || place.machine->halted() || !submits_) return;
            for (std::size_t many = 1 + chance_.below(8); many != 0; --many) {
                const std::uint64_t number = ++place.last_number;
                const std::vector<std::byte> message(chance_.below(200));
                const replica::Command command{place.disk_id, place.life, number, message};
                open_.insert({place.life, number});
                place.machine->submit(number, command.pack(), now_ + chance_.between(20ms, 2s), now_);
            }
            settle(place);
        });
    }

    void settle(Place& place) {
        Machine::Output output;
        int rounds = 0;
        while (place.machine->has_output() && place.machine->take_output(output)) {
            REQUIRE(++rounds < 1000);
            for (replica::Effect& effect : output.effects) carry_out(place, effect);
        }
        if (!place.writing && place.disk.begin_group()) {
            place.writing = true;
            later(place, chance_.around(2ms), [this, &place](Machine& machine) {
                place.writing = false;
                machine.written(place.disk.finish_group(), now_);
            });
        }
        const Time deadline = place.machine->deadline();
        if (deadline >= place.ticks_at) return;
        place.ticks_at = std::max(deadline, now_);
        later(place, place.ticks_at - now_, [this, &place](Machine& machine) {
            place.ticks_at = never;
            machine.tick(now_);
        });
    }

    void tell(const Place& from, replica::Tell&& tell) {
        const auto to = std::find_if(places_.begin(), places_.end(),
                                     [&](const auto& each) { return each->machine && each->peer == tell.to; });
        if (to == places_.end() || lost_.contains({from.name, (*to)->name})) return;
        Time& last = arrives_[{from.peer, tell.to}];
        last = std::max(last, now_ + chance_.around(1ms));
        // Through its bytes, as on the wire.
        std::vector<std::byte> bytes;
        wire::encode(tell.message, bytes);
        later(**to, last - now_, [this, peer = from.peer, bytes = Bytes(bytes)](Machine& machine) {
            auto message = wire::decode(bytes);
            REQUIRE(message.has_value());
            machine.received(peer, std::move(*message), now_);
        });
    }

    void carry_out(Place& place, replica::Effect& effect) {
        std::visit(Overloaded{
                       [&](consensus::Write& write) { place.disk.order(std::move(write)); },
                       [&](replica::Tell& each) { tell(place, std::move(each)); },
                       [&](consensus::Apply& apply) {
                           in_turn(place, place.service_until,
                                   [this, &place, entries = std::move(apply.entries)](Machine& machine) {
                                       serve(place, machine, entries);
                                   });
                       },
                       [&](consensus::Load& load) {
                           in_turn(place, place.service_until, [this, &place, id = load.snapshot](Machine& machine) {
                               const sim::replicas::Snapshot* found = place.disk.find(id.last);
                               REQUIRE(found != nullptr);
                               restore(place, *found);
                               machine.loaded(id.last, now_);
                           });
                       },
                       [&](consensus::Fetch& fetch) {
                           in_turn(place, place.files_until, [this, &place, fetch](Machine& machine) {
                               machine.fetched(fetch.reader, place.disk.read(fetch.from, fetch.end, fetch.most), now_);
                           });
                       },
                       [&](consensus::FetchChunk& fetch) {
                           in_turn(place, place.files_until, [this, &place, fetch](Machine& machine) {
                               std::optional<consensus::Chunk> chunk;
                               if (const sim::replicas::Snapshot* found = place.disk.find(fetch.snapshot)) {
                                   const std::span<const std::byte> all(*found->bytes);
                                   const std::size_t from = std::min<std::size_t>(fetch.offset, all.size());
                                   const auto piece = all.subspan(from, std::min(fetch.most, all.size() - from));
                                   chunk = consensus::Chunk{found->id, all.size(), fetch.offset, Bytes(piece)};
                               }
                               machine.chunk_fetched(fetch.reader, chunk, now_);
                           });
                       },
                       [&](consensus::StoreChunk& stored) {
                           in_turn(place, place.files_until, [this, &place, stored](Machine& machine) {
                               bool complete = false;
                               const std::uint64_t next = place.disk.store(stored, complete);
                               machine.chunk_stored(stored, next, complete, now_);
                           });
                       },
                       [&](replica::Keep& keep) {
                           in_turn(place, place.files_until, [this, &place, keep](Machine& machine) {
                               CHECK((!place.promise || place.promise == keep.promise));
                               place.promise = keep.promise;
                               place.founded = place.founded || keep.founded;
                               machine.kept(now_);
                           });
                       },
                       [&](replica::SubmitFailed& failed) { this->failed(place, failed); },
                       [&](replica::Halted& halted) { REQUIRE(halted.error == errc::storage_failed); },
                       [](auto&) {},
                   },
                   effect);
    }

    void failed(const Place& place, const replica::SubmitFailed& failed) {
        if (place.machine->halted()) return;  // the calls are forgotten
        const Call call{place.life, failed.number};
        CHECK(open_.erase(call) == 1);
        const bool never = failed.error == errc::no_leader || failed.error == errc::overloaded;
        if (never) never_.insert(call);
        if (!never) ++unknown_;
        CHECK((never || failed.error == errc::timed_out || failed.error == errc::outcome_unknown));
    }

    void serve(Place& place, Machine& machine, const std::vector<consensus::Entry>& entries) {
        std::vector<std::uint64_t> own;
        for (const consensus::Entry& entry : entries) {
            REQUIRE(entry.id.index == place.last.index + 1);
            place.last = entry.id;
            place.time = entry.time;
            if (entry.kind != consensus::EntryKind::command) continue;
            const auto command = replica::Command::unpack(entry.body.view());
            REQUIRE(command.has_value());
            place.log.push_back({command->life, command->number});
            if (command->life != place.life || command->disk != place.disk_id) continue;
            own.push_back(command->number);
            if (open_.erase({place.life, command->number}) == 1) acknowledged_.insert({place.life, command->number});
        }
        machine.applied(place.last, own, now_);
        if (chance_.below(40) == 0) save(place, machine);
    }

    void save(Place& place, Machine& machine) {
        const sim::replicas::Snapshot* newest = place.disk.newest();
        if (newest != nullptr && newest->id.last.index >= place.last.index) return;
        const auto id = machine.snapshot_at(place.last, place.time);
        if (!id) return;
        const auto bytes = std::as_bytes(std::span(place.log));
        place.disk.add({*id, std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end())});
        const consensus::SnapshotId base = place.disk.oldest()->id;
        machine.snapshot_taken(*id, base, now_);
        place.disk.cut(base);
    }
    static void restore(Place& place, const sim::replicas::Snapshot& snapshot) {
        place.log.resize(snapshot.bytes->size() / sizeof(Call));
        std::copy(snapshot.bytes->begin(), snapshot.bytes->end(), reinterpret_cast<std::byte*>(place.log.data()));
        place.last = snapshot.id.last;
        place.time = snapshot.id.time;
    }

    void finish() {
        CHECK(open_.empty());
        const std::vector<Call>& log = places_.front()->log;
        for (const auto& each : places_) {
            CHECK((each->log == log));
            CHECK(each->machine->status().leader == places_.front()->machine->status().leader);
        }
        const std::set<Call> applied(log.begin(), log.end());
        CHECK(applied.size() == log.size());
        CHECK(std::includes(applied.begin(), applied.end(), acknowledged_.begin(), acknowledged_.end()));
        for (const Call& call : never_) CHECK_FALSE(applied.contains(call));
    }

    Chance chance_;
    Time now_{1s};
    std::uint64_t order_ = 0;
    std::map<std::pair<Time, std::uint64_t>, Work> queue_;
    std::set<std::string> names_;
    std::vector<std::unique_ptr<Place>> places_;
    std::map<std::pair<PeerId, PeerId>, Time> arrives_;
    std::set<std::pair<std::string, std::string>> lost_;  ///< on the way from one to the other
    bool trouble_ = false;
    bool healed_ = false;
    bool submits_ = true;
    std::set<Call> open_;
    std::set<Call> acknowledged_;
    std::set<Call> never_;  ///< the caller was told that they are not in the log
    std::size_t unknown_ = 0;
};

}  // namespace

TEST_CASE("machines: whatever is lost or ends, a submission takes effect once, or its caller is told") {
    std::size_t acknowledged = 0;
    std::size_t unknown = 0;
    std::size_t never_taken = 0;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        INFO("seed " << seed);
        MachineWorld world(seed);
        world.run();
        acknowledged += world.acknowledged();
        unknown += world.unknown();
        never_taken += world.never_taken();
    }
    MESSAGE(acknowledged << " acknowledged, " << never_taken << " never taken, " << unknown << " unknown");
    CHECK(acknowledged > 20000);
    CHECK(never_taken > 100);
    CHECK(unknown < acknowledged / 5);
}
