#include "consensus/transcript.hpp"

#include "base/overloaded.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <tuple>

namespace cluster::support {

using namespace cluster::consensus;

namespace {

DiskId disk_of(char name) {
    DiskId disk;
    disk.bytes[0] = static_cast<std::uint8_t>(name);
    return disk;
}

char name_of(const DiskId& disk) {
    return disk ? static_cast<char>(disk.bytes[0]) : '-';
}

std::string shown(const LogId& id) {
    return std::to_string(id.index) + "@" + std::to_string(id.term);
}

std::string shown(const Entry& entry) {
    switch (entry.kind) {
        case EntryKind::empty: return shown(entry.id);
        case EntryKind::command: return shown(entry.id) + ":" + std::string(entry.body.text());
        case EntryKind::configuration: return shown(entry.id) + ":configuration";
    }
    return {};
}

std::string shown(const std::vector<Entry>& entries) {
    std::string text;
    for (const Entry& entry : entries) text += " " + shown(entry);
    return text;
}

std::string shown(const Message& message) {
    const std::string term = " (term " + std::to_string(message.term) + ")";
    return std::string{name_of(message.from), '-', '>', name_of(message.to), ' '} +
           std::visit(
               Overloaded{
                   [](const VoteRequest& each) {
                       return std::string(each.trial != 0 ? "would you vote" : "vote") + " for me? my last entry is " +
                              shown(each.last) + (each.appointed ? ", the leader names me" : "");
                   },
                   [](const VoteAnswer& each) {
                       if (each.trial != 0) return std::string(each.granted ? "I would" : "I would not");
                       return std::string(each.granted ? "vote: yes" : "vote: no");
                   },
                   [](const Append& each) {
                       return "behind " + shown(each.before) + ":" +
                              (each.entries.empty() ? " nothing" : shown(each.entries)) + "; committed " +
                              std::to_string(each.commit);
                   },
                   [](const AppendAnswer& each) {
                       return (each.rejected == 0
                                   ? "I have up to " + std::to_string(each.matched)
                                   : "I lack " + std::to_string(each.rejected) + ", try behind " + shown(each.hint)) +
                              (each.counts ? "" : ", but do not count me");
                   },
                   [](const Heartbeat& each) {
                       return "I lead, question " + std::to_string(each.round) + "; committed " +
                              std::to_string(each.commit);
                   },
                   [](const HeartbeatAnswer& each) {
                       return "answer " + std::to_string(each.round) + (each.counts ? "" : ", but do not count me");
                   },
                   [](const Appoint&) { return std::string("become a candidate"); },
                   [](const Chunk& each) {
                       return "snapshot " + shown(each.snapshot.last) + " from byte " + std::to_string(each.offset) +
                              ": " + std::to_string(each.bytes.size()) + " of " + std::to_string(each.size);
                   },
                   [](const ChunkAnswer& each) {
                       return "snapshot " + shown(each.snapshot) +
                              (each.installed ? " installed" : " up to byte " + std::to_string(each.next));
                   },
               },
               message.body) +
           term;
}

const char* shown(Role role) {
    switch (role) {
        case Role::follower: return "follower";
        case Role::candidate: return "candidate";
        case Role::leader: return "leader";
    }
    return "";
}

const char* shown(Progress::Mode mode) {
    switch (mode) {
        case Progress::Mode::probe: return "probe";
        case Progress::Mode::replicate: return "replicate";
        case Progress::Mode::snapshot: return "snapshot";
    }
    return "";
}

std::vector<TermStart> terms_of(const std::map<Index, Entry>& entries) {
    std::vector<TermStart> terms;
    for (const auto& [index, entry] : entries) {
        if (terms.empty() || terms.back().term != entry.id.term) terms.push_back({index, entry.id.term});
    }
    return terms;
}

std::uint64_t number_in(const std::string& text) {
    std::size_t end = 0;
    const std::uint64_t number = std::stoull(text, &end);
    if (end != text.size()) throw std::invalid_argument("not a number: " + text);
    return number;
}

}  // namespace

/// What it has on disk outlives its machine.
struct Transcript::Replica {
    char name = 0;
    RaftOptions options;
    Duration wall{};  ///< how far its wall clock is ahead of the steady one
    std::unique_ptr<Raft> raft;

    // Durable.
    HardState state;
    SnapshotId base;
    std::vector<std::pair<SnapshotId, std::string>> snapshots;  ///< the newest comes last
    std::map<Index, Entry> entries;
    std::pair<std::tuple<DiskId, Term, LogId>, std::string> partial;  ///< a snapshot that is coming

