#include "replica/applier.hpp"

#include "replica/command.hpp"
#include "replica/snapshot_stream.hpp"

#include <stdexcept>
#include <utility>

namespace cluster::replica {

void Applier::apply(const consensus::Entry& entry) {
    Context context(entry.time, entry.id.index, entry.id.term);
    if (entry.id.term != last_.term) service_.on_term(context);
    last_ = entry.id;
    time_ = entry.time;
    bytes_ += entry.cost();
    if (entry.kind != consensus::EntryKind::command) return;
    const auto command = Command::unpack(entry.body.view());
    if (!command) throw std::runtime_error("an entry of a newer version of this library; run that one here, too");
    service_.on_message(context, command->message);
    if (command->disk == self_ && command->life == life_) replied_(command->number, context.take_reply());
}

void Applier::load(storage::SnapshotInput& input) {
    StreamReader reader(input);
    service_.load(reader);
    last_ = input.facts().id.last;
    time_ = input.facts().id.time;
    bytes_ = 0;
}

}  // namespace cluster::replica
