#pragma once

#include "base/overloaded.hpp"
#include "replica/machine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// Machines whose disks and services need no time, and whose links lose exactly what a test wants.

namespace cluster::machine_support {

using namespace std::chrono_literals;
using replica::Machine;

struct Place {
    std::unique_ptr<Machine> machine;
    PeerId peer;
    std::string name;
    std::uint8_t disk = 0;
    std::optional<consensus::Promise> promise;  ///< on its disk, which keeps no log
    std::vector<errc> halted;
    std::string applied;              ///< the first letters of all commands
    consensus::Entry last;            ///< that was applied
    Duration wants_entry_at = never;  ///< its service
    std::vector<std::string> lines;
    std::vector<std::pair<std::uint64_t, errc>> transfers;  ///< that have ended
    std::vector<std::uint64_t> served;                      ///< reads
    std::vector<std::pair<std::uint64_t, errc>> unserved;   ///< reads that have failed
    bool slow = false;                                      ///< its service: it applies nothing for now
    bool hangs = false;                                     ///< its disk
    std::uint64_t written = 0;                              ///< what it has been given to write
};

class Machines {
public:
    explicit Machines(const std::set<std::string>& names, std::size_t longest_message = std::size_t{256} << 10)
        : longest(longest_message) {
        for (const std::string& name : names) add(name, static_cast<std::uint8_t>(members.size() + 1), names);
    }
    Place& add(const std::string& name, std::uint8_t disk, const std::set<std::string>& voters) {
        members.push_back(std::make_unique<Place>());
        Place& member = *members.back();
        member.name = name;
        member.peer.bytes.fill(static_cast<std::uint8_t>(100 + members.size()));
        open(member, disk, voters);
        return member;
    }
    /// With an empty directory, or with one in which that promise is.
    void open(Place& member, std::uint8_t disk, const std::set<std::string>& voters,
              const std::optional<consensus::Promise>& promise = {}) {
        member.disk = disk;
        member.promise = promise;
        replica::MachineOptions options;
        options.promise = promise;
        options.founded = promise.has_value();
        options.group = "group";
        options.node = member.name;
        options.voters = voters;
        options.appointed_leader = appointed;
        options.raft.self.bytes.fill(disk);
        options.raft.seed = disk;
        options.raft.max_append = longest;
        options.raft.max_uncommitted = room;
        options.random = [](std::span<std::uint8_t> out) { std::fill(out.begin(), out.end(), std::uint8_t{9}); };
        options.wall = [this] { return Duration(1'000'000s) + now; };
        options.life = disk;
        member.machine = std::make_unique<Machine>(std::move(options), now);
    }
    static void meet(Place& one, Place& other, Time now) {
        one.machine->came(other.peer, other.name, now);
        other.machine->came(one.peer, one.name, now);
    }
    void meet_all() {
        for (std::size_t i = 0; i < members.size(); ++i) {
            for (std::size_t k = 0; k < i; ++k) meet(*members[i], *members[k], now);
        }
    }
    /// Lets so much time go by.
    void run(Duration duration) {
        for (const Time end = now + duration; now < end; now += 10ms) {
            for (const auto& each : members) {
                if (each->machine->deadline() <= now) each->machine->tick(now);
            }
            settle();
        }
    }
    void settle() {
        for (bool more = true; more;) {
            more = false;
            for (const auto& each : members) {
                Machine::Output output;
                while (each->machine->has_output() && each->machine->take_output(output)) {
                    more = true;
                    for (replica::Effect& effect : output.effects) carry_out(*each, effect);
                }
            }
        }
    }

    std::function<bool(const Place& from, const wire::ReplicaMessage&)> loses =
        [](const Place&, const wire::ReplicaMessage&) { return false; };
    std::vector<std::unique_ptr<Place>> members;
    const std::size_t longest;
    std::string appointed;
    std::size_t room = std::size_t{64} << 20;
    Time now{1s};

private:
    void carry_out(Place& member, replica::Effect& effect) {
        Machine& machine = *member.machine;
        std::visit(Overloaded{
                       [&](consensus::Write& write) {
                           member.written = write.number;
                           if (!member.hangs) machine.written(write.number, now);
                       },
                       [&](replica::TransferDone& done) { member.transfers.emplace_back(done.number, done.error); },
                       [&](LogLine& line) { member.lines.push_back(std::move(line.text)); },
                       [&](replica::Keep& keep) {
                           member.promise = keep.promise;
                           machine.kept(now);
                       },
                       [&](replica::ReadsDue& due) {
                           member.served.insert(member.served.end(), due.numbers.begin(), due.numbers.end());
                           machine.reads_done(due.numbers, now);
                       },
                       [&](replica::ReadFailed& read) { member.unserved.emplace_back(read.number, read.error); },
                       [&](consensus::Apply& apply) {
                           if (member.slow) return;
                           for (const consensus::Entry& each : apply.entries) {
                               if (!each.body.view().empty()) member.applied += each.body.text().front();
                           }
                           member.last = apply.entries.back();
                           const bool fired = member.last.time >= member.wants_entry_at;
                           if (fired) member.wants_entry_at = never;
                           machine.applied(member.last.id, {}, member.wants_entry_at, now);
                       },
                       [&](replica::Tell& tell) {
                           if (loses(member, tell.message)) return;
                           for (const auto& each : members) {
                               if (each->peer != tell.to) continue;
                               each->machine->received(member.peer, std::move(tell.message), now);
                               return;
                           }
                       },
                       [&](replica::Halted& halted) { member.halted.push_back(halted.error); },
                       [](auto&) {},
                   },
                   effect);
    }
};

inline const consensus::Introduction* introduction_in(const wire::ReplicaMessage& message) {
    const auto* founding = std::get_if<wire::FoundingMessage>(&message);
    return founding == nullptr ? nullptr : std::get_if<consensus::Introduction>(&founding->body);
}

/// A group of three that is founded, has a leader, and needs no hints any more.
struct Founded : Machines {
    explicit Founded(std::size_t most_at_once = std::size_t{256} << 10,
                     std::size_t most_uncommitted = std::size_t{64} << 20)
        : Machines({}, most_at_once) {
        room = most_uncommitted;
        for (const std::string name : {"ann", "bob", "eve"}) {
            add(name, static_cast<std::uint8_t>(members.size() + 1), {"ann", "bob", "eve"});
        }
        meet_all();
        run(3s);
        REQUIRE(leader() != nullptr);
    }
    Place* leader() {
        for (const auto& each : members) {
            if (each->machine->status().role == Role::leader) return each.get();
        }
        return nullptr;
    }
    /// Those that follow, in the order of their disks.
    std::vector<Place*> followers() {
        std::vector<Place*> found;
        for (const auto& each : members) {
            if (each->machine->status().role != Role::leader) found.push_back(each.get());
        }
        return found;
    }
    static bool has_line(const Place& one, std::string_view begin) {
        return std::any_of(one.lines.begin(), one.lines.end(),
                           [&](const std::string& line) { return line.starts_with(begin); });
    }
    static bool sees(const Place& one, const Place& other) {
        for (const ReplicaStatus::Member& each : one.machine->status().voters) {
            if (each.name == other.name) return each.in_view;
        }
        return false;
    }
};

inline bool is_farewell(const wire::ReplicaMessage& message) {
    const auto* founding = std::get_if<wire::FoundingMessage>(&message);
    return founding != nullptr && std::holds_alternative<consensus::Farewell>(founding->body);
}

}  // namespace cluster::machine_support
