#include "sim/replicas/invariants.hpp"

#include "base/overloaded.hpp"

#include <algorithm>
#include <string>
#include <variant>

namespace cluster::sim::replicas {

using namespace consensus;

Invariants::Invariants(Configuration configuration, std::vector<Member> members)
    : configuration_(std::move(configuration)),
      members_(std::move(members)),
      images_(members_.size()),
      told_(members_.size()),
      states_{reference_.hash()} {}

std::optional<Term> Invariants::Image::term_at(Index index) const {
    if (index == base.index) return base.term;
    if (index < base.index || index > last()) return std::nullopt;
    return marks[static_cast<std::size_t>(index - base.index - 1)].term;
}

std::uint64_t Invariants::cost(std::size_t replica, Index from, Index to) const {
    const Image& image = images_[replica];
    const auto up_to = [&](Index index) {
        index = std::clamp(index, image.base.index, image.last());
        return index == image.base.index ? 0 : image.marks[static_cast<std::size_t>(index - image.base.index - 1)].cost;
    };
    return from > to ? 0 : up_to(to) - up_to(from - 1);
}

// Logs.

std::uint64_t Invariants::hash_at(const LogId& id) const {
    if (id.index == 0) return 0;
    const auto made = made_.find(id.term);
    check(made != made_.end() && id.index >= made->second.begin &&
              id.index < made->second.begin + made->second.hashes.size(),
          "an entry stands in a log that no leader has made");
    return made->second.hashes[static_cast<std::size_t>(id.index - made->second.begin)];
}

std::uint64_t Invariants::hash_of(const Entry& entry, const LogId& before) const {
    std::uint64_t hash = mixed(mixed(hash_at(before), entry.id.term), entry.id.index);
    hash = mixed(mixed(hash, static_cast<std::uint64_t>(entry.kind)), static_cast<std::uint64_t>(entry.time.count()));
    for (const std::byte byte : entry.body.view()) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
    return hash;
}

/// Only the leader of its term makes an entry. Whoever has it has the same log up to there.
void Invariants::make(std::size_t replica, const Entry& entry, const LogId& before) {
    const std::uint64_t hash = hash_of(entry, before);
    Made& made = made_[entry.id.term];
    if (made.hashes.empty()) made.begin = entry.id.index;
    if (entry.id.index == made.begin + made.hashes.size()) {
        const auto leader = leaders_.find(entry.id.term);
        check(leader != leaders_.end() && leader->second == replica, "an entry is made by one that does not lead");
        made.hashes.push_back(hash);
    }
    check(hash_at(entry.id) == hash, "two logs have an entry with the same term and index, but are not the same");
}

void Invariants::started(std::size_t replica) {
    const Recovered found = members_[replica].disk->recover();
    const Told& told = told_[replica];
    check(found.state.term >= told.term, "after a restart a replica has forgotten a term that it told others");
    check(members_[replica].disk->holds(told.matched), "after a restart a replica has lost what it had acknowledged");
    Image& image = images_[replica];
    image = {};
    image.state = found.state;
    image.base = found.newest.last;
    const std::vector<Entry> entries = members_[replica].disk->entries_behind(found.base.last.index);
    const bool reaches =
        found.newest.last == found.base.last ||
        std::any_of(entries.begin(), entries.end(), [&](const Entry& each) { return each.id == found.newest.last; });
    if (!reaches) return;
    image.base = found.base.last;
    for (const Entry& entry : entries) {
        const std::uint64_t before = image.marks.empty() ? 0 : image.marks.back().cost;
        image.marks.push_back({entry.id.term, before + entry.cost()});
    }
}

void Invariants::wrote(std::size_t replica, const Write& write, Term leads) {
    Image& image = images_[replica];
    check(write.number == ++image.write, "a write has a number that is not one more than the one before");
    if (write.state) {
        check(write.state->term >= image.state.term, "a term goes backwards");
        check(write.state->commit >= image.state.commit, "the commit that is written goes backwards");
        if (write.state->term == image.state.term && image.state.vote) {
            check(write.state->vote == image.state.vote, "a vote was changed");
        }
        check(write.state->commit <= committed(), "a commit is written that is none");
        image.state = *write.state;
    }
    check(image.state.term != 0 || write.entries.empty(), "entries are written before any term");
    if (write.begin_after) {
        const LogId& last = write.begin_after->last;
        check(last.index <= committed() && committed_term(last.index) == last.term,
              "a log begins behind what was never committed");
        image.base = last;
        image.marks.clear();
        told_[replica].matched = {};  // what stood behind it is gone
    }
    if (write.entries.empty()) return;
    const Index first = write.entries.front().id.index;
    check(first > image.base.index && first <= image.last() + 1, "entries are written that leave a gap");
    check(leads == 0 || first == image.last() + 1, "a leader replaces entries of its own log");
    if (first <= image.last()) {
        check(first > required(image.state.term) || image.term_at(first) != committed_term(first),
              "a committed entry is replaced");
        image.marks.resize(static_cast<std::size_t>(first - image.base.index - 1));
        Told& told = told_[replica];
        if (told.matched.index >= first) told.matched = {};
    }
    LogId before{*image.term_at(first - 1), first - 1};
    for (const Entry& entry : write.entries) {
        check(entry.id.index == before.index + 1, "entries are written that are no neighbours");
        check(entry.id.term >= before.term, "terms go backwards in a log");
        check(entry.id.term <= image.state.term, "an entry has a term that has not begun");
        make(replica, entry, before);
        before = entry.id;
        const std::uint64_t cost = image.marks.empty() ? 0 : image.marks.back().cost;
        image.marks.push_back({entry.id.term, cost + entry.cost()});
    }
}

// Elections and commits.

Index Invariants::required(Term term) const {
    Index index = 0;
    for (const auto& [of, up_to] : commits_) {
        if (of <= term) index = std::max(index, up_to);
    }
    return index;
}

void Invariants::elected(std::size_t replica, Term term) {
    check(configuration_.votes(members_[replica].id), "one is elected that has no vote");
    check(leaders_.emplace(term, replica).second, "two replicas are elected in the same term");
    const Index index = required(term);
    const Image& image = images_[replica];
    check(image.base.index >= index || image.term_at(index) == committed_term(index),
          "a leader is elected that lacks a committed entry");
}

bool Invariants::quorum(const std::set<DiskId>& voters, const LogId& id) const {
    std::size_t have = 0;
    for (const DiskId& voter : voters) have += member(voter).disk->holds(id) ? 1 : 0;
    return voters.empty() || 2 * have > voters.size();
}

bool Invariants::quorum(const LogId& id) const {
    return quorum(configuration_.voters, id) && quorum(configuration_.voters_before, id);
}

void Invariants::committed(std::size_t replica, Index index, Term leads) {
    const Image& image = images_[replica];
    check(index <= image.last(), "a replica takes for committed what its log does not have");
    if (leads != 0) {
        check(image.term_at(index) == leads, "a leader commits an entry of an earlier term by counting");
        if (index > committed()) {
            check(quorum({leads, index}), "a leader commits what no majority has on its disks");
        }
        commits_[leads] = std::max(commits_[leads], index);
    }
    check(leads != 0 || index <= committed(), "a replica that does not lead takes for committed what nobody has");
    if (index >= image.base.index && index <= committed()) {
        check(image.term_at(index) == committed_term(index), "two replicas have committed different entries");
    }
    for (Index next = committed() + 1; next <= index; ++next) {
        const auto term = image.term_at(next);
        check(term.has_value(), "a leader commits what is not in its log");
        log_.push_back(*term);
    }
}

void Invariants::installed(std::size_t replica, const LogId& last) {
    Image& image = images_[replica];
    check(last.index <= committed() && committed_term(last.index) == last.term,
          "a snapshot is of what is not committed");
    if (last.index < image.base.index || image.term_at(last.index) == last.term) return;
    // What stood behind it was replaced by a leader of a later term.
    if (told_[replica].matched.index > last.index) told_[replica].matched = {};
    image.base = last;
    image.marks.clear();
}

// States.

void Invariants::applied(std::size_t, const Entry& entry, std::uint64_t hash) {
    const Index index = entry.id.index;
    check(index <= committed() && committed_term(index) == entry.id.term, "an entry is applied that is not committed");
    if (index == reference_.applied().index + 1) {
        check(hash_of(entry, reference_.applied()) == hash_at(entry.id), "an entry is applied that no leader has made");
        reference_.apply(entry);
        states_.push_back(reference_.hash());
        if (entry.kind == EntryKind::command) {
            const bool is_new = commands_.insert(Command::decode(entry.body).number).second;
            check(is_new, "a command is applied for the second time");
        }
    }
    check(index < states_.size(), "an entry is applied before those before it");
    check(states_[static_cast<std::size_t>(index)] == hash, "two replicas have different states at the same place");
}

void Invariants::loaded(std::size_t, const LogId& id, std::uint64_t hash) {
    check(id.index < states_.size() && committed_term(id.index) == id.term, "a snapshot holds what was not committed");
    check(states_[static_cast<std::size_t>(id.index)] == hash, "a snapshot is not the state of its place");
}

// What is said.

const Invariants::Member& Invariants::member(const DiskId& id) const {
    const auto found =
        std::find_if(members_.begin(), members_.end(), [&](const Member& each) { return each.id == id; });
    check(found != members_.end(), "a message names a stranger");
    return *found;
}

void Invariants::voted(std::size_t replica, Term term, const DiskId& vote) {
    const auto [place, is_new] = votes_.emplace(std::pair(replica, term), vote);
    check(is_new || place->second == vote, "a replica votes twice in the same term");
    const HardState& state = members_[replica].disk->state();
    check(state.term > term || (state.term == term && state.vote == vote), "a vote leaves before it is on disk");
}

void Invariants::leads(std::size_t replica, Term term) const {
    const auto leader = leaders_.find(term);
    check(leader != leaders_.end() && leader->second == replica, "one that was not elected speaks as a leader");
}

void Invariants::sent(std::size_t replica, const consensus::Message& message, const RaftOptions& options) {
    const Disk& disk = *members_[replica].disk;
    check(message.from == members_[replica].id, "a message has the wrong sender");
    const auto on_disk = [&] {
        check(disk.state().term >= message.term, "a message leaves before its term is on disk");
        told_[replica].term = std::max(told_[replica].term, message.term);
    };
    // A trial promises nothing, so it depends on nothing.
    std::visit(Overloaded{
                   [&](const VoteRequest& request) {
                       if (request.trial != 0) return;
                       on_disk();
                       voted(replica, message.term, message.from);
                   },
                   [&](const VoteAnswer& answer) {
                       if (answer.trial != 0) return;
                       on_disk();
                       if (answer.granted) voted(replica, message.term, message.to);
                   },
                   [&](const Append& append) {
                       on_disk();
                       leads(replica, message.term);
                       check(append.commit <= committed(), "a leader tells a commit that is none");
                       std::size_t cost = 0;
                       LogId before = append.before;
                       hash_at(before);
                       for (const Entry& entry : append.entries) {
                           check(entry.id.index == before.index + 1, "entries are sent that are no neighbours");
                           check(hash_of(entry, before) == hash_at(entry.id), "an entry is sent that nobody has made");
                           before = entry.id;
                           cost += entry.cost();
                       }
                       check(cost <= options.max_append || append.entries.size() == 1, "a message is too long");
                   },
                   [&](const AppendAnswer& answer) {
                       on_disk();
                       if (answer.rejected != 0) return;
                       if (answer.matched <= required(message.term)) {
                           check(disk.holds({committed_term(answer.matched), answer.matched}),
                                 "committed entries are acknowledged before they are on disk");
                       }
                       // What was not committed may be replaced by now, if a later term has begun.
                       if (disk.state().term > message.term) return;
                       check(answer.matched <= disk.last().index, "entries are acknowledged before they are on disk");
                       const auto leader = leaders_.find(message.term);
                       check(leader != leaders_.end(), "entries are acknowledged that nobody has sent");
                       const Image& image = images_[leader->second];
                       const auto term = image.term_at(answer.matched);
                       // While it leads, its log is that of which the answer speaks.
                       if (image.state.term == message.term && term) {
                           check(disk.holds({*term, answer.matched}), "entries are acknowledged that are others");
                       }
                       if (answer.matched > told_[replica].matched.index) {
                           const auto on_disk_now = disk.term_at(answer.matched);
                           // What takes its place may be ordered already.
                           const bool stays = on_disk_now && images_[replica].term_at(answer.matched) == on_disk_now;
                           if (stays) told_[replica].matched = {*on_disk_now, answer.matched};
                       }
                   },
                   [&](const Heartbeat& heartbeat) {
                       on_disk();
                       leads(replica, message.term);
                       check(heartbeat.commit <= committed(), "a leader tells a commit that is none");
                   },
                   [&](const HeartbeatAnswer&) { on_disk(); },
                   [&](const Appoint&) {
                       on_disk();
                       leads(replica, message.term);
                   },
                   [&](const Chunk& chunk) {
                       on_disk();
                       leads(replica, message.term);
                       const LogId& last = chunk.snapshot.last;
                       check(last.index <= committed() && committed_term(last.index) == last.term,
                             "a snapshot is sent of what was not committed");
                       check(chunk.bytes.size() <= options.chunk, "a piece of a snapshot is too long");
                   },
                   [&](const ChunkAnswer& answer) {
                       on_disk();
                       if (!answer.installed) return;
                       check(disk.holds(answer.snapshot), "a snapshot is acknowledged that is not on disk");
                   },
               },
               message.body);
}

}  // namespace cluster::sim::replicas