    // Of the present run.
    std::deque<Write> writes;
    std::uint64_t written = 0;
    std::deque<Send> held;  ///< until what they depend on is durable
    std::deque<Fetch> fetches;
    std::deque<Entry> applying;
    std::string applied;  ///< the service: all commands, one behind the other
    LogId last_applied;
    Duration time{};
};

Transcript::Transcript() = default;
Transcript::~Transcript() = default;

std::string Transcript::run(const std::string& command) {
    std::istringstream stream(command);
    Words words{std::istream_iterator<std::string>(stream), {}};
    if (words.empty()) throw std::invalid_argument("an empty command");
    const std::string verb = words.front();
    words.erase(words.begin());
    out_.str({});
    const auto word = [&](std::size_t place) -> const std::string& {
        if (place >= words.size()) throw std::invalid_argument(verb + " needs more words");
        return words[place];
    };
    silent_ = !words.empty() && words.back() == "silently";
    if (silent_) words.pop_back();
    if (verb == "group") {
        group(words);
    } else if (verb == "wait") {
        clock_ += std::chrono::milliseconds(number_in(word(0)));
    } else if (verb == "timeout") {
        Replica& replica = named(word(0));
        clock_ = std::max(clock_, replica.raft->deadline());
        replica.raft->tick(now(replica));
        take(replica);
    } else if (verb == "elect") {
        silent_ = true;
        run("timeout " + word(0) + " silently");
        run("settle silently");
        if (named(word(0)).raft->role() != Role::leader) throw std::invalid_argument("it was not elected");
    } else if (verb == "lead") {
        Replica& replica = named(word(0));
        const Time end = clock_ + std::chrono::milliseconds(number_in(word(1)));
        while (replica.raft->deadline() <= end) {
            run("timeout " + word(0) + " silently");
            run("settle silently");
        }
        clock_ = end;
    } else if (verb == "propose") {
        Replica& replica = named(word(0));
        std::vector<Bytes> commands;
        for (std::size_t i = 1; i < words.size(); ++i) commands.emplace_back(std::string_view(words[i]));
        LogId first;
        refused(replica, replica.raft->propose(commands, first, now(replica)));
        take(replica);
    } else if (verb == "read") {
        Replica& replica = named(word(0));
        const DiskId asked_by = words.size() > 2 ? disk_of(words[2][0]) : DiskId();
        refused(replica, replica.raft->read(number_in(word(1)), now(replica), asked_by));
        take(replica);
    } else if (verb == "transfer") {
        Replica& replica = named(word(0));
        const DiskId to = words.size() > 1 ? disk_of(words[1][0]) : DiskId();
        refused(replica, replica.raft->transfer(to, now(replica)));
        take(replica);
    } else if (verb == "gone") {
        Replica& replica = named(word(0));
        replica.raft->gone(disk_of(word(1)[0]), now(replica));
        take(replica);
    } else if (verb == "unreachable") {
        Replica& replica = named(word(0));
        replica.raft->unreachable(disk_of(word(1)[0]), now(replica));
        take(replica);
    } else if (verb == "disk") {
        disk(named(word(0)), words.size() > 1 ? number_in(words[1]) : std::numeric_limits<std::size_t>::max());
    } else if (verb == "apply") {
        apply(named(word(0)));
    } else if (verb == "fetch") {
        fetch(named(word(0)));
    } else if (verb == "deliver" || verb == "lose") {
        deliver(take_flying(words.empty() ? "" : words[0]), verb == "lose");
    } else if (verb == "double") {
        const std::deque<Flying> twice = take_flying(word(0));
        for (int i = 0; i < 2; ++i) flying_.insert(flying_.end(), twice.begin(), twice.end());
    } else if (verb == "cut") {
        for (const char a : word(0)) {
            for (const char b : word(1)) {
                cut_.insert({a, b});
                if (words.size() < 3) cut_.insert({b, a});
            }
        }
    } else if (verb == "heal") {
        cut_.clear();
    } else if (verb == "settle") {
        settle();
    } else if (verb == "snapshot") {
        snapshot(named(word(0)), words.size() > 1 ? number_in(words[1]) : 0);
    } else if (verb == "crash") {
        Replica& replica = named(word(0));
        replica.raft.reset();
        replica.writes.clear();
        replica.held.clear();
        replica.fetches.clear();
        replica.applying.clear();
        std::erase_if(flying_, [&](const Flying& each) { return each.to == replica.options.self; });
    } else if (verb == "restart") {
        start(named(word(0)));
    } else if (verb == "lost") {
        Replica& replica = named(word(0));
        const Index kept = number_in(word(1));
        replica.options.may_vote = false;
        replica.entries.erase(replica.entries.upper_bound(kept), replica.entries.end());
        replica.state = {kept == 0 ? 0 : replica.entries.rbegin()->second.id.term, {}, 0};
    } else if (verb == "due") {
        const Replica& replica = named(word(0));
        const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(replica.raft->deadline() - clock_);
        say(replica) << "acts in " << time.count() << " ms\n";
    } else if (verb == "clock") {
        named(word(0)).wall += std::chrono::milliseconds(std::stoll(word(1)));
    } else if (verb == "status") {
        for (const auto& [name, replica] : replicas_) {
            if (words.empty() || words[0] == name) status(*replica);
        }
    } else if (verb == "log") {
        log(named(word(0)));
    } else {
        throw std::invalid_argument("no such command: " + verb);
    }
    std::string result = out_.str();
    silent_ = false;
    return result;
}

Transcript::Replica& Transcript::named(const std::string& name) {
    const auto found = replicas_.find(name);
    if (found == replicas_.end()) throw std::invalid_argument("no such replica: " + name);
    return *found->second;
}

Moment Transcript::now(const Replica& replica) const {
    return {clock_, std::chrono::hours(1) + clock_ + replica.wall};
}

std::ostringstream& Transcript::say(const Replica& replica) {
    static std::ostringstream nowhere;
    nowhere.str({});
    std::ostringstream& out = silent_ ? nowhere : out_;
    out << replica.name << ": ";
    return out;
}

/// Names are voters; behind `learners` they are learners. Words with = are options of all.
void Transcript::group(const Words& words) {
    Configuration configuration;
    RaftOptions options;
    bool learners = false;
    std::vector<char> names;
    for (const std::string& word : words) {
        const std::size_t equals = word.find('=');
        if (equals != std::string::npos) {
            const std::map<std::string, std::size_t RaftOptions::*> sizes{
                {"max_append", &RaftOptions::max_append}, {"max_in_flight", &RaftOptions::max_in_flight},
                {"memory", &RaftOptions::memory},         {"max_applying", &RaftOptions::max_applying},
                {"chunk", &RaftOptions::chunk},           {"max_uncommitted", &RaftOptions::max_uncommitted},
            };
            const auto found = sizes.find(word.substr(0, equals));
            if (found == sizes.end()) throw std::invalid_argument("no such option: " + word);
            options.*found->second = number_in(word.substr(equals + 1));
        } else if (word == "learners") {
            learners = true;
        } else {
            names.push_back(word[0]);
            (learners ? configuration.learners : configuration.voters).insert(disk_of(word[0]));
        }
    }
    for (const char name : names) {
        auto replica = std::make_unique<Replica>();
        replica->name = name;
        replica->options = options;
        replica->options.self = disk_of(name);
        replica->options.seed = static_cast<std::uint64_t>(name);
        replica->base = {{}, {}, configuration.encode()};
        start(*replica);
        replicas_[std::string(1, name)] = std::move(replica);
    }
}

void Transcript::start(Replica& replica) {
    if (replica.raft) throw std::invalid_argument("it runs already");
    Recovered recovered{replica.state, replica.base, replica.base, terms_of(replica.entries), {}, {}};
    if (!replica.snapshots.empty()) recovered.newest = replica.snapshots.back().first;
    if (!replica.entries.empty()) recovered.last = replica.entries.rbegin()->second;
    for (const auto& [index, entry] : replica.entries) {
        if (entry.kind == EntryKind::configuration) recovered.configurations.push_back(entry);
    }
    replica.written = 0;
    replica.applied.clear();
    replica.last_applied = {};
    replica.raft = std::make_unique<Raft>(replica.options, std::move(recovered), now(replica));
    take(replica);
}

/// So many writes become durable.
void Transcript::disk(Replica& replica, std::size_t writes) {
    for (; writes != 0 && !replica.writes.empty(); --writes) {
        const Write write = std::move(replica.writes.front());
        replica.writes.pop_front();
        if (write.state) replica.state = *write.state;
        if (write.begin_after) {
            replica.base = *write.begin_after;
            replica.entries.clear();
        }
        if (!write.entries.empty()) {
            replica.entries.erase(replica.entries.lower_bound(write.entries.front().id.index), replica.entries.end());
        }
        for (const Entry& entry : write.entries) replica.entries[entry.id.index] = entry;
        replica.written = write.number;
    }
    while (!replica.held.empty() && replica.held.front().after <= replica.written) {
        const Send send = std::move(replica.held.front());
        replica.held.pop_front();
        this->send(replica, {send.message, 0});
    }
    replica.raft->written(replica.written, now(replica));
    take(replica);
}

/// The service has applied all that it was given.
void Transcript::apply(Replica& replica) {
    if (replica.applying.empty()) return;
    const Index last = replica.applying.back().id.index;
    replica.applying.clear();
    replica.raft->applied(last, now(replica));
    take(replica);
}

/// What is to be read from disk has been read.
void Transcript::fetch(Replica& replica) {
    while (!replica.fetches.empty()) {
        const Fetch fetch = replica.fetches.front();
        replica.fetches.pop_front();
        std::vector<Entry> entries;
        std::size_t cost = 0;
        for (auto each = replica.entries.lower_bound(fetch.from);
             each != replica.entries.end() && each->first < fetch.end; ++each) {
            cost += each->second.cost();
            if (!entries.empty() && cost > fetch.most) break;
            entries.push_back(each->second);
        }
        replica.raft->fetched(fetch.reader, std::move(entries), now(replica));
        take(replica);
    }
}

/// What is in flight on that way: `a->b`, `a->` for all that a has sent, `->b` for all that b shall get, or everything.
std::deque<Transcript::Flying> Transcript::take_flying(const std::string& way) {
    const std::size_t arrow = way.find("->");
    const auto meant = [&](const Message& message) {
        if (arrow == std::string::npos) return true;
        const bool from = arrow == 0 || name_of(message.from) == way[0];
        return from && (arrow + 2 == way.size() || name_of(message.to) == way[arrow + 2]);
    };
    std::deque<Flying> taken;
    std::deque<Flying> rest;
    for (Flying& each : flying_) (meant(each) ? taken : rest).push_back(std::move(each));
    flying_ = std::move(rest);
    return taken;
}

/// These arrive, or are lost; not those that are sent in turn.
void Transcript::deliver(const std::deque<Flying>& arriving, bool lose) {
    for (const Flying& each : arriving) {
        Replica& to = named(std::string(1, name_of(each.to)));
        if (lose || !to.raft || cut_.contains({name_of(each.from), to.name})) continue;
        to.raft->receive(each, now(to));
        take(to);
    }
}

/// Everything arrives, becomes durable and is applied, until nothing happens any more.
void Transcript::settle() {
    const auto busy = [&] {
        return !flying_.empty() || std::any_of(replicas_.begin(), replicas_.end(), [](const auto& each) {
            const Replica& replica = *each.second;
            return !replica.writes.empty() || !replica.applying.empty() || !replica.fetches.empty();
        });
    };
    for (int round = 0; busy(); ++round) {
        if (round == 1000) throw std::invalid_argument("it never settles");
        for (const auto& [name, replica] : replicas_) {
            if (!replica->raft) continue;
            if (!replica->writes.empty()) disk(*replica, std::numeric_limits<std::size_t>::max());
            fetch(*replica);
            apply(*replica);
        }
        deliver(take_flying(""), false);
    }
}

/// Of all that it has applied. The log stays behind `keep`, or is cut behind the snapshot itself.
void Transcript::snapshot(Replica& replica, Index keep) {
    const SnapshotId id = replica.raft->snapshot_at(replica.last_applied, replica.time);
    replica.snapshots.emplace_back(id, replica.applied);
    SnapshotId base = id;
    if (keep != 0) {
        const Entry& entry = replica.entries.at(keep);
        base = replica.raft->snapshot_at(entry.id, entry.time);
    }
    replica.base = base;
    replica.entries.erase(replica.entries.begin(), replica.entries.upper_bound(base.last.index));
    replica.raft->snapshot_taken(id, base, now(replica));
    take(replica);
}

void Transcript::status(const Replica& replica) {
    auto& out = say(replica);
    if (!replica.raft) {
        out << "down\n";
        return;
    }
    const Raft& raft = *replica.raft;
    out << shown(raft.role()) << " of term " << raft.term() << ", leader " << name_of(raft.leader()) << ", last "
        << shown(raft.log().last()) << ", durable " << raft.log().durable() << ", committed " << raft.commit()
        << ", state \"" << replica.applied << "\"\n";
    for (const auto& [name, other] : replicas_) {
        const Progress* progress = raft.progress(other->options.self);
        if (progress == nullptr) continue;
        out << "   " << name << ": " << shown(progress->mode()) << ", has " << progress->matched() << ", next "
            << progress->next() << '\n';
    }
}

void Transcript::log(const Replica& replica) {
    auto& out = say(replica);
    const Log& log = replica.raft->log();
    out << "behind " << shown(log.base().last);
    for (Index index = log.base().last.index + 1; index <= log.last().index; ++index) {
        const Entry* entry = log.find(index);
        out << ' ' << (entry != nullptr ? shown(*entry) : shown(LogId{*log.term_at(index), index}) + " on disk");
    }
    out << '\n';
}

void Transcript::refused(const Replica& replica, Refused why) {
    switch (why) {
        case Refused::no: return;
        case Refused::not_leader: say(replica) << "refused: it does not lead\n"; return;
        case Refused::transferring: say(replica) << "refused: it hands over\n"; return;
        case Refused::full: say(replica) << "refused: too much waits\n"; return;
        case Refused::unknown_disk: say(replica) << "refused: no such voter\n"; return;
        case Refused::absent: say(replica) << "refused: no other voter answers\n"; return;
    }
}

void Transcript::take(Replica& replica) {
    for (Raft::Output effects; replica.raft->take_output(effects);) {
        for (Effect& effect : effects) carry_out(replica, std::move(effect));
    }
}

void Transcript::send(Replica& replica, const Send& send) {
    if (send.after > replica.written) {
        replica.held.push_back(send);
        return;
    }
    if (!silent_) out_ << shown(send.message) << '\n';
    flying_.push_back(send.message);
}

void Transcript::carry_out(Replica& replica, Effect&& effect) {
    std::visit(Overloaded{
                   [&](Write& each) {
                       auto& out = say(replica);
                       out << "write " << each.number << ":";
                       if (each.state) {
                           out << " term " << each.state->term << ", vote " << name_of(each.state->vote)
                               << ", committed " << each.state->commit << ";";
                       }
                       if (each.begin_after) out << " log behind " << shown(each.begin_after->last) << ";";
                       out << shown(each.entries) << '\n';
                       replica.writes.push_back(std::move(each));
                   },
                   [&](const Send& each) { send(replica, each); },
                   [&](const Apply& each) {
                       say(replica) << "apply" << shown(each.entries) << '\n';
                       for (const Entry& entry : each.entries) {
                           if (entry.kind == EntryKind::command) replica.applied += entry.body.text();
                           replica.last_applied = entry.id;
                           replica.time = entry.time;
                           replica.applying.push_back(entry);
                       }
                   },
                   [&](const Load& each) {
                       say(replica) << "load snapshot " << shown(each.snapshot.last) << '\n';
                       const auto found = std::find_if(replica.snapshots.begin(), replica.snapshots.end(),
                                                       [&](const auto& one) { return one.first == each.snapshot; });
                       if (found == replica.snapshots.end()) throw std::invalid_argument("it does not have that");
                       replica.applied = found->second;
                       replica.last_applied = each.snapshot.last;
                       replica.time = each.snapshot.time;
                       replica.applying.clear();
                   },
                   [&](const Fetch& each) {
                       say(replica) << "read from disk for " << name_of(each.reader) << ": entries from " << each.from
                                    << '\n';
                       replica.fetches.push_back(each);
                   },
                   [&](const FetchChunk& each) {
                       for (const auto& [id, bytes] : replica.snapshots) {
                           if (id.last != each.snapshot) continue;
                           const Chunk chunk{id, bytes.size(), each.offset,
                                             Bytes(std::string_view(bytes).substr(each.offset, each.most))};
                           return replica.raft->chunk_fetched(each.reader, chunk, now(replica));
                       }
                       replica.raft->chunk_fetched(each.reader, std::nullopt, now(replica));
                   },
                   [&](const StoreChunk& each) {
                       auto& [of, bytes] = replica.partial;
                       const auto name = std::tuple(each.from, each.term, each.chunk.snapshot.last);
                       if (of != name) replica.partial = {name, ""};
                       if (bytes.size() == each.chunk.offset) bytes += each.chunk.bytes.text();
                       const bool complete = bytes.size() == each.chunk.size;
                       const std::size_t next = bytes.size();
                       if (complete) {
                           replica.snapshots.emplace_back(each.chunk.snapshot, bytes);
                           replica.partial = {};
                       }
                       replica.raft->chunk_stored(each, next, complete, now(replica));
                   },
                   [&](const ReadReady& each) {
                       say(replica) << "read " << each.number << " may go on when " << each.index << " is applied\n";
                   },
                   [&](const ReadRefused& each) { say(replica) << "read " << each.number << " refused\n"; },
                   [&](const TransferEnded& each) {
                       say(replica) << (each.done ? "handed over\n" : "handing over took too long\n");
                   },
                   [&](const StatusChanged& each) {
                       say(replica) << shown(each.role) << " of term " << each.term << ", leader "
                                    << name_of(each.leader) << '\n';
                   },
                   [&](const Stopped& each) { say(replica) << "STOPPED: " << each.reason << '\n'; },
               },
               effect);
}

}  // namespace cluster::support
