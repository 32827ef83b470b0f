#include "consensus/raft.hpp"
#include "fuzz/input.hpp"
#include "wire/replica_codec.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <utility>
#include <variant>
#include <vector>

// One member of a group of three, the others of which say what they like. Its own disk is honest, and as slow as the
// input says. What others say may stop it, for it checks what must hold between them. It must not crash, apply an entry
// out of turn, or send what depends on what is not on disk.

namespace cluster::consensus_fuzz {

using namespace cluster::consensus;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_steps = 2000;
constexpr std::size_t most_memory = std::size_t{64} << 20;

DiskId disk_of(std::uint8_t name) {
    DiskId disk;
    disk.bytes[0] = name;
    return disk;
}

Bytes voters() {
    Configuration made;
    for (const std::uint8_t each : std::array<std::uint8_t, 3>{1, 2, 3}) made.voters.insert(disk_of(each));
    return made.encode();
}

RaftOptions options() {
    RaftOptions made;
    made.self = disk_of(1);
    made.seed = 7;
    made.max_append = 1024;
    made.max_in_flight = 4096;
    made.max_uncommitted = 1 << 16;
    made.max_applying = 4096;
    made.memory = 4096;
    made.chunk = 64;
    return made;
}

Recovered founded() {
    Recovered made;
    made.base.configuration = voters();
    made.newest = made.base;
    return made;
}

class World {
public:
    explicit World(fuzz::Input input) : input_(input), raft_(options(), founded(), now()) {}

    void run() {
        for (std::size_t i = 0; i < most_steps && !input_.empty() && !raft_.stopped(); ++i) {
            step();
            drain();
        }
    }

private:
    Moment now() const { return {clock_, clock_}; }
    DiskId somebody() { return disk_of(input_.byte() % 5); }
    LogId some_id() {
        LogId id;
        id.term = input_.byte();
        id.index = input_.byte();
        return id;
    }
    Term some_term() { return raft_.term() + input_.byte() % 4 - (raft_.term() > 1 ? 1 : 0); }

    /// What a member could say, with numbers at will.
    Body some_body() {
        switch (input_.byte() % 9) {
            case 0: return VoteRequest{some_id(), input_.byte(), input_.byte() % 2 == 0};
            case 1: return VoteAnswer{input_.byte() % 4U, input_.byte() % 2 == 0};
            case 2: {
                Append append{some_id(), input_.byte(), {}};
                if (input_.byte() % 2 == 0) append.before = raft_.log().last();
                LogId id = append.before;
                for (int i = input_.byte() % 4; i > 0; --i) {
                    ++id.index;
                    id.term += input_.byte() % 2;
                    const bool members = input_.byte() % 16 == 0;
                    append.entries.push_back({id, members ? EntryKind::configuration : EntryKind::command,
                                              Duration(1000 + input_.byte()), members ? voters() : Bytes("x")});
                }
                return append;
            }
            case 3: return AppendAnswer{input_.byte(), input_.byte(), some_id(), input_.byte() % 8 != 0};
            case 4: return Heartbeat{input_.byte(), input_.byte()};
            case 5: return HeartbeatAnswer{input_.byte(), Duration(input_.number()), input_.byte(), true};
            case 6: return Appoint{};
            case 7: {
                Chunk chunk;
                chunk.snapshot = {some_id(), Duration(1000 + input_.byte()), voters()};
                chunk.size = input_.byte();
                chunk.offset = input_.byte();
                chunk.bytes = Bytes(std::as_bytes(input_.some()));
                return chunk;
            }
            default: return ChunkAnswer{some_id(), input_.byte(), input_.byte() % 2 == 0, true};
        }
    }

    void step() {
        switch (input_.byte() % 14) {
            case 0: clock_ += std::chrono::milliseconds(input_.byte()); break;
            case 1: clock_ = std::max(clock_, std::min(raft_.deadline(), clock_ + 1h)); break;
            case 2:
            case 3: {
                const DiskId from = somebody();
                const Term term = some_term();
                raft_.receive({from, disk_of(1), term, some_body()}, now());
                break;
            }
            case 4: {
                const Bytes bytes(std::as_bytes(input_.some()));
                if (const auto message = wire::decode(bytes)) {
                    const auto* const raft = std::get_if<wire::RaftMessage>(&*message);
                    if (raft != nullptr) raft_.receive(raft->message, now());
                }
                break;
            }
            case 5: {
                std::vector<Bytes> commands(1U + input_.byte() % 3, Bytes("command"));
                LogId first;
                raft_.propose(commands, first, now());
                break;
            }
            case 6: raft_.read(++reads_, now()); break;
            case 7: raft_.transfer(somebody(), now()); break;
            case 8: raft_.gone(somebody(), now()); break;
            case 9:
                if (!writes_.empty()) written();
                break;
            case 10:
                if (!fetches_.empty()) fetched();
                break;
            case 11:
                if (!applying_.empty()) {
                    raft_.applied(applying_.front(), now());
                    applying_.pop_front();
                }
                break;
            case 12: raft_.unreachable(somebody(), now()); break;
            // An honest answer, so that something gets committed.
            case 13:
                if (!sent_.empty()) {
                    answer(sent_.front());
                    sent_.pop_front();
                }
                break;
        }
        if (raft_.deadline() <= clock_) raft_.tick(now());
    }

