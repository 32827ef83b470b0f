#include "sim/replicas/text.hpp"
#include "sim/replicas/world.hpp"

#include <algorithm>

namespace cluster::sim::replicas {

using namespace consensus;

namespace {

/// How many operations must be answered after the healing.
constexpr std::size_t enough = 12;

}  // namespace

std::size_t World::begin_operation(std::size_t submitter) {
    const std::size_t number = operations_.size();
    Operation operation;
    operation.command.number = number;
    operation.command.key = chance_.below(Service::keys);
    operation.command.value = number + 1;
    if (chance_.happens(conditions_.reads) || (healed_ && conditions_.only_reads_at_last)) {
        operation.command.kind = Command::Kind::read;
    } else {
        static constexpr Command::Kind kinds[] = {Command::Kind::write, Command::Kind::compare_and_swap,
                                                  Command::Kind::append};
        operation.command.kind = kinds[chance_.below(3)];
        // What it expects is what the register was some time ago, or never.
        operation.command.expected = chance_.coin() ? chance_.below(number + 1) : 0;
    }
    operation.called = ++stamp_;
    operations_.push_back(operation);
    endings_.push_back(Ending::none);
    submitter_of_.push_back(submitter);
    return number;
}

/// Of several that lead, the oldest is the one that may have old news.
World::Replica& World::somebody_to_ask() {
    std::vector<Replica*> leading;
    for (const auto& each : replicas_) {
        if (each->raft && each->raft->role() == consensus::Role::leader) leading.push_back(each.get());
    }
    if (!leading.empty() && chance_.below(10) != 0) {
        if (chance_.coin()) return *leading[chance_.below(leading.size())];
        return **std::min_element(leading.begin(), leading.end(),
                                  [](const Replica* a, const Replica* b) { return a->raft->term() < b->raft->term(); });
    }
    return *replicas_[chance_.below(replicas_.size())];
}

void World::submit(std::size_t submitter) {
    if (healed_ && after_healing_ >= enough) return;
    std::vector<std::size_t> operations{begin_operation(submitter)};
    const std::size_t first = operations.front();
    Replica& replica = somebody_to_ask();
    if (operations_[first].command.kind != Command::Kind::read) {
        // Some are proposed together. Nobody waits for the others.
        for (std::size_t more = chance_.below(12) < 2 ? chance_.below(4) : 0; more != 0; --more) {
            const std::size_t number = begin_operation(nobody);
            if (operations_[number].command.kind == Command::Kind::read) {
                operations_[number].command.kind = Command::Kind::append;
            }
            operations.push_back(number);
        }
    }
    ask(replica, std::move(operations));
    at(conditions_.timeout * 2, [this, first] {
        if (endings_[first] == Ending::none) end(first, Ending::unknown);
    });
}

void World::ask(Replica& replica, std::vector<std::size_t> operations) {
    if (!replica.raft) {
        for (const std::size_t each : operations) end(each, Ending::never);
        return;
    }
    later(replica, chance_.around(conditions_.delay), [this, &replica, operations](Raft& raft) {
        const std::size_t first = operations.front();
        if (endings_[first] != Ending::none) return;  // it was given up before it began
        const Moment now = clock(replica);
        if (operations_[first].command.kind == Command::Kind::read) {
            // What is ready at once is answered when this event is over.
            replica.reading.emplace(first, first);
            if (raft.read(first, now) != Refused::no) {
                replica.reading.erase(first);
                end(first, Ending::never);
            }
            return;
        }
        std::vector<Bytes> commands;
        for (const std::size_t each : operations) {
            const std::size_t padding = conditions_.padding == 0 ? 0 : chance_.below(conditions_.padding);
            commands.push_back(operations_[each].command.encode(padding));
        }
        LogId id;
        if (raft.propose(commands, id, now) != Refused::no) {
            for (const std::size_t each : operations) end(each, Ending::never);
            return;
        }
        note(20, first,
             [&] { return replica.name + "  is proposed " + std::to_string(operations.size()) + " at " + text(id); });
        for (const std::size_t each : operations) replica.proposed.emplace(id.index++, Proposed{id.term, each});
    });
}

void World::end(std::size_t operation, Ending ending) {
    if (endings_[operation] != Ending::none) return;
    endings_[operation] = ending;
    if (ending == Ending::unknown) ++result_.unknown;
    const bool reads = operations_[operation].command.kind == Command::Kind::read;
    const bool begun_after = healed_ && operations_[operation].called > healed_stamp_;
    if (ending == Ending::done && begun_after && reads == conditions_.only_reads_at_last) ++after_healing_;
    const std::size_t submitter = std::exchange(submitter_of_[operation], nobody);
    if (submitter != nobody) at(chance_.around(conditions_.thinks), [this, submitter] { submit(submitter); });
}

/// Even if nobody hears the result, the command took effect before this.
void World::happened(const Entry& entry) {
    if (entry.kind != EntryKind::command) return;
    Operation& operation = operations_.at(Command::decode(entry.body).number);
    if (operation.returned == Operation::open) operation.returned = ++stamp_;
    operation.hint = 2 * entry.id.index;
}

void World::done_applying(Replica& replica, const Entry& entry, std::uint64_t result) {
    const auto [begin, behind] = replica.proposed.equal_range(entry.id.index);
    for (auto each = begin; each != behind; ++each) {
        const std::size_t number = each->second.operation;
        if (each->second.term != entry.id.term) {
            end(number, Ending::never);  // another entry took its place
            continue;
        }
        check(Command::decode(entry.body).number == number, "another command stands where one was proposed");
        if (endings_[number] != Ending::none) continue;
        operations_[number].result = result;
        operations_[number].returned = ++stamp_;
        ++result_.commands;
        end(number, Ending::done);
    }
    replica.proposed.erase(begin, behind);
}

void World::done_loading(Replica& replica) {
    const auto behind = replica.proposed.upper_bound(replica.service.applied().index);
    for (auto each = replica.proposed.begin(); each != behind; ++each) end(each->second.operation, Ending::unknown);
    replica.proposed.erase(replica.proposed.begin(), behind);
}

void World::read_now(Replica& replica) {
    const auto behind = replica.readable.upper_bound(replica.service.applied().index);
    for (auto each = replica.readable.begin(); each != behind; ++each) {
        const std::size_t number = each->second;
        if (endings_[number] != Ending::none) continue;
        operations_[number].result = replica.service.read(operations_[number].command.key);
        operations_[number].hint = 2 * replica.service.applied().index + 1;
        operations_[number].returned = ++stamp_;
        ++result_.reads;
        end(number, Ending::done);
    }
    replica.readable.erase(replica.readable.begin(), behind);
}

void World::give_up(Replica& replica) {
    for (const auto& [index, proposed] : replica.proposed) end(proposed.operation, Ending::unknown);
    for (const auto& [number, operation] : replica.reading) end(operation, Ending::never);
    for (const auto& [index, operation] : replica.readable) end(operation, Ending::never);
    replica.proposed.clear();
    replica.reading.clear();
    replica.readable.clear();
}

void World::check_history() {
    std::vector<Operation> history;
    for (std::size_t i = 0; i < operations_.size(); ++i) {
        const bool reads = operations_[i].command.kind == Command::Kind::read;
        const bool done = endings_[i] == Ending::done;
        if (!reads) {
            const bool happened = invariants_->happened(i);
            check(happened || !done, "an acknowledged command is lost");
            check(!happened || endings_[i] != Ending::never, "a command has happened that was refused");
            if (!happened) continue;
        }
        if (done || !reads) history.push_back(operations_[i]);
    }
    std::string why;
    if (!linearizable(history, &why)) throw Violation(why);
}

}  // namespace cluster::sim::replicas