    void written() {
        const Write write = std::move(writes_.front());
        writes_.pop_front();
        if (write.begin_after) entries_.clear();
        if (!write.entries.empty()) {
            entries_.erase(entries_.lower_bound(write.entries.front().id.index), entries_.end());
            for (const Entry& each : write.entries) entries_.emplace(each.id.index, each);
        }
        written_ = write.number;
        raft_.written(write.number, now());
    }
    void fetched() {
        const Fetch fetch = fetches_.front();
        fetches_.pop_front();
        std::vector<Entry> found;
        std::size_t size = 0;
        for (Index index = fetch.from; index < fetch.end; ++index) {
            const auto entry = entries_.find(index);
            if (entry == entries_.end()) break;
            size += entry->second.cost();
            if (!found.empty() && size > fetch.most) break;
            found.push_back(entry->second);
        }
        raft_.fetched(fetch.reader, std::move(found), now());
    }
    void answer(const Message& message) {
        const auto say = [&](Body body) { raft_.receive({message.to, message.from, message.term, body}, now()); };
        if (const auto* const vote = std::get_if<VoteRequest>(&message.body)) {
            say(VoteAnswer{vote->trial, true});
        } else if (const auto* const append = std::get_if<Append>(&message.body)) {
            say(AppendAnswer{append->before.index + append->entries.size(), 0, {}, true});
        } else if (const auto* const heartbeat = std::get_if<Heartbeat>(&message.body)) {
            say(HeartbeatAnswer{heartbeat->round, clock_, heartbeat->commit, true});
        }
    }

    void drain() {
        Raft::Output output;
        while (raft_.take_output(output)) {
            for (Effect& each : output) carry_out(each);
            output.clear();
        }
    }
    void carry_out(Effect& effect) {
        if (auto* const write = std::get_if<Write>(&effect)) {
            fuzz::require(write->number == ++numbered_);
            writes_.push_back(std::move(*write));
        } else if (auto* const send = std::get_if<Send>(&effect)) {
            fuzz::require(send->after <= numbered_ && send->message.from == disk_of(1));
            if (sent_.size() < 64) sent_.push_back(std::move(send->message));
        } else if (const auto* const apply = std::get_if<Apply>(&effect)) {
            for (const Entry& each : apply->entries) {
                fuzz::require(each.id.index == handed_ + 1 && each.id.index <= raft_.commit());
                handed_ = each.id.index;
            }
            applying_.push_back(handed_);
        } else if (const auto* const load = std::get_if<Load>(&effect)) {
            fuzz::require(load->snapshot.last.index >= handed_);
            handed_ = load->snapshot.last.index;
        } else if (const auto* const fetch = std::get_if<Fetch>(&effect)) {
            fetches_.push_back(*fetch);
        } else if (const auto* const piece = std::get_if<FetchChunk>(&effect)) {
            pieces_.push_back(piece->reader);
        } else if (const auto* const stored = std::get_if<StoreChunk>(&effect)) {
            stores_.push_back(*stored);
        }
        // Snapshots are answered at once, each in one of the ways in which a disk may: they are rare.
        while (!pieces_.empty()) {
            const DiskId reader = pieces_.front();
            pieces_.pop_front();
            raft_.chunk_fetched(reader, std::nullopt, now());
        }
        while (!stores_.empty()) {
            const StoreChunk stored = std::move(stores_.front());
            stores_.pop_front();
            const std::uint64_t next = stored.chunk.offset + stored.chunk.bytes.size();
            raft_.chunk_stored(stored, next, next == stored.chunk.size, now());
        }
    }

    const fuzz::MemoryLimit limit_{most_memory};
    fuzz::Input input_;
    Time clock_{1h};
    Raft raft_;
    std::uint64_t reads_ = 0;
    std::uint64_t numbered_ = 0;
    std::uint64_t written_ = 0;
    Index handed_ = 0;
    std::map<Index, Entry> entries_;  ///< on disk
    std::deque<Write> writes_;
    std::deque<Fetch> fetches_;
    std::deque<DiskId> pieces_;
    std::deque<StoreChunk> stores_;
    std::deque<Index> applying_;
    std::deque<Message> sent_;
};

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    World(fuzz::Input(data, size)).run();
}

}  // namespace cluster::consensus_fuzz
